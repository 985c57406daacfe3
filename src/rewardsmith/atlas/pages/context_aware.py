"""What looks like disagreement is often a question asked without its context: fix the context, then judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, LowerBound, PairedGain, Results, Within
from rewardsmith.auditing import context_sensitivity
from rewardsmith.data import Row
from rewardsmith.measures.contexts import context_error_bound
from rewardsmith.transforms import mixture_score
from rewardsmith.transforms.contexts import profile_posterior
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs, train_pairs
from rewardsmith.worlds.streams import sample_index

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


class Tastes(NamedTuple):
    """Pairs of responses, each judged under a context.

    features: (S, n, 2, J) how the responses look, the preferred first. context: (S, n) int64 under which. values:
    (S, n, 2, J) their qualities, in the same order.
    """

    features: Tensor
    context: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True)
class World:
    """Responses of J = 6 qualities, N(0, 1) each, seen through a rotation (S, J, J); under context z gold is quality z.

    Users mean one of the contexts; reward models are told so, or not.
    """

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
    def n_contexts(self) -> int:
        """J; as a context it stands for none given."""
        return len(self.rates)

    @property
    def context_rate(self) -> Tensor:
        """(J,) p(z), summing to 1."""
        rate = torch.tensor(self.rates, dtype=torch.float64)
        return rate / rate.sum()

    def rotation(self, streams: Streams) -> Tensor:
        """(S, J, J) orthogonal, drawn per seed."""
        rotation: Tensor = torch.linalg.qr(streams.randn(self.n_contexts, self.n_contexts)).Q
        return rotation

    def pairs(self, n: int, rotation: Tensor, streams: Streams) -> Tastes:
        """n pairs, each labeled under a context that is drawn from p(z)."""
        values = streams.randn(n, 2, self.n_contexts)
        context = sample_index(self.context_rate.expand(len(streams), n, -1), streams.rand(n))
        return judged(values, context, rotation)

    def reversals(self, n: int, rotation: Tensor, streams: Streams) -> Tastes:
        """2n rows: n pairs of responses, each under two contexts that prefer opposite ones; consecutive rows are one's.

        Contexts are drawn alike among those on each side. Where one response is better throughout, the two exchange a
        quality, so that there are two sides.
        """
        values, which = streams.randn(n, 2, self.n_contexts), streams.randint(self.n_contexts, n)
        wins = (values[:, :, 0] > values[:, :, 1]).sum(dim=-1)
        unsplit = (wins == 0) | (wins == self.n_contexts)
        swap = unsplit[..., None] & (which[..., None] == torch.arange(self.n_contexts))  # (S, n, J)
        values = torch.where(swap[:, :, None], values.flip(2), values)
        better = (values[:, :, 0] > values[:, :, 1]).to(streams.dtype)  # (S, n, J)
        sides = [side / side.sum(dim=-1, keepdim=True) for side in (better, 1 - better)]
        context = sample_index(torch.stack(sides, dim=2), streams.rand(n, 2)).flatten(1)  # (S, 2n)
        return judged(values.repeat_interleave(2, dim=1), context, rotation)


def looks(values: Tensor, rotation: Tensor) -> Tensor:
    """(S, ..., J) how responses of these qualities look."""
    return (values.flatten(1, -2) @ rotation.transpose(-1, -2)).view_as(values)


def judged(values: Tensor, context: Tensor, rotation: Tensor) -> Tastes:
    """The pairs (S, n, 2, J) with the response first that has more of what its context asks for."""
    gold = values.gather(-1, context[..., None, None].expand(-1, -1, 2, 1)).squeeze(-1)  # (S, n, 2)
    values = values.gather(2, gold.argsort(dim=-1, descending=True)[..., None].expand_as(values))
    return Tastes(looks(values, rotation), context, values)


def told(features: Tensor, context: Tensor, n_contexts: int) -> Tensor:
    """What a contextual reward model reads: the context, the response, and the one times the other.

    Args:
        features: (..., J) looks.
        context: (...) int64 in 0…n_contexts, the last of which stands for none given.

    Returns:
        (..., (J + 1)(n_contexts + 1) + J) with "none" among the contexts.
    """
    one_hot = torch.nn.functional.one_hot(context, n_contexts + 1).to(features)
    return torch.cat([one_hot, features, (one_hot[..., None] * features[..., None, :]).flatten(-2)], dim=-1)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Accuracy of each training set's reward model with and without context, the bound, and the user study."""
    streams = Streams(seeds)
    rotation = world.rotation(streams)
    models = trained(rotation, world, streams, broken)
    table = user_pairs(rotation, models, world, streams) | user_study(rotation, models, world, streams)
    table |= bound(rotation, models, world, streams)
    rows: list[dict[str, float]] = [{name: float(value[k]) for name, value in table.items()} for k in range(len(seeds))]
    for row, audited in zip(rows, reversals(rotation, models, world, streams), strict=True):
        row.update(audited)
    return rows


