"""Labels without a key: majority votes over sampled answers, across views of a question, and win rates in a group."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, NamedTuple

from rewardsmith._check import check_choice, check_range, check_same_shape, check_shape
from rewardsmith._torch import torch
from rewardsmith.data import text_of
from rewardsmith.types import Completion, Traits, declares

Verifier = Callable[[list[Any], list[Any]], Sequence[float | None]]
"""A reward of completions and reference answers, such as `rewards.math_equal`."""


class Vote(NamedTuple):
    """The answer with the most votes, in its first spelling, and its share of all answers, missing ones included."""

    label: str | None
    share: float


def canonical_answers(answers: Sequence[str | None], *, verifier: Verifier | None = None) -> list[str | None]:
    """Write every answer as the first one that it equals; None and "" are missing and become None.

    An answer is compared with the first of each class, and either may be the key: "5+7" and "12" are one answer where
    the verifier accepts "12" for the key "5+7".

    Args:
        verifier: None compares texts.

    >>> canonical_answers(["12", "12.0", None, "7"], verifier=lambda given, key: [
    ...     float(float(g) == float(k)) for g, k in zip(given, key)])
    ['12', '12', None, '7']
    """
    known: dict[str, str] = {}
    firsts: list[str] = []
    for answer in answers:
        if answer is None or answer == "" or answer in known:
            continue
        same: list[int] = []
        if verifier is not None and firsts:
            again = [answer] * len(firsts)
            verdicts = [*verifier(again, firsts), *verifier(firsts, again)]
            same = [place % len(firsts) for place, verdict in enumerate(verdicts) if verdict == 1.0]
        known[answer] = firsts[min(same)] if same else answer
        if not same:
            firsts.append(answer)
    return [None if answer is None or answer == "" else known[answer] for answer in answers]


def majority_vote(
    answers: Sequence[str | None],
    *,
    weights: Sequence[float] | None = None,
    verifier: Verifier | None = None,
    generator: torch.Generator | None = None,
) -> Vote:
    """Return the most frequent answer and its share.

    Args:
        answers: None or "" where a completion has none; they cast no vote and count in the share.
        weights: of the votes, at least 0; 1 each if None.
        verifier: as in `canonical_answers`.
        generator: draws among tied answers. With None a tie has no label: the first of them would depend on the order.

    >>> majority_vote(["4", "5", "4", None])
    Vote(label='4', share=0.5)
    >>> majority_vote(["4", "5"]).label is None
    True
    """
    counted = [1.0] * len(answers) if weights is None else [float(weight) for weight in weights]
    if len(counted) != len(answers):
        raise ValueError(f"majority_vote: {len(counted)} weights for {len(answers)} answers. Pass one per answer.")
    for weight in counted:
        check_range("majority_vote", "a weight", weight, 0.0, math.inf)
    votes: dict[str, float] = defaultdict(float)
    for answer, weight in zip(canonical_answers(answers, verifier=verifier), counted, strict=True):
        if answer is not None:
            votes[answer] += weight
    most = max(votes.values(), default=0.0)
    if most <= 0:
        return Vote(None, 0.0)
    tied = [answer for answer, count in votes.items() if count == most]
    share = most / sum(counted)
    if len(tied) > 1:
        if generator is None:
            return Vote(None, share)
        tied = [tied[int(torch.randint(len(tied), (), generator=generator))]]
    return Vote(tied[0], share)


@declares(Traits(scope="batch", affine=False, bounded=(0.0, 1.0)))
def cross_view_rewards(
    rewards: torch.Tensor,
    *,
    completion: Sequence[Completion],
    pair_id: Sequence[Hashable] | torch.Tensor,
    view: Sequence[Hashable] | torch.Tensor,
    extract: Callable[[str], str | None] = str.strip,
    verifier: Verifier | None = None,
    voters: Literal["other", "own", "both"] = "other",
    soft: bool = False,
    least_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Reward agreement with the majority answer to another view of the same question, such as a paraphrase.

        R_i = 1[ a_i = mode of the other view's answers ]         soft: R_i = the share of those answers that equal a_i

    Zhang et al. 2025, arXiv:2508.00410 (Co-Reward), without labels. Use it as the `transform` of our `GRPOTrainer`,
    which fills the columns. All completions of both views must be in one batch, so put the views of a question next to
    each other and set `shuffle_dataset=False`. The soft share did better than the vote in our measurements. Where both
    views tend to wrong answers and the truth is rare, agreement drives collapse: watch the answers of different
    questions (`measures.answer_entropy`), as one constant satisfies agreement too.

    Differs: the paper compares strings and breaks ties by order.

    Args:
        rewards: (B,) NaN where a completion is unscored: it does not vote and stays NaN. The values are not read.
        completion: B completions.
        pair_id, view: B each: the question, and the view of it.
        extract: finds the answer in a completion's text, None or "" for none, such as
            `rewards.verifiers.final_answer.final_answer`. A completion without an answer gets 0 and casts no vote.
        verifier: decides which answers are equal, such as `rewards.math_equal`; None compares texts.
        voters: the label's source: the other views, the completion's own one (TTRL), or both.
        least_share: a vote of a smaller share has no label.
        generator: as in `majority_vote`, with the same seed on each process; with None a tie has no label.

    Returns:
        (B,); NaN where the question's voters give no label, so that these rows train nothing.

    >>> columns = {"completion": ["4", "5", "4", "4"], "pair_id": [7, 7, 7, 7], "view": ["a", "a", "b", "b"]}
    >>> cross_view_rewards(torch.zeros(4), **columns)
    tensor([1., 0., nan, nan])
    """
    check_choice("cross_view_rewards", "voters", voters, ("other", "own", "both"))
    check_range("cross_view_rewards", "least_share", least_share, 0.0, 1.0)
    check_shape("cross_view_rewards", "rewards", rewards, len(completion))
    scored = (~rewards.isnan()).tolist()
    answers = [extract(text_of(text)) for text in completion]
    pair_id, view = (names.tolist() if isinstance(names, torch.Tensor) else names for names in (pair_id, view))
    for column, values in (("pair_id", pair_id), ("view", view)):
        if len(values) != len(completion):
            raise ValueError(
                f"cross_view_rewards: {column} has {len(values)} values for {len(completion)} completions. Pass one "
                "per completion."
            )
    questions: dict[Hashable, list[int]] = defaultdict(list)
    for row, question in enumerate(pair_id):
        if scored[row]:
            questions[question].append(row)
    found = torch.full_like(rewards, torch.nan)
    for rows in questions.values():
        names = dict(zip(rows, canonical_answers([answers[row] for row in rows], verifier=verifier), strict=True))
        for side in dict.fromkeys(view[row] for row in rows):
            own = [row for row in rows if view[row] == side]
            others = [row for row in rows if view[row] != side]
            cast = [names[row] for row in {"other": others, "own": own, "both": rows}[voters]]
            label, share = majority_vote(cast, generator=generator)
            if share < least_share or not share or (label is None and not soft):
                continue
            for row in own:
                name = names[row]
                agreed = cast.count(name) / len(cast) if soft else float(name == label)
                found[row] = 0.0 if name is None else agreed
    return found


