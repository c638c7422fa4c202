"""IPv6 against Linux over a TAP: pings, fragments, neighbours, duplicate addresses, path MTUs; router advertisements from
dnsmasq, and a snooping bridge that learns our groups.  tshark finds nothing wrong with any of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.net.ip.icmp import Pinger
from rumpkit.net.ip.service import Ip
from rumpkit.net.ip6.link import STATE_NAMES, TEMPORARY, Link6
from rumpkit.net.ip6.service import Ip6
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.icmpv6 import ECHO_REQUEST, Icmp6Message
from tests.hosts.posix.netns import ip, network_namespace
from tests.system.helpers.peer import blocks, digest
from tests.system.helpers.spaces import space
from tests.system.helpers.user import wait_for
from tests.system.helpers.wire import PEER, answer
from tests.system.test_net_captures import tshark

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip"), pytest.mark.timeout(120)]
OFFLOAD = pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
PLAIN_IS_LONG = pytest.mark.parametrize(
    "offload", [True, pytest.param(False, marks=pytest.mark.long)], ids=["offload", "plain"]
)
TAP, OURS, THEIRS = "rump0", "fd00:9::2", "fd00:9::1"
BAD = (
    '_ws.malformed || icmpv6.checksum.status == "Bad" || udp.checksum.status == "Bad" || tcp.checksum.status == "Bad"'
    f" && !(tcp.checksum == 0xffff && ipv6.src != {OURS})"  # see test_net_captures.py
)


class Six:
    """A kernel of ours with IPv6 on a TAP."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        service = kernel.core.service("Ip")
        assert isinstance(service, Ip)
        self.ip = service
        six = kernel.core.service("Ip6")
        assert isinstance(six, Ip6)
        self.six = six

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        self.kernel.host.enter()
        try:
            yield
        finally:
            self.kernel.host.leave()

    @property
    def link(self) -> Link6:
        return self.six.network.links[self.ip.interfaces.get("vif0").index]

    def addresses(self) -> dict[str, str]:
        with self.entered():
            return {format_ipv6(own.address): STATE_NAMES[own.state] for own in self.link.addresses}

    def neighbours(self) -> dict[str, str]:
        with self.entered():
            table = self.six.neighbours(self.link.interface)
            assert table is not None
            return {format_ipv6(address): state for address, _, state, _ in table.rows()}

    def count(self, name: str) -> int:
        return self.kernel.counters()[name]

    def ping(self, address: str, size: int = 56) -> Ping:
        ping = Ping()
        with self.entered():
            identifier = len(self.six.icmp.pingers) + 1
            self.six.icmp.pingers[identifier] = ping
            message = Icmp6Message(ECHO_REQUEST, 0, identifier << 16, bytes(size))
            self.six.icmp.send(message, None, parse_ipv6(address), 0, 0, self.kernel.host.now)
        return ping

    def mtu_of(self, address: str) -> int:
        with self.entered():
            return self.six.network.route(parse_ipv6(address)).mtu


class Ping(Pinger):
    def __init__(self) -> None:
        self.replies: list[int] = []
        self.errors: list[int] = []

    def reply(self, source: bytes, message: bytes, ttl: int, now: int) -> None:
        self.replies.append(len(message) - 8)

    def failed(self, destination: bytes, errno: int, now: int) -> None:
        self.errors.append(errno)


@contextlib.contextmanager
def linux_side(offload: bool = True, mtu: int = 1500) -> Iterator[None]:
    """A namespace with a TAP that has an address."""
    with network_namespace():
        ip(f"tuntap add mode tap name {TAP}" + (" vnet_hdr" if offload else ""))
        ip(f"link set {TAP} mtu {mtu}")
        sysctl(f"conf/{TAP}/accept_dad", 0)
        ip(f"addr add {THEIRS}/64 dev {TAP} nodad")
        ip(f"link set {TAP} up")
        yield


@contextlib.contextmanager
def six_on(address: str = OURS, offload: bool = True, capture: Path | None = None, **values: int) -> Iterator[Six]:
    addresses = [f"{address}/64"] if address else []
    gateway = THEIRS if address else ""
    spec = Spec(
        interface=[InterfaceSpec(f"tap:{TAP}", address=addresses, gateway=gateway, autoconf=True, offload=offload)]
    )
    spec.sysctl = {f"net.{name.replace('__', '.')}": value for name, value in values.items()}
    spec.sysctl["net.ip6.dad_delay_milliseconds"] = 10
    with Kernel(spec) as kernel:
        recording = None if capture is None else kernel.capture(capture)
        wait_for(lambda: "state UP" in ip(f"link show {TAP}"), "the TAP is up")
        yield Six(kernel)
        if recording is not None:
            recording.close()


