"""Probes around the answer key: is it accepted, are its other spellings, are its neighbors refused?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from rewardsmith.audit.finding import Finding, Severity
from rewardsmith.audit.forms import Form, equivalent_forms, same_notation
from rewardsmith.audit.intervals import wilson_interval
from rewardsmith.audit.paid import LEAST_SHARE, evidence, judge_share, severity_of
from rewardsmith.audit.panel import Ask, Asking, Item, Outcome, Panel
from rewardsmith.audit.probes.answers import NOT_A_VERIFIER

ONE_RIGHT_VALUE = frozenset({"integer", "decimal", "fraction", "percent", "choice", "boolean", "word"})
"""Kinds of keys beside which no other value can be right; elsewhere a neighbor may be another solution."""
SPELLINGS_PER_ITEM = 8
FULL = 0.999  # of the gap: paid like the key itself


class Refusal(NamedTuple):
    """One right answer that was paid like a wrong one, and the form it came in."""

    item: Item
    text: str
    reward: float


def answer_key(panel: Panel) -> Asking:
    """Every key is sent in the carrier that the reward reads best; what is paid no more than a wrong one is refused."""
    if not panel.keyed:
        return Outcome(not_run="the rows bring no reference answers")
    if not panel.verifier:
        return Outcome(not_run=NOT_A_VERIFIER)
    known = [item for item in panel.items if item.right is not None]
    refused = [item for item in known if panel.gain(item, item.right or 0.0) <= 0.05]
    low, high = wilson_interval(len(refused), len(known), alpha=panel.alpha)
    rate = len(refused) / max(len(known), 1)
    if low <= LEAST_SHARE:
        return Outcome()
    return Outcome(
        findings=(
            Finding(
                probe="answer_key",
                severity="high" if rate >= 0.25 else "medium",
                message=f"The answer key itself is refused on {rate:.0%} of {len(known)} rows, in the form in which "
                f"the reward accepts the others ({panel.carrier.name}).",
                value=rate,
                interval=(low, high),
                n=len(known),
                advice="A refused key is a bug in the data or the verifier: `rewardsmith.rewards.math_equal` and "
                "`exact_number` leave rows unscored whose key they cannot read.",
                examples=tuple(
                    evidence(item, panel.carrier.wrap(item.key), item.right, item.level) for item in refused[:3]
                ),
            ),
        )
    )
    yield []


def equivalent_spellings(panel: Panel) -> Asking:
    """The key in other spellings, proven equal without the reward's help; a refusal costs the policy its signal."""
    if not panel.verifier:
        return Outcome(not_run=NOT_A_VERIFIER if panel.keyed else "the rows bring no reference answers")
    accepted = [i for i in panel.items if i.right is not None and panel.gain(i, i.right) > 0.5]
    cases = [(item, form) for item in accepted for form in equivalent_forms(item.key)[:SPELLINGS_PER_ITEM]]
    if not cases:
        return Outcome(not_run="the keys have no other spelling that is certainly equal")
    (scores,) = yield [Ask([item.row.with_completion(panel.carrier.wrap(form.text)) for item, form in cases])]
    tried: dict[str, int] = defaultdict(int)
    refused: dict[str, list[tuple[Refusal, Form]]] = defaultdict(list)
    for (item, form), score in zip(cases, scores, strict=True):
        if score.reward is not None:
            tried[form.family] += 1
            if panel.gain(item, score.reward) < 0.5:
                refused[form.family].append((Refusal(item, form.text, score.reward), form))
    literal = _literal(tried, {family: len(entries) for family, entries in refused.items()})
    found = [
        finding
        for family, n in tried.items()
        if (finding := _spelling(family, refused[family], n, panel, literal=literal)) is not None
    ]
    return Outcome(findings=tuple(found))


def _literal(tried: dict[str, int], refused: dict[str, int]) -> bool:
    """Whether the reward compares texts: it takes none of the spellings, whitespace around the key aside."""
    return all(refused.get(family, 0) >= 0.9 * n for family, n in tried.items() if family != "surrounding")


