"""What a process gives up for good: files, system calls, resources, privileges. Linux and its C library alone."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import resource
import struct
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables below, AUDIT_ARCH
NOBODY = 65534

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def system_call(name: str, number: int, *arguments: Any) -> int:
    """Make a system call and raise OSError, with its name, where it fails."""
    plain = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    done = int(LIBC.syscall(ctypes.c_long(number), *plain))
    if done < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return done


def prctl(option: int, *arguments: Any) -> None:
    """Call prctl, and raise OSError where it fails."""
    plain = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in (*arguments, 0, 0, 0, 0)[:4]]
    if LIBC.prctl(ctypes.c_int(option), *plain) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def drop_privileges() -> None:
    """Give up all capabilities and all ways to gain one: no setuid program, no file capability."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # beyond the last one, or no capability to drop any: then there is none to keep
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)  # version 3; this process
    if LIBC.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def limit_resources(*, cpu_s: float, memory: int, file_size: int, processes: int | None) -> None:
    """Set the limits that the kernel holds for each process; its children inherit them."""
    seconds = int(cpu_s) + 1
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: file_size,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 1,  # not 0, with which a program that core_pattern names is still started
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 64,
    }
    if processes is not None:
        limits[resource.RLIMIT_NPROC] = processes
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (most, most))


# Landlock: rights to files, by bit. The numbers of its system calls are those of every architecture.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = (
    1 << bit for bit in range(6, 16)
)
READ = EXECUTE | READ_FILE | READ_DIR
FLAT = READ | WRITE_FILE | REMOVE_FILE | MAKE_REG | TRUNCATE  # a folder of files alone
TREE = FLAT | REMOVE_DIR | MAKE_DIR | MAKE_FIFO | MAKE_SYM | REFER
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the rights that a rule for one file may name


def landlock_version() -> int:
    """Return the version of the kernel's Landlock, 0 where it has none."""
    return max(0, int(LIBC.syscall(ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))))


def landlock(allowed: dict[str, int]) -> None:
    """Refuse every file, TCP port, abstract Unix socket and signal to others, but what `allowed` gives: path → rights.

    Kernels before Linux 6.12 refuse fewer kinds; in each case `filter_calls` refuses sockets and signals too.
    """
    version = landlock_version()
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", rights, 0b11, 0b11)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = system_call("landlock_create_ruleset", 444, attributes, len(attributes), 0)
    for path, wanted in allowed.items():
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        kept = wanted & rights & (-1 if os.path.isdir(path) else _OF_FILES)
        system_call("landlock_add_rule", 445, ruleset, 1, struct.pack("=Qi", kept, folder), 0)
        os.close(folder)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    system_call("landlock_restrict_self", 446, ruleset, 0)
    os.close(ruleset)


# seccomp: what no program needs, by area, with the numbers of x86_64 and aarch64; -1 where there is no such call.
_REFUSED = """
    socket 41 198, connect 42 203, bind 49 200, listen 50 201, accept 43 202, accept4 288 242
    ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, pidfd_getfd 438 438
    pidfd_send_signal 424 424, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, process_madvise 440 440
    process_mrelease 448 448
    mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428, move_mount 429 429
    fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442, unshare 272 97
    setns 308 268, name_to_handle_at 303 264, open_by_handle_at 304 265
    bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, io_uring_setup 425 425, io_uring_enter 426 426
    io_uring_register 427 427, seccomp 317 277, personality 135 92, fanotify_init 300 262, inotify_init 253 -1
    inotify_init1 294 26, add_key 248 217, request_key 249 218, keyctl 250 219, lookup_dcookie 212 18
    shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semop 65 193, semctl 66 191, semtimedop 220 192
    msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187, mq_open 240 180, mq_unlink 241 181
    memfd_create 319 279, memfd_secret 447 447
    sched_setaffinity 203 122, sched_setscheduler 144 119, sched_setparam 142 118, sched_setattr 314 274
    setpriority 141 140, ioprio_set 251 30, mbind 237 235, set_mempolicy 238 237, migrate_pages 256 238
    move_pages 279 239, init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104
    kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225, syslog 103 116, acct 163 89
    quotactl 179 60, quotactl_fd 443 443, vhangup 153 58, iopl 172 -1, ioperm 173 -1, modify_ldt 154 -1
    settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266, sethostname 170 161
    setdomainname 171 162, setuid 105 146, setgid 106 144, setreuid 113 145, setregid 114 143, setresuid 117 147
    setresgid 119 149, setgroups 116 159, setfsuid 122 151, setfsgid 123 152
    setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16
"""
# Landlock does not hold these, which change files of the same user anywhere; without namespaces they are refused too.
_REFUSED_WITHOUT_NAMESPACES = """
    chmod 90 -1, fchmod 91 52, fchmodat 268 53, chown 92 -1, fchown 93 55, lchown 94 -1, fchownat 260 54
    utime 132 -1, utimes 235 -1, utimensat 280 88, futimesat 261 -1, fork 57 -1, vfork 58 -1, tkill 200 130
"""
_NEWEST = 451  # a call of a later kernel is answered as by an earlier one, "no such call"
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_NEW_NAMESPACE, _THREAD = 0x7E020000, 0x00010000  # flags of clone

