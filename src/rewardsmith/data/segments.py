"""Segments of a text: sentences, and the clauses of a sentence, as written."""

from __future__ import annotations

import re
from itertools import pairwise

_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s+[^a-z\s])|\n+")
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s[–—](?=\s)")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, without the blanks around them.

    A sentence ends with `.`, `!` or `?` before a blank and what is no small letter, and with a line. Abbreviations
    before a capital (`Dr. Who`) divide too: what matters is that both sides of a comparison are divided alike.

    >>> split_sentences('It is 3.5 m long. "Is it?" Yes, e.g. here.')
    ['It is 3.5 m long.', '"Is it?"', 'Yes, e.g. here.']
    """
    return _pieces(text, _SENTENCE_END)


def split_clauses(text: str) -> list[str]:
    """The clauses of every sentence of `text`: pieces that end with a comma, semicolon, colon or dash, or a sentence.

    Wu et al. 2023, arXiv:2306.01693, whose relevance reward speaks of sub-sentences.

    >>> split_clauses("It is long, and old; 1,000 years. So what?")
    ['It is long,', 'and old;', '1,000 years.', 'So what?']
    """
    return [clause for sentence in split_sentences(text) for clause in _pieces(sentence, _CLAUSE_END)]


def _pieces(text: str, end: re.Pattern[str]) -> list[str]:
    cuts = [0, *(match.end() for match in end.finditer(text)), len(text)]
    pieces = [text[start:stop].strip() for start, stop in pairwise(cuts)]
    return [piece for piece in pieces if piece]
