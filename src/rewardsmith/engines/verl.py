"""verl with our advantages, transforms and filters, and with process rewards as token-level scores.

Both functions follow verl 0.9.1 and import it when called, so it is no dependency of ours. verl itself loads the file
that calls them, by `VERL_USE_EXTERNAL_MODULES=my_module` or as the file of a reward manager.
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
"""Written for a step that scores 0, because a 0 in verl's token rewards means that no step ends there."""

_STEP_NAMES = {"step_rewards", "step_mask", "step_ends"}


def register_advantage(
    name: str, advantage: Stage, *, transform: Stage | None = None, sample_filter: Stage | None = None
) -> Estimator:
    """Register `algorithm.adv_estimator=name`, which transforms the rewards, credits them and filters the rows.

    The functions are those of `engines.trl.GRPOTrainer`, called on rows sorted by `uid`, a prompt's completions
    consecutive. They may ask by name for `group_size`, `completion_mask` (verl's `response_mask`), `lengths`, `uid`,
    `token_rewards` (B, T) and, where a step's score stands on its last token, `step_rewards`, `step_mask` and
    `step_ends`; not for the dataset's columns, which verl does not pass on.

    Args:
        name: not one of verl's, and registered once; the same functions may come again in a file that verl loads twice.
        advantage: rewards (B,), the sum of a row's token rewards, to (B,) or (B, T).
        transform, sample_filter: as in `GRPOTrainer`. With `use_kl_in_reward` both see the rewards less the penalty.

    Returns:
        The estimator, (token_level_rewards, response_mask, index, ...) to (advantages, returns), both (B, T) and equal,
        and 0 where `response_mask` is 0.
    """
    estimator = Estimator(advantage, transform, sample_filter)
    _verl("verl.trainer.ppo.core_algos").register_adv_est(name)(estimator)
    return estimator


def register_recipe(name: str, recipe: Recipe, *, unscored: float | None) -> Callable[..., dict[str, float]]:
    """Register the parts of a recipe that need the group or batch, and return the rest as verl's `compute_score`.

    Assign the result to a name in a file that verl loads, and set that name in `custom_reward_function`.

    Args:
        unscored: as in `scoring.to_verl`.

    Raises:
        ValueError: the recipe has no advantage to register.
        TypeError: it combines several sources after the gather, or has steps: an estimator receives one number per row.
    """
    if recipe.advantage is None:
        raise ValueError(
            "register_recipe: the recipe has no advantage to register with verl. Give it one, such as "
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
    """The estimator of `register_advantage`; equal to one of functions with the same names and bound arguments.

    verl loads a file by its path and may do so twice, and its functions are then other objects.
    """

    advantage: Stage
    transform: Stage | None = None
    sample_filter: Stage | None = None

    @property
    def names(self) -> tuple[str | None, ...]:
        """Return the names of its functions, with the arguments that `functools.partial` has bound."""
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
        """Return (B, T) advantages, and the same as verl's returns."""
        with torch.no_grad():
            # The real rows sorted by prompt, prompts in the order of their first rows. verl pads a batch with rows of
            # an extra uid and without a response token, which get no credit.
            if index is None:
                raise ValueError(
                    "register_advantage: verl passed no uid, so responses cannot be grouped by prompt. "
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
                    f"register_advantage: prompts have {sorted(set(sizes.tolist()))} responses each, and group "
                    "estimators need one size. Keep whole groups of `rollout.n` (no filtering of single responses, "
                    "one trajectory per rollout)."
                )
            rows = torch.as_tensor(order, device=response_mask.device)
            token_rewards, completion_mask = token_level_rewards[rows], response_mask[rows] != 0
            rewards = token_rewards.sum(dim=1).to(torch.float32)
            rewards = rewards.masked_fill(rewards.isinf(), torch.nan)
            steps: dict[str, Any] = {}
            if config is None or not config.get("use_kl_in_reward", False):
                # The tokens that have a score are steps, left-aligned, N ≥ 1.
                there = (token_rewards != 0) & completion_mask
                counts = there.sum(dim=1)
                width = max(1, int(counts.max())) if len(counts) else 1
                ends = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
                mask = torch.arange(width, device=counts.device) < counts[:, None]
                scores = token_rewards.gather(1, ends).to(torch.float32)
                scores = torch.where(scores.abs() <= STEP_WORTH_ZERO, 0, scores)
                scores = scores.masked_fill(~mask | scores.isinf(), torch.nan)
                ends = ends.masked_fill(~mask, 0)
                steps = {"step_rewards": {"score": scores}, "step_mask": mask, "step_ends": ends}
            batch = RewardBatch(
                source_rewards=rewards[:, None],
                source_names=("score",),
                group_size=int(sizes[0]),
                completion_mask=completion_mask,
                columns={"uid": [index[row] for row in order]},
                **steps,
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


def step_reward_manager(
    process_reward: ProcessReward, *, unscored: float | None, segment: Segment = segment_steps
) -> type[Any]:
    """Return a reward manager class for verl that puts each step's score on the step's last token.

    Assign it to a name in a file and pass `reward.reward_manager.source=importlib`, `.name=` that name and
    `.module.path=` the file. In verl 0.9.1 only rewards of a colocated reward model may be token-level
    (`reward.reward_model.enable=True`, `enable_resource_pool=False`). Any `custom_reward_function.path` makes verl ask
    the manager and not the model. Elsewhere a response has one number, and the class raises.

    Args:
        process_reward: called with one response at a time. verl's trainer passes it the prompt and the response, and
            `data_source`, `answer` and the entries of `extra_info` where it has them; `reward_router_address` is where
            verl serves the reward model.
        unscored: the score of a step that the reward cannot score; None raises instead.
        segment: cuts the response into steps.
    """
    if unscored is not None and not np.isfinite(unscored):
        raise ValueError(
            f"step_reward_manager: unscored={unscored} would make the mean of the batch meaningless. "
            "Pass a finite number as the score of unscored steps, or None to raise on them."
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
            """Return the steps of one response as `reward_score`: (index of the last token, score) of each."""
            item = data[-1:][0]  # the last of several outputs, as in verl's own managers
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
                        "does not support. Pass unscored=<the score it gets>."
                    )
            filled = [score if np.isfinite(score) else unscored for score in scores]
            ends = [end for end, there in zip(table.step_ends[0], table.step_mask[0], strict=True) if there]
            extra = {"steps": len(filled), "scored_steps": int(np.isfinite(scores).sum())}
            return {"reward_score": list(zip(ends, filled, strict=True)), "reward_extra_info": extra}

        @classmethod
        def assemble_rm_scores(cls, data: Any, scores: list[list[tuple[int, float]]]) -> Tensor:
            """Return the scores on their tokens, (B, T)."""
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
