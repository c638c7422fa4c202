"""The config of one kernel as data.  The attributes of these classes are the keys of the TOML file.

Values are still as the user wrote them (strings such as "10.0.2.15/24" and "64M"); `compose.values` parses and
checks them, and `compose.check` does so for a whole spec before anything is opened.
"""

from .record import dataclass, field


@dataclass(slots=True)
class KernelSpec:
    """[kernel]: the instance itself."""

    hostname: str = "rump"
    components: list[str] = field(default_factory=list)
    """Further components to build, or other implementations of an interface, by name."""
    control: bool = True
    """Whether `rump run` has the kernel listen on a control socket, for `rump net`, `ps`, `exec` and others."""
    root: str = ""
    """What programs have as their root: a directory, an image ("rootfs.img") that the kernel can mount, or a directory in OCI's image
    layout.  Default: the host's files, read-only.  Relative to the config's folder."""
    root_type: str = ""
    """What the image holds, a type of [[mount]].  Default: whatever is found."""
    root_platform: str = ""
    """Which one of a container image that is there for several platforms: "linux/arm64".  Default: this machine's."""
    root_writable: bool | None = None
    """Whether programs may write to it.  true: what they write goes to the directory or the disk's image; over squashfs, an archive or a
    container image it is kept in memory and forgotten with the kernel.  false: all but disks are read-only.  Default: as false, but
    a container image is as with true.  What is written to a disk without true is kept in memory, too."""
    writable: list[str] = field(default_factory=list)
    """Files and directories of the host that programs see at the same paths and may change, as far as their user may; "/" is all of it,
    with none of it hidden.  Relative to the config's folder, as the next two."""
    visible: list[str] = field(default_factory=list)
    """Such that they see and can't change: in /tmp, /var/tmp and /run, of which they have others, and in another root."""
    hidden: list[str] = field(default_factory=list)
    """Such that they shall not see, such as "~/.ssh"; they are empty for them."""
    scratch: str = "1G"
    """How much memory the files in the programs' /tmp, /var/tmp and /run may take, all together; and what is written over each root that
    can only be read."""


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
    """"tmpfs", "devfs"; "procnet", what Linux has in /proc/net, of this kernel; "hostfs", a directory of the host; "null", a directory
    of the tree at a second place; "union", the same with a layer in memory that takes all changes; "ext4", "vfat"; "squashfs", "tar"
    (also compressed) and "oci" (a container image: OCI's layout, or what `docker save` wrote), which are only read; or "auto": whatever
    the source holds.  Default: "tmpfs", with a source "auto"."""
    source: str = ""
    """A disk of the config's by name, a device such as "/dev/disk0", or a host file, which is attached as a disk then; of "hostfs" a
    host directory, of "null" and "union" a directory of the kernel, of "oci" a directory or an archive, with ":NAME" behind it for one
    of several images.  Host paths are relative to the config's folder."""
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
class HealthSpec:
    """[run.health]: how to see that a program does its work; one of `command`, `port` and `http`."""

    command: list[str] = field(default_factory=list)
    """A program to run on the same kernel; the check passes if it ends with 0."""
    port: int = 0
    """A TCP port of the kernel; the check passes if somebody accepts a connection there."""
    http: str = ""
    """An address such as "http://127.0.0.1:8080/health", asked on the same kernel; the check passes on a status from 200 to 399."""
    interval: str = "5s"
    """From one check to the next."""
    start_interval: str = "250ms"
    """The same until the first one has passed."""
    timeout: str = "5s"
    """A check that takes longer has failed."""
    retries: int = 3
    """So many failures in a row make the program unhealthy; what is to be restarted then is."""
    start_period: str = "30s"
    """For so long after its start failures don't count, unless a check has passed before."""


@dataclass(slots=True)
class LimitsSpec:
    """[run.limits]: what a program may use at most: by a control group (cgroups(7)), or each of its processes by itself (setrlimit(2))"""

    files: int | None = None
    """Descriptors that are open at a time; what would open another fails (EMFILE)."""
    processes: int | None = None
    """Processes and threads of the program at a time; fork fails then (EAGAIN).  Where the machine gives no control group, those of the
    program's user: an ordinary user's program is counted by itself then, one that root has started, with all that its user runs,
    and root's not at all (RLIMIT_NPROC)."""
    memory: str = ""
    """Bytes, with K, M or G behind it, that are in use by all of the program's processes together, files in the page cache included; Linux
    ends the program that needs more.  Where the machine gives no control group, a limit of each process's data: heap, stacks of
    threads, other private memory that can be written to (RLIMIT_DATA; not the address space, of which Java, Go and node reserve
    many times what they use); allocating more fails (ENOMEM)."""
    cpus: float | None = None
    """Processors, such as 0.5 or 2, whose time all of the program may use.  Where the machine gives no control group, it is started on so
    many processors, which it can change."""
    strict: bool = False
    """Don't start the program where the machine gives no control group for `memory`, `processes` and `cpus`; otherwise say so, and
    use what there is."""
    cpu_time: str = ""
    """Whole seconds of a processor, such as "60s", rounded up; then SIGXCPU, and a second later SIGKILL."""
    file_size: str = ""
    """How large a file may become by writing; then SIGXFSZ, or EFBIG where that is ignored."""
    core: str = ""
    """How large a core dump may be; "0": none."""


