"""The table against RFC 9293 figure 5, and every way through it that a connection takes."""

import pytest

from rumpkit.kern.abi.errno import ECONNRESET, EPIPE
from rumpkit.net.transport.tcp import states
from rumpkit.net.transport.tcp.states import EVENT_NAMES, STATE_NAMES, TRANSITIONS, diagram, has_transition, next_state
from tests.net.transport.tcp.script import Ack, Data, Fin, Rst, Script, Seg, Syn, SynAck, accepted, established

FIGURE_5 = """
CLOSED       passive OPEN    LISTEN
CLOSED       active OPEN     SYN-SENT
LISTEN       rcv SYN         SYN-RECEIVED
LISTEN       CLOSE           CLOSED
SYN-SENT     rcv SYN         SYN-RECEIVED
SYN-SENT     rcv SYN,ACK     ESTABLISHED
SYN-SENT     CLOSE           CLOSED
SYN-RECEIVED rcv ACK of SYN  ESTABLISHED
ESTABLISHED  CLOSE           FIN-WAIT-1
ESTABLISHED  rcv FIN         CLOSE-WAIT
FIN-WAIT-1   rcv ACK of FIN  FIN-WAIT-2
FIN-WAIT-1   rcv FIN         CLOSING
FIN-WAIT-2   rcv FIN         TIME-WAIT
CLOSE-WAIT   CLOSE           LAST-ACK
CLOSING      rcv ACK of FIN  TIME-WAIT
LAST-ACK     rcv ACK of FIN  CLOSED
TIME-WAIT    timeout         CLOSED
"""


def test_the_table_is_the_figure():
    ours = {
        (STATE_NAMES[state], EVENT_NAMES[event], STATE_NAMES[following])
        for state, event, following in TRANSITIONS
        if event != states.RESET and not (state == states.FIN_WAIT_2 and event == states.TIMEOUT)
    }
    theirs = {(row[:13].strip(), row[13:29].strip(), row[29:].strip()) for row in FIGURE_5.strip().splitlines()}
    assert ours == theirs


def test_reset_ends_every_state_that_has_a_peer():
    for state in range(1, len(STATE_NAMES)):
        assert has_transition(state, states.RESET) == (state not in (states.CLOSED, states.LISTEN))
    assert next_state(states.LAST_ACK, states.RESET) == states.CLOSED


def test_an_arrow_that_is_not_there_is_an_error():
    with pytest.raises(AssertionError, match="rcv FIN in SYN-SENT"):
        next_state(states.SYN_SENT, states.FIN)


def test_the_diagram_has_every_arrow():
    assert "  SYN_SENT --> ESTABLISHED: rcv SYN,ACK\n" in diagram()
    assert diagram().count("-->") == sum(event != states.RESET for _, event, _ in TRANSITIONS)


# The ways to close (RFC 9293 section 3.6) ----------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-12", "MUST-13")
def test_we_close_first():
    """Figure 12."""
    t = established()
    t.close()
    t.expect(Fin(1, 1))
    t.state("FIN-WAIT-1")
    t.send(10, Ack(1, 2))
    t.state("FIN-WAIT-2")
    t.send(20, Fin(1, 2))
    t.expect(Ack(2, 2))
    t.state("TIME-WAIT")
    t.events("readable")
    t.at(60019).silent()
    t.state("TIME-WAIT")
    t.at(60020).silent()
    t.state("CLOSED")
    t.events("ended")
    assert t.block.error == 0


def test_the_peer_closes_first():
    t = established()
    t.send(10, Fin(1, 1))
    t.expect(Ack(1, 2))
    t.state("CLOSE-WAIT")
    t.events("readable")
    assert t.connection.finished_receiving()
    t.write(b"more")
    t.expect(Data(1, b"more", 2))
    t.close()
    t.expect(Fin(5, 2))
    t.state("LAST-ACK")
    t.send(20, Ack(2, 5))
    t.state("LAST-ACK")
    t.send(20, Ack(2, 6))
    t.silent()
    t.state("CLOSED")
    assert t.block.error == 0


def test_simultaneous_close():
    """Figure 13."""
    t = established()
    t.close()
    t.expect(Fin(1, 1))
    t.send(10, Fin(1, 1))
    t.expect(Ack(2, 2))
    t.state("CLOSING")
    t.send(20, Ack(2, 2))
    t.state("TIME-WAIT")


