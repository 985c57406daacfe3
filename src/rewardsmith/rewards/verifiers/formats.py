"""Verifiers of the requested format, which must have content."""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import Any

from rewardsmith.data import completion_text
from rewardsmith.data.rows import without_end_tokens
from rewardsmith.rewards.thinking import CLOSE, OPEN, after_thinking, parts_of
from rewardsmith.types import Completion

_FILLERS = dict.fromkeys(map(ord, "\u115f\u1160\u3164\uffa0"))  # letters by category, blank on the screen
_MARKUP = re.compile(r"<[^<>]{0,80}>|\\[a-zA-Z]{1,30}")


def has_content(text: str) -> bool:
    """Return whether `text` holds a letter or digit outside tags and LaTeX commands: `\\boxed{}` and "…" do not.

    >>> has_content("<answer>4</answer>"), has_content(r"\\boxed{ }"), has_content("...")
    (True, False, False)
    """
    return any(character.isalnum() for character in _MARKUP.sub(" ", text).translate(_FILLERS))


def matches_format(
    completions: list[Completion],
    *,
    pattern: str,
    max_chars: int = 100_000,
    time_limit: float = 0.1,
    **columns: Any,
) -> list[float | None]:
    """1.0 where `pattern` matches the whole completion and every named group has content, else 0.0.

    `.` matches newlines, and space around the completion is ignored. The pattern must also match a special token at the
    end, such as `<|im_end|>`. The time limit of the `regex` package stops catastrophic backtracking. A completion over
    a limit does not match, because a policy must not be able to choose to be unscored.

    Args:
        pattern: a regular expression; each `(?P<name>…)` must take part and hold a letter or digit.
        max_chars: a longer completion does not match.
        time_limit: seconds for one completion.

    >>> matches_format(["4 because 2+2", " because "], pattern=r"(?P<answer>.*) because (?P<reason>.*)")
    [1.0, 0.0]
    """
    compiled = _compiled(pattern)
    scores: list[float | None] = []
    for completion in completions:
        text, match = completion_text(completion).strip(), None
        if len(text) <= max_chars:
            with contextlib.suppress(TimeoutError, MemoryError):
                match = compiled.fullmatch(text, timeout=time_limit)
        found = match is not None and all(has_content(group or "") for group in match.groupdict().values())
        scores.append(float(found))
    return scores


def think_format(completions: list[Completion], *, prefilled: bool = False, **columns: Any) -> list[float | None]:
    """1.0 where the completion is thinking with content and then an answer with content, else 0.0.

    The form is `<think>…</think>` of DeepSeek and Qwen, or the channels of gpt-oss, whose special tokens the decoder
    has to keep: `thinking.parts_of`. In a conversation the thinking may stand in a field of its own, where servers put
    it: `reasoning_content`, `reasoning` or `thinking`.

    Args:
        prefilled: the prompt ends in `<think>`, as in some chat templates, so completions do not begin with it.

    >>> think_format(["<think>2+2</think> 4", "<think> </think> 4", r"<think>2+2</think> \\boxed{}"])
    [1.0, 0.0, 0.0]
    """
    scores: list[float | None] = []
    for completion in completions:
        text = without_end_tokens((OPEN if prefilled else "") + completion_text(completion))
        thought, answer = parts_of(text)
        if thought is None and not prefilled and OPEN not in text and CLOSE not in text:
            thought, answer = _field_of_thought(completion), after_thinking(text)
        shells = re.search(r"<answer>\s*</answer>|\\boxed\s*\{\s*\}", answer or "")
        scores.append(float(has_content(thought or "") and has_content(answer or "") and shells is None))
    return scores


def _field_of_thought(completion: Completion) -> str | None:
    """Return the thinking that a server has put into a field of the last message."""
    last = completion[-1] if isinstance(completion, list) and completion else None
    if not isinstance(last, dict):
        return None
    fields = (last.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    return next((field for field in fields if isinstance(field, str)), None)


@lru_cache(maxsize=32)
def _compiled(pattern: str) -> Any:
    import regex  # type: ignore[import-untyped]

    try:
        return regex.compile(pattern, regex.DOTALL)
    except regex.error as error:
        raise ValueError(
            f"matches_format: pattern {pattern!r} is not a regular expression ({error}). Correct the pattern."
        ) from error
