"""Annotators often disagree because the context is missing: record the context, then judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, LowerBound, PairedGain, Within
from rewardsmith.atlas.figures import dots
from rewardsmith.auditing import context_sensitivity
from rewardsmith.data import Row
from rewardsmith.measures.contexts import context_error_bound
from rewardsmith.transforms import mixture_score
from rewardsmith.transforms.contexts import profile_posterior
from rewardsmith.worlds import Streams
from rewardsmith.worlds.asked_qualities import better_first, joined, random_rotation
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs, train_pairs
from rewardsmith.worlds.streams import sample_index

CRITERION = All(
    AtLeast("rpr_both/carm", 0.85),
    Within("rpr_row/context_free", 0.45, 0.55),
    PairedGain("rpr_row/carm", over="rpr_row/weak", at_least=0.08),
    Within("wrong_context/carm", 0.45, 0.55),
    AtMost("bound_violations/carm", 0.0),
    LowerBound("user/inferred", over="user/context_free", above=0.15),
    # What must fail: contexts permuted in training, and the context told with the preferred response alone.
    AtMost("rpr_both/permuted", 0.85),
    AtMost("rpr_both/chosen_only", 0.85),
)
ARMS = ("context_free", "weak", "carm", "carm_weak", "permuted", "chosen_only")
MEASURED = {"rpr_row": "row_acc", "rpr_both": "paired_acc", "wrong_context": "wrong_context_acc",
            "no_context": "no_context_acc"}  # fmt: skip
Scores = Callable[[Tensor], Tensor]  # (S, ..., J) values to (S, M, ..., J + 1) under each context, the last none


@dataclass(frozen=True, slots=True)
class World:
    """Responses with J = 6 qualities, N(0, 1) each, behind a rotation; under context z gold is quality z."""

    n_pairs: int = 1500  # training rows per arm; carm_weak has twice as many
    rates: tuple[float, ...] = (0.35, 0.25, 0.15, 0.1, 0.1, 0.05)  # p(z)
    recorded: float = 0.1  # share of the rows of weak whose context is known
    width: int = 64  # of the hidden layer
    steps: int = 400  # of AdamW
    n_test: int = 2000  # test pairs per seed
    n_reversals: int = 150  # records of the audit
    n_users: int = 20  # simulated users per seed
    loyalty: float = 0.8  # share of a user's questions that mean the user's own context
    n_labels: int = 10  # pairs that a user labels

    @property
    def context_rate(self) -> Tensor:
        """Return (J,) p(z), of sum 1."""
        return torch.tensor(self.rates, dtype=torch.float64) / sum(self.rates)

    def pairs(self, n: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw (S, n) contexts from p(z), and (S, n, 2, J) the values of a pair for each, the preferred first."""
        values = streams.randn(n, 2, len(self.rates))
        context = sample_index(self.context_rate.expand(len(streams), n, -1), streams.rand(n))
        return context, better_first(values, context)

    def reversals(self, n: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw 2n rows: n pairs, each in two consecutive rows whose contexts prefer opposite responses.

        Contexts are drawn evenly from either side. Where one response is better throughout, the two exchange a quality.
        """
        values, which = streams.randn(n, 2, len(self.rates)), streams.randint(len(self.rates), n)
        wins = (values[:, :, 0] > values[:, :, 1]).sum(dim=-1)
        unsplit = (wins == 0) | (wins == len(self.rates))
        swap = unsplit[..., None] & (which[..., None] == torch.arange(len(self.rates)))  # (S, n, J)
        values = torch.where(swap[:, :, None], values.flip(2), values)
        better = (values[:, :, 0] > values[:, :, 1]).to(streams.dtype)  # (S, n, J)
        sides = [side / side.sum(dim=-1, keepdim=True) for side in (better, 1 - better)]
        context = sample_index(torch.stack(sides, dim=2), streams.rand(n, 2)).flatten(1)  # (S, 2n)
        return context, better_first(values.repeat_interleave(2, dim=1), context)


def looks(values: Tensor, rotation: Tensor) -> Tensor:
    """Return (S, ..., J) looks of responses of such values."""
    return (values.flatten(1, -2) @ rotation.transpose(-1, -2)).view_as(values)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure each reward model's accuracy with and without context, the bound, and the user study."""
    streams, none = Streams(seeds), len(world.rates)
    rotation = random_rotation(none, streams)
    models = trained(rotation, world, streams, broken)

    @torch.no_grad()
    def scores(values: Tensor) -> Tensor:
        every = torch.arange(none + 1).expand(*values.shape[:-1], -1)
        shown = looks(values, rotation)[..., None, :].expand(*every.shape, -1)
        found: Tensor = models(joined(shown, every, none + 1).flatten(1, -2)[:, None])
        return found.view(len(seeds), len(ARMS), *every.shape[1:])

    # Pairs as users label them, told the right context, another, none, or as `chosen_only` was trained.
    right, values = world.pairs(world.n_test, streams)
    wrong, unknown = (right + 1 + streams.randint(none - 1, world.n_test)) % none, torch.full_like(right, none)
    asked = {"right": (right, right), "wrong": (wrong, wrong), "none": (unknown, unknown), "leaked": (right, unknown)}
    found, table = dict[str, Any](), scores(values)  # (S, M, n, 2, J + 1)
    for name, contexts in asked.items():
        at = torch.stack(contexts, dim=2)[:, None, ..., None].expand(*table.shape[:-1], 1)
        chosen, rejected = table.gather(-1, at)[..., 0].unbind(dim=-1)
        share = (chosen > rejected).double().mean(dim=-1)
        found |= {f"row_{name}/{arm}": share[:, k] for k, arm in enumerate(ARMS)}
    found |= user_study(scores, world, streams)

    # Error of the two-step preference and its bound, with p(z) known and with its logits disturbed.
    _, values = world.pairs(world.n_test, streams)
    table = scores(values)[:, ARMS.index("carm"), ..., :none]
    p_hat = torch.sigmoid(table[:, :, 0] - table[:, :, 1])  # (S, n, J)
    p = (values[:, :, 0] > values[:, :, 1]).to(streams.dtype)
    noise, over = streams.randn(world.n_test, none), []
    for spread in (0.0, 0.3, 1.0):
        believed = (world.context_rate.log() + spread * noise).softmax(dim=-1)
        result = context_error_bound(believed, world.context_rate, p_hat, p)
        means = {name: getattr(result, name).mean(axis=-1) for name in ("error", "bound", "centered")}
        found |= {f"{name}/context_noise_{spread:g}": mean for name, mean in means.items()}
        over += [(result.error > most + 1e-12).sum(axis=-1) for most in (result.bound, result.centered)]
    found["bound_violations/carm"] = sum(over)
    rows = [{name: float(value[k]) for name, value in found.items()} for k in range(len(seeds))]

    # The audit on fresh reversals; responses are named by their numbers, and the reward looks their scores up.
    context, values = world.reversals(world.n_reversals, streams)
    table = scores(values[:, ::2])  # (S, M, records, 2, J + 1): a record's better response under x first
    for row, tables, pairs in zip(rows, table, context.view(len(seeds), -1, 2).tolist(), strict=True):
        records = [
            Row(str(k), None, {"response_a": "0", "response_b": "1", "criteria_x": str(x), "criteria_y": str(y)})
            for k, (x, y) in enumerate(pairs)
        ]
        for own, arm in zip(tables, ARMS, strict=True):
            audited = context_sensitivity(partial(looked_up, table=own), records, template=None, workers=0)
            row |= {f"{name}/{arm}": getattr(audited, field).value for name, field in MEASURED.items()}
    return rows


def trained(rotation: Tensor, world: World, streams: Streams, broken: bool) -> BatchedMLP:
    """Train one reward model per arm, all from one start; a mask over all rows gives each its own."""
    n, none = world.n_pairs, len(world.rates)
    (context, mixed), (reversing, opposed) = world.pairs(n, streams), world.reversals(n // 2, streams)
    unknown = torch.full_like(context, none)
    weak = torch.where(streams.rand(n) < world.recorded, context, unknown)
    shuffled = reversing.gather(-1, streams.randperm(2 * (n // 2)))
    carm = shuffled if broken else reversing
    parts = [  # values, contexts told with the preferred and with the other response, arms
        (mixed, (unknown, unknown), {"context_free"}),
        (mixed, (weak, weak), {"weak", "carm_weak"}),
        (opposed, (carm, carm), {"carm", "carm_weak"}),
        (opposed, (shuffled, shuffled), {"permuted"}),
        (opposed, (reversing, torch.full_like(reversing, none)), {"chosen_only"}),
    ]
    chosen, rejected = (
        torch.cat([joined(looks(values[:, :, k], rotation), said[k], none + 1) for values, said, _ in parts], dim=1)
        for k in (0, 1)
    )
    allowed = [torch.tensor([arm in arms for arm in ARMS]).repeat(v.shape[1], 1).T for v, _, arms in parts]
    gold = torch.ones(chosen.shape[:2], dtype=streams.dtype)
    pairs = Pairs(chosen, rejected, gold, torch.zeros_like(gold), torch.zeros_like(gold, dtype=torch.bool))
    start = BatchedMLP((chosen.shape[-1], world.width, 1), lead=(len(streams), 1), streams=streams)
    models, mask = start.take([0] * len(ARMS)), torch.cat(allowed, dim=1)
    return train_pairs(models, pairs, streams=streams, steps=world.steps, mask=mask)


def looked_up(prompts: list[str], completions: list[str], context: list[str | None], *, table: Tensor) -> list[float]:
    """Look up the score of response `completion` of record `prompt` under a context, last column for none."""
    asked = zip(prompts, completions, context, strict=True)
    return [float(table[int(p), int(c), -1 if z is None else int(z)]) for p, c, z in asked]


def user_study(scores: Scores, world: World, streams: Streams) -> dict[str, Tensor]:
    """Measure accuracy on each user's majority preference, with the user known, inferred from labels, or ignored."""
    none, free, carm = len(world.rates), ARMS.index("context_free"), ARMS.index("carm")
    profiles = world.loyalty * torch.eye(none, dtype=streams.dtype) + (1 - world.loyalty) / none
    rate = profiles[streams.randint(none, world.n_users)]  # (S, users, J)
    n = world.n_labels + world.n_test // world.n_users
    values = streams.randn(world.n_users, n, 2, none)
    votes = ((values[..., 0, :] > values[..., 1, :]).to(streams.dtype) * 2 - 1) @ rate[..., None]  # (S, users, n, 1)
    context = sample_index(rate[:, :, None].expand(-1, -1, n, -1), streams.rand(world.n_users, n))
    meant = (values[..., 0, :] - values[..., 1, :]).gather(-1, context[..., None]).sign()  # (S, users, n, 1)
    table = scores(values)
    margin = table[..., 0, :] - table[..., 1, :]  # (S, M, users, n, J + 1) first response less second
    labeled = (meant * margin[:, carm, ..., :none])[:, :, : world.n_labels]
    test, truth = margin[:, :, :, world.n_labels :], votes[:, :, world.n_labels :, 0] > 0
    posterior = profile_posterior(labeled, profiles)  # (S, users, U)
    weights = {"population": world.context_rate.expand_as(rate), "inferred": posterior @ profiles, "known": rate}
    found = {"user/context_free": ((test[:, free, ..., none] > 0) == truth).to(streams.dtype).mean(dim=(1, 2))}
    for name, p in weights.items():
        each = p[:, :, None].expand(-1, -1, truth.shape[-1], -1).flatten(0, 2)
        mixed = mixture_score(test[:, carm, ..., :none].flatten(0, 2), weights=each).view(truth.shape)
        found[f"user/{name}"] = ((mixed > 0.5) == truth).to(streams.dtype).mean(dim=(1, 2))
    return found


figure = partial(
    dots,
    series={name.removeprefix("rpr_").replace("_", " "): f"{name}/{{}}" for name in MEASURED},
    rows=ARMS,
    label="accuracy on reversals: by row, on both rows, in a wrong context, without one",
)
