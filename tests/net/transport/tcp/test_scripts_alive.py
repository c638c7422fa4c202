"""Scripts of connections on which nothing happens: keepalive (RFC 9293 section 3.8.4) and the user's timeout (RFC 5482)."""

import pytest

from rumpkit.kern.abi.errno import ECONNRESET, ETIMEDOUT
from rumpkit.net.transport.tcp.options import TcpOptions
from tests.net.transport.tcp.script import Ack, Data, Fin, Rst, Script, Syn, established

HOUR = 3_600_000


def alive(time=10_000, interval=1000, probes=3, **arguments):
    """Keepalive is on."""
    options = TcpOptions()
    options.keepalive = True
    options.keepalive_time = time
    options.keepalive_interval = interval
    options.keepalive_probes = probes
    return established(options=options, **arguments)


@pytest.mark.rfc("9293", "MUST-25")
def test_nobody_probes_who_was_not_asked_to():
    t = established()
    t.quiet(100 * HOUR)
    t.state("ESTABLISHED")


@pytest.mark.rfc("9293", "MUST-28")
def test_the_usual_wait_is_two_hours():
    options = TcpOptions()
    options.keepalive = True
    t = established(options=options)
    t.quiet(2 * HOUR - 1)
    t.by(2 * HOUR, Ack(0, 1, at=2 * HOUR))


@pytest.mark.rfc("9293", "MUST-27", "SHLD-12")
def test_the_wait_can_be_set():
    t = alive(time=5000)
    t.quiet(4999)
    t.by(5000, Ack(0, 1, at=5000))


@pytest.mark.rfc("9293", "MUST-29")
def test_lost_answers_are_forgiven():
    t = alive()
    t.by(11_000, Ack(0, 1, at=10_000), Ack(0, 1, at=11_000))
    t.send(11_500, Ack(1, 1))
    t.quiet(21_499)
    t.by(21_500, Ack(0, 1))
    t.state("ESTABLISHED")


def test_a_silent_peer_is_given_up_and_told():
    t = alive()
    t.by(13_000, Ack(0, 1, at=10_000), Ack(0, 1, at=11_000), Ack(0, 1, at=12_000), Rst(1, 1, at=13_000))
    t.state("CLOSED")
    t.events("ended")
    assert t.block.error == ETIMEDOUT


@pytest.mark.rfc("9293", "MUST-26")
def test_data_that_came_puts_probes_off():
    t = alive()
    t.send(9000, Data(1, b"x"))
    t.by(9040, Ack(1, 2))
    t.quiet(18_999)
    t.by(19_000, Ack(0, 2, at=19_000))


@pytest.mark.rfc("9293", "MUST-26")
def test_nothing_is_probed_while_data_is_under_way():
    t = alive(time=1000)
    t.write(b"data")
    t.at(20_000)
    assert {segment.seq for segment in t.sent()} == {1}


def test_a_probe_that_is_reset_ends_the_connection():
    t = alive()
    t.by(10_000, Ack(0, 1))
    t.send(10_010, Rst(1))
    t.state("CLOSED")
    assert t.block.error == ECONNRESET


def test_a_half_closed_connection_is_watched():
    t = alive()
    t.send(5000, Fin(1, 1))
    t.expect(Ack(1, 2))
    t.state("CLOSE-WAIT")
    t.by(15_000, Ack(0, 2, at=15_000))


