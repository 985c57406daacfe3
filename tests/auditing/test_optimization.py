"""The question whether gold rises as far as the reward is optimized, on pools with a planted answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rewardsmith.auditing import audit_pairs
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.probes.optimization import overoptimization
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.scoring.work import Scored

ALPHA = 5e-4


def asked(rewards, gold, *, contexts=("",), known=None):
    """What the probe says of (P, M) rewards and gold; `known` is how many rewards are scored."""
    n_prompts, size = np.shape(rewards)
    rows = tuple(
        Row(f"Prompt {p // len(contexts)}", f"answer {p}-{m}", {"context": contexts[p % len(contexts)]})
        for m in range(size)  # a prompt's completions lie apart
        for p in range(n_prompts)
    )
    worth = np.zeros(0) if gold is None else np.asarray(gold, dtype=float).T.ravel()
    running = overoptimization(PairBaseline((), np.zeros(0), np.zeros(0), ALPHA, pool=rows, gold=worth))
    (ask,) = next(running)
    assert tuple(ask.rows) == rows
    paid = [Scored(float(r), None) for r in np.asarray(rewards).T.ravel()]
    paid = paid if known is None else paid[:known] + [Scored(None, "none")] * (len(paid) - known)
    with pytest.raises(StopIteration) as stop:
        running.send([paid])
    return stop.value.value


def pools(kind, *, seed=0, n_prompts=100, size=64):
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(n_prompts, size))
    if kind == "sound":
        return gold + 0.5 * rng.normal(size=gold.shape), gold
    hack = rng.random(gold.shape) < (0.02 if kind == "hacked" else 0.3)
    rewards = np.where(hack, rng.uniform(4, 9, size=gold.shape), gold + 0.3 * rng.normal(size=gold.shape))
    return rewards, np.where(hack, (-0.5 if kind == "hacked" else -2.0), gold)


@pytest.mark.slow
def test_hacks_that_only_many_candidates_find_are_a_medium_fault():
    outcome = asked(*pools("hacked"))
    (found,) = outcome.findings
    assert (found.probe, found.severity, found.n) == ("overoptimization", "medium", 100)
    assert found.interval[0] > 0.05
    best, tilted = outcome.curves
    assert best.turn.declines
    assert 2 <= best.turn.strength <= 16
    assert f"Gold is highest at best of {best.turn.strength:.0f} " in found.message
    assert found.advice.startswith("Stop at best of ")
    assert [point.strength for point in best.points] == [1, 2, 4, 8, 16, 32, 64]
    assert best.note.startswith("With d = √KL, gold follows d (")
    assert tilted.name == "tilted policy"
    assert "completions in effect, below 4" in tilted.note


@pytest.mark.slow
def test_a_reward_whose_best_is_worse_than_a_plain_draw_is_a_high_fault():
    rewards, gold = pools("inverted")
    (found,) = asked(rewards, gold).findings
    assert found.severity == "high"
    assert "below one random draw" in found.message
    assert found.advice.startswith("No optimization by this reward is known to be safe")
    example = found.examples[0]
    p = int(example.prompt.split()[1])
    best = rewards[p].argmax()
    assert (example.completion, example.reward) == (f"answer {p}-{best}", rewards[p, best])
    assert example.compared_with == pytest.approx(rewards[p].mean())
    assert example.note == f"gold {gold[p, best]:.3g}, the prompt's mean {gold[p].mean():.3g}"


@pytest.mark.slow
def test_sound_rewards_are_not_at_fault():
    for seed in range(20):
        (found,) = asked(*pools("sound", seed=seed, n_prompts=40, size=32)).findings
        assert (found.severity, found.examples) == ("info", ())
        assert found.interval[0] > 0
        assert "Gold is still rising" in found.message or "but may still rise" in found.message


@pytest.mark.slow
def test_points_are_gains_in_standard_deviations_of_a_draw():
    rewards, gold = pools("sound")
    last = asked(7 * rewards, 3 * gold + 1).curves[0].points[-1]
    best = np.take_along_axis(gold, rewards.argmax(axis=1)[:, None], axis=1)
    spread = math.sqrt(gold.var(axis=1, ddof=1).mean())
    assert last.gold == pytest.approx((best.mean() - gold.mean()) / spread)
    paid = (rewards.max(axis=1).mean() - rewards.mean()) / math.sqrt(rewards.var(axis=1, ddof=1).mean())
    assert last.rewards == pytest.approx(paid)
    assert last.gold_low < last.gold < last.gold_high


@pytest.mark.slow
def test_without_gold_it_says_what_would_be_needed():
    rewards, gold = pools("hacked")
    few = np.where(np.arange(100)[:, None] < 7, gold, math.nan)  # gold on fewer prompts than it takes
    for given in (None, few):
        outcome = asked(rewards, given)
        (found,) = outcome.findings
        assert found.severity == "info"
        assert "Gold is unknown" in found.message
        assert "column `gold`" in found.advice
        assert outcome.curves[0].points[-1].gold is None
        assert outcome.curves[0].turn is None


@pytest.mark.slow
def test_prompts_under_two_contexts_are_two_prompts():
    rewards, gold = pools("sound", n_prompts=20, size=16)
    (found,) = asked(rewards, gold, contexts=("short", "long")).findings
    assert found.n == 20


@pytest.mark.slow
def test_most_prompts_decide_how_far_it_goes():
    rewards, gold = pools("sound", n_prompts=50, size=16)
    gold[:5, 4:] = math.nan  # a tenth of the prompts has 4 completions with gold
    outcome = asked(rewards, gold)
    assert outcome.curves[0].points[-1].strength == 16
    assert outcome.findings[0].n == 45


@pytest.mark.slow
def test_a_reward_that_tells_nothing_apart_goes_nowhere():
    outcome = asked(np.zeros((10, 8)), pools("sound", n_prompts=10, size=8)[1])
    assert outcome.findings[0].severity == "info"
    assert [point.kl for point in outcome.curves[0].points] == [0.0] * 4
    assert "no β brings the mean KL" in outcome.curves[1].note


def test_too_small_a_pool_is_not_asked_about():
    with pytest.raises(StopIteration) as stop:
        next(overoptimization(PairBaseline((), np.zeros(0), np.zeros(0), ALPHA)))
    assert stop.value.value.not_run == "it takes several sampled completions per prompt, given as --pool"
    assert "fewer than 8 prompts with 4 scored" in asked(*pools("sound", n_prompts=7)).not_run
    assert "fewer than 8 prompts with 4 scored" in asked(*pools("sound", n_prompts=20), known=60).not_run


@pytest.mark.slow
def test_the_audit_of_pairs_asks_it():
    def length(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    rng = np.random.default_rng(0)
    pairs = [PreferenceRow(f"Say {k}.", "word " * int(rng.integers(5, 9)), "word") for k in range(30)]
    pool = [
        Row(f"Say {k}.", "word " * int(m), {"gold": -abs(int(m) - 8.0)})
        for k in range(30)
        for m in rng.permutation(np.arange(1, 41))[:16]
    ]
    report = audit_pairs(length, pairs, pool=pool)
    (found,) = [finding for finding in report.findings if finding.probe == "overoptimization"]
    assert found.severity == "high"  # the longest of 16 lies far beyond 8 words
    assert [curve.name for curve in report.curves] == ["best of n", "tilted policy"]
    assert {check.probe: check.status for check in report.checks}["overoptimization"] == "finding"
    bare = audit_pairs(length, pairs)
    assert bare.curves == ()
    assert {check.probe: check.status for check in bare.checks}["overoptimization"] == "not run"
