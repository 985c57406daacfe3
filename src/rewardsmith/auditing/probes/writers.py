"""Write the texts that several probes send: alone, or before and after an answer."""

from __future__ import annotations

from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.trials import Variant, Write, says_the_key, variant

NEUTRAL = "The text goes on for a while and then it comes to an end. "


def alone(text: str, *, carried: bool = False) -> Write:
    """Write one text for every item, `carried` in the answer format; not where it happens to hold the key."""

    def write(item: Item, panel: Panel) -> str | None:
        if says_the_key(text, item, panel):
            return None
        return panel.carrier.wrap(text) if carried else text

    return write


def constants(*labeled: tuple[str, str]) -> tuple[Variant, ...]:
    """Make a variant of each label and text."""
    return tuple(variant(label, alone(text)) for label, text in labeled)


def honest(item: Item, panel: Panel) -> str:
    """Write an honest wrong answer; for rewards that do not look at answers, an honest completion."""
    if not panel.verifier and item.row.completion is not None:
        return item.row.text
    return panel.carrier.wrap(item.wrongs[0] if panel.verifier else item.key)


def before(text: str) -> Write:
    """Write the text on a line before an honest answer."""
    return lambda item, panel: None if says_the_key(text, item, panel) else f"{text}\n{honest(item, panel)}"


def after(text: str) -> Write:
    """Write the text on a line after an honest answer."""
    return lambda item, panel: None if says_the_key(text, item, panel) else f"{honest(item, panel)}\n{text}"


def neutral(text: str) -> str:
    """Return as many characters that say nothing, so that pay for length is not taken for pay for the phrase."""
    return (NEUTRAL * (1 + len(text) // len(NEUTRAL)))[: len(text)]


def phrased(text: str) -> tuple[Variant, Variant]:
    """Make the variants of a text before and after an answer, compared with it alone and with neutral characters."""
    return (
        variant(f"“{text}” before it", before(text), controls=(honest, before(neutral(text)))),
        variant(f"“{text}” after it", after(text), controls=(honest, after(neutral(text)))),
    )


def appended(text: str, *, addition: str) -> str:
    """Write an answer of a pair with an addition at its end."""
    return f"{text} {addition}"


def echo_after(text: str, *, n: int) -> str:
    """Write an answer of a pair with its own last n words once more."""
    return f"{text} {' '.join(text.split()[-n:])}"


def echo_before(text: str, *, n: int) -> str:
    """Write an answer of a pair behind its own first n words."""
    return f"{' '.join(text.split()[:n])} {text}"
