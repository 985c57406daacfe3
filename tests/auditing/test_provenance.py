"""What a report says of how it was made."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import jsonschema
import pytest

from rewardsmith.auditing import audit, report_schema
from rewardsmith.auditing.render.write import strict_json
from rewardsmith.cli.shell import as_typed
from rewardsmith.data import PreferenceRow, Row

ROWS = [Row(f"What is {n} + {n}?", columns={"answer": str(2 * n)}) for n in range(10, 18)]


def exact(prompt, completion, answer):
    return float(completion == answer)


def length(prompt, completion):
    return float(len(completion))


def made(reward=exact, rows=ROWS, **options):
    return audit(reward, rows, workers=0, budget=500, **options)


def test_a_report_says_which_call_made_it_when_and_with_what():
    before = datetime.now(UTC).replace(microsecond=0)
    found = made(seed=3).provenance
    assert found.command == "audit(exact, [8 rows], budget=500, workers=0, seed=3)"
    assert found.rewardsmith == version("rewardsmith")
    assert found.versions["python"] == platform.python_version()
    stamp = datetime.fromisoformat(found.date)
    assert stamp.utcoffset() == timedelta(0)
    assert before <= stamp <= datetime.now(UTC)


def test_the_library_of_a_reward_and_the_large_ones_that_are_loaded_are_named(monkeypatch):
    def theirs(prompt, completion, answer):
        return exact(prompt, completion, answer)

    theirs.__module__ = "jinja2.anything"
    monkeypatch.setitem(sys.modules, "transformers", object())
    monkeypatch.delitem(sys.modules, "trl", raising=False)
    versions = made(theirs).provenance.versions
    assert versions["jinja2"] == version("jinja2")
    assert versions["transformers"] == version("transformers")
    assert "trl" not in versions


@pytest.mark.slow
def test_digests_tell_rows_and_rewards_apart_and_nothing_else():
    first, again = made(seed=1).provenance, made(seed=2).provenance
    assert (first.rows_digest, first.reward_digests) == (again.rows_digest, again.reward_digests)
    assert made(rows=ROWS[:-1]).provenance.rows_digest != first.rows_digest
    edited = [*ROWS[:-1], Row(ROWS[-1].prompt, columns={"answer": "0"})]
    assert made(rows=edited).provenance.rows_digest != first.rows_digest
    scope: dict = {}
    for name, factor in (("one", 1), ("two", 2)):
        exec(f"def {name}(prompt, completion, answer): return {factor} * float(completion == answer)", scope)
    digests = [made(scope[name]).provenance.reward_digests[""] for name in ("one", "two", "one")]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.slow
def test_pairs_have_a_digest_too():
    pairs = [PreferenceRow(f"q{n}", "a good answer", "a bad one") for n in range(6)]
    found = audit(length, pairs, budget=500).provenance
    turned = audit(length, [pair.swapped() for pair in pairs], budget=500).provenance
    assert found.rows_digest != turned.rows_digest
    assert found.command.startswith("audit(")


def test_two_reports_that_differ_in_provenance_alone_are_equal():
    report = made()
    assert report == as_typed(report)


def test_the_command_line_is_told_as_it_was_typed(monkeypatch):
    typed = ["/somewhere/rewardsmith", "audit", "my rewards.py:f", "rows.jsonl", "--seed", "3"]
    monkeypatch.setattr(sys, "argv", typed)
    assert as_typed(made()).provenance.command == "rewardsmith audit 'my rewards.py:f' rows.jsonl --seed 3"


@pytest.mark.slow
@pytest.mark.parametrize("floor", ["info", "medium"])
def test_the_record_fits_the_schema(floor):
    record = json.loads(strict_json(made().as_json(floor)))
    jsonschema.validate(record, report_schema())
    assert set(record["provenance"]) == {"rewardsmith", "command", "date", "versions", "rows_digest", "reward_digests"}
