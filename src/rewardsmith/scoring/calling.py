"""Call a reward once: make its arguments from rows, and check its result row by row.

No processes or limits here; the worker and the in-process path both call rewards through this file.
"""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any, NamedTuple

from rewardsmith.scoring.arguments import ignore, pseudo_ids, trainer_state
from rewardsmith.scoring.called import PerBatch, PerRow
from rewardsmith.scoring.code import columns_read
from rewardsmith.scoring.contracts import is_async, signature_of
from rewardsmith.scoring.waiting import awaited, in_thread, within
from rewardsmith.scoring.work import Reply, RowParts, Scored

logger = logging.getLogger(__name__)


class Unscored(NamedTuple):
    """The value of a reward's `reasoned` in place of None: why a row has no score.

    reason: "endpoint" if the reward's server gave no usable answer, so that a later try may succeed.
    """

    why: str
    reason: str = "none"


def describe(error: BaseException) -> str:
    """Return an exception as one line of at most 300 characters.

    >>> describe(ValueError("no number\\nin 'x'"))
    "ValueError: no number in 'x'"
    """
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be printed)"
    return shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__)


_SERVERS = frozenset(
    ("builtins.ConnectionError", "httpx.HTTPError", "requests.RequestException", "aiohttp.ClientError",
     "urllib.URLError", "openai.APIError", "anthropic.APIError", "rewardsmith.JudgeError")
)  # fmt: skip
_OF_THE_ROW = (400, 413, 422, "none")


def failure_of(error: BaseException) -> str:
    """Return "endpoint" if an exception's type says that a server gave no usable answer, else "exception".

    A request that the server refuses for what it holds (400, 413, 422) is an exception of its row. So is a broken pipe,
    which is a program's.

    >>> failure_of(ConnectionRefusedError()), failure_of(ValueError("no number"))
    ('endpoint', 'exception')
    """
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    if kinds.isdisjoint(_SERVERS) or isinstance(error, BrokenPipeError):
        return "exception"
    said = (error, getattr(error, "response", None))
    known = [getattr(one, name, None) for one in said for name in ("status_code", "status", "code", "reason")]
    return "exception" if any(own in _OF_THE_ROW for own in known) else "endpoint"


def shorten(text: str) -> str:
    """Return `text` as one line of at most 300 characters."""
    line = " ".join(text[:2000].split())
    return line if len(line) <= 300 else line[:299] + "…"


def verdict(value: Any, seconds: float = 0.0) -> Scored:
    """Return one value as a reward, or with the reason why it is none.

    Accepted numbers: int, float, bool and one-element numpy or torch values.

    >>> verdict(True).reward, verdict("0.5").reason, verdict(None).reason
    (1.0, 'type', 'none')
    """
    if type(value) is float and math.isfinite(value):
        return Scored(value, None, "", seconds)
    try:
        return _verdict(value)._replace(seconds=seconds)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an object's own conversion may raise anything
        return Scored(None, "exception", describe(error), seconds)


def _verdict(value: Any) -> Scored:
    if value is None:
        return Scored(None, "none")
    if isinstance(value, Unscored):
        return Scored(None, "endpoint" if value.reason == "endpoint" else "none", shorten(value.why))
    if not isinstance(value, int | float) and hasattr(value, "item") and math.prod(getattr(value, "shape", (0,))) == 1:
        value = value.item()
    if not isinstance(value, int | float):
        return Scored(None, "type", shorten(f"{type(value).__name__}: {_shown(value)}"))
    try:
        number = float(value)
    except OverflowError:
        return Scored(None, "inf", "an integer beyond the range of floats")
    if math.isfinite(number):
        return Scored(number, None)
    return Scored(None, "nan") if math.isnan(number) else Scored(None, "inf", repr(number))


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"(its repr raises {type(error).__name__})"


def scored(name: str, values: Iterable[float | Unscored | None]) -> list[float | None]:
    """Return the numbers, None where there is none, and log one warning with their count and the first reason."""
    given = list(values)
    rewards = [None if v is None or isinstance(v, Unscored) or not math.isfinite(v) else v for v in given]
    missing = [value for value, reward in zip(given, rewards, strict=True) if reward is None]
    if missing:
        why = missing[0].why if isinstance(missing[0], Unscored) else f"the reward gives {missing[0]}"
        logger.warning("%s: %d of %d rows are unscored; the first: %s", name, len(missing), len(rewards), why)
    return rewards


def judge(result: Any, n_rows: int, seconds: float) -> Reply:
    """Return one verdict per row for a batch call's result, or the reason why it has no such values."""
    try:
        if hasattr(result, "tolist") and getattr(result, "shape", ()) != ():
            result = result.tolist()
        if not isinstance(result, list | tuple):
            return Reply(None, "type", shorten(f"{type(result).__name__}: {_shown(result)}"), seconds)
        if len(result) != n_rows:
            return Reply(None, "length", f"{len(result)} rewards for {n_rows} rows", seconds)
        each = round(seconds / n_rows, 7)
        if set(map(type, result)) == {float} and all(map(math.isfinite, result)):  # the usual case, made fast
            return Reply([Scored(value, None, "", each) for value in result], "", "", seconds)
        return Reply([verdict(value, each) for value in result], "", "", seconds)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Reply(None, "exception", describe(error), seconds)


