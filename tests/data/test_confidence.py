"""Stated confidence: the last statement decides, what is unusable is unscored, and nothing else leaves the text."""

import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardsmith.data import ConfidenceAugment, parse_confidence, strip_confidence
from rewardsmith.data.confidence import CONFIDENCE_TEMPLATES

WORDS = st.text(alphabet="abc 4.,\n", max_size=30)
N = 200_000  # characters


@pytest.mark.parametrize(
    ("text", "scale", "expected"),
    [
        ("<confidence>0.8</confidence>", 1, 0.8),
        ("<Confidence> 1 </CONFIDENCE>", 1, 1.0),
        ("Confidence: 0", 1, 0.0),
        ("confidence=.25", 1, 0.25),
        ("Confidence: 0.8.", 1, 0.8),
        ("**Confidence:** 0.7", 1, 0.7),
        ("Confidence: **0.7**", 1, 0.7),
        ("It is 4. Confidence: 7", 10, 0.7),
        ("Confidence: 7/10", 10, 0.7),
        ("Confidence: 7 out of 10.", 10, 0.7),
        ("(Confidence: 10)", 10, 1.0),
        ("<confidence>9/10</confidence>", 10, 0.9),
        ("Confidence: 85%", 100, 0.85),
        ("Confidence: 85 %", 100, 0.85),
        ("Confidence: 85", 100, 0.85),
        ("Confidence: 85%", "stated", 0.85),
        ("Confidence: 3/5", "stated", 0.6),
        ("Confidence: 0.9", "stated", 0.9),
        ("Confidence: 0.8 (80%)", 1, 0.8),
        ("Confidence level: 9", 10, 0.9),
        ("**Confidence score:** 0.7", 1, 0.7),
        ("Confidence (0-10): 8", 10, 0.8),
        ("Confidence：0.8", 1, 0.8),
    ],
)
def test_a_statement_is_read_on_its_scale(text, scale, expected):
    assert parse_confidence(text, scale=scale) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1, 10, 100, "stated"])
@pytest.mark.parametrize(
    "said",
    [
        "high",
        "eight",
        "about 0.8",
        "0.7 to 0.8",
        "0.7-0.8",
        "-1",
        "nan",
        "inf",
        "-inf",
        "1000",
        "1e999",
        "9" * 5000,
        "0.5.5",
        "0,5",
        "1-2",
        "5/0",
        "0/0",
        "7th",
    ],
)
def test_what_is_no_number_in_range_is_unscored(said, scale):
    assert parse_confidence(f"<confidence>{said}</confidence>", scale=scale) is None
    assert parse_confidence(f"Confidence: {said}", scale=scale) is None


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("Confidence: 80%", 1),
        ("Confidence: 1%", 1),
        ("Confidence: 9/10", 1),
        ("Confidence: 1/10", 1),
        ("Confidence: 9/100", 10),
        ("Confidence: 9%", 10),
        ("Confidence: 9/10", 100),
        ("Confidence: 8", 1),
        ("Confidence: 8", "stated"),
    ],
)
def test_another_scale_is_refused_rather_than_guessed(text, scale):
    assert parse_confidence(text, scale=scale) is None


def test_the_last_statement_decides_also_where_it_is_unusable():
    assert parse_confidence("<confidence>0.9</confidence> no, <confidence>0.2</confidence>") == 0.2
    assert parse_confidence("Confidence: 0.9. Or rather <confidence>0.3</confidence>") == 0.3
    assert parse_confidence("<confidence>0.3</confidence> Confidence: 0.9") == 0.9
    assert parse_confidence("<confidence>0.9</confidence> then <confidence>2</confidence>") is None
    assert parse_confidence("<confidence>0.9</confidence> then <confidence>high</confidence>") is None
    assert parse_confidence("<confidence>0.9</confidence> then <confidence>0.1") is None
    assert parse_confidence("<confidence>0.9<confidence>0.1</confidence>") == 0.1


