"""Probes around the answer key: is it accepted, are its other spellings, are its neighbors refused?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.equivalence import Form, equivalent, equivalent_forms, read_number, same_notation
from rewardsmith.auditing.finding import Finding, Severity
from rewardsmith.auditing.probes.answers import NOT_A_VERIFIER
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.texts import CARRIERS
from rewardsmith.auditing.trials import LEAST_SHARE, evidence, judge_share, severity_of
from rewardsmith.measures import wilson_interval

ONE_RIGHT_VALUE = frozenset({"integer", "decimal", "fraction", "percent", "choice", "boolean", "word"})
"""Kinds of keys beside which no other value can be right; elsewhere a neighbor may be another solution."""
SPELLINGS_PER_ITEM = 8
CONSTANTS = 4
NO_REPAIR = "We ship no repair for this: fix the scorer."


class Try(NamedTuple):
    """One right answer in another spelling, what it was paid, and by how many gaps that is more than a wrong one."""

    item: Item
    form: Form
    reward: float
    gain: float


def answer_key(panel: Panel) -> Asking:
    """Every key is sent in the carrier that the reward reads best; what is paid no more than a wrong one is refused."""
    if panel.verifier:
        return _refused_keys(panel)
    scored = all(score.reward is not None for score in panel.conduct.first)
    if not (panel.keyed and scored and panel.reads_answers and panel.formatted <= panel.noise <= 1e-9):
        return Outcome(not_run=_unaskable(panel))
    (nothing,) = yield [Ask([item.row.with_completion("") for item in panel.items])]
    empty = [score.reward for score in nothing if score.reward is not None]
    return Outcome(findings=(_paid_alike(panel, max(empty, default=0.0)),))


def _unaskable(panel: Panel) -> str:
    """Why there is no right answer to ask about, or ""."""
    if panel.verifier:
        return ""
    return NOT_A_VERIFIER if panel.keyed else "the rows bring no reference answers"


def _refused_keys(panel: Panel) -> Outcome:
    known = [item for item in panel.items if item.right is not None]
    usual = max((item.right or 0.0 for item in known), default=0.0)
    refused = [item for item in known if _refused(item, panel, usual)]
    low, high = wilson_interval(len(refused), len(known), alpha=panel.alpha)
    share = len(refused) / max(len(known), 1)
    if low <= LEAST_SHARE:
        return Outcome()
    finding = Finding(
        probe="answer_key",
        severity="high" if share >= 0.25 else "medium",
        message=f"The answer key itself is refused on {share:.0%} of {len(known)} rows, in the form in which the "
        f"reward accepts the others ({panel.carrier.name}).",
        value=share,
        interval=(low, high),
        n=len(known),
        advice="A refused key is a bug in the data or the verifier: `rewardsmith.rewards.math_equal` and "
        "`exact_number` leave rows unscored whose key they cannot read.",
        examples=tuple(evidence(item, panel.carrier.wrap(item.key), item.right, item.level) for item in refused[:3]),
    )
    return Outcome(findings=(finding,))


def _paid_alike(panel: Panel, empty: float) -> Finding:
    """Right and wrong are paid alike in every format: for anything at all if an empty completion gets less."""
    n, level = len(panel.items), panel.items[0].level
    anything = level > empty + 1e-9
    what = f"pays right and wrong ones alike ({level:.3g}) in all {len(CARRIERS)} usual formats"
    return Finding(
        probe="answer_key",
        severity="critical" if anything else "medium",
        message=f"The reward reads an answer, yet {what}: "
        + (
            f"it takes any answer, and only an empty one gets less ({empty:.3g})."
            if anything
            else "it refuses its own keys, or it wants a format that the audit does not know."
        ),
        value=1.0,
        interval=wilson_interval(n, n, alpha=panel.alpha),
        n=n,
        advice="If it wants a format of its own, give rows with completions that it accepts; if not, it is a bug: "
        "`rewardsmith.rewards.math_equal` and `exact_number` leave rows unscored whose key they cannot read.",
        examples=tuple(
            evidence(item, panel.carrier.wrap(item.wrongs[0]), item.wrong_scores[0], item.right)
            for item in panel.items[:3]
        ),
    )


def _refused(item: Item, panel: Panel, usual: float) -> bool:
    """Whether the key is paid no more than a wrong answer, and far less than keys of other rows."""
    right = item.right or 0.0
    return panel.gain(item, right) <= 0.05 and panel.gain(item, usual, over=right) > 0.5


def equivalent_spellings(panel: Panel) -> Asking:
    """The key in other spellings, proven equal without the reward's help; a refusal costs the policy its signal."""
    if reason := _unaskable(panel):
        return Outcome(not_run=reason)
    accepted = [i for i in panel.items if i.right is not None and panel.gain(i, i.right) > 0.5]
    cases = [(item, form) for item in accepted for form in equivalent_forms(item.key)[:SPELLINGS_PER_ITEM]]
    if not cases:
        return Outcome(not_run="the keys have no other spelling that is certainly equal")
    (scores,) = yield [Ask([item.row.with_completion(panel.carrier.wrap(form.text)) for item, form in cases])]
    tries: dict[str, list[Try]] = defaultdict(list)
    for (item, form), score in zip(cases, scores, strict=True):
        if score.reward is not None:
            tries[form.family].append(Try(item, form, score.reward, panel.gain(item, score.reward)))
    literal = not any(_taken(kept) for kept in tries.values())
    found = [_spelling(family, kept, panel, literal=literal) for family, kept in tries.items()]
    return Outcome(findings=tuple(finding for finding in found if finding is not None))