def trained(rotation: Tensor, world: World, streams: Streams, broken: bool) -> BatchedMLP:
    """One reward model per arm, all from one start; what each may see is a mask over all rows."""
    n, none = world.n_pairs, world.n_contexts
    mixed, reversed_ = world.pairs(n, rotation, streams), world.reversals(n // 2, rotation, streams)
    unknown = torch.full_like(mixed.context, none)
    weak = torch.where(streams.rand(n) < world.recorded, mixed.context, unknown)
    shuffled = reversed_.context.gather(-1, streams.randperm(2 * (n // 2)))
    carm = shuffled if broken else reversed_.context
    nothing = torch.full_like(carm, none)
    parts = [  # data, contexts told with the preferred and with the other response, arms
        (mixed, unknown, unknown, {"context_free"}),
        (mixed, weak, weak, {"weak", "carm_weak"}),
        (reversed_, carm, carm, {"carm", "carm_weak"}),
        (reversed_, shuffled, shuffled, {"permuted"}),
        (reversed_, reversed_.context, nothing, {"chosen_only"}),
    ]
    chosen = torch.cat([told(data.features[:, :, 0], c, none) for data, c, _, _ in parts], dim=1)
    rejected = torch.cat([told(data.features[:, :, 1], r, none) for data, _, r, _ in parts], dim=1)
    mask = torch.cat(
        [torch.tensor([arm in arms for arm in ARMS])[:, None].expand(-1, c.shape[1]) for _, c, _, arms in parts], dim=1
    )
    gold = torch.ones(chosen.shape[:2], dtype=streams.dtype)
    pairs = Pairs(chosen, rejected, gold, torch.zeros_like(gold), torch.zeros_like(gold, dtype=torch.bool))
    start = BatchedMLP((chosen.shape[-1], world.width, 1), lead=(len(streams), 1), streams=streams)
    return train_pairs(start.take([0] * len(ARMS)), pairs, streams=streams, steps=world.steps, mask=mask)


@torch.no_grad()
def scores(models: BatchedMLP, features: Tensor, context: Tensor, n_contexts: int) -> Tensor:
    """(S, M, ...) scores of responses (S, ..., J) under contexts (S, ...)."""
    inputs = told(features, context, n_contexts).flatten(1, -2)
    found: Tensor = models(inputs[:, None])
    return found.view(*found.shape[:2], *features.shape[1:-1])


def gaps(models: BatchedMLP, pairs: Tastes, context: Tensor, n_contexts: int) -> Tensor:
    """(S, M, n) score of the preferred response less that of the other, both under the context."""
    both = scores(models, pairs.features, context[..., None].expand(-1, -1, 2), n_contexts)
    return both[..., 0] - both[..., 1]


def user_pairs(rotation: Tensor, models: BatchedMLP, world: World, streams: Streams) -> dict[str, Tensor]:
    """Accuracy on pairs as users label them: told the right context, another, none, or as `chosen_only` was trained."""
    none = world.n_contexts
    pairs = world.pairs(world.n_test, rotation, streams)
    other = (pairs.context + 1 + streams.randint(none - 1, world.n_test)) % none
    found: dict[str, Tensor] = {}
    for name, context in (
        ("row_right", pairs.context),
        ("row_wrong", other),
        ("row_none", torch.full_like(pairs.context, none)),
    ):
        right = (gaps(models, pairs, context, none) > 0).to(streams.dtype).mean(dim=-1)
        found |= {f"{name}/{arm}": right[:, k] for k, arm in enumerate(ARMS)}
    leak = torch.stack([pairs.context, torch.full_like(pairs.context, none)], dim=-1)
    both = scores(models, pairs.features, leak, none)[:, ARMS.index("chosen_only")]
    found["row_leaked/chosen_only"] = (both[..., 0] > both[..., 1]).to(streams.dtype).mean(dim=-1)
    return found


def reversals(rotation: Tensor, models: BatchedMLP, world: World, streams: Streams) -> list[dict[str, float]]:
    """The audit on fresh reversals; responses are named by their numbers, and the reward looks their scores up."""
    none = world.n_contexts
    pairs = world.reversals(world.n_reversals, rotation, streams)
    first = Tastes(*(column[:, ::2] for column in pairs))  # a record's two responses, the better under x first
    every = torch.arange(none + 1).expand(len(streams), world.n_reversals, 2, -1)
    shown = first.features[..., None, :].expand(-1, -1, -1, none + 1, -1)
    table = scores(models, shown, every, none).numpy()  # (S, M, records, 2, contexts)
    rows: list[dict[str, float]] = []
    for seed in range(len(streams)):
        records = [
            Row(str(k), None, {"response_a": "0", "response_b": "1", "criteria_x": str(x), "criteria_y": str(y)})
            for k, (x, y) in enumerate(pairs.context[seed].view(-1, 2).tolist())
        ]
        row: dict[str, float] = {}
        for k, arm in enumerate(ARMS):
            found = context_sensitivity(partial(looked_up, table=table[seed, k]), records, template=None, workers=0)
            row |= {
                f"rpr_row/{arm}": found.row_acc.value,
                f"rpr_both/{arm}": found.paired_acc.value,
                f"wrong_context/{arm}": found.wrong_context_acc.value,
                f"no_context/{arm}": found.no_context_acc.value,
            }
        rows.append(row)
    return rows


def looked_up(
    prompts: list[str], completions: list[str], context: list[str | None], *, table: np.ndarray[Any, Any]
) -> list[float]:
    """The score of response `completion` of record `prompt` under a context; the last column is for none."""
    return [
        float(table[int(p), int(c), -1 if z is None else int(z)])
        for p, c, z in zip(prompts, completions, context, strict=True)
    ]


def bound(rotation: Tensor, models: BatchedMLP, world: World, streams: Streams) -> dict[str, Tensor]:
    """Error of the two-step preference and its bound, with p(z) known and with its logits disturbed."""
    none, carm = world.n_contexts, ARMS.index("carm")
    pairs = world.pairs(world.n_test, rotation, streams)
    margins = torch.stack(
        [gaps(models, pairs, torch.full_like(pairs.context, z), none)[:, carm] for z in range(none)], dim=-1
    )
    p_hat = torch.sigmoid(margins).numpy()  # (S, n, Z)
    p = (pairs.values[:, :, 0] > pairs.values[:, :, 1]).to(streams.dtype).numpy()
    noise = streams.randn(world.n_test, none)
    found: dict[str, Tensor] = {}
    violations = torch.zeros(len(streams), dtype=streams.dtype)
    for spread in (0.0, 0.3, 1.0):
        believed = (world.context_rate.log() + spread * noise).softmax(dim=-1).numpy()
        result = context_error_bound(believed, world.context_rate.numpy(), p_hat, p)
        violations += torch.from_numpy((result.error > result.bound + 1e-12).sum(axis=-1))
        violations += torch.from_numpy((result.error > result.centered + 1e-12).sum(axis=-1))
        for name in ("error", "bound", "centered"):
            found[f"{name}/context_noise_{spread:g}"] = torch.from_numpy(getattr(result, name).mean(axis=-1))
    return found | {"bound_violations/carm": violations}


def user_study(rotation: Tensor, models: BatchedMLP, world: World, streams: Streams) -> dict[str, Tensor]:
    """Accuracy on what each user prefers by majority, with the user known, inferred from labels, or not considered."""
    none, free, carm = world.n_contexts, ARMS.index("context_free"), ARMS.index("carm")
    own = streams.randint(none, world.n_users)  # (S, users)
    profiles = world.loyalty * torch.eye(none, dtype=streams.dtype) + (1 - world.loyalty) / none
    rate = profiles[own]  # (S, users, Z)
    n = world.n_labels + world.n_test // world.n_users
    values = streams.randn(world.n_users, n, 2, none)
    votes = ((values[..., 0, :] > values[..., 1, :]).to(streams.dtype) * 2 - 1) @ rate[..., None]  # (S, users, n, 1)
    context = sample_index(rate[:, :, None].expand(-1, -1, n, -1), streams.rand(world.n_users, n))
    meant = (values[..., 0, :] - values[..., 1, :]).gather(-1, context[..., None]).sign()  # (S, users, n, 1)
    seen = looks(values, rotation)
    under = torch.arange(none + 1).expand(*seen.shape[:4], -1)
    table = scores(models, seen[..., None, :].expand(-1, -1, -1, -1, none + 1, -1), under, none)
    margin = table[..., 0, :] - table[..., 1, :]  # (S, M, users, n, Z + 1) first response less second
    labeled = (meant * margin[:, carm, ..., :none])[:, :, : world.n_labels]
    test, truth = margin[:, :, :, world.n_labels :], votes[:, :, world.n_labels :, 0] > 0
    posterior = profile_posterior(labeled, profiles)  # (S, users, U)
    weights = {
        "population": world.context_rate.expand_as(rate),
        "inferred": posterior @ profiles,
        "known": rate,
    }
    found = {"user/context_free": ((test[:, free, ..., none] > 0) == truth).to(streams.dtype).mean(dim=(1, 2))}
    for name, p in weights.items():
        each = p[:, :, None].expand(-1, -1, truth.shape[-1], -1).flatten(0, 2)
        mixed = mixture_score(test[:, carm, ..., :none].flatten(0, 2), weights=each).view(truth.shape)
        found[f"user/{name}"] = ((mixed > 0.5) == truth).to(streams.dtype).mean(dim=(1, 2))
    return found


def figure(results: Results, axes: Axes) -> None:
    """Accuracy on reversals: row by row and both rows, beside a wrong context and none."""
    metrics = {"rpr_row": "row", "rpr_both": "both rows", "wrong_context": "wrong context", "no_context": "no context"}
    width = 0.8 / len(ARMS)
    for k, arm in enumerate(ARMS):
        means = [float(np.mean(results[f"{name}/{arm}"])) for name in metrics]
        axes.bar(np.arange(len(metrics)) + (k - 2.5) * width, means, width, label=arm.replace("_", " "))
    axes.axhline(0.5, color="gray", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(metrics)), list(metrics.values()))
    axes.set_ylabel("accuracy on reversals")
    axes.set_ylim(0.0, 1.0)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.45, -0.12))
