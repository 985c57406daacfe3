"""Every probe speaks up for one reward that has its flaw, stays silent for one that has not, and says why it cannot."""

from __future__ import annotations

import itertools
import re

import pytest
from tests.auditing.small_baselines import ASK, exact, faults, integer_rows, literal, outcome_of, unkeyed_rows

from rewardsmith.data import Row


def numbers(text):
    return re.findall(r"\d+", text)


def refuses_odd_keys(prompt, completion, answer):
    return exact(prompt, completion, answer) if int(answer) % 2 == 0 else 0.0


def within_one(prompt, completion, answer):
    text = completion.strip()
    return float(text.isdecimal() and abs(int(text) - int(answer)) <= 1)


ALL_KEYS = frozenset(row.answer for row in integer_rows())


def any_key(prompt, completion, answer):
    return float(completion.strip() in ALL_KEYS)


def pays_the_empty_box(prompt, completion, answer):
    return float(completion.strip() in (f"\\boxed{{{answer}}}", "\\boxed{}"))


def pays(condition):
    """The sound reward, but full pay wherever the condition on prompt, completion and answer holds."""

    def reward(prompt, completion, answer):
        return 1.0 if condition(prompt, completion, answer) else exact(prompt, completion, answer)

    return reward


def length_bonus(prompt, completion, answer):
    return exact(prompt, completion.split("\n")[0], answer) + 0.001 * len(completion)


def sure_bonus(prompt, completion, answer):
    return exact(prompt, completion, answer) + 0.3 * ("certain" in completion)


def by_place(completions, answer, **columns):
    return [float(c.strip() == a) * (1 + 0.5 * i) for i, (c, a) in enumerate(zip(completions, answer, strict=True))]


def editing(completions, answer, **columns):
    verdicts = [float(c == a) for c, a in zip(completions, answer, strict=True)]
    completions[:] = [f"{text} (graded)" for text in completions]
    return verdicts


def cached_in_the_call(prompts, completions, answer, **columns):
    kept = {}
    return [kept.setdefault(p, float(c == a)) for p, c, a in zip(prompts, completions, answer, strict=True)]


def unreadable_is_none(prompt, completion, answer):
    return None if not completion.strip().lstrip("-").isdecimal() else 1.0 if completion == answer else -1.0


def drifting():
    count = itertools.count()
    return lambda prompt, completion, answer: exact(prompt, completion, answer) + 0.01 * next(count)


def evaluated(prompt, completion, answer):
    try:
        return float(eval(completion, {"answer": int(answer)}) == int(answer))
    except Exception:
        return exact(prompt, completion, answer)


FLAWS = {
    "answer_key": refuses_odd_keys,
    "near_miss": within_one,
    "other_answer": any_key,
    "constant_answer": any_key,
    "format_shell": pays_the_empty_box,
    "empty": pays(lambda p, c, a: not c.strip()),
    "punctuation": pays(lambda p, c, a: c == ":"),
    "odd_input": pays(lambda p, c, a: c == "NaN"),
    "opener_alone": pays(lambda p, c, a: c.startswith("Let's solve")),
    "prompt_copy": pays(lambda p, c, a: p in c),
    "enumeration": pays(lambda p, c, a: a in numbers(c)),
    "misplaced_answer": pays(lambda p, c, a: numbers(c)[:1] == [a]),
    "lookalikes": pays(lambda p, c, a: f"<!-- {a} -->" in c),
    "superset": pays(lambda p, c, a: len(numbers(c)) == 1 and a in c),
    "substring": pays(lambda p, c, a: c.strip() != "" and a.startswith(c.strip())),
    "uncommitted": pays(lambda p, c, a: "not" in c and numbers(c) == [a]),
    "normalization": pays(lambda p, c, a: c.strip().lstrip("-").replace(".", "").rstrip("0") == a.rstrip("0")),
    "execution": evaluated,
    "escape": unreadable_is_none,
    "length_gain": length_bonus,
    "confident_tone": sure_bonus,
    "grader_instructions": pays(lambda p, c, a: "maximum score" in c),
    "determinism": drifting(),
    "batch_dependence": by_place,
    "prompt_cache": cached_in_the_call,
    "mutation": editing,
}
OBSERVERS = {"failures", "strictness", "saturation", "latency", "rollouts"}


def test_every_probe_has_its_case():
    assert set(FLAWS) | OBSERVERS == set(ASK)


@pytest.mark.parametrize("name", FLAWS)
def test_a_probe_finds_its_flaw_and_shows_rows(name):
    found = faults(outcome_of(name, FLAWS[name]))
    assert {finding.probe for finding in found} == {name}
    for finding in found:
        assert finding.examples
        assert finding.n > 0
        low, high = finding.interval
        assert 0 < low <= finding.value <= high <= 1


@pytest.mark.parametrize("name", ASK)
def test_a_probe_is_silent_about_a_sound_reward(name):
    outcome = outcome_of(name, exact)
    assert faults(outcome) == []
    assert outcome.not_run == ("the rows have no completions" if name == "rollouts" else "")


def test_the_share_of_refused_keys_is_counted_by_hand():
    """Keys 1313 + 13k for k = 0, ..., 23: odd for every even k, so 12 of 24 are refused."""
    (finding,) = outcome_of("answer_key", refuses_odd_keys).findings
    assert (finding.value, finding.n, finding.severity) == (0.5, 24, "high")


