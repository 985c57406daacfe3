"""A solution in steps as token ids, with the token at which each step is judged: one form for training and scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

STEP_END = "\n"
"""What closes a step for a process reward model, unless told otherwise."""


class EncodedSteps(NamedTuple):
    """ids: token ids of prompt and steps. ends: for each step that fits, the index of the token that closes it."""

    ids: list[int]
    ends: list[int]


def encode_steps(
    prompt: str,
    steps: Sequence[str],
    tokenize: Callable[[str], Sequence[int]],
    *,
    step_end: str = STEP_END,
    first_ids: Sequence[int] = (),
    max_length: int | None = None,
) -> EncodedSteps:
    """Prompt, then each step and `step_end`, every part tokenized by itself; a step is judged at the end's last token.

    So a step's tokens do not depend on what follows, and one forward pass scores every prefix. A blank line or a
    `step_end` at the end of a step's own text is left out first.

    Args:
        tokenize: text to ids without special tokens, such as
            `lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]`.
        first_ids: what stands first, such as the beginning-of-sequence token.
        max_length: steps that end beyond this many tokens are cut off.

    >>> encode_steps("1+1?", ["2", "so 2"], lambda text: list(text.encode())).ends
    [5, 10]
    """
    closing = list(tokenize(step_end))
    if not closing:
        raise ValueError(
            f"encode_steps: step_end {step_end!r} has no tokens, so no token can carry a step's label. Pass another."
        )
    ids = [*first_ids, *tokenize(prompt)]
    ends: list[int] = []
    for step in steps:
        while step.endswith(step_end):
            step = step.removesuffix(step_end)  # noqa: PLW2901
        added = [*tokenize(step.rstrip("\n")), *closing]
        if max_length is not None and len(ids) + len(added) > max_length:
            break
        ids += added
        ends.append(len(ids) - 1)
    return EncodedSteps(ids, ends)
