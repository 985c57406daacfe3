"""Guards: wrappers that refuse a completion before a reward sees it.

A guard is a separate wrapper, so that an audit of the unguarded reward still shows the reward's own weakness.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, ClassVar

from rewardsmith.data import completion_text
from rewardsmith.scoring.contracts import name_of
from rewardsmith.scoring.exports import Around
from rewardsmith.scoring.sync_async import Calls, sync_or_async
from rewardsmith.types import Completion, Text


@dataclass(frozen=True)
class Wrapper(Around):
    """A reward around another reward, with a mark in its name."""

    mark: ClassVar[str]

    @property
    def __name__(self) -> str:
        """The inner reward's name with a mark, so that a trainer logs the two separately."""
        return f"{name_of(self.reward)}_{self.mark}"


@dataclass(frozen=True)
class RequireAnswer(Wrapper):
    r"""Gate a reward: a completion without an answer gets `otherwise`. This is the guard against master keys.

    A length or "must state a final answer" gate before a judge removes content-free completions at no cost. It does
    nothing against a wrong answer in the right format, and it does not fix the judge. Zhao et al. 2025,
    arXiv:2507.08794, describe the attack; the gate is ours.

    Args:
        reward: any reward in TRL's contract, sync or async; columns reach it row by row with their completions.
        min_tokens: the fewest words that hold a letter or digit; punctuation and blanks do not count. In scripts
            written without spaces each character counts as a word.
        pattern: a regular expression that a completion must match (`re.search`), such as `r"\\boxed\{.+\}"`.
        otherwise: the value of refused rows; None leaves them unscored, which a policy can exploit by never answering.

    Raises:
        ValueError: the gate would admit everything, or `pattern` is no regular expression.

    >>> def judge(*, prompts, completions, **columns):
    ...     return [1.0 for _ in completions]
    >>> guarded = RequireAnswer(judge, pattern=r"####\s*\S")
    >>> guarded(prompts=["2+2?"] * 3, completions=[":", "Thought process:", "2+2 is 4. #### 4"])
    [0.0, 0.0, 1.0]
    """

    mark = "if_answered"
    _: KW_ONLY
    min_tokens: int = 1
    pattern: str | None = None
    otherwise: float | None = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_tokens < 1 and self.pattern is None:
            raise ValueError(
                f"RequireAnswer: min_tokens={self.min_tokens} and no pattern admit every completion. Give one of them."
            )
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(
                f"RequireAnswer: pattern {self.pattern!r} is no regular expression ({error}). Escape its special signs."
            ) from error

    def admits(self, completion: Completion) -> bool:
        """Return whether the completion passes the gate.

        >>> guard = RequireAnswer(len, min_tokens=2, pattern=r"answer")
        >>> [guard.admits(text) for text in ("The answer: 4", "answer", "Thought process:")]
        [True, False, False]
        """
        text = completion_text(completion)
        words = sum(1 for _ in _WORD.finditer(text))
        return words >= self.min_tokens and (self.pattern is None or bool(re.search(self.pattern, text)))

    @sync_or_async
    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        """Return one value per row; the reward is called at most once, with the admitted rows only."""
        values: list[Any] = [self.otherwise] * len(completions)
        admitted = [index for index, completion in enumerate(completions) if self.admits(completion)]
        if admitted:
            rows = rows_at(admitted, prompts=prompts, completions=completions, **columns)
            [scores] = yield [partial(self.reward, **rows)]
            check_length("RequireAnswer", self.reward, scores, len(admitted))
            for index, score in zip(admitted, scores, strict=True):
                values[index] = score
        return values


_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힣豈-﫿]|(?:(?![぀-ヿ㐀-鿿가-힣豈-﫿])[^\W_])+")


def rows_at(indices: list[int], *, completions: list[Completion], **columns: Any) -> dict[str, Any]:
    """Return the rows at `indices`: cut every list or tuple as long as the batch, and pass the rest unchanged."""
    n, named = len(completions), {"completions": completions, **columns}
    return {
        name: [value[i] for i in indices] if isinstance(value, list | tuple) and len(value) == n else value
        for name, value in named.items()
    }


def check_length(caller: str, reward: Callable[..., Any], scores: Any, n_rows: int) -> None:
    """Raise ValueError where a reward returned another number of values than there are rows."""
    if len(scores) != n_rows:
        raise ValueError(
            f"{caller}: {name_of(reward)} returned {len(scores)} values for {n_rows} rows. "
            "A reward must return one value per completion."
        )
