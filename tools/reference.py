"""Write docs/reference from the code: `python tools/reference.py`; with `--check`, say whether it is up to date.

config.md      keys of the TOML file, from compose/spec.py
cli.md         verbs, options and exit codes of `rump`
calls.md       the system calls of a process, from the local client
components.md  components and what they need
sysctl.md      limits and defaults, with their bounds
counters.md    what a kernel counts
control.md     what programs say to a running kernel
tcp.md         the states of a connection
images.md      disk images in Python, and the backends that disks are made of
guests.md      what of sockets is different for unmodified programs, from the test that compares them with Linux's
"""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import os
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rumpkit.kern.kernel import RumpKernel

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "rumpkit"
HEAD = "<!-- Written by tools/reference.py from the code; do not edit. -->\n\n"


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def one_line(text: str | None) -> str:
    """A docstring on one line."""
    plain = re.sub(r"::\n\n(?:    .*\n|\n)+", ".\n", inspect.cleandoc(text or ""))  # without blocks of code
    return re.sub(r"\s+", " ", plain).strip()


def attributes(node: ast.ClassDef) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, docstring) of each annotated attribute of a class."""
    for index, item in enumerate(node.body):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        following = node.body[index + 1] if index + 1 < len(node.body) else None
        text = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = one_line(str(following.value.value))
        yield item.target.id, ast.unparse(item.annotation), default_of(item.value), text


def default_of(value: ast.expr | None) -> str:
    """A default as TOML writes it."""
    if value is None:
        return "required"
    text = ast.unparse(value)
    known = {"field(default_factory=list)": "[]", "field(default_factory=dict)": "{}", "True": "true", "False": "false"}
    return known.get(text, text.replace("'", '"'))


SECTIONS = {
    "KernelSpec": "`[kernel]`",
    "InterfaceSpec": "`[[interface]]`",
    "RouteSpec": "`[[route]]`",
    "DiskSpec": "`[[disk]]`",
    "EtfsSpec": "`[[etfs]]`",
    "MountSpec": "`[[mount]]`",
    "RunSpec": "`[[run]]`",
    "LimitsSpec": "`[run.limits]`",
    "HealthSpec": "`[run.health]`",
    "SwitchSpec": "`[[switch]]`",
}


def config() -> str:
    """Keys of the TOML file."""
    tree = ast.parse((SOURCE / "compose" / "spec.py").read_text("utf-8"))
    text = "# The config\n\nOne TOML file describes one kernel and what runs on it. Unknown keys are errors.\n\n"
    text += "For several kernels, `[kernel.NAME]` is that kernel's `[kernel]`, `[[kernel.NAME.interface]]` its `[[interface]]`, "
    text += "and so on with "
    text += "all but `[[switch]]`, which is the file's ([how to](../howto/orchestration.md)). A kernel's host name is NAME then, unless it "
    text += "says another one.\n"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in SECTIONS:
            purpose = one_line(ast.get_docstring(node)).partition(": ")[2]
            rows = [(f"`{name}`", f"`{kind}`", f"`{default}`", doc) for name, kind, default, doc in attributes(node)]
            text += f"\n## {SECTIONS[node.name]}: {purpose}\n\n{table(('key', 'type', 'default', 'meaning'), rows)}"
    text += "\n## `[sysctl]`: limits and defaults\n\nNames and bounds are in [sysctl.md](sysctl.md), as "
    text += '`"net.tcp.send_buffer" = 262144`.\n'
    return text


def cli() -> str:
    """Help of each verb, and the exit codes."""
    os.environ["COLUMNS"] = "110"
    from rumpkit.cli import exit as codes
    from rumpkit.cli.fs import TOOLS as FS_TOOLS
    from rumpkit.cli.main import VERBS, main
    from rumpkit.cli.net import TOOLS as NET_TOOLS

    tools = {
        "net": [(tool.names[0], tool.help) for tool in NET_TOOLS],
        "fs": [(tool.name, tool.help) for tool in FS_TOOLS],
    }

    def help_of(*words: str) -> str:
        output = io.StringIO()
        with redirect_stdout(output):
            try:
                main([*words, "--help"])
            except SystemExit:
                pass
        return f"```text\n{output.getvalue().rstrip()}\n```\n"

    text = f"# The `rump` command\n\n{help_of()}"
    for verb in VERBS:
        text += f"\n## `rump {verb.name}`: {verb.help}\n\n{help_of(verb.name)}"
        for name, purpose in tools.get(verb.name, ()):
            text += f"\n### `rump {verb.name} {name}`: {purpose}\n\n{help_of(verb.name, name)}"
    tree = ast.parse(inspect.getsource(codes))
    rows = [(default, f"`{name}`", doc) for name, _, default, doc in attributes_of_module(tree)]
    return (
        text
        + f"\n## Exit codes\n\n{one_line(codes.__doc__).partition('. ')[2]}\n\n{table(('code', 'name', 'meaning'), rows)}"
    )


def attributes_of_module(tree: ast.Module) -> Iterator[tuple[str, str, str, str]]:
    """As `attributes`, for a module's constants."""
    holder = ast.ClassDef(name="module", bases=[], keywords=[], body=tree.body, decorator_list=[])
    return attributes(holder)


