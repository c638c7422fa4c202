"""What the arguments of each system call are (the man pages of section 2), by kinds of `kinds`, and which calls a class of strace's
`-e trace=%CLASS` has.  Nothing here does anything."""

from typing import Final

_SIGNATURES: Final = """
socket          family type protocol
socketpair      family type protocol >two
bind            fd addr int
connect         fd addr int
listen          fd int
accept          fd >addr >len
accept4         fd >addr >len socketflags
getsockname     fd >addr >len
getpeername     fd >addr >len
shutdown        fd shut
setsockopt      fd level option optval int
getsockopt      fd level option >optval >len
sendto          fd buf ulong msg addr int
recvfrom        fd >buf ulong msg >addr >len
sendmsg         fd msghdr msg
recvmsg         fd >msghdr msg
sendmmsg        fd mmsghdr uint msg
recvmmsg        fd >mmsghdr uint msg time

read            fd >buf ulong
write           fd buf ulong
pread64         fd >buf ulong long
pwrite64        fd buf ulong long
readv           fd >iov ulong
writev          fd iov ulong
preadv          fd >iov ulong long
pwritev         fd iov ulong long
sendfile        fd fd ptr ulong
splice          fd ptr fd ptr ulong splice
tee             fd fd ulong splice
copy_file_range fd ptr fd ptr ulong hex
open            path open mode?
openat          dir path open mode?
openat2         dir path ptr ulong
creat           path mode
close           fd
close_range     uint uint hex
dup             fd
dup2            fd fd
dup3            fd fd pipeflags
pipe            >two
pipe2           >two pipeflags
fcntl           fd fcntl fcntlarg?
flock           fd flock
ioctl           fd ioctl ptr?
lseek           fd long whence
ftruncate       fd long
truncate        path long
fallocate       fd hex long long
fsync           fd
fdatasync       fd
sync
syncfs          fd
stat            path >stat
lstat           path >stat
fstat           fd >stat
newfstatat      dir path >stat at
statx           dir path statxflags statx >statx
statfs          path ptr
fstatfs         fd ptr
access          path access
faccessat       dir path access
faccessat2      dir path access at
readlink        path >link ulong
readlinkat      dir path >link ulong
getcwd          >path ulong
chdir           path
fchdir          fd
chroot          path
mkdir           path mode
mkdirat         dir path mode
rmdir           path
unlink          path
unlinkat        dir path at
rename          path path
renameat        dir path dir path
renameat2       dir path dir path rename
link            path path
linkat          dir path dir path at
symlink         path path
symlinkat       path dir path
mknod           path mode hex
mknodat         dir path mode hex
chmod           path mode
fchmod          fd mode
fchmodat        dir path mode
chown           path uint uint
lchown          path uint uint
fchown          fd uint uint
fchownat        dir path uint uint at
utimensat       dir path times at
umask           mode
getdents64      fd >entries ulong
inotify_init1   inotify
inotify_add_watch fd path hex
inotify_rm_watch fd int
memfd_create    path memfd
getxattr        path path ptr ulong
lgetxattr       path path ptr ulong
fgetxattr       fd path ptr ulong
setxattr        path path buf ulong hex
listxattr       path ptr ulong

select          int ptr ptr ptr timeval
pselect6        int ptr ptr ptr time ptr
poll            pollfds uint int
ppoll           pollfds uint time sigset ulong
epoll_create    int
epoll_create1   epollcreate
epoll_ctl       fd epollop fd epollev
epoll_wait      fd >events int int
epoll_pwait     fd >events int int sigset ulong
epoll_pwait2    fd >events int time sigset ulong
eventfd2        uint eventfd
timerfd_create  clock timerfd
timerfd_settime fd timerfd ptr ptr
signalfd4       fd sigset ulong open

mmap            ptr ulong prot map fd hex
munmap          ptr ulong
mprotect        ptr ulong prot
mremap          ptr ulong ulong remap ptr
madvise         ptr ulong advice
brk             ptr

fork
vfork
clone           clonestack cloneflags cloneparent clonetls clonechild
clone3          clonestructure ulong
execve          path argv envp
execveat        dir path argv envp at
exit            int
exit_group      int
wait4           int >wait wait ptr
waitid          int int ptr wait ptr
kill            int signal
tkill           int signal
tgkill          int int signal
pidfd_open      int hex
pidfd_send_signal fd signal ptr hex
getpid
getppid
gettid
getuid
geteuid
getgid
getegid
getpgid         int
getpgrp
getsid          int
setsid
setpgid         int int
setuid          uint
setgid          uint
setreuid        int int
setregid        int int
setresuid       int int int
setresgid       int int int
setgroups       ulong ptr
getgroups       int ptr
prctl           prctl hex hex hex hex
arch_prctl      arch ptr
prlimit64       int resource limit >limit
getrlimit       resource >limit
setrlimit       resource limit
set_tid_address ptr
set_robust_list ptr ulong
rseq            ptr hex hex hex
futex           ptr futex futexval futextime ptr hex
sched_yield
sched_getaffinity int ulong ptr
sched_setaffinity int ulong ptr
uname           ptr
sysinfo         >sysinfo
getrusage       int ptr
times           ptr
getrandom       >random ulong random

rt_sigaction    signal action >action ulong
rt_sigprocmask  masking sigset >sigset ulong
rt_sigreturn
rt_sigsuspend   sigset ulong
rt_sigtimedwait sigset ptr time ulong
rt_sigpending   >sigset ulong
sigaltstack     ptr ptr
pause
alarm           uint
setitimer       int ptr ptr
nanosleep       time >time
clock_nanosleep clock timerflags time >time
clock_gettime   clock >time
clock_getres    clock >time
gettimeofday    ptr ptr
time            ptr
restart_syscall
"""
SIGNATURES: Final = {
    words[0]: tuple(words[1:]) for words in (line.split() for line in _SIGNATURES.splitlines()) if words
}
"""Call to kinds; one with "?" behind it stands only where the call takes it."""

