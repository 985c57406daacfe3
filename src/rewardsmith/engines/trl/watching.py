"""`watch`, which makes TRL's own online trainers pass their batches to `HackingMonitor` and changes nothing else."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar

import torch
from torch import Tensor

from rewardsmith.engines.trl.gathering import gathered, metrics_of, notify
from rewardsmith.engines.trl.limits import Limits
from rewardsmith.engines.trl.stage import RewardStage

T = TypeVar("T")
GIVEN = ("inputs", "prompts", "completions", "completion_ids_list")
NEEDED = ("callback_handler", "reward_funcs", "reward_func_names", "reward_weights", "num_generations", "_metrics")


def watch(trainer: T, *, reward_timeout: float | None = None) -> T:
    """Make one of TRL's own online trainers call `on_rewards` of its callbacks, as `GRPOTrainer` of this room does.

        trainer = watch(trl.GRPOTrainer(..., callbacks=[HackingMonitor(gold=my_trusted_check)]))

    It serves every trainer that gathers its rewards as TRL's GRPO does: its method `_calculate_rewards` takes the rows
    with their completions and returns the (B, K) scores of all processes. Training stays TRL's own. Callbacks see TRL's
    sum over sources, in which a missing source is 0; a ±inf is unscored.

    Args:
        reward_timeout: as in `GRPOTrainer`.

    Returns:
        The same trainer.

    Raises:
        TypeError: it gathers rewards in another way, or not at all.
    """
    method: Any = getattr(trainer, "_calculate_rewards", None)
    if isinstance(trainer, RewardStage) or "_calculate_rewards" in getattr(trainer, "__dict__", ()):
        raise TypeError(
            f"watch: {type(trainer).__name__} calls its callbacks already. Pass reward_timeout= where you make the "
            "trainer, or in the first call of watch."
        )
    takes = tuple(inspect.signature(method).parameters) if callable(method) else ()
    missing = [name for name in NEEDED if not hasattr(trainer, name)]
    if takes != GIVEN or missing or isinstance(getattr(method, "__self__", None), type(None)):
        lacks = f"lacks {', '.join(missing)}" if missing else "has no `_calculate_rewards(" + ", ".join(GIVEN) + ")`"
        raise TypeError(
            f"watch: {type(trainer).__name__} {lacks}, so its rewards cannot be watched. "
            "Train with rewardsmith.engines.trl.GRPOTrainer or RLOOTrainer, or with TRL's own GRPO or RLOO trainer."
        )
    limits = Limits(trainer, reward_timeout)
    watched: Any = trainer

    @functools.wraps(method)
    def calculate_and_notify(inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        raw: Tensor = method(inputs, prompts, completions, completion_ids_list)
        limits.log(metrics_of(watched))
        result = gathered(watched, raw, inputs, prompts, completions, completion_ids_list)
        sources = result.batch.source_rewards
        rewards = (sources * watched.reward_weights.to(sources)).nansum(dim=1)
        unscored = sources.isnan().all(dim=1) | raw.isinf().any(dim=1)
        notify(watched, result, rewards.masked_fill(unscored, torch.nan), None)
        return raw

    watched._calculate_rewards = calculate_and_notify
    return trainer
