"""The exceptions that a caller can catch.

Wrong arguments raise `ValueError` or `TypeError`; the classes here are for what a caller may want to tell apart.
"""


class RewardsmithError(Exception):
    """Base of everything that rewardsmith raises on purpose and that is not a plain wrong argument."""


class TargetError(RewardsmithError):
    """A reward could not be loaded from the name given, or its contract could not be recognized."""


class RowsError(RewardsmithError):
    """Rows could not be read, or lack what the job needs."""


class EndpointError(RewardsmithError):
    """The server that a reward asks gives no usable answer, so the reward cannot be judged."""


class MissingExtraError(RewardsmithError, ImportError):
    """A library that an extra brings is not installed."""


def missing_extra(caller: str, extra: str, error: ImportError) -> MissingExtraError:
    """Return the error of `caller` that names the missing library and the line that installs `extra`."""
    return MissingExtraError(
        f"{caller}: {error.name or 'a library'} cannot be imported ({error}). In the folder of a checkout of "
        f'rewardsmith, run: pip install ".[{extra}]"'
    )