def sysctl(name: str, value: int) -> None:
    Path(f"/proc/sys/net/ipv6/{name}").write_text(str(value))


def linux_ping(address: str, *options: str, count: int = 3) -> str:
    command = ["ping", "-6", "-n", "-c", str(count), "-i", "0.01", "-W", "5", *options, address]
    return subprocess.run(command, capture_output=True, text=True).stdout


def their_state(address: str = OURS) -> str:
    rows = json.loads(ip(f"-6 -j neigh show {address} dev {TAP}") or "[]")
    return rows[0]["state"][0] if rows else ""


@PLAIN_IS_LONG
@pytest.mark.needs("ping")
def test_linux_pings_us(offload):
    with linux_side(offload), six_on(offload=offload) as six:
        link_local = next(text for text in six.addresses() if text.startswith("fe80"))
        wait_for(lambda: six.addresses()[link_local] == "valid", "the link-local address is ours")
        for size in (0, 56, 1452, 1453, 8000, 65527 - 8):
            done = linux_ping(OURS, "-s", str(size), "-p", "a5")
            assert " 3 received" in done and "wrong data byte" not in done, done
        for target, extra in (
            (OURS, ["-t", "1"]),
            (OURS, ["-Q", "0x10"]),
            (OURS, ["-F", "0x12345"]),
            (link_local, ["-I", TAP]),
        ):
            assert " 1 received" in linux_ping(target, *extra, count=1), (target, extra)
        assert link_local in linux_ping("ff02::1", "-I", TAP, count=2)
        assert six.count("ip6.reassembled") == 9 and six.count("ip6.bad_header") == 0


@PLAIN_IS_LONG
def test_we_ping_linux(offload):
    with linux_side(offload), six_on(offload=offload) as six:
        for size in (0, 1452, 1453, 9000, 65000):
            ping = six.ping(THEIRS, size)
            wait_for(lambda: bool(ping.replies), f"a reply of {size} bytes")  # noqa: B023
            assert ping.replies == [size]


@pytest.mark.needs("ping")
def test_linux_s_neighbour_detection_and_ours_keep_each_other_reachable():
    with linux_side(), six_on(nd__reachable_milliseconds=500, nd__delay_milliseconds=200) as six:
        for name, value in (("base_reachable_time_ms", 500), ("delay_first_probe_time", 1)):
            sysctl(f"neigh/{TAP}/{name}", value)
        linux_ping(OURS)
        assert their_state() in ("REACHABLE", "DELAY")
        # Each grows stale, is used again, and confirmed by a question that the other answers.
        seen: set[str] = set()
        ours: set[str] = set()
        limit = time.monotonic() + 60
        while not (seen & {"STALE", "DELAY", "PROBE"} and "REACHABLE" in seen and ours >= {"reachable", "delay"}):
            assert time.monotonic() < limit, (seen, ours)
            linux_ping(OURS, count=1)
            six.ping(THEIRS)
            for _ in range(8):
                seen.add(their_state())
                ours |= set(six.neighbours().values())
                time.sleep(0.15)
        assert seen <= {"REACHABLE", "STALE", "DELAY", "PROBE"} and ours <= {"reachable", "stale", "delay", "probe"}
        assert six.count("nd.solicitations_in") > 1 and six.count("nd.bad_in") == 0
        assert six.count("nd.unresolved") == 0


def test_an_address_that_linux_has_is_not_taken():
    with linux_side(), six_on() as six:
        with six.entered():
            six.ip.add_address("vif0", f"{THEIRS}/64")
        wait_for(lambda: six.addresses()[THEIRS] == "duplicated", "Linux defends it")
        assert six.count("nd.duplicates") == 1


def test_linux_does_not_take_an_address_that_we_have():
    with linux_side(), six_on() as six:
        sysctl(f"conf/{TAP}/accept_dad", 1)
        ip(f"addr add {OURS}/64 dev {TAP}")
        wait_for(lambda: "dadfailed" in ip(f"-6 addr show dev {TAP}"), "Linux hears of it")
        assert six.addresses()[OURS] == "valid"


