"""What the cases of the other files share, and how they are run: one line each.

The programs run natively and as guests, on the system's own Python, and their lines are compared.
"""

import ctypes
import errno
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

HERE = "127.0.0.1"
NATIVE_ONLY = 0x200  # EPOLLWRBAND, which unix sockets show beside EPOLLOUT
libc = ctypes.CDLL(None, use_errno=True)
cases: list[Callable[[], object]] = []


def case(function):
    cases.append(function)
    return function


class Alarm(Exception):
    pass


def name_of(number):
    return errno.errorcode.get(number, number)


def attempt(function):
    try:
        return function()
    except OSError as problem:
        return name_of(problem.errno) if problem.errno else type(problem).__name__


def events(one, mask=0x3FFF, timeout=0.3):
    with select.epoll() as epoll:
        epoll.register(one, mask)
        found = epoll.poll(timeout)
        return hex(found[0][1] & ~NATIVE_ONLY) if found else None


def listening(backlog=5, family=socket.AF_INET, host=HERE):
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((host, 0))
    one.listen(backlog)
    return one


def pair():
    with listening() as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def settle():
    time.sleep(0.05)


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    only = sys.argv[1:]
    for function in cases:
        if only and function.__name__ not in only:
            continue

        def hang(*_):
            raise TimeoutError("it hangs")

        signal.signal(signal.SIGALRM, hang)
        signal.setitimer(signal.ITIMER_REAL, 20)
        try:
            result = function()
        except Exception as problem:
            result = f"{type(problem).__name__}: {problem}"
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(f"{function.__name__}: {result}", flush=True)