def test_fin_and_ack_of_fin_in_one_segment():
    t = established()
    t.close()
    t.expect(Fin(1, 1))
    t.send(10, Fin(1, 2))
    t.expect(Ack(2, 2))
    t.state("TIME-WAIT")


def test_fin_rides_on_the_last_data():
    t = established()
    t.connection.write(b"bye", 0)
    t.close()
    t.expect(Fin(1, 1, data=b"bye"))
    t.send(10, Ack(1, 4))
    t.state("FIN-WAIT-1")
    t.send(10, Ack(1, 5))
    t.state("FIN-WAIT-2")


def test_half_close_goes_on_receiving():
    t = established()
    t.close()
    t.expect(Fin(1, 1))
    t.send(10, Ack(1, 2))
    t.send(20, Data(1, b"still here", 2), Data(11, b"!", 2))
    assert t.read() == b"still here!"
    t.send(30, Fin(12, 2))
    t.expect(Ack(2, 13))
    t.state("TIME-WAIT")


def test_data_in_fin_wait_1():
    t = established()
    t.close()
    t.expect(Fin(1, 1))
    t.send(10, Data(1, b"abc", 1))
    assert t.read() == b"abc"
    t.state("FIN-WAIT-1")


def test_fin_is_retransmitted():
    t = established()
    t.close()
    t.expect(Fin(1, 1))
    t.at(200).silent()
    t.at(201).expect(Fin(1, 1))
    t.at(600).silent()
    t.at(601).expect(Fin(1, 1))


def test_fin_ahead_of_missing_data_waits():
    t = established()
    t.send(10, Fin(4, 1, data=b"def"))
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")
    t.send(20, Data(1, b"abc"))
    t.expect(Ack(1, 8))
    t.state("CLOSE-WAIT")
    assert t.read() == b"abcdef"
    assert t.connection.finished_receiving()


def test_bare_fin_ahead_of_missing_data_waits():
    t = established()
    t.send(10, Fin(4, 1))
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")
    t.send(20, Data(1, b"abc"))
    t.expect(Ack(1, 5))
    t.state("CLOSE-WAIT")


def test_text_behind_a_fin_is_ignored():
    t = established()
    t.send(10, Fin(1, 1))
    t.expect(Ack(1, 2))
    t.send(20, Data(2, b"ghost"))
    assert t.connection.readable() == 0
    t.state("CLOSE-WAIT")


def test_closing_twice_is_one_fin():
    t = established()
    t.close()
    t.close()
    t.expect(Fin(1, 1))
    assert t.write(b"late") == 0


def test_urgent_fin_or_psh_alone_do_not_matter_without_ack():
    t = established()
    t.send(10, Seg("F", 1), Seg("P", 1, data=b"abc"))
    t.silent()
    t.state("ESTABLISHED")
    assert t.connection.readable() == 0


# TIME-WAIT ------------------------------------------------------------------------------------------------------------------


def time_wait(**arguments):
    t = established(**arguments)
    t.close()
    t.send(0, Fin(1, 2))
    t.expect(Fin(1, 1), Ack(2, 2))
    t.state("TIME-WAIT")
    return t


def test_a_retransmitted_fin_is_acknowledged_and_the_wait_starts_anew():
    t = time_wait()
    t.send(50_000, Fin(1, 2))
    t.expect(Ack(2, 2))
    t.at(109_999).state("TIME-WAIT")
    t.at(110_000).state("CLOSED")


def test_resets_do_not_end_time_wait():
    """RFC 1337."""
    t = time_wait()
    t.send(1, Rst(2))
    t.silent()
    t.state("TIME-WAIT")


@pytest.mark.rfc("9293", "SHLD-4")
def test_which_syn_may_reopen():
    t = time_wait()
    assert t.connection.reopens(t._real(Syn(3)))
    assert not t.connection.reopens(t._real(Syn(2)))
    assert not t.connection.reopens(t._real(Syn(-1000)))
    assert not t.connection.reopens(t._real(SynAck(3)))
    t = time_wait()
    t.block.timestamps = True
    t.block.settings.timestamps = 1
    t.block.ts_recent = 500
    assert t.connection.reopens(t._real(Syn(-1000, ts=(501, 0))))
    assert not t.connection.reopens(t._real(Syn(-1000, ts=(500, 0))))


