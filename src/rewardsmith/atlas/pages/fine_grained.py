"""Reward each segment for each kind of error, rather than the whole text once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.advantages import Aspect, combine_aspects, step_returns
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

EARLY, LATE = 40, 150
CRITERION = All(
    LowerBound("gold_40/dense", over="gold_40/end", above=0.02),
    PairedGain("gold_40/learned", over="gold_40/preference", at_least=0.3),
    AtLeast("fact_150/only_fact", 0.9),
    AtMost("relevant_150/only_fact", 0.1),
    AtLeast("relevant_150/only_relevant", 0.9),
    AtMost("fact_150/only_relevant", 0.1),
    PairedGain("gold_40/shuffled", over="gold_40/end", at_most=0.0),
    # What must fail: weights of the wrong sign, on the first gain.
    PairedGain("gold_40/flipped", over="gold_40/end", at_most=0.02),
)
ARMS = {  # the source of rewards, the signs of fact, relevance and completeness, and at which segment
    "dense": ("gold", (1, 1, 1), "own"),
    "end": ("gold", (1, 1, 1), "last"),
    "learned": ("learned", (1, 1, 1), "own"),
    "learned_end": ("learned", (1, 1, 1), "last"),
    "preference": ("preference", (0, 0, 1), "last"),
    "only_fact": ("gold", (1, 0, 0), "own"),
    "only_relevant": ("gold", (0, 1, 0), "own"),
    "only_complete": ("gold", (0, 0, 1), "own"),
    "shuffled": ("gold", (1, 1, 1), "shuffled"),
    "late": ("gold", (1, 1, 1), "late"),
    "flipped": ("gold", (-1, -1, -1), "own"),
}


@dataclass(frozen=True, slots=True)
class World:
    """Prompts, the outputs that reward models are learned from, and the training run."""

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

    def gold(self, fact: Tensor, relevant: Tensor, complete: Tensor) -> Tensor:
        """Return true value from two aspects' means over segments, ±1 each, and the share of keys."""
        return self.weight_fact * fact + self.weight_relevant * relevant + self.weight_complete * (2 * complete - 1)


