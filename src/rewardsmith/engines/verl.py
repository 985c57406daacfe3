"""verl with our advantages, transforms and filters, and with process rewards as token-level scores.

Both entries follow verl 0.9.1. verl is imported when they are called: it is no dependency of ours, and the file that
calls them is loaded by verl itself, by `VERL_USE_EXTERNAL_MODULES=my_module` or as the file of a reward manager.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rewardsmith.data import segment_steps
from rewardsmith.engines.calls import Stage, context_of, credited, transformed
from rewardsmith.engines.process import Segment, cut, flat_scores
from rewardsmith.recipes import Recipe
from rewardsmith.scoring import to_trl
from rewardsmith.types import ProcessReward, RewardBatch, named_by

STEP_WORTH_ZERO = float(torch.finfo(torch.float32).tiny)
"""Written for a step that scores 0, as in verl's token rewards a 0 means that no step ends there."""

_STEP_NAMES = {"step_rewards", "step_mask", "step_ends"}


def register_advantage(
    name: str, advantage: Stage, *, transform: Stage | None = None, sample_filter: Stage | None = None
) -> Estimator:
    """Make `algorithm.adv_estimator=name` mean: transform the rewards, credit them, filter the rows.

    The functions are those of `engines.trl.GRPOTrainer`, called on rows sorted by `uid`, a prompt's completions
    consecutive. They may ask by name for `group_size`, `completion_mask` (verl's `response_mask`), `lengths`, `uid`,
    `token_rewards` (B, T) and, where a step's score stands on its last token, `step_rewards`, `step_mask` and
    `step_ends`; not for the dataset's columns, which verl does not pass on.

    Args:
        name: none of verl's own, and given once; the same functions may come again, as a file that verl loads twice.
        advantage: rewards (B,), the sum of a row's token rewards, to (B,) or (B, T).
        transform, sample_filter: as in `GRPOTrainer`. With `use_kl_in_reward` both see the rewards less the penalty.

    Returns:
        what verl calls: (token_level_rewards, response_mask, index, ...) to (advantages, returns), both (B, T), equal,
        and 0 where `response_mask` is 0.
    """
    estimator = Estimator(advantage, transform, sample_filter)
    _verl("verl.trainer.ppo.core_algos").register_adv_est(name)(estimator)
    return estimator


def register_recipe(name: str, recipe: Recipe, *, unscored: float | None) -> Callable[..., dict[str, float]]:
    """Register what of a recipe must wait for the whole group or batch; returns the rest as verl's `compute_score`.

    Assign the result to a name in a file that verl loads, and name it in `custom_reward_function`.

    Args:
        unscored: as in `scoring.to_verl`.

    Raises:
        ValueError: the recipe has no advantage to register.
        TypeError: it combines several sources after the gather, or steps: one number per row reaches an estimator.
    """
    if recipe.advantage is None:
        raise ValueError(
            "register_recipe: the recipe has no advantage, which is what verl registers. Give it one, such as "
            "advantages.group_zscore, or export it with recipe.to_verl where every part sees one row."
        )
    if recipe.steps is not None:
        raise TypeError(
            "register_recipe: the recipe has steps, and verl passes an outcome or steps, not both. Use "
            "register_advantage with step_reward_manager, or train it with rewardsmith.engines.trl.GRPOTrainer."
        )
    rows, transform = recipe.split()
    register_advantage(name, recipe.advantage, transform=transform, sample_filter=recipe.sample_filter)
    return rows.to_verl(unscored=unscored)


