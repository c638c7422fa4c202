"""The POSIX host (Linux): an epoll loop, threads, TAP devices and host files."""
