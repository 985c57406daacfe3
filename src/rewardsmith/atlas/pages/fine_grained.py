"""Reward each segment for each kind of error, rather than the whole text once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.advantages import Aspect, combine_aspects, step_returns
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, LowerBound, PairedGain, Results
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

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


class Outputs(NamedTuple):
    """Outputs of S seeds: prompt (S, 1, n) and tokens (S, A, n, T), both int64; A is 1 where arms share them."""

    prompt: Tensor
    tokens: Tensor


class Aspects(NamedTuple):
    """What outputs (S, A, n) are worth: fact and relevant (S, A, n, T) of ±1, complete (S, A, n) in [0, 1]."""

    fact: Tensor
    relevant: Tensor
    complete: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Prompts, the outputs that reward models are learned from, and the training run.

    gold = weight_fact · mean_t(±fact) + weight_relevant · mean_t(±relevant) + weight_complete · (2 · share of keys − 1)
    """

    n_prompts: int = 20  # P, prompts
    n_segments: int = 8  # T, segments per output
    n_tokens: int = 12  # V, what a segment can be
    n_keys: int = 3  # K, tokens that have to appear in an output
    good_rate: float = 0.4  # share of tokens that are true, and that are relevant, at a place
    weight_fact: float = 0.5  # of gold
    weight_relevant: float = 0.3  # of gold
    weight_complete: float = 0.3  # of gold
    n_labeled: int = 400  # outputs with labeled segments, and pairs with a preference
    label_noise: float = 0.1  # share of wrong labels
    batch_size: int = 64  # outputs per update
    beta: float = 0.02  # KL coefficient
    learning_rate: float = 0.3  # of Adam, logits per step

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, T, V)."""
        return self.n_prompts, self.n_segments, self.n_tokens

    def gold(self, fact: Tensor, relevant: Tensor, complete: Tensor) -> Tensor:
        """True value by the means of the two aspects of segments, and the share of keys."""
        return self.weight_fact * fact + self.weight_relevant * relevant + self.weight_complete * (2 * complete - 1)

    def uniform(self, n: int, streams: Streams) -> Outputs:
        """n outputs of the untrained policy, the prompts in turn."""
        prompt = (torch.arange(n) % self.n_prompts).expand(len(streams), 1, -1)
        return Outputs(prompt, streams.randint(self.n_tokens, n, self.n_segments)[:, None])


class Task(NamedTuple):
    """A task per seed: fact, relevant (S, P, T, V) ±1 for each token at each place; keys (S, P, K)."""

    fact: Tensor
    relevant: Tensor
    keys: Tensor

    @classmethod
    def sample(cls, world: World, streams: Streams) -> Task:
        """Draw what is true, what is relevant and what has to appear."""
        fact, relevant = ((streams.rand(*world.shape) < world.good_rate).to(streams.dtype) * 2 - 1 for _ in range(2))
        return cls(fact, relevant, streams.rand(world.n_prompts, world.n_tokens).argsort(dim=-1)[..., : world.n_keys])

    def aspects(self, outputs: Outputs) -> Aspects:
        """What outputs are worth."""
        keys = self.keys[torch.arange(len(self.keys))[:, None, None], outputs.prompt]  # (S, 1, n, K)
        present = (outputs.tokens[..., None] == keys[..., None, :]).any(dim=-2)  # (S, A, n, K)
        complete = present.to(self.fact.dtype).mean(dim=-1)
        return Aspects(look_up(self.fact, outputs), look_up(self.relevant, outputs), complete)

    def worth(self, logits: Tensor) -> Aspects:
        """(S, A) exact means of what policies with logits (S, A, P, T, V) write."""
        policy = logits.softmax(dim=-1)
        fact, relevant = ((policy * table[:, None]).sum(-1).mean(dim=(-1, -2)) for table in (self.fact, self.relevant))
        keys = self.keys[:, None, :, None, :].expand(*policy.shape[:-1], -1)
        missing = (1 - policy.gather(-1, keys)).prod(dim=-2)  # (S, A, P, K) segments are drawn independently
        return Aspects(fact, relevant, (1 - missing).mean(dim=(-1, -2)))


def look_up(table: Tensor, outputs: Outputs) -> Tensor:
    """(S, A, n, T) entries of a (S, P, T, V) table at each segment of the outputs."""
    seed, place = torch.arange(len(table))[:, None, None, None], torch.arange(table.shape[2])
    return table[seed, outputs.prompt[..., None], place, outputs.tokens]


class Learned(NamedTuple):
    """Reward models as tables: fact and relevant (S, P, T, V), complete (S, P, V), preference (S, P, T, V)."""

    fact: Tensor
    relevant: Tensor
    complete: Tensor
    preference: Tensor


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """What policies trained on each reward write, early and late in training."""
    streams = Streams(seeds)
    task = Task.sample(world, streams)
    learned = learn(task, world, streams)

    def rewards(outputs: Outputs) -> Tensor:
        return paid(task, learned, outputs, world, streams, broken)

    found = train(task, world, rewards, streams, n_arms=len(ARMS), snapshots=(EARLY, LATE))
    rows: list[dict[str, float]] = [{} for _ in seeds]
    for update, worth in found.items():
        for name, value in ({"gold": world.gold(*worth)} | worth._asdict()).items():
            for row, values in zip(rows, value, strict=True):
                row |= {f"{name}_{update}/{arm}": float(v) for arm, v in zip(ARMS, values, strict=True)}
    return rows


def train(
    task: Task,
    world: World,
    rewards: Callable[[Outputs], Tensor],
    streams: Streams,
    *,
    n_arms: int,
    snapshots: Sequence[int],
) -> dict[int, Aspects]:
    """REINFORCE from uniform policies with returns to go and a baseline per place; arms share their draws.

        A_t = G_t − mean over the batch of G_t,   G_t = Σ_{u≥t} ( r_u − β log π(a_u)/π_ref(a_u) )

    Args:
        rewards: what arms are paid, (S, A, n, T), before the KL term.
        snapshots: after how many updates to measure; the last ends the training.

    Returns:
        snapshot → what the policies then write is worth.
    """
    n_prompts, n_segments, n_tokens = world.shape
    logits = torch.zeros(len(streams), n_arms, *world.shape, dtype=streams.dtype)
    log_reference = -torch.tensor(float(n_tokens), dtype=streams.dtype).log()
    seed, arm = torch.arange(len(streams))[:, None, None], torch.arange(n_arms)[:, None]
    found: dict[int, Aspects] = {}
    rate = world.learning_rate
    for update in adam_steps([logits], snapshots[-1], learning_rate=rate, maximize=True, fused=False):
        if update in snapshots:
            found[update] = task.worth(logits)
        prompt = streams.randint(n_prompts, 1, world.batch_size)
        log_policy = logits.log_softmax(dim=-1)[seed, arm, prompt]  # (S, A, n, T, V)
        policy = log_policy.exp()
        uniform = streams.rand(1, world.batch_size, n_segments).expand(log_policy.shape[:-1])
        tokens = sample_index(policy, uniform)
        log_ratio = log_policy.gather(-1, tokens[..., None]).squeeze(-1) - log_reference
        penalized = (rewards(Outputs(prompt, tokens)) - world.beta * log_ratio).flatten(0, 2)
        to_go = step_returns(penalized, torch.ones_like(penalized, dtype=torch.bool)).view_as(log_ratio)
        advantage = to_go - to_go.mean(dim=2, keepdim=True)
        ascent = advantage[..., None] * (F.one_hot(tokens, n_tokens) - policy) / world.batch_size
        logits.grad = torch.zeros_like(logits).index_put_((seed, arm, prompt), ascent, accumulate=True)
    return found | {snapshots[-1]: task.worth(logits)}


def learn(task: Task, world: World, streams: Streams) -> Learned:
    """Tables from labeled outputs: mean labels by place and token, ridge on tokens present, Bradley-Terry on tokens."""
    outputs = world.uniform(world.n_labeled, streams)
    truth, (n_prompts, n_segments, n_tokens) = task.aspects(outputs), world.shape
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


def preference_table(task: Task, outputs: Outputs, world: World, streams: Streams) -> Tensor:
    """(S, P, T, V) what each token adds to a Bradley-Terry score, from as many pairs as there are labeled outputs."""
    other = world.uniform(world.n_labeled, streams)
    left, right = (
        world.gold(truth.fact.mean(-1), truth.relevant.mean(-1), truth.complete)
        for truth in (task.aspects(outputs), task.aspects(other))
    )
    turned = (streams.rand(world.n_labeled) < world.label_noise) ^ ((left - right)[:, 0] < 0)
    sign, table = torch.where(turned, -1.0, 1.0), torch.zeros_like(task.fact, requires_grad=True)
    for _ in adam_steps([table], 100, learning_rate=0.1, fused=False):
        margin = (look_up(table, outputs) - look_up(table, other)).sum(dim=-1)[:, 0]
        loss = -F.logsigmoid(sign * margin).sum(dim=-1) + 0.05 * table.square().sum(dim=(1, 2, 3))
        torch.autograd.backward(loss.sum())
    return table.detach()


def paid(task: Task, learned: Learned, outputs: Outputs, world: World, streams: Streams, broken: bool) -> Tensor:
    """(S, A, n, T) what each arm is paid, put in place by `combine_aspects`."""
    truth, n_segments = task.aspects(outputs), world.n_segments
    guess_fact, guess_relevant = (look_up(table, outputs) for table in (learned.fact, learned.relevant))
    keys = learned.complete[torch.arange(len(learned.complete))[:, None, None], outputs.prompt]  # (S, 1, n, V)
    present = F.one_hot(outputs.tokens, world.n_tokens).amax(dim=-2)  # (S, A, n, V)
    gold = (truth.fact, truth.relevant, 2 * truth.complete - 1)
    guess = (guess_fact, guess_relevant, 2 * (present * keys).sum(dim=-1) - 1)
    liked = look_up(learned.preference, outputs).sum(dim=-1)
    order = streams.rand(outputs.prompt.shape[-1], n_segments).argsort(dim=-1)
    arms = []
    for k, arm in enumerate(ARMS):
        values = [value[:, k] for value in (guess if arm.startswith("learned") else gold)]
        weighted = [w * value for w, value in zip(shares(arm, world), values, strict=True)]
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


def shares(arm: str, world: World) -> tuple[float, float, float]:
    """What an arm pays for a true segment, a relevant one, and a complete output."""
    every = (world.weight_fact / world.n_segments, world.weight_relevant / world.n_segments, world.weight_complete)
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