@dataclass(frozen=True, eq=False)
class Estimator:
    """What `register_advantage` registers; equal to one of functions with the same names and bound arguments.

    verl loads a file by its path and may do so twice, after which its functions are no longer the same objects.
    """

    advantage: Stage
    transform: Stage | None = None
    sample_filter: Stage | None = None

    @property
    def names(self) -> tuple[str | None, ...]:
        """What its functions are called, with what `functools.partial` has bound."""
        functions = (self.advantage, self.transform, self.sample_filter)
        return tuple(None if function is None else to_trl(function).__name__ for function in functions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Estimator) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __call__(
        self,
        token_level_rewards: Tensor,
        response_mask: Tensor,
        index: Any = None,
        config: Any = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor]:
        """(B, T) advantages, and the same once more as verl's returns."""
        with torch.no_grad():
            order, group_size = _grouped(index, response_mask)
            rows = torch.as_tensor(order, device=response_mask.device)
            token_rewards, completion_mask = token_level_rewards[rows], response_mask[rows] != 0
            rewards = token_rewards.sum(dim=1).to(torch.float32)
            rewards = rewards.masked_fill(rewards.isinf(), torch.nan)
            dense = config is not None and config.get("use_kl_in_reward", False)
            batch = RewardBatch(
                source_rewards=rewards[:, None],
                source_names=("score",),
                group_size=group_size,
                completion_mask=completion_mask,
                columns={"uid": [index[row] for row in order]},
                **({} if dense else _steps_of(token_rewards, completion_mask)),
            )
            measured = {"lengths": completion_mask.sum(dim=1).to(torch.float32), "token_rewards": token_rewards}
            context = context_of(batch, measured)
            for function in (self.transform, self.advantage, self.sample_filter):
                if function is not None and _STEP_NAMES.intersection(named_by(function, context).lacking):
                    raise ValueError(
                        f"register_advantage: {function!r} reads steps, but algorithm.use_kl_in_reward puts a penalty "
                        "on every token, which hides them. Set it to False and use actor.use_kl_loss instead."
                    )
            rewards = transformed(self.transform, rewards, context)
            credit = credited(self.advantage, self.sample_filter, rewards, context).advantages
            advantages = torch.zeros_like(token_level_rewards, dtype=torch.float32)
            advantages[rows] = (credit if credit.dim() == 2 else credit[:, None]) * completion_mask
        return advantages, advantages


def _grouped(index: Any, response_mask: Tensor) -> tuple[Any, int]:
    """The real rows, a prompt's consecutive and prompts in the order of their first rows; and the group size.

    verl pads a batch with rows of one more uid and without a response token: those get no credit.
    """
    if index is None:
        raise ValueError(
            "register_advantage: verl passed no uid, so nobody can tell which responses answer one prompt. "
            "Keep `uid` in the batch's non_tensor_batch, as verl's own trainers do."
        )
    _, first, group = np.unique(np.asarray(index), return_index=True, return_inverse=True)
    live = np.bincount(group, weights=(response_mask != 0).any(dim=1).cpu().numpy()) > 0
    place = first.argsort().argsort()[group]
    order = np.argsort(place, kind="stable")
    order = order[live[group[order]]]
    sizes = np.bincount(group)[live]
    if len(set(sizes.tolist())) != 1:
        raise ValueError(
            f"register_advantage: prompts have {sorted(set(sizes.tolist()))} responses each, and group estimators want "
            "one size. Keep whole groups of `rollout.n` (no filtering of single responses, one trajectory per rollout)."
        )
    return order, int(sizes[0])


def _steps_of(token_rewards: Tensor, completion_mask: Tensor) -> dict[str, Any]:
    """The tokens that carry a score as steps, left-aligned, N ≥ 1."""
    there = (token_rewards != 0) & completion_mask
    counts = there.sum(dim=1)
    width = max(1, int(counts.max())) if len(counts) else 1
    ends = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
    mask = torch.arange(width, device=counts.device) < counts[:, None]
    scores = token_rewards.gather(1, ends).to(torch.float32)
    scores = torch.where(scores.abs() <= STEP_WORTH_ZERO, 0, scores)
    scores = scores.masked_fill(~mask | scores.isinf(), torch.nan)
    return {"step_rewards": {"score": scores}, "step_mask": mask, "step_ends": ends.masked_fill(~mask, 0)}


