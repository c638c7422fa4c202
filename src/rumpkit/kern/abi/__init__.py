"""Numbers of the system-call interface, as Linux on x86-64 has them: errors, flags, address families."""
