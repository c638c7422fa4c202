"""A machine with another kernel: Debian's own under QEMU, with this machine's files.

The kernel comes out of Debian's package, unpacked and never installed. Its initramfs has a Python, the modules for
virtio's 9p, and `inside.py`; the root file system is the host's, read-only, so that the programs, the interpreter and
the rumpkit under test are the ones of this run. KVM is used where it boots such a kernel, else QEMU's emulation.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.house import resources
from tests.system.helpers.rump import ROOT, interpreter, search_path

CACHE = ROOT / ".cache" / "linux"
QEMU = "qemu-system-x86_64"
INSIDE = Path(__file__).with_name("inside.py")
MODULES = """virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
             netfs fscache 9pnet 9pnet_virtio 9p
             inet_diag udp_diag
             tun ifb sch_netem sch_tbf sch_ingress act_mirred cls_u32
             llc stp bridge garp mrp 8021q""".split()
"""Some kernels have some of them built in.  The second line's are those that a Debian loads by itself when a guest's socket
of NETLINK_SOCK_DIAG asks for them, the third's when `ip` and `tc` do; inside there is nobody to do so."""
WHICH = f"{zlib.crc32(' '.join(MODULES).encode()):08x}"
"""Stands for the list in the name of what was unpacked: another list wants it unpacked again."""
HIDDEN = ("/tmp/", "/run/", "/dev/shm/")
"""Folders of the host's that are fresh inside: what is needed out of them is mounted again."""
KVM_BOOTS_WITHIN = 40
PR_SET_PDEATHSIG = 1


# --------------------------------------------------------------------------------------------------------- the kernel


def debian_kernel(release: str) -> Path:
    """The folder with `vmlinuz` and `modules/` of Debian's kernel of a release ("6.1"); skips where there is none."""
    if platform.machine() != "x86_64":
        pytest.skip("missing: x86_64 (the machine shares its programs)")
    unpacked = sorted(CACHE.glob(f"linux-image-{release}.*.{WHICH}/vmlinuz"))
    if unpacked:
        return unpacked[-1].parent
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(program) is None:
            pytest.skip(f"missing: {program}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        name, package = _download(release, Path(folder))
        kernel = Path(folder) / name
        _unpack(package, kernel)
        try:
            return kernel.rename(CACHE / f"{name}.{WHICH}")
        except OSError:  # another run was faster
            return CACHE / f"{name}.{WHICH}"


def _download(release: str, folder: Path) -> tuple[str, Path]:
    """Fetch the newest package; its name and file. What apt knows may be old: then it is asked to look again."""
    wanted = re.compile(rf"linux-image-{re.escape(release)}\.0-(\d+)-amd64")
    for attempt in range(2):
        if attempt and os.geteuid() == 0:
            subprocess.run(["apt-get", "update", "-q"], capture_output=True)
        known = subprocess.run(["apt-cache", "pkgnames", f"linux-image-{release}."], capture_output=True, text=True)
        names = [match for name in known.stdout.split() if (match := wanted.fullmatch(name))]
        if not names:
            continue
        name = max(names, key=lambda match: int(match[1]))[0]
        subprocess.run(["apt-get", "download", "-q", name], cwd=folder, capture_output=True)
        for package in folder.glob("*.deb"):
            return name, package
    pytest.skip(f"missing: linux-image-{release} (apt-get cannot download it)")


def _unpack(package: Path, folder: Path) -> None:
    """Take the kernel and the modules we need out of the package."""
    (folder / "modules").mkdir(parents=True)
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            path = Path(member.name)
            if path.name.startswith("vmlinuz-"):
                target = folder / "vmlinuz"
            elif path.suffix == ".ko" and path.stem in MODULES:
                target = folder / "modules" / path.name
            else:
                continue
            data = archive.extractfile(member)
            assert data is not None
            target.write_bytes(data.read())
    assert process.returncode == 0 and (folder / "vmlinuz").exists(), f"cannot unpack {package.name}"


# ------------------------------------------------------------------------------------------------------ the initramfs


def _python_files() -> set[Path]:
    """An interpreter without its packages, what `inside.py` imports in its first stage, and their libraries."""
    show = (
        "import runpy, sys; runpy.run_path(sys.argv[1])\n"
        "print(*(getattr(one, '__file__', None) for one in list(sys.modules.values())), sep='\\n')"
    )
    python = _first_python()
    shown = subprocess.run(
        [python, "-I", "-S", "-c", show, str(INSIDE)], capture_output=True, text=True, check=True
    ).stdout
    files = {Path(line) for line in shown.split("\n") if line.startswith("/")} | {Path(python)}
    binaries = [path for path in files if path.suffix != ".py"]
    for binary in binaries:
        linked = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
        files.update(Path(found) for found in re.findall(r"(/\S+) \(0x", linked))
    return files


def _first_python() -> str:
    """Ours, outside of a virtual environment."""
    return os.path.realpath(sys.executable)


def _initramfs(kernel: Path, job: dict[str, Any]) -> bytes:
    """A cpio archive, as Linux's documentation of early user space has it ("newc")."""
    script = f"#!{_first_python()} -IS\n".encode() + INSIDE.read_bytes()
    content: dict[str, tuple[int, bytes]] = {
        "init": (0o100755, script),
        "job.json": (0o100644, json.dumps(job).encode()),
    }
    for name in job["modules"]:
        content[f"modules/{name}"] = (0o100644, (kernel / "modules" / name).read_bytes())
    for path in _python_files():
        content[str(path).lstrip("/")] = (0o100755, path.read_bytes())
    folders = {str(parent) for name in content for parent in Path(name).parents} - {"."}
    folders |= {"dev", "proc", "sys"}
    entries = [(name, 0o040755, b"") for name in sorted(folders)]
    entries += [(name, mode, data) for name, (mode, data) in content.items()]
    entries.append(("TRAILER!!!", 0, b""))
    archive = bytearray()
    for number, (name, mode, data) in enumerate(entries, 1):
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name.encode()) + 1, 0]
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4)
        archive += data
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


