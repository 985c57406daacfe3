"""Reward each segment for each kind of error, rather than the whole text once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.advantages import Aspect, combine_aspects, step_returns
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, LowerBound, PairedGain, Results
from rewardsmith.worlds import Outputs, SegmentTask, Streams, train_segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EARLY, LATE = 40, 150
CRITERION = All(
    LowerBound("gold_40/dense", over="gold_40/end", above=0.02),
    PairedGain("gold_40/learned", over="gold_40/preference", at_least=0.3),
    AtLeast("fact_150/only_fact", 0.9),
    AtMost("relevant_150/only_fact", 0.1),
    AtLeast("relevant_150/only_relevant", 0.9),
    AtMost("fact_150/only_relevant", 0.1),
    PairedGain("gold_40/shuffled", over="gold_40/end", at_most=0.0),
    # What must fail: rewards one place late, and weights of the wrong sign, on the first gain.
    PairedGain("gold_40/late", over="gold_40/end", at_most=0.02),
    PairedGain("gold_40/flipped", over="gold_40/end", at_most=0.02),
)
ARMS = (
    "dense", "end", "learned", "learned_end", "preference", "only_fact", "only_relevant", "only_complete", "shuffled",
    "late", "flipped",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """Prompts, the outputs that reward models are learned from, and the training run."""

    n_prompts: int = 20  # prompts
    n_segments: int = 8  # T, segments per output
    n_tokens: int = 12  # what a segment can be
    good_rate: float = 0.4  # share of tokens that are true, and that are relevant, at a place
    weight_fact: float = 0.5  # of gold
    weight_relevant: float = 0.3  # of gold
    weight_complete: float = 0.3  # of gold
    n_labeled: int = 400  # outputs with labeled segments, and pairs with a preference
    label_noise: float = 0.1  # share of wrong labels
    batch_size: int = 64  # outputs per update
    beta: float = 0.02  # KL coefficient
    learning_rate: float = 0.3  # of Adam, logits per step


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Reward models as tables: fact and relevant (S, P, T, V), complete (S, P, V), preference (S, P, T, V)."""

    fact: Tensor
    relevant: Tensor
    complete: Tensor
    preference: Tensor


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """What policies trained on each reward write, early and late in training."""
    streams = Streams(seeds)
    weights = (world.weight_fact, world.weight_relevant, world.weight_complete)
    task = SegmentTask.sample(
        streams, n_prompts=world.n_prompts, n_segments=world.n_segments, n_tokens=world.n_tokens,
        good_rate=world.good_rate, weights=weights,
    )  # fmt: skip
    learned = learn(task, world, streams)

    def rewards(outputs: Outputs, streams: Streams) -> Tensor:
        return paid(task, learned, outputs, streams, broken)

    def returns(token_rewards: Tensor) -> Tensor:
        return step_returns(token_rewards, torch.ones_like(token_rewards, dtype=torch.bool))

    found = train_segments(
        task, rewards, streams=streams, n_arms=len(ARMS), returns=returns, updates=LATE, snapshots=(EARLY, LATE),
        batch_size=world.batch_size, beta=world.beta, learning_rate=world.learning_rate,
    )  # fmt: skip
    return [
        {
            f"{name}_{update}/{arm}": float(value[seed, k])
            for update, worth in found.items()
            for name, value in worth._asdict().items()
            for k, arm in enumerate(ARMS)
        }
        for seed in range(len(seeds))
    ]


def learn(task: SegmentTask, world: World, streams: Streams) -> Learned:
    """Tables from labeled outputs: mean labels by place and token, ridge on tokens present, Bradley-Terry on tokens."""
    outputs = task.uniform(world.n_labeled, streams)
    truth, (n_prompts, n_segments, n_tokens) = task.aspects(outputs), task.shape
    flips = streams.rand(2, world.n_labeled, n_segments) < world.label_noise
    cells = F.one_hot(outputs.tokens[:, 0], n_tokens).to(streams.dtype)  # (S, n, T, V)
    by_prompt = F.one_hot(outputs.prompt[:, 0], n_prompts).to(streams.dtype)  # (S, n, P)
    count = torch.einsum("snp,sntv->sptv", by_prompt, cells)
    fact, relevant = (
        torch.einsum("snp,sntv,snt->sptv", by_prompt, cells, torch.where(flip, -labels, labels)) / count.clamp_min(1)
        for labels, flip in ((truth.fact[:, 0], flips[:, 0]), (truth.relevant[:, 0], flips[:, 1]))
    )
    missed = truth.complete[:, 0] + world.label_noise * streams.randn(world.n_labeled)
    present = (cells.sum(dim=2) > 0).to(streams.dtype)  # (S, n, V)
    complete = ridge(by_prompt, present, missed)
    return Learned(fact, relevant, complete, preference_table(task, outputs, world, streams))


def ridge(by_prompt: Tensor, present: Tensor, labels: Tensor) -> Tensor:
    """(S, P, V) how much each token's presence adds to completeness, by ridge regression per prompt."""
    count = by_prompt.sum(dim=1)[..., None].clamp_min(1)  # (S, P, 1)
    centered_x = present - torch.einsum(
        "snp,spv->snv", by_prompt, torch.einsum("snp,snv->spv", by_prompt, present) / count
    )
    centered_y = labels - torch.einsum(
        "snp,sp->sn", by_prompt, torch.einsum("snp,sn->sp", by_prompt, labels) / count[..., 0]
    )
    gram = torch.einsum("snp,snv,snw->spvw", by_prompt, centered_x, centered_x)
    right = torch.einsum("snp,snv,sn->spv", by_prompt, centered_x, centered_y)
    eye = torch.eye(present.shape[-1], dtype=present.dtype)
    solved: Tensor = torch.linalg.solve(gram + eye, right[..., None])
    return solved.squeeze(-1)


