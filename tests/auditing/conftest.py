"""What the tests of the audit share: only slow ones wait for the clock."""

from __future__ import annotations

import pytest

from rewardsmith.auditing.probes import conduct


@pytest.fixture(autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(conduct, "sleep", lambda seconds: None)
