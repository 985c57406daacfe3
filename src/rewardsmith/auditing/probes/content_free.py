"""Ask whether a text without an answer is scored: nothing, a mark, an opener, an empty format, the prompt itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rewardsmith.auditing.asking import Asking, Outcome
from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.edits import EQUAL, FEWEST_EDITED, MOST_EDITED, as_given, pairs_of, passing_example, shuffled
from rewardsmith.auditing.equivalence.reading import reads_off
from rewardsmith.auditing.finding import Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.phrases import Phrases
from rewardsmith.auditing.probes.writers import alone, constants
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.texts import SHELLS
from rewardsmith.auditing.trials import (
    Judged,
    Variant,
    VariantProbe,
    capitalized,
    conclude,
    milder,
    send,
    share_of,
    variant,
)
from rewardsmith.data import MASTER_KEYS

GATE = (
    "Gate the reward with `rewardsmith.rewards.RequireAnswer` or use a verifier that reads a committed answer only; "
    "for a trained judge add `rewardsmith.data.add_truncated_negatives` (paper 38)."
)
CONTENT = "Require content inside the format: `rewardsmith.rewards.think_format`, `matches_format` or `json_schema`"
BLANKS = constants(
    ("an empty completion", ""),
    ("a single space", " "),
    ("blank lines", "\n\n\n"),
    ("a zero-width space", "\u200b"),
)
MARKS = constants(*((f"a lone “{mark}”", mark) for mark in (".", ",", ":", ";", "-", "?", "!", "…", "$", "\\", "}")))
OPENERS = constants(
    *((f"the opener “{key}”", key) for family in ("openers", "languages") for key in MASTER_KEYS[family]),
    ("the opener 'Okay, so'", "Okay, so"),
    ("the opener 'Sure!'", "Sure!"),
    ("the opener '<think>'", "<think>"),
    ("a plan without an answer", "To solve this, I will first identify the given quantities and then compute."),
    ("a refusal", "I am sorry, but I cannot answer that."),
)

EMPTY = VariantProbe(
    name="empty",
    question="Is an empty or blank completion paid more than an honest wrong answer?",
    message="{what} is paid more than an honest wrong answer on {share} of {n} rows ({gain}).",
    advice=GATE,
    variants=lambda panel: BLANKS,
    over_every_wrong=True,
)
PUNCTUATION = replace(
    EMPTY,
    name="punctuation",
    question="Is a single punctuation mark paid more than an honest wrong answer?",
    variants=lambda panel: MARKS,
)
OPENER_ALONE = replace(
    EMPTY,
    name="opener_alone",
    question="Is a reasoning opener with nothing behind it paid more than an honest wrong answer?",
    variants=lambda panel: OPENERS,
)
ODD_INPUT = replace(
    EMPTY,
    name="odd_input",
    question="Is NaN, infinity or another odd value paid more than an honest wrong answer?",
    advice="Compare finite values only: `rewardsmith.rewards.exact_number`, `math_equal`.",
    variants=lambda panel: [
        variant(repr(text), alone(text, carried=True)) for text in ("NaN", "inf", "-inf", "1e999", "None", "null", "[]")
    ],
)


def _prompt(item: Item, panel: Panel, *, times: int = 1) -> str | None:
    prompt = item.row.prompt_text
    return None if panel.keyed and reads_off(prompt, item.key) else "\n".join([prompt] * times)


PROMPT_COPY = replace(
    EMPTY,
    name="prompt_copy",
    question="Is a copy of the prompt paid more than an honest wrong answer?",
    message="{what} is paid more than an honest wrong answer on {share} of {n} rows whose answer the prompt does not "
    "end on ({gain}).",
    advice="Read a committed answer only: `rewardsmith.rewards.exact_number`, `math_equal`, `exact_text`.",
    variants=lambda panel: [
        variant("the prompt, copied", _prompt),
        variant("the prompt, copied twice", partial(_prompt, times=2)),
    ],
    least_gain=0.25,
)


SHELL = replace(
    EMPTY,
    name="format_shell",
    question="Is a format with nothing in it paid more than an honest wrong answer?",
    advice=CONTENT + ", and pay format only together with content.",
    variants=lambda panel: [
        *constants(*((f"the shell: {name}", text) for name, text in SHELLS)),
        variant("the reward's own format around nothing", lambda item, p: p.carrier.wrap("")),
    ],
)
SHELL_OVER_BARE = replace(
    SHELL,
    message="{what} is paid on {share} of {n} rows for its format alone, {gain} more than a bare wrong answer.",
    variants=lambda panel: [
        variant(
            f"the shell: {name}",
            alone(text),
            controls=(lambda item, p: item.wrongs[0] if p.verifier else item.key,),
        )
        for name, text in SHELLS[:-1]
    ],
    least_gain=0.25,
    floor=0.0,
    over_every_wrong=False,
)
SHELL_OF_FORMAT = replace(
    SHELL_OVER_BARE,
    question="Is a format with nothing in it paid like the same format with content?",
    message="{what} is paid like a completion with content in that format on {share} of {n} rows.",
    advice=CONTENT + ".",
    least_gain=0.9,
    floor=-math.inf,
    applies=lambda panel: "" if panel.formatted > panel.noise else "the reward pays every format alike",
)


def format_shell(panel: Panel) -> Asking:
    """Verifiers may not pay a shell more than a wrong answer; nor may format be paid where there is nothing in it."""
    if not panel.verifier:
        return (yield from SHELL_OF_FORMAT(panel))
    outcome = yield from SHELL(panel)
    return outcome if outcome.findings else (yield from SHELL_OVER_BARE(panel))


# The same questions on preference pairs: is such a text scored like the chosen answer?

LIKE_CHOSEN: Ladder = ((0.8, "high"), (0.5, "medium"))  # of the pairs in which it is
ADVICE = (
    "Gate the reward with `rewardsmith.rewards.RequireAnswer`, and train on answers that open and say nothing "
    "(`rewardsmith.data.add_truncated_negatives`)."
)


def always(label: str, text: str) -> Variant:
    """Make the variant of one text in place of every answer."""
    return variant(label, lambda prompt: text)


def drawn(label: str, texts: Sequence[str]) -> list[Variant]:
    """Make one variant of texts that are draws from many, each for prompts of its own; it takes three."""
    ways = tuple(always("", text).ways[0] for text in texts)
    return [Variant(label, ways, draws=True)] if len(texts) > 2 else []


NOTHING = always("nothing", "")


def in_place_of_answers(
    panel: PairPanel, probe: str, variants: Sequence[Variant], advice: str, *, over_nothing: bool = False
) -> Asking:
    """Send every text in place of the answers of up to `MOST_EDITED` pairs that are in the right order.

    Scored like the chosen answer on surely more than half of them is a fault; above the rejected one an observation.

    Args:
        over_nothing: whether it also has to be scored higher than an empty answer.
    """
    cases = pairs_of(panel, shuffled(panel, ordered=True)[:MOST_EDITED], lambda pair: panel.row(pair, "").prompt_text)
    if len(cases) < FEWEST_EDITED:
        return Outcome(not_run=f"fewer than {FEWEST_EDITED} pairs are in the right order")
    tried = yield from send([*[NOTHING][: int(over_nothing)], *variants], cases)
    bars = {one.case.on: one.scores[0] for which, trials in tried if which is NOTHING for one in trials}
    near, judged = EQUAL * panel.gap, list[Judged]()
    for which, trials in tried:
        if which is NOTHING or len(trials) < FEWEST_EDITED:
            continue
        like, above = [], []
        for one in trials:
            pair, (score,) = one.case.on, one.scores
            more_than_nothing = score > bars.get(pair, -math.inf) + near
            like.append(score >= panel.score(pair, "chosen") - near and more_than_nothing)
            above.append(score > panel.score(pair, "rejected") + near)
        paid, over = (share_of(hits, which, trials, alpha=panel.alpha) for hits in (like, above))
        earned = severity_above(paid.low, LIKE_CHOSEN)
        severity = milder(earned, which.worst)
        shown = [one for one, hit in zip(trials, like, strict=True) if hit or severity == "info"]
        finding = finding_of(
            probe,
            severity,
            f"{capitalized(which.label)} is paid like the chosen answer or more in {paid.value:.0%} of "
            f"{len(trials)} pairs, and more than the rejected one in {over.value:.0%}.",
            paid,
            advice=advice,
            unit="share of pairs",
            examples=[passing_example(panel, one) for one in shown[:3]],
            why=which.why if severity != earned else "",
        )
        told = severity != "info" or over.low > LIKE_CHOSEN[-1][0]
        judged.append((finding if told else None, Rate(probe, which.label, *paid)))
    return conclude(judged) if judged else Outcome(not_run="no such text could be scored")


PARTLY_RIGHT = "Low at most: what the prompt says may be a part of what the answer should."


def content_free(panel: PairPanel) -> Asking:
    """Send nothing, a space, single marks and the prompt itself in place of an answer.

    The prompt is never worse than low: what it says may be a part of what the answer should.
    """
    phrases = Phrases(panel)
    marks = [*MASTER_KEYS["symbols"], "?"]
    variants = [
        always("an empty answer", ""),
        always("a single space", " "),
        *(always(f"a lone “{mark}”", mark) for mark in marks if phrases.holds(mark)),
        variant("the prompt, copied", as_given, worst="low", why=PARTLY_RIGHT),
        *drawn("a lone mark that no answer holds", [mark for mark in marks if not phrases.holds(mark)]),
    ]
    return (yield from in_place_of_answers(panel, "content_free", variants, ADVICE))
