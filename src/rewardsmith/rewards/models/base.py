"""Base of the reward models: from rows to one number each, or the reason why there is none."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith.rewards.models.batching import ACCELERATED_BUDGET, MOST_ROWS, TOKEN_BUDGET
from rewardsmith.rewards.models.encoding import Encoded, key_of
from rewardsmith.rewards.models.scanning import Read, Scanner
from rewardsmith.scoring.calling import Unscored, scored
from rewardsmith.scoring.contracts import name_of
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

    from rewardsmith.rewards.models.triggers import Differentiable

MOST_PLANNED = 2**26
"""The largest number of tokens that a plan keeps for the scoring after it."""


@dataclass(frozen=True)
class Batching:
    """Options for grouping rows into forward passes; scores do not depend on them.

    token_budget: tokens per forward pass, padding included. More is faster until the device is busy or out of memory.
        None is 1,024 on a CPU, whose caches hold no more, and 32,768 elsewhere.
    max_rows: rows per pass.
    share_prompts: read a prompt once for its completions, where the model's cache allows it.
    padding_side: the side to try first. If padding there changes scores, the other side is used; if both do, rows are
        read one at a time. Prompts are shared only with padding on the right.
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


@dataclass(kw_only=True)
class ModelReward:
    """Base of the model rewards in TRL's contract; a subclass provides `reasoned`.

    name: the name in trainers' logs and in reports.
    """

    name: str = "model_reward"

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> Any:
        """Call `score`, as TRL calls a reward."""
        return self.score(prompts, completions, **columns)

    def score(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> Any:
        """Return one number per row; None, with one counting warning, where there is none or it is not finite."""
        return scored(self.name, self.reasoned(prompts, completions, **columns))

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> Any:
        """Return the values of `score`, with the reason in place of None; a number that is not finite is kept."""
        raise NotImplementedError

    def differentiable(self) -> Differentiable | None:
        """Return this score's gradient, for attacks on it; None where it has none."""
        return None

    def content_digest(self) -> str:
        """Return a digest of weights and options for the journal; name and batching do not count."""
        counted = [own.name for own in fields(self) if own.init and own.name not in ("name", "batching")]
        options = repr([(name, _state(getattr(self, name))) for name in counted])
        return hashlib.blake2b(options.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        members = {name: found for kind in type(self).__mro__ for name, found in vars(kind).items()}
        return {k: v for k, v in self.__dict__.items() if not isinstance(members.get(k), cached_property)}


@dataclass(kw_only=True)
class ProcessModelReward(ModelReward):
    """Base of the models that score steps, in the contract of `types.ProcessReward`; a subclass provides `reasoned`."""

    def __call__(  # type: ignore[override]
        self, *, prompts: list[Text], completions: list[Completion], steps: list[list[str]], **columns: Any
    ) -> list[list[float | None] | None]:
        """Return one number per step of each row, None where it is not finite; None for a row without scores."""
        return self.score(prompts, completions, steps=steps)

    def score(  # type: ignore[override]
        self, prompts: list[Text], completions: list[Completion], *, steps: list[list[str]], **columns: Any
    ) -> list[list[float | None] | None]:
        """Return the values of a call."""
        found = self.reasoned(prompts, completions, steps=steps)
        scored(self.name, [row if isinstance(row, Unscored) else 0.0 for row in found])  # warns of unscored rows
        return [
            None if isinstance(row, Unscored) else [value if math.isfinite(value) else None for value in row]
            for row in found
        ]


@dataclass(kw_only=True)
class TokenReward(ModelReward):
    """A model reward that reads rows of tokens through a scanner and keeps the tokens that a plan has encoded.

    A subclass has a `model` and a `tokenizer`, and provides `scanner` and `encode`. It overrides `numbers` or `read` if
    the model's outputs are not the numbers themselves.

    max_length, chat, batching: as in `SequenceReward`.
    """

    max_length: int | None = None
    chat: bool | None = None
    batching: Batching = field(default_factory=Batching)
    _planned: dict[tuple[str, str], Encoded | Unscored] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_planned": {}}

    @cached_property
    def scanner(self) -> Scanner:
        """The scanner that reads the rows."""
        raise NotImplementedError

    def encode(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Return every row as token ids, or the reason why it cannot be read."""
        raise NotImplementedError

    def numbers(self, values: Tensor) -> Tensor:
        """Turn (R, d) outputs at the rows' read positions into numbers, (R, K)."""
        return values

    def read(self, values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
        """Turn outputs into one list of numbers per row."""
        return lists(self.numbers(values))

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """Return the batches in which a `Scorer` should send these rows; every row is in one."""
        encoded = self.encode(prompts, completions)
        self._planned.clear()
        kept = 0
        for prompt, completion, item in zip(prompts, completions, encoded, strict=True):
            kept += 0 if isinstance(item, Unscored) else len(item.ids)
            if kept <= MOST_PLANNED:
                self._planned[key_of(prompt), key_of(completion)] = item
        places = [place for place, item in enumerate(encoded) if not isinstance(item, Unscored)]
        batches = self.scanner.plan([item for item in encoded if not isinstance(item, Unscored)])
        unread = [place for place, item in enumerate(encoded) if isinstance(item, Unscored)]
        return [*([unread] if unread else []), *([places[row] for row in batch.rows] for batch in batches)]

    def values(
        self, prompts: Sequence[Text], completions: Sequence[Completion], read: Read | None = None
    ) -> list[list[float] | Unscored]:
        """Return the numbers that `read` finds in each row, or the reason why there are none."""
        encoded = self.encoded(prompts, completions)
        readable = [item for item in encoded if not isinstance(item, Unscored)]
        found = iter(self.scanner.run(readable, read or self.read))
        return [item if isinstance(item, Unscored) else next(found) for item in encoded]

    def encoded(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Return every row's tokens, from the last plan or encoded now."""
        keys = [(key_of(p), key_of(c)) for p, c in zip(prompts, completions, strict=True)] if self._planned else []
        found = [self._planned.pop(key, None) for key in keys]
        known = [item for item in found if item is not None]
        return known if keys and len(known) == len(keys) else self.encode(prompts, completions)


def scanner_of(
    model: Any, body: Callable[..., Tensor], tokenizer: Any, batching: Batching, *, trunk: Any = None
) -> Scanner:
    """Build a scanner with these batching options; without a padding token that the model needs, it reads rows singly.

    Args:
        model, body, trunk: as in `Scanner`; a trunk of None is the model's own.
    """
    usual = TOKEN_BUDGET if model.device.type == "cpu" else ACCELERATED_BUDGET
    own = padding_id(model)
    pad = tokenizer.pad_token_id if own is None else own
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    scanner = Scanner(
        model, body, model.base_model if trunk is None else trunk,
        pad_id=pad if pad is not None and 0 <= pad < (size or pad + 1) else 0, side=batching.padding_side,
        budget=batching.token_budget or usual, max_rows=batching.max_rows, share=batching.share_prompts,
    )  # fmt: skip
    if pad is None and not scanner.causal:
        scanner.max_rows = 1
    return scanner


def padding_id(model: Any) -> int | None:
    """Return the id that the model itself uses as its padding token."""
    found: int | None = model.config.get_text_config().pad_token_id
    return found


def lists(values: Tensor) -> list[list[float]]:
    """Convert (R, d) numbers into R lists of d."""
    found: list[list[float]] = values.double().cpu().tolist()
    return found


def _state(value: Any) -> Any:
    """Return the part of a field that changes scores, as a value with a stable `repr`.

    For a model: its architecture and 64 numbers of each tensor, which training changes. For a tokenizer: its chat
    template. For a reward: its own digest, or its name.
    """
    if hasattr(value, "content_digest"):
        return str(value.content_digest())
    if hasattr(value, "state_dict"):
        digest = hashlib.blake2b(str(value.config.to_dict() if hasattr(value, "config") else "").encode())
        for name, tensor in sorted(value.state_dict().items()):
            flat = tensor.detach().reshape(-1)
            some = flat[:: max(1, len(flat) // 64)].double().cpu().numpy().tobytes()
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode() + some)
        return digest.hexdigest()
    if hasattr(value, "chat_template"):
        return value.chat_template
    if isinstance(value, Mapping):
        return sorted((key, _state(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return [_state(one) for one in value]
    return name_of(value) if callable(value) else value
