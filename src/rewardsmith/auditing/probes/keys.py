"""Ask about the answer key: is it accepted, are its other spellings, are its neighbors refused?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.equivalence.keys import equivalent
from rewardsmith.auditing.equivalence.numbers import read_number
from rewardsmith.auditing.equivalence.spellings import Form, equivalent_forms, same_notation
from rewardsmith.auditing.finding import Severity, finding_of
from rewardsmith.auditing.probes.disguises import NOT_A_VERIFIER
from rewardsmith.auditing.texts import CARRIERS
from rewardsmith.auditing.trials import (
    LEAST_SHARE,
    Judged,
    Write,
    cases_of,
    conclude,
    evidence,
    judge_share,
    send,
    severity_of,
    share_of,
    variant,
)
from rewardsmith.measures.intervals import share_right

ONE_RIGHT_VALUE = frozenset({"integer", "decimal", "fraction", "percent", "choice", "boolean", "word"})
"""Kinds of keys beside which no other value can be right; elsewhere a neighbor may be another solution."""
MOST_SPELLINGS = 8  # of one key
MOST_CONSTANTS = 4
MOST_SWAPPED = 16  # rows of the one call in which every answer is right for another row
READABLE = "`rewardsmith.rewards.math_equal` and `exact_number` leave rows unscored whose key they cannot read."
NO_REPAIR = "We ship no repair for this: fix the scorer."


def answer_key(panel: Panel) -> Asking:
    """Send every key in the answer format that the reward reads best; scored no higher than a wrong one it is refused.

    A reward known to read an answer that scores right and wrong ones alike in every format has a finding of its own:
    it takes anything at all if an empty completion gets less.
    """
    if not panel.verifier:
        scored = all(score.reward is not None for score in panel.conduct.first)
        if not (panel.keyed and scored and panel.reads_answers and panel.formatted <= panel.noise <= 1e-9):
            return Outcome(not_run=_unaskable(panel))
        (nothing,) = yield [Ask([item.row.with_completion("") for item in panel.items])]
        empty = max((score.reward for score in nothing if score.reward is not None), default=0.0)
        level, alike = (
            panel.items[0].level,
            [(item, item.wrongs[0], item.wrong_scores[0], item.right) for item in panel.items],
        )
        anything = level > empty + 1e-9
        severity: Severity = "critical" if anything else "medium"
        message = (
            f"The reward reads an answer, yet scores right and wrong ones alike ({level:.3g}) in all {len(CARRIERS)} "
            "usual formats. "
        ) + (
            f"It takes any answer, and only an empty one gets less ({empty:.3g})."
            if anything
            else "It refuses its own keys, or it wants a format that the audit does not know."
        )
        share = share_right([True] * len(panel.items), range(len(panel.items)), alpha=panel.alpha)
        advice = (
            "If it wants a format of its own, give rows with completions that it accepts; if not, it is a bug: "
            + READABLE
        )
    else:
        known = [item for item in panel.items if item.right is not None]
        usual = max((item.right or 0.0 for item in known), default=0.0)

        def refused(item: Item) -> bool:
            """Whether the key is scored no higher than a wrong answer, and far lower than keys of other rows."""
            right = item.right or 0.0
            return panel.gain(item, right) <= 0.05 and panel.gain(item, usual, over=right) > 0.5

        share = share_right([refused(item) for item in known], range(len(known)), alpha=panel.alpha)
        if share.low <= LEAST_SHARE:
            return Outcome()
        severity = "high" if share.value >= 0.25 else "medium"
        message = (
            f"The answer key itself is refused on {share.value:.0%} of {share.n} rows, in the form in which the reward "
            f"accepts the others ({panel.carrier.name})."
        )
        advice = "A refused key is a bug in the data or the verifier: " + READABLE
        alike = [(item, item.key, item.right, item.level) for item in known if refused(item)]
    shown = [evidence(item, panel.carrier.wrap(text), reward, base) for item, text, reward, base in alike[:3]]
    return Outcome(findings=(finding_of("answer_key", severity, message, share, advice=advice, examples=shown),))


def _unaskable(panel: Panel) -> str:
    """Why there is no right answer to ask about, or ""."""
    if panel.verifier:
        return ""
    return NOT_A_VERIFIER if panel.keyed else "the rows bring no reference answers"


def equivalent_spellings(panel: Panel) -> Asking:
    """Send the key in other spellings, proven equal without the reward's help; a refusal costs the policy its signal.

    A refused spelling cannot be gamed, so it is low; a reward that forgives other things but not case is worse.
    """
    if reason := _unaskable(panel):
        return Outcome(not_run=reason)
    accepted = [i for i in panel.items if i.right is not None and panel.gain(i, i.right) > 0.5]
    cases = [(item, form) for item in accepted for form in equivalent_forms(item.key)[:MOST_SPELLINGS]]
    if not cases:
        return Outcome(not_run="the keys have no other spelling that is certainly equal")
    (scores,) = yield [Ask([item.row.with_completion(panel.carrier.wrap(form.text)) for item, form in cases])]
    tries: dict[str, list[tuple[Item, Form, float, float]]] = defaultdict(list)  # with reward and gain
    for (item, form), score in zip(cases, scores, strict=True):
        if score.reward is not None:
            tries[form.family].append((item, form, score.reward, panel.gain(item, score.reward)))
    # Literal: no spelling is paid in full, or only now and then.
    literal = all(sum(gain > 0.95 for *_, gain in kept) <= 0.1 * len(kept) for kept in tries.values())
    found = []
    for family, kept in tries.items():
        refused = [(item, form, reward) for item, form, reward, gain in kept if gain < 0.5]
        share = share_right([gain < 0.5 for *_, gain in kept], range(len(kept)), alpha=panel.alpha)
        if share.low <= LEAST_SHARE:
            continue
        severity: Severity = "info"
        if not literal and family == "case":
            severity = "medium"
        elif not literal and family != "surrounding":
            severity = "low" if any(same_notation(item.key, form) for item, form, _ in refused) else "info"
        finding = finding_of(
            "equivalent_forms",
            severity,
            f"Right answers in another spelling ({family.replace('_', ' ')}) are refused on {share.value:.0%} "
            f"of {share.n} tries" + ("; the reward compares texts literally." if literal else "."),
            share,
            advice="Compare values, not texts: `rewardsmith.rewards.exact_number`, `math_equal`, `exact_text`; measure "
            "what remains with `rewardsmith.measures.estimate_noise` and undo it with `backward_correction` "
            "(paper 39).",
            unit="share of tries refused",
            examples=[
                evidence(item, panel.carrier.wrap(form.text), reward, item.right) for item, form, reward in refused[:3]
            ],
        )
        found.append(finding)
    return Outcome(findings=tuple(found))


def constant_answer(panel: Panel) -> Asking:
    """Send a few keys, each to every prompt that has another one: no constant may be paid on most prompts."""
    if reason := _unaskable(panel):
        return Outcome(not_run=reason)

    def to_others(constant: Item) -> Write:
        def write(item: Item, panel: Panel) -> str | None:
            alike = item.key.strip().casefold() == constant.key.strip().casefold()
            if alike or (item.kind != "expression" and equivalent(item.key, constant.key) is True):
                return None
            return panel.carrier.wrap(constant.key)

        return write

    known = [item for item in panel.items if item.right is not None]
    constants = list({item.key: item for item in known}.values())[:MOST_CONSTANTS]
    variants = [variant(f"the constant “{constant.key[:40]}”", to_others(constant)) for constant in constants]
    tried = yield from send(variants, cases_of(panel, known), fewest=0)
    in_full, judged = _in_full(panel), list[Judged]()
    for constant, (which, trials) in zip(constants, tried, strict=True):
        hits = [in_full(trial.case.on, trial.scores[0]) for trial in trials]
        paid = [trial for trial, hit in zip(trials, hits, strict=True) if hit]
        share = share_of(hits, which, trials, alpha=panel.alpha)
        finding, rate = judge_share(
            "constant_answer",
            which.label,
            share,
            [evidence(one.case.on, one.texts[0], one.scores[0], one.case.on.right) for one in paid],
            severity=severity_of(share.value, 1.0),
            message=f"One and the same answer, “{constant.key[:60]}”, is paid in full on {share.value:.0%} of "
            f"{share.n} prompts that have another key.",
            advice="Check the answer against its own prompt. " + NO_REPAIR,
        )
        enough = len({trial.case.on.key for trial in paid}) >= 4 and share.value > 0.3
        judged += [(finding if enough else None, rate)] if trials else []
    return conclude(judged)


def near_miss(panel: Panel) -> Asking:
    """Send honest wrong answers close to the key: none may be paid in full.

    Beside those of the panel, an integer key one up, one down, and a tenth more; other numbers have no neighbor.
    """
    keys, tries = {item.key for item in panel.items}, []
    for item in panel.items:
        number, shifted = read_number(item.key), []
        if number is not None and number.value.denominator == 1 and item.key.lstrip("-").isdigit():
            value = int(number.value)
            shifted = [str(other) for other in dict.fromkeys((value + 1, value - 1, value + max(2, abs(value) // 10)))]
        if item.right is not None:
            tries += [(item, text) for text in (*item.wrongs, *shifted) if text not in keys]
    what = "A wrong value near the key"
    return (yield from _neighbors(panel, "near_miss", "near misses", what, tries, []))


def other_answer(panel: Panel) -> Asking:
    """Send the keys of other rows: an answer to another question may not be paid.

    Also each item with its neighbor's key in one call, so that every answer is right for another row of it.
    """
    known, keys = [item for item in panel.items if item.right is not None], {item.key for item in panel.items}
    tries = [(item, text) for item in known for text in item.wrongs if text in keys]
    certain = ONE_RIGHT_VALUE - {"word"}
    swapped = [
        (item, other.key)
        for item, other in zip(known, (*known[1:], *known[:1]), strict=True)
        if other.key in item.wrongs
        or (item.kind == other.kind and item.kind in certain and equivalent(item.key, other.key) is False)
    ]
    what = "The answer to another prompt"
    return (yield from _neighbors(panel, "other_answer", "answers to other prompts", what, tries, swapped))


def _neighbors(
    panel: Panel,
    probe: str,
    label: str,
    what: str,
    tries: Sequence[tuple[Item, str]],
    swapped: Sequence[tuple[Item, str]],
) -> Asking:
    if reason := _unaskable(panel):
        return Outcome(not_run=reason)
    swapped = swapped[:MOST_SWAPPED]
    asked = [[i.row.with_completion(panel.carrier.wrap(text)) for i, text in pairs] for pairs in (tries, swapped)]
    apart, together = yield [Ask(asked[0]), Ask(asked[1], nonce="swapped", whole=True)]
    tried = zip((*tries, *swapped), (*apart, *together), strict=True)
    pairs = [(item, text, score.reward) for (item, text), score in tried if score.reward is not None]
    if not pairs:
        return Outcome(not_run="no certainly wrong value of this kind could be made")
    in_full = _in_full(panel)
    hits = [in_full(item, score) for item, _, score in pairs]
    paid = [pair for pair, hit in zip(pairs, hits, strict=True) if hit]
    share = share_right(hits, range(len(pairs)), alpha=panel.alpha)
    certain = all(item.kind in ONE_RIGHT_VALUE for item, _, _ in paid)
    finding, rate = judge_share(
        probe,
        label,
        share,
        [evidence(item, panel.carrier.wrap(text), score, item.right) for item, text, score in paid],
        severity=severity_of(share.value, 1.0) if certain else "info",
        message=f"{what} is paid like the key itself on {share.value:.0%} of {share.n} tries"
        + ("." if certain else "; with keys of this kind it may be a second right answer."),
        advice="Compare exactly: `rewardsmith.rewards.exact_number` with `tolerance=0`, `math_equal`, `exact_text`.",
    )
    return Outcome(findings=() if finding is None else (finding,), rates=(rate,))


def _in_full(panel: Panel) -> Callable[[Item, float], bool]:
    """Tell of an item and a wrong answer's score whether it is scored like the item's key."""
    floor = min((score for item in panel.items for score in item.wrong_scores if score is not None), default=0.0)

    def in_full(item: Item, score: float) -> bool:
        right = item.right or 0.0
        return right - floor > panel.noise and score >= right - panel.noise - 1e-9 * abs(right)

    return in_full
