"""Yes-or-no verdicts by principle teach more than the preference that they explain, to eight regressions as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rewardsmith.atlas.criteria import All, AtLeast, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import bt_loss, entailment_bce
from rewardsmith.transforms import combine_principles
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("hard/entailment", over="hard/bt", at_least=0.2),
    PairedGain("steering/entailment", over="steering/bt_attended", at_least=0.15),
    AtLeast("steering/entailment", 0.85),
    PairedGain("steering/regressions", over="steering/entailment", at_least=0.0),  # the simple control
)
POPULARITY = (4.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # how often an annotator attends to each principle
NETWORKS = {  # units of each of two layers, and weight decay of AdamW, tuned for each
    "bt": (12, 10.0),
    "bt_attended": (12, 10.0),
    "entailment": (24, 3.0),
    "entailment_blind": (24, 3.0),
}
RIDGE = {"bt_length": 30.0, "regressions": 1.0}  # tuned likewise


@dataclass(frozen=True, slots=True)
class World:
    """Reviewed pairs of answers: each annotator attends to a few principles, says yes or no by each, and prefers one.

    A preference has the log-odds of the attended principles' sum plus the answer's length. Gold is the principles.
    """

    n_pairs: int = 400  # reviewed
    n_attended: int = 2  # principles per review
    width: int = 16  # of the observation x, linear in the principles
    noise: float = 0.5  # its normal noise
    bias: float = 1.0  # weight of length in a preference
    flips: float = 0.05  # share of verdicts turned around
    halo: float = 0.0  # a verdict is "yes if long" with this chance times tanh |length|
    steps: int = 400  # of AdamW
    n_test: int = 1000  # fresh pairs


class Pairs(NamedTuple):
    """Pairs of answers: principles kept (S, n, 2, K), observations (S, n, 2, d), lengths (S, n, 2, 1)."""

    kept: Tensor
    seen: Tensor
    length: Tensor


Score = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Scores (S, N) of answers seen (S, N, d), of lengths (S, N, 1), by principles in one-hot form (K,)."""


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure on fresh pairs how often each model ranks right: by the main principle, by all, and by each in turn."""
    streams, n_principles = Streams(seeds), len(POPULARITY)
    mixing = streams.randn(n_principles, world.width)
    known, test = (drawn(n, mixing, streams, world) for n in (world.n_pairs, world.n_test))
    likely = torch.tensor(POPULARITY, dtype=torch.float64).log()
    gumbel = -(-streams.rand(world.n_pairs, n_principles).clamp_min(1e-300).log()).log()
    attended = (likely + gumbel).topk(world.n_attended, dim=-1).indices  # (S, n, m)
    asked = one_hot(attended, n_principles).to(mixing.dtype)  # (S, n, m, K)
    worth = (known.kept * asked.sum(dim=2)[:, :, None]).sum(dim=-1) + world.bias * known.length[..., 0]  # (S, n, 2)
    first = streams.rand(world.n_pairs) < torch.sigmoid(worth[..., 0] - worth[..., 1])
    said = verdicts(known, attended, streams, world)  # (S, n, m, 2)
    if broken:  # each verdict is filed under a random principle
        asked = one_hot(streams.randint(n_principles, *attended.shape[1:]), n_principles).to(mixing.dtype)
    models = fitted(known, first, asked, said, streams, world)
    return rows(measured(models, test, n_principles))


def drawn(n: int, mixing: Tensor, streams: Streams, world: World) -> Pairs:
    """Draw pairs of answers that keep each principle or not, by a coin."""
    kept = (streams.rand(n, 2, len(POPULARITY)) < 0.5).to(mixing.dtype)
    seen = torch.einsum("snak,skd->snad", kept - 0.5, mixing) + world.noise * streams.randn(n, 2, world.width)
    return Pairs(kept, seen, streams.randn(n, 2, 1))


def verdicts(known: Pairs, attended: Tensor, streams: Streams, world: World) -> Tensor:
    """Return (S, n, m, 2) verdicts, 1.0 for yes, on both answers by the attended principles."""
    shape = (*attended.shape[1:], 2)
    truth = known.kept.transpose(-1, -2).gather(2, attended[..., None].expand(-1, -1, -1, 2))
    said = torch.where(streams.rand(*shape) < world.flips, 1 - truth, truth)
    length = known.length[..., 0][:, :, None]  # (S, n, 1, 2)
    dazzled = streams.rand(*shape) < world.halo * length.abs().tanh()
    return torch.where(dazzled, (length > 0).to(said.dtype), said)


def fitted(
    known: Pairs, first: Tensor, asked: Tensor, said: Tensor, streams: Streams, world: World
) -> dict[str, Score]:
    """Fit each model to the same reviews: to preferences, or to verdicts.

    Args:
        first: (S, n) whether the first answer is preferred.
        asked: (S, n, m, K) the principles in one-hot form.
        said: (S, n, m, 2) verdicts.
    """

    def per_verdict(part: Tensor) -> Tensor:
        return part[:, :, None].expand(-1, -1, asked.shape[2], -1, -1).flatten(1, 3)

    both, length = (torch.where(first[:, :, None, None], part, part.flip(2)) for part in (known.seen, known.length))
    tags = asked.sum(dim=2)[:, :, None].expand(-1, -1, 2, -1)  # (S, n, 2, K)
    seen, long, said = per_verdict(known.seen), per_verdict(known.length), said.flatten(1)
    principle = asked[:, :, :, None].expand(-1, -1, -1, 2, -1).flatten(1, 3)  # (S, 2mn, K)

    def preferred(scores: Tensor) -> Tensor:
        return bt_loss(scores[:, ::2], scores[:, 1::2])

    def entailed(scores: Tensor) -> Tensor:
        return entailment_bce(scores, 0.0, said)

    def network(arm: str, inputs: list[Tensor], loss: Callable[[Tensor], Tensor]) -> BatchedMLP:
        x = torch.cat(inputs, dim=-1)[:, None]
        hidden, decay = NETWORKS[arm]
        sizes = (x.shape[-1], hidden, hidden, 1)
        net = BatchedMLP(sizes, lead=(len(streams), 1), streams=streams, activation=torch.tanh)
        for _ in adam_steps(net.parameters(), world.steps, learning_rate=3e-3, weight_decay=decay):
            torch.autograd.backward(loss(net(x)[:, 0]).mean(dim=1).sum())
        return net

    def ask(net: BatchedMLP, *parts: Tensor) -> Tensor:
        with torch.no_grad():
            scores: Tensor = net(torch.cat(parts, dim=-1)[:, None])[:, 0]
            return scores

    def tagged(k: Tensor, like: Tensor) -> Tensor:
        return k.expand(*like.shape[:2], -1)

    pair = [part.flatten(1, 2) for part in (both, length, tags)]
    bt, attended = network("bt", pair[:2], preferred), network("bt_attended", pair, preferred)
    whole = network("entailment", [seen, long, principle], entailed)
    blind = network("entailment_blind", [seen, principle], entailed)
    difference = torch.cat([both[:, :, 0] - both[:, :, 1], length[:, :, 0] - length[:, :, 1]], dim=-1)
    ones = torch.ones_like(difference[:, :, :1])
    line = regressed(difference, ones[..., 0], ones, RIDGE["bt_length"])[:, :, :-1]  # its weight of length is dropped
    own = regressed(torch.cat([seen, torch.ones_like(long)], dim=-1), said, principle, RIDGE["regressions"])
    return {
        "bt": lambda x, n, k: ask(bt, x, n),
        "bt_attended": lambda x, n, k: ask(attended, x, n, tagged(k, x)),
        "bt_length": lambda x, n, k: (x @ line.mT)[..., 0],
        "entailment": lambda x, n, k: ask(whole, x, n, tagged(k, x)),
        "entailment_blind": lambda x, n, k: ask(blind, x, tagged(k, x)),
        "regressions": lambda x, n, k: (torch.cat([x, torch.ones_like(n)], dim=-1) @ own.mT) @ k,
    }


def regressed(x: Tensor, label: Tensor, own: Tensor, ridge: float) -> Tensor:
    """Fit one logistic regression (S, K, d) per column of `own` (S, n, K) to its rows, by Newton's method."""
    outer, own = (x[..., None] * x[..., None, :]).flatten(2), own.mT  # (S, n, d²) and (S, K, n)
    weight, penalty = x.new_zeros(len(x), own.shape[1], x.shape[-1]), ridge * torch.eye(x.shape[-1], dtype=x.dtype)
    for _ in range(12):
        p = torch.sigmoid(weight @ x.mT)  # (S, K, n)
        slope = (own * (label[:, None] - p)) @ x - ridge * weight
        curvature = ((own * p * (1 - p)) @ outer).view(*weight.shape, -1) + penalty
        weight = weight + torch.linalg.solve(curvature, slope)
    return weight


