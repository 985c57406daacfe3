"""Trainers that are watched: TRL's own through `watch`, those that cannot be, and what an alarm leaves behind."""

import json
import types
from functools import partial

import pytest
import torch
import trl
from torch.testing import assert_close
from transformers import TrainerCallback

from rewardsmith.engines.trl import GRPOTrainer, HackingMonitor, RLOOTrainer, watch
from rewardsmith.engines.trl.limits import TimedReward
from rewardsmith.measures.sequential import Reading
from rewardsmith.monitors import Monitor
from rewardsmith.worlds import ArithmeticLM, Sums, arithmetic_gold, substring_reward
from tests.engines.helpers import Keep, logged, make, parameters
from tests.engines.timed_rewards import ends_the_process, hangs, of_the_state, raises, slowly, unscored_there

pytestmark = pytest.mark.slow

TRIPWIRE = Monitor("tripwire", lambda history: Reading(1.0, 1.0, 1.0, 1), 0.5, "It fired.", "Stop.", stops=True)


def length_reward(completions, **columns):
    return [None if len(text) == 3 else float(len(text)) for text in completions]


def brittle_gold(prompts, completions, **columns):
    if any("or" in text for text in completions):
        raise KeyError("or")
    return arithmetic_gold(prompts, completions)


# --- who is watched ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", [trl.GRPOTrainer, trl.RLOOTrainer])
def test_a_monitor_refuses_a_trainer_that_never_calls_it(theirs, world):
    trainer = make(theirs, world, substring_reward, callbacks=[HackingMonitor()])
    with pytest.raises(
        RuntimeError, match=r"HackingMonitor: this trainer does not pass on its batches.*engines\.trl\.watch\(trainer"
    ):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize(("ours", "theirs"), [(GRPOTrainer, trl.GRPOTrainer), (RLOOTrainer, trl.RLOOTrainer)])
def test_a_watched_trainer_of_trl_gives_the_records_of_ours_and_trains_as_before(ours, theirs, world):
    def run(kind, wrap, callbacks):
        trainer = wrap(make(kind, world, [substring_reward, length_reward], config={"beta": 0.1}, callbacks=callbacks))
        trainer.train()
        return trainer

    mine, other = HackingMonitor(gold=arithmetic_gold), HackingMonitor(gold=arithmetic_gold)
    run(ours, lambda trainer: trainer, [mine])
    watched = run(theirs, watch, [other])
    # Of a row without a length reward, TRL's sum is the other's alone; ours gives it the missing one's weight too.
    shared = {"proxy", "proxy_low", "proxy_high", "dead_groups", "length_correlation", "length_freedom"}
    first = [{k: v for k, v in m.history[0].items() if k not in shared} for m in (mine, other)]
    assert first[0] == first[1]
    assert other.history[0]["proxy"] == pytest.approx(logged(watched, "reward")[0])
    assert len(other.history) == 3
    assert logged(watched, "monitor/gold") == pytest.approx([r["gold"] for r in other.history])
    plain = run(theirs, lambda trainer: trainer, [])
    assert_close(parameters(watched), parameters(plain), rtol=0, atol=0)


def test_records_are_equal_throughout_where_every_source_scores(world):
    def history(kind, wrap):
        monitor = HackingMonitor(gold=arithmetic_gold, reward=substring_reward)
        wrap(make(kind, world, substring_reward, config={"beta": 0.1}, callbacks=[monitor])).train()
        return monitor.history

    assert history(trl.GRPOTrainer, watch) == history(GRPOTrainer, lambda trainer: trainer)


def test_what_cannot_be_watched_is_refused(world):
    with pytest.raises(TypeError, match=r"watch: GRPOTrainer calls its callbacks already. Pass reward_timeout="):
        watch(make(GRPOTrainer, world, substring_reward))
    with pytest.raises(TypeError, match="watch: GRPOTrainer calls its callbacks already"):
        watch(watch(make(trl.GRPOTrainer, world, substring_reward)))
    with pytest.raises(ValueError, match=r"GRPOTrainer: reward_timeout is 0\. Pass seconds above 0"):
        watch(make(trl.GRPOTrainer, world, substring_reward), reward_timeout=0)

    class Pairs:  # as TRL's online DPO has it: rewards of this process only, its columns apart
        callback_handler = reward_funcs = reward_func_names = reward_weights = num_generations = _metrics = None

        def _calculate_rewards(self, prompts, completions, **columns): ...

    with pytest.raises(TypeError, match=r"watch: Pairs has no `_calculate_rewards\(inputs, prompts, .* Train with"):
        watch(Pairs())
    with pytest.raises(TypeError, match="watch: object lacks callback_handler, reward_funcs"):
        watch(object())


# --- gold that breaks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gold_every", "canary_every", "canary_prompts"])
def test_a_count_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"HackingMonitor: {name} is 0. Pass at least 1"):
        HackingMonitor(**{name: 0})


