"""What a config builds, as tables: its components are built on a simulated host, its links and programs only read."""

from pathlib import Path
from typing import Any, NamedTuple

from ..hosts.sim.host import SimHost
from ..kern.kernel import RumpKernel
from .boot import build, set_sysctls
from .errors import ConfigError
from .limits import describe_limits
from .load import load_kernels, located
from .spec import HealthSpec, InterfaceSpec, Spec
from .supervise.plan import program_names
from .user.plan import plan
from .values import interface_name, parse_link


class Table(NamedTuple):
    """Rows of text under column names."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Description(NamedTuple):
    """A config and the kernel that its components make."""

    spec: Spec
    kernel: RumpKernel

    def tables(self) -> list[Table]:
        """Everything, for people."""
        spec = self.spec
        return [
            Table(f"components of {spec.kernel.hostname}", ("component", "provides", "needs"), self._components()),
            Table("interfaces", ("name", "link", "address", "gateway", "forwards"), self._interfaces()),
            Table("routes", ("to", "gateway", "interface", "metric", "source"), self._routes()),
            Table("disks", ("name", "source", "size", "access"), self._disks()),
            Table("mounts", ("path", "type", "source", "size", "access"), self._mounts()),
            Table("etfs", ("path", "type", "source", "access"), self._etfs()),
            Table(
                "programs",
                ("name", "command", "main", "after", "restart", "health", "limits", "output"),
                self._programs(),
            ),
            Table("switches", ("name", "mtu", "delay"), [(one.name, str(one.mtu), one.delay) for one in spec.switch]),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs: a list of objects for each table."""
        keys = ("components", "interfaces", "routes", "disks", "mounts", "etfs", "programs", "switches")
        return {
            key: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            for key, table in zip(keys, self.tables(), strict=True)
        }

    def _components(self) -> list[tuple[str, ...]]:
        return [
            (f"{built.component.faction}/{built.component.name}", built.component.provides, ", ".join(built.uses))
            for built in self.kernel.built
        ]

    def _interfaces(self) -> list[tuple[str, ...]]:
        return [_interface(index, interface) for index, interface in enumerate(self.spec.interface)]

    def _routes(self) -> list[tuple[str, ...]]:
        return [(one.to, one.gateway, one.interface, str(one.metric), one.source) for one in self.spec.route]

    def _disks(self) -> list[tuple[str, ...]]:
        return [
            (disk.name, disk.source or "memory", disk.size, "read only" if disk.read_only else "read and write")
            for disk in self.spec.disk
        ]

    def _mounts(self) -> list[tuple[str, ...]]:
        return [
            (mount.path, mount.kind, mount.source, mount.size, "read only" if mount.read_only else "read and write")
            for mount in self.spec.mount
        ]

    def _etfs(self) -> list[tuple[str, ...]]:
        return [
            (entry.path, entry.type, entry.source, "read only" if entry.read_only else "read and write")
            for entry in self.spec.etfs
        ]

    def _programs(self) -> list[tuple[str, ...]]:
        return [
            (
                name,
                " ".join(run.command),
                "yes" if run.main else "background" if run.background else "",
                ", ".join(run.after),
                run.restart,
                _health(run.health),
                describe_limits(run.limits),
                f"pipe to {run.pipe}" if run.pipe else run.stdout or "inherit",
            )
            for name, run in zip(program_names(self.spec.run), self.spec.run, strict=True)
        ]


def _health(spec: HealthSpec | None) -> str:
    if spec is None:
        return ""
    what = " ".join(spec.command) or spec.http or f"port {spec.port}"
    return f"{what} every {spec.interval}"


def _interface(index: int, spec: InterfaceSpec) -> tuple[str, ...]:
    name = interface_name(index, spec.name, spec.link)
    kind = parse_link(spec.link).kind
    if kind == "bridge":
        return name, f"bridge of {', '.join(spec.ports)}", ", ".join(spec.address), ", ".join(spec.gateways), ""
    if kind != "user":
        return name, spec.link, ", ".join(spec.address), ", ".join(spec.gateways), ""
    from ..net.wire.address import format_ipv4

    made = plan(spec)
    forwards = ", ".join(str(forward) for forward in made.forwards)
    return name, spec.link, made.prefix(), format_ipv4(made.gateway), forwards


def _check_plan(index: int, spec: InterfaceSpec) -> None:
    if parse_link(spec.link).kind == "user":
        try:
            plan(spec)
        except ConfigError as problem:
            raise problem.under(f"interface[{index}]") from None


def describe(path: str | Path) -> list[Description]:
    """Read a config and build each of its kernels' components.  Raises ConfigError."""
    return [_describe(path, name, spec) for name, spec in load_kernels(path).items()]


def _describe(path: str | Path, name: str, spec: Spec) -> Description:
    host = SimHost()
    host.enter()
    try:
        kernel = build(host, spec)
        set_sysctls(kernel, spec.sysctl)
        for index, interface in enumerate(spec.interface):
            _check_plan(index, interface)
        return Description(spec, kernel)
    except ConfigError as problem:
        raise located(problem, path, name) from None
    finally:
        host.leave()