# -------------------------------------------------------------------------------------------------------- the machine


class Command:
    """One that runs inside, as a user; `status`, `output` (with its errors) and `seconds` are there afterwards."""

    def __init__(self, *words: str, user: int = 0) -> None:
        self.words = words
        self.user = user
        self.status: int | None = None
        self.output = ""
        self.seconds = 0.0


class Machine:
    """A machine that boots, runs commands one after the other, and ends. `folder` is for what it needs meanwhile."""

    kvm_boots = True
    """Whether KVM is worth a try: not every /dev/kvm can boot a stock kernel."""

    def __init__(self, kernel: Path, folder: Path) -> None:
        self.kernel = kernel
        self.folder = folder
        self.release = ""
        self.accelerator = ""
        self._answers = folder / "answers"

    def run(self, *commands: Command, timeout: float) -> None:
        """Run the commands within so many seconds in all. Fails, with the end of the console, if the machine does."""
        (self.folder / "initramfs").write_bytes(_initramfs(self.kernel, self._job(commands)))
        end = time.monotonic() + timeout
        if Machine.kvm_boots and resources.why_missing("kvm") is None:
            Machine.kvm_boots = self._try("kvm", commands, end)
            if Machine.kvm_boots:
                return
        assert self._try("tcg", commands, end), f"the machine does not boot:\n{self._console()}"

    def _job(self, commands: tuple[Command, ...]) -> dict[str, Any]:
        users = {command.user for command in commands}
        needed = [str(ROOT), sys.prefix, sys.base_prefix, *search_path().split(os.pathsep), *map(interpreter, users)]
        keep = sorted({path for path in needed if path.startswith(HIDDEN) and os.path.isdir(path)})
        passed_on = ("RUMPKIT_DEBUG", "RUMPKIT_EXPECT_FORM")
        return {
            "python": sys.executable,
            "inside": str(INSIDE),
            "folder": str(ROOT),
            "modules": [f"{name}.ko" for name in MODULES if (self.kernel / "modules" / f"{name}.ko").exists()],
            "keep": [path for path in keep if not any(path.startswith(f"{other}/") for other in keep)],
            "commands": [{"words": command.words, "user": command.user} for command in commands],
            "environment": {
                **{name: os.environ[name] for name in passed_on if name in os.environ},
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/tmp",
                "LANG": "C.UTF-8",
                "PYTHONPATH": search_path(),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTEST_TIMEOUT": "600",  # the emulation is slow
            },
        }

    def _try(self, accelerator: str, commands: tuple[Command, ...], end: float) -> bool:
        """Run on an accelerator; False if the machine does not come up there."""
        self.accelerator = accelerator
        self._answers.write_bytes(b"")
        boot_end = min(end, time.monotonic() + KVM_BOOTS_WITHIN) if accelerator == "kvm" else end
        process = subprocess.Popen(
            self._qemu(accelerator),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "qemu.log").open("wb"),
            preexec_fn=_die_with_parent,
        )
        try:
            while process.poll() is None and time.monotonic() < (end if self._said() else boot_end):
                time.sleep(0.1)
            late = process.poll() is None
        finally:
            process.kill()
            process.wait()
        said = self._said()
        if not said:
            return False
        self.release = said[0]["release"]
        for command, answer in zip(commands, said[1:], strict=False):
            command.status, command.output, command.seconds = answer["status"], answer["output"], answer["seconds"]
        done = len(said) - 1
        why = "is late" if late else "stopped"
        assert done == len(commands), f"the machine {why} in command {done + 1}:\n{self._console()}"
        return True

    def _said(self) -> list[dict[str, Any]]:
        whole = self._answers.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def _console(self) -> str:
        texts = [(self.folder / name).read_text("utf-8", "replace") for name in ("qemu.log", "console")]
        return "".join(texts)[-4000:]

    def _qemu(self, accelerator: str) -> list[str]:
        # Without RDRAND, of -cpu max, the first process waits for randomness; a busy host is late with the timer that is checked.
        return [
            QEMU,
            *("-accel", accelerator, "-M", "q35", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-display", "none", "-nodefaults", "-no-reboot"),
            *("-kernel", str(self.kernel / "vmlinuz"), "-initrd", str(self.folder / "initramfs")),
            *("-append", "console=ttyS0 panic=-1 quiet no_timer_check"),
            *("-serial", f"file:{self.folder / 'console'}", "-serial", f"file:{self._answers}"),
            *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
            *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        ]


def _die_with_parent() -> None:
    """The machine ends with the tests, however they end."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
