"""ImplicitReward: the log-probability ratio of a trained policy to its reference, as a reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith._check import check_choice
from rewardsmith.rewards.models.base import TokenReward, scanner_of
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, longest
from rewardsmith.rewards.models.scanning import Output, Scanner
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

MOST_LOGITS = 2**27
"""Numbers in the logits of one forward pass: half a gigabyte in float32."""


@dataclass
class ImplicitReward(TokenReward):
    """The reward that a policy trained by preferences implies.

        r(x, y) = β Σ_{t ∈ y} [ log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t) ]

    Rafailov et al. 2023, arXiv:2305.18290, Eq. 5. Lin et al. 2024, arXiv:2409.03650, find that it ranks answers unlike
    its training data worse than a reward head does: label fresh samples with a reward head or a judge. It ranks
    completions of one prompt, not of two. The sum runs over the completion's tokens with the end-of-sequence token,
    without the prompt. Both models read the same tokens, as TRL's DPOTrainer writes them, without dropout. If a
    completion's first characters join the prompt's last token, all completions of that prompt in a call start there.

    Args:
        policy: any causal language model.
        reference: the model that `policy` was trained against; after several rounds, state which. Scores depend on it.
        tokenizer: of both models.
        beta: the β of the training; it scales scores and does not reorder them.
        normalize: "tokens" divides by the completion's number of tokens. This is another reward, because the spread of
            the sum grows with length: report it separately.
        max_length, chat, batching, name: as in `SequenceReward`.
    """

    policy: Any
    reference: Any
    tokenizer: Any
    _: KW_ONLY
    beta: float = 0.1
    normalize: Literal["tokens"] | None = None
    name: str = "implicit_reward"

    def __post_init__(self) -> None:
        check_choice("ImplicitReward", "normalize", self.normalize, ("tokens", None))
        if not (self.beta > 0 and math.isfinite(self.beta)):
            raise ValueError(f"ImplicitReward: beta={self.beta} must be above 0. Pass that of the policy's training.")
        sizes = [model.config.get_text_config().vocab_size for model in (self.policy, self.reference)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"ImplicitReward: policy and reference have {sizes[0]} and {sizes[1]} tokens, so their probabilities "
                "cannot be compared. Pass the reference that the policy was trained against."
            )
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.policy, self.reference)

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        encoded = self.encoded(prompts, completions)
        rows = [item for item in encoded if not isinstance(item, Unscored)]
        sums = [scanner.run(rows, self.read) for scanner in (self.scanner, self.reference_scanner)]
        ratios = zip(*sums, rows, strict=True)
        found = iter(
            [
                self.beta * (a - b) / (len(row.reads) if self.normalize and len(row.reads) else 1)
                for [a], [b], row in ratios
            ]
        )
        return [item if isinstance(item, Unscored) else next(found) for item in encoded]

    @cached_property
    def scanner(self) -> Scanner:
        """The scanner of the policy."""
        return self._scanner(self.policy)

    @cached_property
    def reference_scanner(self) -> Scanner:
        """The scanner of the reference."""
        return self._scanner(self.reference)

    def _scanner(self, model: Any) -> Scanner:
        scanner = scanner_of(model, Output(model, "logits"), self.tokenizer, self.batching)
        scanner.budget = max(1, min(scanner.budget, MOST_LOGITS // model.config.get_text_config().vocab_size))
        return scanner

    def encode(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Encode every row, to be read before each token of its completion."""
        known = embedded(self.policy, self.reference)
        return RowEncoder(self.tokenizer, self.max_length, self.chat, known=known).split_rows(prompts, completions)

    def read(self, values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
        """Return each row's Σ_t log p of the tokens after the read positions, in float32 at least; 0 for none."""
        import numpy as np
        import torch

        chosen = [row.ids[np.asarray(row.reads, dtype=np.int64) + 1] for row in rows]
        targets = torch.from_numpy(np.concatenate(chosen).astype(np.int64)).to(values.device)
        wide = values if values.dtype.itemsize >= 4 else values.float()
        logps = wide.gather(-1, targets[:, None]).squeeze(-1) - wide.logsumexp(dim=-1)
        parts: Sequence[Tensor] = torch.split(logps.double().cpu(), [len(row.reads) for row in rows])
        return [[float(part.sum())] for part in parts]
