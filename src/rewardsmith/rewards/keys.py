"""What a row is known by: a digest of all that the reward is given."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from rewardsmith.data import Row

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def keys_of(rows: Sequence[Row], nonce: str = "", check_mutation: bool = False) -> Iterator[str]:
    """A digest per row of everything that the reward is given, and of what the caller asks anew."""
    salt = json.dumps([nonce, check_mutation]).encode()
    heads: dict[tuple[int, int], bytes] = {}  # edits of one row share its prompt and columns: encode them once
    for row in rows:
        shared = id(row.prompt), id(row.columns)
        if shared not in heads:
            content = salt + _encoded([row.prompt, dict(row.columns)])
            heads[shared] = hashlib.blake2b(content, digest_size=16).digest()
        digest = hashlib.blake2b(heads[shared], digest_size=16)
        digest.update(_encoded(row.completion))
        yield digest.hexdigest()


def _encoded(value: Any) -> bytes:
    try:
        return _JSON.encode(value).encode()
    except (TypeError, ValueError):
        return pickle.dumps(value)


__all__ = ["keys_of"]
