"""Answering a program's calls: listener, memory, descriptors and the stock of sockets, on programs that really run."""

from __future__ import annotations

import ast
import errno
import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from concurrent.futures import Future

import pytest

from rumpkit.guests.linux import abi
from rumpkit.guests.linux.descriptors import CACHED_PIDFDS, CACHED_TABLES, OFTEN, Descriptors, process_of
from rumpkit.guests.linux.factory import BATCH, FIRST_PAIRS, Factory
from rumpkit.guests.linux.memory import LIMIT, Memory
from rumpkit.guests.linux.network import DATAGRAM, DATAGRAM6, HEAD, RAW6, STREAM, UNMARKED
from rumpkit.guests.linux.plan import ProgramPlan
from rumpkit.guests.linux.sockaddr import decode, encode
from rumpkit.guests.linux.spawn import spawn
from tests.guests.linux.sandbox_helpers import PYTHON, answered, become_nobody, exit_code, in_child, run, unguarded
from tests.house.descriptors import descriptors_before, open_descriptors

pytestmark = pytest.mark.needs("linux", "seccomp", "netns")

INET = socket.AF_INET


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def as_user(request):
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


def python(code: str) -> list[str]:
    return [PYTHON, "-S", "-c", "import _socket as s, os, sys\n" + code]


