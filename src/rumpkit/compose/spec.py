"""The config of one kernel as data.  The attributes of these classes are the keys of the TOML file.

Values are still as the user wrote them (strings such as "10.0.2.15/24" and "64M"); `compose.values` parses and
checks them, and `compose.check` does so for a whole spec before anything is opened.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class KernelSpec:
    """[kernel]: the instance itself."""

    hostname: str = "rump"
    components: list[str] = field(default_factory=list)
    """Further components to build, or other implementations of an interface, by name."""
    control: bool = True
    """Whether `rump run` has the kernel listen on a control socket, for `rump net`."""


@dataclass(slots=True)
class InterfaceSpec:
    """[[interface]]: one network interface and the link behind it."""

    link: str
    """"user", "tap:NAME", "tun:NAME" (point-to-point, no Ethernet), "switch:NAME"; "vlan:vif0.10" (VLAN 10 of the interface
    vif0) or "bridge" (between the interfaces in `ports`)."""
    name: str = ""
    """Default: vif0, vif1, ... by place in the file; of a VLAN, what its link says."""
    ports: list[str] = field(default_factory=list)
    """For "bridge": the interfaces that it joins, which come before it in the file and have no addresses."""
    address: list[str] = field(default_factory=list)
    """Addresses with prefix lengths, such as "10.0.2.15/24"; for "user" that one is the default.  "dhcp": from a DHCP
    server, with routes and name servers.  One address needs no list."""
    gateway: str | list[str] = ""
    """Where the default route leads; a list has one for each version of IP, such as ["10.0.0.1", "fd00::1"]."""
    autoconf: bool | None = None
    """Whether to listen to IPv6 routers, for addresses, routes and name servers.  Default: where the kernel has IPv6,
    which it has if any address, gateway or route is one of IPv6's, or this is true."""
    metric: int = 0
    """Of that route: the least is taken of those whose interfaces are up."""
    forward: list[str] = field(default_factory=list)
    """For "user": "HOSTADDR:PORT -> PORT", with "/udp" behind it for datagrams."""
    host_loopback: bool = True
    """For "user": whether 10.0.2.2 (the gateway's address) reaches the host's 127.0.0.1."""
    dns: list[str] = field(default_factory=list)
    """For "user": name servers that 10.0.2.3 asks, "ADDRESS" or "ADDRESS:PORT". Default: the host's.  For other links: the
    name servers of the programs."""
    search: list[str] = field(default_factory=list)
    """Domains in which the programs look short names up."""
    mac: str = ""
    mtu: int = 0
    offload: bool = True
    """False: frames are finished (checksummed, at most MTU-sized) in software before they enter the link."""

    @property
    def gateways(self) -> list[str]:
        """The gateway, or each of them."""
        if isinstance(self.gateway, str):
            return [self.gateway] if self.gateway else []
        return self.gateway


@dataclass(slots=True)
class RouteSpec:
    """[[route]]: where packets for a network go."""

    to: str
    """"default", or a network such as "10.8.0.0/16"."""
    gateway: str = ""
    """The router to hand them to; without one they go to the interface's link."""
    interface: str = ""
    """Default: the one whose network the gateway is in."""
    metric: int = 0
    """Of several routes to one network the least is taken of those whose interfaces are up."""
    source: str = ""
    """The address of ours to send from, where a program hasn't chosen."""


@dataclass(slots=True)
class DiskSpec:
    """[[disk]]: a host file as a block device of the kernel."""

    name: str
    """It is /dev/NAME in the kernel, and a mount's source."""
    source: str = ""
    """The host file or block device, relative to the config's folder.  Without one it is a disk in memory."""
    size: str = ""
    """Of a disk in memory: bytes, with K, M or G behind it."""
    read_only: bool = False
    """Open the file for reading only; several kernels can share it then.  A qcow2 image is opened so."""
    snapshot: bool = False
    """Only read the file, and keep what is written in memory; it is forgotten with the kernel."""


@dataclass(slots=True)
class MountSpec:
    """[[mount]]: a file system in the kernel's tree."""

    path: str
    """The directory to mount on; it is made where it is missing."""
    type: str = ""
    """"tmpfs", "devfs"; "hostfs", a directory of the host; "null", a directory of the tree at a second place; or "auto":
    whatever the source holds.  Default: "tmpfs", with a source "auto"."""
    source: str = ""
    """A disk of the config's by name, a device such as "/dev/disk0", or a host file, which is attached as a disk then; of "hostfs" a
    host directory, of "null" a directory of the kernel.  Host paths are relative to the config's folder."""
    size: str = ""
    """Limit in bytes, with K, M or G behind it."""
    read_only: bool = False
    """Refuse every change.  A host file is opened for reading only."""
    options: dict[str, int | bool | str] = field(default_factory=dict)
    """Further options of the type, such as { inodes = 1000 }."""
    programs: str = "show"
    """Whether programs see it at `path`: "show" where the machine lets us, with a message where not; "require": they don't start without;
    "hide".  The root is never shown."""

    @property
    def kind(self) -> str:
        """The type, where none is named the default."""
        return self.type or ("auto" if self.source else "tmpfs")


@dataclass(slots=True)
class EtfsSpec:
    """[[etfs]]: a host file at a path of the kernel (NetBSD's "extra-terrestrial file system")."""

    path: str
    """Where it is in the kernel; the directories above are made where they are missing."""
    source: str
    """The host file, or block device, relative to the config's folder."""
    type: str = "file"
    """"file": a regular file, whose contents and attributes are the host's; "block": a block device."""
    read_only: bool = False
    """Refuse every change, and open the host file for reading only."""


@dataclass(slots=True)
class RunSpec:
    """[[run]]: an unmodified program on the kernel."""

    command: list[str]
    """The program and its arguments; ${here} is the config's folder, ${tmp} a private one that is removed after."""
    env: dict[str, str] = field(default_factory=dict)
    """Added to the environment."""
    cwd: str = ""
    """Default: where `rump` was started; relative to the config's folder."""
    main: bool = False
    """When this program ends the others are stopped, and its exit status is the run's.  Without one, the run lasts
    until all have ended."""


@dataclass(slots=True)
class Spec:
    """A whole file."""

    kernel: KernelSpec = field(default_factory=KernelSpec)
    interface: list[InterfaceSpec] = field(default_factory=list)
    route: list[RouteSpec] = field(default_factory=list)
    disk: list[DiskSpec] = field(default_factory=list)
    mount: list[MountSpec] = field(default_factory=list)
    etfs: list[EtfsSpec] = field(default_factory=list)
    run: list[RunSpec] = field(default_factory=list)
    sysctl: dict[str, int] = field(default_factory=dict)
