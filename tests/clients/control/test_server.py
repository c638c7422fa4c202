"""The kernel's end: who is let in, what is answered, and that no client does harm."""

import errno
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rumpkit import Kernel
from rumpkit.clients.control import capturing, client, place, server, session
from rumpkit.clients.control.client import NoKernel, connect
from rumpkit.clients.control.protocol import ControlError, encode
from rumpkit.compose.errors import ConfigError
from rumpkit.hosts.sim.host import SimHost
from rumpkit.net.socket.packet import LinkAddress
from rumpkit.net.transport.tcp import snapshot as tcp_snapshot
from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture)
from tests.system.helpers.rump import eventually

NOBODY = 65534


@pytest.fixture
def kernel():
    with Kernel(net="switch:lan", address="10.0.0.1/24", control=True) as kernel:
        yield kernel


def raw(kernel):
    """A plain connection, past the greeting's first bytes."""
    connection = place.connect(client.find(kernel.listen()), 5)
    connection.recv(65536)
    return connection


def test_a_kernel_says_who_it_is(kernel):
    with connect() as control:
        assert control.greeting["name"] == kernel.listen() == f"rump-{os.getpid()}"
        assert control.greeting["pid"] == os.getpid()
        info = control.call("info")
        assert "tcp" in info["components"]
        assert abs(info["started"] - time.time()) < 60


def test_counters_are_the_kernel_s_own(kernel):
    with connect() as control:
        said = control.call("stat")
        assert said["gauges"]["tcp.established"] == said["gauges"]["tcp.connections"] == 0
        assert said["counters"] == kernel.counters()
        assert said["mib"]["tcpCurrEstab"] == 0
        with kernel.process() as process:
            listener = process.listen("tcp", 80)
            with process.connect("tcp", ("10.0.0.1", 80)), listener:
                assert control.call("stat")["mib"]["tcpCurrEstab"] == 2
                assert control.call("stat")["counters"]["tcp.active_opens"] == 1


def test_sockets_with_their_queues_and_the_inside(kernel):
    with kernel.process() as process, connect() as control:
        listener = process.listen("tcp", 80)
        peer = process.connect("tcp", ("10.0.0.1", 80))
        with listener, peer, process.socket("udp") as udp:
            udp.bind(("10.0.0.1", 53))
            peer.sendall(b"x" * 1000)
            rows = control.rows("sockets")
            by_state = {(row["protocol"], row["state"]): row for row in rows}
            assert by_state["tcp", "LISTEN"]["receive_queue"] == 1
            assert by_state["udp", "UNCONN"]["local_port"] == 53
            sender = next(row for row in rows if row["remote_port"] == 80)
            receiver = next(row for row in rows if row["remote"] and row["local_port"] == 80)
            assert receiver["info"]["bytes_received"] == 1000
            assert sender["info"]["bytes_acked"] in (0, 1000)
            assert receiver["receive_queue"] == 1000
            assert sender["info"]["cwnd"] > 0 and sender["info"]["rto"] >= 200_000


