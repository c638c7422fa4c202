"""The `user` link: a network for a kernel without privileges on the host.

Its far end is a rump kernel of its own, the gateway, joined with the interface by a switch.  The gateway accepts any
destination and joins each flow with a socket of the host:

    kernel of the user --- switch --- gateway kernel --- relay --- host socket --- the world

* `outbound` answers a SYN once the host's connect has succeeded; else it refuses as the host was refused.
* `inbound` listens on forwarded host ports and connects to the kernel behind.
* `datagrams` gives each UDP flow a host socket, with a timeout and a limit.
* `names` is the DNS server at 10.0.2.3, which asks the host's name servers.

10.0.2.2, the gateway itself, stands for the host's loopback unless `host_loopback = false`.
"""
