"""What a process gives up for good: privileges, resources, files, system calls. By the C library of Linux alone."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
import struct
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column in the tables below, AUDIT_ARCH
PDEATHSIG, DUMPABLE, SECCOMP, CAPBSET_DROP, NO_NEW_PRIVS, CAP_AMBIENT = 1, 4, 22, 24, 38, 47  # options of prctl


def call(name: str, *arguments: Any) -> int:
    """Call a function of the C library and return its result; raise OSError, with its name, where it fails."""
    plain = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    done = int(getattr(LIBC, name)(*plain))
    if done < 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments[:1]}: {os.strerror(ctypes.get_errno())}")
    return done


def drop_privileges() -> None:
    """Give up all capabilities and all ways to gain one: no setuid program, no file capability."""
    call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", CAP_AMBIENT, 4, 0, 0, 0)  # clear all
    for capability in range(64):
        try:
            call("prctl", CAPBSET_DROP, capability, 0, 0, 0)
        except OSError:
            break  # beyond the last one, or without the right to drop any, which is to have none
    call("capset", struct.pack("=Ii", 0x20080522, 0), bytes(24))  # version 3, this process, no capability


def limit_resources(*, cpu_s: float, memory: int, file_size: int, processes: int | None) -> None:
    """Set the limits that the kernel holds for each process; its children inherit them."""
    limits = {
        resource.RLIMIT_CPU: int(cpu_s) + 1,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: file_size,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 1,  # not 0, with which a program that core_pattern names is still started
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_SIGPENDING: 64,
    } | ({resource.RLIMIT_NPROC: processes} if processes else {})
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (most, most))


# Landlock: rights to files, by bit. Its system calls 444 to 446 have these numbers on every machine.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, _MAKE_CHAR, MAKE_DIR = (1 << bit for bit in range(8))
MAKE_REG, _MAKE_SOCK, MAKE_FIFO, _MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in range(8, 16))
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the rights that a rule for one file may name
READ = EXECUTE | READ_FILE | READ_DIR
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE
FLAT = READ | WRITE_FILE | REMOVE_FILE | MAKE_REG | TRUNCATE  # a folder of files alone
TREE = FLAT | REMOVE_DIR | MAKE_DIR | MAKE_FIFO | MAKE_SYM | REFER


def landlock_version() -> int:
    """Return the version of the kernel's Landlock, 0 where it has none."""
    return max(0, int(LIBC.syscall(ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))))


def landlock(allowed: dict[str, int]) -> None:
    """Refuse all files, TCP ports, abstract sockets and signals to others, but what `allowed` gives: path → rights.

    Kernels before Linux 6.12 refuse fewer of these kinds; `filter_calls` refuses sockets and signals on each.
    """
    version = landlock_version()
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", rights, 0b11, 0b11)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = call("syscall", 444, attributes, len(attributes), 0)
    for path, wanted in allowed.items():
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        kept = wanted & rights & (-1 if os.path.isdir(path) else OF_FILES)
        call("syscall", 445, rules, 1, struct.pack("=Qi", kept, place), 0)
        os.close(place)
    call("syscall", 446, rules, 0)
    os.close(rules)


# seccomp: what no program needs, with the numbers of x86_64 and aarch64; -1 where a machine has no such call.
REFUSED = """
socket 41 198, connect 42 203, bind 49 200, listen 50 201, accept 43 202, accept4 288 242, ptrace 101 117,
process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, pidfd_getfd 438 438, pidfd_send_signal 424 424,
rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, process_madvise 440 440, process_mrelease 448 448, mount 165 40,
umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428, move_mount 429 429, fsopen 430 430,
fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442, unshare 272 97, setns 308 268,
name_to_handle_at 303 264, open_by_handle_at 304 265, bpf 321 280, perf_event_open 298 241, userfaultfd 323 282,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, seccomp 317 277, personality 135 92,
fanotify_init 300 262, inotify_init 253 -1, inotify_init1 294 26, add_key 248 217, request_key 249 218,
keyctl 250 219, lookup_dcookie 212 18, shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semop 65 193,
semctl 66 191, semtimedop 220 192, msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187, mq_open 240 180,
mq_unlink 241 181, memfd_create 319 279, memfd_secret 447 447, sched_setaffinity 203 122, sched_setscheduler 144 119,
sched_setparam 142 118, sched_setattr 314 274, setpriority 141 140, ioprio_set 251 30, mbind 237 235,
set_mempolicy 238 237, migrate_pages 256 238, move_pages 279 239, init_module 175 105, finit_module 313 273,
delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225,
syslog 103 116, acct 163 89, quotactl 179 60, quotactl_fd 443 443, vhangup 153 58, iopl 172 -1, ioperm 173 -1,
modify_ldt 154 -1, settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266,
sethostname 170 161, setdomainname 171 162, setuid 105 146, setgid 106 144, setreuid 113 145, setregid 114 143,
setresuid 117 147, setresgid 119 149, setgroups 116 159, setfsuid 122 151, setfsgid 123 152, setxattr 188 5,
lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
"""
# Landlock lets these change files of the same user anywhere, and start processes that outlive their parent.
REFUSED_WITHOUT_NAMESPACES = """
chmod 90 -1, fchmod 91 52, fchmodat 268 53, chown 92 -1, fchown 93 55, lchown 94 -1, fchownat 260 54, utime 132 -1,
utimes 235 -1, utimensat 280 88, futimesat 261 -1, fork 57 -1, vfork 58 -1, tkill 200 130,
"""
NEWEST = 451  # calls that later kernels added are answered as by an earlier one, "no such call"
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, AT_LEAST, RETURN, AND = 0x20, 0x15, 0x35, 0x06, 0x54  # instructions of BPF
NEW_NAMESPACES, THREAD = 0x7E020000, 0x00010000  # flags of clone