@pytest.mark.parametrize(
    "text",
    [
        *("", "I am confident.", "overconfidence: 8", "confidence 8", "<b>1</b>", "confidence: onerous"),
        *("Confidence: high-quality work", "a confidence interval: 8 to 9", "Confidence: we are sure (80%)"),
    ],
)
def test_no_statement_is_no_confidence_and_the_text_stays(text):
    assert parse_confidence(text, scale=10) is None
    assert strip_confidence(text) == text


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("It is 4.\n\nConfidence: 8", "It is 4."),
        ("  Confidence: 8 \n It is 4. ", "It is 4. "),
        ("a Confidence: 8 b", "a b"),
        ("a\n\nConfidence: 8 b", "a\n\nb"),
        ("a(Confidence: 8)\n b", "a\n b"),
        ("a<confidence>8</confidence>b", "ab"),
        ("a Confidence: 1 Confidence: 2 b", "a b"),
        ("a Confidence: high", "a"),
        ("4. Confidence: 0.8 (80%)", "4."),
        ("4. Confidence: 8/10 (very high). Done", "4. Done"),
        ("4. Confidence level: 9", "4."),
        ("4. Confidence（0-100）：80％。", "4."),
        ("4. Confidence: eight out of ten", "4."),
        ("4. Confidence: ninety-five percent", "4."),
        ("4. Confidence: very high", "4."),
        ("4. Confidence: about 80%", "4."),
        ("4. Confidence: 70 to 80 %", "4."),
        ("4. Confidence: 8 (the scale is on page 3)", "4. (the scale is on page 3)"),
        ("a <confidence>high</confidence>", "a"),
        ("a <confidence>8", "a"),
        ("a <confidence> b", "a b"),
        ("a [Confidence: 0,8] b", "a b"),
        ("Confidence: 8", ""),
        ("  blanks stay  ", "  blanks stay  "),
    ],
)
def test_the_statement_goes_with_its_blanks_and_nothing_else(text, rest):
    assert strip_confidence(text) == rest


def test_taking_one_out_does_not_form_another():
    assert strip_confidence("a Confi<confidence>1</confidence>dence: 9") == "a"


@given(WORDS, st.sampled_from(CONFIDENCE_TEMPLATES), st.integers(0, 10))
def test_what_is_written_is_read_back_and_taken_out_again(text, template, k):
    stated = text + template.replace("{k}", str(k))
    assert parse_confidence(stated, scale=10) == k / 10
    assert strip_confidence(stated) == text.rstrip()


@given(WORDS, WORDS, st.sampled_from(CONFIDENCE_TEMPLATES), st.integers(0, 10))
def test_in_the_middle_too_only_blanks_go_with_it(before, after, template, k):
    rest = strip_confidence(before + template.replace("{k}", str(k)) + "\n" + after)
    assert re.sub(r"\s", "", rest) == re.sub(r"\s", "", before + after)
    assert strip_confidence(rest) == rest


@given(st.text(alphabet="<>/confideCc:8 .%*()[]\n", max_size=60))
def test_any_text_is_read_without_an_error_and_stripping_twice_is_stripping_once(text):
    value = parse_confidence(text, scale="stated")
    assert value is None or 0 <= value <= 1
    rest = strip_confidence(text)
    assert parse_confidence(rest, scale="stated") is None
    assert strip_confidence(rest) == rest


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["*" * N, "confidence:" + " " * N, "(" * N, "<confidence>" * (N // 10), " " * N + "confidence: 8"],
)
def test_no_text_takes_long(text):
    """Each character is read a few times. At N² steps this test would not end within minutes."""
    parse_confidence(text)
    strip_confidence(text)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match=r"parse_confidence: scale is 5, which is not one of 1, 10, 100, 'stated'"):
        parse_confidence("", scale=5)


def test_messages_lose_the_statement_in_the_assistant_s_turns_alone():
    question = {"role": "user", "content": "Say 'Confidence: 8'."}
    answer = {"role": "assistant", "content": "4\nConfidence: 8"}
    parts = {"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": "5 Confidence: 1"}]}
    messages = [question, answer, parts, {"role": "assistant", "content": None}]
    stripped = strip_confidence(messages)
    assert stripped[0] is question
    assert stripped[1] == {"role": "assistant", "content": "4"}
    assert stripped[2]["content"] == [{"type": "image"}, {"type": "text", "text": "5"}]
    assert stripped[3]["content"] is None
    assert answer["content"] == "4\nConfidence: 8"


