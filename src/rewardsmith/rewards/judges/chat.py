"""ChatBackend and AnthropicBackend: ask an endpoint, with retries, a limit on concurrent requests, and a cache."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from rewardsmith.errors import missing_extra
from rewardsmith.rewards.judges.asking import Reply
from rewardsmith.rewards.judges.formats import ANTHROPIC, OPENAI, Format
from rewardsmith.rewards.judges.line import Line
from rewardsmith.rewards.judges.wire import Answer, JudgeError, PassingError, excerpt, post, retried
from rewardsmith.types import Message

if TYPE_CHECKING:
    import httpx

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_OF_THE_REQUEST = frozenset({400, 413, 422})
_OPENING = threading.Lock()


class Usage(NamedTuple):
    """Counts of a backend's requests and tokens so far.

    requests: sent, `retries` included.
    cached: replies found in the cache.
    prompt_tokens, completion_tokens: as the server counts them; 0 where it does not.
    """

    requests: int = 0
    retries: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(eq=False, repr=False)
class ChatBackend:
    """Send messages to `POST {base_url}/chat/completions` and return the model's text.

    Rate limits, server errors, time-outs and broken connections are retried after growing random pauses, and no sooner
    than `Retry-After` asks, up to 30 s. A question keeps its slot until its last try, so retries slow down all
    requests. Canceling the awaiting task ends the request. Instances can be shared between threads and event loops,
    with one limit for all. They pickle without their connections.

    Args:
        model: the model's name at the endpoint.
        base_url: up to and including `/v1`.
        api_key_env: the environment variable with the key, read at each request and not stored. If unset, no key is
            sent.
        concurrency: the largest number of requests at once.
        attempts: tries per question, at least 1.
        timeout: seconds per try, from sending to the last byte of the answer; waiting for a slot does not count.
        backoff: the longest first pause, in seconds; it doubles with each try.
        cache_dir: folder of a disk cache of replies; None disables it.
        parameters: request fields; the defaults are greedy, `{"temperature": 0.0, "max_tokens": 1024}`.

    Raises:
        ImportError: the `judge` extra is not installed.
        ValueError: a limit is below its least, or `base_url` is no http address.
    """

    model: str
    _: KW_ONLY
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    attempts: int = 5
    timeout: float = 60.0
    backoff: float = 0.5
    cache_dir: str | Path | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 1024})
    usage: Usage = field(default_factory=Usage, init=False)
    _format: ClassVar[Format] = OPENAI
    _line: Line | None = field(default=None, init=False)
    _has_answered: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        try:
            import httpx  # noqa: F401
        except ImportError as error:
            raise missing_extra(self._name, "judge", error) from error
        if self.concurrency < 1 or self.attempts < 1 or not self.timeout > 0:
            raise ValueError(
                f"{self._name}: concurrency={self.concurrency} and attempts={self.attempts} must both be at least 1, "
                f"and timeout={self.timeout} above 0. Raise them."
            )
        self.url = self.base_url.rstrip("/") + self._format.path
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[?#\s]", self.url):
            raise ValueError(
                f"{self._name}: base_url={self.base_url!r} is no address. Begin it with http:// or https://, and end "
                "it with the path before /chat/completions, without ? or #."
            )
        self.parameters = dict(self.parameters)
        if taken := sorted(self.parameters.keys() & {"messages", "model", "n", "stream", "system"}):
            raise ValueError(
                f"{self._name}: parameters has {', '.join(taken)}, which the backend sets itself or does not read "
                "the replies of. Leave it out."
            )

    def __repr__(self) -> str:
        return f"{self._name}({self.model!r}, url={self._place!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_line": None, "usage": Usage()}

    async def __call__(self, messages: list[Message]) -> str:
        """Return the text of the reply to `messages`, from the cache if it is there.

        Raises:
            JudgeError: there is none.
        """
        return (await self.reply(messages)).text

    async def reply(self, messages: list[Message], *, logprobs: int = 0) -> Reply:
        """Return the reply with up to `logprobs` candidates per generated token, where the endpoint gives them.

        Raises:
            JudgeError: there is none.
        """
        return await asyncio.wrap_future(self._request(messages, logprobs))

    def complete(self, messages: list[Message]) -> str:
        """Return the text of the reply as calling it does, and block until it is there."""
        future = self._request(messages, 0)
        try:
            return future.result().text
        finally:
            future.cancel()  # no effect on a finished one; after Ctrl-C it ends the request

    def close(self) -> None:
        """Cancel running requests, and close connections and cache; the next question opens them again."""
        with _OPENING:
            line, self._line = self._line, None
            if line is not None:
                line.close(wait=False)
        if line is not None:
            line.close()

    def _request(self, messages: list[Message], logprobs: int) -> Future[Reply]:
        with _OPENING:
            if self._line is None or not self._line.alive:
                self._line = Line(self.concurrency, self.cache_dir)
                weakref.finalize(self, self._line.close, wait=False)
            return self._line.submit(self._answered(messages, logprobs, self._line))

    def _body(self, messages: list[Message], logprobs: int = 0) -> dict[str, Any]:
        return {"model": self.model, **self._format.body(messages, logprobs), **self.parameters}

    async def _answered(self, messages: list[Message], logprobs: int, line: Line) -> Reply:
        body = self._body(messages, logprobs)
        key = ""
        if line.cache.open:
            key = hashlib.sha256(json.dumps([self.url, body], sort_keys=True).encode()).hexdigest()
        async with line.slot(key) as client:
            if (known := line.cache.get(key)) is not None:
                self._count(cached=1)
                return known
            reply = await self._tried(client, body)
            line.cache.set(key, reply)
            return reply

    async def _tried(self, client: httpx.AsyncClient, body: Mapping[str, Any]) -> Reply:
        async def once() -> Reply:
            answer = await self._sent(client, body)
            if answer.status != 200:
                raise await self._refusal(client, answer)
            self._has_answered = True
            reply = self._format.read(answer.text)
            self._count(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
            return reply.checked()

        again = partial(self._count, retries=1)
        try:
            return await retried(once, attempts=self.attempts, backoff=self.backoff, again=again)
        except PassingError as error:
            tried = f", tried {self.attempts} times," if self.attempts > 1 else ""
            raise JudgeError(f"{self._name}: {self._place}{tried} {error}") from None
        except JudgeError as error:
            raise JudgeError(f"{self._name}: {self._place} {error}", error.reason) from None

    async def _sent(self, client: httpx.AsyncClient, body: Mapping[str, Any]) -> Answer:
        key = os.environ.get(self.api_key_env, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise JudgeError(f"was not asked: {self.api_key_env} holds characters that no key has. Set it again.")
        self._count(requests=1)
        try:
            async with asyncio.timeout(self.timeout):
                return await post(client, self.url, body, key, self._format.signed)
        except TimeoutError:
            raise PassingError(
                f"gave no complete answer within {self.timeout:g} s. Raise `timeout`, or lower `concurrency`."
            ) from None

    async def _refusal(self, client: httpx.AsyncClient, answer: Answer) -> JudgeError:
        """Return the error for a status other than 200."""
        status = answer.status
        unset = "" if os.environ.get(self.api_key_env, "").strip() else ", which is not set"
        advice = {
            401: f"Check the key in {self.api_key_env}{unset}.",
            403: f"Check the key in {self.api_key_env}{unset}.",
            404: f"Check base_url and the model's name, {self.model!r}.",
            429: "Lower `concurrency`, or check the quota.",
        }.get(status, "Check the server." if status >= 500 else "Check base_url, model, parameters and quota.")
        if status in _OF_THE_REQUEST and not self._has_answered:  # one row, such as one that is too long
            hello = self._body([{"role": "user", "content": "Hello."}])
            self._has_answered = (await self._sent(client, hello)).status == 200
        if status in _OF_THE_REQUEST and self._has_answered:
            return JudgeError(f"refused this question alone ({status}). It said {excerpt(answer.text)}", "none")
        failure = f"answered {status}. {advice} It said {excerpt(answer.text)}"
        return PassingError(failure, answer.retry_after) if status in _PASSING else JudgeError(failure)

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _place(self) -> str:
        return re.sub("//[^/]*@", "//***@", self.url)  # an address may hold a password

    def _count(self, **more: int) -> None:
        so_far = self.usage._asdict()
        self.usage = Usage(**{name: n + more.get(name, 0) for name, n in so_far.items()})


@dataclass(eq=False, repr=False)
class AnthropicBackend(ChatBackend):
    """Send messages to `POST {base_url}/messages` of Anthropic and return the model's text.

    All else is as in `ChatBackend`. System messages become the field `system`, and parts `image_url` become images.
    There are no log-probabilities. A reply that the model refuses leaves the row unscored. Models that do not accept a
    temperature need `parameters={"max_tokens": 1024}`.

    >>> AnthropicBackend("a-model", concurrency=16, cache_dir="judge-cache")
    AnthropicBackend('a-model', url='https://api.anthropic.com/v1/messages')
    """

    _: KW_ONLY
    base_url: str = "https://api.anthropic.com/v1"
    api_key_env: str = "ANTHROPIC_API_KEY"
    _format: ClassVar[Format] = ANTHROPIC
