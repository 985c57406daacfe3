"""Stated confidence: no false alarm about calibrated policies, and intervals and pairs against other routes."""

from __future__ import annotations

import random
from collections import defaultdict
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.auditing.small_baselines import ALPHA, faults, outcome_of

from rewardsmith.auditing import confidence_bias, miscalibration
from rewardsmith.auditing.probes.confidence import restate, scale_of
from rewardsmith.data import Row, parse_confidence
from rewardsmith.measures.intervals import auroc_interval, design_effect

SEED = 0
CALIBRATED, SIZES = ("own", "average", "alike"), ((8, 4), (24, 8), (60, 1))
LEVELS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def drawn(rng, *, prompts, group, kind):
    """Confidences, outcomes and prompts of a policy that is calibrated, but for kind "sure"."""
    rows = []
    for prompt in range(prompts):
        solved = rng.random()
        for _ in range(group):
            if kind == "own":  # each completion knows its own chance
                q = rng.choice(LEVELS)
                rows.append((q, rng.random() < q, prompt))
            elif kind == "average":  # right on average, though the chance is the prompt's
                rows.append((0.5, rng.random() < solved, prompt))
            elif kind == "alike":  # all of a prompt's completions are right or wrong together
                rows.append((0.6, solved < 0.6, prompt))
            else:
                rows.append((rng.choice((0.9, 0.95, 1.0)), rng.random() < 0.6, prompt))
    return [list(column) for column in zip(*rows, strict=True)]


def alarm_of(kind, prompts, group, rng):
    """The finding of one draw of a calibrated policy, None where there is none."""
    q, z, clusters = drawn(rng, prompts=prompts, group=group, kind=kind)
    found = miscalibration(q, z, clusters=clusters, alpha=ALPHA)
    return found if found.low > 0.05 else None


@pytest.mark.parametrize("kind", CALIBRATED)
@pytest.mark.parametrize(("prompts", "group"), SIZES)
def test_calibrated_confidences_raise_no_alarm_however_few_they_are(kind, prompts, group):
    """At an error level of ALPHA one alarm in 120 draws is bad luck; three would be an interval that is too narrow."""
    rng = random.Random(f"{SEED} {kind} {prompts}")
    alarms = [alarm for _ in range(120) if (alarm := alarm_of(kind, prompts, group, rng))]
    assert len(alarms) < 3, alarms


def test_overconfidence_is_seen_in_a_few_dozen_prompts():
    rng = random.Random(SEED)
    seen = []
    for _ in range(40):
        q, z, clusters = drawn(rng, prompts=24, group=8, kind="sure")
        seen.append(miscalibration(q, z, clusters=clusters, alpha=ALPHA).low > 0.15)
    assert fmean(seen) > 0.9


def test_miscalibration_is_the_distance_from_each_bins_wilson_interval():
    """Two bins of 40: 0.95 stated and 20 right, 0.35 stated and 15 right; alpha is halved."""
    q = [0.95] * 40 + [0.35] * 40
    z = [True] * 20 + [False] * 20 + [True] * 15 + [False] * 25
    found = miscalibration(q, z)
    bins = [(0.95, 20), (0.35, 15)]
    low = high = 0.0
    for stated, right in bins:
        ci = binomtest(right, 40).proportion_ci(0.975, method="wilson")
        low += max(stated - ci.high, ci.low - stated, 0) / 2
        high += max(stated - ci.low, ci.high - stated) / 2
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.ece == pytest.approx((0.45 + 0.025) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_design_effect_is_kishs_with_the_anova_correlation(seed):
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 6, size=40)
    values = rng.normal(size=40) + 1.5 * rng.normal(size=6)[clusters]
    groups = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        groups[cluster].append(value)
    n, k = 40, len(groups)
    m0 = (n - sum(len(g) ** 2 for g in groups.values()) / n) / (k - 1)
    msb = sum(len(g) * (np.mean(g) - values.mean()) ** 2 for g in groups.values()) / (k - 1)
    msw = sum(((np.array(g) - np.mean(g)) ** 2).sum() for g in groups.values()) / (n - k)
    rho = min(max((msb - msw) / (msb + (m0 - 1) * msw), 0.0), 1.0)
    mean_size = sum(len(g) ** 2 for g in groups.values()) / n
    assert design_effect(values.tolist(), clusters.tolist()) == pytest.approx(1 + (mean_size - 1) * rho)


def test_rows_of_one_prompt_count_as_one_row_and_rows_of_their_own_prompts_in_full():
    assert design_effect([0.1, 0.2, 0.3], "aaa") == 3.0
    assert design_effect([0.1, 0.2, 0.3], "abc") == 1.0
    assert design_effect([0.4] * 6, "aaabbb") == 3.0  # nothing tells them from copies


def test_the_interval_of_an_area_agrees_with_drawing_it_again_and_again():
    """Binormal scores one standard deviation apart; the spread of the area over 4000 samples of 60 and 40."""
    rng = np.random.default_rng(SEED)
    right, wrong = rng.normal(1, 1, (4000, 60, 1)), rng.normal(0, 1, (4000, 1, 40))
    areas = (right > wrong).mean(axis=(1, 2))
    low, high = auroc_interval(float(areas.mean()), 60, 40, alpha=0.05)
    assert (high - low) / (2 * 1.96) == pytest.approx(areas.std(), rel=0.1)