def self_play_winrate(
    preferences: torch.Tensor, *, mask: torch.Tensor | None = None, self_weight: float = 0.0
) -> torch.Tensor:
    """Return each completion's expected win rate against its own group, the reward of self-play.

        r_i = ( Σ_{j≠i} p_ij + w/2 ) / ( #{j≠i} + w )         p_ij = mean of P_ij and 1 − P_ji, both orders of a judge

    Rosset et al. 2024, arXiv:2404.03715 (DNO): σ(r_i − r_j) is the target of its regression, and r alone a reward for
    GRPO. The mean of both orders cancels a position bias, so that p + pᵀ = 1. A tie is ½.

    Args:
        preferences: (B, K, K) P(y_i ≻ y_j) ∈ [0, 1], NaN where not compared; the diagonal is not read.
        mask: (B, K) True where there is a completion; all if None.
        self_weight: w ≥ 0, the weight of the comparison with oneself, which is ½.

    Returns:
        (B, K) in [0, 1]; NaN where masked or without an opponent.

    >>> self_play_winrate(torch.tensor([[[0.5, 0.9], [0.3, 0.5]]]))
    tensor([[0.8000, 0.2000]])
    """
    check_shape("self_play_winrate", "preferences", preferences, None, preferences.shape[-1], preferences.shape[-1])
    k = preferences.shape[-1]
    present = torch.ones_like(preferences[..., 0], dtype=torch.bool) if mask is None else mask.bool()
    check_same_shape("self_play_winrate", present, preferences[..., 0])
    both = torch.stack([preferences, 1 - preferences.transpose(1, 2)])
    p = both.nanmean(dim=0)
    counts = ~p.isnan() & present[:, :, None] & present[:, None, :] & ~torch.eye(k, dtype=torch.bool, device=p.device)
    if outside := [value for value in p[counts].tolist() if not 0 <= value <= 1]:
        raise ValueError(
            f"self_play_winrate: {len(outside)} preferences lie outside [0, 1], such as {outside[0]:g}. Pass "
            "probabilities, such as a sigmoid of scores."
        )
    n = counts.sum(dim=2)
    won = torch.where(counts, p, 0.0).sum(dim=2) + self_weight / 2
    known = present & (n > 0)
    return torch.where(known, won / torch.where(known, n + self_weight, 1.0), torch.nan)
