"""Contexts of a preference: a line of the prompt that says by which criterion, or for whom, a response is judged."""

from __future__ import annotations

from typing import Literal

from rewardsmith.data.rows import text_of
from rewardsmith.types import Text

ContextForm = Literal["criteria", "scenario"]

CONTEXT_TEMPLATE = "{prompt}\n\nJudge by this: {context}"
"""How a context is written into a prompt."""
NO_CONTEXT = "none given"
"""What stands for a context where there is none, so that a contextual model also knows the plain question."""


def in_context(prompt: Text, context: str | None, *, template: str = CONTEXT_TEMPLATE) -> Text:
    """The prompt with the context written into it; of a conversation, into the last message of the user.

    It goes into the prompt and never into a response, where it would be a cue of length and style that tells the two
    apart. Without a context `NO_CONTEXT` is written, so that the model is asked in the form it was trained on.

    Args:
        template: holds {prompt} and {context}.

    >>> in_context("Name a city.", "It should be small.")
    'Name a city.\\n\\nJudge by this: It should be small.'
    """
    if "{prompt}" not in template or "{context}" not in template:
        raise ValueError(
            f"in_context: template {template!r} must hold {{prompt}} and {{context}}, else one of them is lost. Add it."
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
    head, _, rest = template.partition("{prompt}")  # not str.format: prompts and contexts hold braces
    return head.replace("{context}", context) + prompt + rest.replace("{context}", context)
