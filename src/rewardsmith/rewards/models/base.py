"""What every reward model is: rows in, one number or the reason why there is none out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from rewardsmith.rewards.models.batching import ACCELERATED_BUDGET, MOST_ROWS, TOKEN_BUDGET
from rewardsmith.rewards.models.encoding import Encoded, key_of
from rewardsmith.rewards.models.scanning import Read, Scanner
from rewardsmith.scoring.calling import Unscored
from rewardsmith.scoring.contracts import name_of
from rewardsmith.types import Completion, Text

MOST_PLANNED = 2**26
"""Tokens that a plan keeps for the scoring that follows it."""


class RewardModel(Protocol):
    """A reward in TRL's contract that is a model, with its scores by name too."""

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]: ...

    def score(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """One number a row; None where it cannot be scored, which `reasoned` explains."""
        ...


@dataclass(frozen=True)
class Batching:
    """How rows are put together for a model; scores do not depend on it.

    token_budget: tokens per forward pass, padding included: more is faster until the device is busy or out of memory.
        None is 1,024 on a CPU, whose caches hold no more, and 32,768 elsewhere.
    max_rows: rows per pass.
    share_prompts: read a prompt once for its completions, where the model's cache allows it.
    padding_side: the side that is tried first; the other is taken where padding on it reaches scores, and where both
        do, rows are read one at a time. Prompts are shared only with padding on the right.
    """

    token_budget: int | None = None
    max_rows: int = MOST_ROWS
    share_prompts: bool = True
    padding_side: Literal["left", "right"] = "right"

    def __post_init__(self) -> None:
        if (self.token_budget is not None and self.token_budget < 1) or self.max_rows < 1:
            raise ValueError(
                f"Batching: token_budget={self.token_budget} and max_rows={self.max_rows} must both be at least 1. "
                "Leave them out for the defaults."
            )

    def scanner(self, **parts: Any) -> Scanner:
        """A scanner that batches so."""
        usual = TOKEN_BUDGET if parts["model"].device.type == "cpu" else ACCELERATED_BUDGET
        options = {"budget": self.token_budget or usual, "max_rows": self.max_rows, "side": self.padding_side}
        return Scanner(**{**options, "share": self.share_prompts, **parts})


@dataclass
class Reader:
    """Rows through one scanner: encodes them, leaves out what cannot be read, and remembers what a plan has encoded."""

    scanner: Scanner
    encode: Any
    read: Read
    _planned: dict[tuple[str, str], Encoded | Unscored] = field(default_factory=dict, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_planned": {}}

    def plan(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[list[int]]:
        """The rows of each batch; every row is in one."""
        encoded = self.encode(prompts, completions)
        self._planned.clear()
        kept = 0
        for prompt, completion, item in zip(prompts, completions, encoded, strict=True):
            kept += 0 if isinstance(item, Unscored) else len(item.ids)
            if kept <= MOST_PLANNED:
                self._planned[key_of(prompt), key_of(completion)] = item
        places = [place for place, item in enumerate(encoded) if not isinstance(item, Unscored)]
        batches = self.scanner.plan([encoded[place] for place in places])
        unread = [place for place, item in enumerate(encoded) if isinstance(item, Unscored)]
        return [*([unread] if unread else []), *([places[row] for row in batch.rows] for batch in batches)]

    def values(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[list[float] | Unscored]:
        """The numbers that are read of each row, or why there are none."""
        encoded = self.encoded(prompts, completions)
        readable = [item for item in encoded if not isinstance(item, Unscored)]
        found = iter(self.scanner.run(readable, self.read))
        return [item if isinstance(item, Unscored) else next(found) for item in encoded]

    def encoded(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Every row, as a plan has left it or anew."""
        keys = [(key_of(p), key_of(c)) for p, c in zip(prompts, completions, strict=True)] if self._planned else []
        found = [self._planned.pop(key, None) for key in keys]
        known = [item for item in found if item is not None]
        return known if keys and len(known) == len(keys) else list(self.encode(prompts, completions))


def text_of_digest(*parts: Any) -> str:
    """A digest of what scores depend on."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def digest_of(reward: Any) -> str:
    """What any reward says its scores depend on, or its name."""
    return str(reward.content_digest()) if hasattr(reward, "content_digest") else name_of(reward)


def weights_digest(model: Any) -> str:
    """A digest of a model's architecture and of 64 numbers of each of its tensors: training changes those."""
    digest = hashlib.blake2b(str(model.config.to_dict() if hasattr(model, "config") else "").encode(), digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        some = flat[:: max(1, len(flat) // 64)].double().cpu().numpy().tobytes()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode() + some)
    return digest.hexdigest()