def test_no_reopening_before_time_wait():
    t = established()
    assert not t.connection.reopens(t._real(Syn(1000)))


# Orphans: the user has closed the socket --------------------------------------------------------------------------------------


def test_an_orphan_finishes_by_itself():
    t = established()
    t.connection.write(b"tail", 0)
    t.leave()
    t.expect(Fin(1, 1, data=b"tail"))
    t.send(10, Ack(1, 6))
    t.state("FIN-WAIT-2")
    t.send(20, Fin(1, 6))
    t.expect(Ack(6, 2))
    t.state("TIME-WAIT")


def test_an_orphan_does_not_wait_in_fin_wait_2_for_ever():
    t = established()
    t.leave()
    t.send(10, Ack(1, 2))
    t.state("FIN-WAIT-2")
    t.at(60_009).state("FIN-WAIT-2")
    t.at(60_010).state("CLOSED")


def test_a_half_closed_connection_with_a_user_waits_for_ever():
    t = established()
    t.close()
    t.send(10, Ack(1, 2))
    t.at(10_000_000).state("FIN-WAIT-2")


def test_leaving_in_fin_wait_2_starts_the_timer():
    t = established()
    t.close()
    t.send(10, Ack(1, 2))
    t.at(5000)
    t.leave()
    t.at(64_999).state("FIN-WAIT-2")
    t.at(65_000).state("CLOSED")


@pytest.mark.rfc("9293", "SHLD-3")
def test_data_for_an_orphan_is_answered_by_a_reset():
    """RFC 1122 section 4.2.2.13."""
    t = established()
    t.leave()
    t.expect(Fin(1, 1))
    t.send(10, Data(1, b"anybody there?"))
    t.expect(Rst(2, 1))
    t.state("CLOSED")


@pytest.mark.rfc("9293", "SHLD-3")
def test_leaving_with_unread_data_resets():
    """RFC 2525 section 2.17."""
    t = established()
    t.send(10, Data(1, b"unread"))
    t.leave()
    t.expect(Rst(1, 7))
    t.state("CLOSED")


def test_linger_zero_resets():
    t = established()
    t.options.linger = 0
    t.connection.write(b"lost", 0)
    t.leave()
    t.expect(Rst(1, 1))
    t.state("CLOSED")


def test_an_orphan_gives_up_earlier():
    t = established(orphan_retries=2)
    t.leave()
    t.expect(Fin(1, 1))
    t.at(100_000)
    t.expect(Fin(1, 1), Fin(1, 1))
    t.state("CLOSED")


# Resets in every state ---------------------------------------------------------------------------------------------------------


def in_state(name):
    t = accepted() if name == "CLOSE-WAIT" else established()
    if name in ("CLOSE-WAIT", "LAST-ACK"):
        t.send(0, Fin(1, 1))
    if name in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK"):
        t.close()
    if name == "FIN-WAIT-2":
        t.send(0, Ack(1, 2))
    if name == "CLOSING":
        t.send(0, Fin(1, 1))
    t.state(name)
    t.out.clear()
    t.block.events = 0
    return t


@pytest.mark.parametrize("name", ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK"])
def test_a_reset_ends_the_connection(name):
    t = in_state(name)
    nxt = t.block.rcv_nxt - t.block.irs
    t.send(1, Rst(nxt + 1))
    t.expect(Ack(None, nxt))
    t.state(name)
    t.send(2, Rst(nxt))
    t.silent()
    t.state("CLOSED")
    t.events("ended")
    # Who has read the peer's FIN hears that nobody listens any more, as on Linux.
    assert t.block.error == {"CLOSING": 0, "LAST-ACK": 0, "CLOSE-WAIT": EPIPE}.get(name, ECONNRESET)


@pytest.mark.parametrize("name", ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK"])
def test_abort_sends_a_reset(name):
    t = in_state(name)
    t.abort()
    t.expect(Rst(None, t.block.rcv_nxt - t.block.irs))
    t.state("CLOSED")
    t.at(1_000_000).silent()


def test_abort_in_time_wait_is_silent():
    t = time_wait()
    t.abort()
    t.silent()
    t.state("CLOSED")


def test_nothing_happens_in_closed():
    t = Script()
    t.send(0, Syn(), Ack(1, 1), Rst(1), Fin(1, 1))
    t.close()
    t.abort()
    t.silent()
    t.state("CLOSED")
