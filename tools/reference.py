"""Write docs/reference from the code: `python tools/reference.py`; with `--check`, say whether it is up to date.

config.md      keys of the TOML file, from compose/spec.py
cli.md         verbs, options and exit codes of `rump`
calls.md       the system calls of a process, from the local client
components.md  components and what they need
sysctl.md      limits and defaults, with their bounds
counters.md    what a kernel counts
tcp.md         the states of a connection
"""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import os
import re
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
    return re.sub(r"\s+", " ", inspect.cleandoc(text or "")).strip()


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
    "MountSpec": "`[[mount]]`",
    "RunSpec": "`[[run]]`",
}


def config() -> str:
    """Keys of the TOML file."""
    tree = ast.parse((SOURCE / "compose" / "spec.py").read_text("utf-8"))
    text = "# The config\n\nOne TOML file describes one kernel and what runs on it. Unknown keys are errors.\n"
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
    from rumpkit.cli.main import VERBS, main

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
    rows = [(f"`{s.name}`", str(s.value), f"{s.low} to {s.high}", s.help) for s in full_kernel().sysctl]
    text = "# Sysctls\n\nSet in a config's `[sysctl]`, or with `kernel.sysctl(name, value)`.\n\n"
    return text + table(("name", "default", "bounds", "meaning"), rows)


def counters() -> str:
    """Counters of a kernel with everything."""
    rows = [(f"`{name}`",) for name, _ in full_kernel().counters]
    return "# Counters\n\n`kernel.counters()` gives all of these by name.\n\n" + table(("name",), rows)


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


def full_kernel() -> RumpKernel:
    """A kernel with all components, on a simulated host."""
    from rumpkit.compose.boot import NET, VFS
    from rumpkit.hosts.sim.host import SimHost
    from rumpkit.kern.kernel import RumpKernel

    host = SimHost()
    host.enter()
    return RumpKernel(host, (*VFS, *NET, "bridge", "dhcp"))


PAGES: dict[str, tuple[Callable[[], str], str]] = {
    "config.md": (config, "keys of the TOML file"),
    "cli.md": (cli, "the `rump` command and its exit codes"),
    "calls.md": (calls, "system calls of a process"),
    "components.md": (components, "components and what they need"),
    "sysctl.md": (sysctl, "limits and defaults"),
    "counters.md": (counters, "what a kernel counts"),
    "tcp.md": (tcp, "the states of a connection"),
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
