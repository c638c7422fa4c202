"""Benchmarks: `python -m bench`, or `make bench`.  Every row is measured beside a peer and has a bar."""
