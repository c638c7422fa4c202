"""The link layer: interfaces, Ethernet, ARP, loopback, frame taps and impairment, between link ports and IP."""
