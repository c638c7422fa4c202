"""DHCPv4: addresses, routes and names from a server of the network."""
