"""Wire formats: write a question and read the answer, for OpenAI-compatible endpoints and for Anthropic's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rewardsmith.data import text_of
from rewardsmith.rewards.judges.asking import Reply
from rewardsmith.rewards.judges.wire import JudgeError, bearer, excerpt
from rewardsmith.types import Message

_VERSION = "2023-06-01"


class ChatReply(NamedTuple):
    """The model's text, why it stopped or refused, token counts (0 where there are none), and log-probabilities."""

    text: str | None
    finish_reason: Any
    refusal: Any
    prompt_tokens: int
    completion_tokens: int
    logprobs: tuple[Mapping[str, float], ...] = ()

    def checked(self) -> Reply:
        """Return the reply, if it is complete.

        Raises:
            JudgeError: it was cut off or filtered, or there is no text.
        """
        if self.finish_reason in ("length", "max_tokens", "model_context_window_exceeded"):
            raise JudgeError(
                f"cut its reply off at max_tokens. Raise it in `parameters`. It said {excerpt(self.text or '')}", "none"
            )
        if self.finish_reason == "error":  # of a proxy, whose model failed while it wrote
            raise JudgeError(f"broke its reply off. Check the server. It said {excerpt(self.text or '')}")
        if self.text is None or self.finish_reason in ("refusal", "content_filter"):
            why = excerpt(f"finish_reason {self.finish_reason}, refusal {self.refusal}")
            raise JudgeError(f"answered without a text: {why}", "none")
        return Reply(self.text, self.logprobs)


class Format(NamedTuple):
    """What a kind of endpoint expects: the path below base_url, headers of a key, a request's body and its answer's."""

    path: str
    signed: Callable[[str], dict[str, str]]
    body: Callable[[list[Message], int], dict[str, Any]]
    read: Callable[[str], ChatReply]


def _openai_body(messages: list[Message], logprobs: int) -> dict[str, Any]:
    asked = {"logprobs": True, "top_logprobs": logprobs} if logprobs else {}
    return {"messages": messages, **asked}


def reply_of(text: str) -> ChatReply:
    """Return the reply in the body of an OpenAI-compatible answer.

    Raises:
        JudgeError: the body has another structure.
    """
    try:
        answer = json.loads(text)
        choice, usage = answer["choices"][0], answer.get("usage")
        message, stopped = choice["message"], choice.get("finish_reason")
        content, refusal = message["content"], message.get("refusal")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        content = ()
    if not isinstance(content, str | None):
        raise JudgeError(
            "answered without choices[0].message.content. Check that the endpoint speaks the OpenAI chat format. "
            f"It said {excerpt(text)}"
        )
    counts = (_tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens"))
    return ChatReply(content, stopped, refusal, *counts, _candidates(choice.get("logprobs")))


def _candidates(given: Any) -> tuple[Mapping[str, float], ...]:
    """Return each token's candidates, the generated one first; () where any of them cannot be read."""
    found = list[dict[str, float]]()
    try:
        for token in given["content"]:
            top = {str(one["token"]): float(one["logprob"]) for one in reversed(token.get("top_logprobs") or ())}
            own = {str(token["token"]): float(token["logprob"])}
            found.append(own | top | own)  # its place is the first one's, its value the last one's
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    return tuple(found)


def _anthropic_body(messages: list[Message], logprobs: int) -> dict[str, Any]:
    system = text_of([message for message in messages if message["role"] == "system"])
    turns = [m | {"content": _blocks(m["content"])} for m in messages if m["role"] != "system"]
    return {"messages": turns, **({"system": system} if system else {})}


def _blocks(content: Any) -> Any:
    """Return a message's content with images as Anthropic writes them."""
    return [_block(part) for part in content] if isinstance(content, list) else content


def _block(part: Any) -> Any:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    url = str(image.get("url") if isinstance(image, dict) else image)
    kind, comma, data = url.removeprefix("data:").partition(";base64,")
    inline = url.startswith("data:") and comma
    source = {"type": "base64", "media_type": kind, "data": data} if inline else {"type": "url", "url": url}
    return {"type": "image", "source": source}


def message_of(text: str) -> ChatReply:
    """Return the reply in the body of an answer of Anthropic's Messages API; blocks that are no text are left out.

    Raises:
        JudgeError: the body has another structure.
    """
    try:
        answer = json.loads(text)
        usage, stopped = answer.get("usage"), answer.get("stop_reason")
        said = [block["text"] for block in answer["content"] if block["type"] == "text"]
        whole = "".join(said) if said else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise JudgeError(
            "answered without content blocks. Check that the endpoint speaks Anthropic's Messages format. "
            f"It said {excerpt(text)}"
        ) from None
    read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    counts = (sum(_tokens(usage, name) for name in read), _tokens(usage, "output_tokens"))
    return ChatReply(whole, stopped, answer.get("stop_details"), *counts)


def _tokens(usage: Any, name: str) -> int:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


def _anthropic_headers(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": _VERSION}


OPENAI = Format("/chat/completions", bearer, _openai_body, reply_of)
ANTHROPIC = Format("/messages", _anthropic_headers, _anthropic_body, message_of)
