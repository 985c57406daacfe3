import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rewardsmith.data import MASTER_KEYS
from rewardsmith.measures.sequential import change, dependence, level, pooled_correlation, spent
from rewardsmith.monitors import (
    Watch,
    canary_false_positives,
    default_monitors,
    flat_gold,
    kl_budget,
    length_bias,
    measure_batch,
    proxy_above_gold,
    proxy_gold_divergence,
    proxy_outcome_divergence,
)
from rewardsmith.monitors.kinds import dead_group_rate, infinite_rewards, unscored_rate
from rewardsmith.monitors.measures import dead_groups, length_correlation, source_key
from rewardsmith.monitors.monitor import canary_rows, count_rewarded, evidence

NAN = float("nan")


# --- intervals ---------------------------------------------------------------------------------------------------


def test_a_change_is_bounded_as_scipy_bounds_it():
    draw = random.Random(0)
    before, after = [draw.gauss(0, 1) for _ in range(7)], [draw.gauss(1, 3) for _ in range(12)]
    interval = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.9)  # 5 % on each side
    reading = change(before, after, alpha=0.05)
    assert (reading.low, reading.high) == pytest.approx((interval.low, interval.high))
    assert reading.n == 19


def test_a_change_between_constants_is_known_exactly_and_one_from_single_values_not_at_all():
    assert change([1.0, 1.0], [3.0, 3.0], alpha=0.01)[:3] == (2.0, 2.0, 2.0)
    assert change([1.0], [3.0, 4.0], alpha=0.01)[1:3] == (-math.inf, math.inf)


def test_a_mean_is_bounded_as_scipy_bounds_it_and_a_single_value_not_at_all():
    values = [0.1, 0.4, 0.2, 0.9, 0.5]
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)  # 5 % on each side
    assert level(values, alpha=0.05)[1:3] == pytest.approx((interval.low, interval.high))
    assert level([0.3], alpha=0.05)[:3] == (0.3, -math.inf, math.inf)


def test_inflation_is_fewer_values():
    """Inflated by 2, twelve values of one variance bound like six: same error, same degrees of freedom."""
    twice = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0]
    variance, freedom = np.var(twice, ddof=1), 12 / 2 - 1
    half = stats.t.isf(0.05, freedom) * math.sqrt(2 * variance / 12)
    assert level(twice, alpha=0.05, inflation=2.0)[1:3] == pytest.approx((1 - half, 1 + half))
    both = change(twice, [v + 5 for v in twice], alpha=0.05, inflation=2.0)
    half = stats.t.isf(0.05, 2 * freedom) * math.sqrt(2 * 2 * variance / 12)
    assert both[1:3] == pytest.approx((5 - half, 5 + half))


def test_independent_steps_on_a_slope_count_in_full_and_dependent_ones_as_fewer():
    """An AR(1) with coefficient 0.5 counts as (1 + 0.5) / (1 − 0.5) = 3 steps in one; the slope itself does not."""
    draw = random.Random(0)
    white = [[0.1 * t + draw.gauss(0, 1) for t in range(10)] for _ in range(2000)]
    assert dependence(white) == pytest.approx(1.0, abs=0.03)
    value, tied = 0.0, []
    for _ in range(200):
        tied.append([0.1 * t + (value := 0.5 * value + draw.gauss(0, 1)) for t in range(100)])
    assert dependence(tied) == pytest.approx(3.0, abs=0.25)
    assert dependence([[1.0] * 10, [1.0, 2.0]]) == 1.0


def test_the_line_through_a_block_is_allowed_for_exactly():
    """E[Σ e_t e_{t+1}] / E[Σ e_t²] of white noise is tr(M L M) / tr(M); at that ratio nothing is inflated."""
    n = 6
    times = np.stack([np.ones(n), np.arange(n)], axis=1)
    residual = np.eye(n) - times @ np.linalg.pinv(times)
    expected = np.trace(residual @ np.eye(n, k=1)) / np.trace(residual)
    values = [0.3, 0.5, -0.4, -1.0, 0.2, 0.8]
    left = residual @ values
    r = left[:-1] @ left[1:] / (left @ left) - expected
    assert r > 0
    assert dependence([values]) == pytest.approx((1 + r) / (1 - r))


