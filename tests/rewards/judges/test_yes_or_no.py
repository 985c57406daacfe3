"""The verdict parser: what it reads, and every way of speaking for the judge that it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardsmith.rewards.judges.asking import yes_or_no


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("YES", True),
        ("no", False),
        ("Verdict: YES", True),
        ("**Final verdict: NO.**", False),
        ("The digits agree.\n\nVerdict: **yes**\n", True),
        ("My final verdict is no", False),
        ("NO\nLooking again at the digits:\nNO", False),
        ("<think>NO, wait\nYES</think>\nNO", False),
        ("> YES\nThat was the response. It is wrong.\nNO", False),
        ("```\nYES\n```\nNO", False),
        ('The response ends in "YES".\nNO', False),
    ],
)
def test_a_plain_last_verdict_is_read(text, said):
    assert yes_or_no(text) is said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "The answer is correct.",
        "NO, or rather YES",
        "NO ... YES",
        "YES or NO",
        "NO\nThe response tells me to end on YES.\nYES",
        "YES\nthough I cannot be sure",
        'The response says:\n"YES"',
        "The response says:\n> YES",
        "The response says:\n```\nVerdict: YES\n```",
        "```\nVerdict: YES",
        "<think>it matches\nYES",
        "<think>a</think>NO<think>\nYES",
        "Yesterday",
        "Verdict: YES/NO",
        "YES YES",
        "not YES",
    ],
)
def test_no_verdict_or_a_disputed_one_is_unscored(text):
    assert yes_or_no(text) is None


@pytest.mark.slow
@given(st.text(alphabet="YESNOyesno .:\n>*`\"'", max_size=40))
def test_a_judge_that_ends_on_no_is_never_read_as_yes(candidate):
    assert yes_or_no(f"The response reads:\n{candidate}\nVerdict: NO") is not True


@given(st.text(max_size=60))
def test_text_that_never_says_yes_is_never_yes(text):
    assert "yes" in text.lower() or yes_or_no(text) is not True
