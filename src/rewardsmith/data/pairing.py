"""Preference pairs from scored completions, and pairs that ask for the score which a completion has."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from rewardsmith._check import check_choice, check_range
from rewardsmith.data.preferences import PreferenceRow
from rewardsmith.data.rows import text_of
from rewardsmith.errors import RowsError
from rewardsmith.types import Text

SCORE = "score"
_OWN = ("prompt", "prompt_id", "completion", SCORE, "teacher")


def best_worst_pairs(
    rows: Iterable[Mapping[str, Any]],
    *,
    gap: float = 0.0,
    least_distinct: int = 3,
    least_chosen: float | None = None,
    allow_teacher: Literal["both", "chosen", "neither"] = "both",
) -> list[PreferenceRow]:
    """Pair each prompt's best completion with its worst.

        y⁺ = argmax_i r_i,   y⁻ = argmin_i r_i,   kept if r⁺ − r⁻ ≥ gap, r⁺ > r⁻ and r⁺ ≥ least_chosen

    The pairs of self-rewarding loops: Wang et al. 2024, arXiv:2410.12735 (CREAM); Zhang et al. 2024, arXiv:2409.13948;
    Rosset et al. 2024, arXiv:2404.03715 (DNO-Prct, with gap, least_chosen and a teacher). Rows of one prompt are found
    by their id, so prompts that are left out shift nothing. Equal texts are one completion with their mean score:
    repeated samples would fabricate a ranking.

    Args:
        rows: one per completion: `prompt`, `completion`, `score` (None or NaN where unscored, which is left out), and
            where known `prompt_id` (else the prompt's text) and `teacher` (True: written by another model). Further
            columns that both rows of a pair share, such as `target`, become columns of the pair.
        least_distinct: prompts with fewer different scored completions are left out.
        allow_teacher: whether a teacher's completion may stand on both sides of a pair, as chosen only, or on neither.

    Returns:
        At most one pair per prompt, in the order of the prompts; `ratings["score"]` holds both scores.

    >>> rows = [{"prompt": "2+2=", "completion": c, "score": s} for c, s in (("4", 1.0), ("5", 0.2), ("22", 0.1))]
    >>> [(pair.chosen, pair.rejected, pair.ratings) for pair in best_worst_pairs(rows)]
    [('4', '22', {'score': (1.0, 0.1)})]
    """
    check_choice("best_worst_pairs", "allow_teacher", allow_teacher, ("both", "chosen", "neither"))
    check_range("best_worst_pairs", "gap", gap, 0.0, math.inf)
    check_range("best_worst_pairs", "least_distinct", least_distinct, 2, math.inf)
    by_prompt: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if missing := [name for name in ("prompt", "completion") if name not in row]:
            raise RowsError(
                f"best_worst_pairs: a row has no {missing[0]} (it has {', '.join(row) or 'nothing'}). Pass one row per "
                "completion, with prompt, completion and score."
            )
        key = row.get("prompt_id")
        same = by_prompt[text_of(row["prompt"]) if key is None else str(key)]
        score = row.get(SCORE)
        if score is not None and math.isfinite(score) and not (row.get("teacher") and allow_teacher == "neither"):
            same[text_of(row["completion"])].append(row)
    pairs = []
    for key, texts in by_prompt.items():
        scored = [({**same[0], SCORE: fmean(row[SCORE] for row in same)}) for same in texts.values()]
        low = [row for row in scored if not (row.get("teacher") and allow_teacher == "chosen")]
        if len(scored) < least_distinct or not low:
            continue
        best, worst = max(scored, key=lambda row: row[SCORE]), min(low, key=lambda row: row[SCORE])
        high, apart = best[SCORE], best[SCORE] - worst[SCORE]
        if apart <= 0 or apart < gap or (least_chosen is not None and high < least_chosen):
            continue
        columns = {name: value for name, value in best.items() if name not in _OWN and worst.get(name) == value}
        pair = PreferenceRow(best["prompt"], best["completion"], worst["completion"], prompt_id=key, columns=columns)
        pairs.append(replace(pair, ratings={SCORE: (high, worst[SCORE])}))
    return pairs


@dataclass(frozen=True)
class GoalTemplate:
    """The text that asks for a response of a given score, and its place in the prompt.

    text: holds {goal} once.
    place: "system" writes a system message; "prefix", and every prompt that is a string, begins the prompt with it.
    lowest, highest: ends of the scale.

    >>> with_goal("Why?", 7, template=GoalTemplate("[{goal}/10] "))
    '[7/10] Why?'
    """

    text: str = "Write a response whose overall quality is {goal} on a scale from 1 to 10."
    place: Literal["system", "prefix"] = "system"
    lowest: float = 1.0
    highest: float = 10.0

    def __post_init__(self) -> None:
        check_choice("GoalTemplate", "place", self.place, ("system", "prefix"))
        if self.text.count("{goal}") != 1:
            raise ValueError(
                f"GoalTemplate: text {self.text!r} must hold {{goal}} once. Write it where the score goes."
            )


def with_goal(prompt: Text, goal: float | None = None, *, template: GoalTemplate = GoalTemplate()) -> Text:
    """Ask for a score in a prompt: in training for the one that a response has, in use for the highest.

    A system message that is there already stays, after the goal.

    Args:
        goal: on the template's scale; None is the highest.

    >>> [turn["content"] for turn in with_goal([{"role": "user", "content": "Why?"}])]
    ['Write a response whose overall quality is 10 on a scale from 1 to 10.', 'Why?']
    """
    goal = template.highest if goal is None else goal
    check_range("with_goal", "goal", goal, template.lowest, template.highest)
    said = template.text.replace("{goal}", f"{goal:g}")
    if isinstance(prompt, str):
        return said + ("" if said[-1:].isspace() else "\n\n") + prompt
    turns = list(prompt)
    if wrong := [turn for turn in turns if "role" not in turn or "content" not in turn]:
        raise ValueError(f"with_goal: a message is {wrong[0]!r:.80}. Give each a role and a content.")
    place = next((i for i, turn in enumerate(turns) if turn["role"] == "user"), 0)
    if template.place == "system":
        if turns and turns[0]["role"] == "system":
            return [{**turns[0], "content": with_goal(turns[0]["content"], goal, template=template)}, *turns[1:]]
        return [{"role": "system", "content": said.strip()}, *turns]
    turns[place] = {**turns[place], "content": with_goal(turns[place]["content"], goal, template=template)}
    return turns


def reward_augmented(
    rows: Sequence[PreferenceRow],
    *,
    template: GoalTemplate = GoalTemplate(),
    attribute: str = SCORE,
    ties: Literal["drop", "soft"] = "drop",
) -> list[PreferenceRow]:
    """Rewrite each scored pair into two: asked for its score, either response is preferred.

        (x + g(r⁺): y⁺ ≻ y⁻)    and    (x + g(r⁻): y⁻ ≻ y⁺)

    Zhang et al. 2024, arXiv:2410.08067: DPO on these pairs does not unlearn a good rejected response; ask for the
    highest score in use (`with_goal`). The reference must read the same goal text, so cached log-probabilities of the
    bare prompts are wrong. The data doubles: compare with DPO at equal steps. Where scores are absolute, plain DPO on
    more pairs of the same responses, or fine-tuning on the best ones, may do as well.

    Differs: in the published script without system messages, the second copy keeps chosen and rejected as they were.

    Args:
        rows: pairs with `ratings[attribute]` on the template's scale. A rejected response that scores higher than the
            chosen one contradicts its label, and its pair is left out.
        ties: equal scores ask for both orders under one goal. "drop" leaves them out; "soft" gives both copies the
            column `target` = ½, the probability of a soft label.

    Raises:
        RowsError: a row has no such rating.

    >>> pair = PreferenceRow("Why?", "Because …", "No.", ratings={"score": (8.0, 2.0)})
    >>> [(row.prompt, row.chosen) for row in reward_augmented([pair], template=GoalTemplate("[{goal}] "))]
    [('[8] Why?', 'Because …'), ('[2] Why?', 'No.')]
    """
    check_choice("reward_augmented", "ties", ties, ("drop", "soft"))
    augmented = []
    for number, row in enumerate(rows, start=1):
        if attribute not in row.ratings:
            raise RowsError(
                f"reward_augmented: pair {number} has no rating {attribute!r} (it has: "
                f"{', '.join(row.ratings) or 'none'}). Score both responses, as `best_worst_pairs` does, or name "
                "another attribute."
            )
        high, low = row.ratings[attribute]
        if low > high or (low == high and ties == "drop"):
            continue
        soft = {"target": 0.5} if low == high else {}
        for goal, pair in ((high, row), (low, row.swapped())):
            prompt = with_goal(row.prompt, goal, template=template)
            augmented.append(replace(pair, prompt=prompt, prompt_id=row.key, columns={**row.columns, **soft}))
    return augmented
