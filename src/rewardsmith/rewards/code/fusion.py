"""Run programs on a sandbox_fusion server over HTTP."""

from __future__ import annotations

import ast
import asyncio
import json
import secrets
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.errors import missing_extra
from rewardsmith.rewards.judges.wire import JudgeError, PassingError, excerpt, post, retried
from rewardsmith.sandbox import Answered, Program, Ran
from rewardsmith.scoring.calling import Unscored

if TYPE_CHECKING:
    import httpx

SPARE = 30.0
"""Seconds that the server has beyond a program's own limit."""


@dataclass(frozen=True)
class SandboxFusion:
    """Run programs by `POST {url}/run_code` of sandbox_fusion: the `sandbox` of `code_reward`.

    A server that cannot be reached or reports an error of its own leaves the row unscored. Each call of a function is a
    request of its own. Commands, and test code other than `assert f(x) == literal`, need the local sandbox. What
    isolates the programs is the server's.

    Args:
        url: of the server, such as "http://localhost:8080".
        concurrency: the largest number of requests at once.
        attempts: tries per program, with pauses as `wire.retried` makes them.
        run_timeout, memory_mib: limits that the server is asked to set.

    Raises:
        ImportError: the `judge` extra is not installed.
        ValueError: `url` is no address of a server.
    """

    url: str
    _: KW_ONLY
    concurrency: int = 8
    attempts: int = 3
    backoff: float = 0.5
    run_timeout: float = 10.0
    memory_mib: int = 512

    def __post_init__(self) -> None:
        try:
            import httpx  # noqa: F401
        except ImportError as error:
            raise missing_extra("SandboxFusion", "judge", error) from error
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"SandboxFusion: url is {self.url!r}. Begin it with http:// or https://.")

    def run(self, programs: Sequence[Program]) -> list[Ran | Unscored]:
        """Return what each program did, in order."""
        with ThreadPoolExecutor(1) as thread:  # this one may have a running event loop
            return thread.submit(asyncio.run, self._all(programs)).result()

    def start(self, source: str, *, relay: Any = None) -> FusionChild:
        """Return what answers calls of the source's functions."""
        return FusionChild(self, source, relay is not None)

    async def _all(self, programs: Sequence[Program]) -> list[Ran | Unscored]:
        import httpx

        slots = asyncio.Semaphore(self.concurrency)
        async with httpx.AsyncClient(timeout=self.run_timeout + SPARE) as client:
            return await asyncio.gather(*(self._one(client, slots, program) for program in programs))

    async def _one(self, client: httpx.AsyncClient, slots: asyncio.Semaphore, program: Program) -> Ran | Unscored:
        if program.command:
            return Unscored("a command needs a local sandbox")
        body = {
            "code": program.source,
            "language": "python",
            "stdin": program.stdin,
            "compile_timeout": self.run_timeout,
            "run_timeout": self.run_timeout,
            "memory_limit_MB": self.memory_mib,
            "files": {name: b64encode(text.encode()).decode() for name, text in program.files.items()},
            "fetch_files": [],
        }

        async def once() -> Ran | Unscored:
            try:
                async with asyncio.timeout(self.run_timeout + SPARE):
                    answer = await post(client, f"{self.url.rstrip('/')}/run_code", body, "")
            except TimeoutError:
                raise PassingError("did not answer in time.") from None
            if answer.status == 200:
                return _ran(answer.text)
            failed = f"answered with status {answer.status}: {excerpt(answer.text)}"
            passes = answer.status >= 500 or answer.status == 429
            raise PassingError(failed, answer.retry_after) if passes else JudgeError(failed)

        async with slots:
            try:
                return await retried(once, attempts=self.attempts, backoff=self.backoff)
            except JudgeError as error:
                return Unscored(f"the sandbox server {error}", "endpoint")


class FusionChild(NamedTuple):
    """Calls of a source's functions, each a program that prints its value; nothing stays between two calls."""

    sandbox: SandboxFusion
    source: str
    relays: bool

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Answered | Unscored:
        """Return the function's value, read as a literal."""
        if self.relays:
            return Answered(unscored="test code other than `assert f(x) == literal` needs the local sandbox")
        mark = secrets.token_hex(16)
        call = f"import program\nprint({mark!r} + repr(program.{name}(*{args!r}, **{kwargs!r})))"
        (ran,) = self.sandbox.run([Program(call, files={"program.py": self.source})])
        if isinstance(ran, Unscored):
            return ran
        _, found, text = ran.stdout.rpartition(mark)
        try:
            value = ast.literal_eval(text.strip()) if found else None
            return Answered(value) if found else Answered(raised=ran.stderr[-200:] or "the program ended early")
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return Answered(unscored="a value that is no literal")

    def close(self) -> None:
        """Do nothing."""


def _ran(text: str) -> Ran | Unscored:
    """Read the server's answer: `status` Success, Failed or SandboxError, and `run_result`."""
    try:
        answer: dict[str, Any] = json.loads(text)
        status, result = answer["status"], answer.get("run_result")
        if status not in ("Success", "Failed") or not isinstance(result, dict):
            return Unscored(f"the sandbox server reports {status}: {excerpt(str(answer.get('message')))}", "endpoint")
        late = result["status"] == "TimeLimitExceeded"
        return Ran(result.get("stdout") or "", result.get("stderr") or "", result.get("return_code"), "time" * late)
    except (ValueError, KeyError, TypeError, RecursionError):
        return Unscored(f"the sandbox server does not answer as sandbox_fusion does: {excerpt(text)}", "endpoint")
