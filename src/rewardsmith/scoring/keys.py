"""Keys of rows: digests of everything that the reward is given."""

from __future__ import annotations

import hashlib
import json
import marshal
import pickle
from collections.abc import Sequence
from typing import Any

from rewardsmith.data import Row
from rewardsmith.errors import RowsError

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_STR, _FLAT = frozenset((str,)), frozenset((str, int, float, bool, type(None)))


def keys_of(rows: Sequence[Row], nonce: str = "", check_mutation: bool = False) -> list[str]:
    """Return a digest per row of all that the reward is given, and of the caller's `nonce` and mutation check."""
    salt = json.dumps([nonce, check_mutation]).encode()
    keys: list[str] = []
    heads: dict[tuple[int, int], bytes] = {}  # edits of one row share prompt and columns, which are encoded once
    for number, row in enumerate(rows, start=1):
        try:
            shared = id(row.prompt), id(row.columns)
            head = heads.get(shared)
            if head is None:
                columns = row.columns if type(row.columns) is dict else dict(row.columns)
                head = heads[shared] = salt + _encoded(row.prompt) + (_encoded(columns) if columns else _NO_COLUMNS)
            digest = hashlib.blake2b(head + _encoded(row.completion), digest_size=16)
        except Exception as error:  # pickle raises anything that a user's class raises
            for name, value in (("prompt", row.prompt), ("completion", row.completion), *row.columns.items()):
                try:
                    _encoded(value)
                except Exception as reason:
                    why = " ".join(f"{type(reason).__name__}: {reason}".split())
                    raise RowsError(
                        f"Scorer: `{name}` of row {number} holds a {type(value).__name__}, which cannot be sent to a "
                        f"reward ({why}). Make it a plain value, such as a list, or leave the column out."
                    ) from error
            raise
        keys.append(digest.hexdigest())
    return keys


def _encoded(value: Any) -> bytes:
    """Encode a value as bytes that differ for different values; the order of a mapping's keys does not count."""
    try:
        # Faster for plain values; protocol 0 has no references by place, so equal values give equal bytes.
        if type(value) is str:
            return marshal.dumps(value, 0)
        if type(value) is dict and _FLAT.issuperset(map(type, value.values())) and _STR.issuperset(map(type, value)):
            return marshal.dumps(sorted(value.items()), 0)
        return _JSON.encode(value).encode()
    except (TypeError, ValueError):
        return pickle.dumps(value)


_NO_COLUMNS = _encoded({})
