"""Selective acknowledgement: agreed upon, said by the receiver (RFC 2018, RFC 2883) and used by the sender."""

import pytest

from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Script, Syn, SynAck


def receiver(**arguments):
    """A connection that does SACK and has nothing to send."""
    t = Script(**arguments)
    t.listen(Syn(sack_ok=True))
    t.expect(SynAck(0, 1, sack_ok=True))
    t.send(0, Ack(1, 1))
    t.silent()
    return t


def sender(count=10, **arguments):
    """A connection that does SACK, on a path of 100 ms, with `count` segments in flight, sent at 100 ms."""
    t = Script(**arguments)
    t.open()
    t.expect(Syn(sack_ok=True))
    t.send(100, SynAck(sack_ok=True))
    t.expect(Ack(1, 1))
    t.block.congestion.window = count * MSS
    t.write(bytes(count * MSS))
    t.expect(Data(1, bytes(count * MSS)))
    return t


def at(n):
    """The sequence number of the n-th segment, from 0."""
    return 1 + n * MSS


# The handshake --------------------------------------------------------------------------------------------------------------


def test_both_sides_must_want_it():
    t = Script()
    t.open()
    t.expect(Syn(sack_ok=True))
    t.send(0, SynAck())
    assert not t.block.sack


def test_the_sysctl_turns_it_off():
    t = Script(sack=0)
    t.open()
    t.expect(Syn(sack_ok=False))
    t.send(0, SynAck(sack_ok=True))
    assert not t.block.sack
    t = Script(sack=0)
    t.listen(Syn(sack_ok=True))
    t.expect(SynAck(0, 1, sack_ok=False))


def test_an_answer_permits_only_what_was_asked_for():
    t = Script()
    t.listen(Syn())
    t.expect(SynAck(0, 1, sack_ok=False))


def test_blocks_without_permission_say_nothing():
    t = Script()
    t.open()
    t.send(100, SynAck())
    t.out.clear()
    t.write(bytes(5 * MSS))
    t.out.clear()
    for time in (200, 201, 202):
        t.send(time, Ack(1, 1, sack=[(at(1), at(2))]))
    assert t.block.scoreboard.sacked == 0  # type: ignore[union-attr]


# The receiver -----------------------------------------------------------------------------------------------------------------


def test_what_is_ahead_is_reported_at_once():
    t = receiver()
    t.send(10, Data(at(1), bytes(MSS)))
    t.expect(Ack(1, 1, sack=[(at(1), at(2))], at=10))


def test_the_run_that_grew_last_comes_first():
    t = receiver()
    t.send(10, Data(at(1), bytes(MSS)))
    t.send(11, Data(at(3), bytes(MSS)))
    t.send(12, Data(at(5), bytes(MSS)))
    t.send(13, Data(at(4), bytes(MSS)))
    t.expect(
        Ack(1, 1, sack=[(at(1), at(2))]),
        Ack(1, 1, sack=[(at(3), at(4)), (at(1), at(2))]),
        Ack(1, 1, sack=[(at(5), at(6)), (at(3), at(4)), (at(1), at(2))]),
        Ack(1, 1, sack=[(at(3), at(6)), (at(1), at(2))]),
    )
    t.send(14, Data(at(0), bytes(MSS)))
    t.expect(Ack(1, at(2), sack=[(at(3), at(6))]))
    t.send(15, Data(at(2), bytes(MSS)))
    t.expect(Ack(1, at(6), sack=[]))


def test_four_blocks_fit_and_three_beside_timestamps():
    t = receiver()
    for n in (1, 3, 5, 7, 9):
        t.send(10 + n, Data(at(n), bytes(MSS)))
    assert t.sent()[-1].fields["sack"] == [(at(n), at(n + 1)) for n in (9, 7, 5, 3)]
    t = Script(timestamps=1)
    t.listen(Syn(sack_ok=True, ts=(1, 0)))
    t.send(0, Ack(1, 1, ts=(2, 0)))
    t.out.clear()
    for n in (1, 3, 5, 7, 9):
        t.send(10 + n, Data(at(n), bytes(MSS), ts=(10 + n, 0)))
    assert t.sent()[-1].fields["sack"] == [(at(n), at(n + 1)) for n in (9, 7, 5)]


