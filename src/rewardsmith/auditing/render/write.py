"""Write reports to disk: `report.json` for programs and `report.html` for people, each replaced in one step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith._disk import replacing
from rewardsmith.auditing.finding import Severity
from rewardsmith.auditing.report import Report
from rewardsmith.scoring.output import finite

if TYPE_CHECKING:
    from rewardsmith.auditing.render.html import Section

COLLECTION_SCHEMA = "rewardsmith.audit.collection/1"


class ReportPaths(NamedTuple):
    """Paths of a written report."""

    json: Path
    html: Path


def write_report(
    reports: Report | Sequence[Report],
    folder: str | Path,
    floor: Severity = "medium",
    *,
    title: str = "",
    sections: Sequence[Section] = (),
) -> ReportPaths:
    """Write `report.json` and `report.html` into `folder`, which is created if missing.

    One report gives its own record; a sequence gives a collection, `{"schema", "reports": [...]}`. Each file is
    written under another name and then renamed, so a reader never sees half a file.
    """
    from rewardsmith.auditing.render.html import render_html

    several = [reports] if isinstance(reports, Report) else list(reports)
    record: dict[str, Any] = (
        reports.as_json(floor)
        if isinstance(reports, Report)
        else {"schema": COLLECTION_SCHEMA, "reports": [report.as_json(floor) for report in several]}
    )
    html = render_html(several, title=title, sections=sections, floor=floor)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = ReportPaths(json=folder / "report.json", html=folder / "report.html")
    replace_file(paths.json, strict_json(record) + "\n")
    replace_file(paths.html, html)
    return paths


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `report.json`, for one report or a collection."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
    return schema


def strict_json(record: Mapping[str, Any]) -> str:
    """Return the record as strict JSON: non-finite numbers become null, non-ASCII is spelled `\\uXXXX`.

    >>> print(strict_json({"reward": float("nan")}))
    {
      "reward": null
    }
    """
    return json.dumps(finite(record), indent=2, ensure_ascii=True, allow_nan=False)


def replace_file(path: Path, text: str) -> None:
    """Write a text under another name and then rename it; half an emoji, which is not UTF-8, is spelled out."""
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