def measured(models: dict[str, Score], test: Pairs, n_principles: int) -> dict[str, dict[str, Tensor]]:
    """Return {metric: {model: (S,) share of pairs ranked right}}, over the pairs that differ in gold."""
    found: dict[str, dict[str, Tensor]] = {metric: {} for metric in ("easy", "hard", "overall", "steering")}
    weights = torch.tensor(POPULARITY, dtype=torch.float64)
    gold = test.kept[:, :, 0] - test.kept[:, :, 1]  # (S, N, K)
    longer = (test.length[:, :, 0, 0] > test.length[:, :, 1, 0]) == (gold[..., 0] > 0)
    x, length = test.seen.flatten(1, 2), test.length.flatten(1, 2)
    for name, score in models.items():
        each = torch.stack([score(x, length, k) for k in torch.eye(n_principles, dtype=x.dtype)], dim=-1)  # (S, 2N, K)
        apart = each[:, ::2] - each[:, 1::2]  # (S, N, K)
        right = ((apart > 0) == (gold > 0)).to(x.dtype)
        for metric, side in (("easy", longer), ("hard", ~longer)):
            kept = side & (gold[..., 0] != 0)
            found[metric][name] = (right[..., 0] * kept).sum(dim=1) / kept.sum(dim=1)
        found["steering"][name] = ((right * (gold != 0)).sum(dim=1) / (gold != 0).sum(dim=1)).mean(dim=-1)
        joined = combine_principles(each.flatten(0, 1), weights=weights, how="mean_prob").view(*each.shape[:2])
        worth = gold @ weights
        agree = ((joined[:, ::2] > joined[:, 1::2]) == (worth > 0)).to(x.dtype)
        found["overall"][name] = (agree * (worth != 0)).sum(dim=1) / (worth != 0).sum(dim=1)
    return found


figure = partial(
    dots,
    series={"length opposes": "hard/{}", "all principles in turn": "steering/{}", "overall": "overall/{}"},
    rows=("regressions", "entailment", "bt_length", "bt_attended", "bt"),
    label="share of pairs ranked right",
)