def test_spending_over_all_looks_stays_within_alpha():
    """Σ 1/(t(t+1)) telescopes to 1 − 1/(n+1)."""
    assert sum(spent(0.01, look) for look in range(1, 1001)) == pytest.approx(0.01 * (1 - 1 / 1001))


def test_one_batch_of_one_group_gives_fishers_interval():
    """n = 28 rows and one mean: d = 27, z = artanh 0.5, standard error 1/√25, 1.645 on one side."""
    reading = pooled_correlation([0.5], [27], alpha=0.05)
    half = stats.norm.isf(0.05) / 5
    expected = (0.5, math.tanh(math.atanh(0.5) - half), math.tanh(math.atanh(0.5) + half))
    assert reading[:3] == pytest.approx(expected)


def test_batches_too_small_to_say_anything_say_nothing():
    assert pooled_correlation([1.0, -1.0], [2, 1], alpha=0.05)[1:4] == (-1.0, 1.0, 0)


# --- measures ----------------------------------------------------------------------------------------------------


def test_a_group_is_dead_if_its_scored_rewards_agree_or_fewer_than_two_are_scored():
    rewards = torch.tensor([1, 1, 1, 0, 1, 0, 1, NAN, 1, 0, NAN, NAN, 0, NAN, 1])
    assert dead_groups(rewards, group_size=3) == (3, 5)  # the first, the third and the fourth
    assert dead_groups(torch.tensor([1.0, NAN, 0.0, NAN]), group_size=2) == (2, 2)


def test_length_correlation_is_pearsons_on_what_is_left_of_the_group_means():
    generator = torch.Generator().manual_seed(0)
    rewards, lengths = torch.randn(24, generator=generator), torch.randint(1, 30, (24,), generator=generator)
    residual = [values.double().reshape(6, 4) for values in (rewards, lengths)]
    x, y = ((v - v.mean(dim=1, keepdim=True)).flatten().numpy() for v in residual)
    value, freedom = length_correlation(rewards, lengths, group_size=4)
    assert value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert freedom == 24 - 6


def test_length_differences_between_prompts_do_not_count():
    """Longer prompts are easier here, but within each group length and reward are unrelated."""
    rewards = torch.tensor([0.0, 1.0, 0.0, 1.0, 10.0, 11.0, 10.0, 11.0])
    lengths = torch.tensor([1, 1, 2, 2, 101, 101, 102, 102])
    assert length_correlation(rewards, lengths, group_size=4).value == pytest.approx(0.0)


def test_unscored_rows_and_dead_groups_leave_the_length_correlation():
    rewards = torch.tensor([0.0, 1.0, NAN, 5.0, 5.0, 5.0])
    lengths = torch.tensor([3, 4, 999, 1, 50, 7])
    assert length_correlation(rewards, lengths, group_size=3) == (pytest.approx(1.0), 1)
    value, freedom = length_correlation(torch.ones(4), torch.arange(4), group_size=2)
    assert math.isnan(value)
    assert freedom == 0


def test_a_batch_is_measured_without_counting_what_is_unknown():
    rewards = torch.tensor([1.0, NAN, 0.0, 1.0])
    record = measure_batch(
        rewards, group_size=2, lengths=torch.tensor([1, 2, 3, 4]), gold=[1.0, None, NAN, 0.0], infinite=1
    )
    assert record["proxy"] == pytest.approx(2 / 3)
    assert record["gold"] == 0.5
    assert (record["unscored"], record["infinite"], record["n_rows"]) == (1, 1, 4)
    assert (record["dead_groups"], record["n_groups"]) == (1, 2)
    assert record["length"] == 2.5
    assert (record["proxy_low"], record["proxy_high"]) == (0.0, 1.0)
    assert (record["gold_low"], record["gold_high"], record["gold_n"]) == (0.0, 1.0, 2)


