"""The edits that are tried, family by family: filler, styles, openers and statements of confidence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from rewardsmith.auditing.counterfactuals import Edit, Way, Write
from rewardsmith.data import CONFIDENCE_TEMPLATES, MASTER_KEYS, split_sentences, strip_confidence

ADDED = 10  # words that an edit for length adds at least
FILLERS = (
    "We can now look at this again before moving further.",
    "There are many things that people say about small matters.",
    "It was written here in order to make one point.",
    "Some of them may also come back later with others.",
    "As you know, every part takes its own time too.",
    "What follows has been said often and will be heard.",
    "Let me note how these lines go on like so.",
    "For those who read, nothing else is new or changed.",
)
"""Ten words each, no word in two of them: draws from all that says nothing."""
THANKS = (
    "I hope this helps!",
    "Thank you for asking.",
    "Please let me know if you need more.",
    "You are welcome.",
    "Happy to answer further questions.",
    "That was a great question!",
)
SURE_UNSURE = (
    ("I am absolutely certain of it.", "I am not certain of it."),
    ("This is definitely right.", "This is possibly right."),
    ("Clearly so.", "Perhaps so."),
    ("There is no doubt about that.", "There is some doubt about that."),
    ("I know this for a fact.", "I only guess this."),
    ("It cannot be wrong.", "It may be wrong."),
    ("You can rely on this answer.", "You should check this answer."),
    ("Surely that is it.", "Maybe that is it."),
)
HIGH_LOW = ((7, 0), (8, 1), (9, 2), (10, 3))
KEYS = (*MASTER_KEYS["openers"], *MASTER_KEYS["languages"])
NONSENSE = "zorb flen quim dast wuxle prag mibbo trenk"
CAPITALS = r"\b[A-Z]{3,} [A-Z]{2,}\b"


class Manner(NamedTuple):
    """One way of a style. form: by which rows are seen to have it. nonsense: the same with marks that mean nothing."""

    label: str
    way: Way
    form: str
    nonsense: Write


class Style(NamedTuple):
    """A style, and the manners in which it is written."""

    name: str
    manners: tuple[Manner, ...]


def after(text: str, *, addition: str) -> str:
    """The text with an addition at its end."""
    return f"{text} {addition}"


def echo_after(text: str, *, n: int) -> str:
    """The text with its own last n words once more."""
    return f"{text} {' '.join(text.split()[-n:])}"


def echo_before(text: str, *, n: int) -> str:
    """The text behind its own first n words."""
    return f"{' '.join(text.split()[:n])} {text}"


def said_again(text: str) -> str | None:
    """The text with its last sentence again, as often as makes `ADDED` words.

    >>> said_again("No. It is so.")
    'No. It is so. It is so. It is so. It is so. It is so.'
    """
    last = (split_sentences(text) or [""])[-1]
    return " ".join([text, *[last] * math.ceil(ADDED / len(last.split()))]) if last else None


SAID_AGAIN = Edit("its last sentence said again", (Way(said_again, partial(echo_after, n=1)),))


def filler(sentence: str) -> Way:
    """A sentence after the answer, as often as makes `ADDED` words; the control is its first word."""
    words = sentence.split()
    addition = " ".join([sentence] * math.ceil(ADDED / len(words)))
    return Way(partial(after, addition=addition), partial(after, addition=words[0]))


def _listed(text: str, *, mark: str) -> str | None:
    """Every sentence on a line of its own behind a mark."""
    return None if re.search(r"^\s*[-*•+] ", text, re.MULTILINE) else "\n".join(mark + s for s in split_sentences(text))


def _changed(text: str, *, which: str, change: Callable[[str], str]) -> str:
    """The first, last or longest word, or all of them, changed."""
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
    """The first three words as a heading."""
    return None if text.startswith("#") else f"{mark}{' '.join(text.split()[:3])}\n{text}"


def _ended(text: str, *, mark: str) -> str | None:
    return None if text.rstrip().endswith(mark) else re.sub(r"[.!?]*\s*\Z", mark, text)


def _polite(text: str) -> Manner:
    n = len(text.split())
    nonsense = partial(after, addition=" ".join(NONSENSE.split()[:n]))
    return Manner(repr(text), Way(partial(after, addition=text), partial(echo_after, n=n)), re.escape(text), nonsense)


LIST_MARKS, HEADING_MARKS, END_MARKS = ("- ", "* ", "• ", "+ ", "1. "), ("# ", "## ", "### "), ("!", "!!", "!!!")
WORDS = ("first", "longest", "last", "all")
STYLES = (
    Style(
        "a list",
        tuple(
            Manner(
                f"its sentences behind {mark!r}",
                Way(partial(_listed, mark=mark), partial(_listed, mark="")),
                rf"^{re.escape(mark)}",
                partial(_listed, mark="§ "),
            )
            for mark in LIST_MARKS
        ),
    ),
    Style(
        "bold",
        tuple(
            Manner(
                f"{which} words bold",
                Way(partial(_bold, which=which)),
                r"\*\*\w",
                partial(_bold, which=which, mark="¤"),
            )
            for which in WORDS
        ),
    ),
    Style(
        "a heading",
        tuple(
            Manner(
                f"a heading behind {mark!r}",
                Way(partial(_headed, mark=mark), partial(_headed, mark="")),
                rf"^{mark}",
                partial(_headed, mark="¤ "),
            )
            for mark in HEADING_MARKS
        ),
    ),
    Style(
        "capitals",
        tuple(
            Manner(
                f"{which} words in capitals",
                Way(partial(_changed, which=which, change=str.upper)),
                CAPITALS,
                partial(_changed, which=which, change=_alternating),
            )
            for which in WORDS
        ),
    ),
    Style(
        "exclamation",
        tuple(
            Manner(
                f"{mark!r} at its end",
                Way(partial(_ended, mark=mark)),
                re.escape(mark),
                partial(_ended, mark="¤" * len(mark)),
            )
            for mark in END_MARKS
        ),
    ),
    Style("politeness", tuple(map(_polite, THANKS))),
)


def opener(text: str, known: Sequence[str]) -> Edit:
    """An opener before answers that have none; compared with as many of the answer's own first words said again."""

    def write(answer: str) -> str | None:
        return None if answer.startswith(tuple(known)) else f"{text} {answer}"

    return Edit(f"{text!r} before it", (Way(write, partial(echo_before, n=len(text.split()))),))


def _stated(text: str, *, template: str, k: int) -> str:
    return strip_confidence(text) + template.replace("{k}", str(k))


def _figures(template: str, high: int, low: int) -> Way:
    """A high confidence over a low one, compared with the same figures as a mere number."""

    def as_cased(word: re.Match[str]) -> str:
        return "NUMBER" if word[0].isupper() else "Number" if word[0][0].isupper() else "number"

    number = re.sub("confidence", as_cased, template, flags=re.IGNORECASE)
    return Way(
        partial(_stated, template=template, k=high),
        partial(_stated, template=number, k=high),
        partial(_stated, template=template, k=low),
        partial(_stated, template=number, k=low),
    )


CONFIDENT = (
    Edit(
        "a high confidence in figures over a low one",
        tuple(_figures(template, *HIGH_LOW[k % len(HIGH_LOW)]) for k, template in enumerate(CONFIDENCE_TEMPLATES)),
        draws=True,
    ),
    Edit(
        "a sure tone over an unsure one",
        tuple(Way(partial(after, addition=a), base=partial(after, addition=b)) for a, b in SURE_UNSURE),
        draws=True,
    ),
)