Step = tuple[int, int, int, int]  # instruction, steps to skip if true, if false, operand


def filter_calls(*, namespaces: bool) -> None:
    """Refuse system calls that a program does not need, for this process and all that it starts, for good."""
    column, architecture = MACHINES[os.uname().machine]
    refuse, allow, missing = ((RETURN, 0, 0, what) for what in (ERROR | errno.EPERM, ALLOW, ERROR | errno.ENOSYS))

    def rule(numbers: tuple[int, int], *steps: Step) -> list[Step]:
        return [(EQUAL, 0, len(steps), numbers[column]), *steps]

    def argument(index: int) -> Step:  # its low half: both machines are little-endian, and what we test are ints
        return (LOAD, 0, 0, 16 + 8 * index)

    def only(numbers: tuple[int, int], *conditions: tuple[int, int, int]) -> list[Step]:
        """Allow the call where each (index, mask, value) holds."""
        tests = [(argument(i), (AND, 0, 0, mask), (EQUAL, 1, 0, value), refuse) for i, mask, value in conditions]
        return rule(numbers, *(step for test in tests for step in test), allow)

    def never(numbers: tuple[int, int], index: int, *values: int) -> list[Step]:
        return rule(numbers, argument(index), *(s for v in values for s in ((EQUAL, 0, 1, v), refuse)), allow)

    table, everything = REFUSED + ("" if namespaces else REFUSED_WITHOUT_NAMESPACES), 0xFFFFFFFF
    refused = [int(row[column]) for row in re.findall(r"(-?\d+) (-?\d+),", table)]
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL)]  # 32-bit calls have other numbers
    steps += [(LOAD, 0, 0, 0), (AT_LEAST, 0, 1, NEWEST + 1), missing]
    steps += [step for number in refused if number >= 0 for step in rule((number, number), refuse)]
    steps += rule((435, 435), missing)  # clone3: no filter can read its flags, and the C library then takes clone
    # A pair of connected streams, as asyncio needs, reaches nobody. A datagram socket would reach any path.
    steps += only((53, 199), (0, everything, 1), (1, 15, 1))  # socketpair of AF_UNIX, SOCK_STREAM
    steps += only((302, 261), (0, everything, 0))  # prlimit64 of itself
    steps += never((157, 167), 0, PDEATHSIG)  # prctl
    steps += never((72, 25), 1, 8, 15)  # fcntl F_SETOWN, F_SETOWN_EX: signals to others
    steps += never((16, 29), 1, 0x5412, 0x541C, 0x8901, 0x8902)  # ioctl TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
    if namespaces:
        steps += only((56, 220), (0, NEW_NAMESPACES, 0))  # clone
    else:
        own = os.getpid()
        steps += only((56, 220), (0, THREAD, THREAD))
        steps += only((62, 129), (0, everything, own))  # kill
        steps += only((234, 131), (0, everything, own))  # tgkill
    code = b"".join(struct.pack("=HBBI", *step) for step in [*steps, allow])
    held = ctypes.create_string_buffer(code, len(code))
    call("prctl", SECCOMP, 2, struct.pack("@HP", len(code) // 8, ctypes.addressof(held)), 0, 0)
