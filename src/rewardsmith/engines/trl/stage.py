"""What happens between a trainer's rewards and its loss: combine, transform, credit, filter, over all processes.

TRL scores rows before it gathers them, and turns the gathered rewards into advantages inside one method. Two overrides
give that method everything it lacks. `_calculate_rewards`, whose result is gathered, combines and transforms; where
the result is not what TRL would add up itself, it goes back as a *single* source of weight 1, so that TRL's own code
goes on to clip it, subtract RLOO's KL penalty, scale it and log it. `_generate_and_score_completions` then replaces
`advantages`, if asked to. With no option set and no score missing, neither changes a number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate.utils import gather, gather_object, pad_across_processes
from torch import Tensor

from rewardsmith.engines.trl.calls import Stage, call, check_rows, context_of, filter_weights
from rewardsmith.transforms import Chain, cancels, chain, weighted_sum
from rewardsmith.types import RewardBatch, traits_of

_ONE_SOURCE = "rewardsmith/reward"  # the name of the combined reward while TRL holds it; never logged


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """One gathered batch after its advantages are known: what a callback's `on_rewards` receives.

    batch: the raw sources; `columns` holds `prompt`, `completion` and every column of the rows.
    rewards: (B,) combined and transformed, NaN where unscored; without the KL penalty.
    advantages: (B,) or (B, T).
    infinite: how many raw scores were ±inf, which `batch` holds as NaN.
    training: False for an evaluation batch.
    metrics: the trainer's running metrics, name → values since the last log; append to be logged.
    is_main_process: whether this process should write files.
    """

    batch: RewardBatch
    rewards: Tensor
    advantages: Tensor
    infinite: int
    training: bool
    metrics: Mapping[str, list[float]]
    is_main_process: bool


class RewardStage:
    """Mixin in front of one of TRL's online trainers; see `GRPOTrainer` for what the options mean."""

    # What TRL's trainers provide, declared for the reader and the type checker.
    accelerator: Any
    args: Any
    callback_handler: Any
    control: Any
    model: Any
    num_generations: int
    num_generations_eval: int
    reward_func_names: list[str]
    reward_weights: Tensor
    state: Any
    _logs: dict[str, Any]
    _metrics: dict[str, Any]

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
        **keywords: Any,
    ) -> None:
        names: list[str] = []
        if isinstance(reward_funcs, Mapping):
            names, reward_funcs = list(reward_funcs), list(reward_funcs.values())
        super().__init__(model, reward_funcs, *args, **keywords)  # type: ignore[call-arg]
        self.reward_func_names[: len(names)] = names
        _check_names(type(self).__name__, self.reward_func_names)
        self.transform, self.advantage, self.sample_filter = transform, advantage, sample_filter
        self._scored_sources: tuple[RewardBatch, Tensor, int] | None = None
        if transform is not None:
            self._check_transform(transform)

    def _estimator(self) -> Callable[..., Tensor] | None:
        """The room's name for the advantage in effect, to ask what it cancels."""
        raise NotImplementedError

    def _check_transform(self, transform: Stage) -> None:
        if getattr(self, "multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
            raise ValueError(
                f"{type(self).__name__}: transform returns one reward per row, and multi_objective_aggregation="
                f"{self.multi_objective_aggregation!r} wants to normalize each source itself. "  # type: ignore[attr-defined]
                "Keep 'sum_then_normalize' and put transforms.normalize_sources first in the transform."
            )
        estimator = self._estimator()
        if estimator is not None:
            _warn_if_idle(type(self).__name__, transform, estimator)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        raw: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        infinite = raw.isinf()
        batch = RewardBatch(
            source_rewards=raw.masked_fill(infinite, torch.nan),
            source_names=tuple(self.reward_func_names),
            group_size=self.num_generations if self.model.training else self.num_generations_eval,
            completion_mask=_mask([len(ids) for ids in completion_ids_list], raw.device),
            columns=_columns(inputs, prompts, completions),
        )
        rewards = self._combined(batch)
        self._scored_sources = batch, rewards, int(infinite.sum())
        if not self._replaces_sum(batch):
            return batch.source_rewards
        self.reward_func_names, self.reward_weights = [_ONE_SOURCE], torch.ones(1)
        return rewards[:, None]

    def _combined(self, batch: RewardBatch) -> Tensor:
        """(B,) rewards: the weighted sum over the sources present, then the transform; NaN where unscored."""
        weights = self.reward_weights.to(batch.source_rewards)
        rewards = weighted_sum(batch.source_rewards, weights=weights)
        if self.transform is None:
            return rewards
        transformed = call("transform", self.transform, rewards, context_of(batch))
        advice = "A transform maps (B,) or (B, K) rewards to (B,); end it with transforms.weighted_sum if it keeps K."
        transformed = check_rows("transform", self.transform, transformed, [tuple(rewards.shape)], advice=advice)
        if bool(transformed.isinf().any()):
            raise ValueError(
                f"transform: {self.transform!r} returned ±inf, which would silence whole groups. "
                "Bound it, for example with transforms.clip_rewards."
            )
        return transformed

    def _replaces_sum(self, batch: RewardBatch) -> bool:
        """Whether TRL's own sum over sources would give other rewards: a transform, or a source missing beside one."""
        if getattr(self, "multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
            return False  # z-scores: a missing source counts as its group's mean, which is no bias
        missing = batch.source_rewards.isnan()
        return self.transform is not None or bool((missing.any(dim=1) & ~missing.all(dim=1)).any())

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        names, weights = self.reward_func_names, self.reward_weights
        try:
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        finally:
            replaced = self.reward_func_names is not names
            self.reward_func_names, self.reward_weights = names, weights
        if self._scored_sources is None:
            raise AssertionError("TRL no longer scores through _calculate_rewards")
        batch, rewards, infinite = self._scored_sources
        metrics = self._metrics["train" if self.model.training else "eval"]
        if replaced:
            self._log_sources(batch, metrics)
        metrics["rewardsmith/unscored_rate"].append(float(rewards.isnan().float().mean()))
        metrics["rewardsmith/infinite"].append(float(infinite))
        advantages = None
        if self.advantage is not None or self.sample_filter is not None:
            advantages = self._credit(output, batch, rewards, metrics)
            self._log_advantages(advantages)
            output["advantages"] = self._local(advantages, output)
        self._tell(batch, rewards, advantages, output, infinite, metrics)
        return output

    def _credit(self, output: dict[str, Any], batch: RewardBatch, rewards: Tensor, metrics: Any) -> Tensor:
        """(B,) or (B, T) advantages over all processes, after `advantage` and `sample_filter`."""
        batch = replace(batch, completion_mask=_gathered_mask(output))
        n_rows, n_tokens = batch.completion_mask.shape  # type: ignore[union-attr]
        context = context_of(batch)
        if self.advantage is None:
            advantages: Tensor = gather(output["advantages"])
        else:
            advantages = call("advantage", self.advantage, self._penalized(rewards, output), context)
            shapes: list[tuple[int, ...]] = [(n_rows,)]
            advice = "Return one advantage per row."
            if self.token_advantages:
                shapes.append((n_rows, n_tokens))
                advice = "Return one advantage per row, or one per row and token of completion_mask."
            elif tuple(advantages.shape) == (n_rows, n_tokens):
                advice = "This loss weighs whole sequences: return (B,), or use GRPOTrainer for (B, T)."
            advantages = check_rows("advantage", self.advantage, advantages, shapes, advice=advice)
            advantages = advantages.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        if self.sample_filter is not None:
            weights = call("sample_filter", self.sample_filter, rewards, context)
            advice = "Return one weight per row."
            weights = check_rows("sample_filter", self.sample_filter, weights, [(n_rows,)], advice=advice)
            weights = filter_weights(self.sample_filter, weights)
            metrics["rewardsmith/kept_rate"].append(float((weights > 0).float().mean()))
            advantages = advantages * (weights if advantages.dim() == 1 else weights[:, None])
        if not bool(advantages.isfinite().all()):
            raise ValueError(f"advantage: {self.advantage!r} returned ±inf. Add an eps to its divisor.")
        return advantages

    def _penalized(self, rewards: Tensor, output: dict[str, Any]) -> Tensor:
        """The rewards as the trainer's own advantage would see them."""
        return rewards

    def _local(self, advantages: Tensor, output: dict[str, Any]) -> Tensor:
        """This process's rows, cut to its own padded length."""
        n_rows, n_tokens = output["completion_mask"].shape
        first = self.accelerator.process_index * n_rows
        rows = advantages[first : first + n_rows]
        return rows if rows.dim() == 1 else rows[:, :n_tokens]

    def _log_sources(self, batch: RewardBatch, metrics: Any) -> None:
        """Each source's mean and deviation under TRL's names, in place of those of the single combined source."""
        for statistic in ("mean", "std"):
            metrics.pop(f"rewards/{_ONE_SOURCE}/{statistic}", None)
        self._logs["rewards"].pop(_ONE_SOURCE, None)
        for name, column in zip(batch.source_names, batch.source_rewards.unbind(dim=1), strict=True):
            scored = column[~column.isnan()]
            metrics[f"rewards/{name}/mean"].append(float(scored.mean()))
            metrics[f"rewards/{name}/std"].append(float(scored.std()) if len(scored) > 1 else float("nan"))
            self._logs["rewards"][name].extend(column.tolist())

    def _log_advantages(self, advantages: Tensor) -> None:
        """Put the advantages that are used in the place of TRL's in the completions table; (B, T) as row means."""
        shown = advantages if advantages.dim() == 1 else advantages.mean(dim=1)
        log = self._logs["advantages"]
        for _ in range(min(len(shown), len(log))):
            log.pop()
        log.extend(shown.tolist())

    def _tell(
        self,
        batch: RewardBatch,
        rewards: Tensor,
        advantages: Tensor | None,
        output: dict[str, Any],
        infinite: int,
        metrics: Any,
    ) -> None:
        hooks = [c.on_rewards for c in self.callback_handler.callbacks if hasattr(c, "on_rewards")]
        if not hooks:
            return
        scored = ScoredBatch(
            batch=batch,
            rewards=rewards,
            advantages=gather(output["advantages"]) if advantages is None else advantages,
            infinite=infinite,
            training=self.model.training,
            metrics=metrics,
            is_main_process=self.accelerator.is_main_process,
        )
        for hook in hooks:
            hook(self.args, self.state, self.control, scored=scored)


def _check_names(caller: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{caller}: several rewards are called {', '.join(repeated)}, and TRL would merge their metrics. "
            'Name them: reward_funcs={"first": f, "second": g}.'
        )


def _warn_if_idle(caller: str, transform: Stage, estimator: Callable[..., Tensor]) -> None:
    if isinstance(transform, Chain):
        chain(*transform.parts, advantage=estimator)  # warns of each idle part
        return
    try:
        traits_of(transform)
    except TypeError:
        return  # declares nothing, so nothing is claimed
    verdict = cancels(transform, estimator)
    if verdict:
        effect = "cannot change anything" if verdict.extent == "exactly" else "can change nothing but the step size"
        warnings.warn(
            f"{caller}: this transform {effect}: {verdict.reason}. Drop it, or choose another advantage.",
            UserWarning,
            stacklevel=5,
        )


def _mask(lengths: list[int], device: torch.device) -> Tensor:
    """(B, T) True on the sampled tokens of every process's completions."""
    every: Tensor = gather(torch.tensor(lengths, device=device))
    return torch.arange(int(every.max()), device=device) < every[:, None]


def _gathered_mask(output: dict[str, Any]) -> Tensor:
    """(B, T) the loss mask over all processes, padded to the longest."""
    mask = output["completion_mask"]
    if "tool_mask" in output:
        mask = mask * output["tool_mask"]
    gathered: Tensor = gather(pad_across_processes(mask, dim=1, pad_index=0))
    return gathered.bool()


def _columns(inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any]) -> dict[str, list[Any]]:
    names = [name for name in inputs[0] if name not in ("prompt", "completion", "completion_ids")]
    local = {"prompt": prompts, "completion": completions, **{name: [row[name] for row in inputs] for name in names}}
    return {name: gather_object(values) for name, values in local.items()}
