"""Exceptions for callers to catch.

Wrong arguments raise `ValueError` or `TypeError`. The classes here distinguish all other failures.
"""


class RewardsmithError(Exception):
    """Base of all exceptions that rewardsmith raises on purpose, except those for wrong arguments."""


class TargetError(RewardsmithError):
    """A reward could not be loaded from its name, or its contract could not be recognized."""


class RowsError(RewardsmithError):
    """Rows could not be read, or lack what the job needs."""


class EndpointError(RewardsmithError):
    """The server behind a reward gives no usable answer, so the reward cannot be judged."""


class MissingExtraError(RewardsmithError, ImportError):
    """A library of an optional extra is not installed."""


def missing_extra(caller: str, extra: str, error: ImportError) -> MissingExtraError:
    """Return an error of `caller` that names the missing library and the line that installs `extra`."""
    return MissingExtraError(
        f"{caller}: {error.name or 'a library'} cannot be imported ({error}). In the folder of a checkout of "
        f'rewardsmith, run: pip install ".[{extra}]"'
    )
