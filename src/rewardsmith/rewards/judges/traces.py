"""Make traces to start a judge from: a teacher judges each pair, and a second one rewrites what it got wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rewardsmith.data import PreferenceRow, completion_text, text_of
from rewardsmith.rewards.judges.asking import Backend
from rewardsmith.rewards.judges.comparing import chain_of_rubrics
from rewardsmith.rewards.judges.verdicts import AB_VERDICT
from rewardsmith.rewards.judges.wire import JudgeError
from rewardsmith.types import Message

PairTemplate = Callable[[str, str, str], list[Message]]
"""(question, first answer, second answer) → messages."""
_RETRY = (
    "Your verdict is wrong: {better} is the better answer. Judge again from the beginning, as if you had found it "
    "yourself, in the same form. Do not mention this message."
)


class DistilledTrace(NamedTuple):
    """One trace whose verdict is the label, to train on with the prompt masked.

    row: the index of the pair.
    swapped: whether the chosen answer stood second.
    rewritten: whether it comes from the second pass, in which the teacher knows the label.
    """

    row: int
    prompt: list[Message]
    completion: list[Message]
    label: int
    swapped: bool
    rewritten: bool

    def record(self) -> dict[str, Any]:
        """Return a row for TRL's `SFTTrainer` and, with its `label`, for `verdict_reward`."""
        return {"prompt": self.prompt, "completion": self.completion, "label": self.label}


class DistilledTraces(NamedTuple):
    """The result of `distill_traces`.

    n_right: pairs that the first pass got right; n_asked: pairs on which it answered.
    lost: index of each pair without a trace → the reason.
    """

    traces: list[DistilledTrace]
    n_right: int
    n_asked: int
    lost: dict[int, str]

    @property
    def first_pass_accuracy(self) -> float | None:
        """The share right in pass one, the only pass without the label; None if nothing was answered."""
        return self.n_right / self.n_asked if self.n_asked else None


async def distill_traces(
    teacher: Backend,
    retry_teacher: Backend,
    rows: Sequence[PreferenceRow],
    *,
    template: PairTemplate = chain_of_rubrics,
    parser: Callable[[str], int | None] = AB_VERDICT,
    names: tuple[str, str] = ("the first", "the second"),
    seed: int = 0,
) -> DistilledTraces:
    """Collect a trace with the right verdict for each pair, in two passes over a strong model.

    Pass one judges each pair. Where its verdict is wrong or missing, pass two gets the conversation with the label and
    judges again. Chen et al. 2025, arXiv:2505.02387 (RM-R1), in which about 75 % are right in pass one.

    A trace of pass two can argue for a wrong label, so train on `rewritten` ones with care. With a backend that has a
    cache (`ChatBackend(cache_dir=…)`) a second run goes on where the first ended, and pays nothing twice.

    Args:
        teacher, retry_teacher: async functions from messages to text.
        rows: pairs; a tie has no label and is lost.
        template: of the judge to be trained.
        parser: the teacher's text → 0 if the first answer is better, 1 if the second, or None.
        names: how the second pass calls the two answers.
        seed: with the place of the row it decides which answer stands first.
    """

    async def one(place: int, row: PreferenceRow) -> tuple[bool | None, DistilledTrace | str]:
        if row.is_tie:
            return None, "the pair is a tie"
        swapped = random.Random(f"{seed} {place}").random() < 0.5
        answers = [completion_text(row.chosen), completion_text(row.rejected)]
        label = int(swapped)
        prompt = template(text_of(row.prompt), answers[label], answers[1 - label])
        right: bool | None = None
        text = ""
        try:
            text = await teacher(prompt)
            right = parser(text) == label
            if not right:
                hint = _RETRY.format(better=names[label])
                said: list[Message] = [{"role": "assistant", "content": text}, {"role": "user", "content": hint}]
                text = await retry_teacher([*prompt, *said])
        except JudgeError as error:
            return right, str(error)
        if parser(text) != label:
            return right, "neither pass ends on the label"
        completion: list[Message] = [{"role": "assistant", "content": text}]
        return right, DistilledTrace(place, prompt, completion, label, swapped, not right)

    found = await asyncio.gather(*(one(place, row) for place, row in enumerate(rows)))
    answered = [right for right, _ in found if right is not None]
    traces = [trace for _, trace in found if isinstance(trace, DistilledTrace)]
    lost = {place: why for place, (_, why) in enumerate(found) if isinstance(why, str)}
    return DistilledTraces(traces, sum(answered), len(answered), lost)
