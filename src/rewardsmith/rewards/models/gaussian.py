"""GaussianReward: K heads on one trunk, each with a mean and a deviation, in one forward pass."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.rewards.models.base import TokenReward, lists, padding_id, scanner_of
from rewardsmith.rewards.models.behavior import evaluating
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, longest
from rewardsmith.rewards.models.ensemble import Aggregate, MemberScale, aggregated, member_scale
from rewardsmith.rewards.models.scanning import Output, Scanner
from rewardsmith.rewards.models.triggers import Differentiable, differentiable
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

    from rewardsmith.rewards.models.heads import GaussianHeads

HEADS_FILE, OPTIONS_FILE = "gaussian_heads.safetensors", "gaussian_heads.json"


class HeadScores(NamedTuple):
    """mean, std: K numbers each, the heads' N(μ, σ²) for one row."""

    mean: list[float]
    std: list[float]


@dataclass
class GaussianReward(TokenReward):
    """One reward from the means and deviations (μ_k, σ_k) of K heads.

        r = aggregate( μ_1, …, μ_K; σ_1, …, σ_K )

    Yan et al. 2024, arXiv:2409.15360. `partial(transforms.robust_mix, coef=0.3)` is their robust reward;
    nominal="min_sigma" also reads σ, and "mean" is the steadier choice. Heads are compared on one scale: measure it
    with `fit_reference` on rows of the reference policy. It divides σ too.

    Args:
        model: the trunk, any model of transformers; its own head is not used. A decoder is read at its last token that
            is not padding, an encoder at its first.
        heads: `GaussianHeads` of the trunk's width.
        tokenizer: the trunk's.
        aggregate: (B, K) means to (B,); gets `std` (B, K) too if it has that parameter. None is the mean.
        scale: a result of `fit_reference`, to use it again.
        max_length, chat, eos, batching, name: as in `SequenceReward`.
    """

    model: Any
    heads: GaussianHeads
    tokenizer: Any
    _: KW_ONLY
    aggregate: Aggregate | None = None
    scale: MemberScale | None = None
    eos: bool = True
    name: str = "gaussian_reward"

    def __post_init__(self) -> None:
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.model)

    @property
    def attributes(self) -> list[str]:
        """Names of the heads."""
        return [f"head_{number}" for number in range(len(self.heads.weights[0]))]

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        found = self.distributions(prompts, completions)
        rows = [row for row in found if not isinstance(row, Unscored)]
        aggregate = self.aggregate or (lambda source_rewards: source_rewards.mean(dim=1))
        means, stds = [row.mean for row in rows], [row.std for row in rows]
        made = iter(aggregated(aggregate, means, std=stds, whys=["the heads give no number"] * len(rows)))
        return [row if isinstance(row, Unscored) else next(made) for row in found]

    def distributions(self, prompts: list[Text], completions: list[Completion]) -> list[HeadScores | Unscored]:
        """Return every head's mean and deviation, on the reference scale if one is set."""
        found = self.values(prompts, completions)
        mean, std = self.scale[:2] if self.scale else ((0.0,) * len(self.attributes), (1.0,) * len(self.attributes))
        return [row if isinstance(row, Unscored) else _scaled(row, mean, std) for row in found]

    def source_rewards(
        self, prompts: list[Text], completions: list[Completion], **columns: Any
    ) -> list[list[float] | Unscored]:
        """Return the K means of each row."""
        return [row if isinstance(row, Unscored) else row.mean for row in self.distributions(prompts, completions)]

    def fit_reference(self, prompts: list[Text], completions: list[Completion]) -> MemberScale:
        """Measure and store the mean and standard deviation of each head's μ over these rows.

        Raises:
            ValueError: a head scores none of them, or gives all the same score.
        """
        self.scale = None
        rows = [row for row in self.source_rewards(prompts, completions) if not isinstance(row, Unscored)]
        table = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in self.attributes]
        self.scale = member_scale(self.name, table)
        return self.scale

    def features(self, prompts: list[Text], completions: list[Completion]) -> Tensor:
        """Return the trunk's (B, d) features, to fit heads on; NaN where a row cannot be read."""
        import torch

        found = self.values(prompts, completions, lambda values, rows: lists(values))
        width = int(self.heads.options["width"] or 0)
        return torch.tensor([[math.nan] * width if isinstance(row, Unscored) else row for row in found])

    def differentiable(self) -> Differentiable | None:
        """Return the gradient of the mean of the means, whatever `aggregate` is."""
        return differentiable(self, [1 / len(self.attributes)] * len(self.attributes))

    def save(self, folder: str | Path) -> None:
        """Write trunk, heads and scale for `load_reward_model`, as safetensors and JSON; `aggregate` is not saved."""
        from safetensors.torch import save_file

        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        state = {name: value.contiguous() for name, value in self.heads.state_dict().items()}
        save_file(state, str(Path(folder) / HEADS_FILE))
        scale = None if self.scale is None else self.scale._asdict()
        options = {"heads": self.heads.options, "scale": scale, "end_token": self.eos}
        (Path(folder) / OPTIONS_FILE).write_text(json.dumps(options, indent=2) + "\n", encoding="utf-8")

    @cached_property
    def scanner(self) -> Scanner:
        trunk = self.model.base_model
        return scanner_of(self.model, Output(trunk), self.tokenizer, self.batching, trunk=trunk)

    def encode(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Encode every row, to be read at a decoder's end or an encoder's start."""
        known, pad_id = embedded(self.model), padding_id(self.model)
        encoder = RowEncoder(self.tokenizer, self.max_length, self.chat, self.eos, known=known, pad_id=pad_id)
        rows = encoder.rows(prompts, completions)
        if self.scanner.causal:
            return rows
        return [row if isinstance(row, Unscored) else row._replace(reads=(0,)) for row in rows]

    def numbers(self, values: Tensor) -> Tensor:
        """Turn features into K means, on the reference scale if one is set."""
        with evaluating(self.heads):
            mean: Tensor = self.heads(values)[0]
        if self.scale is None:
            return mean
        return (mean - mean.new_tensor(self.scale.mean)) / mean.new_tensor(self.scale.std)

    def read(self, values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
        """Turn features into K means and K deviations per row, not scaled."""
        import torch

        with evaluating(self.heads):
            return lists(torch.cat(list(self.heads(values)), dim=1))


def _scaled(row: list[float], mean: Sequence[float], std: Sequence[float]) -> HeadScores:
    known = zip(row[: len(mean)], row[len(mean) :], mean, std, strict=True)
    scaled = [((m - mu) / s, deviation / s) for m, deviation, mu, s in known]
    return HeadScores([m for m, _ in scaled], [deviation for _, deviation in scaled])
