"""DPO on pairs with their score as goal beats plain DPO; fine-tuning on the best-scored responses beats both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.data import GoalTemplate, PreferenceRow, reward_augmented
from rewardsmith.measures import goal_controllability, high_quality_unlearning
from rewardsmith.objectives import soft_label_dpo_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    LowerBound("gold_within/augmented", over="gold_within/dpo", above=2.0),
    LowerBound("gold_across/augmented", over="gold_across/dpo", above=0.8),
    PairedGain("gold_within/augmented_at_5", over="gold_within/augmented_at_2", at_least=0.0),
    PairedGain("gold_within/augmented_at_8", over="gold_within/augmented_at_5", at_least=0.0),
    PairedGain("gold_within/augmented", over="gold_within/augmented_at_8", at_least=0.0),
    LowerBound("unlearning/augmented", over="unlearning/dpo", above=5.0),
    # What must fail: goals in random order, and the goals of a pair exchanged.
    PairedGain("gold_across/shuffled", over="gold_across/reference", at_most=0.3),
    PairedGain("gold_across/goals_swapped", over="gold_across/reference", at_most=0.0),
    # The simple control: no pairs and no goals.
    PairedGain("gold_across/sft_on_best", over="gold_across/augmented", at_least=0.0),
)
GOALS = (2, 5, 8, 10)
LOWEST, HIGHEST, BINS = 1, 10, 10  # of scores


@dataclass(frozen=True, slots=True)
class World:
    """Prompts with four good responses, seldom given, and eight bad ones; pairs are scored with noise."""

    n_prompts: int = 20  # prompts
    n_pairs: int = 12  # scored pairs per prompt
    n_good: int = 4  # responses of a score of 6.5 to 10 per prompt
    n_bad: int = 8  # of a score of 1 to 4
    good_share: float = 0.15  # of the reference's probability
    noise: float = 0.5  # standard deviation of a score around gold
    beta: float = 0.05  # β
    tuned_beta: float = 0.2  # β of the arms that are tuned
    steps: int = 200  # of Adam
    learning_rate: float = 0.1  # of Adam, logits per step


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Train policies on pairs within a tier of quality, and on pairs of any two responses, with goals and without."""
    streams, n = Streams(seeds), world.n_good + world.n_bad
    good, spread = torch.arange(n) < world.n_good, streams.rand(world.n_prompts, n)
    gold = torch.where(good, 6.5 + 3.5 * spread, 1 + 3 * spread)  # (S, X, A)
    share = torch.where(good, world.good_share, 1 - world.good_share)
    weight = (0.5 * streams.randn(world.n_prompts, n)).exp()
    tier = torch.stack([good, ~good]).to(weight.dtype)  # (2, A)
    ref = (share * weight / ((weight @ tier.T) @ tier)).log()
    within, across = (arms_on(gold, ref, other, world, streams, broken) for other in (good, None))
    found = {f"{metric}_within": arms for metric, arms in within.items()}
    found |= {f"{metric}_across": arms for metric, arms in across.items()}
    found["unlearning"] = found.pop("unlearning_within")  # across, hardly any good response is rejected
    del found["unlearning_across"]
    return rows(found)


def arms_on(
    gold: Tensor, ref: Tensor, good: Tensor | None, world: World, streams: Streams, broken: bool
) -> dict[str, dict[str, Any]]:
    """Return gold, controllability and unlearning of policies that are trained on one draw of scored pairs.

    gold, ref: (S, X, A). good: (A,) the upper tier, where both responses of a pair are of one tier.
    """
    shape = (*ref.shape[:2], world.n_pairs, ref.shape[-1])
    first = sample_index(ref.exp()[:, :, None].expand(shape), streams.rand(*shape[1:3]))
    other = ref[:, :, None].expand(shape).scatter(-1, first[..., None], -torch.inf)
    other = other if good is None else other.masked_fill(good[first][..., None] != good, -torch.inf)
    pair = torch.stack([first, sample_index(other.softmax(dim=-1), streams.rand(*shape[1:3]))], dim=-1)  # (S, X, n, 2)
    scores = gold[:, :, None].expand(shape).gather(-1, pair) + world.noise * streams.randn(*pair.shape[1:])
    scores, order = scores.clamp(LOWEST, HIGHEST).sort(dim=-1, descending=True, stable=True)
    pair = pair.gather(-1, order)
    rejected = pair[..., 1]
    goal, asked, unasked, target = map(torch.stack, zip(*map(augmented, pair, scores), strict=True))
    mixed = goal.flatten(1).gather(1, streams.randperm(goal[0].numel())).view_as(goal)
    turned = goal.view(*rejected.shape, 2).flip(-1).view_as(goal)
    every, worth = pair.flatten(2), scores.flatten(2)  # all 2n responses of a prompt, and their scores
    left, right = torch.combinations(torch.arange(every.shape[-1])).unbind(-1)
    ends = torch.stack([every[..., left], every[..., right]], dim=-1)
    ends = ends.gather(-1, torch.stack([worth[..., left], worth[..., right]], dim=-1).argsort(dim=-1, descending=True))
    best = every.gather(-1, worth.argmax(dim=-1, keepdim=True))
    highest, loss = torch.full_like(goal[..., :1], HIGHEST), partial(pair_loss, ref, world.beta)
    one, both = torch.ones((), dtype=ref.dtype), torch.stack([asked, unasked], dim=-1)
    arms: dict[str, Callable[[Tensor], Tensor]] = {
        "dpo": partial(loss, highest, pair, one),
        "augmented": partial(loss, mixed if broken else goal, both, target),
        "shuffled": partial(loss, mixed, both, target),
        "goals_swapped": partial(loss, turned, both, target),
        "copies_as_labeled": partial(loss, goal, pair.repeat_interleave(2, dim=2), one),
        "all_pairs": partial(pair_loss, ref, world.tuned_beta, highest, ends, one),
        "regression": partial(score_loss, ref, world.tuned_beta, highest, pair, scores),
        "sft_on_best": lambda theta: -table(ref, highest, theta)[:, :, 0].gather(-1, best)[..., 0],
    }
    policies: dict[str, Tensor] = {}
    for arm, minimized in arms.items():
        policies[arm] = theta = torch.zeros(*ref.shape[:2], BINS, ref.shape[-1], dtype=ref.dtype, requires_grad=True)
        for _ in adam_steps([theta], world.steps, learning_rate=world.learning_rate):
            torch.autograd.backward(minimized(theta).mean(dim=-1).sum())

    tables = {arm: table(ref, highest, theta.detach()) for arm, theta in policies.items()}
    goals = torch.tensor(GOALS, dtype=ref.dtype).expand(*ref.shape[:2], -1)
    of_goals = table(ref, goals, policies["augmented"].detach())
    tables |= {f"augmented_at_{g}": of_goals[:, :, k : k + 1] for k, g in enumerate(GOALS)}
    tables["reference"] = ref[:, :, None]
    low, start = scores[..., 1], ref.gather(-1, rejected)
    after = {
        "dpo": tables["dpo"].expand(shape),
        "augmented": table(ref, low, policies["augmented"].detach()),  # each asked for at its own score
    }
    lost = {arm: values.gather(-1, rejected[..., None])[..., 0] for arm, values in after.items()}
    reached = (of_goals.exp() * gold[:, :, None]).sum(dim=-1)  # (S, X, G)
    return {
        "gold": {arm: (p.exp() * gold[:, :, None]).sum(dim=-1).mean(dim=(1, 2)) for arm, p in tables.items()},
        "control": {"augmented": [goal_controllability(*one).value for one in zip(goals, reached, strict=True)]},
        "unlearning": {arm: [unlearned(*one) for one in zip(p, start, low, strict=True)] for arm, p in lost.items()},
    }


