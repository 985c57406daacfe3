"""Principles of written feedback: what is read, which quotes count, on what reviews agree, and the rubric of them."""

import asyncio
import json

import pytest

from rewardsmith.rewards import (
    consensus,
    drop_partial,
    extract_principles,
    quote_supported,
    rubric_from_feedback,
)
from rewardsmith.rewards.judges.wire import JudgeError
from rewardsmith.rewards.rubrics.feedback import PrincipleVerdict, parse_principles, word_similarity
from rewardsmith.scoring.calling import Unscored


def verdict(principle, said="yes", quote="so it is"):
    return PrincipleVerdict(principle, said, quote)


def reply(*verdicts):
    return json.dumps({"principles": [one._asdict() for one in verdicts]})


class Reads:
    """A backend that answers each text of feedback from a table."""

    def __init__(self, table):
        self.table = table

    async def __call__(self, messages):
        said = self.table[messages[1]["content"].split("\n")[1]]
        if isinstance(said, Exception):
            raise said
        return said


def test_each_text_has_its_principles_or_the_reason_why_not():
    table = {"good": reply(verdict("clear")), "bad": "It is bad.", "late": JudgeError("answered 503")}
    found = asyncio.run(extract_principles(list(table), Reads(table)))
    assert found[0] == [verdict("clear")]
    assert found[1] == Unscored("no verdict in the judge's reply 'It is bad.'")
    assert found[2] == Unscored("answered 503", "endpoint")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"principles": {}}',
        '{"principles": ["clear"]}',
        '{"principles": [{"principle": "clear", "verdict": "yes"}]}',
        reply(verdict("clear", "partially")),
        reply(verdict(" ")),
        reply(verdict("clear", quote="")),
        reply(verdict("clear"))[:-1] + ', "note": 1}',
    ],
)
def test_a_reply_of_which_any_part_is_unreadable_is_refused_whole(text):
    assert parse_principles(text) is None


def test_only_texts_are_sent():
    backend = Reads({"Fine.": '{"principles": []}'})  # knows no other text
    found = asyncio.run(extract_principles(["Fine.", None, float("nan"), " "], backend))
    assert found == [[], *[Unscored("the feedback is no text")] * 3]
    with pytest.raises(ValueError, match=r"extract_principles: feedback is the text 'Fine\.'\. Give a list of texts"):
        asyncio.run(extract_principles("Fine.", backend))


def test_no_principle_is_an_answer():
    assert parse_principles('{"principles": []}') == []


FEEDBACK = "The answer is correct, but it is far too\nlong and repeats itself. I liked the tone."


@pytest.mark.parametrize(
    ("quote", "supported"),
    [
        ("far too long and repeats itself", True),
        ("FAR TOO LONG", True),
        ("it is far to long and repeats itself", True),  # one of 36 characters
        ("far too short and repeats itself", False),  # 4 of 32 are others
        ("the sources are wrong", False),
        ("the answer is long", False),  # its letters are there, but not together
        ("I liked the tone. And more than that was said here", False),
        ("  ", False),
    ],
)
def test_a_quote_has_to_stand_in_the_text(quote, supported):
    assert quote_supported(verdict("p", quote=quote), FEEDBACK) == supported


def test_the_bound_of_a_quote_is_a_share():
    with pytest.raises(ValueError, match=r"quote_supported: at_least is 2\.0, outside \[0"):
        quote_supported(verdict("p"), FEEDBACK, at_least=2.0)


def test_partly_is_dropped():
    assert drop_partial([verdict("a", "partly"), verdict("b", "no")]) == [verdict("b", "no")]


def test_reviews_agree_by_most_and_a_tie_or_a_contradiction_is_no_vote():
    yes, no = [verdict("clear")], [verdict("Clear", "no")]
    assert consensus([yes, yes, no]) == yes
    assert consensus([yes, no, no]) == no
    assert consensus([yes, yes, no, no]) == []
    assert consensus([yes, [verdict("clear"), verdict("clear", "no")]]) == []
    assert consensus([yes * 3]) == [], "one review counts once"
    assert consensus([yes], least=1) == yes


def test_phrases_are_one_principle_by_the_similarity_given():
    reviews = [[verdict("concise")], [verdict("short")]]
    assert consensus(reviews) == []
    assert consensus(reviews, similarity=lambda first, second: 1.0) == [verdict("concise")]
    assert word_similarity("concise", "polite") < 0.75 <= word_similarity("is concise", "concise")


def test_a_rubric_has_the_principles_named_most_with_quotes_that_are_there():
    concise, accurate = verdict("concise", "no", "too long"), verdict("accurate", "yes", "all true")
    invented = verdict("polite", "yes", "a friendly tone")
    table = {
        "too long": reply(concise, invented),
        "too long, all true": reply(concise, accurate, concise),
        "way too long, all true": reply(accurate, concise, invented),
        "unreadable": "Hm.",
    }
    rubric = asyncio.run(rubric_from_feedback(list(table), Reads(table), combine="min"))
    assert [(one.name, one.weight) for one in rubric.criteria] == [("concise", 3.0), ("accurate", 2.0)]
    assert rubric.combine == "min"
    short = asyncio.run(rubric_from_feedback(list(table), Reads(table), most=1))
    assert [one.name for one in short.criteria] == ["concise"]
    with pytest.raises(ValueError, match=r"rubric_from_feedback: no principle is named in 4 of 4 texts \(1 could not"):
        asyncio.run(rubric_from_feedback(list(table), Reads(table), least=4))