def calls() -> str:
    """Methods of the local client."""
    from rumpkit.clients.local import LocalProcess

    text = "# System calls\n\nMethods of a process (`kernel.process()`); `process.aio` has the same, to be awaited. All raise "
    text += "`OSError` with the kernel's errno.\n"
    for name, method in sorted(inspect.getmembers(LocalProcess, callable)):
        if not name.startswith("_") and method.__doc__:
            signature = re.sub(r"\bself, |\bself\b", "", str(inspect.signature(method)))
            text += f"\n### `{name}{short(signature)}`\n\n{inspect.cleandoc(method.__doc__)}\n"
    return text


def short(signature: str) -> str:
    """A signature without the modules of its types."""
    return re.sub(r"\b(?:[a-z_]+\.)+([A-Z])", r"\1", signature).replace("'", "").replace('"', "")


def components() -> str:
    """All components that come along."""
    from rumpkit.compose import boot
    from rumpkit.kern.component import registered

    assert boot.FACTIONS
    rows = [
        (f"`{one.name}`", one.faction, f"`{one.provides}`", ", ".join(f"`{n.interface}`" for n in one.needs), one.help)
        for one in registered()
    ]
    return "# Components\n\n" + table(("name", "faction", "provides", "needs", "what it is"), rows)


def sysctl() -> str:
    """Sysctls of a kernel with everything."""
    from rumpkit.kern.sysctl import SYNONYMS

    kernel = full_kernel()
    rows = [(f"`{s.name}`", str(s.default), f"{s.low} to {s.high}", s.help) for s in kernel.sysctl]
    text = "# Sysctls\n\nSet in a config's `[sysctl]`, with `kernel.sysctl(name, value)`, or in a running kernel by "
    text += "`rump net sysctl NAME=VALUE`.\n\n" + table(("name", "default", "bounds", "meaning"), rows)
    text += "\n## Other spellings\n\nNetBSD's domain may stand in a name, everywhere: `net.inet.tcp.send_buffer` and "
    text += "`net.inet6.tcp6.send_buffer` are `net.tcp.send_buffer`, `net.inet6.ip6.hop_limit` is `net.ip6.hop_limit`. These names of "
    text += "NetBSD's and Linux's, which are of the same unit, are known, too:\n\n"
    known = {s.name for s in kernel.sysctl}
    spelt = [
        (f"`{name.replace('net.', 'net.inet.', 1) if name.startswith(BSD) else name}`", f"`{meant}`")
        for name, meant in SYNONYMS.items()
        if meant in known
    ]
    return text + table(("name", "means"), spelt)


def counters() -> str:
    """Counters of a kernel with everything."""
    from rumpkit.net.meanings import meaning
    from rumpkit.net.mib import objects

    values = dict(full_kernel().counters)
    known = list(objects(values))
    text = (
        "# Counters\n\n`kernel.counters()` gives all of these by name, `rump net stat` shows them of a running kernel. "
    )
    text += "The counters of an interface bear its name in the place of `lo`.\n\n"
    rows = []
    for name in values:
        same = [item for item in known if item.counters == (name,)]
        rows.append((f"`{name}`", meaning(name), ", ".join(f"{item.name} ({item.source})" for item in same)))
    text += table(("name", "what it counts", "as MIB object"), rows)
    text += "\n## Objects made of several\n\n`rump net stat` also shows these, and looks the others up.\n\n"
    sums = [
        (
            f"`{item.name}`",
            item.source,
            " ".join(f"-{one[1:]}" if one[0] == "-" else f"+{one}" for one in item.counters),
        )
        for item in known
        if len(item.counters) > 1 or item.counters[0] not in values
    ]
    return text + table(("object", "where from", "sum of"), sums)


