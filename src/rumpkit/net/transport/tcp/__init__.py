"""TCP (RFC 9293): from segments and system calls to segments and wake-ups, between `net.ip` and `net.socket`.

How to read it, from the bottom up:

- `states` is the state machine, as a table to hold against RFC 9293 figure 5.
- `chunks` holds bytes by reference; `reassembly` holds what came too early.
- `rtt` estimates the round trip (RFC 6298); `congestion` is a folder of congestion controls (CUBIC, RFC 9438, by default).
- `scoreboard` has a record of each (super-)segment in flight; `episode` is what loss recovery remembers.
- `block` is one connection's variables under the names of RFC 9293 section 3.3.1. What works on them are functions: `send`
  makes segments (`pacing` may hold them back), `receive` takes data and offers a window, `sack` reports what came out of order,
  `acknowledgement` makes use of what the peer says it has and hands over to `recovery` while something is amiss: that finds losses with
  `rack` (RFC 8985) or by counting (RFC 6582), moves the window down (RFC 6937) and takes back what was wrong (RFC 4015). `ecn` is
  RFC 3168. `arrival` handles a segment in the order of RFC 9293 section 3.10.7, `timeouts` does what is due. `plpmtud` looks
  for the path's MTU by what arrives (RFC 4821), `fastopen` lets data go with a SYN (RFC 7413), `user_timeout` is RFC 5482.
- `connection` is the face of one connection. It is sans-I/O: segments, calls and the time go in; segments, events and the
  next deadline come out. Nothing up to here knows of frames, sockets or a kernel.
- `channel` gives a connection its place in a kernel and has the two queues of a listener. `core` has all connections: what they
  send becomes packets there, and what is left of them in TIME-WAIT is a record of `timewait`. `layer` finds the connection that a
  packet is for and opens new ones, with `cookies` when there are too many (RFC 4987); `intercept` lets a gateway answer for hosts
  that are elsewhere.

**Sequence numbers don't wrap here.**  A connection counts in plain integers whose low 32 bits are what the wire says: a
number that arrives is unwrapped against one that is known to be near (`block.unwrap`), and from then on `<` means before.
"""