def test_a_batch_is_answered_once_while_one_header_says_it_all():
    t = receiver()
    t.send(10, *(Data(at(n), bytes(MSS)) for n in (1, 2, 3, 5)))
    t.expect(Ack(1, 1, sack=[(at(5), at(6)), (at(1), at(4))]))
    t.send(11, *(Data(at(n), bytes(MSS)) for n in (7, 9, 11, 13)))
    assert len(t.sent()) == 2


def test_a_duplicate_is_reported_once():
    """RFC 2883 section 4.1.1."""
    t = receiver()
    t.send(10, Data(1, bytes(2 * MSS), segments=2, gso_size=MSS))
    t.expect(Ack(1, at(2), sack=[]))
    t.send(20, Data(1, bytes(MSS)))
    t.expect(Ack(1, at(2), sack=[(at(0), at(1))]))
    t.send(30, Data(at(3), bytes(MSS)))
    t.expect(Ack(1, at(2), sack=[(at(3), at(4))]))
    assert t.environment.counters.duplicates_reported == 1


def test_a_duplicate_of_what_waits_is_followed_by_its_run():
    """RFC 2883 section 4.1.2."""
    t = receiver()
    t.send(10, Data(at(1), bytes(2 * MSS), segments=2, gso_size=MSS))
    t.send(11, Data(at(5), bytes(MSS)))
    t.out.clear()
    t.send(12, Data(at(2), bytes(MSS)))
    t.expect(Ack(1, 1, sack=[(at(2), at(3)), (at(1), at(3)), (at(5), at(6))]))


def test_a_partial_duplicate_is_reported_in_part():
    """RFC 2883 section 4.2."""
    t = receiver()
    t.send(10, Data(1, bytes(MSS)), Data(at(1), bytes(MSS)))
    t.out.clear()
    t.send(20, Data(at(1), bytes(2 * MSS)))
    t.expect(Ack(1, at(3), sack=[(at(1), at(2))]))


def test_a_duplicate_that_was_asked_for_by_nobody_is_not_reported_without_sack():
    t = Script()
    t.listen(Syn())
    t.send(0, Ack(1, 1))
    t.send(10, Data(1, bytes(MSS)), Data(at(1), bytes(MSS)))
    t.out.clear()
    t.send(20, Data(1, bytes(MSS)))
    t.expect(Ack(1, at(2), sack=[]))


def test_data_never_carries_blocks_and_the_report_goes_beside_it():
    t = receiver()
    t.block.options.nodelay = True
    t.connection.write(bytes(MSS), 0)
    t.send(10, Data(at(1), bytes(MSS)))
    t.expect(Data(1, bytes(MSS), sack=[]), Ack(at(1), 1, sack=[(at(1), at(2))]))


def test_a_fin_ahead_is_kept_and_what_precedes_it_reported():
    t = receiver()
    t.send(10, Fin(at(1), data=bytes(MSS)))
    t.expect(Ack(1, 1, sack=[(at(1), at(2))]))
    t.send(20, Data(1, bytes(MSS)))
    t.expect(Ack(1, at(2) + 1, sack=[]))
    t.state("CLOSE-WAIT")


# The sender -------------------------------------------------------------------------------------------------------------------


def test_only_what_is_missing_goes_again():
    t = sender()
    t.send(200, Ack(1, at(2), sack=[(at(3), at(5)), (at(6), at(10))]))
    t.expect(Data(at(2), bytes(MSS), at=200), Data(at(5), bytes(MSS), at=200))
    t.send(300, Ack(1, at(5), sack=[(at(6), at(10))]))
    t.silent()
    t.send(400, Ack(1, at(10)))
    t.silent()
    assert t.environment.counters.retransmits == 2
    assert not t.block.disorder