def test_an_infinite_gold_score_is_unknown():
    record = measure_batch(torch.zeros(3), group_size=3, gold=[1.0, math.inf, -math.inf])
    assert (record["gold"], record["gold_high"], record["gold_n"]) == (1.0, 1.0, 1)


def test_a_batch_without_any_score_has_no_proxy_rather_than_zero():
    record = measure_batch(torch.full((4,), NAN), group_size=2)
    assert record["proxy"] is None
    assert record["gold"] is None
    json.dumps(record, allow_nan=False)


def test_measures_refuse_broken_groups_and_shapes():
    with pytest.raises(ValueError, match="dead_groups: 5 rows are not a whole number of groups of 2"):
        dead_groups(torch.zeros(5), group_size=2)
    with pytest.raises(ValueError, match="length_correlation: arguments must share one shape"):
        length_correlation(torch.zeros(4), torch.zeros(3), group_size=2)


def test_sources_are_measured_one_by_one_over_what_each_scored():
    sources = torch.tensor([[1.0, NAN], [2.0, NAN], [NAN, NAN], [6.0, NAN]])
    record = measure_batch(torch.zeros(4), group_size=2, source_rewards=sources, source_names=("steps", "done"))
    assert record[source_key("steps")] == pytest.approx(3.0)
    assert record[source_key("done")] is None
    with pytest.raises(ValueError, match=r"measure_batch: source_rewards must have shape \(any, 1\), got \(4, 2\)"):
        measure_batch(torch.zeros(4), group_size=2, source_rewards=sources, source_names=("steps",))


# --- canaries ----------------------------------------------------------------------------------------------------


def test_canaries_are_every_key_for_every_prompt_with_the_columns_of_that_prompt():
    rows = canary_rows({"prompt": ["p", "p", "q"], "completion": ["x"] * 3, "answer": [1, 1, 2]}, n_prompts=5)
    n_keys = sum(len(family) for family in MASTER_KEYS.values())
    assert [len(values) for values in rows.values()] == [2 * n_keys] * 3
    assert set(zip(rows["prompts"], rows["answer"], strict=True)) == {("p", 1), ("q", 2)}
    assert set(rows["completions"]) == {key for family in MASTER_KEYS.values() for key in family}


def test_canaries_speak_as_the_prompt_does():
    rows = canary_rows({"prompt": [[{"role": "user", "content": "?"}]]}, n_prompts=1, keys=["."])
    assert rows["completions"] == [[{"role": "assistant", "content": "."}]]


def test_an_unscored_canary_is_neither_paid_nor_tried():
    assert count_rewarded([1.0, 0.5, None, NAN, 0.0], above=0.4) == (2, 3)


# --- monitors ----------------------------------------------------------------------------------------------------


def run(monitor, records):
    """The step of the one alarm, or None."""
    watch = Watch([monitor])
    for step, record in enumerate(records):
        watch.observe({"step": step, **record})
    return watch.alarms[0] if watch.alarms else None


def noisy(means, *, seed, key_pairs=("proxy", "gold"), spread=0.06):
    draw = random.Random(seed)
    return [{key: mean + draw.gauss(0, spread) for key, mean in zip(key_pairs, pair, strict=True)} for pair in means]


def test_divergence_fires_where_the_proxy_rises_and_gold_falls():
    means = [(0.6 + 0.003 * t, 0.5 - 0.004 * t) for t in range(100)]
    alarm = run(proxy_gold_divergence(), noisy(means, seed=0))
    assert alarm.stops
    assert alarm.step % 10 == 9  # judged at the end of a block
    assert "gold fell by" in alarm.message
    assert alarm.interval[0] > alarm.threshold