class TestAnswers:
    def test_a_value_an_error_and_a_call_that_proceeds(self, as_user):
        def make(listener, call):
            kind = call.arguments[1] & 0xF
            if kind == socket.SOCK_RAW:
                listener.fail(call.id, errno.EPERM)
            elif kind == socket.SOCK_DGRAM:
                listener.proceed(call.id)
            else:
                listener.answer(call.id, 777)

        code = (
            "try: s.socket(s.AF_INET, s.SOCK_RAW, 1)\n"
            "except OSError as e: print(e.errno)\n"
            "print(s.socket(s.AF_INET, s.SOCK_DGRAM).fileno() < 10)\n"
            "x = s.socket(s.AF_INET, s.SOCK_STREAM); print(x.detach())\n"
        )
        as_user(lambda: check_equal(run(python(code), {"socket": make}), (0, "1\nTrue\n777\n")))

    def test_injection_close_on_exec_and_numbers(self, as_user):
        def make(listener, call):
            ours, given = socket.socketpair()
            ours.send(b"hello")
            ours.close()
            assert listener.inject(call.id, given.fileno(), bool(call.arguments[1] & socket.SOCK_CLOEXEC)) > 2
            given.close()

        code = (
            "a = s.socket(s.AF_INET, s.SOCK_STREAM); print(os.get_inheritable(a.fileno()), a.recv(9), a.recv(9))\n"
            "import ctypes; n = ctypes.CDLL(None).socket(2, 1, 0); print(os.get_inheritable(n), os.read(n, 9))\n"
            "print(sorted({a.fileno(), n}) == list(range(a.fileno(), a.fileno() + 2)))\n"
        )
        want = "False b'hello' b''\nTrue b'hello'\nTrue\n"
        as_user(lambda: check_equal(run(python(code), {"socket": make}), (0, want)))

    def test_a_full_descriptor_table_fails_the_call(self):
        outcomes = []

        def make(listener, call):
            given, other = socket.socketpair()
            with given, other:
                outcomes.append(listener.inject(call.id, given.fileno(), True))

        code = (
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5)); kept = []\n"
            "try:\n"
            "  while True: kept.append(s.socket(s.AF_INET, s.SOCK_STREAM))\n"
            "except OSError as e: print(len(kept), e.errno)\n"
        )
        # The module `resource` comes from a folder that -S leaves out on some systems: it is built in on Debian.
        assert run([PYTHON, "-c", "import _socket as s\n" + code], {"socket": make}) == (0, f"2 {errno.EMFILE}\n")
        assert outcomes == [3, 4, -1]

    def test_an_interrupted_call_tells_us_so(self, as_user):
        def check_it():
            outcomes = {}
            waiting = threading.Event()

            def make(listener, call):
                outcomes["before"] = listener.valid(call.id)
                waiting.set()
                deadline = time.monotonic() + 10
                while listener.valid(call.id) and time.monotonic() < deadline:
                    time.sleep(0.01)
                given, other = socket.socketpair()
                with given, other:
                    outcomes["inject"] = listener.inject(call.id, given.fileno(), True)
                outcomes["answer"] = listener.answer(call.id)
                outcomes["fail"] = listener.fail(call.id, 5)

            code = (
                "import signal\n"
                "def stop(*a): print('interrupted', flush=True); os._exit(4)\n"
                "signal.signal(signal.SIGALRM, stop); s.socket(s.AF_INET, s.SOCK_STREAM)\n"
            )
            with answered([PYTHON, "-c", "import _socket as s, os\n" + code], {"socket": make}) as (program, _):
                assert waiting.wait(10)
                time.sleep(0.1)
                program.send(signal.SIGALRM)
                assert exit_code(program.wait(10)) == 4
            assert outcomes == {"before": True, "inject": -1, "answer": False, "fail": False}

        as_user(check_it)

    def test_threads_forks_and_execs_are_heard(self, as_user):
        def check_it():
            code = (
                "import threading\n"
                "def make():\n"
                "  try: s.socket(s.AF_INET, s.SOCK_STREAM)\n"
                "  except OSError as e: print(e.errno, flush=True)\n"
                "make(); t = threading.Thread(target=make); t.start(); t.join()\n"
                "if os.fork() == 0: make(); os._exit(0)\n"
                "os.wait()\n"
                f"os.execv({PYTHON!r}, ['x', '-S', '-c', 'import _socket as s; s.socket(s.AF_INET, s.SOCK_STREAM)'])\n"
            )

            def refuse(listener, call):
                listener.fail(call.id, 99)

            with (
                open("/dev/null", "w") as null,
                answered(
                    [PYTHON, "-c", "import _socket as s, os\n" + code],
                    {"socket": refuse},
                    stdio=(0, null.fileno(), null.fileno()),
                ) as (program, answers),
            ):
                assert exit_code(program.wait(20)) == 1
                assert len(answers.seen) == 4
                assert len({call.thread for call in answers.seen}) == 3  # exec keeps the thread id

        as_user(check_it)

    @pytest.mark.needs("gcc")
    def test_a_static_program(self, tmp_path, as_user):
        source = tmp_path / "static.c"
        source.write_text(
            "#include <sys/socket.h>\n#include <errno.h>\n"
            "int main(void) { return socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0; }\n"
        )
        binary = f"/tmp/rumpkit-static-{os.getpid()}"
        assert os.system(f"gcc -static -o {binary} {source}") == 0
        try:
            as_user(lambda: check_equal(run([binary], {"socket": lambda to, call: to.fail(call.id, 42)})[0], 42))
        finally:
            os.unlink(binary)

    @pytest.mark.needs("gcc")
    def test_a_program_of_another_architecture_is_killed(self, tmp_path):
        source = tmp_path / "alien.c"
        source.write_text(
            'int main(void) { long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(20)); return r > 0; }\n'
        )
        if os.uname().machine != "x86_64" or os.system(f"gcc -o {tmp_path}/alien {source}"):
            pytest.skip("missing: x86-64")
        if os.waitstatus_to_exitcode(os.system(f"{tmp_path}/alien")) != 1:
            pytest.skip("missing: 32-bit system calls")
        assert run([f"{tmp_path}/alien"])[0] == -signal.SIGSYS

    def test_without_a_listener_calls_fail(self):
        program = spawn(
            ProgramPlan(python("try: s.socket(s.AF_INET, s.SOCK_STREAM)\nexcept OSError as e: sys.exit(e.errno)"))
        )
        os.close(program.listener)
        program.listener = -1
        assert exit_code(program.wait(10)) == errno.ENOSYS
        program.close()


def check_equal(got, wanted):
    assert got == wanted


