import json
import math
import random

import pytest
import torch
from scipy import stats

from rewardsmith.data import MASTER_KEYS
from rewardsmith.monitors import (
    Watch,
    canary_false_positives,
    canary_rows,
    change,
    count_paid,
    dead_group_rate,
    dead_groups,
    default_monitors,
    infinite_rewards,
    kl_budget,
    length_bias,
    length_correlation,
    measure_batch,
    pooled_correlation,
    proxy_gold_divergence,
    proxy_outcome_divergence,
    source_key,
    spent,
    unscored_rate,
)

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
    assert pooled_correlation([1.0, -1.0], [2, 1], alpha=0.05)[1:] == (-1.0, 1.0, 0)


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
    assert count_paid([1.0, 0.5, None, NAN, 0.0], paid_above=0.4) == (2, 3)


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


def test_divergence_cries_wolf_less_often_than_it_says():
    """300 runs of pure noise with a flat gold and a rising proxy: at most alpha = 0.1 of them may alarm (+3 sigma)."""
    monitor = proxy_gold_divergence(alpha=0.1, at_least=0.0)
    means = [(0.3 + 0.006 * t, 0.4) for t in range(60)]
    false_alarms = sum(run(monitor, noisy(means, seed=seed)) is not None for seed in range(300))
    assert false_alarms <= 300 * 0.1 + 3 * math.sqrt(300 * 0.1 * 0.9)


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
    assert run(canary_false_positives(), [{"canary_paid": 20, "canary_n": 184}]).value == pytest.approx(20 / 184)
    assert run(canary_false_positives(), [{"canary_paid": 4, "canary_n": 184}]) is None
    assert run(canary_false_positives(), [{"canary_paid": None, "canary_n": None}]) is None
    assert run(canary_false_positives(), [{"canary_paid": 0, "canary_n": 0}]) is None


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


def test_unscored_rows_alarm_once_they_are_surely_too_many():
    assert run(unscored_rate(), [{"unscored": 10, "n_rows": 64}] * 10).value == pytest.approx(10 / 64)
    assert run(unscored_rate(), [{"unscored": 3, "n_rows": 64}] * 10) is None


def test_the_first_infinite_score_alarms():
    alarm = run(infinite_rewards(), [{"infinite": 0}, {"infinite": 2}, {"infinite": 5}])
    assert (alarm.step, alarm.value) == (1, 2.0)


def test_the_kl_budget_alarms_when_the_block_is_surely_above_it():
    records = [{"kl": 0.8 + 0.01 * (-1) ** t} for t in range(10)]
    alarm = run(kl_budget(), records)
    assert alarm.value == pytest.approx(0.8)
    assert run(kl_budget(at_most=0.8), records) is None
    assert run(kl_budget(), [{"kl": None}] * 20) is None


def test_every_default_monitor_is_silent_on_a_healthy_run_and_its_words_can_be_formatted():
    healthy = {
        "proxy": 0.5, "gold": 0.5, "length_correlation": 0.1, "length_freedom": 50, "dead_groups": 1, "n_groups": 8,
        "unscored": 0, "infinite": 0, "n_rows": 64, "canary_paid": 0, "canary_n": 184, "kl": 0.1,
    }  # fmt: skip
    watch = Watch()
    for step in range(100):
        watch.observe({"step": step, **healthy})
    assert watch.alarms == []
    for monitor in default_monitors():
        text = monitor.message.format(value=0.5, low=0.4, high=0.6, n=7, threshold=0.1)
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
