"""The stage between a trainer's rewards and its loss: combine, transform, credit and filter over all processes.

TRL scores rows before it gathers them, and turns the gathered rewards into advantages inside one method. Two overrides
add what that method lacks. `_calculate_rewards`, whose result is gathered, combines and transforms. A result that
differs from TRL's own sum is passed on as a *single* source of weight 1, so that TRL's own code clips it, subtracts
RLOO's KL penalty, scales it and logs it. `_generate_and_score_completions` then replaces `advantages` on request. With
no option set and no score missing, neither changes a number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import gather, pad_across_processes
from torch import Tensor

from rewardsmith.data import segment_steps
from rewardsmith.describe import function_of
from rewardsmith.engines.calls import Stage, context_of, credited, transformed
from rewardsmith.engines.process import Segment
from rewardsmith.engines.trl.gathering import Gathered, columns_of, gathered, is_truncated, metrics_of, notify
from rewardsmith.engines.trl.limits import Limits
from rewardsmith.engines.trl.steps import StepScorer
from rewardsmith.recipes import Recipe
from rewardsmith.transforms import chain, weighted_sum
from rewardsmith.transforms.compose import Chain, warn_if_canceled
from rewardsmith.types import ProcessReward

_ONE_SOURCE = "rewardsmith/reward"  # the name of the combined reward while TRL holds it; never logged


class RewardStage:
    """Mixin to put before one of TRL's online trainers; see `GRPOTrainer` for the options."""

    # Attributes of TRL's trainers, declared for the reader and the type checker.
    accelerator: Any
    reward_func_names: list[str]
    reward_weights: Tensor
    state: Any
    _logs: dict[str, Any]
    _tokenizer: Any

    token_advantages = True
    """Whether the loss takes (B, T) advantages."""

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        *args: Any,
        transform: Stage | None = None,
        advantage: Stage | None = None,
        sample_filter: Stage | None = None,
        process_rewards: Mapping[str, ProcessReward] | ProcessReward | None = None,
        segment: Segment = segment_steps,
        reward_timeout: float | None = None,
        **keywords: Any,
    ) -> None:
        recipe = reward_funcs if isinstance(reward_funcs, Recipe) else None
        if recipe is not None:
            if any(option is not None for option in (transform, advantage, sample_filter, process_rewards)):
                raise ValueError(
                    "rewardsmith.engines.trl: a recipe brings its own transform, advantage, filter and process rewards,"
                    " and others were passed beside it. Put them into the recipe."
                )
            options = recipe.options()
            reward_funcs, transform, advantage = (options.get(n) for n in ("reward_funcs", "transform", "advantage"))
            sample_filter, process_rewards = options.get("sample_filter"), options.get("process_rewards")
        names: list[str] = []
        if isinstance(reward_funcs, Mapping):
            names, reward_funcs = list(reward_funcs), list(reward_funcs.values())
        super().__init__(model, reward_funcs, *args, **keywords)  # type: ignore[call-arg]
        self.reward_func_names[: len(names)] = names
        repeated = sorted({name for name in self.reward_func_names if self.reward_func_names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"{type(self).__name__}: several rewards are called {', '.join(repeated)}, and TRL would merge their "
                'metrics. Name them: reward_funcs={"first": f, "second": g}.'
            )
        self._limits = Limits(self, reward_timeout)
        self.transform, self.advantage, self.sample_filter = transform, advantage, sample_filter
        self._scored: tuple[Gathered, Tensor] | None = None  # set by `_calculate_rewards` for the later stages
        self.step_scorer = None
        if process_rewards is not None:
            self.step_scorer = StepScorer(type(self).__name__, process_rewards, segment=segment)
            self._limits.in_place |= dict.fromkeys(self.step_scorer.process_rewards, "a process reward")
            if transform is None and advantage is None and sample_filter is None:
                warnings.warn(
                    f"{type(self).__name__}: process_rewards are scored, but no function reads them, so they change "
                    "nothing. Pass advantage=advantages.step_credit for (B, T) advantages, or a transform of "
                    "`step_rewards`.",
                    stacklevel=3,
                )
        if transform is not None:
            if getattr(self, "multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
                raise ValueError(
                    f"{type(self).__name__}: transform returns one reward per row, and multi_objective_aggregation="
                    f"{self.multi_objective_aggregation!r} normalizes each source itself. "  # type: ignore[attr-defined]
                    "Keep 'sum_then_normalize' and put transforms.normalize_sources first in the transform."
                )
            estimator = self._estimator()
            if isinstance(transform, Chain):
                chain(*transform.parts, advantage=estimator)  # warns of each part that is canceled
            elif estimator is not None and hasattr(function_of(transform), "__traits__"):
                warn_if_canceled(f"{type(self).__name__}: this transform", transform, estimator, stacklevel=4)
        for part in [] if recipe is None else recipe.canceled(recipe.advantage or self._estimator()):
            warnings.warn(f"{type(self).__name__}: {part.part}, changes nothing: {part.reason}.", stacklevel=3)

    def _estimator(self) -> Callable[..., Tensor] | None:
        """Return our name for the advantage in effect, from which we read what it cancels."""
        raise NotImplementedError

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        raw: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        result = gathered(self, raw, inputs, prompts, completions, completion_ids_list)
        batch = result.batch
        if self.step_scorer is not None:
            arguments = {
                **columns_of(inputs),
                "prompts": prompts,
                "completions": completions,
                "completion_ids": completion_ids_list,
                "trainer_state": self.state,
                "log_extra": self._log_completion_extra,  # type: ignore[attr-defined]
                "log_metric": self._log_metric,  # type: ignore[attr-defined]
            }
            if getattr(self, "environments", None) is not None:
                arguments["environments"] = self.environments  # type: ignore[attr-defined]
            steps = self.step_scorer(
                arguments,
                complete=[not is_truncated(self, ids) for ids in completion_ids_list],
                decode=lambda ids: self._tokenizer.decode(ids, skip_special_tokens=True),
                device=raw.device,
            )
            batch = replace(batch, step_rewards=steps.rewards, step_mask=steps.mask, step_ends=steps.ends)
            result = result._replace(batch=batch, infinite_steps=steps.infinite)
        rewards = weighted_sum(batch.source_rewards, weights=self.reward_weights.to(batch.source_rewards))
        rewards = transformed(self.transform, rewards, context_of(batch, result.measured))
        self._scored = result, rewards
        # TRL's own sum over sources differs under a transform, or where a row lacks some of its sources. Where TRL
        # normalizes each source, it counts a missing one as the group's mean, which adds no bias.
        missing = batch.source_rewards.isnan()
        differs = self.transform is not None or bool((missing.any(dim=1) & ~missing.all(dim=1)).any())
        if not differs or getattr(self, "multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
            return batch.source_rewards
        self.reward_func_names, self.reward_weights = [_ONE_SOURCE], torch.ones(1)
        return rewards[:, None]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        names, weights = self.reward_func_names, self.reward_weights
        try:
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        finally:
            replaced = self.reward_func_names is not names
            self.reward_func_names, self.reward_weights = names, weights
        if self._scored is None:
            raise AssertionError("TRL no longer scores through _calculate_rewards")
        result, rewards = self._scored
        batch, metrics = result.batch, metrics_of(self)
        if replaced:  # log each source under TRL's names, in place of the single combined one
            for statistic in ("mean", "std"):
                metrics.pop(f"rewards/{_ONE_SOURCE}/{statistic}", None)
            self._logs["rewards"].pop(_ONE_SOURCE, None)
            for name, column in zip(batch.source_names, batch.source_rewards.unbind(dim=1), strict=True):
                known = column[~column.isnan()]
                metrics[f"rewards/{name}/mean"].append(float(known.mean()))
                metrics[f"rewards/{name}/std"].append(float(known.std()) if len(known) > 1 else float("nan"))
                self._logs["rewards"][name].extend(column.tolist())
        metrics["rewardsmith/unscored_rate"].append(float(rewards.isnan().float().mean()))
        metrics["rewardsmith/infinite"].append(float(result.infinite))
        self._limits.log(metrics)
        if batch.step_mask is not None:
            steps = {name: step_rewards[batch.step_mask] for name, step_rewards in batch.step_rewards.items()}
            metrics["rewardsmith/steps"].append(float(batch.step_mask.sum(dim=1).float().mean()))
            metrics["rewardsmith/infinite_steps"].append(float(result.infinite_steps))
            missing = torch.cat([*steps.values()]).isnan()
            metrics["rewardsmith/unscored_step_rate"].append(float(missing.float().mean()))
            for name, values in steps.items():
                metrics[f"step_rewards/{name}/mean"].append(float(values.nanmean()))
        advantages: Tensor = gather(output["advantages"])
        if self.advantage is not None or self.sample_filter is not None:
            mask = output["completion_mask"] * output.get("tool_mask", 1)
            mask = gather(pad_across_processes(mask, dim=1, pad_index=0)).bool()  # (B, T)
            batch = replace(batch, completion_mask=mask)
            credit = credited(
                advantages if self.advantage is None else self.advantage,
                self.sample_filter,
                rewards,
                context_of(batch, result.measured),
                penalized=None if self.advantage is None else self._penalized(rewards, output),
                per_token=self.token_advantages,
            )
            advantages = credit.advantages
            if credit.weights is not None:
                metrics["rewardsmith/kept_rate"].append(float((credit.weights > 0).float().mean()))
            shown, log = advantages if advantages.dim() == 1 else advantages.mean(dim=1), self._logs["advantages"]
            for _ in range(min(len(shown), len(log))):  # TRL's own leave the completions table
                log.pop()
            log.extend(shown.tolist())
            n_rows, n_tokens = output["completion_mask"].shape
            first = self.accelerator.process_index * n_rows
            rows = advantages[first : first + n_rows]
            output["advantages"] = rows if rows.dim() == 1 else rows[:, :n_tokens]
        notify(self, result, rewards, advantages)
        return output

    def _penalized(self, rewards: Tensor, output: dict[str, Any]) -> Tensor:
        """Return the rewards as the trainer's own advantage would get them."""
        return rewards