class TestMemory:
    def probe(self, handler, body: str, **options) -> tuple[int, str]:
        """Runs Python whose bind(2) calls carry addresses and sizes of its own choosing."""
        code = (
            "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.bind.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]\n"
            "def call(where, size): return c.bind(0, where, size), ctypes.get_errno()\n"
        )
        return run(python(code + body), {"bind": handler}, **options)

    def test_reading_and_writing(self, as_user):
        def check_it():
            memory = Memory(unguarded)
            seen = []

            def bind(listener, call):
                seen.append(memory.read(call.thread, call.arguments[1], call.arguments[2]))
                memory.write(call.thread, call.arguments[1], seen[-1][::-1])
                word = memory.read_word(call.thread, call.arguments[1])
                memory.write_word(call.thread, call.arguments[1] + 4, word)
                memory.write_sized(call.thread, call.arguments[1], b"HG", call.arguments[1] + 4, word)
                memory.write_sized(call.thread, 0, b"", call.arguments[1] + 4, word)
                listener.answer(call.id, 5)

            body = "b = ctypes.create_string_buffer(b'abcdefgh'); print(call(ctypes.addressof(b), 8), b.raw)"
            assert self.probe(bind, body) == (0, "(5, 0) b'HGfehgfe\\x00'\n")
            assert seen == [b"abcdefgh"]

        as_user(check_it)

    def test_bad_addresses_are_efault(self):
        memory = Memory(unguarded)

        def bind(listener, call):
            try:
                if call.arguments[2] == 5:
                    memory.write_sized(call.thread, call.arguments[1], b"abc", 0, 3)
                elif call.arguments[2] == 3:
                    memory.write(call.thread, call.arguments[1], b"abc")
                else:
                    memory.read(call.thread, call.arguments[1], call.arguments[2])
                listener.answer(call.id)
            except OSError as problem:
                listener.fail(call.id, problem.errno)

        body = (
            "import mmap; m = mmap.mmap(-1, 8192); p = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
            "c.munmap.argtypes = c.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int]\n"
            "c.munmap(p + 4096, 4096, 0)\n"
            "print(call(0, 16), call(p + 4090, 6), call(p + 4090, 16), call(2**64 - 4096, 16), call(p, 3))\n"
            "c.mprotect(p, 4096, 1); print(call(p, 3), call(p, 4), call(p, 5), flush=True); os._exit(0)\n"
        )
        bad = f"(-1, {errno.EFAULT})"
        code, out = self.probe(bind, body)
        # the buffer's errno stays what it was where the call succeeds
        assert code == 0
        assert out.splitlines() == [
            f"{bad} (0, {errno.EFAULT}) {bad} {bad} (0, {errno.EFAULT})",
            f"{bad} (0, {errno.EFAULT}) {bad}",
        ]

    def test_sizes_are_bounded(self):
        memory = Memory(unguarded)
        assert len(memory.read(os.getpid(), memory._local, LIMIT)) == LIMIT
        assert memory.read(os.getpid(), 0, 0) == b""

    def test_memory_is_that_of_the_program_after_vfork_and_exec(self):
        """What a cached /proc/TID/mem gets wrong: the child's memory was its parent's until the exec."""
        memory = Memory(unguarded)
        seen = []

        def bind(listener, call):
            seen.append(memory.read(call.thread, call.arguments[1], 5))
            listener.answer(call.id)

        inner = (
            "import ctypes; b = ctypes.create_string_buffer(b'after'); c = ctypes.CDLL(None);"
            "c.bind.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]; c.bind(0, ctypes.addressof(b), 5)"
        )
        body = (
            "b = ctypes.create_string_buffer(b'first'); call(ctypes.addressof(b), 5)\n"
            f"p = os.posix_spawn({PYTHON!r}, ['x', '-S', '-c', {inner!r}], {{}}); os.waitpid(p, 0)\n"
            f"os.execv({PYTHON!r}, ['x', '-S', '-c', {inner!r}])\n"
        )
        assert self.probe(bind, body)[0] == 0
        assert seen == [b"first", b"after", b"after"]


