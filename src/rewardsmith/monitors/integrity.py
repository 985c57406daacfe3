"""Compare the files behind a reward before and after a rollout, by their hashes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

from rewardsmith.errors import RewardsmithError

UNREADABLE = "unreadable"
Kind = Literal["file", "folder", "link", "other"]


class FileState(NamedTuple):
    """What one path is: its kind, a digest of its content, its rights (mode, owner, group) and its size in bytes.

    digest: of a file the BLAKE2b of its content; of a link where it points to, and the content there if that is a file;
        "unreadable: …" where it cannot be read, also of a folder.
    """

    kind: Kind
    digest: str
    rights: tuple[int, int, int]
    size: int


class FileChange(NamedTuple):
    """One change: "added", "deleted", "changed", "rights", "kind" or "renamed", whose old path is `was`."""

    what: Literal["added", "deleted", "changed", "rights", "kind", "renamed"]
    path: str
    was: str = ""

    def __str__(self) -> str:
        """Show it on one line, with control characters and whatever is not ASCII escaped."""
        return f"{self.what} {self.path!a}" + (f", was {self.was!a}" if self.was else "")


class TamperedFilesError(RewardsmithError):
    """Files changed that no rollout may change.

    >>> str(TamperedFilesError("changed 'tests.py'"))
    "changed 'tests.py'"
    """


def file_states(folder: str | Path) -> dict[str, FileState]:
    """Return the state of everything below a folder, by path relative to it; links are not followed into folders.

    Files are read in pieces, so that large ones need no memory. What is no regular file, such as a pipe, is not opened.

    Raises:
        NotADirectoryError: there is no such folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "tests.py").write_text("assert answer() == 4")
    ...     list(file_states(folder))
    ['tests.py']
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"file_states: {str(root)!a} is no folder. Pass the folder of the rollout.")
    states: dict[str, FileState] = {}
    left = [""]
    while left:  # not by recursion: a rollout may nest folders deeper than Python's stack
        below = left.pop()
        try:
            names = os.listdir(root / below)
        except OSError as error:
            if below in states:  # else the folder itself is gone
                states[below] = states[below]._replace(digest=f"{UNREADABLE}: {error.strerror}")
            continue
        for name in names:
            path = f"{below}/{name}" if below else name
            try:
                states[path] = _state(f"{os.fspath(root)}/{path}")
            except FileNotFoundError:  # deleted since it was listed
                continue
            except OSError as error:
                states[path] = FileState("other", f"{UNREADABLE}: {error.strerror}", (0, 0, 0), 0)
            if states[path].kind == "folder":
                left.append(path)
    return states


def _state(path: str) -> FileState:
    seen = os.lstat(path)
    rights = (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid)
    if stat.S_ISDIR(seen.st_mode):
        return FileState("folder", "", rights, 0)
    if stat.S_ISLNK(seen.st_mode):
        return FileState("link", f"{os.readlink(path)} {_digest(path)}", (0, seen.st_uid, seen.st_gid), 0)
    if stat.S_ISREG(seen.st_mode):
        return FileState("file", _digest(path), rights, seen.st_size)
    return FileState("other", str(stat.S_IFMT(seen.st_mode)), rights, 0)


