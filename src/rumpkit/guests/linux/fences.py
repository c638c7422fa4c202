"""Which system calls a program may make at all: a list of those that reach nothing but its own processes, memory, files and descriptors.

Between `numbers` and `filter`.  What isn't on the list fails, with EPERM where Linux has privileges for it and else with ENOSYS, as
on a kernel that is older than the call, and the supervisor hears of it and keeps count (`refusals`).  Calls that Linux will get in the
future are not on the list either.  What sockets do is decided in `filter`.
"""

from collections.abc import Collection
from typing import Final

from ...kern.abi.errno import ENOSYS, EPERM
from .numbers import NUMBERS

_FILES: Final = """
    read write open close stat fstat lstat lseek pread64 pwrite64 readv writev access select poll dup dup2 dup3 pipe
    pipe2 sendfile fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat
    link unlink symlink readlink chmod fchmod chown fchown lchown umask utime mknod statfs fstatfs sync readahead
    setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr
    fremovexattr setxattrat getxattrat listxattrat removexattrat fadvise64 utimes inotify_init inotify_add_watch
    inotify_rm_watch inotify_init1 openat openat2 mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat
    renameat2 linkat symlinkat readlinkat fchmodat fchmodat2 faccessat faccessat2 pselect6 ppoll splice tee vmsplice
    sync_file_range utimensat fallocate preadv pwritev preadv2 pwritev2 syncfs copy_file_range statx cachestat
    getdents64 close_range chroot name_to_handle_at epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 eventfd eventfd2 signalfd signalfd4 io_setup io_destroy io_getevents io_submit io_cancel io_pgetevents
"""
_MEMORY: Final = """
    mmap mprotect munmap brk mremap msync mincore madvise mlock munlock mlockall munlockall mlock2 remap_file_pages
    memfd_create memfd_secret pkey_mprotect pkey_alloc pkey_free mbind set_mempolicy get_mempolicy
    set_mempolicy_home_node map_shadow_stack mseal membarrier
"""
_PROCESSES: Final = """
    sched_yield fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill getpid getppid gettid uname
    sysinfo times getrlimit setrlimit prlimit64 getrusage getuid geteuid getgid getegid setuid setgid setreuid setregid
    setresuid getresuid setresgid getresgid getgroups setgroups setfsuid setfsgid setpgid getpgid getpgrp setsid getsid
    capget capset getpriority setpriority ioprio_set ioprio_get sched_setparam sched_getparam sched_setscheduler
    sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setaffinity
    sched_getaffinity sched_setattr sched_getattr getcpu prctl arch_prctl set_thread_area get_thread_area
    set_tid_address set_robust_list get_robust_list futex futex_waitv futex_wake futex_wait futex_requeue rseq
    restart_syscall getrandom pidfd_open pidfd_send_signal seccomp landlock_create_ruleset landlock_add_rule
    landlock_restrict_self pause alarm rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait
    rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack
"""
_TIME: Final = """
    nanosleep clock_nanosleep gettimeofday time clock_gettime clock_getres adjtimex clock_adjtime getitimer setitimer
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime
    timerfd_gettime
"""
_MESSAGES: Final = """
    shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend
    mq_timedreceive mq_notify mq_getsetattr socketpair sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
"""
ALLOWED: Final = frozenset(" ".join((_FILES, _MEMORY, _PROCESSES, _TIME, _MESSAGES)).split())
"""Decided by their number alone, so that Linux need not run the filter for them (seccomp_cache in linux/seccomp.h)."""

PRIVILEGED: Final = frozenset(
    """
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd unshare setns mount
    umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr open_tree_attr
    open_by_handle_at bpf perf_event_open userfaultfd fanotify_init fanotify_mark add_key request_key keyctl syslog acct
    swapon swapoff reboot kexec_load kexec_file_load init_module finit_module delete_module create_module iopl ioperm
    settimeofday clock_settime sethostname setdomainname quotactl quotactl_fd nfsservctl vhangup lookup_dcookie
    modify_ldt migrate_pages move_pages clone ioctl personality
    """.split()
)
"""Those that fail with EPERM; all others that aren't allowed fail with ENOSYS.  Of the last three `filter` refuses some uses."""


def allowed(machine: str, more: Collection[str] = ()) -> frozenset[int]:
    """The numbers that are allowed on a machine (a key of `NUMBERS`), with those of the calls `more`.  Raises KeyError of what is none."""
    numbers = NUMBERS[machine]
    return frozenset(numbers[name] for name in ALLOWED if name in numbers) | frozenset(numbers[name] for name in more)


def errno_of(name: str) -> int:
    """What a call fails with that isn't allowed."""
    return EPERM if name in PRIVILEGED else ENOSYS


def name_of(machine: str, number: int) -> str:
    """What a call is called, or its number where Linux has got it since."""
    return _NAMES[machine].get(number, str(number))


_NAMES: Final = {machine: {number: name for name, number in table.items()} for machine, table in NUMBERS.items()}