class TestDescriptors:
    @pytest.mark.parametrize("thread_pidfds", [True, False])
    def test_sockets_are_known_by_inode_and_can_be_copied(self, as_user, thread_pidfds):
        def check_it():
            descriptors = Descriptors(thread_pidfds)
            found = []

            def listen(listener, call):
                fd = call.arguments[0] & 0xFFFFFFFF
                inode = descriptors.socket_inode(call.thread, fd)
                found.append(inode)
                if inode:
                    with socket.socket(fileno=descriptors.copy(call.thread, fd)) as copy:
                        assert os.fstat(copy.fileno()).st_ino == inode
                        copy.send(b"seen")
                listener.answer(call.id, 0)

            code = (
                "import threading\n"
                "a, b = s.socketpair(); os.dup2(a.fileno(), 50); c = s.socket(fileno=50)\n"
                "def go(): c.listen(1)\n"
                "a.listen(1); t = threading.Thread(target=go); t.start(); t.join()\n"
                "if os.fork() == 0: c.listen(1); os._exit(0)\n"
                "os.wait(); import ctypes; c = ctypes.CDLL(None); c.listen(os.open('/dev/null', 0), 1); c.listen(999, 1)\n"
                "print(b.recv(99))\n"
            )
            out = run([PYTHON, "-c", "import _socket as s, os\n" + code], {"listen": listen})
            assert out == (0, "b'seenseenseen'\n")
            assert found[0] and found[:3] == found[:1] * 3 and found[3:] == [0, 0]
            descriptors.close()

        as_user(check_it)

    def test_a_thread_that_calls_often_is_looked_at_quicker_and_rightly(self, as_user):
        """Its table is kept open, and is that of no other thread that gets its number; numbers may become other sockets."""

        def check_it():
            descriptors = Descriptors()
            found = []

            def listen(listener, call):
                fd = call.arguments[0] & 0xFFFFFFFF
                found.append((descriptors.inode_for(call.thread, fd), descriptors.socket_inode(call.thread, fd)))
                listener.answer(call.id, 0)

            code = (
                "import ctypes; c = ctypes.CDLL(None); a, b = s.socketpair(); inodes = []\n"
                f"for turn in range({2 * OFTEN}):\n"
                "    c.listen(a.fileno(), 1); inodes.append(os.fstat(a.fileno()).st_ino)\n"
                "    os.dup2(b.fileno(), a.fileno()); c.listen(a.fileno(), 1); inodes.append(os.fstat(a.fileno()).st_ino)\n"
                "    a.close(); c.listen(999, 1); inodes.append(0); a, b = s.socketpair()\n"
                "print(inodes)\n"
            )
            status, out = run([PYTHON, "-c", "import _socket as s, os\n" + code], {"listen": listen})
            inodes = ast.literal_eval(out)
            assert (status, found) == (0, [(inode, inode) for inode in inodes])
            assert len(set(inodes)) > 2 * OFTEN
            descriptors.close()

        as_user(check_it)

    def test_tables_are_bounded_and_outlive_no_process(self):
        before = len(os.listdir("/proc/self/fd"))
        descriptors = Descriptors()
        with socket.socket() as own:
            inode = os.fstat(own.fileno()).st_ino
            for _ in range(CACHED_TABLES + 5):
                child = os.fork()
                if not child:
                    time.sleep(100)
                    os._exit(0)
                looked = [descriptors.inode_for(child, own.fileno()) for _ in range(OFTEN + 2)]
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                assert looked == [inode] * len(looked)
                assert child in descriptors._tables
            assert len(os.listdir("/proc/self/fd")) <= before + 1 + CACHED_TABLES
            assert descriptors.inode_for(child, own.fileno()) == 0
            assert child not in descriptors._tables
        descriptors.close()
        assert len(os.listdir("/proc/self/fd")) == before

    def test_a_table_of_a_process_that_had_the_number_before_is_of_no_use(self):
        def child():
            made = os.fork()
            if not made:
                time.sleep(100)
                os._exit(0)
            return made

        descriptors = Descriptors()
        with socket.socket() as own, socket.socket() as other:
            first = child()
            os.dup2(other.fileno(), own.fileno())  # so the same number is another socket in the second one
            second = child()
            for _ in range(OFTEN):
                descriptors.inode_for(first, own.fileno())
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
            descriptors._tables[second] = descriptors._tables.pop(first)  # as if the number had come round
            inode = os.fstat(other.fileno()).st_ino
            try:
                assert [descriptors.inode_for(second, own.fileno()) for _ in range(2 * OFTEN)] == [inode] * 2 * OFTEN
            finally:
                os.kill(second, signal.SIGKILL)
                os.waitpid(second, 0)
        descriptors.close()

    def test_a_number_that_is_not_open(self):
        descriptors = Descriptors()
        with pytest.raises(OSError) as caught:
            descriptors.copy(os.getpid(), 999)
        assert caught.value.errno == errno.EBADF
        descriptors.close()

    def test_the_cache_is_bounded_and_survives_the_end_of_processes(self):
        before = len(descriptors_before())
        descriptors = Descriptors()
        for _ in range(CACHED_PIDFDS + 10):
            child = os.fork()
            if not child:
                time.sleep(100)
                os._exit(0)
            os.close(descriptors.copy(child, 0))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert len(open_descriptors()) <= before + CACHED_PIDFDS
        with pytest.raises(OSError) as caught:
            descriptors.copy(child, 0)
        assert caught.value.errno == errno.EBADF
        descriptors.close()
        assert len(open_descriptors()) == before

    def test_the_process_of_a_thread(self):
        box = []
        thread = threading.Thread(target=lambda: box.append(process_of(threading.get_native_id())))
        thread.start()
        thread.join()
        assert box == [os.getpid()]
        with pytest.raises(OSError):
            process_of(1 << 22)


