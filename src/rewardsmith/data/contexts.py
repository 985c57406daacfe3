"""Contexts of a preference: a line in the prompt with the criterion, or the person, to judge a response by."""

from __future__ import annotations

from typing import Literal

from rewardsmith.data.rows import text_of
from rewardsmith.types import Text

ContextForm = Literal["criteria", "scenario"]

CONTEXT_TEMPLATE = "{prompt}\n\nJudge by this: {context}"
"""How a context is written into a prompt."""
NO_CONTEXT = "none given"
"""The text in place of a missing context, so that a contextual model also learns the plain question."""


def in_context(prompt: Text, context: str | None, *, template: str = CONTEXT_TEMPLATE) -> Text:
    """Write the context into the prompt; in a conversation, into the last message of the user.

    It is never in a response, where it would be a cue of length and style. Without a context `NO_CONTEXT` is written,
    as in the model's training.

    Args:
        template: holds {prompt} and {context}.

    >>> in_context("Name a city.", "It should be small.")
    'Name a city.\\n\\nJudge by this: It should be small.'
    """
    if "{prompt}" not in template or "{context}" not in template:
        raise ValueError(
            f"in_context: template {template!r} must hold {{prompt}} and {{context}}. Add what is missing."
        )
    said = NO_CONTEXT if context is None or not context.strip() else context
    if isinstance(prompt, str):
        return _filled(template, prompt, said)
    turns = [index for index, message in enumerate(prompt) if message.get("role") == "user"]
    if not turns:
        raise ValueError(
            "in_context: the conversation has no message of the user to write the context into. "
            "Pass a prompt that ends with one."
        )
    last = prompt[turns[-1]]
    written = {**last, "content": _filled(template, text_of([last]), said)}
    return [*prompt[: turns[-1]], written, *prompt[turns[-1] + 1 :]]


def _filled(template: str, prompt: str, context: str) -> str:
    head, _, rest = template.partition("{prompt}")  # not str.format: prompts and contexts contain braces
    return head.replace("{context}", context) + prompt + rest.replace("{context}", context)
