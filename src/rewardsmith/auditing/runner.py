"""The one runner of an audit: build a subject's baseline, ask its probes in rounds, write the report."""

from __future__ import annotations

from rewardsmith.auditing.asking import Outcome, Probe, Rounds
from rewardsmith.auditing.finding import Finding
from rewardsmith.auditing.report import Check


def unscorable(rounds: Rounds, what: str, cause: str) -> Finding:
    """That not one of what an audit starts from could be scored; `cause` is the usual one beside a missing column."""
    listed = ", ".join(f"{count} × {reason}" for reason, count in rounds.unscored.most_common()) or "no number given"
    why = next((f" The first: {score.detail}" for _, score in rounds.broken[""].values() if score.detail), "")
    return Finding(
        probe="failures",
        severity="critical",
        message=f"No {what} ({listed}).{why}",
        value=1.0,
        interval=None,
        n=rounds.calls,
        advice=f"See the reasons; the usual ones are a missing column and {cause}.",
    )


def checked(probe: Probe, outcome: Outcome | None, *, faulty: set[str], cut_short: set[str], otherwise: str) -> Check:
    """How a question went: `faulty` are the probes with a finding, `otherwise` says why there is no outcome."""
    if (outcome is None or outcome.not_run) and probe.name not in faulty:
        return Check(probe.name, probe.question, "not run", outcome.not_run if outcome else otherwise)
    findings = outcome.findings if outcome else ()
    if probe.name in cut_short and not findings and probe.name not in faulty:
        return Check(probe.name, probe.question, "not run", "the audit stopped after too many timeouts")
    own = {finding.probe for finding in findings} | {probe.name}
    return Check(probe.name, probe.question, "finding" if own & faulty else "clean")
