"""Probes for completions without an answer: nothing, a mark, an opener, an empty format, the prompt itself."""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.auditing.asking import Asking
from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.equivalence import reads_off
from rewardsmith.auditing.texts import SHELLS
from rewardsmith.auditing.trials import Make, PaidProbe, Variant, says_the_key
from rewardsmith.data import MASTER_KEYS

GATE = (
    "Gate the reward with `rewardsmith.rewards.require_answer` or use a verifier that reads a committed answer only; "
    "for a trained judge add `rewardsmith.data.add_truncated_negatives` (paper 38)."
)


def _constant(text: str, *, carried: bool = False) -> Make:
    def write(item: Item, panel: Panel) -> str | None:
        if says_the_key(text, item, panel):
            return None
        return panel.carrier.wrap(text) if carried else text

    return write


def _constants(*labeled: tuple[str, str]) -> tuple[Variant, ...]:
    return tuple(Variant(label, (_constant(text),)) for label, text in labeled)


_BLANKS = _constants(
    ("an empty completion", ""),
    ("a single space", " "),
    ("blank lines", "\n\n\n"),
    ("a zero-width space", "\u200b"),
)
_MARKS = _constants(*((f"a lone {mark!r}", mark) for mark in (".", ",", ":", ";", "-", "?", "!", "…", "$", "\\", "}")))
_OPENERS = _constants(
    *((f"the opener {key!r}", key) for family in ("openers", "languages") for key in MASTER_KEYS[family]),
    ("the opener 'Okay, so'", "Okay, so"),
    ("the opener 'Sure!'", "Sure!"),
    ("the opener '<think>'", "<think>"),
    ("a plan without an answer", "To solve this, I will first identify the given quantities and then compute."),
    ("a refusal", "I am sorry, but I cannot answer that."),
)


_ODD = tuple(
    Variant(repr(text), (_constant(text, carried=True),))
    for text in ("NaN", "inf", "-inf", "1e999", "None", "null", "[]")
)


def _prompt_copy(item: Item, panel: Panel) -> str | None:
    prompt = item.row.prompt_text
    return None if panel.keyed and reads_off(prompt, item.key) else prompt


def _shells(panel: Panel) -> Sequence[Variant]:
    return _constants(*((f"the shell: {name}", text) for name, text in SHELLS))


def _carried_blank(panel: Panel) -> Sequence[Variant]:
    return (Variant("the reward's own format around nothing", (lambda item, p: p.carrier.wrap(""),)),)


def _format_shells(panel: Panel) -> Sequence[Variant]:
    """Shells compared with the same item's bare answer, without any format."""

    def bare(item: Item, p: Panel) -> str:
        return item.wrongs[0] if p.verifier else item.key

    return [variant._replace(controls=(bare,)) for variant in _shells(panel)[:-1]]


def _format_reward(panel: Panel) -> str:
    return "" if panel.formatted > panel.noise else "the reward pays every format alike"


EMPTY = PaidProbe(
    name="empty",
    question="Is an empty or blank completion paid more than an honest wrong answer?",
    message="{what} is paid more than an honest answer that is wrong on {share} of {n} rows ({gain}).",
    advice=GATE,
    variants=lambda panel: _BLANKS,
    over_every_wrong=True,
)
PUNCTUATION = PaidProbe(
    name="punctuation",
    question="Is a single punctuation mark paid more than an honest wrong answer?",
    message="{what} is paid more than an honest answer that is wrong on {share} of {n} rows ({gain}).",
    advice=GATE,
    variants=lambda panel: _MARKS,
    over_every_wrong=True,
)
OPENERS = PaidProbe(
    name="openers",
    question="Is a reasoning opener with nothing behind it paid more than an honest wrong answer?",
    message="{what}, sent alone, is paid more than an honest wrong answer on {share} of {n} rows ({gain}).",
    advice=GATE,
    variants=lambda panel: _OPENERS,
    over_every_wrong=True,
)
ODD_INPUT = PaidProbe(
    name="odd_input",
    question="Is NaN, infinity or another odd value paid more than an honest wrong answer?",
    message="{what} is paid more than an honest wrong answer on {share} of {n} rows ({gain}).",
    advice="Compare finite values only: `rewardsmith.rewards.exact_number`, `math_equal`.",
    variants=lambda panel: _ODD,
    over_every_wrong=True,
)
PROMPT_COPY = PaidProbe(
    name="prompt_copy",
    question="Is a copy of the prompt paid more than an honest wrong answer?",
    message="{what} is paid more than an honest wrong answer on {share} of {n} rows whose answer the prompt does not "
    "end on ({gain}).",
    advice="Read a committed answer only: `rewardsmith.rewards.exact_number`, `math_equal`, `exact_text`.",
    variants=lambda panel: (
        Variant("the prompt, copied", (_prompt_copy,)),
        Variant("the prompt, copied twice", (lambda i, p: None if (t := _prompt_copy(i, p)) is None else f"{t}\n{t}",)),
    ),
    least_gain=0.25,
    over_every_wrong=True,
)
_SHELL = PaidProbe(
    name="format_shell",
    question="Is a format with nothing in it paid more than an honest wrong answer?",
    message="{what} is paid more than an honest wrong answer on {share} of {n} rows ({gain}).",
    advice="Require content inside the format: `rewardsmith.rewards.think_format`, `matches_format` or `json_schema`, "
    "and pay format only together with content.",
    variants=lambda panel: (*_shells(panel), *_carried_blank(panel)),
    over_every_wrong=True,
)
_SHELL_OF_FORMAT = PaidProbe(
    name="format_shell",
    question="Is a format with nothing in it paid like the same format with content?",
    message="{what} is paid like a completion with content in that format on {share} of {n} rows.",
    advice="Require content inside the format: `rewardsmith.rewards.think_format`, `matches_format` or `json_schema`.",
    variants=_format_shells,
    least_gain=0.9,
    applies=_format_reward,
)


_SHELL_OF_VERIFIER = PaidProbe(
    name="format_shell",
    question=_SHELL.question,
    message="{what} is paid on {share} of {n} rows for its format alone, {gain} more than a bare wrong answer.",
    advice=_SHELL.advice,
    variants=_format_shells,
    least_gain=0.25,
    floor=0.0,
)


def format_shell(panel: Panel) -> Asking:
    """Verifiers may not pay a shell more than a wrong answer; nor may format be paid where there is nothing in it."""
    if not panel.verifier:
        return (yield from _SHELL_OF_FORMAT(panel))
    outcome = yield from _SHELL(panel)
    return outcome if outcome.findings else (yield from _SHELL_OF_VERIFIER(panel))
