"""Which sockets are closed, told without holding a descriptor."""

from __future__ import annotations

import os
import socket

import pytest

from rumpkit.guests.linux.lifelines import LOOK_AFTER, Lifelines

pytestmark = pytest.mark.needs("linux")


def watch(lifelines: Lifelines, one: socket.socket) -> int:
    """Watch a socket through a copy that is closed again, as is done with what a program gets."""
    copy = os.dup(one.fileno())
    inode = os.fstat(copy).st_ino
    lifelines.watch(copy, inode)
    os.close(copy)
    return inode


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_a_socket_is_there_until_its_last_copy_closes(family, kind):
    lifelines = Lifelines()
    one = socket.socket(family, kind)
    two = one.dup()
    inode = watch(lifelines, one)
    assert lifelines.closed() == []
    one.close()
    assert lifelines.closed() == []
    two.close()
    assert lifelines.closed() == [inode]
    assert lifelines.closed() == [] and len(lifelines) == 0
    lifelines.close()


def test_a_socket_in_another_process_counts():
    lifelines = Lifelines()
    one = socket.socket()
    inode = watch(lifelines, one)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    one.close()
    assert lifelines.closed() == []
    os.close(writer)
    os.waitpid(child, 0)
    assert lifelines.closed() == [inode]
    os.close(reader)
    lifelines.close()


def test_descriptor_numbers_that_come_round_again_are_no_trouble():
    lifelines = Lifelines()
    kept = [socket.socket() for _ in range(20)]
    inodes = [watch(lifelines, one) for one in kept]  # the copy has the same number each time
    assert len(lifelines) == 20
    for one in kept[::2]:
        one.close()
    assert sorted(lifelines.closed()) == sorted(inodes[::2])
    for one in kept[1::2]:
        one.close()
    lifelines.close()


def test_what_is_known_to_be_closed_is_not_told_again():
    lifelines = Lifelines()
    with socket.socket() as one:
        inode = watch(lifelines, one)
    lifelines.forget(inode)
    assert lifelines.closed() == []
    lifelines.close()


def test_looking_pays_only_after_many():
    lifelines = Lifelines()
    kept = []
    while not lifelines.due():
        kept.append(socket.socket())
        watch(lifelines, kept[-1])
    assert len(kept) == LOOK_AFTER + 1
    lifelines.closed()
    assert not lifelines.due()
    for one in kept:
        one.close()
    lifelines.close()