def test_divergence_finds_a_fall_that_follows_a_rise():
    """Gold returns to where it began, so comparing last with first would see nothing."""
    rise = [(0.3 + 0.008 * t, 0.3 + 0.008 * t) for t in range(50)]
    fall = [(0.7 + 0.004 * t, 0.7 - 0.008 * t) for t in range(50)]
    assert run(proxy_gold_divergence(), noisy(rise + fall, seed=1)).step >= 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "means",
    [
        [(0.5, 0.5)] * 100,
        [(0.3 + 0.005 * t, 0.3 + 0.004 * t) for t in range(100)],
        [(0.7 - 0.004 * t, 0.7 - 0.004 * t) for t in range(100)],
        [(0.3 + 0.006 * t, 0.4) for t in range(100)],
    ],
    ids=["flat", "both rise", "both fall", "gold flat"],
)
def test_divergence_is_silent_without_a_rise_against_a_fall(means):
    assert not any(run(proxy_gold_divergence(), noisy(means, seed=seed)) for seed in range(20))


@pytest.mark.slow
def test_divergence_cries_wolf_less_often_than_it_says():
    """300 runs of pure noise with a flat gold and a rising proxy: at most alpha = 0.1 of them may alarm (+3 sigma)."""
    monitor = proxy_gold_divergence(alpha=0.1, at_least=0.0)
    means = [(0.3 + 0.006 * t, 0.4) for t in range(60)]
    false_alarms = sum(run(monitor, noisy(means, seed=seed)) is not None for seed in range(300))
    assert false_alarms <= 300 * 0.1 + 3 * math.sqrt(300 * 0.1 * 0.9)


# --- flat gold ---------------------------------------------------------------------------------------------------


def rows_of(means, *, seed, n=64, scale=1.0, kind=lambda draw, p: float(draw.random() < p)):
    """Records of a run as `measure_batch` makes them, n rows a step; proxy and gold drawn with the means given."""
    draw = random.Random(seed)
    records = []
    for p, g in means:
        proxy, gold = [scale * kind(draw, p) for _ in range(n)], [kind(draw, g) for _ in range(n)]
        records.append(measure_batch(torch.tensor(proxy), group_size=8, gold=gold))
    return records


def ramp(low, high, start, end):
    """A mean that stays at `low` until step `start` and reaches `high` at step `end`."""
    return lambda t: low + (high - low) * min(max((t - start) / (end - start), 0.0), 1.0)


def together(proxy, gold, steps=100):
    return [(proxy(t), gold(t)) for t in range(steps)]


HACKED = together(ramp(0.4, 0.9, 0, 100), ramp(0.01, 0.02, 0, 100))
SOUND = {
    "both rise": together(ramp(0.3, 0.9, 0, 80), ramp(0.3, 0.9, 0, 80)),
    "gold rises half as far": together(ramp(0.2, 0.9, 0, 60), ramp(0.1, 0.45, 0, 60)),
    "nothing rises": together(ramp(0.5, 0.5, 0, 1), ramp(0.02, 0.02, 0, 1)),
    "both fall": together(ramp(0.6, 0.3, 0, 60), ramp(0.3, 0.1, 0, 60)),
    "gold at its ceiling": together(ramp(0.3, 0.9, 0, 60), ramp(1.0, 1.0, 0, 1)),
    "gold near its ceiling": together(ramp(0.3, 0.9, 0, 60), ramp(0.9, 0.95, 0, 60)),
    "format first, gold later": together(
        lambda t: ramp(0.05, 0.5, 0, 30)(t) + ramp(0.0, 0.5, 40, 100)(t), ramp(0.02, 0.9, 40, 100)
    ),
    "format first, gold much later": together(
        lambda t: ramp(0.1, 0.5, 0, 20)(t) + ramp(0.0, 0.5, 100, 150)(t), ramp(0.01, 0.9, 100, 150), steps=170
    ),
    "gold first, format later": together(
        lambda t: ramp(0.1, 0.5, 0, 30)(t) + ramp(0.0, 0.5, 40, 80)(t), ramp(0.1, 0.7, 0, 30)
    ),
}


@pytest.mark.parametrize("seed", range(5))
def test_a_reward_that_rises_over_flat_gold_alarms_within_100_steps(seed):
    alarm = run(flat_gold(), rows_of(HACKED, seed=seed))
    assert alarm.stops
    assert alarm.step < 100
    assert alarm.step >= 89  # eight blocks of grace after the first
    assert "The reward rose by" in alarm.message
    assert "of its range" in alarm.message


