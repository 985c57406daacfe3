"""Position bias of a comparer: by hand, under a closed form, and as a probe of a reward that reads both answers."""

import math
import random

import numpy as np
import pytest

from rewardsmith.auditing.asking import Rounds
from rewardsmith.auditing.pair_baseline import Form, build_pair_baseline
from rewardsmith.auditing.probes.order import order_effect, position, position_bias, referenced
from rewardsmith.data import PreferenceRow
from rewardsmith.scoring import Scorer


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def comparer(bias):
    """Compares lengths, and adds log-odds for the first place."""
    return lambda prompts, firsts, seconds: [
        sigmoid(len(a) - len(b) + bias) for a, b in zip(firsts, seconds, strict=True)
    ]


def rows(n=120, seed=0):
    rng = random.Random(seed)
    return [PreferenceRow(f"Say {k}.", "x" * rng.randint(1, 6), "x" * rng.randint(1, 6)) for k in range(n)]


def test_it_agrees_with_a_slow_loop():
    rng = np.random.default_rng(0)
    there, back = rng.uniform(size=(2, 50))
    effect = order_effect(there, back)
    gains = [there[k] + back[k] - 1 for k in range(50)]
    assert effect.bias == pytest.approx(sum(gains) / 50)
    half = 1.959964 * np.std(gains, ddof=1) / math.sqrt(50)
    assert effect.interval == pytest.approx((effect.bias - half, effect.bias + half), abs=1e-6)
    winners = [(there[k] > 0.5, back[k] < 0.5) for k in range(50)]
    assert effect.inconsistent.value == pytest.approx(sum(a != b for a, b in winners) / 50)
    assert effect.chosen_first.value == pytest.approx(sum(a for a, _ in winners) / 50)
    assert effect.chosen_second.value == pytest.approx(sum(b for _, b in winners) / 50)


@pytest.mark.parametrize("bias", [-1.0, 0.0, 2.0])
def test_a_comparer_s_bias_is_the_closed_form(bias):
    pairs = rows()
    gaps = [len(row.chosen) - len(row.rejected) for row in pairs]
    expected = sum(sigmoid(gap + bias) + sigmoid(-gap + bias) - 1 for gap in gaps) / len(gaps)
    assert position_bias(comparer(bias), pairs).bias == pytest.approx(expected, abs=1e-12)


def test_what_has_no_verdict_in_either_order_does_not_count():
    effect = order_effect([0.9, math.nan, 0.8], [0.3, 0.2, math.nan])
    assert (effect.bias, effect.inconsistent.n) == (pytest.approx(0.2), 1)
    assert effect.interval == (-math.inf, math.inf)


def test_repeats_of_one_prompt_widen_the_interval():
    there, back = np.random.default_rng(1).uniform(0.4, 1, size=(2, 30))
    alone = order_effect(there, back).interval
    copied = order_effect(np.repeat(there, 4), np.repeat(back, 4), clusters=np.repeat(np.arange(30), 4).tolist())
    assert copied.interval == pytest.approx(alone, rel=0.05)


class Pairwise:
    """Reads the columns that `PairwiseReward` reads."""

    def __init__(self, bias):
        self.bias = bias

    def __call__(self, prompts, completions, reference, placed=None, **columns):
        gaps = [len(a) - len(b) for a, b in zip(completions, reference, strict=True)]
        sides = {"first": self.bias, "second": -self.bias, None: 0.0}
        return [gap + sides[place] for gap, place in zip(gaps, placed or [None] * len(gaps), strict=True)]


def asked(bias, pairs):
    with Scorer(Pairwise(bias), workers=0) as scorer:
        rounds = Rounds({"": scorer})
        pairs = referenced(pairs)
        baseline = rounds.run(build_pair_baseline(pairs, Form(scorer, pairs), alpha=5e-4))
        return rounds.run(position(baseline))


@pytest.mark.parametrize(
    ("bias", "severity"), [(2.0, "high"), (-2.0, "high"), (0.7, "medium"), (0.0, "info"), (0.02, "info")]
)
def test_the_probe_judges_by_the_interval(bias, severity):
    pairs = rows(400)
    [finding] = asked(bias, pairs).findings
    assert (finding.probe, finding.severity) == ("position", severity)
    assert finding.value == pytest.approx(position_bias(comparer(bias), pairs).bias, abs=1e-12)
    assert ("read second wins" in finding.message) == (bias < 0)


def test_few_pairs_are_not_judged():
    assert "it takes 30" in asked(2.0, rows(10)).not_run


def test_unusable_verdicts_are_refused():
    with pytest.raises(ValueError, match="Give both orders of every pair"):
        order_effect([0.5], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"2.0 is not a list of probabilities"):
        order_effect([2.0], [0.5])
