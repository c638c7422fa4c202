"""Two kernels on a switch of the simulated host, and sockets on them, for the tests of TCP."""

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hosts.switch import Switch
from rumpkit.hyper.frame import FEATURES_ALL
from rumpkit.hyper.time import FOREVER, SECOND
from rumpkit.kern.abi.socket import AF_INET, SOCK_STREAM
from rumpkit.kern.components import BASE
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.wait import Blocked
from rumpkit.net.components import NET
from rumpkit.net.ip.service import Ip
from rumpkit.net.socket.stream import TcpSocket
from rumpkit.net.transport.tcp.layer import Tcp
from rumpkit.net.wire.address import parse_ipv4


class Node:
    """One kernel with one interface."""

    def __init__(self, world, name, address, **port):
        self.world = world
        self.address = parse_ipv4(address)
        self.kernel = RumpKernel(world.host, (*BASE, *NET, "tcp"), hostname=name)
        ip = self.kernel.service("Ip")
        assert isinstance(ip, Ip)
        self.ip = ip
        ip.add_interface(world.switch.port(**port), "eth0")
        ip.add_address("eth0", f"{address}/24")
        tcp = self.kernel.service("Tcp")
        assert isinstance(tcp, Tcp)
        self.tcp = tcp

    def socket(self) -> TcpSocket:
        made = self.kernel.sockets.make(AF_INET, SOCK_STREAM, 0)
        made.hold()
        assert isinstance(made, TcpSocket)
        return made

    def counter(self, name):
        return self.kernel.counters.get("tcp." + name)


class World:
    """A host, a switch, and the nodes a (10.0.0.1) and b (10.0.0.2)."""

    def __init__(self, seed=0, mtu=1500, features=FEATURES_ALL, delay=0):
        self.seed = seed
        self.host = SimHost(seed)
        self.switch = Switch(self.host, mtu, features, delay)
        self.a = Node(self, "a", "10.0.0.1")
        self.b = Node(self, "b", "10.0.0.2")

    @property
    def now(self):
        return self.host.now

    def call(self, function, *arguments):
        """Call a socket's method on the schedule; waits where it returns Blocked."""
        self.host.enter()
        try:
            result = function(*arguments)
            while isinstance(result, Blocked):
                parker = self.host.parker()
                result.queue.add(parker)
                if not parker.park(result.deadline):
                    raise TimeoutError
                result = function(*arguments) if result.action is None else result.retry()
            return result
        finally:
            self.host.leave()

    def attempt(self, function, *arguments):
        """As `call`, but a call that would wait gives None."""
        self.host.enter()
        try:
            result = function(*arguments)
            return None if isinstance(result, Blocked) else result
        finally:
            self.host.leave()

    def run(self, seconds=None):
        """Let the world go on for a while, or until nothing is left to happen."""
        self.host.run(FOREVER if seconds is None else self.host.now + int(seconds * SECOND))

    def pair(self, port=80, backlog=16):
        """Two connected sockets: the client's on a, the server's on b."""
        listener = self.b.socket()
        self.call(listener.bind, (bytes(4), port))
        self.call(listener.listen, backlog)
        client = self.a.socket()
        self.call(client.connect, (self.b.address, port), self.now)
        server = self.call(listener.accept, self.now)
        server.hold()
        self.call(listener.release, self.now)
        return client, server

    def send_all(self, socket, data):
        done = 0
        while done < len(data):
            done += self.call(socket.send, data, done, 0, None, self.now)

    def receive_all(self, socket, size=1 << 30):
        parts = []
        while size > 0:
            got = self.call(socket.receive, min(size, 65536), 0, self.now).data
            if not got:
                break
            parts.append(got)
            size -= len(got)
        return b"".join(parts)

    def transfer(self, source, target, data, chunk=65536):
        """Send `data` from one socket to the other, reading as it arrives, and compare."""
        got = []
        done = received = 0
        while received < len(data):
            taken = None
            if done < len(data):
                taken = self.attempt(source.send, data[done : done + chunk], 0, 0, None, self.now)
                done += taken or 0
            part = self.attempt(target.receive, 1 << 20, 0, self.now)
            if part is not None:
                assert part.data, "ended early"
                got.append(part.data)
                received += len(part.data)
            elif not taken:
                self.host.enter()
                try:
                    assert self.host.step(), "nothing is left to happen"
                finally:
                    self.host._scheduled = False
            else:
                self.run(0)
        assert b"".join(got) == data
