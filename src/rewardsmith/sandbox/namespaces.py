"""Namespaces of our own, where bubblewrap is not: an empty root with what may be read, and nobody else in it."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections.abc import Iterator, Mapping, Sequence

from rewardsmith.sandbox.confine import PDEATHSIG, call

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NOSUID, NODEV, NOEXEC, REC, PRIVATE = 2, 4, 8, 0x4000, 0x40000  # flags of mount
READ_ONLY, NO_SETUID, NO_DEVICES = 1, 2, 4  # attributes of mount_setattr
HERE, EMPTY_PATH, RECURSIVE = -100, 0x1000, 0x8000  # AT_FDCWD, …
NOBODY = 65534
ROOT = "/tmp"  # where the new root is built, before it becomes "/"


def enter(*, readable: Sequence[str], links: Mapping[str, str], devices: Sequence[str], work: str, disk: int) -> None:
    """Return in process 1 of new namespaces; the process that called waits for it and exits as it does.

    Args:
        readable: files and folders that keep their path, read-only.
        links: path → target of symbolic links.
        devices: files of /dev.
        work: the only folder that can be written, a memory file system of `disk` bytes.
    """
    with helper_that_maps_users():
        call("unshare", NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | NEWCGROUP)
    inside = os.fork()
    if inside:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]) & 0xFF)
    # Copied while still the caller's user, who alone may reach an interpreter in their home folder.
    copies = {path: copy_of(path, READ_ONLY | NO_SETUID | NO_DEVICES) for path in readable}
    copies |= {path: copy_of(path, READ_ONLY | NO_SETUID) for path in devices}
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    call("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the change of user, which clears it
    os.umask(0o022)
    call("mount", None, b"/", None, REC | PRIVATE, None)
    call("mount", b"tmpfs", ROOT.encode(), b"tmpfs", NOSUID | NODEV, b"mode=755,size=1m")
    for path, copy in copies.items():
        place(copy, ROOT + path)
    for path, target in links.items():
        os.makedirs(os.path.dirname(ROOT + path), exist_ok=True)
        os.symlink(target, ROOT + path)
    os.mkdir(ROOT + work)
    size = f"mode=700,size={disk},nr_inodes={disk // 1024}".encode()
    call("mount", b"tmpfs", (ROOT + work).encode(), b"tmpfs", NOSUID | NODEV, size)
    os.mkdir(ROOT + "/proc")
    call("mount", b"proc", (ROOT + "/proc").encode(), b"proc", NOSUID | NODEV | NOEXEC, None)
    os.chdir(ROOT)
    call("syscall", {"x86_64": 155, "aarch64": 41}[os.uname().machine], b".", b".")  # pivot_root
    call("umount2", b".", 2)  # MNT_DETACH: the old root, which lies over the new one
    os.chdir("/")
    restrict(HERE, b"/", 0, READ_ONLY)
    call("sethostname", b"sandbox", 7)


@contextlib.contextmanager
def helper_that_maps_users() -> Iterator[None]:
    """Map nobody inside to the caller outside, or to the true nobody if that is root, once the body has run."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        os.setgroups([])
        user = group = NOBODY
    maps = {"setgroups": "deny", "uid_map": f"{NOBODY} {user} 1", "gid_map": f"{NOBODY} {group} 1"}
    waits, starts = os.pipe()
    helper = os.fork()  # it stays outside, where it has the right to write the maps
    if not helper:
        with contextlib.suppress(OSError):
            os.read(waits, 1)
            for name, text in maps.items():
                with open(f"/proc/{os.getppid()}/{name}", "w", encoding="ascii") as file:
                    file.write(text)
            os._exit(0)
        os._exit(1)
    yield
    os.write(starts, b"x")
    if os.waitpid(helper, 0)[1] != 0:
        raise PermissionError("the kernel refuses the map of users")
    os.close(waits)
    os.close(starts)


def copy_of(path: str, attributes: int) -> int:
    """Return a copy of the mounts at and below `path`, restricted, that is nowhere yet."""
    copy = call("syscall", 428, HERE, os.fsencode(path), 1 | RECURSIVE | os.O_CLOEXEC)  # open_tree
    restrict(copy, b"", EMPTY_PATH | RECURSIVE, attributes)
    return copy


def restrict(folder: int, path: bytes, flags: int, attributes: int) -> None:
    """Set attributes of a mount."""
    call("syscall", 442, folder, path, flags, struct.pack("=QQQQ", attributes, 0, 0, 0), 32)  # mount_setattr


def place(copy: int, target: str) -> None:
    """Mount a copy at `target`, which is made."""
    folder = os.path.isdir(f"/proc/self/fd/{copy}")
    os.makedirs(target if folder else os.path.dirname(target), exist_ok=True)
    if not folder:
        with open(target, "xb"):
            pass
    call("syscall", 429, copy, b"", HERE, os.fsencode(target), 4)  # move_mount
    os.close(copy)
