"""Probe the answer key: whether it and its other spellings are accepted, and its neighbors refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewardsmith.auditing.asking import Ask, Asking, Outcome, in_turn
from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.finding import Severity, finding_of
from rewardsmith.auditing.probes.disguises import NOT_A_VERIFIER
from rewardsmith.auditing.trials import (
    LEAST_SHARE,
    Judged,
    Write,
    cases_of,
    conclude,
    evidence,
    judge_share,
    milder,
    send,
    severity_of,
    share_of,
    variant,
    why_mild,
)
from rewardsmith.equivalence.keys import equivalent
from rewardsmith.equivalence.numbers import read_number
from rewardsmith.measures.intervals import most_share, share_right

ONE_RIGHT_VALUE = frozenset({"integer", "decimal", "fraction", "percent", "choice", "boolean", "word", "calls"})
"""Kinds of keys with only one right value; for others a neighbor may be a second solution."""
FULL_MARKS = 1.0
"""Score from which one that all answers get is full marks; below it, it may be what an unknown format gets."""
MOST_CONSTANTS = 4
MOST_SWAPPED = 16  # rows of a single call in which every answer is another row's key
READABLE = "`rewardsmith.rewards.math_equal` and `exact_number` leave rows with an unreadable key unscored."
NO_REPAIR = "Fix the scorer, as no component repairs this."


def answer_key(baseline: Baseline) -> Asking:
    """Send every key in the format that scores best; it is refused if it scores no higher than a wrong answer.

    A reward that reads an answer, but scores right and wrong ones equally in every format, accepts anything if that
    score is full marks. Else its format may be unknown, and it is not judged.
    """
    if not baseline.verifier:
        scored = all(score.reward is not None for score in baseline.conduct.first)
        level = baseline.items[0].level
        if not (baseline.unread and scored and level >= FULL_MARKS and baseline.formatted <= baseline.noise <= 1e-9):
            return unaskable(baseline)
        (nothing,) = yield [Ask([item.row.with_completion("") for item in baseline.items])]
        empty = max((score.reward for score in nothing if score.reward is not None), default=0.0)
        alike = [(item, item.wrongs[0], item.wrong_scores[0], item.right) for item in baseline.items]
        rest = f"Only an empty one scores less ({empty:.3g})." if empty < level else "So does an empty one."
        message = f"The reward accepts any answer: right and wrong ones score {level:.3g} in every format. {rest}"
        share = share_right([True] * len(baseline.items), range(len(baseline.items)), alpha=baseline.alpha)
        severity: Severity = severity_of(share.low, 1.0)
        advice = "Compare the answer with the key. " + READABLE
    else:
        known = [item for item in baseline.items if item.right is not None]
        usual = max((item.right or 0.0 for item in known), default=0.0)

        def refused(item: Item) -> bool:
            """Return whether the key scores no higher than a wrong answer, and far lower than other rows' keys."""
            right = item.right or 0.0
            return baseline.gain(item, right) <= 0.05 and baseline.gain(item, usual, over=right) > 0.5

        share = share_right([refused(item) for item in known], range(len(known)), alpha=baseline.alpha)
        if share.low <= LEAST_SHARE:
            return Outcome(n=share.n, bound=most_share(share.value * share.n, share.n))
        severity = milder("high", severity_of(share.low, 1.0))
        message = (
            f"The answer key is refused on {share.value:.0%} of {share.n} rows, in the format in which the others are "
            f"accepted ({baseline.answer_format.name})."
        )
        advice = "A refused key is a bug in the data or the verifier: " + READABLE
        alike = [(item, item.key, item.right, item.level) for item in known if refused(item)]
    shown = [evidence(item, baseline.answer_format.wrap(text), reward, base) for item, text, reward, base in alike[:3]]
    return Outcome(findings=(finding_of("answer_key", severity, message, share, advice=advice, examples=shown),))


def unaskable(baseline: Baseline) -> Outcome:
    """Return the outcome of a question about right answers to a reward that is no verifier."""
    reason = baseline.blind or (NOT_A_VERIFIER if baseline.keyed else "the rows have no reference answers")
    return Outcome(not_run=reason, applies=bool(baseline.blind or baseline.unread))


