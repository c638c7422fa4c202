"""The network layer: IPv4 input and output, routes, fragments, ICMP and path MTU, between links and transports."""
