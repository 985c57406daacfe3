"""Namespaces of our own, where bubblewrap is not: an empty root with what may be read, and nobody else in it."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Mapping, Sequence

from rewardsmith.sandbox.confine import LIBC, NOBODY, PR_SET_PDEATHSIG, prctl, system_call

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
)  # fmt: skip
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
ROOT = "/tmp"  # the new root is mounted here, which exists everywhere, before it becomes "/"


def enter(*, readable: Sequence[str], links: Mapping[str, str], devices: Sequence[str], work: str, disk: int) -> None:
    """Return in process 1 of new namespaces; the calling process waits for that one and exits as it does.

    Args:
        readable: files and folders that keep their path, read-only.
        links: path → target of symbolic links.
        devices: files of /dev.
        work: the only folder that can be written, a memory file system of `disk` bytes.
    """
    _unshare()
    inside = os.fork()
    if inside:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]) & 0xFF)
    # While still the caller's user, who alone may reach an interpreter in their home folder.
    copies = {path: _copy(path, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV) for path in readable}
    copies |= {path: _copy(path, ATTR_RDONLY | ATTR_NOSUID) for path in devices}
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
    os.umask(0o022)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("tmpfs", ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    for path, copy in copies.items():
        _place(copy, ROOT + path)
    for path, target in links.items():
        os.makedirs(os.path.dirname(ROOT + path), exist_ok=True)
        os.symlink(target, ROOT + path)
    os.makedirs(ROOT + work)
    _mount("tmpfs", ROOT + work, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=700,size={disk},nr_inodes={disk // 1024}")
    os.mkdir(ROOT + "/proc")
    _mount("proc", ROOT + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir(ROOT)
    system_call("pivot_root", {"x86_64": 155, "aarch64": 41}[os.uname().machine], b".", b".")
    if LIBC.umount2(b".", 2) != 0:  # MNT_DETACH: the old root lies over the new one
        raise OSError(ctypes.get_errno(), "umount2 of the old root")
    os.chdir("/")
    _restrict(AT_FDCWD, b"/", 0, ATTR_RDONLY)
    if LIBC.sethostname(b"sandbox", 7) != 0:
        raise OSError(ctypes.get_errno(), "sethostname")


def _unshare() -> None:
    """Leave all namespaces; a helper that stays outside maps nobody to a user that owns nothing, where it may."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        os.setgroups([])
        user = group = NOBODY
    waits, starts = os.pipe()
    helper = os.fork()
    if not helper:
        try:
            os.read(waits, 1)
            for name, text in {
                "setgroups": "deny",
                "uid_map": f"{NOBODY} {user} 1",
                "gid_map": f"{NOBODY} {group} 1",
            }.items():
                with open(f"/proc/{os.getppid()}/{name}", "w", encoding="ascii") as file:
                    file.write(text)
            os._exit(0)
        finally:
            os._exit(1)
    if LIBC.unshare(NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | NEWCGROUP) != 0:
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    os.write(starts, b"x")
    if os.waitpid(helper, 0)[1] != 0:
        raise PermissionError("the kernel refuses the map of users")
    os.close(waits)
    os.close(starts)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    plain = [text.encode() for text in (source, target, kind)]
    if LIBC.mount(*plain, ctypes.c_ulong(flags), options.encode()) != 0:
        raise OSError(
            ctypes.get_errno(), f"mount of {kind or 'private'} on {target}: {os.strerror(ctypes.get_errno())}"
        )


def _copy(path: str, attributes: int) -> int:
    """Return a copy of the mounts below `path`, restricted, that is nowhere yet."""
    copy = system_call("open_tree", 428, AT_FDCWD, os.fsencode(path), 1 | AT_RECURSIVE | os.O_CLOEXEC)
    _restrict(copy, b"", AT_EMPTY_PATH | AT_RECURSIVE, attributes)
    return copy


def _restrict(folder: int, path: bytes, flags: int, attributes: int) -> None:
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    system_call("mount_setattr", 442, folder, path, flags, wanted, len(wanted))


def _place(copy: int, target: str) -> None:
    if os.path.isdir(f"/proc/self/fd/{copy}"):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb"):
            pass
    system_call("move_mount", 429, copy, b"", AT_FDCWD, os.fsencode(target), 4)  # MOVE_MOUNT_F_EMPTY_PATH
    os.close(copy)
