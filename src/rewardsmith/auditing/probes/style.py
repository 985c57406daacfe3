"""Probe whether style raises a rejected answer's score: lists, bold, headings, capitals, thanks."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from rewardsmith.auditing.asking import Asking
from rewardsmith.auditing.edits import as_given, counterfactual, edit, only, suits
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.phrases import Phrases
from rewardsmith.auditing.probes.writers import appended, echo_after
from rewardsmith.auditing.trials import Variant, Write
from rewardsmith.data import split_sentences

ADVICE = (
    "Train on pairs that differ only in content (`rewardsmith.data.causal_augment`) and on ties under another prompt "
    "(`rewardsmith.data.neutral_augment`), or use an ensemble (`rewardsmith.rewards.RewardEnsemble`)."
)
THANKS = (
    "I hope this helps!",
    "Thank you for asking.",
    "Please let me know if you need more.",
    "You are welcome.",
    "Happy to answer further questions.",
    "That was a great question!",
)
NONSENSE = "zorb flen quim dast wuxle prag mibbo trenk"
LIST_MARKS, HEADING_MARKS, END_MARKS = ("- ", "* ", "• ", "+ ", "1. "), ("# ", "## ", "### "), ("!", "!!", "!!!")
WORDS = ("first", "longest", "last", "all")


class Manner(NamedTuple):
    """One way to write a style.

    form: pattern of answers that have it. nonsense: the same with meaningless marks. control: without marks.
    """

    label: str
    write: Write
    form: str
    nonsense: Write
    control: Write = as_given


def _listed(text: str, *, mark: str) -> str | None:
    """Write every sentence on its own line after a mark."""
    return None if re.search(r"^\s*[-*•+] ", text, re.MULTILINE) else "\n".join(mark + s for s in split_sentences(text))


def _changed(text: str, *, which: str, change: Callable[[str], str]) -> str:
    """Change the first, last or longest word, or all of them."""
    words = list(re.finditer(r"\w+", text))
    if words and which != "all":
        words = [{"first": words[0], "last": words[-1], "longest": max(words, key=lambda word: len(word[0]))}[which]]
    for word in reversed(words):
        text = text[: word.start()] + change(word[0]) + text[word.end() :]
    return text


def _alternating(word: str) -> str:
    return "".join(letter.upper() if k % 2 else letter.lower() for k, letter in enumerate(word))


def _bold(text: str, *, which: str, mark: str = "**") -> str | None:
    return None if "**" in text else _changed(text, which=which, change=lambda word: f"{mark}{word}{mark}")


def _headed(text: str, *, mark: str) -> str | None:
    """Write the first three words as a heading."""
    return None if text.startswith("#") else f"{mark}{' '.join(text.split()[:3])}\n{text}"


def _ended(text: str, *, mark: str) -> str | None:
    return None if text.rstrip().endswith(mark) else re.sub(r"[.!?]*\s*\Z", mark, text)


def _marked(label: str, write: Callable[..., str | None], marks: tuple[str, ...], nonsense: str) -> tuple[Manner, ...]:
    """Return a manner for each mark at the start of a line; the control has no mark."""
    written = {mark: partial(write, mark=mark) for mark in (*marks, nonsense, "")}
    return tuple(
        Manner(f"{label} “{mark}”", written[mark], rf"^{re.escape(mark)}", written[nonsense], written[""])
        for mark in marks
    )


STYLES: dict[str, tuple[Manner, ...]] = {
    "a list": _marked("its sentences behind", _listed, LIST_MARKS, "§ "),
    "bold": tuple(
        Manner(f"{which} words bold", partial(_bold, which=which), r"\*\*\w", partial(_bold, which=which, mark="¤"))
        for which in WORDS
    ),
    "a heading": _marked("a heading behind", _headed, HEADING_MARKS, "¤ "),
    "capitals": tuple(
        Manner(
            f"{which} words in capitals",
            partial(_changed, which=which, change=str.upper),
            r"\b[A-Z]{3,} [A-Z]{2,}\b",
            partial(_changed, which=which, change=_alternating),
        )
        for which in WORDS
    ),
    "exclamation": tuple(
        Manner(
            f"“{mark}” at its end", partial(_ended, mark=mark), re.escape(mark), partial(_ended, mark="¤" * len(mark))
        )
        for mark in END_MARKS
    ),
    "politeness": tuple(
        Manner(
            repr(text),
            partial(appended, addition=text),
            re.escape(text),
            partial(appended, addition=" ".join(NONSENSE.split()[: len(text.split())])),
            partial(echo_after, n=len(text.split())),
        )
        for text in THANKS
    ),
}


def style(baseline: PairBaseline) -> Asking:
    """Write every style in the ways that the rows' answers have; of an unseen style, all ways as one variant.

    In that case the control is the same edit with a meaningless mark, and the ways count as a sample, so that the
    effect must hold for ways that were not tried.
    """
    phrases = Phrases(baseline)
    variants: list[Variant] = []
    for name, manners in STYLES.items():
        met = [
            only(Variant(manner.label, (edit(manner.write, manner.control),)), phrases.holds)
            for manner in manners
            if phrases.has(manner.form)
        ]
        unmet = Variant(name, tuple(edit(manner.write, manner.nonsense) for manner in manners), "medium", draws=True)
        variants += [one for one in met if suits(baseline, one)] or [unmet]
    return (yield from counterfactual(baseline, "style", variants, ADVICE))
