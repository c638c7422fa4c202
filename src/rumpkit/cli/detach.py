"""`rump run --detach`: the run goes on in a process of its own, and the command returns once everything is started and healthy.

That process is a second `rump run`, in a session of its own, which tells the first one by a pipe what has become of its start. What it
says on stderr until then is the user's to read; after that its output is what `rump logs` shows.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..compose.errors import ConfigError
from ..compose.load import located
from . import exit as code
from . import trace

if TYPE_CHECKING:
    from ..compose.kernel import Kernel
    from ..compose.spec import Spec
    from ..compose.supervise.conductor import Conductor

END_TIMEOUT = 60.0
"""Seconds that a start which is given up has to take everything down."""


def detach(arguments: argparse.Namespace) -> int:
    """Start the run, wait until it is ready, print its kernels' names."""
    if trace.wanted(arguments) or arguments.no_control or arguments.gdb:
        option = "--no-control" if arguments.no_control else "--gdb" if arguments.gdb else "--trace"
        print(f"rump: {option} and --detach make no sense together: nobody would see it", file=sys.stderr)
        return code.USAGE
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with open(reader, "rb") as said:
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "rumpkit.cli", *_words(arguments, writer)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(writer,),
                start_new_session=True,
            )
        finally:
            os.close(writer)
        return _await(child, said.read, arguments.quiet)


def _words(arguments: argparse.Namespace, ready: int) -> list[str]:
    """The command line of the second process."""
    words = ["run", f"--ready={ready}"]
    if arguments.capture:
        words.append(f"--capture={os.path.abspath(arguments.capture)}")
    if arguments.crash_report:
        words.append("--crash-report")
    words += [f"--forward={forward}" for forward in arguments.forward]
    if arguments.file:
        words.append(arguments.file)
    return [*words, "--", *arguments.command] if arguments.command else words


def _await(child: "subprocess.Popen[bytes]", read: Any, quiet: bool) -> int:
    """Wait until it is ready or has failed.  Whoever interrupts us ends it, too."""
    try:
        with _signals_end(child):
            text = read()
    except KeyboardInterrupt as interruption:
        child.terminate()
        _bury(child)
        return code.SIGNALLED + (interruption.args[0] if interruption.args else signal.SIGINT)
    if not text:
        return _status(child.wait())
    told = json.loads(text)
    for line in told.get("failed", ()):
        print(f"rump: {line}", file=sys.stderr)
    if "status" in told:
        _bury(child)
        return int(told["status"])
    if not quiet:
        for forward in told["forwards"]:
            print(f"rump: forwarding {forward}", file=sys.stderr)
        for note in told["notes"]:
            print(f"rump: {note}", file=sys.stderr)
    for name in told["kernels"]:
        print(name)
    return code.OK


def _bury(child: "subprocess.Popen[bytes]") -> None:
    """Wait for its end, which it has been asked for."""
    try:
        child.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class _signals_end:
    """SIGTERM and SIGHUP end the wait as Ctrl-C does."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        def stop(number: int, frame: object) -> None:
            raise KeyboardInterrupt(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, stop)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _status(returned: int) -> int:
    """A child's return code as a shell gives it; of one that has ended well and yet never got ready: all its programs have."""
    return returned if returned >= 0 else code.SIGNALLED - returned


def refuse_uncontrolled(kernels: "Mapping[str, Spec]", file: str) -> None:
    """Raise ConfigError where nobody could look at the run, or stop it, once it is detached."""
    for name, spec in kernels.items():
        if not spec.kernel.control:
            problem = ConfigError("a detached run needs a control socket", key="kernel.control", hint="leave it out")
            raise located(problem, file, name)


def tell_when_ready(conductor: "Conductor", kernels: Mapping[str, "Kernel"], ready: int) -> None:
    """In the second process: wait until all programs are where they shall be, and tell the first one.  Where one is not, the run
    is ended, and it learns why."""
    machine = conductor.machine
    conductor.wait_settled()
    failed = machine.failed()
    if conductor.interrupted():
        return
    told: dict[str, Any]
    if failed:
        conductor.stop_all()
        conductor.wait()
        told = {"failed": failed + _last_words(conductor), "status": machine.status() or code.FAILED}
    elif conductor.end_wanted:
        conductor.stop_all()
        conductor.wait()
        told = {"failed": ["it was stopped before everything was started"], "status": machine.status() or code.FAILED}
    else:
        forwards = [forward for kernel in kernels.values() for forward in kernel.forwards()]
        notes = [f"programs don't see {path}: {reason}" for path, reason in conductor.unseen().items()]
        notes += [f"{name} {note}" for name, guest in conductor.guests.items() for note in guest.notes]
        told = {"kernels": [kernel.listen() for kernel in kernels.values()], "forwards": forwards, "notes": notes}
    _go_dark()
    os.write(ready, json.dumps(told).encode())
    os.close(ready)


LAST_LINES = 5
"""Of what a program that has failed has printed, that are shown."""


def _last_words(conductor: "Conductor") -> list[str]:
    """What the programs that keep the run from being ready have printed last."""
    lines = []
    for one in conductor.machine.programs.values():
        if one.exit_code or one.ailment:
            entries = conductor.output.logs[one.name].entries()[-LAST_LINES:]
            lines += [f"{one.name} | {entry.text}" for entry in entries if entry.stream != "rump"]
    return lines


def _go_dark() -> None:
    """From here on nobody reads our stderr: the terminal it was may be another's soon."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)
