"""IPv6 (RFC 8200) beside `net.ip`: the way in and out, ICMPv6, neighbours, address configuration, multicast listening.

`ipv6` and `input` are the paths of packets; `link` is what an interface is to IPv6; `control` holds together what keeps
links configured: `neighbours`, `dad`, `routers`, `slaac`, `mld`.
"""