@pytest.mark.usefixtures("runtime")
def test_ping_raw_and_packet_sockets():
    components = ["ethernet", "ipv4", "ipv6", "loopback", "icmp", "udp", "tcp", "raw"]
    addresses = ["10.0.0.1/24", "fd00::1/64"]
    at_once = {"net.ip6.dad_transmits": 0}
    with Kernel(net="switch:x", address=addresses, components=components, sysctl=at_once, control=True) as kernel:
        sockets = kernel.core.sockets
        kernel.host.enter()
        made = [sockets.make(*kind) for kind in ((2, 2, 1), (10, 2, 58), (2, 3, 89), (17, 3, 0x0608), (17, 2, 0x0300))]
        for one in made:
            one.hold()
        made[0].connect((b"\x7f\0\0\1", 0), kernel.host.now)
        made[0].send(b"\x08" + bytes(7), 0, 0, None, kernel.host.now)
        made[1].bind((bytes(16), 77))
        made[2].bind((b"\x0a\0\0\1", 0))
        made[3].bind((LinkAddress(2, 0x0806).emit(), 0))
        kernel.host.leave()
        with connect() as control:
            rows = {row["protocol"]: row for row in control.rows("sockets")}
            assert set(rows) == {"icmp", "icmp6", "raw", "p_raw", "p_dgr"}
            ping = rows["icmp"]
            assert (ping["state"], ping["local"], ping["remote"]) == ("ESTABLISHED", "127.0.0.1", "127.0.0.1")
            assert ping["local_port"] > 0 and ping["receive_queue"] > 0
            assert (rows["icmp6"]["state"], rows["icmp6"]["local_port"], rows["icmp6"]["local"]) == ("UNCONN", 77, "*")
            assert (rows["raw"]["local"], rows["raw"]["local_port"]) == ("10.0.0.1", 89)
            (name,) = [row["name"] for row in control.call("interfaces") if row["index"] == 2]
            assert (rows["p_raw"]["local"], rows["p_raw"]["local_port"]) == (name, 0x0806)
            assert (rows["p_dgr"]["local"], rows["p_dgr"]["local_port"]) == ("*", 0)
            kernel.host.enter()
            for one in made:
                one.release(kernel.host.now)
            kernel.host.leave()
            assert control.rows("sockets") == []


def test_many_connections_come_page_by_page(kernel, monkeypatch):
    with kernel.process() as process, connect() as control:
        listener = process.listen("tcp", 80)
        peers = []
        for _ in range(100):
            peers.append(process.connect("tcp", ("10.0.0.1", 80)))
            peers.append(listener.accept()[0])
        monkeypatch.setattr(tcp_snapshot, "COUNTED", 7)
        assert control.call("stat")["mib"]["tcpCurrEstab"] == 200
        rows = control.rows("sockets")
        assert len(rows) == 201
        assert len({(row["local_port"], row["remote_port"]) for row in rows}) == 201


def test_what_is_asked_wrongly(kernel):
    with connect() as control:
        with pytest.raises(ControlError, match=r"no method 'statz'; it has .*stat"):
            control.call("statz")
        with pytest.raises(ControlError, match="no parameter 'x'"):
            control.call("stat", x=1)
        assert control.call("stat")


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\2J[]",
        b"\0\0\0\2J{}",
        b"\0\0\0\5J{\xff\xfe\xfd}",
        b"\xff\xff\xff\xffJ",
        b"\0\0\0\1Bx",
        encode({"id": True, "method": "stat"}),
        encode({"id": 1 << 70, "method": "stat"}),
        encode({"id": 1, "method": ["stat"]}),
        b"\0\0\xea\x60J" + b"[" * 60000,
    ],
)
def test_garbage_is_answered_with_an_error_and_the_end(kernel, garbage):
    with raw(kernel) as connection:
        connection.sendall(garbage)
        said = b""
        while data := connection.recv(65536):
            said += data
        assert b'"error"' in said and b"EPROTO" in said
    with connect() as control:
        assert control.call("stat")


@pytest.mark.parametrize("parameters", [[], 1, "x"])
def test_parameters_that_are_no_object(kernel, parameters):
    with raw(kernel) as connection:
        connection.sendall(encode({"id": 1, "method": "stat", "params": parameters}))
        assert b"params is an object" in connection.recv(65536)


def test_a_client_that_never_reads_costs_little_and_delays_nobody(kernel):
    with raw(kernel) as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(0.3)
        requests = b"".join(encode({"id": number, "method": "stat"}) for number in range(1, 2000))
        with pytest.raises(TimeoutError):
            for _ in range(100):  # it is no longer read, either
                greedy.sendall(requests)
        sessions = kernel._control._sessions
        assert max(one._size for one in sessions) < session.PLENTY + (64 << 10)
        with connect() as control:
            for _ in range(20):
                assert control.call("stat")


