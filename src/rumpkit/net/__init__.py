"""The net faction: Ethernet, IP, UDP, TCP and the sockets over them, from frames up to system calls."""