@contextlib.contextmanager
def beyond(mtu: int) -> Iterator[None]:
    """A host fd00:8::2 behind the Linux end, over a link of `mtu` bytes."""
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            inside = ["nsenter", "-t", str(process.pid), "-n"]
            sysctl("conf/all/forwarding", 1)
            ip(f"link add near0 type veth peer name far0 netns {process.pid}")
            ip(f"link set near0 mtu {mtu} up")
            ip("addr add fd00:8::1/64 dev near0 nodad")
            for command in (
                f"link set far0 mtu {mtu} up", "addr add fd00:8::2/64 dev far0 nodad", "route add default via fd00:8::1",
            ):  # fmt: skip
                subprocess.run([*inside, "ip", *command.split()], check=True, capture_output=True)
            yield
        finally:
            process.kill()


def test_a_path_mtu_is_learnt_from_linux():
    with linux_side(), beyond(1300), six_on() as six:
        wait_for(lambda: bool(answered(six, "fd00:8::2", 56)), "the way is there")
        assert six.mtu_of("fd00:8::2") == 1500
        six.ping("fd00:8::2", 1400)
        wait_for(lambda: six.mtu_of("fd00:8::2") == 1300, "packet too big")
        assert answered(six, "fd00:8::2", 1400) == [1400]
        lost = six.ping("fd00:77::1")
        wait_for(lambda: bool(lost.errors), "no route")


def answered(six: Six, address: str, size: int) -> list[int]:
    ping = six.ping(address, size)
    with contextlib.suppress(AssertionError, TimeoutError):
        wait_for(lambda: bool(ping.replies or ping.errors), "an answer")
    return ping.replies


@contextlib.contextmanager
def advertising(folder: Path, *options: str) -> Iterator[None]:
    """dnsmasq as router."""
    log = folder / "dnsmasq.log"
    command = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts",
        "--log-dhcp", f"--log-facility={log}", f"--interface={TAP}", "--bind-interfaces", f"--pid-file={folder}/pid",
        f"--dhcp-leasefile={folder}/leases", "--enable-ra", f"--ra-param={TAP},mtu:1400,high,4,600",
        "--dhcp-range=fd00:9::,ra-only,64,1h", "--dhcp-option=option6:dns-server,[fd00:9::1]",
        "--dhcp-option=option6:domain-search,example.org", *options,
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            wait_for(lambda: log.exists() and "router advertisement" in log.read_text(), "dnsmasq is up")
            yield
        finally:
            process.kill()


@pytest.mark.needs("dnsmasq", "tshark")
def test_router_advertisements_of_dnsmasq_configure_everything(tmp_path):
    path = tmp_path / "ra.pcapng"
    with linux_side(), advertising(tmp_path), six_on("", capture=path, ip6__use_temporary=2) as six:

        def valid() -> int:
            return sum(text.startswith("fd00:9:") and state == "valid" for text, state in six.addresses().items())

        wait_for(lambda: valid() == 2, "addresses from the prefix")
        with six.entered():
            network = six.six.network
            route = network.route(parse_ipv6("2001:db8::1"))
            assert route.mtu == 1400
            assert {own.address: own.origin for own in six.link.addresses}[route.source] == TEMPORARY
            assert [row.gateway[:4] for row in six.ip.route_rows() if row.prefix == "::/0"] == ["fe80"]
            assert six.ip.names.resolv_conf() == "nameserver fd00:9::1\nsearch example.org\n"
        assert answered(six, THEIRS, 56) == [56]
        assert six.count("nd.bad_in") == 0
    assert tshark(path, "icmpv6.type == 133") and tshark(path, "icmpv6.type == 134") and tshark(path, BAD) == []


@pytest.mark.needs("bridge")
def test_a_snooping_bridge_learns_our_groups():
    group = parse_ipv6("ff05::1:3")
    with network_namespace():
        ip(f"tuntap add mode tap name {TAP} vnet_hdr")
        ip("link add br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_mld_version 2")
        ip(f"link set {TAP} master br0")
        ip(f"link set {TAP} up")
        ip("link set br0 up")
        with six_on("") as six:
            with six.entered():
                six.six.network.join(group)

            def known() -> bool:
                shown = subprocess.run(["bridge", "mdb", "show"], capture_output=True, text=True).stdout
                return any(format_ipv6(group) in line and TAP in line for line in shown.splitlines())

            wait_for(known, "the bridge knows of the group")
            with six.entered():
                six.six.network.leave(group)
            wait_for(lambda: not known(), "the bridge knows that nobody listens")