def test_requests_that_wait_for_their_turn_are_not_read(kernel):
    """However short they are and however fast the answers are taken."""
    request = encode({"id": 1, "method": "x"})
    todo = b""
    largest = 0
    with raw(kernel) as eager:
        eager.setblocking(False)
        for _ in range(300):
            todo = todo or request * 4000
            try:
                todo = todo[eager.send(todo) :]
                eager.recv(1 << 20)
            except BlockingIOError:
                time.sleep(0.001)
            largest = max([largest, *[len(one._decoder._waiting) for one in kernel._control._sessions]])
    assert 0 < largest <= session.READ_SIZE + len(request)


def test_what_fails_to_start_leaves_nothing_behind(kernel, monkeypatch):
    def start(self, outlet, now):
        capturing.LiveCapture._started(self, outlet, now)  # type: ignore[attr-defined]
        raise RuntimeError("a bug")

    monkeypatch.setattr(capturing.LiveCapture, "_started", capturing.LiveCapture.start, raising=False)
    monkeypatch.setattr(capturing.LiveCapture, "start", start)
    with connect() as control:
        for _ in range(session.MAX_RUNNING + 1):
            with pytest.raises(ControlError, match="internal error in 'capture'"):
                control.call("capture")
        assert not any(row["captured"] for row in control.call("interfaces"))


def test_requests_in_a_row_are_answered_one_an_entry(kernel, monkeypatch):
    """So that who asks for much at once delays nobody for long."""
    entries = []
    taken = session.Session._take_request

    def counted(self, now):
        found = taken(self, now)
        if found:
            entries.append(now)
        return found

    monkeypatch.setattr(session.Session, "_take_request", counted)
    with raw(kernel) as asking:
        asking.sendall(b"".join(encode({"id": number, "method": "info"}) for number in range(1, 51)))
        said = b""
        while said.count(b'"result"') < 50:
            said += asking.recv(65536)
    assert len(entries) == len(set(entries)) == 50


def test_a_client_that_reads_late_gets_every_answer(kernel, monkeypatch):
    monkeypatch.setattr(session, "PLENTY", 2000)
    with raw(kernel) as late:
        late.sendall(b"".join(encode({"id": number, "method": "sysctls"}) for number in range(1, 101)))
        time.sleep(0.1)
        said = b""
        while said.count(b'"result"') < 100:
            data = late.recv(65536)
            assert data
            said += data


def test_no_more_clients_than_the_limit_and_idle_ones_give_way(kernel, monkeypatch):
    crowd = [raw(kernel) for _ in range(server.MAX_CLIENTS)]
    try:
        with pytest.raises(ControlError, match="clients are connected already"):
            connect()
        monkeypatch.setattr(server, "IDLE_LIMIT", 0)
        with connect() as control:
            assert control.call("stat")
    finally:
        for one in crowd:
            one.close()
    eventually(lambda: kernel._control._sessions == [])


def test_without_descriptors_for_clients_it_waits_for_some(kernel, monkeypatch):
    monkeypatch.setattr(server, "SECOND", 20_000_000)
    listener = kernel._control._listener
    tried = []

    class Exhausted:
        def accept(self):
            tried.append(time.monotonic())
            if len(tried) < 4:
                raise OSError(errno.EMFILE, "too many")
            return listener.accept()

        def close(self):
            listener.close()

    kernel._control._listener = Exhausted()
    with connect() as control:
        assert control.call("info")
    assert len(tried) in (4, 5)  # whoever looks for kernels knocks first, and may be gone by then
    assert tried[3] - tried[0] >= 0.06


def test_without_descriptors_to_load_what_answers_it_waits_for_some(kernel, monkeypatch):
    monkeypatch.setattr(server, "SECOND", 20_000_000)
    tried = []

    def programs() -> Any:
        tried.append(time.monotonic())
        if len(tried) < 3:
            raise OSError(errno.EMFILE, "too many")

    kernel._control._make_programs = programs
    with connect() as control:
        assert control.call("info")
    assert len(tried) == 3