def unlearned(after: Tensor, before: Tensor, scores: Tensor) -> float:
    """Return the mean change of the log-probability (X, n) of rejected responses that score like the good ones."""
    return high_quality_unlearning(after.flatten(), before.flatten(), scores.flatten(), least_score=6.5).shift.value


def augmented(pair: Tensor, scores: Tensor) -> list[Tensor]:
    """Rewrite one seed's pairs (X, n, 2) as rows of text; return goals, responses asked for and not, targets, (X, 2n).

    pair: the responses, chosen first. scores: (X, n, 2) theirs.
    """
    template, found = GoalTemplate("{goal} ", place="prefix"), []
    for responses, ratings in zip(pair.tolist(), scores.tolist(), strict=True):
        given = [
            PreferenceRow("?", str(chosen), str(rejected), ratings={"score": tuple(rating)})
            for (chosen, rejected), rating in zip(responses, ratings, strict=True)
        ]
        rewritten = reward_augmented(given, template=template, ties="soft")
        columns = [(row.prompt, row.chosen, row.rejected, row.columns.get("target", 1.0)) for row in rewritten]
        found.append([[float(str(value).removesuffix(" ?")) for value in row] for row in columns])
    goal, asked, unasked, target = torch.tensor(found, dtype=scores.dtype).unbind(dim=-1)
    return [goal, asked.long(), unasked.long(), target]


def table(ref: Tensor, goals: Tensor, theta: Tensor) -> Tensor:
    """Return (S, X, G, A) log-probabilities under goals (S, X, G).

    log π(y | x, g) = log π_ref(y | x) + Σ_b K_b(g) θ_xby + const.      K Gaussian of width 1 over bins b, of sum 1
    """
    kernel = (-(goals[..., None] - torch.arange(LOWEST, HIGHEST + 1)).square() / 2).softmax(dim=-1)
    return (ref[:, :, None] + kernel @ theta).log_softmax(dim=-1)


def margin(ref: Tensor, goals: Tensor, pair: Tensor, theta: Tensor) -> Tensor:
    """Return (S, X, n) differences of log-ratios to the reference, under one goal for all pairs or one for each."""
    ratio = (table(ref, goals, theta) - ref[:, :, None]).expand(-1, -1, pair.shape[2], -1).gather(-1, pair)
    return ratio[..., 0] - ratio[..., 1]


def pair_loss(ref: Tensor, beta: float, goals: Tensor, pair: Tensor, target: Tensor, theta: Tensor) -> Tensor:
    """Return (S, X) mean losses of direct preference optimization on pairs (S, X, n, 2), with soft labels."""
    h = beta * margin(ref, goals, pair, theta)
    return soft_label_dpo_loss(h, target.expand_as(h)).mean(dim=-1)


def score_loss(ref: Tensor, beta: float, goals: Tensor, pair: Tensor, scores: Tensor, theta: Tensor) -> Tensor:
    """Return (S, X) mean squared distances of β times the margin from the difference of the scores."""
    return (beta * margin(ref, goals, pair, theta) - scores[..., 0] + scores[..., 1]).square().mean(dim=-1)


figure = partial(dots, series={"pairs within a tier": "gold_within/{}", "of any two": "gold_across/{}"}, label="gold")
