"""UDP and names through the `user` link, with real sockets of the machine at the other end."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time

import pytest

from rumpkit import IP_RECVERR, IPPROTO_IP
from rumpkit.compose.user.datagrams import MAX_FLOWS
from rumpkit.hyper.time import MILLISECOND
from tests.hosts.posix.netns import ip, network_namespace
from tests.house.descriptors import descriptors_before
from tests.system.helpers.user import LOOPBACK, NAME_SERVER, PORT, User, descriptors, user_link, wait_for


@pytest.fixture
def user():
    with user_link(forward=(f"0 -> {PORT}/udp",)) as user:
        yield user


@pytest.fixture
def theirs():
    with machine_socket() as theirs:
        yield theirs


def machine_socket() -> socket.socket:
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    theirs.bind(("127.0.0.1", 0))
    theirs.settimeout(10)
    return theirs


def ours_of(user: User):
    ours = user.process.socket("udp")
    ours.settimeout(10)
    return ours


def flows(user: User) -> int:
    return user.scheduled(lambda: len(user.link.datagrams))


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65507])
def test_datagrams_go_out_and_answers_come_back(user, theirs, size):
    there = (LOOPBACK, theirs.getsockname()[1])
    data = bytes(range(256)) * 256
    with ours_of(user) as ours:
        ours.sendto(data[:size], there)
        received, peer = theirs.recvfrom(70000)
        assert received == data[:size]
        theirs.sendto(data[: size // 2], peer)
        assert ours.recvfrom(70000) == (data[: size // 2], there)


def test_each_flow_has_a_port_of_its_own_and_only_the_peer_can_answer(user, theirs):
    there = (LOOPBACK, theirs.getsockname()[1])
    with ours_of(user) as one, ours_of(user) as two, machine_socket() as stranger:
        one.sendto(b"one", there)
        _, peer_one = theirs.recvfrom(10)
        two.sendto(b"two", there)
        _, peer_two = theirs.recvfrom(10)
        assert peer_one != peer_two
        stranger.sendto(b"forged", peer_one)
        theirs.sendto(b"for two", peer_two)
        theirs.sendto(b"for one", peer_one)
        assert one.recv(10) == b"for one"
        assert two.recv(10) == b"for two"
        one.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one.recv(10)


def test_a_closed_port_of_the_machine_refuses_a_connected_socket(user):
    with machine_socket() as closed:
        port = closed.getsockname()[1]
    with ours_of(user) as ours:
        ours.connect((LOOPBACK, port))
        ours.send(b"anybody there?")
        started = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            ours.recv(10)
        assert time.monotonic() - started < 2


@pytest.mark.needs("root", "netns", "ip")
@pytest.mark.parametrize(("kind", "number"), [("", errno.ENETUNREACH), ("unreachable", errno.EHOSTUNREACH)])
def test_what_the_machine_cannot_reach_the_kernel_hears_of(kind, number):
    with network_namespace():
        if kind:
            ip(f"route add {kind} 198.51.100.0/24")
        with user_link() as user, ours_of(user) as ours:
            before = len(descriptors_before())
            # As on Linux, only who asks for it hears of errors that may pass.
            ours.setsockopt(IPPROTO_IP, IP_RECVERR, 1)
            ours.connect(("198.51.100.7", 53))
            ours.send(b"x")
            with pytest.raises(OSError) as caught:
                ours.recv(10)
            assert caught.value.errno == number
            assert descriptors() == before


def test_flows_end_when_nobody_uses_them(user, theirs):
    user.link.datagrams.idle = 300 * MILLISECOND
    before = len(descriptors_before())
    there = (LOOPBACK, theirs.getsockname()[1])
    with ours_of(user) as ours:
        started = time.monotonic()
        while time.monotonic() - started < 0.8:
            ours.sendto(b"still here", there)
            _, peer = theirs.recvfrom(100)
            time.sleep(0.02)
        assert flows(user) == 1, "a flow in use stays"
        wait_for(lambda: flows(user) == 0, "the flow is forgotten", 2)
        assert descriptors() == before
        theirs.sendto(b"too late", peer)
        ours.sendto(b"again", there)
        _, other = theirs.recvfrom(100)
        assert other != peer
        theirs.sendto(b"in time", other)
        assert ours.recv(100) == b"in time"


def test_three_hundred_flows_at_once(user, theirs):
    there = (LOOPBACK, theirs.getsockname()[1])
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            ours = stack.enter_context(ours_of(user))
            ours.sendto(b"x", there)
            theirs.recvfrom(1)
        assert flows(user) == 300 <= MAX_FLOWS


def test_a_forwarded_port_takes_datagrams_of_many_clients(user):
    with user.process.socket("udp") as ours:
        ours.bind(("", PORT))
        ours.settimeout(10)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(machine_socket()) for _ in range(50)]
            for number, client in enumerate(clients):
                client.sendto(b"%d" % number, user.forward("udp"))
            for _ in clients:
                data, peer = ours.recvfrom(100)
                assert peer is not None and peer[0] == LOOPBACK
                ours.sendto(b"answer to " + data, peer)
            for number, client in enumerate(clients):
                data, peer = client.recvfrom(100)
                assert data == b"answer to %d" % number
                assert peer == user.forward("udp"), "it comes from where the client sent to"


def test_forwarded_clients_are_forgotten(user):
    user.link.datagrams.idle = 200 * MILLISECOND
    with user.process.socket("udp") as ours:
        ours.bind(("", PORT))
        for _ in range(3):
            with machine_socket() as client:
                client.sendto(b"x", user.forward("udp"))
                ours.recvfrom(1)
            time.sleep(0.3)
        assert flows(user) == 1


def test_without_loopback_nothing_gets_there(theirs):
    with user_link(host_loopback=False) as user, ours_of(user) as ours:
        ours.connect((LOOPBACK, theirs.getsockname()[1]))
        ours.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            ours.recv(10)
        theirs.settimeout(0.1)
        with pytest.raises(TimeoutError):
            theirs.recvfrom(10)


# Names -----------------------------------------------------------------------------------------------------------


class NameServer(threading.Thread):
    """Answers every question for an A record with one address; or says nothing."""

    def __init__(self, answers: bool = True) -> None:
        super().__init__()
        self.socket = machine_socket()
        self.asked: list[bytes] = []
        self.answers = answers
        self.start()

    def where(self) -> str:
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def run(self) -> None:
        while True:
            question, peer = self.socket.recvfrom(1000)
            if not question:
                return
            self.asked.append(question)
            if self.answers:
                address = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 1])
                counts = struct.pack(">HHHH", 1, 1, 0, 0)
                self.socket.sendto(question[:2] + b"\x81\x80" + counts + question[12:] + address, peer)

    def close(self) -> None:
        with machine_socket() as end:
            end.sendto(b"", self.socket.getsockname())
        self.join()
        self.socket.close()


QUESTION = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04demo\x04test\x00\x00\x01\x00\x01"


def test_names_are_asked_of_the_machines_server():
    with contextlib.closing(NameServer()) as server, user_link(dns=(server.where(),)) as user, ours_of(user) as ours:
        ours.sendto(QUESTION, (NAME_SERVER, 53))
        answer, peer = ours.recvfrom(1000)
        assert peer == (NAME_SERVER, 53)
        assert answer[:2] == QUESTION[:2] and answer.endswith(bytes([192, 0, 2, 1]))
        assert server.asked == [QUESTION]
        ours.connect((NAME_SERVER, 54))
        ours.send(QUESTION)
        with pytest.raises(ConnectionRefusedError):
            ours.recv(10)


def test_a_silent_server_is_followed_by_the_next():
    with (
        contextlib.closing(NameServer(answers=False)) as silent,
        contextlib.closing(NameServer()) as good,
        user_link(dns=(silent.where(), good.where())) as user,
        ours_of(user) as ours,
    ):
        ours.settimeout(2.5)
        ours.sendto(QUESTION, (NAME_SERVER, 53))
        with pytest.raises(TimeoutError):
            ours.recv(1000)
        ours.sendto(QUESTION, (NAME_SERVER, 53))
        assert ours.recv(1000).endswith(bytes([192, 0, 2, 1]))
        assert (len(silent.asked), len(good.asked)) == (1, 1)


def test_a_dead_server_is_followed_by_the_next():
    with machine_socket() as closed:
        dead = f"127.0.0.1:{closed.getsockname()[1]}"
    with contextlib.closing(NameServer()) as good, user_link(dns=(dead, good.where())) as user, ours_of(user) as ours:
        ours.settimeout(0.3)
        with contextlib.suppress(OSError):
            ours.sendto(QUESTION, (NAME_SERVER, 53))
            ours.recv(1000)
        ours.sendto(QUESTION, (NAME_SERVER, 53))
        assert ours.recv(1000).endswith(bytes([192, 0, 2, 1]))