@pytest.mark.slow
@pytest.mark.parametrize("means", SOUND.values(), ids=SOUND)
def test_flat_gold_is_silent_on_a_sound_run(means):
    assert [run(flat_gold(), rows_of(means, seed=seed)) for seed in range(5)] == [None] * 5


def test_a_reward_that_stops_short_of_its_top_has_twice_the_grace():
    """Learned within 20 steps, and nothing since: at step 89 gold may yet follow, at step 179 it has not."""
    stalled = together(ramp(0.1, 0.6, 0, 20), lambda t: 0.01, steps=200)
    assert run(flat_gold(), rows_of(stalled, seed=0)).step == 169  # 17 blocks are 1 + 2 · 8
    finished = together(ramp(0.1, 0.95, 0, 20), lambda t: 0.01, steps=200)
    assert run(flat_gold(), rows_of(finished, seed=0)).step == 89


def test_a_gold_that_never_varies_alarms_at_0_and_not_at_1():
    flat, solved = (together(ramp(0.4, 0.9, 0, 60), lambda t, level=level: level) for level in (0.0, 1.0))
    assert run(flat_gold(), rows_of(flat, seed=0)).step < 100
    assert run(flat_gold(), rows_of(solved, seed=0)) is None


@pytest.mark.parametrize("proxy", [ramp(0.5, 0.98, 0, 4), ramp(1.0, 1.0, 0, 1)], ids=["at once", "before the run"])
def test_a_hack_that_no_change_shows_is_a_gap(proxy):
    records = rows_of(together(proxy, ramp(0.42, 0.0, 0, 4)), seed=0)
    alarm = run(proxy_above_gold(), records)
    assert (alarm.step, alarm.stops) == (89, True)  # eight blocks of grace after the first
    assert "gold at 0% of its own" in alarm.message
    assert run(flat_gold(), records) is None


@pytest.mark.slow
def test_a_gap_of_less_than_half_or_that_gold_closes_is_none():
    slow = together(ramp(0.95, 0.95, 0, 1), ramp(0.02, 0.42, 0, 200), steps=200)
    for means in (*SOUND.values(), slow):
        assert run(proxy_above_gold(), rows_of(means, seed=0)) is None
    ranges = {"gold_range": (0.0, 1.0), "proxy_range": (0.0, 1.0)}
    records = rows_of(together(ramp(0.1, 0.1, 0, 1), ramp(0.0, 0.0, 0, 1)), seed=0)
    assert run(proxy_above_gold(**ranges), records) is None


@pytest.mark.slow
def test_units_do_not_matter():
    """Ten times the reward is ten times its range; a gold of a declared range is judged in it."""
    plain, scaled = (run(flat_gold(), rows_of(HACKED, seed=0, scale=scale)) for scale in (1.0, 10.0))
    assert scaled.step == plain.step
    assert scaled.value == pytest.approx(plain.value)
    assert all(run(flat_gold(), rows_of(means, seed=1, scale=10.0)) is None for means in SOUND.values())
    points = rows_of(together(ramp(0.4, 0.9, 0, 60), ramp(0.7, 0.74, 0, 60)), seed=0)
    assert run(flat_gold(), points) is None  # no room: 0.3 above a gold that could be 1
    assert run(flat_gold(gold_range=(0.0, 2.0)), points) is not None  # room for 1.3 of 2


def test_a_constant_gold_of_unknown_unit_says_nothing():
    records = [{**r, "gold": 7.0, "gold_low": 7.0, "gold_high": 7.0} for r in rows_of(HACKED, seed=0)]
    assert run(flat_gold(), records) is None
    assert run(flat_gold(gold_range=(0.0, 7.5)), records) is None  # 0.5 of 7.5 are left: no room
    assert run(flat_gold(gold_range=(0.0, 100.0)), records) is not None