Step = tuple[int, int, int, int]


def _argument(index: int) -> Step:
    return (_LOAD, 0, 0, 16 + 8 * index)  # its low half: both machines are little-endian, and all we test are ints


def _verdict(what: int) -> Step:
    return (_RETURN, 0, 0, what)


def _calls(table: str, column: int) -> list[int]:
    rows = re.findall(r"\w+ (-?\d+) (-?\d+)", table)
    return [number for row in rows if (number := int(row[column])) >= 0]


def filter_calls(*, namespaces: bool) -> None:
    """Refuse system calls that a program does not need, for this process and all it starts, for good."""
    column, architecture = MACHINES[platform.machine()]
    refuse, allow, missing = (_verdict(v) for v in (_ERROR | errno.EPERM, _ALLOW, _ERROR | errno.ENOSYS))

    def rule(name: tuple[int, int], *body: Step) -> list[Step]:
        return [(_EQUAL, 0, len(body), name[column]), *body]

    def unless(index: int, test: int, value: int, *, otherwise: Step = refuse) -> list[Step]:
        return [_argument(index), (test, 0, 1, value), allow, otherwise]

    def refuse_values(index: int, *values: int) -> list[Step]:
        return [_argument(index), *(s for v in values for s in ((_EQUAL, 0, 1, v), refuse)), allow]

    steps: list[Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        _verdict(_KILL),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _NEWEST + 1),
        missing,
    ]
    for number in _calls(_REFUSED + ("" if namespaces else _REFUSED_WITHOUT_NAMESPACES), column):
        steps += [(_EQUAL, 0, 1, number), refuse]
    steps += rule((435, 435), missing)  # clone3, whose flags no filter can read; the C library then takes clone
    if namespaces:
        steps += rule((56, 220), _argument(0), (_ANY_BIT, 0, 1, _NEW_NAMESPACE), refuse, allow)
    else:
        own = os.getpid()
        steps += rule((56, 220), *unless(0, _ANY_BIT, _THREAD))  # threads, no processes
        steps += rule((62, 129), *unless(0, _EQUAL, own))  # kill
        steps += rule((234, 131), *unless(0, _EQUAL, own))  # tgkill
    # A pair of connected stream sockets, as asyncio needs it, reaches nobody; a datagram socket reaches any path.
    steps += rule((53, 199), _argument(0), (_EQUAL, 1, 0, 1), refuse, _argument(1), (_AND, 0, 0, 15), *_is(1, refuse))
    steps += rule((302, 261), *unless(0, _EQUAL, 0))  # prlimit64: of itself alone
    steps += rule((157, 167), *refuse_values(0, PR_SET_PDEATHSIG))
    steps += rule((72, 25), *refuse_values(1, 8, 15))  # fcntl F_SETOWN, F_SETOWN_EX: signals to others
    steps += rule((16, 29), *refuse_values(1, 0x5412, 0x541C, 0x8901, 0x8902))  # ioctl TIOCSTI, TIOCLINUX, …SETOWN
    code = b"".join(struct.pack("=HBBI", *step) for step in [*steps, allow])
    held = ctypes.create_string_buffer(code, len(code))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, 2, struct.pack("@HP", len(code) // 8, ctypes.addressof(held)))


def _is(value: int, otherwise: Step) -> list[Step]:
    return [(_EQUAL, 0, 1, value), _verdict(_ALLOW), otherwise]
