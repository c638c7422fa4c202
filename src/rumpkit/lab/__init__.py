"""Laboratories: several kernels and the links between them in simulated time, with faults."""
