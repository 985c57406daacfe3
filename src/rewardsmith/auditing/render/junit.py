"""Write a report as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

from collections import defaultdict
from xml.etree import ElementTree

from rewardsmith.auditing.finding import Finding, Severity, at_least
from rewardsmith.auditing.render import wording
from rewardsmith.auditing.render.visible import plain
from rewardsmith.auditing.report import Report, question_of


def render_junit(report: Report, *, floor: Severity = "medium") -> str:
    """Return JUnit XML with one test case per question.

    A question with findings at `floor` or worse has failed, and one that was not run is skipped with its reason. Where
    the verdict is "not judged", a further test case `verdict` ends in an error with its reason.
    """
    target = plain(report.target)
    questions = {check.probe: check for check in report.checks}
    failed: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        for one in (finding, *finding.symptoms):
            if at_least(one.severity, floor):
                question = question_of(one.probe, questions)
                failed[question if question in questions else one.probe].append(one)
    suite = ElementTree.Element("testsuite", name=target, time=f"{report.seconds:.3f}")
    listed = ElementTree.SubElement(suite, "properties")
    made = report.provenance
    facts = {"kind": report.kind, "contract": report.contract, "seed": str(report.seed), "calls": str(report.calls)}
    facts |= {} if made is None else {"command": made.command, "date": made.date, "rewardsmith": made.rewardsmith}
    for name, value in facts.items():
        ElementTree.SubElement(listed, "property", name=name, value=plain(value, limit=2000))
    skipped = errors = 0
    for probe in dict.fromkeys([*questions, *failed]):
        case = ElementTree.SubElement(suite, "testcase", classname=target, name=plain(probe))
        check, found = questions.get(probe), failed[probe]
        if found:
            message = plain(found[0].message) + (f" And {len(found) - 1} more." if len(found) > 1 else "")
            failure = ElementTree.SubElement(case, "failure", type=found[0].severity, message=message)
            failure.text = "\n\n".join(_described(finding) for finding in found)
        elif check is not None and check.status == "not run":
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=plain(check.note))
    if report.verdict(floor) == "not judged":
        errors = 1
        case = ElementTree.SubElement(suite, "testcase", classname=target, name="verdict")
        ElementTree.SubElement(case, "error", type="not judged", message=plain(report.not_judged, limit=600))
    n_failed = sum(bool(found) for found in failed.values())
    counts = {"tests": len(suite) - 1, "failures": n_failed, "errors": errors, "skipped": skipped}
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    return ElementTree.tostring(whole, encoding="unicode") + "\n"


def _described(finding: Finding) -> str:
    """Return a finding in lines: what was found, the figure, what to do, and the rows behind it."""
    figures = " ".join(wording.measured(finding)).strip()
    lines = [f"{finding.severity}: {plain(finding.message)}"]
    lines += [f"A symptom of: {plain(finding.cause)}"] if finding.cause else []
    lines += [f"{figures} {plain(finding.unit)}, n = {finding.n:,}"] if figures else []
    lines += [plain(finding.advice, limit=1000)]
    lines += [f"{wording.scored(example)}: {plain(example.completion)}" for example in finding.examples]
    return "\n".join(lines)
