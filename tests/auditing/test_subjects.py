"""What the subjects of an audit list: one name, one question."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rewardsmith.auditing.asking import rows_within
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.subjects import answers, pairs, sources, steps
from rewardsmith.scoring import as_target


def listed():
    nothing = PairBaseline((), np.zeros(0), np.zeros(0), 0.05)
    asked = [probe for probe, _ in pairs.questions(as_target(lambda completions: []), nothing, nothing)]
    return {"answers": answers.PROBES, "pairs": asked, "steps": steps.PROBES, "sources": sources.PROBES}


def test_no_two_probes_of_a_report_share_a_name():
    for probes in listed().values():
        assert set(Counter(probe.name for probe in probes).values()) == {1}


def test_a_name_means_one_question_in_every_subject_but_for_failures_which_each_asks_of_its_own_rows():
    questions: dict[str, set[str]] = {}
    for probes in listed().values():
        for probe in probes:
            questions.setdefault(probe.name, set()).add(probe.question)
    del questions["failures"]
    assert [name for name, asked in questions.items() if len(asked) > 1] == []


@pytest.mark.parametrize(
    ("budget", "rows"),
    [(0, 4), (999, 4), (1000, 5), (1199, 5), (1200, 6), (2000, 10), (10**9, 10)],  # a fifth of a thousand each
)
def test_a_budget_allows_whole_rows_between_the_bounds(budget, rows):
    assert rows_within(budget, calls_per_row=200, least=4, most=10) == rows
