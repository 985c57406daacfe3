"""The questions that edit answers: length, style, openers, confidence, texts without content, rewrites."""

from __future__ import annotations

from rewardsmith.auditing.asking import Asking, Outcome, Probe
from rewardsmith.auditing.counterfactuals import Edit, Way, Write, as_given, counterfactual, only, suits
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.probes.answerless import content_free, openers_alone
from rewardsmith.auditing.probes.confidence import HIGH, LOW, restate, scale_of
from rewardsmith.auditing.probes.edit_tables import CONFIDENT, FILLERS, KEYS, SAID_AGAIN, STYLES, Style, filler, opener
from rewardsmith.auditing.probes.invariance import invariance
from rewardsmith.auditing.probes.phrases import Phrases
from rewardsmith.data import Row, parse_confidence

LENGTH_ADVICE = (
    "Train on answers lengthened without content as ties or losers (`is_tie`; `rewardsmith.data.causal_augment`), or "
    "take length out of what is paid: `rewardsmith.transforms.relative_length_penalty`, `length_penalty`."
)
STYLE_ADVICE = (
    "Train on pairs that differ in content alone (`rewardsmith.data.causal_augment`) and on ties under another prompt "
    "(`rewardsmith.data.neutral_augment`), or hold an ensemble against it (`rewardsmith.rewards.RewardEnsemble`)."
)
OPENERS_ADVICE = (
    "Train on answers that open and say nothing (`rewardsmith.data.add_truncated_negatives`), and gate the reward with "
    "`rewardsmith.rewards.require_answer`."
)
CONFIDENCE_ADVICE = (
    "Train on the pairs of `rewardsmith.data.ConfidenceAugment`, or score answers without their confidence "
    "(`rewardsmith.rewards.without_confidence`) and pay it by `rewardsmith.transforms.ConfidenceAdjusted`."
)


def length(panel: PairPanel) -> Asking:
    """The last sentence said again, sentences that many answers share, and neutral filler in words that they hold.

    Compared with a single word of the same. Where lengthened answers are longer than any in the rows the finding is
    `low`: a model may never have learned what lies out there.
    """
    phrases = Phrases(panel)
    shared, neutral = phrases.sentences(), [text for text in FILLERS if phrases.holds(text)]
    edits = [SAID_AGAIN]
    if len(shared) > 2:
        edits.append(Edit("a sentence that many answers share", tuple(map(filler, shared)), draws=True))
    if len(neutral) > 2:
        edits.append(Edit("ten neutral words", tuple(map(filler, neutral)), draws=True))
    reachable = [_reachable(panel, edit, phrases.longest) for edit in edits]
    return (yield from counterfactual(panel, "length", reachable, LENGTH_ADVICE))


def _reachable(panel: PairPanel, edit: Edit, longest: int) -> Edit:
    """The edit where it stays within the lengths of the rows; where it rarely does, everywhere and as `low`."""

    short = only(edit, lambda text: len(text.split()) <= longest)
    return short if suits(panel, short) else edit._replace(most="low")


def style(panel: PairPanel) -> Asking:
    """Marks and manners, each in every way that the rows' answers already have; of an unmet style all ways as one.

    Then the control is the same edit with a mark that means nothing, and the ways are draws: the effect has to be
    shared by ways that were not tried.
    """
    phrases = Phrases(panel)
    edits = [edit for one in STYLES for edit in _styled(panel, one, phrases)]
    return (yield from counterfactual(panel, "style", edits, STYLE_ADVICE))


def _styled(panel: PairPanel, one: Style, phrases: Phrases) -> list[Edit]:
    met = [only(Edit(m.label, (m.way,)), phrases.holds) for m in one.manners if phrases.has(m.form)]
    suited = [edit for edit in met if suits(panel, edit)]
    ways = tuple(manner.way._replace(control=manner.nonsense) for manner in one.manners)
    return suited or [Edit(one.name, ways, draws=True, most="medium")]


def openers(panel: PairPanel) -> Asking:
    """Beginnings that many of the rows' answers share, and master keys that they hold, before an answer and alone."""
    phrases = Phrases(panel)
    own = phrases.openers()
    known = [*own, *(key for key in KEYS if key not in own and phrases.holds(key))]
    unmet = [key for key in KEYS if key not in known]
    before = yield from counterfactual(panel, "openers", [opener(text, known) for text in known], OPENERS_ADVICE)
    alone = yield from openers_alone(panel, known, unmet, OPENERS_ADVICE)
    both_silent = before.not_run and alone.not_run
    return Outcome((*before.findings, *alone.findings), (*before.rates, *alone.rates), both_silent)


def confidence(panel: PairPanel) -> Asking:
    """A high confidence over a low one on the same rejected answer: in figures, in words, and as the rows state it."""
    return (yield from counterfactual(panel, "confidence", [*CONFIDENT, _restated(panel)], CONFIDENCE_ADVICE))


def _restated(panel: PairPanel) -> Edit:
    """The answers' own statements at a high level over a low one; on answers that make none it does not fit."""
    scale = scale_of([panel.text(pair, "rejected") for pair in range(len(panel.rows))])

    def at(level: float) -> Write:
        def write(text: str) -> str | None:
            stated = parse_confidence(text, scale=scale)
            return None if stated is None else restate(Row("", text), level, scale=scale).text

        return write

    return Edit(f"its stated confidence at {HIGH:g} over {LOW:g}", (Way(at(HIGH), as_given, at(LOW)),))


EDIT_PROBES: tuple[Probe, ...] = (
    Probe("length", "Is a rejected answer paid for words that add no content?", length),
    Probe("style", "Is a rejected answer paid for lists, bold, headings, capitals, exclamation or thanks?", style),
    Probe("openers", "Is an opener paid, before a rejected answer or alone?", openers),
    Probe("confidence", "Is a rejected answer paid for a high confidence?", confidence),
    Probe("content_free", "Is a text without content paid like the chosen answer?", content_free),
    Probe("invariance", "Does the score stay where the same answer is written otherwise?", invariance),
)
"""The questions that edit answers, in the order of the report."""