class Task:
    """A task per seed, or what reward models believe of it.

    fact, relevant: (S, P, T, V) ±1 for each token at each place. complete: (S, P, V) what the presence of a token adds
    to the share of keys. keys: (S, P, K) tokens that have to appear.
    """

    def __init__(self, world: World, streams: Streams) -> None:
        self.world, shape = world, (world.n_prompts, world.n_segments, world.n_tokens)
        good = streams.rand(2, *shape) < world.good_rate
        self.fact, self.relevant = (good.to(streams.dtype) * 2 - 1).unbind(1)
        self.keys = streams.rand(world.n_prompts, world.n_tokens).argsort(dim=-1)[..., : world.n_keys]
        self.complete = torch.zeros_like(self.fact[:, :, 0]).scatter(-1, self.keys, 1 / world.n_keys)

    def aspects(self, prompt: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (S, A, n, T) fact, relevant, ±1, and (S, A, n) key share of prompt (S, 1, n), tokens (S, A, n, T)."""
        fact, relevant = (look_up(table, prompt, tokens) for table in (self.fact, self.relevant))
        adds = self.complete[torch.arange(len(prompt))[:, None, None], prompt]  # (S, 1, n, V)
        return fact, relevant, (F.one_hot(tokens, self.world.n_tokens).amax(dim=-2) * adds).sum(dim=-1)

    def worth(self, logits: Tensor) -> dict[str, Tensor]:
        """Return (S, A) exact means of gold and of each aspect under policies with logits (S, A, P, T, V)."""
        policy = logits.softmax(dim=-1)
        fact, relevant = ((policy * table[:, None]).sum(-1).mean(dim=(-1, -2)) for table in (self.fact, self.relevant))
        keys = self.keys[:, None, :, None, :].expand(*policy.shape[:-1], -1)
        missing = (1 - policy.gather(-1, keys)).prod(dim=-2)  # (S, A, P, K) segments are drawn independently
        aspects = {"fact": fact, "relevant": relevant, "complete": (1 - missing).mean(dim=(-1, -2))}
        return {"gold": self.world.gold(**aspects)} | aspects

    def learned(self, streams: Streams) -> tuple[Task, Tensor]:
        """Fit mean labels per place and token, ridge on tokens present; Bradley-Terry (S, P, T, V) on as many pairs."""
        world, n = self.world, self.world.n_labeled
        prompt = (torch.arange(n) % world.n_prompts).expand(len(streams), 1, -1)
        tokens = streams.randint(world.n_tokens, n, world.n_segments)[:, None]
        truth = self.aspects(prompt, tokens)
        flips, labels = streams.rand(2, n, world.n_segments) < world.label_noise, torch.cat(truth[:2], dim=1)
        cells = F.one_hot(tokens[:, 0], world.n_tokens).to(streams.dtype)  # (S, n, T, V)
        by_prompt = F.one_hot(prompt[:, 0], world.n_prompts).to(streams.dtype)  # (S, n, P)
        sums = torch.einsum("snp,sntv,sknt->ksptv", by_prompt, cells, torch.where(flips, -labels, labels))
        models = copy.copy(self)
        models.fact, models.relevant = sums / torch.einsum("snp,sntv->sptv", by_prompt, cells).clamp_min(1)
        y = truth[2][:, 0] + world.label_noise * streams.randn(n)
        x, number = (cells.sum(dim=2) > 0).to(streams.dtype), by_prompt.sum(dim=1).clamp_min(1)
        x = x - torch.einsum("snp,spv->snv", by_prompt, torch.einsum("snp,snv->spv", by_prompt, x) / number[..., None])
        y = y - torch.einsum("snp,sp->sn", by_prompt, torch.einsum("snp,sn->sp", by_prompt, y) / number)
        gram = torch.einsum("snp,snv,snw->spvw", by_prompt, x, x) + torch.eye(world.n_tokens, dtype=x.dtype)
        along = torch.einsum("snp,snv,sn->spv", by_prompt, x, y)
        models.complete = torch.linalg.solve(gram, along[..., None]).squeeze(-1)
        other = streams.randint(world.n_tokens, n, world.n_segments)[:, None]
        left, right = (world.gold(f.mean(-1), r.mean(-1), c) for f, r, c in (truth, self.aspects(prompt, other)))
        turned = (streams.rand(n) < world.label_noise) ^ ((left - right)[:, 0] < 0)
        sign, table = torch.where(turned, -1.0, 1.0), torch.zeros_like(self.fact, requires_grad=True)
        for _ in adam_steps([table], 100, learning_rate=0.1, fused=False):
            margin = (look_up(table, prompt, tokens) - look_up(table, prompt, other)).sum(dim=-1)[:, 0]
            loss = -F.logsigmoid(sign * margin).sum(dim=-1) + 0.05 * table.square().sum(dim=(1, 2, 3))
            torch.autograd.backward(loss.sum())
        return models, table.detach()

    def train(
        self, rewards: Callable[[Tensor, Tensor], Tensor], streams: Streams, *, n_arms: int, snapshots: Sequence[int]
    ) -> dict[int, dict[str, Tensor]]:
        """Train by REINFORCE from uniform policies, with returns to go, a baseline per place and shared draws.

            A_t = G_t − mean over the batch of G_t,   G_t = Σ_{u≥t} ( r_u − β log π(a_u)/π_ref(a_u) )

        `rewards` are those (S, A, n, T) of outputs before the KL term. Returns the `worth` of policies after as many
        updates as each of the snapshots says; the last ends the training.
        """
        world = self.world
        logits = torch.zeros(len(streams), n_arms, *self.fact.shape[1:], dtype=streams.dtype)
        log_reference = -torch.tensor(float(world.n_tokens), dtype=streams.dtype).log()
        seed, arm = torch.arange(len(streams))[:, None, None], torch.arange(n_arms)[:, None]
        found, rate = {}, world.learning_rate
        for update in adam_steps([logits], snapshots[-1], learning_rate=rate, maximize=True, fused=False):
            if update in snapshots:
                found[update] = self.worth(logits)
            prompt = streams.randint(world.n_prompts, 1, world.batch_size)
            log_policy = logits.log_softmax(dim=-1)[seed, arm, prompt]  # (S, A, n, T, V)
            policy = log_policy.exp()
            tokens = sample_index(policy, streams.rand(1, world.batch_size, world.n_segments))
            log_ratio = log_policy.gather(-1, tokens[..., None]).squeeze(-1) - log_reference
            penalized = (rewards(prompt, tokens) - world.beta * log_ratio).flatten(0, 2)
            to_go = step_returns(penalized, torch.ones_like(penalized, dtype=torch.bool)).view_as(log_ratio)
            advantage = to_go - to_go.mean(dim=2, keepdim=True)
            ascent = advantage[..., None] * (F.one_hot(tokens, world.n_tokens) - policy) / world.batch_size
            logits.grad = torch.zeros_like(logits).index_put_((seed, arm, prompt), ascent, accumulate=True)
        return found | {snapshots[-1]: self.worth(logits)}


def look_up(table: Tensor, prompt: Tensor, tokens: Tensor) -> Tensor:
    """Look up (S, A, n, T) entries of a (S, P, T, V) table, one per segment."""
    seed, place = torch.arange(len(table))[:, None, None, None], torch.arange(table.shape[2])
    return table[seed, prompt[..., None], place, tokens]


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure the policies trained on each reward, early and late in training."""
    streams, last = Streams(seeds), world.n_segments - 1
    task = Task(world, streams)
    models, preference = task.learned(streams)
    weights = (world.weight_fact / world.n_segments, world.weight_relevant / world.n_segments, world.weight_complete)

    def rewards(prompt: Tensor, tokens: Tensor) -> Tensor:
        """Place the rewards of each arm with `combine_aspects`."""
        sources = {}
        for name, judge in (("gold", task), ("learned", models)):
            fact, relevant, complete = judge.aspects(prompt, tokens)
            sources[name] = [w * v for w, v in zip(weights, (fact, relevant, 2 * complete - 1), strict=True)]
        sources["preference"] = [fact, relevant, look_up(preference, prompt, tokens).sum(dim=-1)]
        order = streams.rand(world.batch_size, world.n_segments).argsort(dim=-1)  # (S, n, T) random permutations
        place, always = torch.arange(world.n_segments).expand_as(order), torch.ones_like(order, dtype=torch.bool)
        places = {  # the segment that each reward goes to, and whether it counts
            "own": (place, always),
            "last": (torch.full_like(place, last), always),
            "late": ((place + 1).clamp(max=last), place < last),
            "shuffled": (order, always),
        }
        if broken:
            places["own"] = places["shuffled"]
        arms = [
            (*(sign * value[:, k] for sign, value in zip(signs, sources[source], strict=True)), *places[where])
            for k, (source, signs, where) in enumerate(ARMS.values())
        ]
        of_fact, of_relevant, whole, ends, mask = (torch.stack(c, dim=1).flatten(0, 2) for c in zip(*arms, strict=True))
        aspects = {"fact": Aspect(of_fact, ends, mask), "relevant": Aspect(of_relevant, ends, mask)}
        aspects["complete"] = Aspect(whole[:, None], torch.full_like(ends[:, :1], last), torch.ones_like(mask[:, :1]))
        return combine_aspects(aspects, n_tokens=world.n_segments).view_as(tokens)

    found = task.train(rewards, streams, n_arms=len(ARMS), snapshots=(EARLY, LATE))
    by_arm = {f"{name}_{at}": value.unbind(1) for at, worth in found.items() for name, value in worth.items()}
    return rows({metric: dict(zip(ARMS, values, strict=True)) for metric, values in by_arm.items()})


figure = partial(
    dots,
    series={f"after {update} updates": f"gold_{update}/{{}}" for update in (EARLY, LATE)},
    rows=[arm for arm in ARMS if arm != "flipped"],
    label="gold of what the policy writes",
)