def test_fin_wait_2_is_watched():
    t = alive()
    t.close()
    t.expect(Fin(1, 1))
    t.send(10, Ack(1, 2))
    t.state("FIN-WAIT-2")
    t.at(14_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_time_wait_is_not_watched():
    t = alive(time=1000)
    t.close()
    t.expect(Fin(1, 1))
    t.send(10, Fin(1, 2))
    t.expect(Ack(2, 2))
    t.quiet(59_000)
    t.state("TIME-WAIT")


def test_the_users_timeout_counts_for_probes():
    t = alive(probes=100)
    t.options.user_timeout = 15_000
    t.at(14_999)
    t.state("ESTABLISHED")
    t.at(16_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_the_users_timeout_counts_from_what_is_not_acknowledged():
    t = established()
    t.options.user_timeout = 5000
    t.at(60_000)
    t.write(b"abc")
    t.at(64_999)
    t.state("ESTABLISHED")
    t.at(70_000)
    t.state("CLOSED")


def test_the_users_timeout_ends_probes_of_a_closed_window_in_time():
    """Not only when the next one would go."""
    t = established()
    t.options.user_timeout = 5000
    t.send(0, Ack(1, 1, window=0))
    t.write(b"abc")
    t.at(100)
    t.silent()
    first = t.connection.next_deadline() // 1_000_000
    t.by(first + 1, Ack(0, 1))
    t.at(first + 4999)
    t.state("ESTABLISHED")
    t.at(first + 5001)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


@pytest.mark.parametrize("leaves", [True, False])
def test_a_peer_cannot_keep_what_nobody_waits_for(leaves):
    """Its window stays closed, and it answers every probe: that holds a connection with a user for ever, and no other."""
    t = established()
    t.send(0, Ack(1, 1, window=0))
    t.write(b"abc")
    if leaves:
        t.leave()
    for minute in range(30):
        for second in range(minute * 60, minute * 60 + 60):
            t.at(second * 1000 + 999)
            if t.sent():
                t.send(second * 1000 + 999, Ack(1, 1, window=0))
    t.state("CLOSED" if leaves else "ESTABLISHED")


@pytest.mark.parametrize("window", [lambda answers: 0, lambda answers: answers % 2])
def test_the_users_timeout_ends_a_connection_whose_window_stays_closed_whatever_the_peer_answers(window):
    """As on Linux (tcp_probe_timer): answers to probes, or a byte more of window and less again, are no progress."""
    t = established()
    t.options.user_timeout = 20_000
    t.send(0, Ack(1, 1, window=0))
    t.write(b"a segment's worth" * 30)
    answers = 0
    while t.now < 25_000_000_000 and t.block.state != 0:
        t.at(t.now // 1_000_000 + 50)
        if t.sent():
            answers += 1
            t.send(t.now // 1_000_000, Ack(1, 1, window=window(answers)))
        if t.block.error:
            break
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT and answers > 3 and 20_000 <= t.now // 1_000_000 <= 21_500


def test_a_window_that_opens_meanwhile_begins_the_users_timeout_anew():
    t = established()
    t.options.user_timeout = 5000
    t.send(0, Ack(1, 1, window=0))
    t.write(b"abc")
    t.at(4000)
    assert t.sent()
    t.send(4000, Ack(1, 1, window=3))
    t.expect(Data(1, b"abc"))
    t.send(4010, Ack(1, 4, window=0))
    t.write(b"def")
    t.at(9000)
    t.state("ESTABLISHED")
    t.at(11_000)
    t.state("CLOSED")


@pytest.mark.parametrize("passive", [False, True])
def test_the_users_timeout_counts_while_a_connection_is_set_up(passive):
    t = Script()
    t.options.user_timeout = 2500
    if passive:
        t.open()
        t.expect(Syn())
        t.send(100, Syn())  # both open at once
        t.state("SYN-RECEIVED")
    else:
        t.open()
        t.expect(Syn())
    t.at(2499)
    t.state("SYN-RECEIVED" if passive else "SYN-SENT")
    t.at(2700)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_a_long_user_timeout_does_not_keep_a_connection_that_is_being_set_up():
    """The number of SYNs counts beside it."""
    t = Script(syn_retries=2)
    t.options.user_timeout = 1_000_000
    t.open()
    t.at(10_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_an_acknowledgement_of_a_part_satisfies_the_users_timeout():
    t = established()
    t.options.user_timeout = 5000
    t.options.nodelay = True
    t.write(b"abc")
    t.write(b"def")
    t.send(4000, Ack(1, 4))
    t.at(8900)
    t.state("ESTABLISHED")
    t.at(15_000)
    t.state("CLOSED")


def test_switching_keepalive_on_does_not_count_what_was_before():
    t = established()
    t.at(50_000)
    t.options.keepalive = True
    t.options.keepalive_time = 10_000
    t.connection.options_changed(t.now)
    t.quiet(59_999)
    t.by(60_000, Ack(0, 1))


@pytest.mark.rfc("9293", "MUST-24")
def test_keepalive_can_be_switched_off_between_probes():
    t = alive()
    t.by(10_000, Ack(0, 1))
    t.options.keepalive = False
    t.connection.options_changed(t.now)
    t.quiet(1000 * HOUR)
    t.state("ESTABLISHED")
