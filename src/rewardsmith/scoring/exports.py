"""Export a TRL reward as the function that another trainer calls.

verl and OpenRLHF have no "unscored" value, so the exporting code decides. With `unscored=None` an unscored row raises,
so nothing is trained on it. A number is used as its reward, with `scored` = 0 in the trainer's logs. NaN is refused,
because either trainer would average it into its whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

from rewardsmith.data.rows import without_end_tokens
from rewardsmith.scoring.arguments import ignore
from rewardsmith.scoring.calling import reasoned, verdict
from rewardsmith.scoring.contracts import is_async, name_of, signature_of
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.scoring.waiting import awaited


@dataclass(frozen=True)
class Around(SyncOrAsync):
    """A reward around another one; async and picklable if the inner one is."""

    reward: Callable[..., Any]

    def __post_init__(self) -> None:
        self.become(is_async=is_async(self.reward))

    @property
    def __name__(self) -> str:
        return name_of(self.reward)

    @property
    def reasoned(self) -> Self:
        """The same reward, with the reason in place of None where the inner reward gives one."""
        return replace(self, reward=reasoned(self.reward))


@dataclass(frozen=True)
class _ToTRL(Around):
    name: str

    @property
    def __name__(self) -> str:
        return self.name

    @sync_or_async
    def __call__(self, **columns: Any) -> Calls:
        [result] = yield [partial(self.reward, **columns)]
        return result


def to_trl(reward: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """Give `reward` its own `__name__`: TRL refuses rewards without one and merges metrics of equal names.

    By default the name includes the arguments of `functools.partial`. The result pickles if the reward does.

    >>> from functools import partial
    >>> def longest(completions, limit, **columns):
    ...     return [min(len(c), limit) for c in completions]
    >>> to_trl(partial(longest, limit=3)).__name__
    'longest(limit=3)'
    """
    return _ToTRL(reward, name or name_of(reward))


@dataclass(frozen=True)
class _Exported:
    """A reward for a trainer without "unscored" rows. caller: the exporting function, for error messages."""

    reward: Callable[..., Any]
    unscored: float | None
    caller: ClassVar[str]

    def __post_init__(self) -> None:
        if self.unscored is not None and not math.isfinite(self.unscored):
            raise ValueError(
                f"{self.caller}: unscored={self.unscored} would spoil the average of its whole batch. "
                "Pass a finite number as the reward of unscored rows, or None to raise on them."
            )

    @property
    def __name__(self) -> str:
        return name_of(self.reward)

    def scores(self, completions: list[str], columns: dict[str, list[Any]]) -> tuple[list[float], list[float]]:
        """Return the scores, and 1.0 for each that is the reward's own."""
        signature = signature_of(self.reward)
        available: dict[str, Any] = {**columns, "completions": completions}
        available |= dict.fromkeys(signature.aliases(available), columns["answer"])
        available |= {"trainer_state": None, "log_extra": ignore, "log_metric": ignore}
        positional, keywords = signature.bind(available)
        verdicts = [verdict(value) for value in awaited(reasoned(self.reward)(*positional, **keywords))]
        for completion, given in zip(completions, verdicts, strict=True):
            if given.reward is None and self.unscored is None:
                raise ValueError(
                    f"{self.caller}: {name_of(self.reward)} left {completion[:80]!r} unscored "
                    f"({given.reason}{': ' if given.detail else ''}{given.detail}). "
                    "Filter such rows out before training, or pass unscored=<the reward they get>."
                )
        scores = [self.unscored or 0.0 if given.reward is None else given.reward for given in verdicts]
        return scores, [float(given.reward is not None) for given in verdicts]


class _ToVerl(_Exported):
    caller = "to_verl"

    def __call__(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: Any,
        extra_info: dict[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, float]:
        extra = dict(extra_info or {})
        prompt = extra.get("prompt", extra.get("question", ""))
        row = {**extra, **options, "data_source": data_source, "answer": ground_truth, "ground_truth": ground_truth}
        columns = {name: [value] for name, value in row.items()}
        (score,), (scored,) = self.scores([solution_str], {**columns, "prompts": [prompt]})
        return {"score": score, "scored": scored}


def to_verl(reward: Callable[..., Any], *, unscored: float | None) -> Callable[..., dict[str, float]]:
    """Export `reward` as verl's `compute_score(data_source, solution_str, ground_truth, extra_info)`.

    Columns `answer` and `ground_truth` hold the ground truth, and the entries of `extra_info` are columns too. Its
    `prompt` or `question` is the prompt, which verl does not pass. Set `custom_reward_function.name` to the result's
    name. An async reward runs to its end in verl's thread.

    Args:
        unscored: the score of a row that the reward cannot score; None raises.

    >>> to_verl(lambda completions, answer, **columns: [None], unscored=0.0)("set", "4", "4")
    {'score': 0.0, 'scored': 0.0}
    """
    return _ToVerl(reward, unscored)


@dataclass(frozen=True)
class _ToOpenRLHF(_Exported):
    end_tokens: tuple[str, ...]
    caller = "to_openrlhf"

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **options: Any
    ) -> dict[str, Any]:
        from rewardsmith._torch import torch

        completions = []
        for query, prompt in zip(queries, prompts, strict=True):
            start = query.find(prompt)
            if start < 0:
                raise ValueError(
                    f"to_openrlhf: the query {query[:80]!r} does not contain its prompt {prompt[:80]!r}, so the "
                    "completion cannot be found. Train with prompts as the model sees them (chat template "
                    "applied)."
                )
            completion = without_end_tokens(query[start + len(prompt) :])
            for token in self.end_tokens:
                completion = completion.removesuffix(token)
            completions.append(completion)
        scores, scored = self.scores(completions, {"answer": list(labels), **options, "prompts": list(prompts)})
        rewards = torch.tensor(scores)  # (B,)
        return {"rewards": rewards, "scores": rewards, "extra_logs": {"scored": torch.tensor(scored)}}


def to_openrlhf(
    reward: Callable[..., Any], *, unscored: float | None, end_tokens: Sequence[str] = ()
) -> Callable[..., dict[str, Any]]:
    """Export `reward` as OpenRLHF's `reward_func(queries, prompts, labels)`.

    A completion is the part of a query after its prompt; `answer` is the label. OpenRLHF decodes special tokens too:
    those that end a turn (`<|im_end|>`, `<|eot_id|>`, `</s>` and similar) are removed before scoring.

    Args:
        unscored: the reward of a row that the reward cannot score; None raises.
        end_tokens: further tokens to remove, such as "[END]".

    >>> exported = to_openrlhf(lambda completions, answer, **columns: [float(c == a) for c, a in
    ...     zip(completions, answer)], unscored=0.0)
    >>> exported(["<s>2+2=4</s>"], ["2+2="], ["4"])["rewards"]
    tensor([1.])
    """
    return _ToOpenRLHF(reward, unscored, tuple(end_tokens))
