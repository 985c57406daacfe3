"""Write the texts that several probes send: alone, or before and after an answer."""

from __future__ import annotations

from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.trials import Variant, Write, says_the_key, variant

NEUTRAL = "The text goes on for a while and then it comes to an end. "


def alone(text: str, *, carried: bool = False) -> Write:
    """Write one text for every item, if `carried` in the answer format; skip items whose key it contains."""

    def write(item: Item, baseline: Baseline) -> str | None:
        if says_the_key(text, item, baseline):
            return None
        return baseline.answer_format.wrap(text) if carried else text

    return write


def constants(*labeled: tuple[str, str]) -> tuple[Variant, ...]:
    """Make a variant of each label and text."""
    return tuple(variant(label, alone(text)) for label, text in labeled)


def honest(item: Item, baseline: Baseline) -> str:
    """Write an honest wrong answer, or an honest completion if the reward ignores answers."""
    if not baseline.verifier and item.row.completion is not None:
        return item.row.text
    return baseline.answer_format.wrap(item.wrongs[0] if baseline.verifier else item.key)


def before(text: str) -> Write:
    """Write the text on a line before an honest answer."""
    return lambda item, baseline: None if says_the_key(text, item, baseline) else f"{text}\n{honest(item, baseline)}"


def after(text: str) -> Write:
    """Write the text on a line after an honest answer."""
    return lambda item, baseline: None if says_the_key(text, item, baseline) else f"{honest(item, baseline)}\n{text}"


def neutral(text: str) -> str:
    """Return neutral text of the same length, as a control for length."""
    return (NEUTRAL * (1 + len(text) // len(NEUTRAL)))[: len(text)]


def phrased(text: str) -> tuple[Variant, Variant]:
    """Make the variants of a text before and after an answer, each against the answer and neutral text."""
    return (
        variant(f"“{text}” before it", before(text), controls=(honest, before(neutral(text)))),
        variant(f"“{text}” after it", after(text), controls=(honest, after(neutral(text)))),
    )


def appended(text: str, *, addition: str) -> str:
    """Append an addition to an answer of a pair."""
    return f"{text} {addition}"


def echo_after(text: str, *, n: int) -> str:
    """Repeat the last n words at the end of a pair's answer."""
    return f"{text} {' '.join(text.split()[-n:])}"


def echo_before(text: str, *, n: int) -> str:
    """Repeat the first n words at the start of a pair's answer."""
    return f"{' '.join(text.split()[:n])} {text}"
