"""hostfs: a directory of the host's in the kernel's tree (hyper/hostdir.py is what it asks of the host)."""
