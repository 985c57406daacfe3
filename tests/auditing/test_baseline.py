"""The baseline: which form a reward reads, and what honest right and wrong answers earn in it, worked out by hand."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from tests.auditing.small_baselines import baseline_in, baseline_of, exact, integer_rows, rounds_of, unkeyed_rows

from rewardsmith.auditing.asking import Ask
from rewardsmith.auditing.texts import ANSWER_FORMATS
from rewardsmith.scoring.work import Scored


def boxed(prompt, completion, answer):
    return float(re.findall(r"\\boxed\{([^{}]*)\}", completion)[-1:] == [answer])


def as_json(prompt, completion, answer):
    try:
        record = json.loads(completion)
    except ValueError:
        return 0.0
    return float(isinstance(record, dict) and str(record.get("answer")) == answer)


def json_string(prompt, completion, answer):
    return as_json(prompt, completion, answer) if f'"{answer}"' in completion else 0.0


def tagged(prompt, completion, answer):
    return float(bool(re.fullmatch(rf"<think>.+</think>\s*<answer>{answer}</answer>", completion, re.S)))


@pytest.mark.parametrize(
    ("reward", "answer_format", "accepted"),
    [
        (exact, "bare", {"bare"}),
        (boxed, "boxed", {"boxed", "boxed in a sentence", "think, then boxed"}),
        (as_json, "JSON string", {"JSON string", "JSON value"}),
        (json_string, "JSON string", {"JSON string"}),
        (tagged, "think, then answer tag", {"think, then answer tag"}),
    ],
)
def test_the_baseline_finds_the_form_that_the_reward_reads(reward, answer_format, accepted):
    baseline = baseline_of(reward)
    assert baseline.verifier
    assert baseline.answer_format.name == answer_format
    assert set(baseline.accepted) == accepted
    assert baseline.kind == "verifier"


def test_every_carrier_holds_its_answer_and_has_a_name_of_its_own():
    assert all("97531" in answer_format.wrap("97531") for answer_format in ANSWER_FORMATS)
    assert len({answer_format.name for answer_format in ANSWER_FORMATS}) == len(ANSWER_FORMATS)


def test_a_bonus_for_format_chooses_among_forms_that_tell_right_from_wrong_alike():
    """Bare and boxed answers both earn 1 over a wrong one, boxed ones half a point besides."""

    def reward(prompt, completion, answer):
        return float(answer in completion) + 0.5 * ("\\boxed{" in completion)

    baseline = baseline_of(reward)
    assert baseline.answer_format.name == "boxed"


def test_level_and_gap_of_a_verifier_are_what_wrong_answers_earn_and_what_right_ones_add():
    """Right 0.9 and wrong 0.3 everywhere: level 0.3, gap 0.6."""

    def reward(prompt, completion, answer):
        return 0.9 if completion == answer else 0.3

    baseline = baseline_of(reward)
    assert [item.right for item in baseline.items] == [0.9] * 24
    assert {item.level for item in baseline.items} == {0.3}
    assert all(item.unit == pytest.approx(0.6) for item in baseline.items)
    item = baseline.items[0]
    assert baseline.gain(item, 0.9) == pytest.approx(1.0)
    assert baseline.gain(item, 0.6) == pytest.approx(0.5)
    assert baseline.gain(item, 0.0) == pytest.approx(-0.5)
    assert baseline.gain(item, 0.9, over=0.6) == pytest.approx(0.5)


def test_a_row_whose_key_is_refused_is_measured_in_the_usual_gap():
    """Odd keys earn 0 like wrong ones, so their own gap is 0; the median over the others is 1."""

    def reward(prompt, completion, answer):
        return exact(prompt, completion, answer) if int(answer) % 2 == 0 else 0.0

    gaps = {int(item.key) % 2: item.unit for item in baseline_of(reward).items}
    assert gaps == {0: 1.0, 1: 1.0}


def test_a_reward_for_format_is_measured_by_the_spread_over_formats():
    """Boxed earns 3, the rest 1: honest completions are boxed, their level is 3 and the gap 3 − 1 = 2."""

    def reward(prompt, completion):
        return 3.0 if "\\boxed{" in completion else 1.0

    baseline = baseline_of(reward, unkeyed_rows())
    assert (baseline.verifier, baseline.keyed, baseline.kind) == (False, False, "format or style reward")
    assert baseline.answer_format.name == "boxed"
    assert {(item.level, item.unit) for item in baseline.items} == {(3.0, 2.0)}
    assert baseline.formatted == 2.0


def test_a_constant_reward_looks_at_nothing():
    """No spread: the gap is a tenth of the level of 5."""
    baseline = baseline_of(lambda prompt, completion: 5.0)
    assert (baseline.verifier, baseline.kind) == (False, "reward that ignores answers")
    assert {(item.level, item.unit) for item in baseline.items} == {(5.0, 0.5)}


def test_answers_that_the_rows_do_not_show_leave_the_baseline_blind():
    def reward(prompt, completion, answer=None):
        return float(completion == (answer or "sesame"))

    baseline = baseline_of(reward, unkeyed_rows())
    assert baseline.blind
    assert baseline.kind == "verifier, but the rows have no answers"


def test_noise_is_the_largest_difference_between_scores_of_one_row():
    """The k-th row is shifted by 0, 0.01 or 0.03 in turn; 16 rows a call and 16 ≡ 1 (mod 3), so calls differ."""
    shifts = itertools.cycle((0.0, 0.01, 0.03))
    baseline = baseline_of(lambda prompt, completion, answer: exact("", completion, answer) + next(shifts))
    assert baseline.noise == pytest.approx(0.03)
    assert baseline_of(exact).noise == 0.0


@pytest.mark.slow
def test_a_reward_noisier_than_its_gap_is_no_verifier():
    """A gap of 0.1 against noise of 1."""
    draws = itertools.cycle((0.0, 0.5, 1.0))
    baseline = baseline_of(lambda prompt, completion, answer: 0.1 * exact("", completion, answer) + next(draws))
    assert not baseline.verifier


def test_rows_without_an_answer_are_left_out_where_others_have_one():
    baseline = baseline_of(exact, [*integer_rows(6), *unkeyed_rows(6)])
    assert len(baseline.items) == 6
    assert all(item.key == item.row.answer for item in baseline.items)


def test_no_wrong_answer_of_an_item_is_its_key():
    for item in baseline_of(exact).items:
        assert item.wrongs
        assert item.key not in item.wrongs


def test_the_same_seed_chooses_the_same_items_and_another_one_others():
    with rounds_of(exact) as rounds:
        chosen = [
            [item.row.prompt for item in baseline_in(rounds, integer_rows(), seed=seed).items] for seed in (0, 0, 1)
        ]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_questions_side_by_side_each_get_their_own_scores_in_order():
    """Two questions, one of two rounds, with ordinary and whole asks mixed."""
    right, wrong = (integer_rows(1)[0].with_completion(text) for text in ("1313", "7"))

    def first():
        scores = yield [Ask([right, wrong]), Ask([wrong, right], nonce="n", whole=True)]
        (again,) = yield [Ask([wrong])]
        return [[score.reward for score in row] for row in (*scores, again)]

    def second():
        (scores,) = yield [Ask([wrong, wrong, right])]
        return [score.reward for score in scores]

    with rounds_of(exact) as rounds:
        results = rounds.run_all({"first": first(), "second": second()})
    assert results == {"first": [[1.0, 0.0], [0.0, 1.0], [0.0]], "second": [0.0, 0.0, 1.0]}
    assert rounds.calls == 4  # two rows as such, two under the nonce; what was known was not asked again


def test_what_came_back_unscored_is_noted_once_and_each_call_counts():
    def reward(prompt, completion, answer):
        return None if completion == "7" else 1.0

    row = integer_rows(1)[0].with_completion("7")

    def asking(nonce):
        (scores,) = yield [Ask([row], nonce=nonce)]
        return scores

    with rounds_of(reward) as rounds:
        results = rounds.run_all({nonce: asking(nonce) for nonce in ("a", "b")})
    assert rounds.unscored == {"none": 2}
    assert len(rounds.broken[""]) == len(rounds.sent[""]) == 1
    assert isinstance(results["a"][0], Scored)
