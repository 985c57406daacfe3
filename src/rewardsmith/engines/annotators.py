"""Annotators of self-training: labels that a policy, a judge or votes give to completions, without a key.

Each is an `engines.rounds.Annotate` once `functools.partial` has bound its keywords, which map a round to a reward or
to comparers. So a judge is that of the round's own policy, or a fixed model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch

from rewardsmith.data import Row
from rewardsmith.engines.rounds import Annotation, Round, Score, finite, scored, whole
from rewardsmith.errors import RewardsmithError
from rewardsmith.measures import agreement, rank_consistency
from rewardsmith.rewards import ImplicitReward
from rewardsmith.rewards.models.pairwise import sigmoid
from rewardsmith.scoring.calling import Unscored
from rewardsmith.transforms import cross_view_rewards, self_play_winrate
from rewardsmith.types import Completion, Text

Compare = Callable[[Sequence[Text], Sequence[Completion], Sequence[Completion]], Sequence[float | None]]
"""P(the first answer is better) in this order, such as `PairwiseReward.compare`."""
Texts = Sequence[Sequence[str]]


def by_reward(at: Round, rows: Sequence[Row], texts: Texts, *, reward: Callable[[Round], Score]) -> list[Annotation]:
    """Score completions by a reward, such as `ImplicitScores` or a likelihood of follow-ups.

    Zhang et al. 2024, arXiv:2409.13948: mine pairs from scores with a gap.
    """
    return [Annotation(scores) for scores in scored("the reward", reward(at), rows, texts)]


def by_rank_consistency(
    at: Round,
    rows: Sequence[Row],
    texts: Texts,
    *,
    reward: Callable[[Round], Score],
    before: Callable[[Round], Score],
    method: Literal["kendall", "spearman", "top"] = "kendall",
) -> list[Annotation]:
    """Score completions, with a soft label as strong as the ranking agrees with that of another scorer.

        target = clamp(C, ½, 1),   C = (τ_b(r, r′) + 1)/2

    Wang et al. 2024, arXiv:2410.12735 (CREAM), with `before` the last round's policy. Differs: below ½ the published
    code trains the pair the other way around; a missing C leaves the prompt out, not at the mean. A constant label
    smoothing, or fewer steps on hard labels, gained as much in our measurements: run them beside it.
    """
    now, then = (scored("the reward", of(at), rows, texts) for of in (reward, before))
    width = max(map(len, now), default=0)
    tables = [[[math.nan if s is None else s for s in own] + [math.nan] * (width - len(own)) for own in table]
              for table in (now, then)]  # fmt: skip
    found = rank_consistency(*tables, method=method).tolist() if width else []
    return [
        Annotation([None] * len(scores)) if math.isnan(c) else Annotation(scores, c, {"target": min(max(c, 0.5), 1.0)})
        for scores, c in zip(now, found, strict=True)
    ]


def by_win_rate(
    at: Round, rows: Sequence[Row], texts: Texts, *, compare: Callable[[Round], Compare], soft: bool = True
) -> list[Annotation]:
    """Score each completion by its win rate against the others, in both orders.

        r_i = mean_{j≠i} P(y_i ≻ y_j),   target = σ(r⁺ − r⁻)

    Rosset et al. 2024, arXiv:2404.03715 (DNO). Average the rounds' policies, or keep a KL to a fixed one: on cyclic
    preferences the last policy alone keeps rotating.

    Args:
        soft: False leaves hard labels, which with a gap are DNO-Prct, and no longer the Nash algorithm.
    """
    places = [list(permutations(range(len(own)), 2)) for own in texts]
    found = iter(_compared(compare(at), rows, texts, places))
    labels = []
    for own, orders in zip(texts, places, strict=True):
        table = torch.full((len(own), len(own)), torch.nan, dtype=torch.float64)
        for i, j in orders:
            table[i, j] = next(found)
        scores = [finite(rate) for rate in self_play_winrate(table[None])[0].tolist()]
        rates = [rate for rate in scores if rate is not None]
        columns = {"target": sigmoid(max(rates) - min(rates))} if soft and rates else {}
        mean = torch.stack([table, 1 - table.T]).nanmean(dim=0)
        labels.append(Annotation(scores, None, columns, [[finite(p) for p in line] for line in mean.tolist()]))
    return labels


def by_agreement(
    at: Round,
    rows: Sequence[Row],
    texts: Texts,
    *,
    views: Callable[[Round], Sequence[Compare]],
    threshold: float | None = 0.5,
    least_confidence: float = 0.0,
    soft: bool = False,
) -> list[Annotation]:
    """Keep a prompt's surest comparison on which all views agree; its two completions alone are scored.

    Zhou et al. 2025, arXiv:2502.08922 (SCIR), with two completions per prompt and the views of one model: its judge in
    both orders (`swapped`) and its implicit reward (`differences`). Pair with `least_distinct=2`. Labels are of the
    round's start; `IterativePreferenceRun(labelings=…)` refreshes them within it. Agreement is no accuracy. Training on
    all pairs with the mean probability as label did better in our measurements: threshold=None, soft=True.

    Args:
        threshold, least_confidence: as in `measures.agreement`; a threshold of None keeps every pair.
        soft: label with the mean probability in place of a hard one.
    """
    places = [list(combinations(range(len(own)), 2)) for own in texts]
    found = [_compared(view, rows, texts, places) for view in views(at)]
    probabilities = torch.tensor(found, dtype=torch.float64)
    means: list[float] = probabilities.mean(dim=0).tolist()
    mask = [math.isfinite(mean) for mean in means]
    if threshold is not None:
        mask = agreement(probabilities, threshold=threshold, least_confidence=least_confidence).mask.tolist()
    labels, start = [], 0
    for own, pairs in zip(texts, places, strict=True):
        here = range(start, start + len(pairs))
        start += len(pairs)
        scores: list[float | None] = [None] * len(own)
        agreed = [place for place in here if mask[place]]
        share = len(agreed) / len(pairs) if pairs else None
        columns = {}
        if agreed:
            best = max(agreed, key=lambda place: abs(means[place] - 0.5))
            first, second = pairs[best - here.start]
            scores[first], scores[second] = means[best], 1 - means[best]
            columns = {"target": max(means[best], 1 - means[best])} if soft else {}
        labels.append(Annotation(scores, share, columns))
    return labels


def by_vote(at: Round, rows: Sequence[Row], texts: Texts, **options: Any) -> list[Annotation]:
    """Score completions by the vote on another view of the question, `transforms.cross_view_rewards`.

    Rows name their question and view in columns `pair_id` and `view`; both views must be in one chunk of the run.
    Without the columns, pass voters="own". `agreement` is the share of completions that agree with their label.
    """
    flat = [(place, row) for place, (row, own) in enumerate(zip(rows, texts, strict=True)) for _ in own]
    rewards: list[float] = cross_view_rewards(
        torch.zeros(len(flat)),
        completion=[text for own in texts for text in own],
        pair_id=[row.columns.get("pair_id", place) for place, row in flat],
        view=[row.columns.get("view", 0) for _, row in flat],
        **options,
    ).tolist()
    rest = iter(rewards)
    scores = [[finite(next(rest)) for _ in own] for own in texts]
    shares = [[score for score in own if score is not None] for own in scores]
    return [Annotation(own, fmean(known) if known else None) for own, known in zip(scores, shares, strict=True)]


def swapped(compare: Compare) -> Compare:
    """Return the view of a comparer that reads the answers in the other order, as P(the first is better)."""

    def view(
        prompts: Sequence[Text], firsts: Sequence[Completion], seconds: Sequence[Completion]
    ) -> list[float | None]:
        return [None if p is None else 1 - p for p in compare(prompts, seconds, firsts)]

    return view


def differences(reward: Score) -> Compare:
    """Return the view of a reward whose differences are log-odds: σ(r₁ − r₂)."""

    def view(
        prompts: Sequence[Text], firsts: Sequence[Completion], seconds: Sequence[Completion]
    ) -> list[float | None]:
        one, other = (reward(prompts=list(prompts), completions=list(texts)) for texts in (firsts, seconds))
        return [None if a is None or b is None else sigmoid(a - b) for a, b in zip(one, other, strict=True)]

    return view


@dataclass(frozen=True)
class ImplicitScores:
    """The implicit reward of a round's policy, or of the one before it, against the run's base.

        r(x, y) = log π(y|x) − log π_base(y|x), summed over tokens
        r(x, y) = (1/|y|) log π_base(y|x)   where the previous policy is the base

    Wang et al. 2024, arXiv:2410.12735: before the first round there is no earlier policy, and the base's mean
    log-likelihood stands in, another quantity, whose ranking agrees with the reward's by chance at times.

    Args:
        load: maps a folder to its causal language model. tokenizer: of all of them.
        of: "policy" or "previous".
        beta: scales the reward, which matters for probabilities and not for rankings.
    """

    load: Callable[[Path], Any]
    tokenizer: Any
    of: Literal["policy", "previous"] = "policy"
    beta: float = 1.0
    _built: dict[tuple[Path, Path], ImplicitReward] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, at: Round) -> Score:
        """Return the reward; the models of one round stay loaded."""
        folder = getattr(at, self.of)
        if folder == at.base and self.of == "policy":
            raise RewardsmithError(
                "ImplicitScores: the policy is the base, so every implicit reward is 0. Start from a trained policy, "
                "and pass the model before its training as base."
            )
        if (folder, at.base) not in self._built:
            self._built.clear()
            base = self.load(at.base)
            policy = base if folder == at.base else self.load(folder)
            self._built[folder, at.base] = ImplicitReward(policy, base, self.tokenizer, beta=self.beta)
        reward = self._built[folder, at.base]
        return _mean_likelihood(reward) if folder == at.base else reward


def _mean_likelihood(reward: ImplicitReward) -> Score:
    """Return the mean log-probability of a token under the reference."""

    def scores(prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        encoded = reward.encoded(prompts, completions)
        rows = [item for item in encoded if not isinstance(item, Unscored)]
        sums = iter(zip(reward.reference_scanner.run(rows, reward.read), rows, strict=True))
        found: list[float | None] = []
        for item in encoded:
            if isinstance(item, Unscored):
                found.append(None)
            else:
                [total], row = next(sums)
                found.append(total / max(len(row.reads), 1))
        return found

    return scores


def _compared(
    compare: Compare, rows: Sequence[Row], texts: Texts, places: Sequence[Sequence[tuple[int, int]]]
) -> list[float]:
    """Return P(first is better) of the named completions, prompt by prompt; NaN where unknown."""
    asked = [
        (row.prompt, own[i], own[j]) for row, own, pairs in zip(rows, texts, places, strict=True) for i, j in pairs
    ]
    prompts, firsts, seconds = (list(column) for column in zip(*asked, strict=True)) if asked else ([], [], [])
    found = whole("the comparer", compare(prompts, firsts, seconds), len(asked), "comparison")
    chances = [math.nan if p is None else float(p) for p in found]
    for p in chances:
        if p < 0 or p > 1:
            raise RewardsmithError(
                f"Annotator: the comparer returned {p} as P(the first is better), outside [0, 1]. Return a "
                "probability; the sigmoid makes one of a difference of scores."
            )
    return chances
