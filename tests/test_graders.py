"""The benchmark of graders: cases are well formed, counts are right, a grader that hangs or dies is replaced."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest
from benchmarks.check_grader_cases import CASES
from benchmarks.graders import Case, Child, counts, disagreements, load, row, short

from benchmarks import graders

ROWS = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]


def case(right: bool, *, policy: bool = False, completion: str = r"$\boxed{2}$") -> Case:
    return Case("integers", "2", completion, right, "hand", policy)


def test_each_case_has_its_fields_and_stands_once():
    assert len(ROWS) >= 1000
    for one in ROWS:
        assert {"kind", "gold", "completion", "right", "why"} <= one.keys()
        oracle = one["why"].split(":")[0]
        assert oracle in {"hand", "pari", "maxima"}
        assert ("oracle" in one) == (oracle != "hand")
    assert max(Counter((one["gold"], one["completion"], str(one.get("pad"))) for one in ROWS).values()) == 1


def test_right_and_wrong_cases_are_about_as_many_and_every_kind_has_both():
    counted = [one for one in ROWS if not one.get("policy")]
    assert 0.4 < sum(one["right"] for one in counted) / len(counted) < 0.6
    for right in (True, False):
        assert {one["kind"] for one in counted if one["right"] == right} == {one["kind"] for one in ROWS}


def test_a_pad_is_written_out(tmp_path):
    line = {"kind": "k", "gold": "5", "completion": "⟨pad⟩5", "right": True, "why": "hand", "pad": ["ab", 3]}
    (tmp_path / "cases.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert load(tmp_path / "cases.jsonl") == [Case("k", "5", "ababab5", True, "hand", False)]


def test_errors_are_counted_by_hand():
    cases = [case(True), case(True), case(True), case(True), case(False), case(False), case(True, policy=True)]
    # Of four right answers one is refused, one unscored and one hangs; of two wrong ones one is accepted.
    assert counts(cases, "10-h101") == {
        "false positives": 1,
        "false negatives": 3,
        "of these unscored": 1,
        "policy accepted": 1,
        "hangs": 1,
        "crashes": 0,
    }
    times = row(cases, graders.Result("a", "1", "10-h101", [0.001] * 5 + [0.002, 8.0]))
    assert (times["median ms"], times["p99 ms"]) == (1.0, 2.0)  # index ⌊0.99 · 6⌋ = 5 of the sorted times


def test_disagreements_say_who_is_right():
    text = disagreements([case(True), case(False), case(True), case(True, policy=True)], "1110", "0011")
    ours, theirs = text.split("## math-verify is right")
    assert ours.startswith("## rewardsmith is right: 1\n")
    assert theirs.startswith(": 1\n")
    assert "| wrong |" in theirs


def test_an_answer_is_shown_by_its_box_and_cut():
    assert short(r"So $\boxed{\frac{1}{2}}$.") == r"\frac{1}{2}"
    assert short("x" * 200) == "x" * 120 + "… (200 characters)"


ANSWERS = '{"hang": lambda: time.sleep(60), "none": lambda: None, "crash": lambda: os._exit(1)}'
GRADE = f"lambda gold, completion: {ANSWERS}.get(completion, lambda: 1)()"


@pytest.mark.slow
def test_a_grader_that_hangs_or_dies_is_replaced(tmp_path, monkeypatch):
    source = (graders.HERE / "grader_child.py").read_text(encoding="utf-8")
    source = source.replace("WARM = ", "WARM = () and ").replace(
        "GRADERS: dict[str, tuple[str, Callable[[], Grader]]] = {", f'GRADERS = {{"it": ("pytest", lambda: {GRADE}),'
    )
    (tmp_path / "grader_child.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(graders, "HERE", tmp_path)
    child = Child("it", [sys.executable])
    answers = [child.ask(case(True, completion=text), 0.5)[0] for text in ("2", "hang", "none", "crash", "2")]
    child.close()
    assert answers == ["1", "h", "-", "c", "1"]
