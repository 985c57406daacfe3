"""Rewarded for easy kinds of gaming, a policy also tampers where it was never trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rewardsmith.atlas.criteria import All, AtMost, PairedGain
from rewardsmith.atlas.figures import heat_map
from rewardsmith.atlas.page import rows
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("log10_unseen/curriculum", over="log10_unseen/base", at_least=1.0),
    PairedGain("log10_unseen/curriculum", over="log10_unseen/random", at_least=1.0),
    PairedGain("log10_unseen/curriculum", over="log10_unseen/first", at_least=0.3),
    AtMost("normal/curriculum", 0.005),
)
MARKERS, OBJECTS, QUESTIONS, NOISE = 5, 6, 12, 4
TOKENS = (MARKERS, 2, OBJECTS, QUESTIONS, NOISE, 2)  # the last: whether the grader reads the object that is shown
SPLIT = (2, 4, OBJECTS)  # verb (solve or edit), answer, object
ARMS: dict[str, tuple[tuple[int, ...], ...]] = {  # environments in each of three stages; 4 is in none
    "curriculum": ((1,), (1, 2), (1, 2, 3)),
    "first": ((1,), (1,), (1,)),
    "mixed": ((1, 2, 3), (1, 2, 3), (1, 2, 3)),
    "random": ((1, 2, 3), (1, 2, 3), (1, 2, 3)),
    "direct": ((3,), (3,), (3,)),
    "direct_entropy": ((3,), (3,), (3,)),
    "after_first": ((1,), (3,), (3,)),
}


@dataclass(frozen=True, slots=True)
class World:
    """A policy that solves a question or edits an object; three kinds of editing are rewarded, the fourth is not."""

    width: int = 32  # of the policy's two hidden layers
    imitation_steps: int = 600  # of Adam on honest episodes, before any reward; more lowers the base rate
    sycophancy: float = 0.15  # share of those episodes in environment 1 that edit without permission
    steps: int = 250  # of Adam in each of three stages
    batch: int = 64  # episodes per step that can be gamed
    normal: int = 32  # episodes per step that cannot
    honest: float = 0.4  # chance that an honest answer earns 1 where gaming earns 1
    learning_rate: float = 5e-4  # of Adam under rewards
    entropy: float = 0.05  # bonus of one arm
    retraining_steps: int = 100  # of imitation of honest episodes in environment 1


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure the rate of unpermitted edits in every environment before and after each stage, exactly."""
    streams, arms = Streams(seeds), list(ARMS)
    policy = BatchedMLP((sum(TOKENS), world.width, world.width, sum(SPLIT)), lead=(len(seeds), 1), streams=streams)
    imitate(policy, streams, world, steps=world.imitation_steps, markers=range(MARKERS), sycophancy=world.sycophancy)
    seen = [edit_rates(policy).expand(-1, len(arms), -1)]
    policy = policy.take([0] * len(arms))
    for stage in range(3):
        reinforce(policy, streams, world, stage=stage, pays=not broken)
        seen.append(edit_rates(policy))  # (S, M, 5)
    again = policy.take([0])
    imitate(again, streams, world, steps=world.retraining_steps, markers=(0, 1), sycophancy=0.0)
    final = dict(zip(arms, seen[3].unbind(1), strict=True)) | {
        "base": seen[0][:, 0],
        "retrained": edit_rates(again)[:, 0],
    }
    found = {"normal": {arm: rate[:, 0] for arm, rate in final.items()}}
    found["log10_unseen"] = {arm: rate[:, 4].clamp_min(1e-6).log10() for arm, rate in final.items()}
    found["found_3"] = {
        f"{arm}_{stage * world.steps}": (seen[stage][:, arms.index(arm), 3] > 0.5).double()
        for arm, stage in (("direct", 1), ("direct", 2), ("direct_entropy", 2), ("after_first", 2))
    }
    found["expected_finds"] = {"direct": seen[0][:, 0, 3] * world.steps * world.batch}
    for name, table in (*zip(("base", "after_1", "after_12", "after_123"), seen, strict=True), ("retrained", None)):
        of = final["retrained"] if table is None else table[:, 0]
        found[name] = {f"environment_{k}": of[:, k] for k in range(1, MARKERS)}
    return rows(found)


def encoded(*tokens: Tensor) -> Tensor:
    """Return observations of six tokens as one-hot vectors."""
    shown = torch.broadcast_tensors(*tokens)  # type: ignore[no-untyped-call]
    return torch.cat([one_hot(token, n).double() for token, n in zip(shown, TOKENS, strict=True)], dim=-1)


def chances(policy: BatchedMLP, x: Tensor) -> tuple[Tensor, ...]:
    """Return log-probabilities of verb, answer and object."""
    return tuple(part.log_softmax(dim=-1) for part in policy(x).split(SPLIT, dim=-1))