def test_a_perfect_area_of_few_rows_is_not_certain_and_one_class_says_nothing():
    assert auroc_interval(1.0, 5, 5)[0] < 0.95
    assert auroc_interval(1.0, 5, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "scale", "expected"),
    [
        ("x <confidence>0.35</confidence>", "stated", "x <confidence>0.9</confidence>"),
        ("8 apples. Confidence: 8/10", "stated", "8 apples. Confidence: 9/10"),
        ("8 apples. Confidence: 80%", "stated", "8 apples. Confidence: 90%"),
        ("8 apples. Confidence: 8", 10, "8 apples. Confidence: 9"),
        ("80 apples. Confidence: 80", 100, "80 apples. Confidence: 90"),
        ("Confidence: 0", 10, "Confidence: 9"),
        ("none stated", 10, "none stated\nConfidence: 9"),
    ],
)
def test_a_confidence_is_replaced_where_and_as_it_stands(text, scale, expected):
    row = restate(Row("?", text), 0.9, scale=scale)
    assert row.completion == expected
    assert parse_confidence(row.text, scale=scale) == pytest.approx(0.9)


def test_the_scale_is_the_one_that_reads_most():
    assert scale_of([f"Confidence: {k}" for k in range(11)]) == 10
    assert scale_of(["Confidence: 85", "Confidence: 30"]) == 100
    assert scale_of(["Confidence: 0.85", "Confidence: 9/10"]) == "stated"


def test_bias_counts_pairs_one_by_one_and_leaves_out_what_is_unscored():
    def reward(prompt, completion):
        k, q = int(prompt), parse_confidence(completion)
        return None if k % 5 == 0 else q * (-1 if k % 3 == 0 else 1) if k % 2 else 0.5

    rows = [Row(str(k), "Confidence: 0.5", {"gold": k < 30}) for k in range(60)]
    found = confidence_bias(reward, rows, workers=0)
    for kind, keep in ((found.good, range(30)), (found.bad, range(30, 60))):
        scored = [k for k in keep if k % 5]
        up = [k for k in scored if k % 2 and k % 3]
        down = [k for k in scored if k % 2 and k % 3 == 0]
        assert kind.n == len(scored)
        assert kind.value == pytest.approx(len(up) / len(scored))
        assert kind.net == pytest.approx((len(up) - len(down)) / len(scored))
        assert kind.gain == pytest.approx(0.8 * kind.net)


def test_a_noisy_reward_without_a_bias_is_not_accused_and_unknown_rows_leave_nothing_known():
    rng = random.Random(SEED)
    rows = [Row(str(k), f"It is {k}. Confidence: 0.7", {"gold": 0}) for k in range(200)]
    found = confidence_bias(lambda prompt, completion: rng.random(), rows, workers=0, alpha=ALPHA)
    assert found.bad.net_low < 0.1
    assert found.good.n == 0
    unknown = confidence_bias(lambda prompt, completion: 1.0, [Row("?", "Confidence: 0.7")], workers=0)
    assert unknown.bad.n == unknown.good.n == 0


def rollouts(seed, *, right, stated, gold=True, n=24, group=8):
    """Boxed sums with a confidence; `right` and `stated` give, per completion, the chance and what is said of it."""
    rng = random.Random(f"{SEED} {seed}")
    rows = []
    for k in range(n):
        answer = 1313 + 13 * k
        for _ in range(group):
            chance = right(rng)
            ok = rng.random() < chance
            value = answer if ok else answer + rng.randint(1, 90)
            text = f"So \\boxed{{{value}}}.\nConfidence: {stated(chance, rng):g}"
            columns = {"answer": str(answer), **({"gold": float(ok)} if gold else {})}
            rows.append(Row(f"Add {611 + 7 * k} and {702 + 6 * k}.", text, columns))
    return rows


def boxed(prompt, completion, answer):
    return float(completion.count("\\boxed") == 1 and f"\\boxed{{{answer}}}" in completion)


def named(outcome):
    return {finding.probe: finding for finding in outcome.findings}


@pytest.mark.parametrize("gold", [True, False])
def test_the_probe_names_overconfidence_and_by_whose_verdict(gold):
    rows = rollouts("sure", right=lambda rng: 0.55, stated=lambda p, rng: rng.choice((0.9, 0.95, 1.0)), gold=gold)
    finding = named(outcome_of("rollouts", boxed, rows))["stated_calibration"]
    assert finding.severity == "high"
    assert ("by the gold labels" if gold else "by this reward's own scores") in finding.message
    assert finding.examples


def test_confidences_that_rank_the_wrong_way_are_a_fault():
    rows = rollouts("inverted", right=lambda rng: rng.choice((0.1, 0.9)), stated=lambda p, rng: 1 - p)
    assert named(outcome_of("rollouts", boxed, rows))["confidence_ranking"].severity == "medium"


@pytest.mark.parametrize("gold", [True, False])
def test_calibrated_rollouts_of_a_sound_reward_are_no_fault(gold):
    rows = rollouts("fair", right=lambda rng: rng.choice(LEVELS), stated=lambda p, rng: p, gold=gold)
    outcome = outcome_of("rollouts", boxed, rows)
    assert [f for f in faults(outcome) if f.severity in ("medium", "high", "critical")] == []
    assert {"stated_calibration", "confidence_ranking", "confidence_bias"} <= named(outcome).keys()


def test_few_statements_are_not_judged():
    rows = rollouts("some", right=lambda rng: 0.5, stated=lambda p, rng: 1.0)
    silent = [Row(row.prompt, row.text.partition("\n")[0], row.columns) for row in rows]
    mixed = rows[: len(rows) // 3] + silent[len(rows) // 3 :]
    assert "stated_calibration" not in named(outcome_of("rollouts", boxed, mixed))
