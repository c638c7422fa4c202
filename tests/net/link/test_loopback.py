"""The loopback interface: frames that never leave, seen by taps once."""

from rumpkit.hyper.frame import CHECKSUM_PARTIAL, Frame
from rumpkit.net.link.tap import OUTBOUND, FrameTap
from tests.net.lan import pair


class Notes(FrameTap):
    def __init__(self):
        self.seen = []

    def frame(self, interface, frame, direction, now):
        self.seen.append((interface, frame, direction))


def test_taps_see_each_frame_once_and_unfinished():
    _, a, _ = pair()
    notes = Notes()
    lo = a.ip.interfaces.get("lo")
    lo.add_tap(notes)
    server = a.udp_socket(port=7)
    a.send(a.socket(), bytes(60_000), "127.0.0.1", 7)
    assert a.drain(server) == [bytes(60_000)]
    ((interface, frame, direction),) = notes.seen
    assert (interface, direction, len(frame), frame.checksum) == ("lo", OUTBOUND, 14 + 28 + 60_000, CHECKSUM_PARTIAL)
    lo.remove_tap(notes)
    a.send(a.socket(), b"x", "127.0.0.1", 7)
    assert len(notes.seen) == 1
    assert a.counter("interface.lo.frames_out") == a.counter("interface.lo.frames_in") == 2


def test_strange_frames_and_a_loopback_that_is_down():
    host, a, _ = pair()
    lo = a.ip.interfaces.get("lo")
    with a.entered():
        for head in (b"", bytes(13), bytes(12) + b"\x08\x06" + bytes(28)):
            host.post(lo.ingress(), Frame(head))
    assert a.counter("interface.lo.unknown_type_in") == 3
    a.do(a.ip.set_up, "lo", False)
    with a.entered():
        host.post(lo.ingress(), Frame(bytes(12) + b"\x08\0" + bytes(20)))
        lo.output(Frame(bytes(20)), b"\x7f\0\0\1", host.now)
    assert a.counter("interface.lo.down_in") == a.counter("interface.lo.down_out") == 1
