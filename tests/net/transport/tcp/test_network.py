"""Whatever the network does, what arrives is what was sent, and both sides come to an end."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from rumpkit.hyper.time import MILLISECOND
from rumpkit.net.transport.tcp.states import CLOSED, FIN_WAIT_2
from rumpkit.net.wire.segment import Segment
from tests.net.transport.tcp.network import Network


def finished(net):
    for end in (net.a, net.b):
        assert end.block.state == CLOSED, end
        assert end.block.error == 0, end
        assert bytes(end.got) == net.peer(end).data, end


def quiet(net):
    """No ACK storms: what an end sends is explained by what it sent as data, received, or had to do in time."""
    for end in (net.a, net.b):
        data = len(end.data) // end.block.snd_mss + len(end.data) // 100
        assert end.sent <= 20 + 4 * data + 2 * end.received + 2 * end.deadlines, end


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    size_a=st.integers(0, 120_000),
    size_b=st.integers(0, 40_000),
    loss=st.sampled_from((0.0, 0.01, 0.1, 0.3)),
    duplicate=st.sampled_from((0.0, 0.1)),
    jitter=st.sampled_from((0, 5 * MILLISECOND, 50 * MILLISECOND)),
    mss=st.sampled_from((100, 536, 1460, 9000)),
    both_open=st.booleans(),
    whole=st.sampled_from((0.0, 0.5)),
    timestamps=st.integers(0, 1),
    sack=st.integers(0, 1),
    ecn=st.integers(0, 2),
    mark=st.sampled_from((0.0, 0.1)),
    congestion=st.integers(0, 1),
    max_pacing_rate=st.sampled_from((0, 0, 1_000_000)),
    window_scaling=st.integers(0, 1),
    receive_buffer=st.sampled_from((4096, 50_000, 1 << 20)),
    send_buffer=st.sampled_from((4096, 30_000, 1 << 20)),
)
def test_byte_exact_over_a_bad_network(seed, **arguments):
    if arguments["loss"] > 0.1:
        arguments["size_a"] //= 5
        arguments["size_b"] //= 5
    net = Network(seed, orphan_retries=100, retries=100, syn_retries=100, synack_retries=100, **arguments)
    net.run()
    finished(net)
    quiet(net)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 50_000), loss=st.sampled_from((0.0, 0.2)))
@example(seed=560970, size=0, loss=0.0)
def test_aborts_and_leavings_end_both_sides(seed, size, loss):
    """One user goes away at a random moment; both connections end all the same."""
    net = Network(seed, size_a=size, size_b=size, loss=loss, duplicate=0.1, jitter=5 * MILLISECOND)
    random = net.random
    moment = random.randrange(200)
    for _ in range(moment):
        net.users()
        if not net.step():
            break
    # Nobody can leave what no SYN has opened yet.
    end = random.choice((net.a, net.a if net.listening else net.b))
    end.reads = False
    end.closed = True
    end.written = len(end.data)
    if random.random() < 0.5:
        end.connection.leave(net.now)
    else:
        end.connection.abort(net.now)
    net.transmit(end)
    net.run()
    for one in (net.a, net.b):
        if one.block.state == FIN_WAIT_2:
            # It heard of no end: the other's RST was lost, and was the last. Nothing is under way, so it waits until its user goes.
            assert net.peer(one).block.state == CLOSED and loss
            one.connection.leave(net.now)
            net.transmit(one)
    net.run()
    assert net.a.block.state == CLOSED, net.a
    # A side that never heard of the other, or of its end, waits for its user; it has none here but to go on trying.
    assert net.b.block.state == CLOSED or net.listening or not net.b.written, net.b


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    damage=st.lists(
        st.tuples(
            st.integers(0, 200),
            st.sampled_from(("seq", "ack", "window", "flags", "urgent", "ts_value", "ts_echo", "window_scale", "mss")),
            st.integers(0, 2**32 - 1),
        ),
        max_size=40,
    ),
)
def test_damaged_fields_never_raise(seed, damage):
    """A network that changes header fields may end connections, but nothing raises and every invariant holds."""
    net = Network(seed, size_a=20_000, size_b=20_000, retries=5, orphan_retries=3, jitter=MILLISECOND)
    changes: dict[int, list[tuple[str, int]]] = {}
    for index, field, value in damage:
        changes.setdefault(index, []).append((field, value))
    carried = 0
    carry = net.carry

    def damaged(end, segment):
        nonlocal carried
        for field, value in changes.get(carried, ()):
            limit = (
                256 if field in ("flags", "window_scale") else 2**16 if field in ("window", "urgent", "mss") else 2**32
            )
            setattr(segment, field, value % limit)
        carried += 1
        carry(end, segment)

    net.carry = damaged  # type: ignore[method-assign]
    for _ in range(3000):
        net.users()
        if not net.step():
            break
    for end in (net.a, net.b):
        end.check()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.integers(-70_000, 70_000),
            st.integers(-70_000, 70_000),
            st.integers(0, 255),
            st.integers(0, 65535),
            st.integers(0, 3000),
        ),
        max_size=30,
    )
)
def test_random_segments_never_raise(segments):
    net = Network(1, size_a=5000)
    for _ in range(20):
        net.users()
        net.step()
    for seq, ack, flags, window, size in segments:
        block = net.a.block
        segment = Segment(
            (block.rcv_nxt + seq) % 2**32, (block.snd_una + ack) % 2**32, flags, window, bytes(size), 0, size
        )
        net.a.connection.receive(segment, net.now)
        net.transmit(net.a)
        net.a.check()
