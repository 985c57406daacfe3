"""What a row is known by: a digest of all that the reward is given."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from rewardsmith.data import Row
from rewardsmith.errors import RowsError

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def keys_of(rows: Sequence[Row], nonce: str = "", check_mutation: bool = False) -> Iterator[str]:
    """A digest per row of everything that the reward is given, and of what the caller asks anew."""
    salt = json.dumps([nonce, check_mutation]).encode()
    heads: dict[tuple[int, int], bytes] = {}  # edits of one row share its prompt and columns: encode them once
    for number, row in enumerate(rows, start=1):
        try:
            shared = id(row.prompt), id(row.columns)
            if shared not in heads:
                content = salt + _encoded([row.prompt, dict(row.columns)])
                heads[shared] = hashlib.blake2b(content, digest_size=16).digest()
            digest = hashlib.blake2b(heads[shared], digest_size=16)
            digest.update(_encoded(row.completion))
        except Exception as error:  # pickle raises whatever a class of the user's raises
            raise RowsError(_unsendable(number, row)) from error
        yield digest.hexdigest()


def _encoded(value: Any) -> bytes:
    try:
        return _JSON.encode(value).encode()
    except (TypeError, ValueError):
        return pickle.dumps(value)


def _unsendable(number: int, row: Row) -> str:
    """Which value of a row cannot leave this process, and what to do."""
    for name, value in (("prompt", row.prompt), ("completion", row.completion), *row.columns.items()):
        try:
            _encoded(value)
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            kind = type(value).__name__
            return (
                f"Scorer: `{name}` of row {number} holds a {kind}, which cannot be sent to a reward ({why}). "
                "Make it a plain value, such as a list, or leave the column out."
            )
    return f"Scorer: row {number} cannot be sent to a reward. Make its values plain ones, such as lists."
