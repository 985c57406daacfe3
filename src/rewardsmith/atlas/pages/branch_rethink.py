"""Read two criteria closely in place of eight at once: choosing them pays, and labels alone choose them as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.advantages import gated_format, group_zscore
from rewardsmith.atlas.criteria import All, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.rewards import staged_verdict_reward
from rewardsmith.types import Completion
from rewardsmith.worlds import Streams
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("accuracy/branch", over="accuracy/one_shot", at_least=0.08),
    PairedGain("accuracy/branch_half_effort", over="accuracy/one_shot", at_least=0.04),
    PairedGain("accuracy/supervised", over="accuracy/branch", at_least=-0.01),  # the simple control
    PairedGain("accuracy_40/malformed_gated", over="accuracy_40/malformed_100", at_least=0.05),
)
EARLY, BATCH, GROUP, FEW = 40, 32, 8, (100, 500)  # updates; pairs, and traces of each, per update; labels
ARMS: dict[str, tuple[int | None, float, float, bool]] = {  # labels or None for all; effort; F, 0 if all is read; gate
    "branch": (None, 1.0, 0.0, False),
    "branch_100": (100, 1.0, 0.0, False),
    "branch_500": (500, 1.0, 0.0, False),
    "branch_half_effort": (None, 0.5, 0.0, False),
    "malformed_1": (None, 1.0, 1.0, False),
    "malformed_100": (None, 1.0, 100.0, False),
    "malformed_gated": (None, 1.0, 100.0, True),
}


@dataclass(frozen=True, slots=True)
class World:
    """Pairs of answers with levels per criterion, read m at a time with noise of variance noise² · m^diffusion."""

    n_types: int = 10  # types of task
    n_criteria: int = 8  # criteria, with levels 0 to 3
    n_critical: int = 2  # of them, drawn per type, decide: gold is the sign of the sum of their differences
    n_branches: int = 2  # criteria chosen in the first turn
    noise: float = 0.6  # σ of a criterion that is read alone
    diffusion: float = 1.0  # 0 if reading several at once costs nothing
    n_labels: int = 9600  # labeled pairs
    updates: int = 300  # of Adam
    learning_rate: float = 0.1  # of Adam
    malformed: float = 0.1  # share of malformed traces, in the arms that have some
    ridge: float = 1.0  # of the logistic regressions
    n_test: int = 4000  # fresh pairs


class Pairs(NamedTuple):
    """Labeled pairs: kind (S, n) int64; difference (S, n, K) of levels; label (S, n), 1.0 where the first is better."""

    kind: Tensor
    difference: Tensor
    label: Tensor


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure the accuracy of judges that read all criteria or a few, by how they found the few."""
    world, streams = replace(world, diffusion=0.0) if broken else world, Streams(seeds)
    critical = top(streams.rand(world.n_types, world.n_criteria), world.n_critical)
    known, test = (pairs(n, critical, world, streams) for n in (world.n_labels, world.n_test))
    once, again = (streams.randn(world.n_labels, world.n_criteria) for _ in range(2))
    fresh, choice = streams.randn(world.n_test, world.n_criteria), gumbel(streams, world.n_test, world.n_criteria)

    def tested(weight: Tensor, effort: float = 1.0) -> Tensor:
        return right(test, at(weight, test.kind), fresh, world, effort).mean(dim=1)

    def few(score: Tensor, effort: float = 1.0) -> Tensor:
        criteria = top(at(score, test.kind) + choice, world.n_branches)
        return right(test, criteria, fresh, world, effort).mean(dim=1)

    found = {
        metric: {arm: few(logits[:, k], effort) for k, (arm, (_, effort, *_)) in enumerate(ARMS.items())}
        for metric, logits in zip((f"accuracy_{EARLY}", "accuracy"), branching(known, world, streams), strict=True)
    }
    accuracy = found["accuracy"]
    for name, effort in {"one_shot": 1.0, "one_shot_double_effort": 2.0, "one_shot_four_efforts": 4.0}.items():
        accuracy[name] = tested(regressed(known, once, world, effort), effort)
    for n in FEW:
        some, traces = Pairs(*(part[:, :n] for part in known)), world.updates * BATCH * GROUP / n
        for name, effort in {"": 1.0, "_reread": traces}.items():  # training by reward reads a label so often
            weight = top(regressed(some, once[:, :n], world, effort), world.n_branches)
            accuracy[f"supervised_{n}{name}"] = tested(weight)
    weight = regressed(known, once, world)
    sets = torch.stack([top(weight, m) for m in range(1, world.n_criteria + 1)])
    accuracy["supervised"] = tested(sets[world.n_branches - 1])
    held = torch.stack([right(known, at(one, known.kind), again, world).mean(dim=1) for one in sets])
    accuracy["supervised_any_number"] = tested(sets[held.argmax(dim=0), torch.arange(len(weight))])
    accuracy["random"] = few(torch.zeros_like(critical))
    return rows(found)


