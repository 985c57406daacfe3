"""GaussianReward: K heads with a mean and a deviation each, on one trunk, in one forward pass."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.rewards.models.base import Batching, Reader, text_of_digest, weights_digest
from rewardsmith.rewards.models.behavior import evaluating, looks_left
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, longest
from rewardsmith.rewards.models.ensemble import Aggregate, MemberScale, aggregated, member_scale
from rewardsmith.rewards.models.sequence import Hidden, LastToken, pad_token, padding_id
from rewardsmith.rewards.models.triggers import Differentiable, differentiable
from rewardsmith.scoring.calling import Unscored, scored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

    from rewardsmith.rewards.models.heads import GaussianHeads

HEADS_FILE, OPTIONS_FILE = "gaussian_heads.safetensors", "gaussian_heads.json"


class HeadScores(NamedTuple):
    """mean, std: K numbers, of the heads' N(μ, σ²) for one row."""

    mean: list[float]
    std: list[float]


@dataclass
class GaussianReward:
    """What K heads make of prompt and completion: (μ_k, σ_k) each, and one reward of those.

        r = aggregate( μ_1, …, μ_K; σ_1, …, σ_K )

    Yan et al. 2024, arXiv:2409.15360. `partial(transforms.robust_mix, coef=0.3)` is their robust
    reward; nominal="min_sigma" reads the σ too, and "mean" is the steadier choice. Heads are compared on one scale:
    measure it on rows of the reference policy with `fit_reference`, which also divides the σ.

    Args:
        model: the trunk, any model of transformers; a head of its own is left out. A decoder is read at the last token
            that is not the padding token, an encoder at its first.
        heads: `GaussianHeads` of the trunk's width.
        tokenizer: the trunk's.
        aggregate: (B, K) means, and by name `std` (B, K) if it asks, to (B,); None is the mean of the means.
        scale: what `fit_reference` has measured, to be set again.
        max_length, chat, eos, batching, name: as in `SequenceReward`.
    """

    model: Any
    heads: GaussianHeads
    tokenizer: Any
    _: KW_ONLY
    aggregate: Aggregate | None = None
    scale: MemberScale | None = None
    max_length: int | None = None
    chat: bool | None = None
    eos: bool = True
    batching: Batching = field(default_factory=Batching)
    name: str = "gaussian_reward"

    def __post_init__(self) -> None:
        if self.max_length is None:
            self.max_length = longest(self.model, self.tokenizer)

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def attributes(self) -> list[str]:
        """The heads' names."""
        return [f"head_{number}" for number in range(len(self.heads.weights[0]))]

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """TRL's contract: `score`."""
        return self.score(prompts, completions, **columns)

    def score(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """One number a row; None where it is too long or the heads give no finite number."""
        return scored(self.name, self.reasoned(prompts, completions, **columns))

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        """`score`, with the reason in place of None."""
        found = self.distributions(prompts, completions)
        rows = [row for row in found if not isinstance(row, Unscored)]
        made = iter(self._made(rows))
        return [row if isinstance(row, Unscored) else next(made) for row in found]

    def distributions(self, prompts: list[Text], completions: list[Completion]) -> list[HeadScores | Unscored]:
        """Every head's mean and deviation, on the reference scale where one is set."""
        found = self.reader.values(prompts, completions)
        return [row if isinstance(row, Unscored) else self._scaled(row) for row in found]

    def source_rewards(
        self, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> list[list[float] | Unscored]:
        """The means alone: K a row."""
        return [row if isinstance(row, Unscored) else row.mean for row in self.distributions(prompts, completions)]

    def fit_reference(self, prompts: list[Text], completions: list[Completion]) -> MemberScale:
        """Measure and keep the mean and standard deviation of each head's μ over these rows.

        Raises:
            ValueError: a head scores none of them, or all alike.
        """
        self.scale = None
        rows = [row for row in self.source_rewards(prompts, completions) if not isinstance(row, Unscored)]
        table = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in self.attributes]
        self.scale = member_scale(self.name, table)
        return self.scale

    def features(self, prompts: list[Text], completions: list[Completion]) -> Tensor:
        """(B, d) of the trunk where the heads read it, NaN where a row cannot be read: to fit heads on, once."""
        import torch

        reader = Reader(self.reader.scanner, self.reader.encode, _lists)
        found = reader.values(prompts, completions)
        width = int(self.heads.options["width"] or 0)
        return torch.tensor([[math.nan] * width if isinstance(row, Unscored) else row for row in found])

    def differentiable(self) -> Differentiable | None:
        """The gradient of the mean of the means, whatever `aggregate` makes of them."""
        weights = [1 / len(self.attributes)] * len(self.attributes)
        return differentiable(self.reader, self._means, weights, self.tokenizer)

    def _means(self, values: Tensor) -> Tensor:
        with evaluating(self.heads):
            mean: Tensor = self.heads(values)[0]
        if self.scale is None:
            return mean
        return (mean - mean.new_tensor(self.scale.mean)) / mean.new_tensor(self.scale.std)

    def plan(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[list[int]]:
        """The batches in which a `Scorer` should send these rows."""
        return self.reader.plan(prompts, completions)

    def content_digest(self) -> str:
        """A digest of weights and options, by which a journal knows its job."""
        options = (self.max_length, self.chat, self.eos, self.tokenizer.chat_template, self.scale, str(self.aggregate))
        return text_of_digest(weights_digest(self.model), weights_digest(self.heads), *options)

    def save(self, folder: str | Path) -> None:
        """Trunk, heads and scale as safetensors and JSON, for `load_reward_model`; the aggregate is code and is not."""
        from safetensors.torch import save_file

        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        state = {name: value.contiguous() for name, value in self.heads.state_dict().items()}
        save_file(state, str(Path(folder) / HEADS_FILE))
        scale = None if self.scale is None else self.scale._asdict()
        options = {"heads": self.heads.options, "scale": scale, "end_token": self.eos}
        (Path(folder) / OPTIONS_FILE).write_text(json.dumps(options, indent=2) + "\n", encoding="utf-8")

    @cached_property
    def reader(self) -> Reader:
        """How rows are read."""
        trunk, pad = self.model.base_model, pad_token(self.model, self.tokenizer)
        causal = looks_left(Hidden(trunk), self.model)
        encoder = RowEncoder(self.tokenizer, self.max_length, self.chat, self.eos, known=embedded(self.model))
        most = {} if causal or pad is not None else {"max_rows": 1}
        scanner = self.batching.scanner(
            model=self.model, body=Hidden(trunk), trunk=trunk, causal=causal, pad_id=pad or 0, **most
        )
        encode = LastToken(encoder, padding_id(self.model)) if causal else _FirstToken(encoder)
        return Reader(scanner, encode, self._read)

    def _read(self, values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
        import torch

        with evaluating(self.heads):
            mean, std = self.heads(values)
        return _lists(torch.cat([mean, std], dim=1), rows)

    def _scaled(self, row: list[float]) -> HeadScores:
        means, stds = row[: len(row) // 2], row[len(row) // 2 :]
        if self.scale is None:
            return HeadScores(means, stds)
        known = list(zip(means, stds, self.scale.mean, self.scale.std, strict=True))
        return HeadScores([(m - mu) / s for m, _, mu, s in known], [std / s for _, std, _, s in known])

    def _made(self, rows: Sequence[HeadScores]) -> list[float | Unscored]:
        whys = ["the heads give no number"] * len(rows)
        means = [row.mean for row in rows]
        made = self.aggregate or (lambda source_rewards: source_rewards.mean(dim=1))
        return aggregated(made, means, std=[row.std for row in rows], whys=whys)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "reader"}


class _FirstToken(NamedTuple):
    encoder: RowEncoder

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        rows = self.encoder.rows(prompts, completions)
        return [row if isinstance(row, Unscored) else row._replace(reads=(0,)) for row in rows]


def _lists(values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
    found: list[list[float]] = values.double().cpu().tolist()
    return found
