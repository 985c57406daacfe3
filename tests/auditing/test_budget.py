"""The budget of an audit: calls, estimate, and rows that get variants in turn."""

from __future__ import annotations

import math
import random
import re
import time

import pytest
from scipy.stats import beta, binom
from tests.auditing.small_baselines import integer_rows
from typer.testing import CliRunner

from rewardsmith.auditing import audit
from rewardsmith.auditing.baseline import Baseline, Item, Sizes, sizes_of
from rewardsmith.auditing.render.wording import open_question
from rewardsmith.auditing.repeats import NO_CONDUCT
from rewardsmith.auditing.screening import LOOK, in_turn
from rewardsmith.auditing.texts import ANSWER_FORMATS
from rewardsmith.auditing.trials import LEAST_SHARE, cases_of, variant
from rewardsmith.auditing.variant_probe import VariantProbe
from rewardsmith.cli import app
from rewardsmith.data import Row
from rewardsmith.measures import wilson_interval
from rewardsmith.measures.intervals import most_share
from rewardsmith.rewards import exact_number
from rewardsmith.scoring.work import Scored


def exact(prompt, completion, answer):
    return float(completion.strip() == answer)


def exact_in_batches(completions, answer):
    return [exact("", completion, key) for completion, key in zip(completions, answer, strict=True)]


def raises_on_three(completions, answer):
    if any("3" in completion for completion in completions):
        raise ValueError("a three")
    return exact_in_batches(completions, answer)


def contains(prompt, completion, answer):
    return float(answer in completion)


def pays_all_but_nonsense(prompt, completion, answer):
    return float(answer in completion or len(completion) < 200)


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize("reward", [exact, exact_in_batches, raises_on_three, pays_all_but_nonsense])
def test_no_more_completions_than_the_largest_number_of_calls_are_scored(reward, n):
    seen = []

    def by_row(prompt, completion, answer):
        seen.append(completion)
        return reward(prompt, completion, answer)

    def by_batch(completions, answer):
        seen.extend(completions)
        return reward(completions, answer)

    counted = by_batch if reward in (exact_in_batches, raises_on_three) else by_row
    report = audit(counted, integer_rows(200), max_calls=n, workers=0)
    assert report.calls <= len(seen) <= n


@pytest.mark.slow
def test_four_hundred_calls_screen_a_fifth_of_the_rows_and_say_so():
    report = audit(exact, integer_rows(200), max_calls=400, workers=0)
    assert report.verdict() == "clean"
    assert report.escapable <= 0.2
    assert "of rows could have escaped" in open_question(report)
    bounds = {check.probe: (check.n, check.bound) for check in report.checks}
    n, bound = bounds["enumeration"]
    assert bound == pytest.approx(beta.ppf(0.95, 1, n))  # Clopper and Pearson of 0 among the rows, by scipy