LIMIT = 30.0
"""Default time limit per row, in seconds."""
CONCURRENCY = 16
"""Default number of rows that an async reward works on at once."""

_FRAME_READERS = frozenset(("locals", "vars", "dir", "eval", "exec", "_getframe", "currentframe", "stack"))
"""Names by which a function can read its arguments without naming them."""
WRAPPED, MOST_WRAPPERS = ("func", "function", "reward"), 10
"""Attributes in which `partial`, the row contracts and guards keep the inner reward, and how deep to look."""


def wrapped(reward: Any) -> Iterator[Any]:
    """Yield a reward and the rewards that it wraps, from the outside in."""
    for _ in range(MOST_WRAPPERS):
        yield reward
        name = next((name for name in WRAPPED if hasattr(reward, name)), None)
        if name is None:
            return
        reward = getattr(reward, name)


def own_concurrency(reward: Any) -> int | None:
    """Return the number of concurrent requests that a reward states; None where it states none."""
    found = (getattr(part, "concurrency", None) for part in wrapped(reward))
    return next((n for n in found if isinstance(n, int) and n >= 1), None)


def is_model(reward: Any) -> bool:
    """Return whether a reward, or the reward of a target, is a model or wraps one.

    A model makes its own batches (`plan`) or identifies its weights (`content_digest`). It is best loaded once, in this
    process, and needs no protection from hanging and crashing.
    """
    return any(hasattr(part, "plan") or hasattr(part, "content_digest") for part in wrapped(reward))


def row_limit(reward: Any, timeout: float | None) -> float | None:
    """Return the seconds that one row may take, None for no limit.

    A `timeout` of None means 30 s, but no limit for a reward model or a reward that limits its own requests.

    >>> row_limit(len, None), row_limit(len, 5.0), row_limit(len, math.inf)
    (30.0, 5.0, None)
    """
    if timeout is None:
        return None if is_model(reward) or own_concurrency(reward) is not None else LIMIT
    return None if math.isinf(timeout) else timeout


def check_options(workers: int, batch_size: int, concurrency: int, timeout: float | None, memory: int | None) -> None:
    """Check the options of a `Scorer`.

    Raises:
        ValueError: one of them is impossible.
    """
    for name, value, fits in (
        ("workers", workers, workers >= 0),
        ("batch_size", batch_size, batch_size >= 1),
        ("concurrency", concurrency, concurrency >= 1),
        ("timeout", timeout, timeout is None or timeout > 0),
    ):
        if not fits:
            raise ValueError(
                f"Scorer: {name} is {value}. "
                "Pass workers ≥ 0, batch_size ≥ 1, concurrency ≥ 1, and a timeout above 0 or None."
            )
    if memory is not None and workers == 0:
        raise ValueError(
            "Scorer: memory limits worker processes, and workers is 0. Pass workers ≥ 1, or leave memory out."
        )


