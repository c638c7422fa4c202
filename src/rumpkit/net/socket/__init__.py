"""The socket layer: what system calls see of the transports."""
