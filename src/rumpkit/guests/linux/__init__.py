"""Unmodified Linux programs, dynamic or static, on a rump kernel.

The program runs natively, in namespaces of its own, behind a seccomp filter that hands a dozen system calls on sockets to a
supervisor in this process (seccomp user notification).  The supervisor answers them from the kernel's socket layer and
injects *real* host sockets into the program, so that read, write, poll, epoll, select, sendfile, sendmsg, dup, fork and
exec on them are native and cost nothing extra:

- A TCP socket is a unix stream socket; the other end is the supervisor's, which moves bytes to and from a TCP socket of
  the rump kernel (`rumpkit.clients.relay`).
- A UDP or ping socket is such a socket of the program's private network namespace.  All that is sent there passes a packet socket
  that the supervisor reads; it parses the datagram and sends it on a socket of the rump kernel.  What the kernel
  receives is injected the other way with its true source address.  sendmsg, recvmsg and the rest, with or without
  addresses and control messages, are therefore never notified (`carrier`).

Layers, bottom up.  Nothing above `packets` is needed to test what is below it:

    abi, libc          numbers and formats of the Linux interface; the few calls that Python has no name for
    filter             the BPF program, assembled from a table that can be read
    listener           the notification descriptor: receive, answer, inject
    memory, sockaddr   the program's memory; socket addresses as Linux lays them out
    descriptors        descriptors of the program: which socket one is, and copies of them in this process
    plan               what is to be started, all that is decided about it
    check              what the machine must offer; `Missing` says what, what for and how to allow it
    starter            a small Python process that is kept ready: makes namespaces, private files, and the init process of a
      (uses mounts, network, netlink)   program's pid namespace
    named, reach       unix sockets that are connected to by name: our side, and init's, which looks the name up
    launcher           our side of it: begins it, gives it orders, exchanges it when what it hands down has changed
    spawn, factory     one program's start: launch, signals, exit status; sockets made inside the namespace
    mirror             the kernel's interfaces, addresses and routes, as the namespace shows them
    procnet, proctree  its /proc/net, of which the kernel's sockets and counters are part
    places, files      where the kernel's mounts appear to the program, and the FUSE servers behind them

    packets                      what is injected, byte by byte
    record, stream, carrier      one record a socket, keyed by inode: its life, and the tricks that make a unix socket
                                 look like TCP
    context, calls, calls_*      one handler a system call, in a table; what they share; parked calls; the event loop's side
    guest                        one program, from the outside: its start, its end, what it has cost

Rules for the upper half: a handler reads guest memory off the schedule, does the kernel operation on it (`host.enter` /
`host.leave`), then writes memory and injects descriptors off it again.  A call is never continued after judging what its
pointers point to.  Every reply may fail with ENOENT when the call was interrupted: then what was done is undone.
"""