@pytest.mark.parametrize("new", [lambda: random.Random(0), lambda: torch.Generator().manual_seed(0)])
def test_the_four_texts_differ_from_the_pair_by_one_phrasing_and_from_each_other_by_the_number(new):
    augment, generator = ConfidenceAugment(plain=False), new()
    phrasings, levels = set(), {"high": set(), "low": set()}
    for _ in range(300):
        good, bad = augment([{"chosen": "good", "rejected": "bad"}], generator=generator)
        four = [("high", good["chosen"], "good"), ("low", good["rejected"], "good")]
        four += [("low", bad["chosen"], "bad"), ("high", bad["rejected"], "bad")]
        for name, text, plain in four:
            level = parse_confidence(text, scale=10)
            levels[name].add(round(10 * level))
            assert strip_confidence(text) == plain
        shapes = {re.sub(r"^(good|bad)", "", text).replace("/10", "").replace("of 10", "") for _, text, _ in four}
        phrasing = {re.sub(r"\d+", "k", shape) for shape in shapes}
        assert len(phrasing) == 1
        phrasings |= phrasing
    assert levels == {"high": {7, 8, 9, 10}, "low": {0, 1, 2, 3}}
    assert len(phrasings) >= len(CONFIDENCE_TEMPLATES) - 1


def test_one_seed_gives_one_set_of_texts():
    record = {"chosen": "a", "rejected": "b"}
    draw = lambda: ConfidenceAugment()([record], generator=torch.Generator().manual_seed(3))  # noqa: E731
    assert draw() == draw()


def test_a_record_becomes_the_pairs_of_the_paper_with_its_columns_kept():
    augment = ConfidenceAugment(high=(9, 9), low=(2, 2), templates=(" Confidence: {k}",), cross=True)
    record = {"prompt": "2+2?", "chosen": "4 Confidence: 3", "rejected": "5", "source": "x"}
    expanded = augment([record], generator=random.Random(0))
    assert [(row["chosen"], row["rejected"]) for row in expanded] == [
        ("4 Confidence: 9", "4 Confidence: 2"),
        ("5 Confidence: 2", "5 Confidence: 9"),
        ("4", "5"),
        ("4 Confidence: 9", "5 Confidence: 2"),
    ]
    assert all(row["prompt"] == "2+2?" and row["source"] == "x" for row in expanded)
    assert record["chosen"] == "4 Confidence: 3"
    assert len(ConfidenceAugment(plain=False)([record], generator=random.Random(0))) == 2


def test_conversational_pairs_keep_their_form():
    def said(text):
        return [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": text}]

    augment = ConfidenceAugment(high=(9, 9), low=(2, 2), templates=(" Confidence: {k}",))
    first = augment([{"chosen": said("4"), "rejected": said("5")}], generator=random.Random(0))[0]
    assert first == {"chosen": said("4 Confidence: 9"), "rejected": said("4 Confidence: 2")}
    parts = [{"role": "assistant", "content": [{"type": "text", "text": "4"}]}]
    first = augment([{"chosen": parts, "rejected": said("5")}], generator=random.Random(0))[0]
    assert first["chosen"][0]["content"][-1] == {"type": "text", "text": " Confidence: 9"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": (3, 8)}, r"ConfidenceAugment: low=\(3, 8\) and high=\(7, 10\) must be ranges within 0 to 10"),
        ({"high": (7, 11)}, r"high=\(7, 11\)"),
        ({"low": (-1, 3)}, r"low=\(-1, 3\)"),
        ({"templates": (" I am sure: {k}",)}, r"templates \[' I am sure: \{k\}'\] are not read as"),
        ({"templates": (" My confidence: {k}",)}, r"or not removed completely"),
        ({"templates": ()}, r"Give at least one"),
    ],
)
def test_ranges_and_phrasings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConfidenceAugment(**options)