def _spelling(
    family: str, refused: Sequence[tuple[Refusal, Form]], n: int, panel: Panel, *, literal: bool
) -> Finding | None:
    low, high = wilson_interval(len(refused), n, alpha=panel.alpha)
    if low <= LEAST_SHARE:
        return None
    return Finding(
        probe="equivalent_forms",
        severity=_spelling_severity(family, refused, literal=literal),
        message=f"Right answers in another spelling ({family.replace('_', ' ')}) are refused on "
        f"{len(refused) / n:.0%} of {n} tries" + ("; the reward compares texts literally." if literal else "."),
        value=len(refused) / n,
        interval=(low, high),
        n=n,
        advice="Compare values, not texts: `rewardsmith.rewards.exact_number`, `math_equal`, `exact_text`; measure "
        "what remains with `rewardsmith.transforms.estimate_noise` and undo it with `backward_correction` (paper 39).",
        unit="share of tries refused",
        examples=tuple(evidence(r.item, panel.carrier.wrap(r.text), r.reward, r.item.right) for r, _ in refused[:3]),
    )


def _spelling_severity(family: str, refused: Sequence[tuple[Refusal, Form]], *, literal: bool) -> Severity:
    """A refused spelling cannot be gamed, so it is low; refusing a word for its case alone is worse."""
    if family == "case":
        return "medium"
    if literal or family == "surrounding":
        return "info"
    own = any(same_notation(refusal.item.key, form) for refusal, form in refused)
    return "low" if own else "info"


def near_miss(panel: Panel) -> Asking:
    """Honest wrong answers close to the key, and the other values of its kind: none may be paid in full."""
    return (yield from _neighbors(panel, "near_miss", other=False))


def other_answer(panel: Panel) -> Asking:
    """The keys of other rows: an answer to another question may not be paid."""
    return (yield from _neighbors(panel, "other_answer", other=True))


def _neighbors(panel: Panel, probe: str, *, other: bool) -> Asking:
    if not panel.keyed:
        return Outcome(not_run="the rows bring no reference answers")
    if not panel.verifier:
        return Outcome(not_run=NOT_A_VERIFIER)
    yield []
    keys = {item.key for item in panel.items}
    pairs = [
        (item, text, score)
        for item in panel.items
        for text, score in zip(item.wrongs, item.wrong_scores, strict=False)
        if score is not None and item.right is not None and (text in keys) == other
    ]
    if not pairs:
        return Outcome(not_run="no certainly wrong value of this kind could be made")
    floor = _floor(panel)
    paid = [(i, text, score) for i, text, score in pairs if _full(score, i.right or 0.0, floor, panel.noise)]
    certain = all(item.kind in ONE_RIGHT_VALUE for item, _, _ in paid)
    what = "The answer to another prompt" if other else "A wrong value near the key"
    message = f"{what} is paid like the key itself on {len(paid) / len(pairs):.0%} of {len(pairs)} tries"
    finding, rate = judge_share(
        probe,
        "answers to other prompts" if other else "near misses",
        [evidence(item, panel.carrier.wrap(text), score, item.right) for item, text, score in paid[:3]],
        (len(paid), len(pairs)),
        alpha=panel.alpha,
        severity=severity_of(len(paid) / len(pairs), 1.0) if certain else "info",
        message=message + ("." if certain else "; with keys of this kind it may be a second right answer."),
        advice="Compare exactly: `rewardsmith.rewards.exact_number` with `tolerance=0`, `math_equal`, `exact_text`.",
    )
    return Outcome(findings=() if finding is None else (finding,), rates=(rate,))


def _floor(panel: Panel) -> float:
    scores = [score for item in panel.items for score in item.wrong_scores if score is not None]
    return min(scores, default=0.0)


def _full(score: float, right: float, floor: float, noise: float) -> bool:
    return right - floor > noise and score >= floor + FULL * (right - floor)