_FILE: Final = """open openat openat2 creat stat lstat newfstatat statx statfs access faccessat faccessat2 readlink readlinkat getcwd chdir
    chroot mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat chmod fchmodat
    chown lchown fchownat utimensat utime utimes futimesat truncate execve execveat inotify_add_watch getxattr lgetxattr setxattr
    lsetxattr listxattr llistxattr removexattr lremovexattr mount umount2 pivot_root name_to_handle_at"""
_DESC: Final = """read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 sendfile splice tee vmsplice copy_file_range open
    openat openat2 creat close close_range dup dup2 dup3 pipe pipe2 fcntl flock ioctl lseek ftruncate fallocate fsync fdatasync syncfs
    fstat newfstatat statx fstatfs faccessat faccessat2 readlinkat fchdir mkdirat unlinkat renameat renameat2 linkat symlinkat mknodat
    fchmod fchmodat fchown fchownat utimensat getdents getdents64 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
    memfd_create fgetxattr fsetxattr flistxattr fremovexattr select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait
    epoll_pwait epoll_pwait2 eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime signalfd signalfd4 mmap pidfd_open
    pidfd_send_signal io_setup io_submit io_getevents readahead fadvise64"""
_NETWORK: Final = """socket socketpair bind connect listen accept accept4 getsockname getpeername shutdown setsockopt getsockopt sendto
    recvfrom sendmsg recvmsg sendmmsg recvmmsg sendfile"""
_PROCESS: Final = """fork vfork clone clone3 execve execveat exit exit_group wait4 waitid kill tkill tgkill rt_sigqueueinfo
    rt_tgsigqueueinfo pidfd_open pidfd_send_signal"""
_SIGNAL: Final = """kill tkill tgkill rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigpending rt_sigqueueinfo
    rt_tgsigqueueinfo sigaltstack pause signalfd signalfd4 pidfd_send_signal"""
_MEMORY: Final = (
    "mmap munmap mprotect mremap madvise brk mlock mlock2 munlock mlockall munlockall mincore msync mbind membarrier"
)
_CREDS: Final = """getuid geteuid getgid getegid setuid setgid setreuid setregid setresuid setresgid getresuid getresgid setgroups getgroups
    setfsuid setfsgid capget capset prctl"""
_CLOCK: Final = (
    "clock_gettime clock_getres clock_nanosleep clock_settime clock_adjtime gettimeofday settimeofday time adjtimex"
)
_IPC: Final = "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl"

CLASSES: Final[dict[str, frozenset[str]]] = {
    "file": frozenset(_FILE.split()),
    "desc": frozenset(_DESC.split()),
    "network": frozenset(_NETWORK.split()),
    "net": frozenset(_NETWORK.split()),
    "process": frozenset(_PROCESS.split()),
    "signal": frozenset(_SIGNAL.split()),
    "memory": frozenset(_MEMORY.split()),
    "creds": frozenset(_CREDS.split()),
    "clock": frozenset(_CLOCK.split()),
    "ipc": frozenset(_IPC.split()),
}
"""Class to calls, as strace's manual has them."""