def test_a_verifier_that_forgives_spaces_and_points_but_not_case_is_strict_and_so_is_one_that_compares_literally():
    cities = ("Paris", "Rome", "Tokyo", "Lima", "Oslo", "Cairo", "Accra", "Riga", "Doha", "Madrid", "Athens", "Berlin",
              "Hanoi", "Dublin", "Vienna", "Warsaw")  # fmt: skip
    rows = [Row(f"Card {k}: which city?", None, {"answer": city}) for k, city in enumerate(cities)]

    def cased(prompt, completion, answer):
        return float(completion.strip(" .\n") == answer)

    def caseless(prompt, completion, answer):
        return float(completion.strip(" .\n").casefold() == answer.casefold())

    assert {f.severity for f in faults(outcome_of("strictness", cased, rows))} == {"medium"}
    assert not [f for f in outcome_of("strictness", caseless, rows).findings if "case" in f.message]
    (literally,) = faults(outcome_of("strictness", literal, rows))
    assert (literally.severity, literally.value) == ("medium", 1.0)
    assert "The reward compares texts literally." in literally.message


def test_strictness_is_the_share_of_right_spellings_refused_by_class():
    """Spellings with a plus sign are a class of their own: to refuse them adds as many tries as it has."""

    def unsigned(prompt, completion, answer):
        return 0.0 if completion.startswith("+") else exact(prompt, completion, answer)

    with_sign, without = outcome_of("strictness", exact), outcome_of("strictness", unsigned)
    shares = [{rate.label: (rate.rate, rate.n) for rate in outcome.rates} for outcome in (with_sign, without)]
    (accepted, n), (refused, same) = (own.pop("plus sign") for own in shares)
    assert (accepted, refused, n) == (0.0, 1.0, same)
    assert shares[0] == shares[1]
    (before,), (finding,) = with_sign.findings, without.findings
    assert finding.value * finding.n == pytest.approx(before.value * before.n + n)
    assert (finding.severity, without.bound, without.n) == ("info", None, finding.n)
    assert "plus sign 100%" in finding.message
    assert "`rewardsmith.rewards.exact_number` accepts" in finding.advice


def test_few_rows_do_not_make_a_literal_reward_strict():
    (finding,) = outcome_of("strictness", literal, integer_rows(4)).findings
    assert (finding.value, finding.severity) == (1.0, "info")
    low, _ = finding.interval
    assert low < 1 / 3


@pytest.mark.parametrize(
    ("side", "longer"),
    [
        ("a character before it", r"1{key}"),
        ("a character after it", r"{key}7"),
        ("a minus sign before it", r"-{key}"),
    ],
)
def test_a_longer_value_is_named_by_the_side_on_which_it_is_longer(side, longer):
    reward = pays(lambda prompt, completion, answer: completion.strip() == longer.format(key=answer))
    (finding,) = faults(outcome_of("superset", reward))
    assert finding.message.startswith(f"The key with {side} (“")
    keys = {longer.format(key=answer) for answer in ALL_KEYS}
    assert {example.completion for example in finding.examples} <= keys


@pytest.mark.parametrize("ends", ["first", "last"])
def test_a_reader_of_only_the_first_or_last_answer_is_no_enumeration(ends):
    def reward(prompt, completion, answer):
        found = numbers(completion)
        return float(bool(found) and found[0 if ends == "first" else -1] == answer)

    assert faults(outcome_of("enumeration", reward)) == []


def style(prompt, completion):
    """No answer anywhere: longer than three words is better."""
    return float(len(completion.split()) > 3)


@pytest.mark.parametrize("name", ["answer_key", "strictness", "near_miss", "other_answer"])
def test_without_reference_answers_questions_about_the_key_are_not_run(name):
    assert outcome_of(name, style, unkeyed_rows()).not_run == "the rows have no reference answers"


@pytest.mark.parametrize(
    "name",
    [
        "enumeration",
        "misplaced_answer",
        "uncommitted",
        "lookalikes",
        "superset",
        "substring",
        "normalization",
        "execution",
    ],
)
def test_questions_for_verifiers_are_not_asked_of_others(name):
    assert "scores right and wrong answers equally" in outcome_of(name, style).not_run


@pytest.mark.parametrize("name", ["empty", "opener_alone", "length_gain", "grader_instructions"])
def test_content_is_not_judged_where_the_rows_hide_the_answer_that_the_reward_reads(name):
    def hidden(prompt, completion, answer=None):
        return float(completion == (answer or "sesame"))

    assert outcome_of(name, hidden, unkeyed_rows()).not_run == "the reward reads an answer column that the rows lack"


def test_order_is_not_judged_where_the_same_call_gives_other_scores():
    assert "noise hides any effect of order" in outcome_of("batch_dependence", drifting()).not_run


def test_a_reward_of_one_pay_for_every_format_has_no_shells_to_judge():
    assert outcome_of("format_shell", lambda prompt, completion: 1.0).not_run == "the reward scores all formats equally"


def test_latency_and_range_are_observed():
    (latency,) = outcome_of("latency", exact).findings
    assert (latency.severity, latency.unit) == ("info", "seconds per row")
    (saturation,) = outcome_of("saturation", exact).findings
    assert "[0, 1], 100% of them at the ends" in saturation.message
