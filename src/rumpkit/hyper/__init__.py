"""The hypercall interface: what a host gives a kernel, as abstract classes and value types.

Nothing in here does anything.  A host (`rumpkit.hosts`) implements it; the factions call it.
"""
