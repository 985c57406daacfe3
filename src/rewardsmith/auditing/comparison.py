"""Compare two reports of one audit: before and after a change of the reward."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from rewardsmith.auditing.finding import SEVERITIES, Example, Finding, Severity, as_record, at_least
from rewardsmith.auditing.render.write import report_schema
from rewardsmith.auditing.report import SCHEMA, Check, Provenance, Report, Verdict, question_of

COMPARISON_SCHEMA = "rewardsmith.diff/1"
VERDICTS: tuple[Verdict, ...] = ("clean", "findings", "not judged")
"""Verdicts, best first: what was not judged may hide any finding."""
ABSENT = Check("", "", "not run", "no such question")
What = Literal["new", "changed", "not asked", "fixed"]
WHAT: tuple[What, ...] = ("new", "changed", "not asked", "fixed")


class Change(NamedTuple):
    """A finding that differs; before or after is None where the report has none of this question.

    what: "new" or "fixed" at the floor, "changed" in severity or figure, "not asked" if it is gone with its question.
    """

    what: What
    before: Finding | None
    after: Finding | None

    @property
    def finding(self) -> Finding:
        """The later finding, or the earlier one if it is gone."""
        return cast("Finding", self.after if self.what in ("new", "changed") else self.before)

    @property
    def is_graver(self) -> bool:
        """Whether the finding is new, or of a worse severity than before."""
        changed = self.what == "changed" and self.before and not at_least(self.before.severity, self.finding.severity)
        return self.what == "new" or bool(changed)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of two reports at one floor of severity.

    changes: in the order of `WHAT`, worst first in each.
    asked_before, asked_after: questions asked in one report only, with the reason why the other did not ask.
    worse: whether there is a new or graver finding, or a worse verdict.
    """

    before: Report
    after: Report
    floor: Severity
    changes: tuple[Change, ...]
    asked_before: tuple[Check, ...]
    asked_after: tuple[Check, ...]
    worse: bool

    def of(self, what: What) -> tuple[Change, ...]:
        """Return the changes of one kind."""
        return tuple(change for change in self.changes if change.what == what)

    def as_json(self) -> dict[str, Any]:
        """Return the record that `rewardsmith diff --json` prints."""
        record: dict[str, Any] = {"schema": COMPARISON_SCHEMA, "worse": self.worse, "fail_on": self.floor}
        for side, report in (("before", self.before), ("after", self.after)):
            names = ("target", "not_judged", "escapable", "n_rows", "seed")
            record[side] = {"verdict": report.verdict(self.floor), **{name: getattr(report, name) for name in names}}
        for what in WHAT:
            pairs = [{"before": as_record(old), "after": as_record(new)} for _, old, new in self.of(what)]
            record[what.replace(" ", "_")] = pairs
        return record | {"asked_before": as_record(self.asked_before), "asked_after": as_record(self.asked_after)}


def compare_reports(
    before: Report | Path | str, after: Report | Path | str, *, floor: Severity = "medium"
) -> Comparison:
    """Compare two reports on the same rows: findings fixed, new or changed, and questions asked in one only.

    A finding has changed if its severity differs, or if either figure lies outside the interval of the other.

    Args:
        before, after: reports, their `report.json` files, or folders that hold one.
        floor: mildest severity that counts as a finding.

    Raises:
        ValueError: a file holds no single report of this version, or the reports are of different rows or share no
            question.
    """
    old, new = (report if isinstance(report, Report) else _read(Path(report)) for report in (before, after))
    rows = [report.provenance and report.provenance.rows_digest for report in (old, new)]
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(
            f"compare_reports: the reports are of different rows (digests {rows[0]} and {rows[1]}). "
            "Audit both on the same file."
        )
    # The question "failures" is asked of every reward.
    first, second = ({check.probe for check in report.checks} - {"failures"} for report in (old, new))
    if first and second and not first & second:
        raise ValueError(
            f"compare_reports: the reports share no question. The first is of a {old.kind!r}, the second of a "
            f"{new.kind!r}. Compare rewards of one kind."
        )
    asked = [{check.probe: check for check in report.checks} for report in (old, new)]
    changes = [change for pair in _paired(old, new) if (change := _change(*pair, asked=asked, floor=floor))]
    named = {(change.what, change.finding.probe) for change in changes}  # a symptom goes with its cause
    changes = [change for change in changes if (change.what, change.finding.cause) not in named]
    changes.sort(key=lambda change: (WHAT.index(change.what), -SEVERITIES.index(change.finding.severity)))
    fell = VERDICTS.index(new.verdict(floor)) > VERDICTS.index(old.verdict(floor))
    return Comparison(
        before=old,
        after=new,
        floor=floor,
        changes=tuple(changes),
        asked_before=_only(asked[0], asked[1]),
        asked_after=_only(asked[1], asked[0]),
        worse=fell or any(change.is_graver for change in changes),
    )


