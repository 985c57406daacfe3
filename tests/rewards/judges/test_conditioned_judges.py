"""ListJudge and EntailmentJudge: principles in words, lists in random orders, and log-odds over all spellings."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import random
import re

import numpy as np
import pytest
from tests.rewards.judges.endpoint import Scripted

import rewardsmith as rs
from rewardsmith.rewards import EntailmentJudge, ListJudge, Reply
from rewardsmith.rewards.judges.conditioned import tokens_of
from rewardsmith.rewards.judges.entailment import log_odds
from rewardsmith.rewards.judges.lists import parse_list
from rewardsmith.rewards.judges.wire import JudgeError

NAMES = ["answer-1", "answer-2", "answer-3"]


def listed(scores, order):
    return json.dumps({"scores": scores, "best-to-worst": order})


class Grader:
    """A list judge that scores by a function of text and place, and keeps the orders that it saw."""

    def __init__(self, score, leave_out=()):
        self.score, self.leave_out, self.seen = score, leave_out, []

    async def __call__(self, messages):
        pairs = re.findall(r'<(answer-\w{12}) name="([^"]+)">\n(.*?)\n</\1>', messages[1]["content"], re.DOTALL)
        self.seen.append([text for _, _, text in pairs])
        scores = {n: self.score(text, k) for k, (_, n, text) in enumerate(pairs) if text not in self.leave_out}
        return listed(scores, sorted(scores, key=lambda name: -scores[name]))


class Fixed:
    """A backend with log-probabilities."""

    def __init__(self, *replies):
        self.replies, self.wanted = list(replies), []

    async def reply(self, messages, *, logprobs=0):
        self.wanted.append(logprobs)
        return self.replies[len(self.wanted) - 1]


def ranked(judge, responses, principle="Be brief."):
    return asyncio.run(judge.ranked(principle, "q", responses))


def test_a_list_is_asked_once_and_its_scores_return_to_their_answers():
    backend = Grader(lambda text, place: len(text))
    verdict = ranked(ListJudge(backend), ["aa", "aaaa", "a"])
    assert verdict.scores == (2.0, 4.0, 1.0)
    assert verdict.order == (1, 0, 2)
    assert len(backend.seen) == len(verdict.reasoning) == 1
    assert ranked(ListJudge(backend), []) == ((), (), ())


def test_rows_of_one_prompt_and_principle_are_one_list():
    backend = Grader(lambda text, place: len(text))
    judge = ListJudge(backend, principle="Be long.")
    columns = {"prompts": ["p", "p", "q", "p"], "completions": ["a", "aaa", "aa", "aaaa"]}
    assert asyncio.run(judge(**columns)) == [1.0, 3.0, 2.0, 4.0]
    assert sorted(map(len, backend.seen)) == [1, 1, 2]
    backend.seen.clear()
    assert asyncio.run(judge(**columns, principle=[None, "Be odd.", " ", ""])) == [1.0, 3.0, 2.0, 4.0]
    assert sorted(map(len, backend.seen)) == [1, 1, 1, 1]
    assert asyncio.run(judge.judged_by("Be long.", ["p", "q"], [["a", "aa"], ["aaa"]])) == [[1.0, 2.0], [3.0]]


def test_a_scorer_sends_each_list_in_one_call():
    backend = Grader(lambda text, place: len(text))
    rows = [{"prompt": prompt, "completion": "a" * n} for prompt, n in (("p", 1), ("p", 3), ("q", 2), ("q", 4))]
    found = rs.score(ListJudge(backend, principle="Be long."), rows, workers=0)
    assert [one.reward for one in found] == [1.0, 3.0, 2.0, 4.0]
    assert sorted(sorted(seen) for seen in backend.seen) == [["a", "aaa"], ["aa", "aaaa"]]


def test_orders_are_random_per_list_equal_on_every_run_and_leave_the_global_generator_as_it_is():
    random.seed(7)
    wanted = random.random()
    random.seed(7)
    backend = Grader(lambda text, place: 3)
    lists = [[f"{k}{name}" for name in "abc"] for k in range(200)]
    for _ in range(2):
        asyncio.run(ListJudge(backend).judged_by("p", ["q"] * 200, lists))
    assert random.random() == wanted
    orders = ["".join(text[-1] for text in seen) for seen in backend.seen]
    assert sorted(orders[:200]) == sorted(orders[200:])
    counts = [orders[:200].count(order) for order in ("abc", "acb", "bac", "bca", "cab", "cba")]
    assert sum(counts) == 200
    assert min(counts) > 15  # each has 33 in expectation, with a standard deviation of 5.3


def test_a_second_order_reverses_the_first_so_that_a_linear_effect_of_the_position_cancels():
    backend = Grader(lambda text, place: 5 - place)  # earlier is better, and nothing else
    verdict = ranked(ListJudge(backend, orders=2), ["a", "b", "c"])
    assert backend.seen[0] == backend.seen[1][::-1]
    assert verdict.scores == (4.0, 4.0, 4.0)
    assert len(set(ranked(ListJudge(backend), ["a", "b", "c"]).scores)) == 3


def test_an_answer_that_is_left_out_is_unscored_and_the_others_are_not():
    backend = Grader(lambda text, place: len(text), leave_out=("aa",))
    verdict = ranked(ListJudge(backend), ["aa", "aaaa", "a"])
    assert verdict.scores == (("the judge left this answer out of its scores", "none"), 4.0, 1.0)
    assert verdict.order == (1, 2)
    judge = ListJudge(backend, principle="p")
    assert asyncio.run(judge(prompts=["q"] * 2, completions=["aa", "a"])) == [None, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        listed({}, []),  # the official scorer pays 1.0 for it
        listed({"model-1": 5}, ["model-1"]),
        listed({"answer-1": 6}, ["answer-1"]),
        listed({"answer-1": 0}, ["answer-1"]),
        listed({"answer-1": 4.5}, ["answer-1"]),
        listed({"answer-1": "5"}, ["answer-1"]),
        listed({"answer-1": True}, ["answer-1"]),
        listed({"answer-1": 5}, []),
        listed({"answer-1": 5}, ["answer-2"]),
        listed({"answer-1": 5}, [["answer-1"]]),
        listed({"answer-1": 5}, "answer-1"),
        listed({"answer-1": 5, "answer-2": 1}, ["answer-2", "answer-1"]),
        listed({"answer-1": 5, "answer-2": 1}, ["answer-1", "answer-2", "answer-1"]),
        listed({"answer-1": 5}, ["answer-1"]).replace('"', "'"),  # to repair it is to guess
        "Here it is: " + listed({"answer-1": 5}, ["answer-1"]),
        '{"scores": {"answer-1": 1, "answer-1": 5}, "best-to-worst": ["answer-1"]}',
        "<think>" + listed({"answer-1": 5}, ["answer-1"]),
        "[" * 100_000,
    ],
)
def test_a_reply_that_is_not_exactly_a_list_scores_no_answer(text):
    assert parse_list(text, NAMES) is None
    verdict = ranked(ListJudge(Scripted(text)), ["a", "b", "c"])
    assert verdict.order == ()
    assert all(score.why.startswith("no readable scores in the judge's reply ") for score in verdict.scores)


def test_equal_scores_are_ordered_by_the_judge_and_a_fence_or_thinking_is_no_fault():
    reply = listed({"answer-1": 3, "answer-2": 3}, ["answer-2", "answer-1"])
    for text in (reply, f"```json\n{reply}\n```", f"<think>3 and 3, or {{}}?</think>\n{reply}"):
        assert parse_list(text, NAMES).order == ["answer-2", "answer-1"]
    verdict = ranked(ListJudge(Scripted(reply)), ["a", "b"])
    assert verdict.scores == (3.0, 3.0)
    assert sorted(verdict.order) == [0, 1]


def test_a_server_s_failure_is_the_reason_of_all_answers_even_if_the_other_order_was_unreadable():
    verdict = ranked(ListJudge(Scripted("hm", JudgeError("down")), orders=2), ["a", "b"])
    assert verdict.scores == (("down", "endpoint"),) * 2


def tokens(*pieces):
    """One certain token per piece; a piece may be a dict of candidates, the generated one first."""
    return tuple(piece if isinstance(piece, dict) else {piece: 0.0} for piece in pieces)


def test_the_expected_score_takes_the_place_of_the_integer():
    candidates = {"4": math.log(0.6), "5": math.log(0.2), " 5": math.log(0.1), "x": math.log(0.1)}
    pieces = ('{"scores": {"answer-1": ', candidates, '}, "best-to-worst": ["answer-1"]}', "<end>")
    text = listed({"answer-1": 4}, ["answer-1"])
    for before in ((), ("<think>", '"answer-1": 1', "</think>")):
        backend = Fixed(Reply(text, tokens(*before, *pieces)))
        # E = (4 · 0.6 + 5 · 0.3) / 0.9
        assert ranked(ListJudge(backend), ["a"]).scores == (pytest.approx(3.9 / 0.9),)
        assert backend.wanted == [5]


@pytest.mark.parametrize(
    "logprobs",
    [
        (),
        tokens(listed({"answer-1": 4}, ["answer-1"])),  # the score is no token of its own
        tokens("another text"),
        tokens('{"scores": {"answer-1": ', {"4": math.nan}, '}, "best-to-worst": ["answer-1"]}'),
        tokens('{"scores": {"answer-1": ', {"4": 800.0}, '}, "best-to-worst": ["answer-1"]}'),
        tokens('{"scores": {"answer-1": ', {}, '4}, "best-to-worst": ["answer-1"]}'),
        tokens('{"scores": {"answer-1": ', {"4": -math.inf}, '}, "best-to-worst": ["answer-1"]}'),
    ],
)
def test_without_probabilities_of_the_score_it_is_the_integer(logprobs):
    backend = Fixed(Reply(listed({"answer-1": 4}, ["answer-1"]), logprobs))
    assert ranked(ListJudge(backend), ["a"]).scores == (4.0,)


def entailed(reply, **options):
    judge = EntailmentJudge(Fixed(reply), principle="p", **options)
    [value] = asyncio.run(judge.reasoned(prompts=["q"], completions=["c"]))
    return value


def test_log_odds_sum_all_spellings():
    ps = {"Yes": 0.4, " yes": 0.1, "YES.": 0.05, "No": 0.2, "\nno": 0.05, "Not": 0.1, "yesterday": 0.05}
    logps = {text: math.log(p) for text, p in ps.items()}
    assert entailed(Reply("Yes", (logps,))) == pytest.approx(math.log(0.55 / 0.25))
    assert log_odds(logps) == pytest.approx(math.log(0.55 / 0.25))


def test_a_side_that_is_not_listed_has_at_most_what_is_left():
    # 0.05 is left, less than the smallest listed one; then the smallest listed one is less than what is left
    assert log_odds({"Yes": math.log(0.85), "Maybe": math.log(0.1)}) == pytest.approx(math.log(0.85 / 0.05))
    assert log_odds({"No": math.log(0.6), "Maybe": math.log(0.1)}) == pytest.approx(math.log(0.1 / 0.6))
    assert entailed(Reply("Yes", ({"Yes": 0.0},))) == 10.0
    assert entailed(Reply("No", ({"No": 0.0, "Yes": -9999.0},)), clamp=3.0) == -3.0
    unknown = entailed(Reply("Yes", ({"Yes": -9999.0, "No": -math.inf},)))  # neither has a probability
    assert unknown.why.startswith("the judge's Yes or No is no single token, so it has no probability")


def test_the_verdict_at_the_end_counts_after_any_reasoning():
    sure = {"Yes": math.log(0.9), "No": math.log(0.1)}
    pieces = ("<think>", "No", "?", "</think>", "It says no.\n", "Verdict: ", sure, ".", "<end>")
    reply = Reply("<think>No?</think>It says no.\nVerdict: Yes.", tokens(*pieces))
    assert "".join(next(iter(p)) for p in reply.logprobs[:-1]) == reply.text
    assert entailed(reply) == pytest.approx(math.log(9))
    assert entailed(Reply("Verdict: Yes.", reply.logprobs)) == pytest.approx(math.log(9))  # hidden thinking


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply("Yes"), "the backend gives no log-probabilities of its text. Use a ChatBackend"),
        (Reply("Yes", tokens("No")), "the backend gives no log-probabilities of its text"),
        (Reply("Yes", ({"Yes": 0.7},)), "the backend gives no log-probabilities of its text"),
        (Reply("Yes", tokens("Y", "es")), "the judge's Yes or No is no single token"),
        (Reply("No\nYes or so", tokens("No", "\nYes or so")), "no Yes or No at the end in the judge's reply 'No"),
        (Reply("Partially", ({"Partially": -0.5, "Yes": -1.5},)), "no Yes or No at the end in the judge's reply"),
        (Reply("", ()), "no Yes or No at the end"),
    ],
)
def test_a_row_without_log_odds_says_why(reply, words):
    assert entailed(reply).why.startswith(words)
    assert entailed(reply).reason == "none"


def test_a_failure_of_the_backend_is_the_reason():
    judge = EntailmentJudge(Scripted(JudgeError("down")), principle="p")
    assert asyncio.run(judge.reasoned(prompts=["q"], completions=["c"])) == [("down", "endpoint")]


def test_the_column_of_a_row_overrides_the_principle():
    backend = Scripted("?", "?")
    judge = EntailmentJudge(backend, principle="Be brief.")
    asyncio.run(judge.reasoned(prompts=["q"] * 2, completions=["c"] * 2, principle=["Be polite.", None]))
    said = [re.search("Principle: (.*)", messages[1]["content"])[1] for messages in backend.asked]
    assert said == ["Be polite.", "Be brief."]
    found = EntailmentJudge(Fixed(*[Reply("Yes", tokens("Yes"))] * 3)).judged_by("p", ["q", "r"], [["a"], ["b", "c"]])
    assert asyncio.run(found) == [[10.0], [10.0, 10.0]]


@pytest.mark.parametrize("kind", [ListJudge, EntailmentJudge])
def test_a_row_without_a_principle_is_unscored_and_a_call_without_any_is_refused(kind):
    judge = kind(Scripted())
    found = asyncio.run(judge.reasoned(prompts=["q"], completions=["c"], principle=[None]))
    assert found == [("the row has no principle in words", "none")]
    with pytest.raises(ValueError, match=r"there is neither a principle nor a column `principle`\. Pass one of them"):
        asyncio.run(judge(prompts=["q"], completions=["c"]))
    assert pickle.loads(pickle.dumps(judge)).name == judge.name


@pytest.mark.parametrize("kind", [ListJudge, EntailmentJudge])
def test_a_principle_is_a_text_of_each_row(kind):
    backend = Scripted("?", "?")
    judge = kind(backend, principle="Be brief.")
    rows = {"prompts": ["q"] * 3, "completions": ["c"] * 3}
    found = asyncio.run(judge.reasoned(**rows, principle=np.array(["Be kind.", math.nan, 5], dtype=object)))
    assert ["Be kind." in str(backend.asked[0]), "Be brief." in str(backend.asked[1]), len(backend.asked)] == [
        True,
        True,
        2,
    ]
    assert found[2] == ("the row has no principle in words", "none")
    for column in ("Be kind.", ["Be kind."]):
        with pytest.raises(ValueError, match=r"the column `principle` is .*Be kind.* for 3 rows. Give one text"):
            asyncio.run(judge.reasoned(**rows, principle=column))


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"ListJudge: orders is 0\. Pass 1 or more"):
        ListJudge(Scripted(), orders=0)
    for options in ({"clamp": 0.0}, {"clamp": math.nan}, {"logprobs": 1}):
        with pytest.raises(ValueError, match=r"EntailmentJudge: clamp=.* above 0 and logprobs=.* at least 2\. Raise"):
            EntailmentJudge(Scripted(), **options)


def test_tokens_have_their_places_in_the_text():
    reply = Reply("a bc", ({"x": -1.0}, {"a": -1.0}, {" b": -1.0}, {"c": -1.0}, {"<eos>": -1.0}))
    assert [token[:2] for token in tokens_of(reply)] == [(0, 1), (1, 3), (3, 4)]