def top(score: Tensor, n: int) -> Tensor:
    """Return (..., K) 1.0 at the n largest scores, else 0."""
    return torch.zeros_like(score).scatter(-1, score.topk(n, dim=-1).indices, 1.0)


def gumbel(streams: Streams, *shape: int) -> Tensor:
    """Draw Gumbel's noise: the largest of logits plus noise are a draw without replacement, in its order."""
    return -(-streams.rand(*shape).clamp_min(1e-300).log()).log()


def pairs(n: int, critical: Tensor, world: World, streams: Streams) -> Pairs:
    """Draw n pairs that differ in gold, of kinds with critical criteria (S, T, K)."""
    kind, size = streams.randint(world.n_types, 2 * n), (2 * n, world.n_criteria)
    difference = (streams.randint(4, *size) - streams.randint(4, *size)).to(critical.dtype)
    gold = (difference * at(critical, kind)).sum(dim=-1)
    kept = (gold == 0).long().argsort(dim=1, stable=True)[:, :n]
    return Pairs(at(kind, kept), at(difference, kept), (at(gold, kept) > 0).to(gold.dtype))


def at(table: Tensor, index: Tensor) -> Tensor:
    """Return (S, ...) the entries, or rows, of tables (S, n) or (S, n, K) at indices (S, ...)."""
    return table[torch.arange(len(table)).view(-1, *[1] * (index.dim() - 1)), index]


def noise_of(n_read: Tensor | float, world: World, effort: float) -> Tensor:
    """Return the standard deviation with which a criterion is seen among so many."""
    return torch.as_tensor(n_read, dtype=torch.float64).pow(world.diffusion / 2).mul(world.noise / effort**0.5)


def right(asked: Pairs, weight: Tensor, normal: Tensor, world: World, effort: float = 1.0) -> Tensor:
    """Return (S, n) 1.0 where the weighted readings of criteria have the sign of gold; weights of 0 are not read."""
    seen = asked.difference + noise_of((weight != 0).sum(dim=-1, keepdim=True), world, effort) * normal
    return (((weight * seen).sum(dim=-1) > 0) == (asked.label > 0)).to(normal.dtype)


def regressed(known: Pairs, normal: Tensor, world: World, effort: float = 1.0) -> Tensor:
    """Fit logistic regressions (S, T, K) of labels on readings of all criteria, by Newton's method."""
    x = known.difference + noise_of(world.n_criteria, world, effort) * normal
    own = torch.nn.functional.one_hot(known.kind, world.n_types).to(x.dtype).transpose(1, 2)  # (S, T, n)
    outer = (x[..., None] * x[..., None, :]).flatten(2)  # (S, n, K²)
    weight, ridge = x.new_zeros(len(x), world.n_types, x.shape[-1]), world.ridge * torch.eye(x.shape[-1], dtype=x.dtype)
    for _ in range(8):
        p = torch.sigmoid((at(weight, known.kind) * x).sum(dim=-1, keepdim=True))
        slope = own @ ((known.label[..., None] - p) * x) - world.ridge * weight
        curvature = (own @ (p * (1 - p) * outer)).view(*weight.shape, -1) + ridge
        weight = weight + torch.linalg.solve(curvature, slope)
    return weight


