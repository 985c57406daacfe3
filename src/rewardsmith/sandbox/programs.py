"""What goes into the sandbox and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from rewardsmith.errors import RewardsmithError


class SandboxUnavailable(RewardsmithError):  # noqa: N818
    """This machine lacks a layer that the sandbox needs; the message names it and what to install."""


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    Args:
        wall_s: seconds from its start to its end; of a `Child`, of all calls together.
        cpu_s: seconds of processor time of the program with all its processes; of a `Child`, of all calls together.
        memory_mib: memory of one process, and of all together.
        processes: processes and threads at the same time; in mode "landlock" threads of the one process.
        output_bytes: of standard output and standard error together, and of one answer of a `Child`.
        disk_mib: size of the only writable folder, which holds `files` and is the working folder.
    """

    wall_s: float = 10.0
    cpu_s: float = 5.0
    memory_mib: int = 512
    processes: int = 16
    output_bytes: int = 64 * 1024
    disk_mib: int = 16


@dataclass(frozen=True)
class Program:
    """One program, which is all that enters its sandbox.

    Args:
        source: Python code, run as `__main__` by the interpreter of the caller.
        stdin: standard input, which is a file that ends.
        command: run this command in place of `source`, which then lies in the working folder as `main.py`.
        files: more files of the working folder, by relative path.
    """

    source: str
    stdin: str = ""
    command: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
                raise ValueError(f"Program: the file {name!r} leads out of the working folder. Give a relative path.")


@dataclass(frozen=True)
class Ran:
    """How a program went.

    Args:
        stdout, stderr: what it wrote, cut at `Limits.output_bytes`; bytes that are not UTF-8 become U+FFFD.
        exit_code: None where a limit or a signal ended it.
        ended: "" or the limit that it hit: "time", "cpu", "memory", "processes", "output", "disk"; "killed" where
            another signal ended it, such as that of a segmentation fault. It is for people: a program can pretend
            "memory", "processes" and "disk" by failing with the message of the Python error, so no score may be
            better with them than without.
    """

    stdout: str
    stderr: str
    exit_code: int | None
    ended: str


@dataclass(frozen=True)
class Answered:
    """The answer to one call; one of `raised` and `unscored` is set, or neither, and then `value` is the answer.

    Args:
        value: plain data: None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset and dict of such.
            A subclass arrives as its base, so that no method of the child's ever runs here.
        raised: type and text of the exception, or "SandboxEnded: " and the limit or exit code that ended the child.
        unscored: why the arguments or the value could not travel.
    """

    value: Any = None
    raised: str = ""
    unscored: str = ""
