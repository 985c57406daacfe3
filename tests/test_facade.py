"""`import rewardsmith as rs`: the names of a first day, each loaded when it is asked for."""

import subprocess
import sys

import pytest

import rewardsmith as rs

HEAVY = {"torch", "numpy", "trl", "transformers", "datasets", "rich", "typer"}


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_every_name_is_that_of_its_room_and_no_other_is_offered():
    offered = {name for names in rs._ROOMS.values() for name in names}
    assert offered == set(rs.__all__)
    for name in rs.__all__:
        assert callable(getattr(rs, name))
    with pytest.raises(AttributeError, match="module 'rewardsmith' has no attribute 'adit'"):
        rs.adit  # noqa: B018


def test_the_facade_loads_nothing_heavy_and_its_light_names_no_torch():
    assert not loaded_by("import rewardsmith as rs; dir(rs)") & HEAVY
    assert "torch" not in loaded_by("import rewardsmith as rs; rs.audit, rs.score, rs.load_reward, rs.math_equal")


def test_audit_is_the_function_before_and_after_its_room_is_imported():
    code = "import rewardsmith as rs; before = rs.audit; import rewardsmith.auditing; assert rs.audit is before"
    loaded_by(f"{code}; assert callable(before); assert rs.audit is rewardsmith.auditing.audit")


@pytest.mark.slow
def test_a_first_day_s_audit():
    def holds_the_answer(completions, answer):
        return [float(key in text) for text, key in zip(completions, answer, strict=True)]

    rows = [{"prompt": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(10, 34)]
    report = rs.audit(holds_the_answer, rows, workers=0, budget=2_000)
    assert report.target.endswith("holds_the_answer")
    assert "enumeration" in {one.probe for one in report.every if one.severity == "critical"}