def _digest(path: str) -> str:
    """Return the digest of a regular file's content, "" of anything else."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that took its place since would block
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return ""
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        return f"{UNREADABLE}: {error.strerror}"


def file_changes(
    before: dict[str, FileState], after: dict[str, FileState], *, allow: Sequence[str] = ()
) -> tuple[FileChange, ...]:
    """Return what differs between two results of `file_states`, but for what is allowed, by path.

    A file that is gone while an equal one is new counts as renamed. A change of both content and rights is "changed".

    Args:
        allow: patterns of paths that may change in any way, as of `fnmatch`, whose `*` matches `/` too: `work/*`. A
            renamed file is allowed where both its paths are.

    >>> file = FileState("file", "a1", (420, 0, 0), 10)
    >>> [str(change) for change in file_changes({"tests.py": file}, {"old.py": file})]
    ["renamed 'old.py', was 'tests.py'"]
    """
    gone: dict[tuple[Kind, str], list[str]] = {}  # by what they held, as there may be very many of both
    for path in sorted(before.keys() - after.keys(), reverse=True):
        gone.setdefault(before[path][:2], []).append(path)
    found = []
    for path in sorted(after.keys() - before.keys()):
        state = after[path]
        telling = state.kind == "link" or (state.kind == "file" and state.size > 0)  # all empty files are equal
        same = gone.get(state[:2]) if telling else None
        found.append(FileChange("renamed", path, same.pop()) if same else FileChange("added", path))
    found += [FileChange("deleted", path) for paths in gone.values() for path in paths]
    for path in before.keys() & after.keys():
        old, now = before[path], after[path]
        if old.kind != now.kind:
            found.append(FileChange("kind", path))
        elif old.digest != now.digest:
            found.append(FileChange("changed", path))
        elif old.rights != now.rights:
            found.append(FileChange("rights", path))

    def allowed(path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in allow)

    kept = (change for change in found if not (allowed(change.path) and (not change.was or allowed(change.was))))
    return tuple(sorted(kept, key=lambda change: change.path))


class FileGuard:
    """Compare a folder before and after what runs in a `with` block.

    Take `FileGuard(sandbox, allow=["work/*"])` around a rollout. The guard must run where the rollout cannot reach it,
    and before the reward does: a rollout that left a process behind can still change files afterwards.

    Args:
        folder: everything below it is compared; a link to a folder stands for that folder.
        allow: paths that may change; see `file_changes`.
        on_change: "raise" `TamperedFilesError` at the end of the block (a note on the error, if the block raised one),
            or "record".

    Attributes:
        changes: what changed, once the block has ended.
        record: `{"changed_files": n, "changes": […]}` to add to the record of `Watch.observe`, for the monitor
            `changed_files`; the changes are lines of text in ASCII.
    """

    def __init__(
        self, folder: str | Path, *, allow: Sequence[str] = (), on_change: Literal["raise", "record"] = "raise"
    ) -> None:
        if isinstance(allow, str):
            raise TypeError(f"FileGuard: allow is the text {allow!r}. Pass a list of patterns.")
        if on_change not in ("raise", "record"):
            raise ValueError(f"FileGuard: on_change is {on_change!r}. Choose 'raise' or 'record'.")
        self.folder, self.allow, self.on_change = Path(folder), tuple(allow), on_change
        self.changes: tuple[FileChange, ...] = ()
        self._place, self._real = self.folder, self.folder
        self._before: dict[str, FileState] = {}

    def __enter__(self) -> FileGuard:
        self._place = self.folder.absolute()  # the rollout may change the working folder
        self._real = self._place.resolve()
        self._before, self.changes = file_states(self._real), ()
        unread = [path for path, of in self._before.items() if of.kind != "link" and of.digest.startswith(UNREADABLE)]
        unread = [path for path in unread if not any(fnmatchcase(path, pattern) for pattern in self.allow)]
        if unread:
            raise RewardsmithError(
                f"FileGuard: {len(unread)} paths cannot be read, such as {unread[0]!a}, so that a change would stay "
                "unseen. Run it as a user who can read them, or allow them."
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        same = self._place.resolve() == self._real and self._real.is_dir()  # no link was put in its place
        after = file_states(self._real) if same else {}
        self.changes = file_changes(self._before, after, allow=self.allow)
        if self.changes and self.on_change == "raise":
            shown = "; ".join(map(str, self.changes[:5])) + ("; …" if len(self.changes) > 5 else "")
            message = (
                f"FileGuard: {len(self.changes)} paths in {str(self.folder)!a} changed: {shown}. Leave the episode "
                "out, and read it; allow=[…] names files that may change."
            )
            if error is None:
                raise TamperedFilesError(message)
            error.add_note(message)

    @property
    def record(self) -> dict[str, Any]:
        """Return what a monitor's record holds of the changes."""
        return {"changed_files": len(self.changes), "changes": [str(change) for change in self.changes]}
