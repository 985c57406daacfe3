"""Probe whether a completion that cannot be read escapes what a wrong answer costs."""

from __future__ import annotations

from rewardsmith.auditing.asking import Ask, Asking, Outcome, Probe
from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.probes.disguises import NOT_A_VERIFIER
from rewardsmith.auditing.trials import cases_of, conclude, evidence, judge_share, severity_of
from rewardsmith.measures.intervals import share_right

UNREADABLE = ("", "I do not know.", "\\boxed{", "<answer>")


def escape(baseline: Baseline) -> Asking:
    """Send completions without a readable answer where a wrong answer scores below 0; None must not excuse them.

    Trainers leave a None out or count it as 0, so it is worth more than a wrong answer.
    """
    if not baseline.verifier:
        return Outcome(not_run=NOT_A_VERIFIER, applies=bool(baseline.blind or baseline.unread))
    costly = [case for case in cases_of(baseline) if case.on.level < 0]
    if not costly:
        return Outcome()  # a wrong answer costs nothing
    asked = [(case, UNREADABLE[(k + shift) % len(UNREADABLE)]) for k, case in enumerate(costly) for shift in (0, 1)]
    (scores,) = yield [Ask([case.row(text) for case, text in asked])]
    pairs = zip(asked, scores, strict=True)
    unread = [(case, text) for (case, text), score in pairs if score.reason == "none"]
    escaped = {case.group for case, _ in unread}
    share = share_right([case.group in escaped for case in costly], range(len(costly)), alpha=baseline.alpha)
    items: list[Item] = [case.on for case in costly]
    cost = sum(-item.level / item.unit for item in items) / len(items)
    finding, rate = judge_share(
        "escape",
        "a completion without a readable answer",
        share,
        [evidence(case.on, text, None, case.on.level) for case, text in unread[:3]],
        severity=severity_of(share.low, cost),
        message=f"A completion without a readable answer is unscored on {share.value:.0%} of {share.n} rows, where a "
        f"wrong answer scores {items[0].level:.3g}. So a policy that cannot solve a prompt gains by writing nothing "
        "readable.",
        advice="Score a completion that cannot be read like a wrong answer, and give None only for an unreadable key.",
    )
    return conclude([(finding, rate)])


ESCAPE = Probe("escape", "Is a completion that cannot be read no better off than a wrong answer?", escape)
