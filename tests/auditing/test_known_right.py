"""A ground truth without a single answer: learned from right completions or not judged, no fault of the reward."""

import json
import re

import pytest
from tests.auditing.small_baselines import baseline_of, faults, outcome_of

from rewardsmith.auditing.known_right import GIVEN_FORMAT, Given, cut_at_answer, given_formats, rows_with_field
from rewardsmith.auditing.probes.disguises import SUBSTRING
from rewardsmith.data import Row, read_rows

CITIES = (
    "Paris",
    "London",
    "Berlin",
    "Madrid",
    "Rome",
    "Vienna",
    "Athens",
    "Lisbon",
    "Oslo",
    "Dublin",
    "Prague",
    "Bern",
)
SUMS = [(2 + k, 3 + k % 5, 2 + k % 7) for k in range(12)]  # (a + b) * c, with the numbers as in countdown data


def verl_row(prompt, truth, **given):
    return {"data_source": "toy", "prompt": prompt, "reward_model": {"style": "rule", "ground_truth": truth}, **given}


def tagged(text):
    return (re.findall(r"<answer>(.*?)</answer>", text, re.S) or [""])[-1].strip()


def qa(data_source, solution_str, ground_truth, extra_info=None):
    """Exact match with any of the accepted answers, as in published question answering."""
    return float(tagged(solution_str).casefold() in [text.casefold() for text in ground_truth["target"]])


def countdown(data_source, solution_str, ground_truth, extra_info=None):
    """Full marks for an expression of exactly these numbers that makes the target, a tenth for any other answer."""
    said = tagged(solution_str)
    if not re.fullmatch(r"[\d+*() ]+", said):
        return 0.1 * bool(said)
    if sorted(map(int, re.findall(r"\d+", said))) != sorted(ground_truth["numbers"]):
        return 0.1
    try:
        return 1.0 if eval(said) == ground_truth["target"] else 0.1
    except SyntaxError:
        return 0.1


def starts_after_a_turn(data_source, solution_str, ground_truth, extra_info=None):
    """Read only what follows the marker of a turn, which no usual format has."""
    return float(tagged(solution_str.partition("Turn 2:")[2]) == ground_truth)


def never(data_source, solution_str, ground_truth, extra_info=None):
    return 0.0 * len(ground_truth)


def anything(data_source, solution_str, ground_truth, extra_info=None):
    return float(bool(solution_str.strip() and ground_truth))


QA = read_rows([verl_row(f"Capital {k}?", {"target": [c, f"{c} city"], "style": "rule"}) for k, c in enumerate(CITIES)])
COUNTDOWN = [
    verl_row(f"Make {(a + b) * c} of {a}, {b}, {c}.", {"target": (a + b) * c, "numbers": [a, b, c]}) for a, b, c in SUMS
]
TRIED = [
    {**row, "completion": f"<think>try</think>\n<answer>{text}</answer>", "correct": right}
    for row, (a, b, c) in zip(COUNTDOWN, SUMS, strict=True)
    for text, right in ((f"({a} + {b}) * {c}", True), (f"{a} + {b} + {c}", False))
]


@pytest.mark.slow
def test_several_accepted_answers_are_equal_and_none_of_them_is_a_wrong_one():
    baseline = baseline_of(qa, QA)
    assert (baseline.verifier, baseline.answer_format.name) == (True, "answer tag")
    assert {item.key: item.others for item in baseline.items} == {city: (f"{city} city",) for city in CITIES}
    turned = [Row(row.prompt, None, {"answer": list(reversed(row.answers.texts))}) for row in QA]

    def accepts_any(prompt, completion, answer):
        return float(completion in answer)

    for probe in ("near_miss", "other_answer", "constant_answer", SUBSTRING, "superset"):
        # "Paris" is a part of the key "Paris city", and one of its accepted answers.
        assert faults(outcome_of(probe, accepts_any, turned)) == []


def test_a_target_beside_numbers_is_no_answer_and_the_reason_names_the_option():
    baseline = baseline_of(countdown, read_rows(COUNTDOWN))
    assert baseline.blind == (
        "the ground truth is a dict with target, numbers and no single answer; give completions known to be right, "
        "with `gold` 1, or if a field is the answer, name it with --answer-column reward_model.ground_truth.target"
    )
    assert not baseline.verifier
    for probe in ("answer_key", "near_miss", "superset", "empty"):
        assert outcome_of(probe, countdown, read_rows(COUNTDOWN)).not_run == baseline.blind


def test_a_field_that_is_not_the_answer_accuses_nobody():
    rows = read_rows(COUNTDOWN, answer_column="reward_model.ground_truth.target")
    baseline = baseline_of(countdown, rows)
    assert baseline.unread.startswith("the reward reads an answer, but scores right and wrong ones equally")
    assert [outcome_of(probe, countdown, rows).not_run for probe in ("format_shell", "empty")] == [baseline.unread] * 2


