"""ImplicitReward: how much likelier a trained policy holds a completion than the model it started from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith._check import check_choice
from rewardsmith.rewards.models.base import Batching, Reader, text_of_digest, weights_digest
from rewardsmith.rewards.models.behavior import looks_left
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, longest
from rewardsmith.rewards.models.scanning import Scanner
from rewardsmith.rewards.models.sequence import pad_token
from rewardsmith.scoring.calling import Unscored, scored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

MOST_LOGITS = 2**27
"""Numbers that the logits of one forward pass may have: half a gigabyte in float32."""


@dataclass
class ImplicitReward:
    """The reward that a policy trained by preferences implies.

        r(x, y) = β Σ_{t ∈ y} [ log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t) ]

    Rafailov et al. 2023, arXiv:2305.18290, Eq. 5; Lin et al. 2024, arXiv:2409.03650, who find that it ranks answers
    unlike its training data worse than a reward head does: label fresh samples with that, or with a judge. It ranks
    completions of one prompt, not of two. The sum runs over the completion's tokens, the end-of-sequence token
    included, the prompt not; both models read the very same tokens, as TRL's DPOTrainer writes them, dropout off. Where
    a completion's first characters join the prompt's last token, all completions of that prompt that are scored
    together start at that token.

    Args:
        policy: any causal language model.
        reference: the one that `policy` was trained against; after several rounds say which. It enters every score.
        tokenizer: of both.
        beta: β of the training; it scales scores and does not reorder them.
        normalize: "tokens" divides by the number of the completion's tokens. That is another reward, as the spread of
            the sum grows with length: report it apart.
        max_length, chat, batching, name: as in `SequenceReward`.
    """

    policy: Any
    reference: Any
    tokenizer: Any
    _: KW_ONLY
    beta: float = 0.1
    normalize: Literal["tokens"] | None = None
    max_length: int | None = None
    chat: bool | None = None
    batching: Batching = field(default_factory=Batching)
    name: str = "implicit_reward"

    def __post_init__(self) -> None:
        check_choice("ImplicitReward", "normalize", self.normalize, ("tokens", None))
        if not (self.beta > 0 and math.isfinite(self.beta)):
            raise ValueError(f"ImplicitReward: beta={self.beta} must be above 0. Pass that of the policy's training.")
        sizes = [model.config.get_text_config().vocab_size for model in (self.policy, self.reference)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"ImplicitReward: policy and reference have {sizes[0]} and {sizes[1]} tokens, so their probabilities "
                "are not of the same things. Pass the reference that the policy was trained against."
            )
        if self.max_length is None:
            limits = [longest(model, self.tokenizer) for model in (self.policy, self.reference)]
            self.max_length = min((limit for limit in limits if limit is not None), default=None)

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """TRL's contract: `score`."""
        return self.score(prompts, completions, **columns)

    def score(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """One number a row; None where it is too long, no token precedes the completion, or a number is not finite."""
        return scored(self.name, self.reasoned(prompts, completions, **columns))

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        """`score`, with the reason in place of None; a number that is not finite comes as it is."""
        encoded = self.reader.encoded(prompts, completions)
        rows = [item for item in encoded if not isinstance(item, Unscored)]
        sums = [scanner.run(rows, per_token_sums) for scanner in (self.reader.scanner, self.reference_scanner)]
        found = iter([self._reward(a - b, row) for [a], [b], row in zip(*sums, rows, strict=True)])
        return [item if isinstance(item, Unscored) else next(found) for item in encoded]

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """The batches in which a `Scorer` should send these rows."""
        return self.reader.plan(prompts, completions)

    def content_digest(self) -> str:
        """A digest of both models and the options, by which a journal knows its job."""
        options = (self.beta, self.normalize, self.max_length, self.chat, self.tokenizer.chat_template)
        return text_of_digest(weights_digest(self.policy), weights_digest(self.reference), *options)

    @cached_property
    def reader(self) -> Reader:
        """How rows are read by the policy."""
        known = embedded(self.policy, self.reference)
        encoder = RowEncoder(self.tokenizer, self.max_length, self.chat, eos=True, known=known)
        return Reader(self._scanner(self.policy), encoder.split_rows, per_token_sums)

    @cached_property
    def reference_scanner(self) -> Scanner:
        """How rows are read by the reference."""
        return self._scanner(self.reference)

    def _scanner(self, model: Any) -> Scanner:
        pad, body = pad_token(model, self.tokenizer), Logits(model)
        scanner = self.batching.scanner(
            model=model, body=body, trunk=model.base_model, causal=looks_left(body, model), pad_id=pad or 0
        )
        scanner.budget = max(1, min(scanner.budget, MOST_LOGITS // model.config.get_text_config().vocab_size))
        return scanner

    def _reward(self, ratio: float, row: Encoded) -> float:
        return self.beta * ratio / (len(row.reads) if self.normalize and len(row.reads) else 1)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("reader", "reference_scanner")}


@dataclass(frozen=True)
class Logits:
    """A model's logits at every position, (n, t, V)."""

    model: Any

    def __call__(self, **inputs: Any) -> Tensor:
        logits: Tensor = self.model(**inputs).logits
        return logits


def per_token_sums(values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
    """Σ_t log p of the tokens that follow the positions read, one number a row, in float32 at least; 0 of none."""
    import numpy as np
    import torch

    chosen = [row.ids[np.asarray(row.reads, dtype=np.int64) + 1] for row in rows]
    targets = torch.from_numpy(np.concatenate(chosen).astype(np.int64)).to(values.device)
    wide = values if values.dtype.itemsize >= 4 else values.float()
    logps = wide.gather(-1, targets[:, None]).squeeze(-1) - wide.logsumexp(dim=-1)
    parts: Sequence[Tensor] = torch.split(logps.double().cpu(), [len(row.reads) for row in rows])
    return [[float(part.sum())] for part in parts]