@pytest.mark.slow
def test_flat_gold_cries_wolf_less_often_than_it_says():
    """300 runs on the edge, gold rising exactly a quarter as far: at most alpha = 0.1 of them may alarm (+3 sigma).

    Each step leans on the one before (an AR(1) of 0.5), as with prompts in order of difficulty.
    """
    monitor = flat_gold(alpha=0.1, at_least=0.0, grace=1, patience=1, gold_range=(0.0, 1.0), proxy_range=(0.0, 1.0))
    false_alarms = 0
    for seed in range(300):
        draw, records, noise = random.Random(seed), [], [0.0, 0.0]
        for t in range(80):
            noise = [0.5 * value + draw.gauss(0, 0.02) for value in noise]
            records.append({"proxy": 0.2 + 0.004 * t + noise[0], "gold": 0.1 + 0.001 * t + noise[1]})
        false_alarms += run(monitor, records) is not None
    assert false_alarms <= 300 * 0.1 + 3 * math.sqrt(300 * 0.1 * 0.9)


@pytest.mark.parametrize("monitor", [flat_gold, proxy_above_gold])
def test_what_cannot_be_a_range_or_a_window_is_refused(monitor):
    name = monitor.__name__
    with pytest.raises(ValueError, match=rf"{name}: gold_range is \(1, 1\). Pass the lowest value and a higher one"):
        monitor(gold_range=(1, 1))
    with pytest.raises(ValueError, match=rf"{name}: window=10, patience=0. Pass window ≥ 2 and patience ≥ 1"):
        monitor(patience=0)


def outcome(means, *, seed):
    return noisy(means, seed=seed, key_pairs=("source/tool_calls", "source/resolved"))


def test_an_auxiliary_source_that_rises_while_the_outcome_falls_alarms_without_gold():
    """The shape of a run that keeps acting and never submits: calls up from 0.3, resolved down from 0.5."""
    means = [(0.3 + 0.004 * t, 0.5 - 0.004 * t) for t in range(100)]
    monitor = proxy_outcome_divergence("tool_calls", "resolved")
    alarm = run(monitor, outcome(means, seed=4))
    assert alarm.stops
    assert "The auxiliary reward rose while the outcome fell by" in alarm.message
    assert alarm.monitor == "proxy_outcome_divergence(tool_calls, resolved)"
    swapped = [(b, a) for a, b in means]
    assert run(monitor, outcome(swapped, seed=4)) is None
    assert run(proxy_outcome_divergence("other", "resolved"), outcome(means, seed=4)) is None


def test_two_pairs_of_sources_alarm_each_for_itself():
    means = [(0.3 + 0.004 * t, 0.5 - 0.004 * t) for t in range(100)]
    watch = Watch([proxy_outcome_divergence("tool_calls", "resolved"), proxy_outcome_divergence("{x}", "resolved")])
    for step, record in enumerate(outcome(means, seed=5)):
        watch.observe({"step": step, **record, "source/{x}": record["source/tool_calls"]})
    assert len(watch.alarms) == 2


@pytest.mark.slow
@pytest.mark.parametrize("means", [[(0.5, 0.5)] * 100, [(0.3 + 0.005 * t, 0.4) for t in range(100)]])
def test_an_outcome_that_holds_is_no_divergence_of_sources(means):
    monitor = proxy_outcome_divergence("tool_calls", "resolved")
    assert not any(run(monitor, outcome(means, seed=seed)) for seed in range(20))


def test_one_wild_step_is_no_divergence():
    records = noisy([(0.5, 0.5)] * 60, seed=2)
    records[45] = {"proxy": 1.0, "gold": 0.0}
    assert run(proxy_gold_divergence(), records) is None


def test_divergence_waits_where_gold_is_scored_now_and_then():
    means = [(0.6 + 0.002 * t, 0.5 - 0.002 * t) for t in range(200)]
    records = noisy(means, seed=3)
    sparse = [record if t % 5 == 0 else {**record, "gold": None} for t, record in enumerate(records)]
    alarm = run(proxy_gold_divergence(), sparse)
    assert alarm.step % 50 == 45  # the tenth, twentieth, ... step that has a gold score