def preference_table(task: SegmentTask, outputs: Outputs, world: World, streams: Streams) -> Tensor:
    """(S, P, T, V) what each token adds to a Bradley-Terry score, from as many pairs as there are labeled outputs."""
    other = task.uniform(world.n_labeled, streams)
    gap = (task.gold(task.aspects(outputs)) - task.gold(task.aspects(other)))[:, 0]
    sign = torch.where((streams.rand(world.n_labeled) < world.label_noise) ^ (gap < 0), -1.0, 1.0)
    table = torch.zeros_like(task.fact, requires_grad=True)
    optimizer = torch.optim.Adam([table], lr=0.1)
    for _ in range(100):
        margin = (task.look_up(table, outputs) - task.look_up(table, other)).sum(dim=-1)[:, 0]
        loss = -F.logsigmoid(sign * margin).sum(dim=-1) + 0.05 * table.square().sum(dim=(1, 2, 3))
        optimizer.zero_grad()
        torch.autograd.backward(loss.sum())
        optimizer.step()
    return table.detach()


def paid(task: SegmentTask, learned: Learned, outputs: Outputs, streams: Streams, broken: bool) -> Tensor:
    """(S, A, n, T) what each arm is paid, put in place by `combine_aspects`."""
    truth, n_segments = task.aspects(outputs), task.shape[1]
    guess_fact, guess_relevant = (task.look_up(table, outputs) for table in (learned.fact, learned.relevant))
    keys = learned.complete[torch.arange(len(learned.complete))[:, None, None], outputs.prompt]  # (S, 1, n, V)
    present = F.one_hot(outputs.tokens, task.shape[2]).amax(dim=-2)  # (S, A, n, V)
    gold = (truth.fact, truth.relevant, 2 * truth.complete - 1)
    guess = (guess_fact, guess_relevant, 2 * (present * keys).sum(dim=-1) - 1)
    liked = task.look_up(learned.preference, outputs).sum(dim=-1)
    order = streams.rand(outputs.prompt.shape[-1], n_segments).argsort(dim=-1)
    arms = []
    for k, arm in enumerate(ARMS):
        values = [value[:, k] for value in (guess if arm.startswith("learned") else gold)]
        weighted = [w * value for w, value in zip(shares(arm, task), values, strict=True)]
        if arm == "preference":
            weighted[2] = liked[:, k]
        arms.append((*weighted, *placed(arm, order, broken)))
    fact, relevant, whole, ends, mask = (torch.stack(column, dim=1) for column in zip(*arms, strict=True))
    size, ends, mask = fact.shape, ends.flatten(0, 2), mask.flatten(0, 2)
    last = torch.full((len(ends), 1), n_segments - 1)
    aspects = {
        "fact": Aspect(fact.flatten(0, 2), ends, mask),
        "relevant": Aspect(relevant.flatten(0, 2), ends, mask),
        "complete": Aspect(whole.flatten()[:, None], last, torch.ones_like(last, dtype=torch.bool)),
    }
    return combine_aspects(aspects, n_tokens=n_segments).view(size)


def shares(arm: str, task: SegmentTask) -> tuple[float, float, float]:
    """What an arm pays for a true segment, a relevant one, and a complete output."""
    w_fact, w_relevant, w_complete = task.weights
    every = (w_fact / task.shape[1], w_relevant / task.shape[1], w_complete)
    kept = {"only_fact": (1, 0, 0), "only_relevant": (0, 1, 0), "only_complete": (0, 0, 1), "preference": (0, 0, 0)}
    a, b, c = (-1, -1, -1) if arm == "flipped" else kept.get(arm, (1, 1, 1))
    return a * every[0], b * every[1], c * every[2]


def placed(arm: str, order: Tensor, broken: bool) -> tuple[Tensor, Tensor]:
    """(S, n, T) at which segment an arm is paid for each, and whether it is; `order` is a random permutation."""
    n_segments = order.shape[-1]
    place = torch.arange(n_segments).expand_as(order)
    if arm in ("end", "learned_end", "preference"):
        return torch.full_like(place, n_segments - 1), torch.ones_like(place, dtype=torch.bool)
    if broken or arm == "late":
        return (place + 1).clamp(max=n_segments - 1), place < n_segments - 1
    return order if arm == "shuffled" else place, torch.ones_like(place, dtype=torch.bool)


def figure(results: Results, axes: Axes) -> None:
    """Gold after few and after many updates."""
    shown = [arm for arm in ARMS if arm != "flipped"]
    for update, marker in ((EARLY, "o"), (LATE, "s")):
        means = [float(np.mean(results[f"gold_{update}/{arm}"])) for arm in shown]
        axes.plot(means, range(len(shown)), marker, markersize=8, label=f"after {update} updates")
    axes.set_yticks(range(len(shown)), [arm.replace("_", " ") for arm in shown])
    axes.invert_yaxis()
    axes.set_xlabel("gold of what the policy writes")
    axes.legend(frameon=False, fontsize=8)
