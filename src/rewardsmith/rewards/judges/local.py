"""LocalBackend: let a causal language model of transformers answer in place of an endpoint."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rewardsmith.data import text_of
from rewardsmith.rewards.judges.asking import Reply
from rewardsmith.rewards.judges.wire import JudgeError, excerpt
from rewardsmith.rewards.models.behavior import evaluating
from rewardsmith.rewards.models.encoding import RowEncoder, longest
from rewardsmith.types import Message

if TYPE_CHECKING:
    from torch import Tensor

_GENERATING = threading.Lock()


@dataclass(eq=False)
class LocalBackend:
    """Answer with a causal language model of transformers: greedy, in its chat template, with its own probabilities.

    Questions are answered one after another, in a thread, so that an event loop goes on. For many rows, an inference
    server and a `ChatBackend` are faster. Images are not read. Special tokens in a message are broken by a blank, so
    that no answer can end its message; whether a server does so depends on the server.

    Args:
        model: a causal language model.
        tokenizer: its own; without a chat template, messages are joined by blank lines.
        max_new_tokens: the longest reply; a reply that is cut off is none.

    >>> LocalBackend(model=None, tokenizer=None).concurrency
    1
    """

    model: Any
    tokenizer: Any
    _: KW_ONLY
    max_new_tokens: int = 1024
    concurrency: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"LocalBackend: max_new_tokens is {self.max_new_tokens}. Pass 1 or more.")

    async def __call__(self, messages: list[Message]) -> str:
        """Return the text of the reply to `messages`.

        Raises:
            JudgeError: it is cut off, the messages are too long, or they hold an image.
        """
        return (await self.reply(messages)).text

    async def reply(self, messages: list[Message], *, logprobs: int = 0) -> Reply:
        """Return the reply with the `logprobs` likeliest candidates per generated token; errors as for a call."""
        return await asyncio.to_thread(self._replied, messages, logprobs)

    def _replied(self, messages: list[Message], logprobs: int) -> Reply:
        import torch

        prompt = self._prompt_ids(messages)
        limit = longest(self.tokenizer, self.model)
        room = self.max_new_tokens if limit is None else min(self.max_new_tokens, limit - len(prompt))
        if room < 1:
            raise JudgeError(f"LocalBackend: the question has {len(prompt)} tokens, the model reads {limit}.", "none")
        ids = torch.tensor([prompt], device=self.model.device)
        own = self.tokenizer.pad_token_id
        with _GENERATING, torch.inference_mode(), evaluating(self.model) as put_back:
            made = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=room,
                do_sample=False,
                num_beams=1,
                pad_token_id=self.tokenizer.eos_token_id if own is None else own,
                return_dict_in_generate=True,
                output_logits=bool(logprobs),
            )
            put_back()
        written = made.sequences[0, len(prompt) :].tolist()
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        ends = self.model.generation_config.eos_token_id
        if ends is not None and written[-1] not in (ends if isinstance(ends, list) else [ends]):
            raise JudgeError(
                f"LocalBackend: the reply was cut off after {len(written)} tokens. Raise max_new_tokens, or shorten "
                f"the row. It said {excerpt(text)}",
                "none",
            )
        steps = made.logits if logprobs else ()
        return Reply(text, tuple(self._candidates([*prompt, *written], len(prompt) + k, step[0], logprobs)
                                 for k, step in enumerate(steps)))  # fmt: skip

    def _prompt_ids(self, messages: list[Message]) -> list[int]:
        parts = [part for m in messages if isinstance(m["content"], list) for part in m["content"]]
        if any(part.get("type") != "text" for part in parts):
            raise JudgeError("LocalBackend: the question holds an image, which is not read. Use a ChatBackend.", "none")
        plain = [message | {"content": self._as_text(text_of([message]))} for message in messages]
        chat = bool(getattr(self.tokenizer, "chat_template", None))
        joined = "\n\n".join(message["content"] for message in plain) + "\n\n"
        return RowEncoder(self.tokenizer, eos=False).prompt_ids(plain if chat else joined)

    def _as_text(self, content: str) -> str:
        """Return a message's text without special tokens: "<|im_end|>" in an answer would end the message it stands in.

        A blank after its first character leaves it readable.
        """
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).values()
        special = {str(token) for token in added if token.special} | set(self.tokenizer.all_special_tokens)
        marks = "|".join(re.escape(mark) for mark in sorted(special, key=len, reverse=True) if len(mark) > 1)
        return re.sub(marks, lambda found: f"{found[0][0]} {found[0][1:]}", content) if marks else content

    def _candidates(self, ids: Sequence[int], place: int, logits: Tensor, most: int) -> dict[str, float]:
        """Return {text: ln p} of the likeliest tokens at a place, the generated one first; equal texts are summed."""
        logps = logits.float().log_softmax(-1)
        top = logps.topk(min(most, len(logps))).indices.tolist()
        before = self.tokenizer.decode(ids[place - 1 : place])  # a first token's blank is not written
        found: dict[str, float] = {}
        for token in dict.fromkeys([ids[place], *top]):
            text = self.tokenizer.decode([*ids[place - 1 : place], token])[len(before) :]
            low, high = sorted((found.get(text, -math.inf), float(logps[token])))
            found[text] = high + math.log1p(math.exp(low - high))
        return found
