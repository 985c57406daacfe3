"""A few kills at moments that are always the same; `python -m tests.sweeps.kills` makes many at others."""

from __future__ import annotations

import random

import pytest

from tests.sweeps.kills import KINDS, sweep

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_job_goes_on_with_what_was_under_way_and_ends_as_if_nobody_had(kind, tmp_path):
    told = sweep(kind, 3, tmp_path, random.Random(kind))
    assert told.faults == []
    assert told.kills == 3
