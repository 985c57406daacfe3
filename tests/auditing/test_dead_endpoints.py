"""An endpoint that does not answer says nothing of the reward: an audit ends with its error, never with a finding."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import pytest
from tests.auditing.small_baselines import integer_rows

from rewardsmith.auditing import audit
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.errors import EndpointError
from rewardsmith.scoring.calling import Unscored

DOWN = Unscored("ChatBackend: http://localhost:9/v1 refused the connection. Check base_url and the server.", "endpoint")


class Asking:
    """A reward that asks somewhere: 1.0 where the completion holds the answer; `mute` decides what stays unanswered."""

    def __init__(self, mute):
        self.mute, self.asked = mute, Counter()

    def __call__(self, completions, answer=None, **columns):
        return [None if isinstance(value, Unscored) else value for value in self.reasoned(completions, answer)]

    def reasoned(self, completions, answer=None, **columns):
        self.asked.update(completions)
        pairs = zip(completions, answer or completions, strict=True)
        return [DOWN if self.mute(text, self.asked[text]) else float(text == str(key)) for text, key in pairs]


def dead(text, times):
    return True


def grouped_rows():
    return [Row(f"p{i}", text, {"answer": "x y"}) for i in range(12) for text in ("x y", "x", "y z", "z")]


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        (Asking(dead), integer_rows(8)),
        (
            {"length": lambda completions, **c: [float(len(c)) for c in completions], "judge": Asking(dead)},
            grouped_rows(),
        ),
    ],
)
def test_a_reward_whose_endpoint_never_answers_is_not_judged(target, rows):
    message = r"^Scorer: .* got no usable answer from its endpoint for \d rows in a row\. ChatBackend: .* the server\.$"
    with pytest.raises(EndpointError, match=message):
        audit(target, rows, workers=0, budget=1200)


def test_a_judge_of_pairs_whose_endpoint_never_answers_is_not_judged():
    report = audit(Asking(dead), [PreferenceRow(f"p{i}", f"good {i}", f"bad {i}") for i in range(8)], workers=0)
    assert (report.verdict(), report.findings) == ("not judged", ())
    assert "got no usable answer from its endpoint" in report.not_judged


def test_an_answer_that_fails_to_come_once_is_no_difference_between_two_calls():
    plain = audit(Asking(lambda text, times: False), integer_rows(8), workers=0, budget=1200)
    report = audit(
        Asking(lambda text, times: times == 3 and crc32(text.encode()) % 5 == 0),
        integer_rows(8),
        workers=0,
        budget=1200,
    )
    assert report.unscored["endpoint"] > 0
    assert {f.probe for f in report.findings} == {f.probe for f in plain.findings}


def test_completions_without_an_answer_are_no_missing_source():
    words = Asking(lambda text, times: False)
    flaky = Asking(lambda text, times: text == "z")
    report = audit({"words": words, "judge": flaky}, grouped_rows(), workers=0)
    assert report.unscored == {"endpoint": 12}
    assert not [f for f in report.findings if f.probe == "missing_source"]


def test_sources_of_which_no_group_has_its_answers_are_not_judged():
    muted = Asking(lambda text, times: text != "x y")
    with pytest.raises(EndpointError, match=r"endpoint"):
        audit({"words": Asking(lambda text, times: False), "judge": muted}, grouped_rows(), workers=0)
