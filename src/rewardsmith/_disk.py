"""Files that are on disk as a whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside `path`, which replaces it once the file is complete and on the disk.

    If the body raises, `path` stays as it was, and the file beside it is removed, as are those of killed processes.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a") as file:
    ...     _ = file.write(b"whole")
    >>> [(path.name, path.read_bytes()) for path in folder.iterdir()]
    [('a', b'whole')]

    Raises:
        OSError: the disk is full or the folder cannot be written to; the error names the file.
    """
    _sweep(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # O_EXCL and O_NOFOLLOW: a link under this name is not written through.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with naming(path), os.fdopen(os.open(beside, flags, 0o666), "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write the folder's list of files to the disk, so that a renamed file keeps its name through a power loss."""
    with contextlib.suppress(OSError):  # not every system can do it for a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the name of this file to a system error without one, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _sweep(path: Path) -> None:
    """Remove files that ended processes left beside `path`, also one with our own process number."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        number = left.name.split(".")[-2]
        if number.isdecimal() and (int(number) == os.getpid() or not _runs(int(number))):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
