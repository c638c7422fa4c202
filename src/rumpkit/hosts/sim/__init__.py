"""The simulated host: one thread, one seeded queue of events, time that jumps.  Used by tests and by `rumpkit.lab`."""
