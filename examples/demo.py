"""rumpkit's main job, start to end: an unmodified program on a kernel of its own, and a stock client on the host.

Boots a kernel with tmpfs and the network, runs the system's `python3 -m http.server` on it, fetches a folder of files from
the host with urllib, compares every byte, and prints what it took.  Needs Python and nothing else; no root.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rumpkit import Kernel
from rumpkit._form import form

SMALL_FILES = 40
SMALL_SIZE = 10_000
BIG_SIZE = 100_000_000
REQUESTS = 500
PORT = 8000

CLIENT = """
import hashlib, json, sys, time, urllib.request
base, names, requests = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
digests, size, started = {}, 0, time.monotonic()
for name in names:
    digest = hashlib.sha256()
    with urllib.request.urlopen(f"{base}/{name}", timeout=60) as answer:
        while data := answer.read(1 << 20):
            digest.update(data)
            size += len(data)
    digests[name] = digest.hexdigest()
fetched = time.monotonic() - started
started = time.monotonic()
for number in range(requests):
    with urllib.request.urlopen(f"{base}/{names[0]}", timeout=60) as answer:
        answer.read()
asked = time.monotonic() - started
print(json.dumps({"digests": digests, "size": size, "seconds": fetched, "rate": requests / asked}))
"""


def make_files(folder: Path) -> dict[str, str]:
    """Small files and a big one, of random bytes; their digests by name."""
    digests = {}
    sizes = {f"small{number:02}.bin": SMALL_SIZE for number in range(SMALL_FILES)}
    for name, size in {**sizes, "big.bin": BIG_SIZE}.items():
        data = os.urandom(size)
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    return digests


def system_python() -> str:
    """The system's own Python, not the environment's."""
    return shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or sys.executable


def fetch(url: str, names: list[str]) -> dict[str, object]:
    """Fetch everything with a client in a process of its own."""
    words = [system_python(), "-I", "-c", CLIENT, url, json.dumps(names), str(REQUESTS)]
    answer = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=600)
    result: dict[str, object] = json.loads(answer.stdout)
    return result


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="rumpkit-demo-"))
    capture = Path(tempfile.gettempdir()) / f"rumpkit-demo-{os.getuid()}.pcapng"
    try:
        wanted = make_files(folder)
        with Kernel(net="user", mounts={"/": "tmpfs"}) as first:
            loading = first.boot_time
        with Kernel(net="user", forward=[f"0 -> {PORT}"], mounts={"/": "tmpfs"}) as kernel:
            recorded = kernel.capture(capture)
            server = [system_python(), "-m", "http.server", str(PORT)]
            with open(os.devnull, "w") as nowhere:
                started = time.monotonic()
                guest = kernel.run(server, cwd=folder, stdout=nowhere.fileno(), stderr=nowhere.fileno())
                guest.wait_listening(PORT, timeout=30)
                ready = time.monotonic() - started
                url = "http://" + kernel.forwards()[0].split(" -> ")[0]
                got = fetch(url, sorted(wanted, reverse=True))
                recorded.close()
                guest.stop()
            boot = kernel.boot_time
        same = got["digests"] == wanted
        return report(same, (loading, boot), ready, got, capture)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(same: bool, boots: tuple[float, float], ready: float, got: dict[str, object], capture: Path) -> int:
    size, seconds, rate = float(str(got["size"])), float(str(got["seconds"])), float(str(got["rate"]))
    print(f"form         {form()}")
    print(
        f"kernel boot  {boots[1] * 1e3:.1f} ms, with its gateway (the first one, which loads the code: {boots[0] * 1e3:.0f} ms)"
    )
    print(f"server ready {ready * 1e3:.0f} ms after its start")
    print(f"fetched      {size / 1e6:.1f} MB in {seconds:.2f} s: {size * 8 / seconds / 1e9:.2f} Gbit/s")
    print(f"requests     {rate:.0f} /s, one connection each")
    print(f"bytes        {'all the same' if same else 'DIFFERENT'}")
    print(f"capture      {capture} ({capture.stat().st_size / 1e6:.1f} MB)")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