def test_two_kernels_of_one_process_and_names(kernel):
    with Kernel(net="switch:lan", address="10.0.0.2/24", hostname="other", control=True) as other:
        assert set(place.names()) == {kernel.listen(), other.listen()}
        with pytest.raises(NoKernel, match=r"2 kernels are running; name one,.* by -k NAME"):
            connect()
        with connect("oth") as control:
            assert control.greeting["hostname"] == "other"
        with pytest.raises(NoKernel, match="no kernel called 'third'"):
            connect("third")
        with Kernel(net="switch:lan", address="10.0.0.3/24", hostname="other", control=True) as twin:
            assert twin.listen() == f"other-{os.getpid()}-2"


def test_it_goes_with_its_kernel():
    with pytest.raises(NoKernel, match="no kernel of yours is running"):
        connect()
    with Kernel(net="switch:lan", address="10.0.0.1/24", control=True) as kernel:
        path = Path(client.find(kernel.listen()))
        control = connect()
        assert path.exists()
    assert not path.exists()
    with control, pytest.raises(ControlError, match=r"closed the connection|Broken pipe|reset"):
        try:
            control.call("stat")
        except OSError as failure:
            raise ControlError(failure.errno, failure.strerror) from None


def test_a_name_never_hides_its_socket():
    with Kernel(net="switch:lan", address="10.0.0.1/24", hostname=".hidden", control=True) as kernel:
        assert kernel.listen() == f"hidden-{os.getpid()}"
        assert list(place.names()) == [kernel.listen()]


def test_without_the_keyword_nobody_listens():
    (folder,) = place.candidates()
    with Kernel(net="switch:lan", address="10.0.0.1/24"):
        assert place.names() == {}
        assert not os.listdir(folder)


def test_simulated_kernels_have_none():
    with pytest.raises(ConfigError, match="posix host"):
        Kernel(net="switch:lan", address="10.0.0.1/24", host=SimHost(), control=True)


def as_nobody(path):
    """What another user gets who connects to the socket at `path`."""
    code = (
        f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r}); print(s.recv(9999), s.recv(9999))"
    )
    ids: Any = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, cwd="/", timeout=60, **ids)


@pytest.mark.needs("root")
def test_the_modes_keep_another_user_out_and_so_does_the_server(kernel):
    path = Path(client.find(kernel.listen()))
    assert "PermissionError" in as_nobody(path).stderr
    path.parents[1].chmod(0o711)
    assert "PermissionError" in as_nobody(path).stderr
    path.parent.chmod(0o711)
    assert "PermissionError" in as_nobody(path).stderr
    path.chmod(0o666)
    done = as_nobody(path)
    assert "this kernel belongs to another user" in done.stdout, done.stderr
    assert done.stdout.rstrip().endswith("b''")
    assert kernel._control._sessions == []


def test_requests_while_the_kernel_is_busy(kernel):
    """Many clients at once, beside traffic."""
    with Kernel(net="switch:lan", address="10.0.0.2/24") as other, kernel.process() as here, other.process() as there:
        done = threading.Event()
        failures = []

        def ask():
            try:
                with connect(kernel.listen()) as control:
                    while not done.is_set():
                        assert control.call("stat")["counters"]
                        control.rows("sockets")
            except Exception as failure:
                failures.append(failure)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        listener = there.listen("tcp", 80)
        with here.connect("tcp", ("10.0.0.2", 80)) as sender, listener, listener.accept()[0] as receiver:
            for _ in range(50):
                sender.sendall(b"x" * 20000)
                size = 0
                while size < 20000:
                    size += len(receiver.recv(65536))
        done.set()
        for thread in threads:
            thread.join(10)
        assert failures == []


def test_a_kernel_that_runs_no_programs_says_so(kernel):
    with connect() as control:
        for method in ("ps", "stats", "stop"):
            with pytest.raises(ControlError, match="knows of no programs"):
                control.call(method)
        with pytest.raises(ControlError, match="3 descriptors come with exec"):
            control.call("exec", command=["true"])


def test_descriptors_that_nobody_wants_are_closed(kernel):
    reader, writer = os.pipe()
    with connect() as control:
        assert list(control.stream("stat", (writer,))) == []
        with pytest.raises(ControlError, match="knows of no programs"):
            next(control.stream("exec", (writer, writer, writer), command=["true"]))
        assert list(control.stream("info", (writer, writer, writer))) == []
        os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
