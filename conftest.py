"""What tests and doctests share: what is imported, in which order they run, and where temporary files lie."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["RAY_TQDM_PATCH_PRINT"] = "0"  # Ray would replace `print` for every test that follows in the process


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file without a test or an example, and one of slow tests alone where those are not wanted.

    To import every file for its doctests, torch and the trainers with it, takes longer than to run them.
    """
    if collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    if not collection_path.name.startswith("test_"):
        return True if ">>>" not in text else None
    slow = any(line.startswith("pytestmark =") and "pytest.mark.slow" in line for line in text.splitlines())
    return True if slow and config.option.markexpr == "not slow" else None


def pytest_collection(session: pytest.Session) -> None:
    gc.disable()  # until all is collected, which stays


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let no collection of garbage go through a million objects of modules again, some seconds per process."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start slow tests first, so that no process is left with one at the end, and those of a group before the others.

    The fast tests of a file go to one process, which imports and prepares for them once.
    """
    for item in items:
        if item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: (not item.get_closest_marker("slow"), not item.get_closest_marker("xdist_group")))


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever a test makes by `tempfile` lies in pytest's own folder and goes with it."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = None