def _taken(tries: Sequence[Try]) -> bool:
    """Whether the reward takes this spelling for the key: paid in full, and not only now and then."""
    return sum(attempt.gain > 0.95 for attempt in tries) > 0.1 * len(tries)


def _spelling(family: str, tries: Sequence[Try], panel: Panel, *, literal: bool) -> Finding | None:
    refused, n = [attempt for attempt in tries if attempt.gain < 0.5], len(tries)
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
        examples=tuple(
            evidence(attempt.item, panel.carrier.wrap(attempt.form.text), attempt.reward, attempt.item.right)
            for attempt in refused[:3]
        ),
    )


def _spelling_severity(family: str, refused: Sequence[Try], *, literal: bool) -> Severity:
    """A refused spelling cannot be gamed, so it is low; a reward that forgives other things but not case is worse."""
    if literal or family == "surrounding":
        return "info"
    if family == "case":
        return "medium"
    return "low" if any(same_notation(attempt.item.key, attempt.form) for attempt in refused) else "info"


def near_miss(panel: Panel) -> Asking:
    """Honest wrong answers close to the key: none may be paid in full."""
    return (yield from _neighbors(panel, "near_miss", other=False))


def other_answer(panel: Panel) -> Asking:
    """The keys of other rows: an answer to another question may not be paid."""
    return (yield from _neighbors(panel, "other_answer", other=True))


def constant_answer(panel: Panel) -> Asking:
    """Four keys, each sent to every prompt that has another one: no constant may be paid on most prompts."""
    if reason := _unaskable(panel):
        return Outcome(not_run=reason)
    known = [item for item in panel.items if item.right is not None]
    constants = list({item.key: item for item in known}.values())[:CONSTANTS]
    tries = [[item for item in known if _other_key(item, constant)] for constant in constants]
    scores = yield [
        Ask([item.row.with_completion(panel.carrier.wrap(constant.key)) for item in items])
        for constant, items in zip(constants, tries, strict=True)
    ]
    judged = [
        _constant(panel, constant.key, [(i, s.reward) for i, s in zip(items, row, strict=True) if s.reward is not None])
        for constant, items, row in zip(constants, tries, scores, strict=True)
    ]
    found = [finding for finding, _ in judged if finding is not None]
    best = max(found, key=lambda finding: finding.value or 0.0, default=None)
    return Outcome(findings=() if best is None else (best,), rates=tuple(rate for _, rate in judged))


def _other_key(item: Item, constant: Item) -> bool:
    if item.key.strip().casefold() == constant.key.strip().casefold():
        return False
    return item.kind == "expression" or equivalent(item.key, constant.key) is not True


def _constant(panel: Panel, text: str, tried: Sequence[tuple[Item, float]]) -> tuple[Finding | None, Rate]:
    floor = _floor(panel)
    paid = [(item, score) for item, score in tried if _full(score, item.right or 0.0, floor, panel.noise)]
    share = len(paid) / max(len(tried), 1)
    enough = len({item.key for item, _ in paid}) >= 4 and share > 0.3
    finding, rate = judge_share(
        "constant_answer",
        f"the constant {text[:40]!r}",
        [evidence(item, panel.carrier.wrap(text), score, item.right) for item, score in paid[:3]],
        (len(paid), len(tried)),
        alpha=panel.alpha,
        severity=severity_of(share, 1.0),
        message=f"One and the same answer, {text[:60]!r}, is paid in full on {share:.0%} of {len(tried)} prompts that "
        "have another key.",
        advice="Check the answer against its own prompt. " + NO_REPAIR,
    )
    return (finding if enough else None), rate


def _neighbors(panel: Panel, probe: str, *, other: bool) -> Asking:
    if reason := _unaskable(panel):
        return Outcome(not_run=reason)
    keys = {item.key for item in panel.items}
    known = [item for item in panel.items if item.right is not None]
    wrongs = [
        (item, text)
        for item in known
        for text in (*item.wrongs, *(() if other else _shifted(item.key)))
        if (text in keys) == other
    ]
    swapped = _swapped(known)[:16] if other else []
    asked = [[i.row.with_completion(panel.carrier.wrap(text)) for i, text in pairs] for pairs in (wrongs, swapped)]
    apart, together = yield [Ask(asked[0]), Ask(asked[1], nonce="swapped", whole=True)]
    tried = zip((*wrongs, *swapped), (*apart, *together), strict=True)
    pairs = [(item, text, score.reward) for (item, text), score in tried if score.reward is not None]
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


def _swapped(items: Sequence[Item]) -> list[tuple[Item, str]]:
    """Each item with its neighbor's key, so that every answer is right for another row of the same call."""
    neighbors = zip(items, (*items[1:], *items[:1]), strict=True)
    return [(item, other.key) for item, other in neighbors if other.key in item.wrongs or _differ(item, other)]


def _differ(item: Item, other: Item) -> bool:
    certain = ONE_RIGHT_VALUE - {"word"}
    return item.kind == other.kind and item.kind in certain and equivalent(item.key, other.key) is False


def _shifted(key: str) -> list[str]:
    """The key's number one up, one down, and a tenth more, where it is an integer; other numbers have no neighbor."""
    number = read_number(key)
    if number is None or number.value.denominator != 1 or not key.lstrip("-").isdigit():
        return []
    value = int(number.value)
    return [str(shifted) for shifted in dict.fromkeys((value + 1, value - 1, value + max(2, abs(value) // 10)))]


def _floor(panel: Panel) -> float:
    scores = [score for item in panel.items for score in item.wrong_scores if score is not None]
    return min(scores, default=0.0)


def _full(score: float, right: float, floor: float, noise: float) -> bool:
    return right - floor > noise and score >= right - noise - 1e-9 * abs(right)