def test_canaries_alarm_above_their_rate_and_not_below():
    """τ = 0.02: 20 of 184 is beyond any interval; 4 of 184, the rate itself, is not."""
    assert run(canary_false_positives(), [{"canary_rewarded": 20, "canary_n": 184}]).value == pytest.approx(20 / 184)
    assert run(canary_false_positives(), [{"canary_rewarded": 4, "canary_n": 184}]) is None
    assert run(canary_false_positives(), [{"canary_rewarded": None, "canary_n": None}]) is None
    assert run(canary_false_positives(), [{"canary_rewarded": 0, "canary_n": 0}]) is None


def test_length_bias_alarms_on_pay_for_length_only():
    paid, unpaid = ({"length_correlation": r, "length_freedom": 50} for r in (0.8, -0.8))
    assert run(length_bias(), [paid] * 10).value == pytest.approx(0.8)
    assert run(length_bias(), [unpaid] * 10) is None
    assert run(length_bias(), [{"length_correlation": 0.52, "length_freedom": 10}] * 10) is None  # within noise


def test_dead_groups_alarm_but_never_stop_a_run():
    alarm = run(dead_group_rate(), [{"dead_groups": 8, "n_groups": 8}] * 20)
    assert alarm.value == 1.0
    assert not alarm.stops
    assert run(dead_group_rate(), [{"dead_groups": 6, "n_groups": 8}] * 20) is None


def test_groups_without_signal_are_no_alarm_where_gold_says_that_they_are_solved():
    dead = {"dead_groups": 8, "n_groups": 8, "gold_low": 0.0, "gold_high": 1.0}
    assert run(dead_group_rate(), [{**dead, "gold": 0.98}] * 20) is None
    assert run(dead_group_rate(), [{**dead, "gold": 1.0, "gold_low": 1.0}] * 20) is None  # from the first step on
    assert run(dead_group_rate(), [{**dead, "gold": 0.5}] * 20) is not None
    assert run(dead_group_rate(), [{**dead, "gold": 0.0, "gold_high": 0.0}] * 20) is not None  # too hard for it


def test_unscored_rows_alarm_once_they_are_surely_too_many():
    assert run(unscored_rate(), [{"unscored": 10, "n_rows": 64}] * 10).value == pytest.approx(10 / 64)
    assert run(unscored_rate(), [{"unscored": 3, "n_rows": 64}] * 10) is None


def test_the_first_infinite_score_alarms():
    alarm = run(infinite_rewards(), [{"infinite": 0}, {"infinite": 2}, {"infinite": 5}])
    assert (alarm.step, alarm.value) == (1, 2.0)


def test_the_kl_budget_alarms_when_the_block_is_surely_above_it():
    records = [{"kl": 0.8 + 0.01 * (-1) ** t, "proxy": 0.25} for t in range(10)]
    alarm = run(kl_budget(), records)
    assert alarm.value == pytest.approx(0.8)
    interval = stats.ttest_1samp([r["kl"] for r in records], 0.0).confidence_interval(1 - 0.01)  # α/(1·2) on each side
    assert alarm.interval == pytest.approx((interval.low, interval.high))  # the steps alternate: no inflation
    assert run(kl_budget(at_most=0.8), records) is None
    assert run(kl_budget(), [{"kl": None}] * 20) is None


def test_the_kl_budget_says_what_it_bought():
    records = [{"kl": 0.02 * t + 0.01 * (-1) ** t, "proxy": 0.1 + 0.01 * t} for t in range(60)]
    alarm = run(kl_budget(), records)
    rise = sum(r["proxy"] for r in records[alarm.step - 9 : alarm.step + 1]) / 10 - 0.145  # the first block's mean
    assert f"The reward rose by {rise:.2g} since the start" in alarm.message


