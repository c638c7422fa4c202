"""Calls to be traced, between two marks: what `rump run --trace` writes of them is held against what strace writes."""

import array
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import tempfile

os.chdir(tempfile.mkdtemp())
os.access("/begin", 0)

# Sockets
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 0))
listener.listen(5)
client = socket.socket()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
client.connect(listener.getsockname())
server, _ = listener.accept()
server.sendall(b"hello\n\0\1world" * 5)
client.recv(100)
client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 3))
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 2, 500000))
client.shutdown(socket.SHUT_WR)
server.recv(10, socket.MSG_NOSIGNAL | socket.MSG_PEEK)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
datagrams.sendto(b"x", datagrams.getsockname())
datagrams.recvfrom(10)
datagrams.sendmsg([b"ab", b"cd"], [], 0, datagrams.getsockname())
datagrams.recvmsg(10, 100)
one, other = socket.socketpair()
one.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
other.recvmsg(10, 100)
try:
    socket.socket().connect(("127.0.0.1", 9))
except OSError:
    pass
six = socket.socket(socket.AF_INET6)
six.bind(("::", 0))
try:
    socket.socket(socket.AF_UNIX).connect("/nowhere")
except OSError:
    pass

# Files
fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
os.write(fd, b'hello "w" \\ \t' + bytes([0, 7, 200]) + b"1" + bytes(50))
os.lseek(fd, 0, os.SEEK_SET)
os.read(fd, 64)
os.pread(fd, 3, 2)
os.writev(fd, [b"ab", b"cde"])
os.ftruncate(fd, 10)
os.fsync(fd)
os.stat("f")
os.rename("f", "g")
os.symlink("g", "l")
os.readlink("l")
os.link("g", "h")
os.unlink("h")
os.mkdir("dir", 0o755)
os.rmdir("dir")
os.chmod("g", 0o4755)
os.access("g", os.R_OK | os.W_OK)
os.utime("g", (1, 2))
os.dup2(fd, 20)
fcntl.fcntl(fd, fcntl.F_GETFL)
fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 30)
len(os.listdir("."))
os.getrandom(4, os.GRND_NONBLOCK)
try:
    os.open("/nowhere/at/all", os.O_RDONLY | os.O_DIRECTORY)
except OSError:
    pass

# Events, memory, signals, processes
reader, writer = os.pipe()
poll = select.poll()
poll.register(reader, select.POLLIN)
poll.poll(1)
os.write(writer, b"x")
poll.poll(1000)
epoll = select.epoll()
epoll.register(reader, select.EPOLLIN)
epoll.poll(1)
epoll.close()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
signal.signal(signal.SIGURG, signal.SIG_IGN)
mmap.mmap(-1, 8192).close()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.umask(0o22)
os.eventfd(1)
os.kill(os.getpid(), signal.SIGCONT)
if os.fork() == 0:
    os.kill(os.getpid(), signal.SIGTERM)
os.wait()
os.access("/end", 0)
