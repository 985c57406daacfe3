"""Probe strictness: which other spellings of the right answer a verifier refuses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

from rewardsmith.auditing.asking import Ask, Asking, Outcome, in_turn
from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.finding import Severity, finding_of
from rewardsmith.auditing.probes.keys import unaskable
from rewardsmith.auditing.remedies import verifier_for
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.texts import ANSWER_FORMATS
from rewardsmith.auditing.trials import LEAST_SHARE, evidence
from rewardsmith.equivalence.keys import key_kind
from rewardsmith.equivalence.spellings import SENTENCE, Spelling, restated, same_notation, spellings_of
from rewardsmith.measures.intervals import Share, share_right

MOST_SPELLINGS = 8  # of one key
MOST_SHOWN = 6  # classes of spellings in a message
STRICT = 1 / 3
"""A reward is strict if the interval of the share of right spellings that it refuses lies above this."""

Try = tuple[Item, Spelling, float, float]
"""A spelling of an item's key, with its reward and gain."""


def strictness(baseline: Baseline) -> Asking:
    """Send the key in other spellings, proven equal; a refusal costs the policy its signal.

    It cannot be gamed, so it is `medium` at most: if the reward is strict, or if only the case differs.
    """
    if not baseline.verifier:
        return unaskable(baseline)
    if baseline.learned:
        reason = "the answers were learned from completions, so their equal forms are not known"
        return Outcome(not_run=reason, applies=False)
    accepted = [i for i in baseline.items if i.right is not None and baseline.gain(i, i.right) > 0.5]
    forms = [[(item, form) for form in _forms(item.key, baseline)] for item in accepted]
    most = baseline.sizes.others
    cases = in_turn(forms, most if most is None or most > len(baseline.items) else most // 2)
    if not cases:
        return Outcome(not_run="the keys have no other spelling that is provably equal", applies=False)
    (scores,) = yield [Ask([item.row.with_completion(_text(form, baseline)) for item, form in cases])]
    classes: dict[str, list[Try]] = defaultdict(list)
    for (item, form), score in zip(cases, scores, strict=True):
        if score.reward is not None:
            classes[form.family].append((item, form, score.reward, baseline.gain(item, score.reward)))
    tries = list(chain.from_iterable(classes.values()))
    if not tries:
        return Outcome(not_run="no other spelling could be scored")
    share, by_class = _refused(tries, baseline), {name: _refused(own, baseline) for name, own in classes.items()}
    rates = tuple(Rate("strictness", name.replace("_", " "), *own) for name, own in by_class.items())
    refused = [one for one in tries if one[3] < 0.5]
    if share.low <= LEAST_SHARE and all(own.low <= LEAST_SHARE for own in by_class.values()):
        return Outcome(rates=rates, n=share.n)
    # Literal: hardly any spelling scores like the key.
    literal = all(sum(gain > 0.95 for *_, gain in own) <= 0.1 * len(own) for own in classes.values())
    cased = not literal and "case" in by_class and by_class["case"].low > LEAST_SHARE
    own_notation = any(same_notation(item.key, form) for item, form, *_ in refused if form.family != "surrounding")
    severity: Severity = "medium" if share.low > STRICT or cased else "low" if own_notation and not literal else "info"
    worst = sorted(((own.value, name) for name, own in by_class.items() if own.value), reverse=True)[:MOST_SHOWN]
    named = ", ".join(f"{name.replace('_', ' ')} {value:.0%}" for value, name in worst)
    finding = finding_of(
        "strictness",
        severity,
        f"Right answers in another spelling are refused on {share.value:.0%} of {share.n} tries ({named})."
        + (" The reward compares texts literally." if literal else "")
        + (" It reads no answer beside other words." if baseline.accepted == (ANSWER_FORMATS[0].name,) else ""),
        share,
        advice=f"Compare values, not texts: {_accepting(refused)}. Measure the remaining error with "
        "`rewardsmith.measures.estimate_noise` and correct it with `backward_correction` (paper 39).",
        unit="share of right spellings refused",
        examples=[evidence(item, _text(form, baseline), reward, item.right) for item, form, reward, _ in refused[:3]],
    )
    return Outcome(findings=(finding,), rates=rates, n=share.n)


def _forms(key: str, baseline: Baseline) -> list[Spelling]:
    """Return other right forms of a key; as a sentence only where the reward reads "The answer is ..."."""
    others = [form for form in restated(key) if form.family != SENTENCE or "sentence" in baseline.accepted]
    return [*spellings_of(key)[:MOST_SPELLINGS], *others]


def _text(form: Spelling, baseline: Baseline) -> str:
    return form.text if form.family == SENTENCE else baseline.answer_format.wrap(form.text)


def _refused(tries: Sequence[Try], baseline: Baseline) -> Share:
    prompts = [item.row.prompt_text for item, *_ in tries]
    return share_right([gain < 0.5 for *_, gain in tries], prompts, alpha=baseline.alpha)


def _accepting(refused: Sequence[Try]) -> str:
    """Return our verifier for such keys, with the share of the refused spellings that it accepts, if it is most."""
    from rewardsmith import rewards

    name = verifier_for({key_kind(item.key) for item, *_ in refused})
    named = f"`rewardsmith.rewards.{name}`"
    try:
        scores = getattr(rewards, name)([form.text for _, form, *_ in refused], [item.key for item, *_ in refused])
    except ImportError:  # an extra is not installed
        return named
    share = sum(map(bool, scores)) / len(scores)
    return f"{named} accepts {share:.0%} of these" if share >= 0.5 else named
