"""Record the origin of a report: versions, digests, the call and its time."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial, wraps
from importlib.metadata import PackageNotFoundError, version
from typing import ParamSpec

from rewardsmith.auditing.report import Provenance, Report
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.describe import describe, function_of
from rewardsmith.scoring import Target
from rewardsmith.scoring.keys import keys_of

P = ParamSpec("P")


def recorded(audit: Callable[P, Report]) -> Callable[P, Report]:
    """Write the call in Python into the provenance of the report that an audit returns."""

    @wraps(audit)
    def call(*args: P.args, **kwargs: P.kwargs) -> Report:
        report, command = audit(*args, **kwargs), describe(partial(audit, *args, **kwargs), _shown)
        return replace(report, provenance=report.provenance and report.provenance._replace(command=command))

    return call


def _shown(value: object) -> str:
    """Write an argument: plain values as typed, rows by their number, a target by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{len(value)} rows]"
    return value.name if isinstance(value, Target) else f"<{type(value).__name__}>"


def provenance_of(
    targets: Mapping[str, Target], rows: Sequence[Row | PreferenceRow], reward_digests: Mapping[str, str | None]
) -> Provenance:
    """Return versions and digests of everything that these scores depend on.

    Args:
        targets: by source.
        rows: the given rows, or the target's own.
        reward_digests: by source, from before the reward was asked; it may have been edited since.
    """
    rewards = [function_of(getattr(target.reward, "function", target.reward)) for target in targets.values()]
    modules = [(getattr(reward, "__module__", None) or type(reward).__module__).split(".")[0] for reward in rewards]
    versions = {"python": platform.python_version()}
    for name in [*modules, *(name for name in ("torch", "transformers", "trl") if name in sys.modules)]:
        with suppress(PackageNotFoundError):  # a module of the user's own
            versions[name] = version(name)
    sent = [row if isinstance(row, Row) else Row(row.prompt, None, row.record()) for row in rows]
    return Provenance(
        rewardsmith=version("rewardsmith"),
        command="",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: found for name, found in versions.items() if name != "rewardsmith"},
        rows_digest=hashlib.blake2b("".join(keys_of(sent)).encode(), digest_size=8).hexdigest(),
        reward_digests=reward_digests,
    )
