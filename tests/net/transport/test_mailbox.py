"""Mailboxes of datagram sockets."""

from rumpkit.hyper.calls import Waiter
from rumpkit.kern.abi.errno import ECONNREFUSED
from rumpkit.kern.wait import WaitQueue
from rumpkit.net.transport.mailbox import OVERHEAD, Letter, Mailbox


class Sleeper(Waiter):
    def __init__(self):
        self.woken = 0

    def wake(self):
        self.woken += 1


def letter(data):
    return Letter(data, bytes(4), 1, bytes(4), 64)


def test_the_limit_counts_bytes_and_a_fee_for_each_datagram():
    mailbox = Mailbox(WaitQueue(), 3 * (100 + OVERHEAD))
    assert [mailbox.put(letter(bytes(100))) for _ in range(4)] == [True, True, True, False]
    assert mailbox.dropped == 1
    mailbox.take()
    assert mailbox.put(letter(bytes(101))) is False
    assert mailbox.put(letter(bytes(100))) is True
    while mailbox.first() is not None:
        mailbox.take()
    assert mailbox.used == 0


def test_an_empty_mailbox_takes_even_what_is_above_its_limit():
    mailbox = Mailbox(WaitQueue(), 100)
    assert mailbox.put(letter(bytes(5000)))
    assert not mailbox.put(letter(b""))
    mailbox.clear()
    assert (mailbox.used, mailbox.first()) == (0, None)


def test_a_datagram_wakes_one_and_an_error_wakes_all():
    queue = WaitQueue()
    mailbox = Mailbox(queue)
    sleepers = [Sleeper() for _ in range(3)]
    for sleeper in sleepers:
        queue.add(sleeper)
    mailbox.put(letter(b"x"))
    assert [sleeper.woken for sleeper in sleepers] == [1, 0, 0]
    mailbox.fail(ECONNREFUSED)
    assert [sleeper.woken for sleeper in sleepers] == [1, 1, 1]
    assert (mailbox.take_error(), mailbox.take_error()) == (ECONNREFUSED, 0)
