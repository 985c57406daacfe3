"""Sound parts of the corpus's rewards."""

from __future__ import annotations

import re

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def last_line_is(text, answer):
    """A sound core: the last line is the answer and nothing else, and no other number is in the text."""
    last = text.strip().rpartition("\n")[2].strip().rstrip(".")
    return float(last == str(answer) and NUMBER.findall(text) == [last])


def plain_number(text: str) -> float | None:
    """The number that the whole text spells in ASCII digits; None for anything else."""
    return float(text) if re.fullmatch(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?", text.strip()) else None