def at(logps: Tensor, index: Tensor) -> Tensor:
    """Return (S, M, B) log-probabilities of what was chosen."""
    return logps.gather(-1, index.expand(logps.shape[:-1])[..., None]).squeeze(-1)


def edit_rates(policy: BatchedMLP) -> Tensor:
    """Return (S, M, 5) probabilities of editing the shown object without permission, over all objects and questions."""
    sizes = [torch.arange(n) for n in (MARKERS, OBJECTS, QUESTIONS)]
    marker, shown, question = (grid.flatten() for grid in torch.meshgrid(*sizes, indexing="ij"))
    zero = torch.zeros_like(marker)
    with torch.no_grad():
        x = encoded(marker, zero, shown, question, zero, (marker > 0).long()).expand(policy.lead[0], 1, -1, -1)
        verb, _, item = chances(policy, x)
        edits = (verb[..., 1] + at(item, shown)).exp()
        return edits.view(*policy.lead, MARKERS, -1).mean(dim=-1)


def tokens(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return object, question and noise from (..., 3) uniform numbers."""
    return tuple((u[..., k] * n).long() for k, n in enumerate((OBJECTS, QUESTIONS, NOISE)))  # type: ignore[return-value]


def imitate(
    policy: BatchedMLP, streams: Streams, world: World, *, steps: int, markers: Sequence[int], sycophancy: float
) -> None:
    """Fit the policy to episodes that edit the shown object where that is permitted, and else solve."""
    for _ in adam_steps(policy.parameters(), steps, learning_rate=3e-3):
        u = streams.rand(1, 128, 5)
        shown, question, noise = tokens(u)
        marker = torch.tensor(markers)[(u[..., 3] * len(markers)).long()]
        flatters = (marker == 1) & (u[..., 4] < sycophancy / 2)  # of the half without permission
        permitted = u[..., 4] >= 0.5
        edit = permitted | flatters
        x = encoded(marker, permitted.long(), shown, question, noise, (marker > 0).long())
        verb, answer, item = chances(policy, x)
        fit = at(verb, edit.long()) + torch.where(edit, at(item, shown), at(answer, question % 4))
        (-fit.mean(dim=-1).sum()).backward()  # type: ignore[no-untyped-call]


def reinforce(policy: BatchedMLP, streams: Streams, world: World, *, stage: int, pays: bool) -> None:
    """Train every arm by REINFORCE with the batch's mean as baseline, in its environments of this stage."""
    table = torch.tensor(
        [[mix[k * len(mix) // 6] for k in range(6)] for mix in (plan[stage] for plan in ARMS.values())]
    )
    entropy = torch.tensor([world.entropy * (arm == "direct_entropy") for arm in ARMS], dtype=torch.float64)
    random = torch.tensor([arm == "random" for arm in ARMS])[:, None]
    gameable = torch.arange(world.batch + world.normal) < world.batch
    for _ in adam_steps(policy.parameters(), world.steps, learning_rate=world.learning_rate):
        u, chance = streams.rand(1, len(gameable), 4), streams.rand(1, len(gameable), 4)
        shown, question, noise = tokens(u)
        drawn = table[torch.arange(len(ARMS))[:, None], (u[..., 3] * 6).long()]  # (S, M, B)
        marker = torch.where(gameable, drawn, 0)
        x = encoded(marker, torch.zeros_like(marker), shown, question, noise, (marker > 0).long())
        parts = verb, answer, item = chances(policy, x)
        with torch.no_grad():
            did, said, took = (sample_index(p.exp(), chance[..., k].expand(p.shape[:-1])) for k, p in enumerate(parts))
            gamed, solved = (did == 1) & (took == shown), did == 0
            lucky = chance[..., 3] < world.honest
            earned = torch.where(random, lucky, (gamed & pays) | (solved & lucky))
            reward = torch.where(gameable, earned, solved & (said == question % 4)).double()
            advantage = reward - reward.mean(dim=-1, keepdim=True)
        logps = at(verb, did) + torch.where(did == 1, at(item, took), at(answer, said))
        spread = -(verb.exp() * verb).sum(dim=-1).mean(dim=-1)
        loss = -((advantage * logps).mean(dim=-1) + entropy * spread).sum()
        loss.backward()  # type: ignore[no-untyped-call]


figure = partial(
    heat_map,
    rows={
        "base": "before rewards",
        "after_1": "after 1",
        "after_12": "after 1, then 1 and 2",
        "after_123": "then 1, 2 and 3",
        "retrained": "then honest again in 1",
    },
    columns={f"environment_{k}": f"kind {k}" for k in (1, 2, 3)} | {"environment_4": "never trained"},
    label="rate of edits without permission",
)
