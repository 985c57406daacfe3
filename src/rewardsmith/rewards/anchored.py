"""Rewards relative to a fixed answer of the same prompt, which no offset of the prompt can change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rewardsmith._check import check_choice
from rewardsmith.rewards.models.encoding import key_of
from rewardsmith.rewards.models.pairwise import sigmoid
from rewardsmith.types import Completion, Text

Kind = Literal["prob", "logodds", "bt_sigmoid"]


@dataclass
class AnchorStore:
    """One answer per prompt to compare others with, replaced when the policy almost always beats it.

    A prompt's anchor is replaced after a batch in which its completions win more than `refresh_above` on average, by
    the completion with the median win. Without it the reward of an outgrown anchor is 1 for all, and teaches nothing.
    Each process of a training has its own store: let it see whole groups.

    Args:
        prompts, answers: the anchors, such as one sample of the reference policy per prompt, or the reference answers.
            An anchor of another quality is another objective where preferences are cyclic.
        refresh_above: a win rate, or None to keep the anchors.
        refreshed: how many were replaced.
    """

    prompts: Sequence[Text]
    answers: Sequence[Completion]
    refresh_above: float | None = None
    refreshed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._answers = dict(zip(map(key_of, self.prompts), self.answers, strict=True))

    def of(self, prompts: Sequence[Text]) -> list[Completion | None]:
        """Return the anchor of each prompt, None where there is none."""
        return [self._answers.get(key_of(prompt)) for prompt in prompts]

    def update(self, prompts: Sequence[Text], completions: Sequence[Completion], wins: Sequence[float | None]) -> None:
        """Replace the anchors that were beaten too often; `wins` are in [0, 1]."""
        if self.refresh_above is None:
            return
        groups: dict[str, list[tuple[float, int]]] = {}
        for place, (prompt, win) in enumerate(zip(prompts, wins, strict=True)):
            if win is not None:
                groups.setdefault(key_of(prompt), []).append((win, place))
        for key, group in groups.items():
            if math.fsum(win for win, _ in group) > self.refresh_above * len(group):
                self._answers[key] = completions[sorted(group)[(len(group) - 1) // 2][1]]
                self.refreshed += 1


def anchored_reward(
    prompts: list[Text],
    completions: list[Completion],
    *,
    judge: Callable[..., Sequence[float | None]],
    anchors: AnchorStore,
    kind: Kind = "prob",
    limit: float = 4.0,
    **columns: Any,
) -> list[float | None]:
    """Return how likely each completion y is better than the anchor y′ of its prompt.

        prob         s = ½ [ P(y, y′) + 1 − P(y′, y) ]               P(a, b): that the first answer, a, is better
        logodds      ½ [ logit P(y, y′) − logit P(y′, y) ]           at most ±limit
        bt_sigmoid   σ( r(y) − r(y′) )                               r: any scalar reward

    Xu et al. 2025, arXiv:2504.04950 (Pairwise-RL). Both orders cancel the judge's position bias. What makes the reward
    free of a prompt's offset is the anchor, so a scalar reward with "bt_sigmoid" has it too, at half the cost. A group
    mean removes the offset without any anchor: under GRPO or RLOO, anchor only to use a pairwise judge. Bind the
    options by `functools.partial`.

    Args:
        judge: (prompts, firsts, seconds) to P(the first is better), as `PairwiseReward.compare`; for "bt_sigmoid" a
            reward in TRL's contract, which gets the rows' columns. None is unscored.
        limit: of the log-odds.

    Returns:
        One number per row; None without an anchor, or where the judge gives none.

    >>> def longer(prompts, firsts, seconds):
    ...     return [0.75 if len(a) > len(b) else 0.25 for a, b in zip(firsts, seconds)]
    >>> anchored_reward(["?", "!"], ["long", "a"], judge=longer, anchors=AnchorStore(["?"], ["no"]))
    [0.75, None]
    """
    check_choice("anchored_reward", "kind", kind, get_args(Kind))
    found: list[float | None] = [None] * len(prompts)
    known = [(k, anchor) for k, anchor in enumerate(anchors.of(prompts)) if anchor is not None]
    asked, own = [prompts[k] for k, _ in known], [completions[k] for k, _ in known]
    theirs = [anchor for _, anchor in known]
    if kind == "bt_sigmoid":
        more = {name: [v[k] for k, _ in known] for name, v in columns.items() if isinstance(v, list)}
        both = tuple(judge(prompts=asked, completions=texts, **more) for texts in (own, theirs))
    else:
        both = (judge(asked, own, theirs), judge(asked, theirs, own))
    for (k, _), one, other in zip(known, *both, strict=True):
        if one is None or other is None or math.isnan(one) or math.isnan(other):
            continue
        if kind != "bt_sigmoid" and not (0 <= one <= 1 and 0 <= other <= 1):
            raise ValueError(
                f"anchored_reward: the judge gave {one} and {other}, and a probability lies in [0, 1]. Pass a judge of "
                'pairs, or kind="bt_sigmoid" with a scalar reward.'
            )
        if kind == "prob":
            found[k] = (one + 1 - other) / 2
        else:
            found[k] = sigmoid(one - other) if kind == "bt_sigmoid" else (_logit(one) - _logit(other)) / 2
    wins = found
    if kind == "logodds":
        wins = [None if value is None else sigmoid(value) for value in found]
        found = [None if value is None else min(max(value, -limit), limit) for value in found]
    anchors.update(prompts, completions, wins)
    return found


def _logit(p: float) -> float:
    """Return log p/(1 − p), finite where p has rounded to 0 or 1."""
    p = min(max(p, 1e-15), 1 - 1e-15)
    return math.log(p) - math.log1p(-p)