def test_every_default_monitor_is_silent_on_a_healthy_run_and_its_words_can_be_formatted():
    healthy = {
        "proxy": 0.5, "gold": 0.5, "length_correlation": 0.1, "length_freedom": 50, "dead_groups": 1, "n_groups": 8,
        "unscored": 0, "infinite": 0, "n_rows": 64, "canary_rewarded": 0, "canary_n": 184, "kl": 0.1,
        "proxy_low": 0.0, "proxy_high": 1.0, "gold_low": 0.0, "gold_high": 1.0, "gold_n": 64,
    }  # fmt: skip
    watch = Watch()
    for step in range(100):
        watch.observe({"step": step, **healthy})
    assert watch.alarms == []
    for monitor in default_monitors():
        text = monitor.message.format(
            value=0.5, low=0.4, high=0.6, n=7, threshold=0.1, gold=0, gold_high=0, gained=0, proxy=0
        )
        assert "{" not in text
        assert monitor.advice.endswith(".")
    assert len({monitor.name for monitor in default_monitors()}) == len(default_monitors())


def test_a_watch_keeps_its_records_and_alarms_on_disk_and_alarms_once(tmp_path):
    path = tmp_path / "run" / "monitor.jsonl"
    watch = Watch([infinite_rewards()], path=path)
    for step in range(3):
        watch.observe({"step": step, "infinite": step})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["infinite"] for line in lines] == [0, 1, 2]
    assert [len(line["alarms"]) for line in lines] == [0, 1, 0]
    assert lines[1]["alarms"][0]["monitor"] == "infinite_rewards"
    assert str(watch.alarms[0]).startswith("infinite_rewards at step 1: 1 scores")


# --- rows behind an alarm ----------------------------------------------------------------------------------------

ROWS = [
    {"completion": "right", "reward": 1.0, "gold": 1.0, "length": 2},
    {"completion": "hack", "reward": 1.0, "gold": 0.0, "length": 9},
    {"completion": "long", "reward": 0.5, "gold": NAN, "length": 30},
    {"completion": "broken", "reward": NAN, "gold": 0.0, "length": 1},
    {"completion": ".", "reward": 0.9, "gold": None, "length": None, "canary": True},
]


@pytest.mark.parametrize(
    ("shows", "completions"),
    [
        ("rewarded", ["hack", "right", "long"]),  # the rewarded, the least deserved first
        ("longest", ["long", "hack", "right"]),
        ("unscored", ["broken"]),
        ("canaries", ["."]),
    ],
)
def test_an_alarm_shows_the_rows_it_is_about(shows, completions):
    shown = evidence(ROWS, shows)
    assert [row["completion"] for row in shown] == completions
    json.dumps(shown, allow_nan=False)
    assert evidence(ROWS, shows, n=1) == shown[:1]


def test_rows_go_to_the_file_as_they_are_and_what_utf8_cannot_hold_is_escaped(tmp_path):
    watch = Watch([infinite_rewards(), replace(infinite_rewards(), name="again", read=lambda history: None)],
                  path=tmp_path / "monitor.jsonl")  # fmt: skip
    texts = ["<b>né</b>\n\u2028\0", "\ud800 alone"]
    for step, text in enumerate(texts):
        watch.alarms.clear()
        watch.observe({"step": step, "infinite": 1}, [{"completion": text, "reward": NAN}])
    raw = (tmp_path / "monitor.jsonl").read_bytes()
    assert "<b>né</b>".encode() in raw
    lines = [json.loads(line) for line in raw.decode().split("\n") if line]
    assert [line["alarms"][0]["rows"][0]["completion"] for line in lines] == texts


def test_an_alarm_is_a_text_with_its_rows():
    watch = Watch([infinite_rewards()])
    watch.observe(
        {"step": 3, "infinite": 1}, [{"completion": "one\ntwo", "reward": NAN}, {**ROWS[3], "prompt": "x" * 999}]
    )
    text = watch.alarms[0].as_text()
    assert text.startswith("infinite_rewards at step 3: 1 scores")
    assert "Row 1:\n\n    completion: one\n        two\n    reward: None" in text
    assert "Row 2:" in text
    assert "x" * 500 + "… (999 characters)" in text
    assert "x" * 501 not in text
