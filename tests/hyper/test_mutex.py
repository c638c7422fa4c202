"""The mutex of hosts with one thread."""

import pytest

from rumpkit.hyper.mutex import SingleThreadMutex


def test_can_be_taken_again_after_release():
    mutex = SingleThreadMutex()
    mutex.acquire()
    mutex.release()
    mutex.acquire()


def test_waiting_for_ever_is_refused():
    mutex = SingleThreadMutex()
    mutex.acquire()
    with pytest.raises(RuntimeError):
        mutex.acquire()


def test_release_needs_a_holder():
    with pytest.raises(RuntimeError):
        SingleThreadMutex().release()
