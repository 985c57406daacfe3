"""Plugin of pytest: the fixture `reward_audit` audits a reward inside a test.

Every run of pytest loads this file where rewardsmith is installed, so it imports nothing of rewardsmith at the top.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rewardsmith.auditing import Report


@pytest.fixture(scope="session")
def reward_audit() -> Callable[..., Report]:
    """Audit a reward, given by its name or itself: `reward_audit("pkg.mod:name", rows).assert_clean()`.

    It takes what `rewardsmith.auditing.audit` takes and returns its report.
    """
    return _audited


def _audited(target: Any, rows: Any = None, **options: Any) -> Report:
    from rewardsmith.auditing import audit
    from rewardsmith.scoring import load_reward

    return audit(load_reward(target) if isinstance(target, str) else target, rows, **options)
