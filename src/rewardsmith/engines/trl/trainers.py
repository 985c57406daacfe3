"""TRL's trainers with the reward stage in front."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from accelerate.utils import gather
from torch import Tensor
from trl import GRPOConfig as GRPOConfig  # noqa: PLC0414 - for the demo
from trl import GRPOTrainer as TRLGRPOTrainer
from trl import RLOOTrainer as TRLRLOOTrainer

from rewardsmith.advantages import batch_scaled, group_centered, group_zscore, leave_one_out
from rewardsmith.engines.trl.gathering import metrics_of
from rewardsmith.engines.trl.stage import RewardStage


class GRPOTrainer(RewardStage, TRLGRPOTrainer):
    """TRL's `GRPOTrainer`, argument for argument, with a reward stage after the gather.

    Every function below runs on the batch of *all* processes, on each of them. A random function needs a generator with
    the same seed on each. Its first parameter gets the rewards; any further parameter is filled by name from the batch:
    `group_size`, `completion_mask`, `source_names`, any column of the dataset, or `batch` (`types.RewardBatch`).
    `lengths` (B,) are the completions' tokens and `truncated` (B,) says which were cut off, unless a column has that
    name. With a process reward there are `step_rewards`, `step_mask` and `step_ends` (B, N) too; with several,
    `step_rewards` maps their names to (B, N).

    Args:
        reward_funcs: as in TRL, or a mapping of name → reward, or a `recipes.Recipe`, which brings everything below but
            `segment`. Names must differ. A ±inf counts as unscored. Where a row lacks a source, the weight of that
            source goes to the others (`transforms.weighted_sum`); TRL would count it as 0.
        transform: rewards (B,) to rewards (B,), NaN where unscored; if its first parameter is called `source_rewards`
            it gets the raw (B, K) instead of the weighted sum. TRL's own advantage follows. A transform that the
            advantage cancels warns.
        advantage: rewards (B,) to advantages (B,), or (B, T) like `completion_mask`, instead of TRL's own.
        sample_filter: rewards (B,) to weights (B,), 0 to drop; scaled to mean 1 over the kept and multiplied into the
            advantages. A dropped row keeps its place in the loss's denominator.
        process_rewards: a `types.ProcessReward`, or a mapping of name → process reward, called as TRL calls rewards
            with `steps` in addition. ±inf counts as unscored. They train only through an `advantage`, such as
            `advantages.step_credit`, or a `transform` that reads `step_rewards`; TRL still needs a `reward_funcs`.
        segment: cuts completions into steps; `functools.partial(data.segment_steps, separator=...)` sets the separator.
            Text cut off after the last separator is no step, and a last step includes the end-of-sequence token.
        reward_timeout: seconds that a call of a reward may take. With it, rewards that pickle run in a worker process
            each. A row that hangs, crashes or raises there is unscored and counted in the log (`rewardsmith/timeout`,
            `crash` and `exception`). Models, process rewards, and rewards that ask for `trainer_state`, `log_extra`,
            `log_metric` or `environments` run in this process without a limit; the log names them when training begins.

        log_ratio_clamp: c > 0, such as log 1000: log π − log π_old of a token is clamped to [−c, c] *before* the
            exponential (Pre-CLIP, Zhang et al. 2025, arXiv:2505.02835), so that no ratio overflows. A token beyond it
            has no gradient but that of its KL term. `rewardsmith/clamped_rate` is their share. The clamp is loose: with
            a negative advantage one token can still cost 1000, which `GRPOConfig(delta=…)` bounds. For their filter of
            advantages bind `advantages.filtered` as `advantage`.

    Callbacks with a method `on_rewards(args, state, control, *, scored)` get every batch as `ScoredBatch`.
    """

    def __init__(self, *args: Any, log_ratio_clamp: float | None = None, **keywords: Any) -> None:
        if log_ratio_clamp is not None and not 0 < log_ratio_clamp < math.inf:
            raise ValueError(
                f"GRPOTrainer: log_ratio_clamp is {log_ratio_clamp}, and a bound of log-ratios is above 0 and finite. "
                "Pass math.log(1e3), as in the paper, or None."
            )
        self.log_ratio_clamp = log_ratio_clamp
        self._loss_inputs: dict[str, Any] | None = None  # set while the loss is computed
        super().__init__(*args, **keywords)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        if self.log_ratio_clamp is None:
            return super()._compute_loss(model, inputs)
        self._loss_inputs = dict(inputs)
        try:
            return super()._compute_loss(model, self._loss_inputs)
        finally:
            self._loss_inputs = None

    def _get_per_token_logps_and_entropies(self, *args: Any, **keywords: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **keywords)
        inputs, bound = self._loss_inputs, self.log_ratio_clamp
        if bound is None or inputs is None or inputs.get("old_per_token_logps") is None:
            return result  # without old log-probabilities TRL takes the new ones, and the ratio is 1
        logps, old = result[0], inputs["old_per_token_logps"]
        clamped = logps.clamp(old - bound, old + bound)
        if inputs.get("ref_per_token_logps") is not None:  # π / π_ref stays that of the unclamped token
            inputs["ref_per_token_logps"] = inputs["ref_per_token_logps"] + (clamped - logps)
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        rate = ((clamped != logps) * mask).sum() / mask.sum().clamp(min=1)
        metrics_of(self)["rewardsmith/clamped_rate"].append(float(gather(rate).mean()))
        return (clamped, *result[1:])

    def _estimator(self) -> Callable[..., Tensor] | None:
        if self.advantage is not None:
            return self.advantage
        by_scale = {"group": group_zscore, "batch": batch_scaled, "none": group_centered}
        return by_scale.get(self.scale_rewards)


class RLOOTrainer(RewardStage, TRLRLOOTrainer):
    """TRL's `RLOOTrainer` with the options of `GRPOTrainer`, except (B, T) advantages: its loss weighs sequences.

    RLOO's KL penalty is part of its reward. The transform's result is clipped to `reward_clip_range` and loses β·KL
    before the leave-one-out baseline. A custom `advantage` receives exactly that reward. `normalize_advantages` applies
    to TRL's own advantage, not to a custom one.
    """

    token_advantages = False

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self._scoring_logps: list[Tensor] | None = None
        super().__init__(*args, **keywords)

    def _estimator(self) -> Callable[..., Tensor] | None:
        return leave_one_out if self.advantage is None else self.advantage

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._scoring_logps = []
        try:
            return super()._generate_and_score_completions(inputs)
        finally:
            self._scoring_logps = None

    def _get_per_token_logps_and_entropies(self, *args: Any, **keywords: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **keywords)
        if self._scoring_logps is not None:
            self._scoring_logps.append(result[0])  # first the policy's, then the reference's
        return result

    def _penalized(self, rewards: Tensor, output: dict[str, Any]) -> Tensor:
        """Return r − β Σ_t [log π(y_t) − log π_ref(y_t)], after clipping, as TRL computes it."""
        if self.reward_clip_range:
            rewards = rewards.clamp(min=self.reward_clip_range[0], max=self.reward_clip_range[1])
        if self.beta == 0.0:
            return rewards
        assert self._scoring_logps is not None
        logps, ref_logps = self._scoring_logps
        kl: Tensor = gather(((logps - ref_logps) * output["completion_mask"]).sum(-1))
        penalty: Tensor = self.beta * kl
        return rewards - penalty
