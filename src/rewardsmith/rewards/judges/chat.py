"""ChatBackend: asks an OpenAI-compatible endpoint, patiently, a few at a time, and never twice for one question."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardsmith.errors import RewardsmithError, missing_extra
from rewardsmith.types import Message

if TYPE_CHECKING:
    import httpx
    import tenacity

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT = 30.0
_LAZY = ("_client", "_pool", "_cache")


class JudgeError(RewardsmithError):
    """A judge gave no usable reply; the row it was asked about is unscored."""


class _TransientError(JudgeError):
    """A failure that may pass, and the seconds that the server asked to be left alone."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChatBackend:
    """Messages in, the model's text out, over `POST {base_url}/chat/completions`.

    Rate limits, server errors and broken connections are tried again with growing random pauses (and no sooner than
    `Retry-After` asks, up to 30 s); any other refusal, a reply without text and one cut off by `max_tokens` raise
    `JudgeError`. Safe to share between threads and event loops; pickles without its connections.

    Args:
        model: the name the endpoint knows it by.
        base_url: up to and including `/v1`.
        api_key_env: the environment variable that holds the key, read at each request and kept nowhere; unset or
            empty sends none.
        concurrency: most requests under way at once.
        attempts: tries per question, at least 1.
        timeout: seconds per try, for connecting and for each read.
        backoff: seconds, the scale of the first pause; it doubles.
        cache_dir: folder of a disk cache of replies; None keeps none.
        parameters: request fields; the defaults are greedy, `{"temperature": 0.0, "max_tokens": 1024}`.

    Raises:
        ImportError: the `judge` extra is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        attempts: int = 5,
        timeout: float = 60.0,
        backoff: float = 0.5,
        cache_dir: str | Path | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        _require_extra()
        if concurrency < 1 or attempts < 1:
            raise ValueError(
                f"ChatBackend: concurrency={concurrency} and attempts={attempts} must both be at least 1. Raise them."
            )
        self.model = model
        self.url = base_url.rstrip("/") + "/chat/completions"
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.attempts = attempts
        self.timeout = timeout
        self.backoff = backoff
        self.cache_dir = cache_dir
        self.parameters = {"temperature": 0.0, "max_tokens": 1024} if parameters is None else dict(parameters)

    def __repr__(self) -> str:
        return f"ChatBackend({self.model!r}, url={self.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _LAZY}

    async def __call__(self, messages: list[Message]) -> str:
        """The reply to `messages`, from the cache if it is there.

        Raises:
            JudgeError: there is none.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.complete, messages)

    def complete(self, messages: list[Message]) -> str:
        """The same, blocking."""
        body = {"model": self.model, "messages": messages, **self.parameters}
        key = hashlib.sha256(json.dumps([self.url, body], sort_keys=True).encode()).hexdigest()
        if self._cache is not None and (known := self._cache.get(key)) is not None:
            return str(known)
        reply: str = self._retrying()(self._ask, body)
        if self._cache is not None:
            self._cache.set(key, reply)
        return reply

    def close(self) -> None:
        """Close connections, threads and cache; the next question opens them again."""
        for name, shut in (("_client", "close"), ("_pool", "shutdown"), ("_cache", "close")):
            if (held := self.__dict__.pop(name, None)) is not None:
                getattr(held, shut)()

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        return httpx.Client(timeout=self.timeout, limits=httpx.Limits(max_connections=self.concurrency))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.concurrency, thread_name_prefix="judge")

    @cached_property
    def _cache(self) -> Any:
        if self.cache_dir is None:
            return None
        import diskcache

        return diskcache.Cache(str(self.cache_dir), disk=diskcache.JSONDisk)  # JSON: nothing is unpickled on reading

    def _retrying(self) -> tenacity.Retrying:
        import tenacity

        pause = tenacity.wait_random_exponential(multiplier=self.backoff, max=_LONGEST_WAIT)

        def wait(state: tenacity.RetryCallState) -> float:
            error = None if state.outcome is None else state.outcome.exception()
            asked = error.retry_after if isinstance(error, _TransientError) else 0.0
            return max(pause(state), min(asked, _LONGEST_WAIT))

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            retry=tenacity.retry_if_exception_type(_TransientError),
            wait=wait,
            reraise=True,
        )

    def _ask(self, body: Mapping[str, Any]) -> str:
        import httpx

        key = os.environ.get(self.api_key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            response = self._client.post(self.url, json=body, headers=headers)
        except httpx.TransportError as error:
            raise _TransientError(
                f"ChatBackend: {self.url} could not be reached ({type(error).__name__}). Check base_url and the server."
            ) from None
        if response.status_code != 200:
            said = response.text[:300]
            said = said.replace(key, "***") if key else said  # some servers repeat the key that they refuse
            message = f"ChatBackend: {self.url} answered {response.status_code}: {said!r}. Check model, key and quota."
            if response.status_code in _TRANSIENT:
                raise _TransientError(message, _seconds(response.headers.get("Retry-After")))
            raise JudgeError(message)
        return _reply(response)


def _reply(response: httpx.Response) -> str:
    try:
        choice = response.json()["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        text, choice = None, {}
    if not isinstance(text, str):
        raise JudgeError(
            f"ChatBackend: {response.url} answered without choices[0].message.content. "
            "Check that the endpoint speaks the OpenAI chat format."
        )
    if choice.get("finish_reason") == "length":
        raise JudgeError("ChatBackend: the reply was cut off at max_tokens. Raise it in `parameters`.")
    return text


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0.0))
    except ValueError:  # a date: the growing pauses do
        return 0.0


def _require_extra() -> None:
    try:
        import diskcache  # noqa: F401
        import httpx  # noqa: F401
        import tenacity  # noqa: F401
    except ImportError as error:
        raise missing_extra("ChatBackend", "judge", error) from error


__all__ = ["ChatBackend", "JudgeError"]
