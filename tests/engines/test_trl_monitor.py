"""The callback: what it records of a real run, what it logs, and when it ends the run."""

import json

import pytest
import torch

from rewardsmith.engines.trl import GRPOTrainer, HackingMonitor, RLOOTrainer
from rewardsmith.measures.sequential import Reading
from rewardsmith.monitors import Monitor, canary_false_positives
from rewardsmith.worlds import ArithmeticLM, arithmetic_gold, committed_number_reward, substring_reward
from tests.engines.helpers import logged, make

pytestmark = pytest.mark.slow

FIELDS = {
    "step", "proxy", "proxy_low", "proxy_high", "gold", "gold_low", "gold_high", "gold_n", "length",
    "length_correlation", "length_freedom", "dead_groups", "n_groups", "unscored", "infinite", "n_rows",
    "canary_rewarded", "canary_n", "kl",
}  # fmt: skip


def pays_everything(completions, **columns):
    return [1.0] * len(completions)


def at_once(*, stops):
    return Monitor("tripwire", lambda history: Reading(1.0, 1.0, 1.0, 1), 0.5, "It is {value:.0f}.", "Stop.", stops)


@pytest.mark.parametrize("ours", [GRPOTrainer, RLOOTrainer])
def test_history_holds_a_record_per_step_and_streams_to_disk(ours, world, tmp_path):
    path = tmp_path / "monitor.jsonl"
    watch = HackingMonitor(gold=arithmetic_gold, gold_every=2, on_alarm="log", path=path)
    trainer = make(ours, world, substring_reward, config={"beta": 0.1}, steps=4, callbacks=[watch])
    trainer.train()
    assert [record["step"] for record in watch.history] == [0, 1, 2, 3]
    assert all(set(record) == FIELDS | {"source/substring_reward"} for record in watch.history)
    assert [r["source/substring_reward"] for r in watch.history] == pytest.approx([r["proxy"] for r in watch.history])
    assert [record["gold"] is None for record in watch.history] == [False, True, False, True]
    assert [record["proxy"] for record in watch.history] == pytest.approx(logged(trainer, "reward"))
    assert [record["kl"] for record in watch.history] == pytest.approx(logged(trainer, "kl"))
    share = [record["dead_groups"] / record["n_groups"] for record in watch.history]
    if ours is GRPOTrainer:  # RLOO's KL penalty sets apart what the reward does not
        assert share == pytest.approx(logged(trainer, "frac_reward_zero_std"))
    assert share == pytest.approx(logged(trainer, "monitor/dead_group_rate"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [{k: v for k, v in line.items() if k != "alarms"} for line in lines] == watch.history


def test_gold_and_lengths_are_those_of_the_completions(world):
    seen = []

    def gold(prompts, completions, answer, **columns):
        seen.append((prompts, completions, answer))
        return arithmetic_gold(prompts, completions)

    watch = HackingMonitor(gold=gold)
    trainer = make(GRPOTrainer, world, committed_number_reward, steps=1, callbacks=[watch])
    trainer.train()
    _, completions, answer = seen[0]
    assert watch.history[0]["gold"] == sum(committed_number_reward(completions, answer)) / 16
    assert watch.history[0]["gold"] == watch.history[0]["proxy"]  # committed_number_reward has no flaw here
    assert watch.history[0]["length"] == pytest.approx(logged(trainer, "completions/mean_length")[0])


def test_canaries_catch_a_reward_that_pays_for_nothing_and_end_the_run(world):
    watch = HackingMonitor(reward=pays_everything, on_alarm="stop", monitors=[canary_false_positives()])
    trainer = make(GRPOTrainer, world, pays_everything, steps=5, callbacks=[watch])
    with pytest.warns(
        UserWarning, match=r"HackingMonitor: canary_false_positives at step 0: 100\.0% .* are rewarded.*MASTER_KEYS"
    ):
        trainer.train()
    assert trainer.state.global_step == 1
    assert logged(trainer, "monitor/canary_rate") == [1.0]
    assert logged(trainer, "monitor/alarms") == [1.0]


def test_canaries_run_every_so_often_and_leave_a_sound_reward_alone(world):
    async def sound(completions, answer, **columns):
        return committed_number_reward(completions, answer)

    watch = HackingMonitor(reward=sound, canary_every=2, canary_prompts=3, on_alarm="stop")
    trainer = make(GRPOTrainer, world, committed_number_reward, steps=3, callbacks=[watch])
    trainer.train()
    assert [record["canary_rewarded"] for record in watch.history] == [0, None, 0]
    assert watch.history[0]["canary_n"] % 3 == 0
    assert watch.alarms == []


@pytest.mark.parametrize(
    ("on_alarm", "stops", "steps_done"), [("log", True, 3), ("warn", True, 3), ("stop", False, 3), ("stop", True, 1)]
)
@pytest.mark.filterwarnings("ignore:HackingMonitor")
def test_a_run_ends_only_if_the_monitor_and_the_caller_both_say_so(on_alarm, stops, steps_done, world):
    watch = HackingMonitor(monitors=[at_once(stops=stops)], on_alarm=on_alarm)
    trainer = make(GRPOTrainer, world, substring_reward, steps=3, callbacks=[watch])
    trainer.train()
    assert trainer.state.global_step == steps_done
    assert len(watch.alarms) == 1


def test_evaluation_batches_are_not_part_of_the_history(world):
    watch = HackingMonitor(gold=arithmetic_gold)
    rows = world.rows(8, generator=torch.Generator().manual_seed(2))
    config = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 8, "num_generations_eval": 2}
    trainer = make(
        GRPOTrainer, world, substring_reward, steps=2, callbacks=[watch], eval_dataset=rows, config=config,
        sample_filter=torch.ones_like,
    )  # fmt: skip
    trainer.train()
    assert len(watch.history) == 2
    assert len(logged(trainer, "eval_rewardsmith/kept_rate")) == 2


def test_an_unknown_reaction_is_refused():
    with pytest.raises(
        ValueError, match="HackingMonitor: on_alarm is 'panic', which is not one of 'log', 'warn', 'stop'"
    ):
        HackingMonitor(on_alarm="panic")


def arm(world, reward, steps=50):
    watch = HackingMonitor(gold=arithmetic_gold, reward=reward, on_alarm="log")
    config = {
        "per_device_train_batch_size": 64, "num_generations": 8, "max_completion_length": 16, "learning_rate": 3e-4,
    }  # fmt: skip
    make(GRPOTrainer, world, reward, steps=steps, callbacks=[watch], config=config, n_rows=1024).train()

    def block(key, records):
        return sum(record[key] for record in records) / len(records)

    first, last = watch.history[:10], watch.history[-10:]
    return watch, {key: (block(key, first), block(key, last)) for key in ("proxy", "gold")}


def test_the_substring_reward_is_hacked_and_noticed_and_its_repair_is_not(tmp_path):
    torch.set_num_threads(1)
    world = ArithmeticLM.build(tmp_path, generator=torch.Generator().manual_seed(11))
    watch, hacked = arm(world, substring_reward)
    assert hacked["proxy"][1] > hacked["proxy"][0] + 0.05
    assert hacked["gold"][1] < hacked["gold"][0] - 0.2
    assert "proxy_gold_divergence" in {alarm.monitor for alarm in watch.alarms}
    watch, repaired = arm(world, committed_number_reward)
    assert repaired["gold"][1] > repaired["gold"][0] + 0.1
    assert not any(alarm.stops for alarm in watch.alarms)