def control() -> str:
    """The control protocol and its methods."""
    from rumpkit.clients.control import place, protocol, server, session
    from rumpkit.clients.control.methods import METHODS

    text = "# The control protocol\n\nWhat `rump net` speaks with a running kernel, for other programs. In Python, "
    text += "`rumpkit.clients.control.client.connect(NAME)` does.\n\n## Where\n\n"
    text += inspect.cleandoc(place.__doc__ or "").partition("\n\n")[2]
    text += " Sockets have mode 0600 in a directory of mode 0700, and the kernel turns away whoever is neither its own user nor root.\n\n"
    text += f"## Frames\n\n{inspect.cleandoc(protocol.__doc__ or '').partition(chr(10) * 2)[2]}\n\n## Limits\n\n"
    limits = (
        ("version of the protocol", protocol.VERSION),
        ("bytes of a request", protocol.MAX_REQUEST),
        ("bytes of a frame of an answer", protocol.MAX_ANSWER),
        ("clients of a kernel; beyond it, idle ones give way", server.MAX_CLIENTS),
        ("requests of one client that are answered at once", session.MAX_RUNNING),
        ("bytes that may wait for a client before the kernel reads no more from it", session.PLENTY),
        ("bytes of captures and pings that may wait for it; what is more is left out and counted", session.MAX_WAITING),
    )
    text += table(("what", "how much"), [(what, str(value)) for what, value in limits])
    text += "\n## Methods\n"
    for name, method in METHODS.items():
        text += f"\n### `{name}`\n\n{method.help[:1].upper()}{method.help[1:]}.\n"
        rows = [
            (f"`{key}`", one.kind.__name__, "required" if one.default is None else f"`{one.default!r}`", one.help)
            for key, one in method.parameters.items()
        ]
        if rows:
            text += "\n" + table(("parameter", "type", "default", "meaning"), rows)
    return text


BSD = ("net.tcp.", "net.udp.", "net.ip.")
"""What NetBSD has `inet` in."""


def tcp() -> str:
    """The TCP state machine, from its table."""
    from rumpkit.net.transport.tcp import states

    rows = [
        (states.STATE_NAMES[state], states.EVENT_NAMES[event], states.STATE_NAMES[following])
        for state, event, following in states.TRANSITIONS
    ]
    text = "# The states of a TCP connection\n\nRFC 9293 figure 5, from the table that the code follows. A reset (RST, abort, "
    text += "time-out, hard error) leads from every state with a peer to CLOSED.\n\n"
    return text + f"```mermaid\n{states.diagram()}```\n\n" + table(("state", "event", "next state"), rows)


IMAGES = (
    ("Files of an image", "compose/image", ("opened", "path", "filesystem", "storage")),
    (
        "What disks are made of",
        "dev",
        ("ramdisk", "partition", "partition_table", "snapshot", "fault", "recorder", "qcow2"),
    ),
)
"""Parts of the page on images: title, folder, modules."""


def images() -> str:
    """The Python face of disk images: the public classes and functions of some modules."""
    text = "# Disk images in Python\n\n`open_image`, `OpenedImage` and `ImagePath` are in `rumpkit` itself. How to use all this is in "
    text += "[the how-to](../howto/disk-images.md).\n"
    for title, folder, names in IMAGES:
        text += f"\n## {title}\n"
        for name in names:
            tree = ast.parse((SOURCE / folder / f"{name}.py").read_text("utf-8"))
            module = f"rumpkit.{folder.replace('/', '.')}.{name}"
            text += f"\n### {module}\n\n{one_line(ast.get_docstring(tree)).partition('. ')[0].rstrip('.')}.\n"
            text += "".join(described(node) for node in tree.body)
    return text


DIFFERENCES = ROOT / "tests" / "system" / "helpers" / "guest_differences.py"
SEMANTICS = (
    (
        "TCP over IPv4, IPv6 and both",
        "connecting with and without waiting, half-closes, resets (SO_LINGER of zero), EPIPE and SIGPIPE, urgent data both ways "
        "(MSG_OOB, SO_OOBINLINE, SIOCATMARK, EPOLLPRI, SIGURG), FIONREAD, SIOCOUTQ, time limits (SO_RCVTIMEO, SO_SNDTIMEO), "
        "disconnecting (AF_UNSPEC), sendfile and splice, TCP_INFO",
    ),
    (
        "Listeners",
        "backlogs as long as was said, SO_REUSEADDR and SO_REUSEPORT, accept by threads and interrupted by signals, shutdown, "
        "TCP_DEFER_ACCEPT, what connections inherit",
    ),
    (
        "UDP",
        "connected or not, sendmmsg and recvmmsg, UDP_SEGMENT (Linux 6.2) and UDP_GRO, errors by ICMP and in full (IP_RECVERR), "
        "destinations and sources, connected too (IP_PKTINFO, IPV6_PKTINFO), TTL, TOS, time stamps, multicast",
    ),
    (
        "ICMP",
        "sockets for echo (SOCK_DGRAM), and raw ones for who has CAP_NET_RAW: filters (ICMP6_FILTER, SO_ATTACH_FILTER), checksums "
        "(IPV6_CHECKSUM), whole packets (IPV6_HDRINCL), control messages, errors in full (IP_RECVERR, IPV6_RECVERR); other raw and "
        "packet sockets are refused (EPERM)",
    ),
    ("poll, select, epoll", "the events of each state, edge-triggered and one-shot"),
    (
        "Sharing",
        "dup, fork, exec, passing over unix sockets; unix sockets are Linux's own, but a name connected to is looked up by rumpkit: "
        "who listens sees (SO_PEERCRED) the caller's user and group, and as its process init",
    ),
    ("Options", "what they are at first, take and refuse, with values and room of all sizes"),
)
"""What the transcript covers, and how it behaves."""


