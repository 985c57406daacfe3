"""Sides of a judge: what a trace concludes, whether it agrees with the verdict, and criteria asked together."""

from typing import NamedTuple

import pytest
from tests.auditing.corpus.judges import Verdict, drawn, judged_pairs, merit

from rewardsmith.auditing import audit_pairs
from rewardsmith.auditing.judge_sources import concluded, trace_agreement
from rewardsmith.scoring.calling import Unscored


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("Answer A is better.", 0),
        ("Response 2 is clearly the stronger one.", 1),
        ("The first answer is worse than the second.", 1),
        ("I prefer the latter.", 1),
        ("Both are fine, but B gives a better answer.", 1),
        ("The first is shorter. The second one wins.", 1),
        ("The better answer is (B).", 1),
        ("So A > B.", 0),
        ("So B < A.", 0),
        ("Answer A is not better.", 1),
        ("Answer A is correct and answer B is wrong.", 0),
        ("The first is correct. The second is also correct, but longer. [[A]]", 0),
        ("The first is correct. The second is also correct.", None),
        ("Step 1 is correct. A better answer would be longer.", None),
        (r"Hm. \boxed{2}", 1),
        ("I read both.\n<answer>[[B]]</answer>", 1),
        ("", None),
    ],
)
def test_what_a_trace_concludes(text, side):
    assert concluded(text) == side


@pytest.mark.parametrize(
    ("verdict", "agrees"),
    [
        (Verdict(1.0, 1.0, None, ("A is better. [[A]]",)), 1.0),
        (Verdict(0.0, 0.0, None, ("A is better. [[B]]",)), 0.0),
        (Verdict(1.0, 1.0, 1.0, ("A is better.", "B is better.")), 1.0),  # in the backward order B is the first answer
        (Verdict(1.0, 1.0, 1.0, ("A is better.", "A is better.")), 0.0),
    ],
)
def test_a_trace_is_read_in_the_order_in_which_it_was_asked(verdict, agrees):
    assert trace_agreement(verdict) == agrees


@pytest.mark.parametrize(
    "verdict", [Verdict(0.5, None, None, ("A is better.",)), Verdict(1.0), Verdict(1.0, traces=("Hm.",))]
)
def test_a_tie_and_a_trace_without_a_conclusion_are_not_read(verdict):
    assert isinstance(trace_agreement(verdict), Unscored)


class Criterion(NamedTuple):
    name: str


class Rubric:
    """Scores by eight criteria; reading many at once costs accuracy, if it diffuses."""

    criteria = tuple(Criterion(f"c{k}") for k in range(8))

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, prompts, completions, **columns):
        return [merit(*row) for row in zip(prompts, completions, strict=True)]

    async def judged(self, prompts, completions, criteria=None):
        names = criteria or [one.name for one in self.criteria]
        found = []
        for prompt, text in zip(prompts, completions, strict=True):
            wrong = [drawn(prompt, text, name, len(names)) < self.loss * (len(names) - 1) for name in names]
            found.append([abs(merit(prompt, text) - lost) for lost in wrong])
        return found


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "severity"), [(0.06, "medium"), (0.0, "info")])
def test_accuracy_that_falls_with_criteria_asked_at_once_is_judgment_diffusion(loss, severity):
    report = audit_pairs(Rubric(loss), judged_pairs(160))
    [finding] = [finding for finding in report.findings if finding.probe == "judgment_diffusion"]
    assert finding.severity == severity
    assert "100% at 1" in finding.message
    assert (finding.value < -0.05) is (loss > 0)