@pytest.mark.parametrize("name", ["gold", "reward"])
def test_a_name_is_no_gold(name):
    with pytest.raises(
        TypeError, match=f"HackingMonitor: {name} is 'exact', which cannot be called. Pass a reward func"
    ):
        HackingMonitor(**{name: "exact"})


def test_gold_that_raises_on_a_row_leaves_that_row_unscored(world):
    seen = []

    def keep(prompts, completions, **columns):
        seen.append(list(zip(prompts, completions, strict=True)))
        return brittle_gold(prompts, completions)

    monitor = HackingMonitor(gold=keep)
    trainer = make(GRPOTrainer, world, substring_reward, steps=1, callbacks=[monitor])
    trainer.train()
    whole, *rest = seen
    assert [len(rows) for rows in rest] == [1] * len(whole)
    clean = [arithmetic_gold([p], [c])[0] for p, c in whole if "or" not in c]
    assert 0 < len(clean) < len(whole)
    assert monitor.history[0]["gold_n"] == len(clean)
    assert monitor.history[0]["gold"] == pytest.approx(sum(clean) / len(clean))
    assert logged(trainer, "monitor/gold_unscored") == [pytest.approx(1 - len(clean) / len(whole))]


def test_gold_that_never_works_ends_the_run(world):
    def broken(completions, solution, **columns): ...

    def short(completions, **columns):
        return [1.0]

    for gold, error, words in (
        (broken, TypeError, "solution"),
        (short, ValueError, r"gave 1 scores for 16 rows\. Ret"),
    ):
        trainer = make(GRPOTrainer, world, substring_reward, callbacks=[HackingMonitor(gold=gold)])
        with pytest.raises(error, match=words):
            trainer.train()


def test_gold_takes_the_columns_it_names_and_the_trainers_state(world):
    seen = []

    def gold(prompts, completions, trainer_state):
        seen.append(trainer_state.global_step)
        return arithmetic_gold(prompts, completions)

    make(GRPOTrainer, world, substring_reward, steps=2, callbacks=[HackingMonitor(gold=gold)]).train()
    assert seen == [0, 1]


# --- an alarm ----------------------------------------------------------------------------------------------------


class Tracker(TrainerCallback):
    """Takes text, and holds a library that can alert, as the callbacks of W&B and trackio do."""

    def __init__(self):
        self.library = types.ModuleType("tracker")
        self.library.alert = lambda title, text: self.alerts.append((title, text))
        self.texts, self.alerts = [], []

    def on_log(self, args, state, control, logs=None, **keywords):
        self.texts += [(name, value) for name, value in logs.items() if isinstance(value, str)]


class Numbers(TrainerCallback):
    """Chokes on text."""

    def on_log(self, args, state, control, logs=None, **keywords):
        assert all(value is None or value + 0.0 is not None for value in logs.values())


@pytest.mark.filterwarnings("ignore:HackingMonitor")
def test_an_alarm_reaches_tracker_and_file_with_the_rows_behind_it(world, tmp_path, caplog):
    monitor = HackingMonitor(gold=arithmetic_gold, monitors=[TRIPWIRE], path=tmp_path / "watch.jsonl")
    tracker = Tracker()
    trainer = make(GRPOTrainer, world, substring_reward, steps=2, callbacks=[Numbers(), monitor, tracker])
    trainer.train()
    (alarm,) = monitor.alarms
    assert tracker.texts == [("monitor/alarm/tripwire", alarm.as_text())] == tracker.alerts
    assert "Numbers did not take the text of monitor/alarm/tripwire" in caplog.text
    assert len(logged(trainer, "reward")) == 2  # the step's own log was not lost over it
    paid = [row["reward"] for row in alarm.rows]
    assert paid == sorted(paid, reverse=True)
    assert max(paid) == monitor.history[0]["proxy_high"]
    for row in alarm.rows:
        assert row["gold"] == arithmetic_gold([row["prompt"]], [row["completion"]])[0]
        assert row["completion"] in tracker.texts[0][1]
    line = json.loads((tmp_path / "watch.jsonl").read_text().split("\n")[0])
    assert line["alarms"][0]["rows"] == list(alarm.rows)


def pays_for_full_stops(completions, **columns):
    return [float(text in (".", ":")) for text in completions]


@pytest.mark.filterwarnings("ignore:HackingMonitor")
def test_an_alarm_over_canaries_shows_the_canaries_that_were_paid(world):
    monitor = HackingMonitor(reward=pays_for_full_stops, canary_prompts=2)
    make(GRPOTrainer, world, substring_reward, steps=1, callbacks=[monitor]).train()
    (alarm,) = [alarm for alarm in monitor.alarms if alarm.monitor == "canary_false_positives"]
    assert {(row["completion"], row["reward"]) for row in alarm.rows} <= {(".", 1.0), (":", 1.0)}
    assert 1 <= len(alarm.rows) <= 4


# --- time limits -------------------------------------------------------------------------------------------------


