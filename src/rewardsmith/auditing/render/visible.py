"""Make untrusted text safe to look at: replace invisible or reordering characters by their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Literal, NamedTuple

Kind = Literal["plain", "mark", "odd"]

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks drawn as nothing
_RUN = re.compile(r"(.)\1*", re.DOTALL)
_LONGEST_RUN_SPELLED_OUT = 8
_LENGTH_OF_NOTE = 40  # shorter than the note that would replace it


class Piece(NamedTuple):
    """A stretch of text: plain, a mark for an invisible character, or a look-alike character."""

    text: str
    kind: Kind = "plain"


def visible(text: str, *, limit: int = 1200, multiline: bool = True) -> tuple[Piece, ...]:
    """Split the text into pieces safe to draw, with whitespace, zero-width and control characters visible.

    No piece has a control, format, surrogate or unassigned character; with `multiline` a line break stays (after its
    mark). Beyond `limit` characters the middle is left out and counted, as tricks are at the ends.

    >>> [tuple(piece) for piece in visible("4" + chr(0x200B))]
    [('4', 'plain'), ('U+200B', 'mark')]
    """
    if len(text) <= limit + _LENGTH_OF_NOTE:
        return tuple(_merged(_pieces(text, multiline=multiline)))
    head, tail = limit * 3 // 4, limit // 4
    note = Piece(f" … {len(text) - head - tail:,} characters left out … ", "mark")
    pieces = [*_pieces(text[:head], multiline=multiline), note, *_pieces(text[len(text) - tail :], multiline=multiline)]
    return tuple(_merged(iter(pieces)))


def plain(text: str, *, limit: int = 300) -> str:
    """Return `visible` text on one line as a string, for places that cannot style a mark."""
    return "".join(piece.text for piece in visible(text, limit=limit, multiline=False))


def _pieces(text: str, *, multiline: bool) -> Iterator[Piece]:
    for match in _RUN.finditer(text):
        character, count = match.group(1), len(match.group())
        start, end = match.span()
        if character == " ":
            at_edge = start == 0 or end == len(text) or text[start - 1] == "\n" or text[end] == "\n"
            yield Piece(" ") if count == 1 and not at_edge else Piece(_repeated("·", count), "mark")
        elif character == "\n":
            yield Piece(_repeated("↵", count), "mark")
            if multiline:
                yield Piece("\n")
        elif character == "\t":
            yield Piece(_repeated("→", count), "mark")
        elif _hidden(character):
            name = f"U+{ord(character):04X}"
            yield Piece(name if count == 1 else f"{name}×{count}", "mark")
        else:
            yield Piece(match.group(), "odd" if _look_alike(text, match) else "plain")


def _repeated(symbol: str, count: int) -> str:
    return symbol * count if count <= _LONGEST_RUN_SPELLED_OUT else f"{symbol}×{count:,}"


def _hidden(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    return (
        unicodedata.category(character) in _HIDDEN_CATEGORIES
        or character in _BLANK_LETTERS
        or unicodedata.name(character, "").startswith("VARIATION SELECTOR")
    )


def _look_alike(text: str, match: re.Match[str]) -> bool:
    """Match foreign digits, full-width and mathematical letters, and Cyrillic or Greek letters next to Latin ones."""
    character = match.group(1)
    if character.isascii():
        return False
    name = unicodedata.name(character, "")
    if unicodedata.category(character) == "Nd" or name.startswith(("FULLWIDTH ", "MATHEMATICAL ")):
        return True
    beside = text[max(match.start() - 1, 0) : match.start()] + text[match.end() : match.end() + 1]
    return name.startswith(("CYRILLIC ", "GREEK ")) and any(c.isascii() and c.isalpha() for c in beside)


def _merged(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Join neighbors of one kind; marks stay separate."""
    for kind, group in groupby(pieces, key=lambda piece: piece.kind):
        if kind == "mark":
            yield from group
        else:
            yield Piece("".join(piece.text for piece in group), kind)
