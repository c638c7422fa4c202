"""The client of echo_server.py: many lines there and back, then says how many came back right."""

import socket
import sys
import time

LINES = 1000


def connect(host: str, port: int) -> socket.socket:
    """The server may still be starting: try for ten seconds."""
    for _ in range(100):
        try:
            return socket.create_connection((host, port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.1)
    return socket.create_connection((host, port), timeout=10)


def main() -> int:
    right = 0
    with connect(sys.argv[1], int(sys.argv[2])) as connection, connection.makefile("rwb") as stream:
        for number in range(LINES):
            line = b"line %d\n" % number
            stream.write(line)
            stream.flush()
            right += stream.readline() == line
    print(f"{right} of {LINES} lines came back")
    return 0 if right == LINES else 1


if __name__ == "__main__":
    sys.exit(main())