def step_reward_manager(
    process_reward: ProcessReward, *, unscored: float | None, segment: Segment = segment_steps
) -> type[Any]:
    """A reward manager class for verl that puts each step's score on the step's last token.

    Assign it to a name in a file and pass `reward.reward_manager.source=importlib`, `.name=` that name and
    `.module.path=` the file. In verl 0.9.1 only rewards of a colocated reward model may be token-level
    (`reward.reward_model.enable=True`, `enable_resource_pool=False`, with any `custom_reward_function.path`, so that
    the manager is asked rather than the model); elsewhere a response has one number, and the class refuses.

    Args:
        process_reward: called with one response at a time. verl's trainer offers it the prompt and the response, and
            `data_source`, `answer` and the entries of `extra_info` where it passes them on; `reward_router_address`
            says where verl serves the reward model.
        unscored: the score of a step that the reward cannot score; None raises there instead.
        segment: cuts the response into steps.
    """
    if unscored is not None and not np.isfinite(unscored):
        raise ValueError(
            f"step_reward_manager: unscored={unscored} would poison the batch it is averaged into. "
            "Pass a finite number that unscored steps are paid, or None to raise on them."
        )
    base = _verl("verl.experimental.reward_loop.reward_manager.base").RewardManagerBase
    name = to_trl(process_reward).__name__

    class StepRewardManager(base):  # type: ignore[misc, valid-type]
        def __init__(
            self, config: Any, tokenizer: Any, compute_score: Any, reward_router_address: Any = None, **others: Any
        ) -> None:
            super().__init__(config, tokenizer, compute_score)
            reward = config.reward
            if not reward.reward_model.enable or reward.reward_model.enable_resource_pool:
                raise ValueError(
                    "step_reward_manager: without a colocated reward model verl keeps one number per response, so step "
                    "scores would be lost. Set reward.reward_model.enable=True and enable_resource_pool=False, or "
                    "score the response as a whole with scoring.to_verl."
                )
            if not reward.custom_reward_function.path:
                raise ValueError(
                    "step_reward_manager: without reward.custom_reward_function.path verl asks the reward model itself "
                    "and never the manager. Point it to any file; the function in it is not called."
                )
            self.options = {} if reward_router_address is None else {"reward_router_address": reward_router_address}

        async def run_single(self, data: Any) -> dict[str, Any]:
            """The steps of one response as `reward_score`: (index of the last token, score) of each."""
            item = data[-1:][0]  # as verl's own managers: of several outputs the last
            responses = item.batch["responses"]
            length = int(item.batch["attention_mask"][-responses.shape[-1] :].sum())  # the rest is padding
            ids, row = responses[:length].tolist(), item.non_tensor_batch
            passed_on = dict(row.get("extra_info") or {})
            if "data_source" in row:
                passed_on["data_source"] = row["data_source"]
            if row.get("reward_model"):
                passed_on["answer"] = passed_on["ground_truth"] = row["reward_model"].get("ground_truth")
            columns = {**{name: [value] for name, value in passed_on.items()}, **self.options}
            decode = partial(self.tokenizer.decode, skip_special_tokens=True)
            complete = [bool(ids) and ids[-1] in self.tokenizer.all_special_ids]
            table = cut(segment, [ids], decode, complete=complete)
            text = decode(ids)
            prompt = row.get("raw_prompt", "")
            columns |= {
                "prompts": [prompt if isinstance(prompt, str) else list(prompt)],
                "completions": [text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]],
                "completion_ids": [ids],
                "steps": table.steps,
            }
            result = await self.loop.run_in_executor(None, lambda: process_reward(**columns))
            if inspect.isawaitable(result):
                result = await result
            scores = flat_scores(name, result, table.steps)
            for score, step in zip(scores, table.steps[0], strict=True):
                if unscored is None and not np.isfinite(score):
                    raise ValueError(
                        f"step_reward_manager: {name} left the step {step[:80]!r} unscored ({score}), which verl "
                        "cannot carry. Pass unscored=<the score it gets>."
                    )
            paid = [score if np.isfinite(score) else unscored for score in scores]
            ends = [end for end, there in zip(table.step_ends[0], table.step_mask[0], strict=True) if there]
            extra = {"steps": len(paid), "scored_steps": int(np.isfinite(scores).sum())}
            return {"reward_score": list(zip(ends, paid, strict=True)), "reward_extra_info": extra}

        @classmethod
        def assemble_rm_scores(cls, data: Any, scores: list[list[tuple[int, float]]]) -> Tensor:
            """(B, T) the scores on their tokens."""
            rm_scores = torch.zeros_like(data.batch["responses"], dtype=torch.float32)
            for row, steps in enumerate(scores):
                for end, score in steps:
                    rm_scores[row, end] = score or STEP_WORTH_ZERO
            return rm_scores

    return StepRewardManager


def _verl(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"rewardsmith.engines.verl: {module} cannot be imported ({error}). Install verl as its documentation says "
            "for your GPU and inference engine; 0.9.1 is the version followed here."
        ) from error