@pytest.mark.needs("tshark", "ping")
def test_tshark_finds_nothing_malformed(tmp_path):
    path = tmp_path / "six.pcapng"
    with linux_side(), six_on(capture=path, icmp6__errors_per_second=1000) as six:
        linux_ping(OURS, "-s", "3000")
        linux_ping("ff02::1", "-I", TAP, count=1)
        assert answered(six, THEIRS, 4000) == [4000]
        # Nobody listens to UDP port 9, and nobody knows protocol 253.
        subprocess.run(["bash", "-c", f"echo x > /dev/udp/{OURS}/9"], check=True)
        with six.entered():
            six.six.network.join(parse_ipv6("ff05::1:3"))
        nobody = six.ping("fd00:9::77")
        wait_for(lambda: bool(nobody.errors), "an error")
        assert "fd00:9::77" not in six.neighbours()
    assert tshark(path, BAD) == []
    for kind in (128, 129, 135, 136, 143):
        assert tshark(path, f"icmpv6.type == {kind}"), kind
    assert tshark(path, "ipv6.fragment")


@PLAIN_IS_LONG
@pytest.mark.needs("ping", "tshark")
def test_two_networks_meet_in_our_kernel(offload, tmp_path):
    """near (the test's namespace, fd01::1) -- our kernel -- far (fd02::1), whose link takes less."""
    path = tmp_path / "router.pcapng"
    with network_namespace(), space() as far:
        spec = Spec(sysctl={"net.ip6.forwarding": 1, "net.ip6.dad_delay_milliseconds": 10})
        spec.interface.append(InterfaceSpec("tap:near0", address=["fd01::9/64"], offload=offload))
        spec.interface.append(InterfaceSpec("tap:far0", address=["fd02::9/64"], offload=offload, mtu=1280))
        with Kernel(spec) as kernel:
            capture = kernel.capture(path)
            ip("addr add fd01::1/64 dev near0 nodad")
            ip("link set near0 up")
            ip("-6 route add default via fd01::9")
            ip(f"link set far0 netns {far.pid}")
            for command in (
                "addr add fd02::1/64 dev far0 nodad",
                "link set far0 up",
                "-6 route add default via fd02::9",
            ):
                assert far.run(f"ip {command}") == ""
            wait_for(lambda: "LOWER_UP" in ip("link show near0"), "near is up")
            wait_for(lambda: "LOWER_UP" in far.run("ip link show far0"), "far is up")
            wait_for(lambda: " 1 received" in linux_ping("fd02::1", count=1), "the way is there", 30)
            assert " 1 received" not in linux_ping("fd02::1", "-t", "1", count=1)
            sink = far.linux("sink", "fd02::1")
            source = [sys.executable, str(PEER), "source", "fd02::1", str(answer(sink)["port"]), str(3 << 20), "5"]
            assert subprocess.run(source, capture_output=True, timeout=60).stdout
            assert answer(sink) == {"size": 3 << 20, "digest": digest(3 << 20, 5)}
            linux_ping("fd02::1", "-s", "1400", count=1)
            wait_for(lambda: "mtu 1280" in ip("-6 route get fd02::1"), "Linux has heard of the path MTU")
            assert " 1 received" in linux_ping("fd02::1", "-s", "1400", count=1)
            assert kernel.counters()["ip6.forwarded"] > 10
            capture.close()
    assert tshark(path, BAD) == [] and tshark(path, "icmpv6.type == 2") and tshark(path, "icmpv6.type == 3")


@OFFLOAD
@pytest.mark.needs("tshark")
@pytest.mark.parametrize("mtu", [1280, pytest.param(1500, marks=pytest.mark.long), 9000])
def test_tcp_carries_every_byte_both_ways(offload, mtu, tmp_path):
    path = tmp_path / "tcp.pcapng"
    size = 2 << 20
    with linux_side(offload, mtu), six_on(offload=offload, capture=path) as six:
        process = six.kernel.process()
        with process.listen("tcp", 33333, OURS) as listener:
            command = [sys.executable, str(PEER), "source", OURS, "33333", str(size), "7"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
                connection, _ = listener.accept()
                total, got = hashlib.sha256(), 0
                with connection:
                    while data := connection.recv(1 << 18):
                        total.update(data)
                        got += len(data)
                    assert (got, total.hexdigest()) == (size, digest(size, 7))
                    for block in blocks(size, 8):
                        connection.sendall(block)
                assert answer(peer) == {"size": size, "digest": digest(size, 8)}
    assert tshark(path, BAD) == []
    assert six.count("tcp.bad_checksums") == 0