def prices(malformed: float) -> Tensor:
    """Return the (2, 3) reward of a trace: by the label, and by the verdict that it ends on, the last being none."""
    ends = (r"\boxed{1}", r"\boxed{2}", "Both are fine.")
    turns: list[Completion] = [
        [{"role": "assistant", "content": text} for text in ("<criteria>logic</criteria>", end)] for end in ends
    ]
    paid = [staged_verdict_reward(turns, [label] * 3, malformed=-malformed) for label in (0, 1)]
    return torch.tensor(paid, dtype=torch.float64)


def branching(known: Pairs, world: World, streams: Streams) -> tuple[Tensor, Tensor]:
    """Train the first turn of each arm by its reward; return logits (S, A, T, K) after few updates and after all."""
    shape, arm = (1, BATCH, GROUP, world.n_criteria), torch.arange(len(ARMS))[:, None, None]
    logits = torch.zeros(len(streams), len(ARMS), world.n_types, world.n_criteria, dtype=torch.float64)
    early, logits = logits, logits.requires_grad_()
    labels = torch.tensor([n or world.n_labels for n, *_ in ARMS.values()])[:, None]
    sd = torch.stack([noise_of(world.n_branches, world, effort) for _, effort, *_ in ARMS.values()])
    share = torch.tensor([world.malformed * bool(price) for *_, price, _ in ARMS.values()])[:, None, None]
    paid = torch.stack([prices(price) for *_, price, _ in ARMS.values()])
    for step in adam_steps([logits], world.updates, learning_rate=world.learning_rate):
        early = logits.detach().clone() if step == EARLY else early
        item = (streams.rand(1, BATCH) * labels).long()
        kind, difference, label = (at(part, item) for part in known)  # (S, A, B) and (S, A, B, K)
        scores = at(logits.flatten(1, 2), arm[..., 0] * world.n_types + kind)
        chosen = (scores.detach()[..., None, :] + gumbel(streams, *shape)).topk(world.n_branches, dim=-1).indices
        seen = difference[..., None, :] + sd[:, None, None, None] * streams.randn(*shape)
        verdict = (seen.gather(-1, chosen).sum(dim=-1) <= 0).long()  # (S, A, B, G)
        verdict = torch.where(streams.rand(*shape[:3]) < share, 2, verdict)
        credit = credits(paid[arm, (1 - label).long()[..., None], verdict])
        torch.autograd.backward(-(credit * choice_logps(scores, chosen)).mean(dim=(2, 3)).sum())
    return early, logits.detach()


def credits(rewards: Tensor) -> Tensor:
    """Return the advantages (S, A, B, G) of rewards, z-scores in groups; gated arms leave malformed traces out."""
    found = []
    for own, (*_, price, gated) in zip(rewards.unbind(1), ARMS.values(), strict=True):
        estimate = partial(gated_format, malformed=-price) if gated else group_zscore
        found.append(estimate(own.flatten(), group_size=GROUP).view_as(own))
    return torch.stack(found, dim=1)


def choice_logps(scores: Tensor, chosen: Tensor) -> Tensor:
    """Return (..., G) log-probabilities of ordered choices (..., G, c) without replacement, by logits (..., K)."""
    left = scores[..., None, :].expand(*chosen.shape[:-1], -1)
    total = left.gather(-1, chosen).sum(dim=-1)
    for pick in chosen.unbind(dim=-1):
        total = total - left.logsumexp(dim=-1)
        left = left.scatter(-1, pick[..., None], -torch.inf)
    return total


figure = partial(
    dots,
    series={"accuracy": "accuracy/{}"},
    rows=("branch", "branch_100", "branch_half_effort", "supervised", "supervised_100", "supervised_100_reread",
          "one_shot", "one_shot_double_effort", "one_shot_four_efforts", "random"),
    label="share of pairs judged right",
)  # fmt: skip