class TestFactory:
    def test_sockets_belong_to_the_programs_namespace(self, as_user):
        def check_it():
            with answered(["sleep", "100"]) as (program, _):
                factory = Factory(program.supply, unguarded)
                theirs, _, ours = factory.take_pair()
                fds = [factory.take(STREAM), theirs, ours, factory.take(DATAGRAM), factory.take(DATAGRAM6)]
                for fd in fds:
                    with socket.socket(fileno=os.dup(fd)) as one:
                        request = bytearray(struct.pack("16s24x", b"eth0"))
                        import fcntl

                        siocgifindex = 0x8933
                        with pytest.raises(OSError):
                            fcntl.ioctl(one, siocgifindex, request)
                        request[:] = struct.pack("16s24x", b"lo")
                        fcntl.ioctl(one, siocgifindex, request)
                for fd in fds:
                    os.close(fd)
                factory.close()

        as_user(check_it)

    def test_more_than_a_batch_and_all_different(self):
        before = len(descriptors_before())
        with answered(["sleep", "100"]) as (program, _):
            factory = Factory(program.supply, unguarded)
            fds = [factory.take(DATAGRAM) for _ in range(5 * BATCH[DATAGRAM] + 1)]
            names = set()
            for fd in fds:
                with socket.socket(fileno=fd) as one:
                    names.add(one.getsockname())
            assert len(names) == len(fds)
            pairs = [factory.take_pair() for _ in range(100)]
            assert [os.fstat(near).st_ino for near, _, _ in pairs] == [inode for _, inode, _ in pairs]
            for near, _, far in pairs:
                os.write(near, b"x")
                assert os.read(far, 9) == b"x"
                os.close(near)
                os.close(far)
            factory.close()
        assert len(open_descriptors()) == before

    def test_who_takes_one_pair_has_few_in_stock_and_none_under_way(self):
        before = len(descriptors_before())
        with answered(["sleep", "100"]) as (program, _):
            there = len(open_descriptors())
            factory = Factory(program.supply, unguarded)
            pair = factory.take_pair()
            assert len(open_descriptors()) == there + 2 * FIRST_PAIRS
            assert not factory._ordered
            os.close(pair[0])
            os.close(pair[2])
            factory.close()
        assert len(open_descriptors()) == before

    @pytest.mark.parametrize("spare", range(4))
    @pytest.mark.parametrize("take", [Factory.take_pair, lambda factory: factory.take_both(RAW6)], ids=["pair", "raw6"])
    def test_a_supervisor_that_may_open_no_more_is_told_so(self, take, spare):
        """It gets as many of a batch as it has room for, and the others are lost; an odd one is of no use."""

        def check_it():
            with answered(["sleep", "100"]) as (program, _):
                factory = Factory(program.supply, unguarded)
                limits = resource.getrlimit(resource.RLIMIT_NOFILE)
                highest = max(int(number) for number in open_descriptors())
                while (filling := os.dup(0)) < highest:
                    pass
                resource.setrlimit(resource.RLIMIT_NOFILE, (filling + 1 + spare, limits[1]))
                for _ in range(spare // 2):
                    take(factory)
                with pytest.raises(OSError) as caught:
                    take(factory)
                if spare % 2:
                    os.dup(0)  # the odd one is closed
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                assert caught.value.errno == errno.EMFILE
                take(factory)
                factory.close()

        in_child(check_it, lambda: None)

    @pytest.mark.needs("nobody", "userns")
    def test_a_user_with_too_many_descriptors_under_way_loses_no_program(self):
        """ETOOMANYREFS of unix(7), as who sends may have few open."""

        def check_it():
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
            with answered(["sleep", "100"]) as (program, _):
                factory = Factory(program.supply, unguarded)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                near, far = socket.socketpair()
                socket.send_fds(near, [b"x"], [0] * 200)
                with pytest.raises(OSError) as caught:
                    factory.take_pair()
                assert caught.value.errno == errno.ENFILE
                far.close()
                factory.take_pair()
                assert program.status is None
                factory.close()

        in_child(check_it, become_nobody)

    def test_when_the_program_has_ended(self):
        with answered(["true"]) as (program, _):
            program.wait(10)
            factory = Factory(program.supply, unguarded)
            with pytest.raises(OSError) as caught:
                factory.take(STREAM)
            assert caught.value.errno == errno.EPIPE
            factory.close()


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data)) if len(data) % 2 == 0 else checksum(data + b"\0")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class TestCarrier:
    """The private network namespace as a carrier of datagrams: what the program sends comes out of the capture socket
    with the mark of its socket, and what is injected reaches that socket and no other."""

    def conversation(self, code: str, talk, family: int = DATAGRAM) -> tuple[int, str]:
        marks: list[tuple[bytes, int]] = []
        made: Future[Factory] = Future()  # the program may ask for its first socket before the factory is there

        def make(listener, call):
            fd = made.result(10).take(family)
            with socket.socket(fileno=fd) as given:
                name = given.getsockname()
                mark = socket.inet_aton(name[0].removeprefix("::ffff:"))
                marks.append((mark if any(mark) else UNMARKED, name[1]))
                assert listener.inject(call.id, fd, True) > 2

        reader, writer = os.pipe()
        with answered(python("import select\n" + code), {"socket": make}, stdio=(0, writer, 2)) as (
            program,
            _,
        ):
            os.close(writer)
            made.set_result(Factory(program.supply, unguarded))
            with (
                socket.socket(fileno=os.dup(program.capture)) as capture,
                socket.socket(fileno=os.dup(program.inject)) as inject,
            ):
                capture.settimeout(10)
                talk(capture, inject, marks)
            code_ = exit_code(program.wait(10))
            out = b""
            while data := os.read(reader, 4096):
                out += data
            os.close(reader)
            made.result().close()
        return code_, out.decode()

    @staticmethod
    def take(capture: socket.socket) -> tuple[bytes, bytes, int, int, bytes]:
        packet = capture.recv(1 << 17)[HEAD:]
        udp = (packet[0] & 15) * 4
        source, destination = struct.unpack_from("!HH", packet, udp)
        return packet[12:16], packet[16:20], source, destination, packet[udp + 8 :]

    @staticmethod
    def put(inject: socket.socket, source: tuple[bytes, int], mark: tuple[bytes, int], data: bytes) -> None:
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(data), 0, 0, 64, 17, 0, source[0], mark[0])
        udp = struct.pack("!HHHH", source[1], mark[1], 8 + len(data), 0)
        inject.sendto(head + udp + data, (socket.inet_ntoa(mark[0]), 0))

    @pytest.mark.parametrize("destination", ["8.8.8.8", "127.0.0.1", "10.0.2.15", "10.0.2.2", "255.255.255.255"])
    def test_any_destination_and_a_reply_from_it(self, as_user, destination):
        def talk(capture, inject, marks):
            mark, to, source, port, data = self.take(capture)
            assert (mark, source) == marks[0] and to == socket.inet_aton(destination)
            assert (port, data) == (53, b"question")
            self.put(inject, (to, 53), marks[0], b"answer")

        code = (
            f"a = s.socket(s.AF_INET, s.SOCK_DGRAM); print(a.sendto(b'question', ({destination!r}, 53)))\n"
            "print(select.select([a], [], [], 5)[0] == [a], a.recvfrom(100))\n"
        )
        want = f"8\nTrue (b'answer', ('{destination}', 53))\n"
        as_user(lambda: check_equal(self.conversation(code, talk), (0, want)))

    def test_sendmsg_recvmsg_and_truncation_are_native(self):
        def talk(capture, inject, marks):
            assert self.take(capture)[4] == b"onetwo"
            self.put(inject, (b"\1\2\3\4", 7), marks[0], b"x" * 60000)

        code = (
            "a = s.socket(s.AF_INET, s.SOCK_DGRAM); a.sendmsg([b'one', b'two'], [], 0, ('1.2.3.4', 7))\n"
            "d, c, f, w = a.recvmsg(10); print(len(d), f & s.MSG_TRUNC != 0, w)\n"
        )
        assert self.conversation(code, talk) == (0, "10 True ('1.2.3.4', 7)\n")

    def test_big_empty_and_many_datagrams_keep_their_order(self):
        sizes = [0, 65507, 1, 1400, 0, 9000]

        def talk(capture, inject, marks):
            assert [len(self.take(capture)[4]) for _ in sizes] == sizes
            for size in sizes:
                self.put(inject, (b"\1\2\3\4", 7), marks[0], bytes(size))

        code = (
            f"a = s.socket(s.AF_INET, s.SOCK_DGRAM)\nfor n in {sizes}: a.sendto(bytes(n), ('1.2.3.4', 7))\n"
            f"print([len(a.recv(70000)) for n in {sizes}] == {sizes})\n"
        )
        assert self.conversation(code, talk) == (0, "True\n")

    def test_connected_sockets_filter_and_hear_no_false_refusal_but_a_true_one(self, as_user):
        def talk(capture, inject, marks):
            packet = capture.recv(1000)[HEAD:]
            self.put(inject, (b"\1\2\3\4", 8), marks[0], b"wrong port")
            self.put(inject, (b"\1\2\3\5", 7), marks[0], b"wrong host")
            self.put(inject, (b"\1\2\3\4", 7), marks[0], b"right")
            assert self.take(capture)[4] == b"again"
            icmp = struct.pack("!BBHI", 3, 3, 0, 0) + packet[:28]
            icmp = icmp[:2] + struct.pack("!H", 0xFFFF ^ checksum(icmp)) + icmp[4:]
            head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0, b"\1\2\3\4", marks[0][0])
            inject.sendto(head + icmp, (socket.inet_ntoa(marks[0][0]), 0))

        # The supervisor connects a copy; here the program's own call proceeds natively, which is the same socket.
        code = (
            "a = s.socket(s.AF_INET, s.SOCK_DGRAM); a.connect(('1.2.3.4', 7)); a.send(b'first'); print(a.recv(100))\n"
            "a.settimeout(0.2)\n"
            "try: a.recv(1)\n"
            "except TimeoutError: print('nothing')\n"
            "a.settimeout(5); a.send(b'again')\n"
            "try: a.recv(1)\n"
            f"except ConnectionRefusedError as e: print(e.errno == {errno.ECONNREFUSED})\n"
        )
        as_user(lambda: check_equal(self.conversation(code, talk), (0, "b'right'\nnothing\nTrue\n")))

    def test_dual_stack_sockets(self, as_user):
        def talk(capture, inject, marks):
            assert self.take(capture)[1] == b"\1\2\3\4"
            self.put(inject, (b"\1\2\3\4", 7), marks[0], b"mapped")

        code = (
            "a = s.socket(s.AF_INET6, s.SOCK_DGRAM); a.sendto(b'x', ('::ffff:1.2.3.4', 7)); print(a.recvfrom(100))\n"
            "try: a.sendto(b'x', ('2001:db8::1', 7))\n"
            f"except OSError as e: print(e.errno == {errno.ENETUNREACH})\n"
        )
        want = "(b'mapped', ('::ffff:1.2.3.4', 7, 0, 0))\nTrue\n"
        as_user(lambda: check_equal(self.conversation(code, talk, DATAGRAM6), (0, want)))

    def test_what_is_injected_is_not_captured(self):
        def talk(capture, inject, marks):
            self.take(capture)
            self.put(inject, (b"\1\2\3\4", 7), marks[0], b"x")
            assert not select.select([capture], [], [], 0.2)[0]

        code = "a = s.socket(s.AF_INET, s.SOCK_DGRAM); a.sendto(b'x', ('1.2.3.4', 7)); a.recv(1)\n"
        assert self.conversation(code, talk)[0] == 0


def test_formats_have_the_sizes_that_the_ioctl_numbers_carry():
    for number, size in (
        (abi.SECCOMP_IOCTL_NOTIF_RECV, abi.NOTIFICATION.size),
        (abi.SECCOMP_IOCTL_NOTIF_SEND, abi.RESPONSE.size),
        (abi.SECCOMP_IOCTL_NOTIF_ADDFD, abi.ADDFD.size),
    ):
        assert number >> 16 & 0x3FFF == size


def test_an_address_from_the_programs_memory_round_trips():
    assert decode(encode((b"\1\2\3\4", 5), INET), INET) == (b"\1\2\3\4", 5)