def guests() -> str:
    """What sockets of unmodified programs do as on Linux, and what not: the table of the test that compares them."""
    rows = [(one.subject, one.reason) for one in runpy.run_path(str(DIFFERENCES))["DIFFERENCES"]]
    text = "# Sockets of unmodified programs\n\nA test runs some fifteen hundred checks natively and as a program on a kernel, and "
    text += "compares what comes out ([how to run programs](../howto/program.md)). As on Linux are:\n\n"
    text += table(("what", "with"), SEMANTICS)
    text += f"\nDifferent, and meant, are:\n\n{table(('difference', 'reason'), rows)}"
    text += "\nA socket that a second connect or listen makes new (after a failed connect without waiting, AF_UNSPEC, or shutdown of a "
    text += "listener) is another one to epoll sets and to copies of its descriptor: they keep the old one, which has hung up. That a UDP "
    return text + "socket was closed shows a moment later: its port is free then, and datagrams to it are refused.\n"


def described(node: ast.AST) -> str:
    """A public class or function of a module, with its methods."""
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
        return f"\n#### `{node.name}({arguments_of(node)})`\n\n{one_line(ast.get_docstring(node))}\n"
    if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
        return ""
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef) and ast.get_docstring(item)]
    made = next((item for item in methods if item.name == "__init__"), None)
    text = f"\n#### `{node.name}`{f': `{arguments_of(made)}`' if made else ''}\n\n{one_line(ast.get_docstring(node))}"
    text += f" {one_line(ast.get_docstring(made))}\n" if made else "\n"
    rows = [(f"`{name}: {kind}`", "" if value == '""' else value, what) for name, kind, value, what in attributes(node)]
    if rows:
        text += "\n" + table(("attribute", "default", "meaning"), rows)
    shown = [item for item in methods if not item.name.startswith("_")]
    if shown:
        rows2 = [(call_of(item), one_line(ast.get_docstring(item))) for item in shown]
        text += "\n" + table(("method", "what it does"), rows2)
    return text


def call_of(node: ast.FunctionDef) -> str:
    """How a method is called; a property by its name alone."""
    is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)
    return f"`{node.name}`" if is_property else f"`{node.name}({arguments_of(node)})`"


def arguments_of(node: ast.FunctionDef) -> str:
    """A signature without self and without types."""
    arguments = node.args
    for one in (*arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if one is not None:
            one.annotation = None
    return re.sub(r"^self(, )?", "", ast.unparse(arguments))


def full_kernel() -> RumpKernel:
    """A kernel with all components, on a simulated host."""
    from rumpkit.clients.fuse.server import FuseCounters
    from rumpkit.compose.boot import NET, VFS
    from rumpkit.hosts.sim.host import SimHost
    from rumpkit.kern.kernel import RumpKernel

    host = SimHost()
    host.enter()
    kernel = RumpKernel(host, (*VFS, "disks", "ext", *NET, "ipv6", "bridge", "dhcp"))
    kernel.counters.register("fuse", FuseCounters())  # with the first mount
    return kernel


PAGES: dict[str, tuple[Callable[[], str], str]] = {
    "config.md": (config, "keys of the TOML file"),
    "cli.md": (cli, "the `rump` command and its exit codes"),
    "calls.md": (calls, "system calls of a process"),
    "components.md": (components, "components and what they need"),
    "sysctl.md": (sysctl, "limits and defaults"),
    "counters.md": (counters, "what a kernel counts"),
    "control.md": (control, "what programs say to a running kernel"),
    "tcp.md": (tcp, "the states of a connection"),
    "images.md": (images, "disk images in Python, and what disks are made of"),
    "guests.md": (guests, "sockets of unmodified programs, and what of them is not as on Linux"),
}


def pages() -> dict[str, str]:
    """All pages by file name."""
    made = {name: HEAD + page() for name, (page, _) in PAGES.items()}
    index = "".join(f"- [{name.removesuffix('.md')}]({name}): {what}\n" for name, (_, what) in PAGES.items())
    index += "- [rfc-coverage](rfc-coverage.md): which test shows which requirement of an RFC (`make coverage-rfc`)\n"
    made["README.md"] = f"{HEAD}# Reference\n\n{index}"
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, text in pages().items():
        path = TARGET / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if not check:
            TARGET.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    for name in stale:
        print(f"docs/reference/{name} {'is out of date: run python tools/reference.py' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
