"""A zoo of reward models of known recipes on responses with a correctness, a quality and a style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import Streams

N_QUALITY, N_STYLE, WIDTH = 6, 2, 20
SEEN_QUALITY = 0.3
"""Gold's weight of the mean quality."""


class Responses(NamedTuple):
    """Responses of any shape (...): what a reward model sees (..., 20), correctness 0 or 1, gold, and first style."""

    seen: Tensor
    correct: Tensor
    gold: Tensor
    style: Tensor


class Recipes(NamedTuple):
    """How M reward models are trained, (M,) each: pairs, share of flipped labels, weight of style, steps of Adam."""

    n_pairs: Tensor
    flips: Tensor
    style_weight: Tensor
    steps: Tensor


class RewardZoo:
    """Draw responses, and train reward models on preferences between them.

        gold u = 2 (2c − 1) + .3 Σ q / √6,      seen x = tanh(A (2c − 1, q, s)) + noise
        label of a pair: Bernoulli σ(Δu + w Δs), flipped with probability f, for annotators who weigh style by w

    Args:
        streams: of one seed; A has 20 rows, and is drawn first.
        noise: standard deviation of what is seen beside the tanh.
        right: share of right responses where correctness is not given.
    """

    def __init__(self, streams: Streams, *, noise: float = 0.3, right: float = 0.3) -> None:
        self.streams, self.noise, self.right = streams, noise, right
        self.map = streams.randn(WIDTH, 1 + N_QUALITY + N_STYLE)[0] / 3

    def responses(self, *shape: int, correct: float | None = None, style: float = 0.0) -> Responses:
        """Draw responses; `correct` fixes their correctness, `style` is the mean of their first style."""
        draw = self.streams
        c = (draw.rand(*shape)[0] < self.right).double()
        if correct is not None:
            c = torch.full_like(c, correct)
        quality, styles = draw.randn(*shape, N_QUALITY)[0], draw.randn(*shape, N_STYLE)[0]
        styles[..., 0] += style
        factors = torch.cat([(2 * c - 1)[..., None], quality, styles], dim=-1)
        seen = (factors @ self.map.T).tanh() + self.noise * draw.randn(*shape, WIDTH)[0]
        return Responses(seen, c, 2 * (2 * c - 1) + SEEN_QUALITY * quality.sum(-1) / N_QUALITY**0.5, styles[..., 0])

    def labels(self, pairs: Responses, style_weight: Tensor, flips: Tensor | float = 0.0) -> Tensor:
        """Return (M, n) whether the first of each pair (n, 2) is preferred, by annotators of these weights (M,)."""
        margin = pairs.gold[:, 0] - pairs.gold[:, 1] + style_weight[:, None] * (pairs.style[:, 0] - pairs.style[:, 1])
        chosen = self.streams.rand(*margin.shape)[0] < margin.sigmoid()
        flipped = self.streams.rand(*margin.shape)[0] < torch.as_tensor(flips).reshape(-1, 1)
        return chosen ^ flipped

    def trained(self, recipes: Recipes, *, batch: int = 64, learning_rate: float = 1e-2) -> BatchedMLP:
        """Train M perceptrons by the Bradley-Terry loss, each on its first `n_pairs` of one list, for its steps."""
        most, steps = int(recipes.n_pairs.max()), int(recipes.steps.max())
        pool = self.responses(most, 2)
        first = self.labels(pool, recipes.style_weight, recipes.flips)  # (M, most)
        sign = first.double() * 2 - 1
        models = BatchedMLP((WIDTH, 32, 1), lead=(1, len(first)), streams=self.streams)
        kept = models.take(range(len(first)))
        optimizer = torch.optim.Adam(models.parameters(), lr=learning_rate)
        for step in range(1, steps + 1):
            rows = (self.streams.rand(len(first), batch)[0] * recipes.n_pairs[:, None]).long()
            scores = models(pool.seen[rows].flatten(1, 2)[None])[0].unflatten(1, (batch, 2))
            loss = F.softplus(-(scores[..., 0] - scores[..., 1]) * sign.gather(1, rows)).mean(dim=1).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done = recipes.steps == step
            for new, old in zip(models.parameters(), kept.parameters(), strict=True):
                old.data[:, done] = new.data[:, done]
        return kept


def scored(models: BatchedMLP, responses: Responses) -> Tensor:
    """Return (M, ...) scores of responses (...)."""
    with torch.no_grad():
        scores: Tensor = models(responses.seen.reshape(1, 1, -1, WIDTH))[0]
    return scores.reshape(-1, *responses.gold.shape)


def recipes(
    streams: Streams,
    n: int,
    *,
    log_pairs: tuple[float, float],
    flips: Sequence[float],
    style_sd: float,
    steps: Sequence[int] = (60, 150, 300),
) -> Recipes:
    """Draw n recipes: 10^U pairs, one of the flip rates and numbers of steps, style weights N(0, style_sd²)."""
    low, high = log_pairs
    n_pairs = (10 ** (low + (high - low) * streams.rand(n)[0])).round()
    rates, lengths = torch.tensor(list(flips)).double(), torch.tensor(list(steps))
    chosen, length = streams.randint(len(flips), n)[0], streams.randint(len(steps), n)[0]
    return Recipes(n_pairs, rates[chosen], style_sd * streams.randn(n)[0], lengths[length])


def sampled_zoo(seed: int, *, n_models: int = 40, n_prompts: int = 200, n_candidates: int = 64) -> list[dict[str, Any]]:
    """Return a zoo as records for a downstream study: per model two benchmarks' scores, and scores of completions.

    The benchmarks are pairs of one style, and pairs whose right answers have less of the style that annotators like.
    """
    streams = Streams([seed])
    zoo = RewardZoo(streams)
    models = zoo.trained(recipes(streams, n_models, log_pairs=(1.5, 3.3), flips=(0.0, 0.1, 0.25), style_sd=1.5))
    wrong = scored(models, zoo.responses(400, correct=0))
    sides = {"same style": 0.0, "mismatched style": -1.5}
    right = {name: scored(models, zoo.responses(400, correct=1, style=style)) for name, style in sides.items()}
    pool = zoo.responses(n_prompts, n_candidates)
    scores, gold = scored(models, pool).tolist(), pool.correct.tolist()
    return [
        {
            "reward": f"model {m}",
            "benchmark": {name: float((own[m] > wrong[m]).double().mean()) for name, own in right.items()},
            "scores": scores[m],
            "gold": gold,
        }
        for m in range(n_models)
    ]