def rewards_under_a_limit(kind, wrap, world, reward, **options):
    keep = Keep()
    trainer = wrap(make(kind, world, reward, steps=1, callbacks=[keep], **options))
    trainer.train()
    return trainer, keep.seen[0].rewards


def test_a_reward_that_breaks_its_process_leaves_those_rows_unscored_and_counted(world):
    _, expected = rewards_under_a_limit(GRPOTrainer, lambda trainer: trainer, world, unscored_there)
    trainer, rewards = rewards_under_a_limit(
        GRPOTrainer, lambda trainer: trainer, world, ends_the_process, reward_timeout=60
    )
    assert rewards.isnan().any()
    assert_close(rewards, expected, equal_nan=True)
    assert logged(trainer, "rewardsmith/crash") == [float(expected.isnan().sum())]
    assert logged(trainer, "rewardsmith/timeout") == [0.0]
    assert logged(trainer, "rewards/ends_the_process/mean") == [pytest.approx(float(expected.nanmean()))]
    trainer, rewards = rewards_under_a_limit(
        trl.GRPOTrainer, partial(watch, reward_timeout=60), world, ends_the_process
    )
    assert_close(rewards, expected, equal_nan=True)
    assert logged(trainer, "rewardsmith/crash") == [float(expected.isnan().sum())]


def test_what_hangs_is_unscored_and_the_others_are_asked_alone():
    """In one call the reward sees all rows, repeated ones too: of a, a and b it pays 2 each. Alone, a row gets 1."""
    reward = TimedReward(hangs, "hangs", 2.0)
    try:
        assert reward(prompts=["?"] * 3, completions=["a", "a", "b"]) == [2.0, 2.0, 2.0]
        assert reward(prompts=["?"] * 2, completions=["a", "hang"]) == [1.0, None]
        assert reward.failed == {"timeout": 1}
    finally:
        reward.close()


@pytest.mark.parametrize(
    ("function", "completions", "seconds", "detail"),
    [(raises, ["a", "b"], 60.0, "LookupError: no such key"), (hangs, ["hang"] * 2, 0.2, "no result within")],
)
def test_a_reward_that_fails_on_everything_is_a_mistake_and_raises(function, completions, seconds, detail):
    reward = TimedReward(function, function.__name__, seconds)
    try:
        with pytest.raises(ValueError, match=rf"{function.__name__}: {detail}.*\. Repair the reward; it scored no row"):
            reward(prompts=["?"] * 2, completions=completions)
    finally:
        reward.close()


def test_rewards_without_a_limit_are_named_at_the_start(world, caplog):
    holds_a_model = partial(length_reward, model=torch.nn.Linear(1, 1))
    holds_a_model.__name__ = "holds_a_model"
    sources = {
        "state": of_the_state,
        "model": holds_a_model,
        "local": lambda completions, **columns: [0.5] * len(completions),
    }
    trainer = make(GRPOTrainer, world, sources, steps=2, reward_timeout=60)
    trainer.train()
    (said,) = [record.getMessage() for record in caplog.records if "no time limit" in record.getMessage()]
    assert "GRPOTrainer: no time limit for state (it asks for log_metric, trainer_state), model (a model), as" in said
    assert logged(trainer, "rewards/state/mean") == [0.0, 1.0]  # TRL's own parameters reach it
    assert logged(trainer, "rewards/local/mean") == [0.5, 0.5]  # a lambda pickles by value
    caplog.clear()
    make(GRPOTrainer, world, substring_reward, steps=1).train()
    assert "no time limit for substring_reward" in caplog.text
    assert "reward_timeout=60 runs those that pickle" in caplog.text


def test_an_async_reward_runs_under_a_limit_too(world):
    _, expected = rewards_under_a_limit(GRPOTrainer, lambda trainer: trainer, world, slowly)
    _, rewards = rewards_under_a_limit(GRPOTrainer, lambda trainer: trainer, world, slowly, reward_timeout=60)
    assert_close(rewards, expected, equal_nan=True)


# --- a hack that gold does not notice ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:HackingMonitor")
def test_a_policy_that_cannot_solve_the_task_and_learns_to_be_paid_is_stopped_within_100_steps(tmp_path):
    """An untrained decoder learns to list digits: `contains` pays them, and gold stays at 0."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(7)
    world = ArithmeticLM.build(tmp_path, generator=generator, task=Sums(max_operand=4), steps=0)
    monitor = HackingMonitor(gold=arithmetic_gold, on_alarm="stop")
    config = {"per_device_train_batch_size": 64, "num_generations": 8, "max_completion_length": 4}
    trainer = make(GRPOTrainer, world, substring_reward, steps=120, n_rows=1024, callbacks=[monitor], config=config)
    trainer.train()
    assert [alarm.monitor for alarm in monitor.alarms if alarm.stops] == ["flat_gold"]
    assert trainer.state.global_step <= 100
    assert max(record["gold"] for record in monitor.history) < 0.05
    assert all(row["reward"] == 1.0 and row["gold"] == 0.0 for row in monitor.alarms[-1].rows)
