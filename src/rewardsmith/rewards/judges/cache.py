"""ReplyCache: a judge's replies on disk, as plain text that is verified by a checksum and never executed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

from rewardsmith.rewards.judges.asking import Reply

logger = logging.getLogger(__name__)

_NAME = "replies.sqlite"
_OLD = "cache.db"  # diskcache's file of pickles
_TABLE = "CREATE TABLE replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL, checksum TEXT NOT NULL) WITHOUT ROWID"
_PATIENCE = 10.0


class ReplyCache:
    """Replies by key in one SQLite file, shared by threads and processes.

    A reply is on disk once `set` returns. If the cache cannot be used, a warning names it, the file stays as it is, and
    no reply is found or kept. A reply with a wrong checksum is named in a warning and requested again.

    Args:
        folder: created if missing; None keeps nothing.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self._database: sqlite3.Connection | None = None
        if folder is None:
            return
        self.path = Path(folder) / _NAME
        if (self.path.parent / _OLD).exists():
            logger.warning("ReplyCache: %s holds pickles, which are not read. Delete it.", self.path.with_name(_OLD))
        try:
            self._database = self._opened()
        except (OSError, sqlite3.Error, ValueError) as error:
            self._give_up(error)

    @property
    def open(self) -> bool:
        """Whether replies are found and kept."""
        return self._database is not None

    def get(self, key: str) -> Reply | None:
        """Return the reply stored under `key`, or None."""
        if self._database is None:
            return None
        try:
            found = self._database.execute("SELECT reply, checksum FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        if found is None:
            return None
        text, checksum = found
        with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
            if checksum == _checksum(key, text):
                return _reply_in(json.loads(text))
        logger.warning("ReplyCache: %s holds a damaged reply. It is requested again.", self.path)
        return None

    def set(self, key: str, reply: Reply) -> None:
        """Store `reply` under `key`: its text as a JSON string, with log-probabilities as a list of both."""
        if self._database is None:
            return
        text = json.dumps(reply if reply.logprobs else reply.text)  # ASCII, so that a lone surrogate can be stored too
        try:
            self._database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (key, text, _checksum(key, text)))
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the database file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for path in self.path.parent.glob(f"{_NAME}*"):
            with contextlib.suppress(FileNotFoundError):  # another process has just closed the cache
                if not stat.S_ISREG(path.lstat().st_mode):
                    raise ValueError(f"{path.name} is no ordinary file")
        # The lock serializes the threads, so SQLite need not insist on the thread that opened the file.
        database = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        database.text_factory = lambda text: text.decode("utf-8", "replace")  # then its checksum is wrong
        try:
            database.execute("PRAGMA trusted_schema = OFF")
            deadline = time.monotonic() + _PATIENCE
            while True:  # SQLite does not wait while another process sets the mode on a new file
                try:
                    database.execute("PRAGMA journal_mode = WAL")
                    break
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
            schema = database.execute("SELECT sql FROM sqlite_master").fetchall()
            if schema != [(_TABLE,)]:  # a trigger or a view would run its author's code
                raise ValueError("it holds more than replies")
        except BaseException:
            database.close()
            raise
        return database

    def _give_up(self, error: Exception) -> None:
        self.close()
        logger.warning(
            "ReplyCache: %s cannot be used (%s), so no reply is found or stored. Delete it, or name another "
            "folder as cache_dir.",
            self.path,
            error,
        )


def _checksum(key: str, text: str) -> str:
    return hashlib.blake2b(f"{key} {text}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _reply_in(document: Any) -> Reply:
    text, tokens = (document, []) if isinstance(document, str) else document
    if not isinstance(text, str) or not isinstance(tokens, list):
        raise TypeError("not a reply")
    return Reply(text, tuple({name: float(value) for name, value in token.items()} for token in tokens))