def test_right_completions_overrule_a_named_field_that_is_not_the_answer():
    baseline = baseline_of(countdown, read_rows(TRIED, answer_column="reward_model.ground_truth.target"))
    assert (baseline.verifier, baseline.learned, baseline.unread) == (True, True, "")
    assert {item.key for item in baseline.items} == {f"({a} + {b}) * {c}" for a, b, c in SUMS}


def test_answers_are_learned_from_completions_that_are_known_to_be_right():
    baseline = baseline_of(countdown, read_rows(TRIED))
    assert (baseline.verifier, baseline.learned, baseline.blind) == (True, True, "")
    assert {item.key for item in baseline.items} == {f"({a} + {b}) * {c}" for a, b, c in SUMS}
    assert all(item.wrongs[0].count("+") == 2 for item in baseline.items)  # the completion known to be wrong
    assert {item.right for item in baseline.items} == {1.0}
    assert "learned from completions" in outcome_of("strictness", countdown, read_rows(TRIED)).not_run


def test_a_format_is_learned_from_a_right_completion():
    rows = read_rows([verl_row(f"2+{k}?", str(k + 2)) for k in range(12)])
    assert not baseline_of(starts_after_a_turn, rows).verifier
    given = [
        verl_row(f"2+{k}?", str(k + 2), completion=f"User: 2+{k}?\nTurn 2: <answer>{k + 2}</answer>", gold=1)
        for k in range(12)
    ]
    baseline = baseline_of(starts_after_a_turn, read_rows(given))
    assert (baseline.verifier, baseline.accepted, baseline.learned) == (True, (GIVEN_FORMAT,), False)
    usual = read_rows([{"prompt": "q", "answer": "7", "completion": "\\boxed{7}", "gold": 1}])
    assert given_formats(usual) == []  # the audit tries it anyway


def test_right_completions_say_which_field_of_a_dict_is_the_answer():
    rows = read_rows([
        verl_row(f"{k}?", {"target": str(k), "hint": "x"}, completion=f"#### {k}", gold=1.0) for k in range(5)
    ])  # fmt: skip
    assert rows[0].answer is None
    assert [row.answer for row in rows_with_field(rows)] == ["0", "1", "2", "3", "4"]
    assert rows_with_field(rows[:2]) == []  # two rows may agree by chance
    wrong = [Row(row.prompt, "#### 9", row.columns, row.answer_column) for row in rows]
    assert rows_with_field(wrong) == []


@pytest.mark.parametrize("truth", [{"inputs": ["1"], "outputs": ["2"]}, json.dumps({"inputs": [], "outputs": []})])
def test_code_tests_are_not_judged(truth):
    baseline = baseline_of(never, read_rows([verl_row(f"Write f{k}.", truth) for k in range(4)]))
    assert baseline.blind == (
        "the ground truth is a set of code tests, which is no answer; give completions known to be right, with `gold` "
        "1, or a column with the answer"
    )


@pytest.mark.slow
def test_an_answer_found_inside_is_doubted_before_the_reward_is():
    assert baseline_of(never, QA).unread
    assert outcome_of("answer_key", never, QA).findings == ()
    assert outcome_of("answer_key", anything, QA).findings  # it pays what is certainly wrong


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("so \\boxed{\\frac{1}{2}}.", Given("so \\boxed{", "\\frac{1}{2}", "}.")),
        ("3+4\n#### 7", Given("3+4\n#### ", "7", "")),
        ("<answer>5</answer> no <answer> 7 </answer>", Given("<answer>5</answer> no <answer> ", "7", " </answer>")),
        ("Here:\n```python\ndef f():\n    pass\n```", Given("Here:\n```python\n", "def f():\n    pass", "\n```")),
        ("It is big.\nThe answer is 7.", Given("It is big.\nThe answer is ", "7", ".")),
        ("Paris", Given("", "Paris", "")),
        ("Two lines\nof prose", None),
        ("word " * 40, None),
        ("", None),
    ],
)
def test_a_completion_is_cut_at_its_answer(text, cut):
    assert cut_at_answer(text) == cut


def test_a_reward_that_wants_the_answer_twice_is_read():
    """Search-R1's first release: the text holds the prompt, whose example is the first answer."""

    def second(solution_str, ground_truth):
        several = solution_str.count("<answer>") > 1
        return float(several and tagged(solution_str).casefold() == ground_truth["target"][0].casefold())

    rows = read_rows([verl_row(f"Which city is on card {k}?", {"target": [c]}) for k, c in enumerate(CITIES)])
    baseline = baseline_of(second, rows)
    assert baseline.verifier
    assert baseline.accepted == ("answer tag, twice", "think, then answer tag, twice")
    assert [item.right for item in baseline.items] == [1.0] * 12