def constant_answer(baseline: Baseline) -> Asking:
    """Send a few keys to every prompt with another key; no constant may score high on most prompts."""
    if not baseline.verifier:
        return unaskable(baseline)

    def to_others(constant: Item) -> Write:
        def write(item: Item, baseline: Baseline) -> str | None:
            alike = item.key.strip().casefold() == constant.key.strip().casefold() or item.accepts(constant.key)
            if alike or (item.kind != "expression" and equivalent(item.key, constant.key) is True):
                return None
            return baseline.answer_format.wrap(constant.key)

        return write

    most = baseline.sizes.others
    known = [item for item in baseline.items if item.right is not None][:most]
    n_constants = MOST_CONSTANTS if most is None else max(1, min(MOST_CONSTANTS, most // max(len(known), 1)))
    constants = list({item.key: item for item in known}.values())[:n_constants]
    variants = [variant(f"the constant “{constant.key[:40]}”", to_others(constant)) for constant in constants]
    tried = yield from send(variants, cases_of(baseline, known), fewest=0)
    in_full, judged = _in_full(baseline), list[Judged]()
    for constant, (which, trials, n_unfit) in zip(constants, tried, strict=True):
        hits = [in_full(trial.case.on, trial.scores[0]) for trial in trials]
        higher = [trial for trial, hit in zip(trials, hits, strict=True) if hit]
        share = share_of(hits, which, trials, alpha=baseline.alpha)
        whole = share_of(hits, which, trials, alpha=baseline.alpha, n_unfit=n_unfit)
        finding, rate = judge_share(
            "constant_answer",
            which.label,
            share,
            [evidence(one.case.on, one.texts[0], one.scores[0], one.case.on.right) for one in higher],
            severity=severity_of(whole.low, 1.0),
            message=f"The same answer, “{constant.key[:60]}”, scores like the key on {share.value:.0%} of {share.n} "
            "prompts that have another key.",
            advice="Check the answer against its own prompt. " + NO_REPAIR,
            why=why_mild(severity_of(whole.low, 1.0), share, whole),
            whole=whole,
        )
        enough = len({trial.case.on.key for trial in higher}) >= 4 and share.value > 0.3
        judged += [(finding if enough else None, rate)] if trials else []
    return conclude(judged)


def near_miss(baseline: Baseline) -> Asking:
    """Send honest wrong answers close to the key; none may score like the key.

    These are the baseline's wrong answers, and an integer key plus 1, minus 1 and plus a tenth of it, and with a
    fraction, which a tolerance or a cut to whole numbers would excuse.
    """
    keys, tries = {item.key for item in baseline.items}, list[list[tuple[Item, str]]]()
    most = baseline.sizes.others
    for item in baseline.items:
        number, shifted, fractions = read_number(item.key), list[str](), list[str]()
        if number is not None and number.value.denominator == 1 and item.key.lstrip("-").replace(",", "").isdigit():
            value = int(number.value)
            fractions = [f"{value}.4", f"{value}.9", f"{value - 1}.6" if value > 0 else f"{value}.6"]
            shifted = [str(other) for other in dict.fromkeys((value + 1, value - 1, value + max(2, abs(value) // 10)))]
        if item.right is not None:
            # On a small budget only those that the baseline has scored.
            few = most is not None and most <= len(baseline.items)
            # Then each row has one of the fractions in turn.
            tried = (*item.ends, *fractions[len(tries) % 3 :][:1]) if few else (*item.wrongs, *shifted, *fractions)
            tries.append([(item, text) for text in tried if text not in keys and not item.accepts(text)])
    what, laid = "A wrong value near the key", in_turn(tries, most)
    return (yield from _neighbors(baseline, "near_miss", "near misses", what, laid, []))


def other_answer(baseline: Baseline) -> Asking:
    """Send the keys of other rows; none may score like the row's own key.

    One further call gives each item its neighbor's key, so that every answer is right for another row.
    """
    known, keys = [item for item in baseline.items if item.right is not None], {item.key for item in baseline.items}
    tries = in_turn([[(i, text) for text in i.wrongs if text in keys] for i in known], baseline.sizes.others)
    certain = ONE_RIGHT_VALUE - {"word"}
    swapped = [
        (item, other.key)
        for item, other in zip(known, (*known[1:], *known[:1]), strict=True)
        if other.key in item.wrongs
        or (
            not item.accepts(other.key)
            and (item.kind == other.kind and item.kind in certain and equivalent(item.key, other.key) is False)
        )
    ]
    what = "The answer to another prompt"
    return (yield from _neighbors(baseline, "other_answer", "answers to other prompts", what, tries, swapped))


def _neighbors(
    baseline: Baseline,
    probe: str,
    label: str,
    what: str,
    tries: Sequence[tuple[Item, str]],
    swapped: Sequence[tuple[Item, str]],
) -> Asking:
    if not baseline.verifier:
        return unaskable(baseline)
    swapped = swapped[: min(MOST_SWAPPED, baseline.sizes.conduct)]
    asked = [
        [i.row.with_completion(baseline.answer_format.wrap(text)) for i, text in pairs] for pairs in (tries, swapped)
    ]
    apart, together = yield [Ask(asked[0]), Ask(asked[1], nonce="swapped", whole=True)]
    tried = zip((*tries, *swapped), (*apart, *together), strict=True)
    pairs = [(item, text, score.reward) for (item, text), score in tried if score.reward is not None]
    if not pairs:
        return Outcome(not_run="no provably wrong value of this kind could be made", applies=False)
    in_full = _in_full(baseline)
    hits = [in_full(item, score) for item, _, score in pairs]
    higher = [pair for pair, hit in zip(pairs, hits, strict=True) if hit]
    asked_of = [item.row.prompt_text for item, _, _ in pairs]
    share = share_right(hits, asked_of, alpha=baseline.alpha)
    unfit = [item.row.prompt_text for item in baseline.items if item.row.prompt_text not in asked_of]
    whole = share_right([*hits, *[False] * len(unfit)], [*asked_of, *unfit], alpha=baseline.alpha)
    certain = all(item.kind in ONE_RIGHT_VALUE for item, _, _ in higher)
    finding, rate = judge_share(
        probe,
        label,
        share,
        [evidence(item, baseline.answer_format.wrap(text), score, item.right) for item, text, score in higher],
        severity=severity_of(whole.low, 1.0) if certain else "info",
        message=f"{what} scores like the key on {share.value:.0%} of {share.n} tries."
        + ("" if certain else " For this kind of key it may be a second right answer."),
        advice="Compare exactly: `rewardsmith.rewards.exact_number` with `tolerance=0`, `math_equal`, `exact_text`.",
        why=why_mild(severity_of(whole.low, 1.0), share, whole) if certain else "",
        whole=whole,
    )
    return conclude([(finding, rate)])


def _in_full(baseline: Baseline) -> Callable[[Item, float], bool]:
    """Return a test whether a wrong answer scores like the item's key."""
    floor = min((score for item in baseline.items for score in item.wrong_scores if score is not None), default=0.0)

    def in_full(item: Item, score: float) -> bool:
        right = item.right or 0.0
        return right - floor > baseline.noise and score >= right - baseline.noise - 1e-9 * abs(right)

    return in_full
