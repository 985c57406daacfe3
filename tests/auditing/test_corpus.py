"""Every planted flaw is found and named rightly, no sound reward is accused; `make sweep` asks it of fresh prompts."""

import math
import random
import re
from functools import cache

import pytest
from tests.auditing.corpus import prompts
from tests.auditing.corpus.cores import last_line_is
from tests.auditing.corpus.flawed import FLAWED
from tests.auditing.corpus.sound import SOUND

from rewardsmith.auditing import audit
from rewardsmith.equivalence.keys import equivalent, key_kind
from rewardsmith.equivalence.reading import reads_off

SEED = 0
N_ROWS, BUDGET = 48, 4_000
SOUND_ONES = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SOUND]  # one process has its report
MAKERS = {name: make for name, make in vars(prompts).items() if re.fullmatch(r"[a-z_]+_rows", name)}


def report_of(name, seed):
    case = FLAWED.get(name) or SOUND[name]
    rng = random.Random(f"{seed} {name}")
    rows = case.rows(N_ROWS, rng)
    timeout = 0.5 if case.workers else 10.0
    return audit(case.make(), rows, budget=BUDGET, workers=case.workers, timeout=timeout, seed=rng.randrange(2**31))


RARE = (
    *("answer_is_something", "quoted_value", "opener_judge", "close_enough", "rounds_to_tens", "prefix_match"),
    *("evaluates", "own_grade", "strikeout_reader", "compatibility_digits", "thorough_steps", "relevance_bonus"),
)
"""Flawed rewards of (prompt, completion, answer) that score the right answer like `last_line_is`."""


def rare_report_of(name, seed):
    """The audit, at its default budget, of a reward whose flaw shows on a tenth of 260 rows."""
    case, rng = FLAWED[name], random.Random(f"{seed} {name} rare")
    reward, rows = case.make(), case.rows(260, rng)
    shown = {row.prompt for row in rng.sample(rows, 26)}

    def rare(prompt, completion, answer):
        return reward(prompt, completion, answer) if prompt in shown else last_line_is(completion, answer)

    return audit(rare, rows, workers=0, seed=rng.randrange(2**31))


@cache
def _report(name):
    return report_of(name, SEED)


def _told(report):
    return "\n".join(f"  {f.severity} {f.probe}: {f.message}" for f in report.findings)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLAWED)
def test_a_planted_flaw_heads_the_report(name):
    case = FLAWED[name]
    report = _report(name)
    heads = {finding.probe for finding in report.at_least("medium")[:1]}
    assert heads & case.expected, f"{name} wants {sorted(case.expected)} first, got\n{_told(report)}"


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND_ONES)
def test_a_sound_reward_is_not_accused(name):
    """A strict one may be told so: it is right never to pay for a wrong answer, and still refuses right ones."""
    report = _report(name)
    accused = tuple(finding for finding in report.at_least("medium") if finding.probe != "strictness")
    assert accused == (), f"{name} is sound, yet\n{_told(report)}\n  {accused[0].examples}"


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND_ONES)
def test_a_sound_reward_pays_for_right_answers_in_its_own_form(name):
    """Otherwise nothing said about it would mean anything: the audit must recognize its kind."""
    report = _report(name)
    keyed = SOUND[name].rows(1, random.Random(0))[0].answer is not None
    right = report.levels.get("right answers", ())
    assert not keyed or sum(score >= 0.99 for score in right) >= 0.9 * max(len(right), 1) > 0, right


def test_the_corpus_is_as_large_and_varied_as_promised():
    assert len(FLAWED) >= 80
    assert len(SOUND) >= 60
    assert len(frozenset().union(*(case.expected for case in FLAWED.values()))) >= 24


@pytest.mark.parametrize("name", MAKERS)
def test_fresh_prompts_have_answers_that_a_copy_of_the_prompt_does_not_give(name):
    rows = MAKERS[name](60, random.Random(f"{SEED} {name}"))
    assert len(rows) == 60
    for row in rows:
        assert row.answer is None or (row.answer and not reads_off(row.prompt_text, row.answer)), row
    again = MAKERS[name](60, random.Random(f"{SEED} {name}"))
    assert again == rows


def test_the_answers_of_the_prompts_are_right():
    """Read back from the text by another route: the arithmetic of Python's own `eval` on our own expressions."""
    for row in prompts.arithmetic_rows(100, random.Random(SEED)):
        expression = row.prompt_text.removeprefix("Compute ").removesuffix(" and report the result.")
        assert str(eval(expression, {"__builtins__": {}})) == row.answer
    for row in prompts.word_rows(100, random.Random(SEED)):
        times, red, green, gone = map(int, re.findall(r"\d+", row.prompt_text))
        assert str(times * (red + green) - gone) == row.answer
    for row in prompts.choice_rows(100, random.Random(SEED)):
        a, b = map(int, re.search(r"(\d+) \+ (\d+)", row.prompt_text).groups())
        assert re.search(rf"^{row.answer}\) {a + b}$", row.prompt_text, re.M)
        assert len(set(re.findall(r"^[A-D]\) (\d+)$", row.prompt_text, re.M))) == 4
    for row in prompts.fraction_rows(100, random.Random(SEED)):
        x, y = re.search(r"Add (\S+) and (\S+),", row.prompt_text).groups()
        assert equivalent(f"{x} + {y}", row.answer) is True
    for row in prompts.multiset_rows(50, random.Random(SEED)):
        (product,) = re.findall(r"\d+", row.prompt_text)
        assert math.prod(map(int, row.answer.split(", "))) == int(product)
    for row in prompts.pair_rows(50, random.Random(SEED)):
        east, north = map(int, re.search(r"(\d+) steps east and (\d+) north", row.prompt_text).groups())
        assert row.answer == f"({east - 50}, {north - 50})"
    for row in prompts.measure_rows(50, random.Random(SEED)):
        (one, unit), (other, again) = re.findall(r"(\d+) (\w+)", row.prompt_text)
        assert (unit, row.answer) == (again, f"{int(one) + int(other)} {unit}")
    for row in prompts.expression_rows(50, random.Random(SEED)):
        times, more = map(int, re.findall(r"\d+", row.prompt_text))
        assert equivalent(f"{more} + {times}*x", row.answer) is True


def test_the_kinds_of_keys_are_what_the_makers_promise():
    kinds = {name: {key_kind(row.answer) for row in make(40, random.Random(SEED)) if row.answer is not None}
             for name, make in MAKERS.items()}  # fmt: skip
    assert kinds["arithmetic_rows"] == kinds["word_rows"] == kinds["grouped_rows"] == {"integer"}
    assert kinds["fraction_rows"] == {"fraction"}
    assert kinds["decimal_rows"] == {"decimal"}
    assert kinds["choice_rows"] == {"choice"}
    assert kinds["yes_no_rows"] == {"boolean"}
    assert kinds["capital_rows"] == kinds["code_rows"] == {"word"}
    assert kinds["text_rows"] == {"text"}
    assert kinds["list_rows"] == kinds["multiset_rows"] == kinds["pair_rows"] == {"structured"}
    assert kinds["measure_rows"] == {"integer"}
    assert kinds["price_rows"] == {"decimal"}
    assert kinds["expression_rows"] == {"expression"}
