"""Worker processes that do not outlive their parent."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Executor
from multiprocessing import get_context, parent_process


def worker_pool(workers: int) -> Executor:
    """Return processes, at most one per core; each starts when needed, and imports torch once for all its jobs."""
    from concurrent.futures import ProcessPoolExecutor  # not at the start of every command

    return ProcessPoolExecutor(min(workers, os.cpu_count() or 1), get_context("spawn"), end_with_parent)


def end_with_parent() -> None:
    """Start a thread that ends this worker as soon as its parent is gone, even by a kill."""
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