@dataclass(slots=True)
class RunSpec:
    """[[run]]: an unmodified program on the kernel."""

    command: list[str] = field(default_factory=list)
    """The program and its arguments; ${here} is the config's folder, ${tmp} a private one that is removed after.  Default: what
    the container image says that is its root."""
    name: str = ""
    """What `rump ps` and others call it.  Default: the command's own name, with a number behind it for a second one."""
    env: dict[str, str] = field(default_factory=dict)
    """Added to the environment."""
    env_file: str | list[str] = ""
    """A file, or several, with lines NAME=VALUE for the environment; `env` goes before.  Relative to the config's folder."""
    cwd: str = ""
    """Default: where `rump` was started; relative to the config's folder."""
    user: str = ""
    """Whom to run as: "nobody", "nobody:nogroup", "65534:65534", "root"; with HOME, USER and LOGNAME of theirs.  Default: as
    `rump`.  An ordinary user's program is that in a user namespace, with his subordinate ids if he has any."""
    root: str = ""
    """Its root, as in [kernel], and if that names another one, "/" for the host's."""
    root_type: str = ""
    """As in [kernel]."""
    root_writable: bool | None = None
    """As in [kernel].  Default: what that says."""
    writable: list[str] = field(default_factory=list)
    """More that it may change, beside what [kernel] says and ${tmp}."""
    visible: list[str] = field(default_factory=list)
    """More that it sees, beside what [kernel] says, the config's folder, its working directory and what its command names."""
    hidden: list[str] = field(default_factory=list)
    """More that it doesn't see."""
    allow: list[str] = field(default_factory=list)
    """System calls that it may make though they reach beyond itself, such as "ptrace" for a debugger."""
    limits: LimitsSpec | None = None
    """What it may use at most, such as { files = 1024, memory = "512M" }.  Default: what `rump` itself may."""
    main: bool = False
    """When this program ends the others are stopped, and its exit status is the run's.  Without one, the run lasts
    until all have ended."""
    background: bool = False
    """The run doesn't last for this program's sake: it is stopped when all others have ended."""
    after: list[str] = field(default_factory=list)
    """What to wait for before it starts: "NAME" (it is healthy, or without a health check started), "NAME:started", "NAME:healthy",
    "NAME:ended" (with status 0).  At the end it is stopped before those.  In a file of several kernels also "KERNEL/NAME"."""
    pipe: str = ""
    """The program that reads from its standard input what this one writes to its standard output."""
    stdin: str = ""
    """"inherit" (the default), "null", or a file.  Relative to the config's folder, as all three."""
    stdout: str = ""
    """"inherit" (the default), "prefix" (each line with the program's name before it), "log" (only for `rump logs`), "null", or a file,
    which it is added to.  `rump run --detach` has "log" for "inherit" and "prefix"."""
    stderr: str = ""
    """The same, and "stdout": where that goes."""
    log_limit: str = "1M"
    """Bytes of its output that `rump logs` remembers, of what is "prefix" or "log"."""
    restart: str = "no"
    """"no", "on-failure" (it has ended with another status than 0, or is unhealthy), "always"."""
    restart_limit: int = 0
    """Give up after so many restarts in a row; 0 is never.  Who has run for ten seconds begins anew."""
    restart_delay: str = "100ms"
    """From the end to the restart; twice as long each time."""
    restart_delay_max: str = "1m"
    """But no longer than this."""
    health: HealthSpec | None = None
    """How to see that it does its work, such as { port = 80 }."""
    stop_signal: str = ""
    """What asks it to end. Default: what the container image says that is its root, else "SIGTERM"."""
    stop_timeout: str = "5s"
    """How long it has to end then, before it is killed with everything it has started."""


@dataclass(slots=True)
class SwitchSpec:
    """[[switch]]: what joins the kernels of a file, whose interfaces have link = "switch:NAME"; one that is not here has the defaults."""

    name: str
    mtu: int = 1500
    delay: str = "0ms"
    """From one kernel to the other."""


@dataclass(slots=True)
class Spec:
    """One kernel: a whole file, or its part of one."""

    kernel: KernelSpec = field(default_factory=KernelSpec)
    interface: list[InterfaceSpec] = field(default_factory=list)
    route: list[RouteSpec] = field(default_factory=list)
    disk: list[DiskSpec] = field(default_factory=list)
    mount: list[MountSpec] = field(default_factory=list)
    etfs: list[EtfsSpec] = field(default_factory=list)
    run: list[RunSpec] = field(default_factory=list)
    switch: list[SwitchSpec] = field(default_factory=list)
    sysctl: dict[str, int] = field(default_factory=dict)