def _read(path: Path) -> Report:
    """Return the part of a report that is compared, or raise with what the file is instead."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    path = path / "report.json" if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"compare_reports: {path} is not JSON ({error}). Name the report.json of an audit.") from None
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        raise ValueError(
            f"compare_reports: {path} has the schema {schema!r}, and this version compares reports of {SCHEMA!r}. "
            "Name the report of one reward, and audit again if another version wrote it."
        )
    whole = report_schema()
    broken = best_match(Draft202012Validator({**whole["$defs"]["report"], "$defs": whole["$defs"]}).iter_errors(record))
    if broken is not None:
        raise ValueError(
            f"compare_reports: {path} is broken at {broken.json_path}: {broken.message[:200]}. Audit again."
        )
    names = ("target", "contract", "kind", "n_rows", "seed", "calls", "seconds", "not_judged")
    return Report(
        **{name: record[name] for name in names},
        findings=tuple(map(_finding, [*record["findings"], *record["observations"]])),
        checks=tuple(Check(**check) for check in record["checks"]),
        provenance=Provenance(**record["provenance"]) if "provenance" in record else None,
    )


def _finding(record: Mapping[str, Any]) -> Finding:
    interval = record["interval"]
    if interval is not None:
        low, high = interval  # null stands for an end at infinity
        interval = (-math.inf if low is None else low, math.inf if high is None else high)
    lists = {
        "examples": tuple(Example(**example) for example in record["examples"]),
        "remedies": tuple(record["remedies"]),
        "symptoms": tuple(_finding(symptom) for symptom in record["symptoms"]),
    }
    return Finding(**{**record, **lists, "interval": interval})


def _paired(before: Report, after: Report) -> list[tuple[Finding | None, Finding | None]]:
    """Pair the findings and symptoms of one question and source; of several, those that differ in numbers only."""

    def subject(finding: Finding) -> tuple[str, str]:
        source = re.match(r"Source ('[^']*'|\"[^\"]*\")", finding.message)
        return finding.probe, source[0] if source else ""

    found = [[one for head in report.findings for one in (head, *head.symptoms)] for report in (before, after)]
    often = Counter(map(subject, found[0])) | Counter(map(subject, found[1]))  # the larger count
    sides = [
        {(*subject(one), re.sub(r"\d+", "", one.message) if often[subject(one)] > 1 else ""): one for one in own}
        for own in found
    ]
    return [(sides[0].get(key), sides[1].get(key)) for key in dict.fromkeys([*sides[1], *sides[0]])]


def _change(
    before: Finding | None, after: Finding | None, *, asked: Sequence[Mapping[str, Check]], floor: Severity
) -> Change | None:
    """Return what became of one finding, or None if nothing did at the floor."""
    was = before is not None and at_least(before.severity, floor)
    if after is not None and at_least(after.severity, floor):
        if before is None or not was:
            return Change("new", before, after)
        differs = before.severity != after.severity
        for one, other in ((before, after), (after, before)):
            low, high = other.interval or (-math.inf, math.inf)
            differs |= one.value is not None and not low <= one.value <= high
        return Change("changed", before, after) if differs else None
    if before is None or not was:
        return None
    question = question_of(before.probe, asked[0])
    gone = after is None and question in asked[0] and asked[1].get(question, ABSENT).status == "not run"
    return Change("not asked" if gone else "fixed", before, after)


def _only(asked: Mapping[str, Check], other: Mapping[str, Check]) -> tuple[Check, ...]:
    """Return the questions that were asked here and not there, each with the reason there."""
    return tuple(
        replace(check, note=other.get(probe, ABSENT).note)
        for probe, check in asked.items()
        if check.status != "not run" and other.get(probe, ABSENT).status == "not run"
    )