def test_a_run_of_losses_goes_as_one_super_segment():
    t = sender(20)
    t.block.congestion.window = 100 * MSS
    t.send(200, Ack(1, at(2), sack=[(at(8), at(20))]))
    t.send(201, Ack(1, at(2), sack=[(at(8), at(20))]))
    first = t.sent()
    assert [seg.seq for seg in first] == [at(2)]
    t.send(300, Ack(1, at(3), sack=[(at(8), at(20))]))
    assert all(seg.seq < at(8) for seg in t.sent())


def test_blocks_in_any_order_mean_the_same():
    t = sender()
    t.send(200, Ack(1, 1, sack=[(at(8), at(9)), (at(2), at(3)), (at(5), at(6))]))
    assert t.block.scoreboard.sacked == 3 * MSS
    assert not t.block.scoreboard.reordered


@pytest.mark.parametrize(
    "blocks",
    [
        [(at(12), at(13))],
        [(at(5), at(4))],
        [(at(9), at(11))],
        [(-5000, -4000)],
        [(at(3), at(3))],
    ],
)
def test_nonsense_is_ignored(blocks):
    t = sender()
    t.send(200, Ack(1, 1, sack=blocks))
    assert t.block.scoreboard.sacked == 0
    t.silent()


def test_parts_of_segments_do_not_count():
    """A peer can't make us keep more records than there are segments."""
    t = sender(10)
    for n in range(1, 10):
        t.send(200, Ack(1, 1, sack=[(at(n) + 10, at(n) + 20), (at(n) + 30, at(n) + 900)]))
    assert t.block.scoreboard.sacked == 0
    assert len(t.block.scoreboard.records) == 1
    t.send(201, Ack(1, 1, sack=[(at(3) + 10, at(6) - 10)]))
    assert t.block.scoreboard.sacked == MSS


def test_selective_acknowledgements_let_new_data_out():
    """Limited transmit, by the pipe of RFC 6675."""
    t = sender()
    t.write(bytes(5 * MSS))
    t.silent()
    t.send(200, Ack(1, 1, sack=[(at(1), at(2))]))
    t.expect(Data(at(10), bytes(MSS)))


def test_a_lost_retransmission_is_found_by_later_ones():
    """RACK needs no timer for it, where duplicate acknowledgements would."""
    t = sender(10)
    t.write(bytes(20 * MSS))
    t.send(200, Ack(1, 1, sack=[(at(1), at(10))]))
    sent = t.sent()
    assert sent[0].seq == 1
    assert sum(1 for seg in sent if seg.seq >= at(10)) > 0
    newest = max(seg.seq + len(seg.data) for seg in sent)
    t.send(310, Ack(1, 1, sack=[(at(1), newest)]))
    assert t.sent()[0].seq == 1
    assert t.environment.counters.timeouts == 0


def test_a_peer_that_reneges_is_found_out_by_the_timer():
    """RFC 2018 section 8."""
    t = sender(3, tail_loss_probe=0)
    t.send(200, Ack(1, 1, sack=[(at(1), at(3))]))
    t.by(225, Data(1, bytes(MSS), at=225))
    t.send(300, Ack(1, at(1)))
    t.silent()
    t.at(1000)
    assert t.environment.counters.reneges == 1
    assert t.sent()[0].seq == at(1)
    t.send(1100, Ack(1, at(2)))
    t.expect(Data(at(2), bytes(MSS)))
    t.send(1200, Ack(1, at(3)))
    assert not t.block.disorder


def test_what_arrived_is_not_sent_again_after_a_timeout():
    t = sender(10, tail_loss_probe=0)
    t.send(200, Ack(1, at(1), sack=[(at(5), at(6))]))
    t.out.clear()
    t.at(399)
    t.out.clear()
    again = []
    ack = at(1)
    for time in range(500, 2000, 100):
        t.at(time)
        for seg in t.sent():
            again.append((seg.seq, seg.seq + len(seg.data)))
            ack = max(ack, seg.seq + len(seg.data))
            if ack == at(5):
                ack = at(6)
        t.send(time, Ack(1, ack, sack=[(at(5), at(6))] if ack < at(5) else ()))
    assert t.environment.counters.timeouts
    assert all(end <= at(5) or first >= at(6) for first, end in again)
    assert ack == at(10)