def reasoned(reward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reward's `reasoned`, which gives `Unscored(why)` in place of None, or else the reward itself.

    `reasoned` is also found through `functools.partial`, with its bound arguments.
    """
    if isinstance(reward, partial):
        inner = reasoned(reward.func)
        return reward if inner is reward.func else partial(inner, *reward.args, **reward.keywords)
    found: Callable[..., Any] = getattr(reward, "reasoned", reward)
    return found


class Caller:
    """A reward prepared for calls: its signature is read once, and `reasoned` is preferred.

    threads: a sync reward is called as if it were async, each call in a thread of its own.
    mixes_rows: the rows of a call run concurrently; in threads their order counts.
    in_batches: an async call has several rows.
    """

    def __init__(self, reward: Callable[..., Any], *, threads: bool = False) -> None:
        self.reward = reward
        self.call = reasoned(reward)
        self.row = reward if isinstance(reward, PerRow) else None
        self.signature = signature_of(reward)
        self.threads = threads and not is_async(reward)
        self.is_async = is_async(reward) or self.threads
        self.mixes_rows = self.is_async and not self.threads
        self.in_batches = self.row is None and (self.threads or isinstance(reward, PerBatch))
        named = {*self.signature.keywords, *self.signature.positional}
        self._wants_ids = "completion_ids" in named
        if self.signature.takes_any:  # most accept `**columns` only to ignore them
            code = getattr(self.call, "__code__", None)
            unknown = code is None or hasattr(self.call, "__wrapped__") or not _FRAME_READERS.isdisjoint(code.co_names)
            self._wants_ids |= unknown or not {"**", "completion_ids"}.isdisjoint(columns_read(self.call))

    @cached_property
    def _trainer_state(self) -> Any:
        return trainer_state(real="trainer_state" in (*self.signature.keywords, *self.signature.positional))

    def arguments(self, rows: Sequence[RowParts]) -> dict[str, Any]:
        """Return all arguments that TRL would offer for these rows, before unaccepted ones are left out."""
        names = dict.fromkeys(chain.from_iterable(row[2] for row in rows))
        available: dict[str, Any] = {name: [row[2].get(name) for row in rows] for name in names}
        available |= {name: list(available["answer"]) for name in self.signature.aliases(available)}
        completions = ["" if row[1] is None else row[1] for row in rows]
        if "completion_ids" not in available and self._wants_ids:
            available["completion_ids"] = [pseudo_ids(completion) for completion in completions]
        return {
            **available,
            "prompts": [row[0] for row in rows],
            "completions": completions,
            "trainer_state": self._trainer_state,
            "log_extra": ignore,
            "log_metric": ignore,
        }

    async def _result(self, call: Callable[[], Any], timeout: float | None) -> Any:
        """Return the result of a call; of a sync reward it comes without waiting (`waiting.at_once`)."""
        if self.is_async:
            return await within(timeout, in_thread(call) if self.threads else call())
        return awaited(call())  # a plain function may return a coroutine

    async def batch(
        self, rows: Sequence[RowParts], *, timeout: float | None = None, check_mutation: bool = False
    ) -> Reply:
        """Call the reward once for all rows; the timeout is for async ones."""
        untouched = copy_of(rows) if check_mutation else None
        arguments = self.arguments(rows)
        positional, keywords = self.signature.bind(arguments)
        start = time.perf_counter()
        try:
            result = await self._result(partial(self.call, *positional, **keywords), timeout)
        except BaseException as error:
            return Reply(None, *self._failure(error, start, timeout), time.perf_counter() - start)
        return self._marked(judge(result, len(rows), time.perf_counter() - start), arguments, untouched)

    def _marked(self, reply: Reply, arguments: Mapping[str, Any], untouched: Sequence[RowParts] | None) -> Reply:
        if reply.results is None or untouched is None:
            return reply
        before = self.arguments(untouched)
        lists = [(arguments[name], values) for name, values in before.items() if isinstance(values, list)]
        resized = any(len(now) != len(then) for now, then in lists)
        marked = [
            v._replace(mutated=resized or not all(same(now[i], then[i]) for now, then in lists))
            for i, v in enumerate(reply.results)
        ]
        return reply._replace(results=marked)

    async def one(self, row: RowParts, *, timeout: float | None = None, check_mutation: bool = False) -> Scored:
        """Call a per-row reward for one row; the timeout is for async ones."""
        assert self.row is not None
        untouched = copy_of(row) if check_mutation else None
        start = time.perf_counter()
        try:
            value = self.row.value(await self._result(partial(self.row.call, *row), timeout))
        except BaseException as error:
            return Scored(None, *self._failure(error, start, timeout), round(time.perf_counter() - start, 7))
        mutated = untouched is not None and not same(row, untouched)
        return verdict(value, round(time.perf_counter() - start, 7))._replace(mutated=mutated)

    def _failure(self, error: BaseException, start: float, timeout: float | None) -> tuple[str, str]:
        """Return reason and detail; a TimeoutError counts as ours if the limit has passed, else as the reward's.

        Raises:
            KeyboardInterrupt: a sync call was interrupted.
            CancelledError: the job cancelled this call; one that the reward raises itself is an ordinary failure.
            GeneratorExit: the call ends together with its event loop.
        """
        if isinstance(error, GeneratorExit if self.is_async else KeyboardInterrupt):
            raise error
        task = asyncio.current_task() if self.is_async else None
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise error
        late = task is not None and timeout is not None and time.perf_counter() - start >= timeout
        if isinstance(error, TimeoutError) and late:
            return "timeout", f"no result within {timeout:g} s"
        return failure_of(error), describe(error)


def copy_of(value: Any) -> Any:
    """Return an independent copy, the same as a worker process would get."""
    return pickle.loads(pickle.dumps(value))


def same(now: Any, then: Any) -> bool:
    """Return whether two values are equal throughout; NaN equals NaN, and arrays are compared as bytes."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        return now.keys() == then.keys() and all(same(now[key], then[key]) for key in now)
    if isinstance(now, list | tuple) and isinstance(then, list | tuple):
        return len(now) == len(then) and all(map(same, now, then))
    if isinstance(now, float) and isinstance(then, float):
        return now == then or (math.isnan(now) and math.isnan(then))
    if type(now) is not type(then):
        return False
    if isinstance(now, str | int | bytes | None):
        return bool(now == then)
    return pickle.dumps(now) == pickle.dumps(then)