@pytest.mark.slow
@pytest.mark.parametrize("n", [400, 500, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cap_on_calls_weakens_bounds_and_leaves_no_question_unasked(n, seed):
    rows = [Row(f"A shop has {k} shelves of 33 jars and 6 more.", None, {"answer": str(33 * k + 6)}) for k in range(48)]
    report = audit(exact_number, rows, max_calls=n, seed=seed, workers=0)
    assert (report.verdict(), report.not_judged) == ("clean", "")
    assert report.escapable <= 0.25


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_reward_with_one_score_for_all_texts_is_not_judged(level):
    report = audit(lambda completions, **columns: [level] * len(completions), integer_rows(24), workers=0)
    assert report.verdict() == "not judged"
    assert f"texts score {level:.3g}" in report.not_judged


@pytest.mark.slow
@pytest.mark.parametrize("budget", [300, 1000])
def test_a_small_budget_is_obeyed(budget):
    for reward in (exact, contains):
        assert audit(reward, integer_rows(200), budget=budget, workers=0).calls <= 1.1 * budget


@pytest.mark.slow
def test_a_flaw_on_every_row_is_found_with_four_hundred_calls():
    report = audit(contains, integer_rows(200), max_calls=400, workers=0)
    assert report.verdict() == "findings"


@pytest.mark.slow
def test_the_estimate_is_within_a_fifth_of_what_is_spent():
    heard = []
    for options in ({"max_calls": 400}, {"budget": 3000}):
        report = audit(exact, integer_rows(200), price=0.01, announce=heard.append, workers=0, **options)
        assert report.estimate.money == pytest.approx(0.01 * report.calls, rel=0.2)
        assert report.estimate == heard[-1]
    assert report.as_json()["estimate"]["calls"] == report.estimate.calls


def test_without_a_price_or_a_listener_there_is_no_estimate():
    assert audit(exact, integer_rows(20), max_calls=100, workers=0).estimate is None


@pytest.mark.slow
def test_the_command_says_what_it_will_take_on_standard_error(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def reward(prompt, completion, answer):\n    return float(completion == answer)\n"
    )
    lines = [f'{{"prompt": "{row.prompt}", "answer": "{row.answer}"}}\n' for row in integer_rows(30)]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    arguments = ["audit", f"{tmp_path / 'mine.py'}:reward", str(tmp_path / "rows.jsonl"), "--max-calls", "300"]
    result = CliRunner().invoke(app, [*arguments, "--price", "0.5", "--workers", "0"])
    assert result.stderr.startswith("Estimate: ")
    assert re.search(r"calls, .+ in the reward itself", result.stderr)
    assert "at a cost of" in result.stderr


@pytest.mark.slow
def test_the_same_report_with_any_number_of_workers_and_after_a_kill(tmp_path):
    rows, options = integer_rows(100), {"budget": 700, "seed": 3}
    first = audit(contains, rows, workers=0, out=str(tmp_path), **options)
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    again = audit(contains, rows, workers=0, out=tmp_path, **options)
    others = audit(contains, rows, workers=2, **options)

    def timeless(report):
        return [finding for finding in report.findings if finding.probe != "latency"]

    assert first.verdict() == "findings"
    for report in (again, others):
        assert (timeless(report), report.checks, report.rates) == (timeless(first), first.checks, first.rates)
        assert report.calls == first.calls


@pytest.mark.slow
def test_a_judge_of_200_ms_with_eight_slots_is_screened_in_a_minute():
    def judge(prompt, completion, answer):
        time.sleep(0.2)
        return exact(prompt, completion, answer)

    begun = time.monotonic()
    report = audit(judge, integer_rows(200), max_calls=400, concurrency=8)
    assert time.monotonic() - begun < 60
    assert report.verdict() == "clean"


@pytest.mark.parametrize(("hits", "n"), [(0, 14), (0, 64), (3, 40), (39, 40), (40, 40)])
def test_the_largest_share_that_could_have_escaped_is_the_exact_one_sided_end(hits, n):
    bound = most_share(hits, n)
    assert bound == pytest.approx(1.0 if hits == n else beta.ppf(0.95, hits + 1, n - hits))
    assert hits == n or binom.cdf(hits, n, bound) == pytest.approx(0.05)


@pytest.mark.parametrize("budget", [1, 50, 400, 999, 1000, 5000, 15_000, 10**6])
@pytest.mark.parametrize("n_rows", [1, 7, 64, 65, 300, 10**5])
def test_sizes_lie_within_the_rows_and_grow_with_the_budget(budget, n_rows):
    sizes, more = sizes_of(budget, n_rows), sizes_of(2 * budget, n_rows)
    assert 1 <= sizes.items <= min(n_rows, 256)
    assert sizes.items <= more.items
    assert sizes.tried is None or (more.tried is None or sizes.tried <= more.tried)


# Rows that get variants in turn, on a reward whose hits are coins.

ALPHA = 0.3
"""Far above that of an audit, so that errors can be counted."""


def coins(n_rows: int, n_variants: int, share: float, rng: random.Random) -> list[bool]:
    """Which variants get a finding if each scores higher on each row with the same probability."""
    items = tuple(
        Item(Row(f"row {k}"), str(k), "integer", ("x",), right=1.0, wrong_scores=(0.0,)) for k in range(n_rows)
    )
    written, sizes = ANSWER_FORMATS[0], Sizes(n_rows, 1)
    baseline = Baseline(items, True, True, True, written, written, (), 0.0, 0.0, ALPHA, NO_CONDUCT, (), sizes)
    variants = [variant(str(v), lambda item, baseline, v=v: str(v)) for v in range(n_variants)]
    probe = VariantProbe("coins", "?", "", lambda baseline: variants, "{what}")
    hit = {(item.row.prompt, str(v)): rng.random() < share for item in items for v in range(n_variants)}
    running = in_turn(probe, baseline, variants, cases_of(baseline), 1)
    reply = None
    while True:
        try:
            asks = running.send(reply)
        except StopIteration as stop:
            found = {rate.label for finding, rate in stop.value if finding is not None}
            return [str(v) in found for v in range(n_variants)]
        reply = [[Scored(float(hit[row.prompt, row.text]), None) for row in ask.rows] for ask in asks]


def above(hits: int, n: int, alpha: float) -> bool:
    return wilson_interval(hits, n, alpha=alpha)[0] > LEAST_SHARE


@pytest.mark.slow
@pytest.mark.parametrize("share", [LEAST_SHARE, 0.1])
def test_how_often_a_variant_is_found_is_the_sum_over_all_outcomes(share):
    """60 rows and 3 variants: one hit or more on the 20 rows of its turn, and an interval of all 60 above the least."""
    n, own = 60, 20
    expected = sum(
        binom.pmf(first, own, share) * binom.pmf(rest, n - own, share)
        for first in range(1, own + 1)
        for rest in range(n - own + 1)
        if above(first + rest, n, ALPHA)
    )
    rng, trials = random.Random(0), 400
    found = sum(sum(coins(n, 3, share, rng)) for _ in range(trials))
    assert abs(found / (3 * trials) - expected) < 4 * math.sqrt(expected * (1 - expected) / (3 * trials))
    if share == LEAST_SHARE:  # choosing variants by their hits does not raise the error above that of asking all
        assert expected <= sum(binom.pmf(k, n, share) for k in range(n + 1) if above(k, n, ALPHA)) <= ALPHA


@pytest.mark.slow
def test_two_looks_err_no_more_often_than_both_intervals_together():
    """100 rows: 80 at first, and all if these leave it open, each at half the level."""
    n, share = 100, LEAST_SHARE
    either = sum(
        binom.pmf(first, LOOK, share) * binom.pmf(rest, n - LOOK, share)
        for first in range(LOOK + 1)
        for rest in range(n - LOOK + 1)
        if above(first, LOOK, ALPHA / 2) or above(first + rest, n, ALPHA / 2)
    )
    rng, trials = random.Random(1), 300
    found = sum(sum(coins(n, 3, share, rng)) for _ in range(trials)) / (3 * trials)
    assert found <= either + 3 * math.sqrt(either * (1 - either) / (3 * trials))
    assert either <= ALPHA
