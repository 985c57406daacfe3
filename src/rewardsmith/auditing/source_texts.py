"""Collect the texts that a reward looks for: string constants and patterns of its functions, read and never run."""

from __future__ import annotations

import re
import warnings
from typing import Any

from rewardsmith.scoring.code import strings_in

MOST_TEXTS = 24
MOST_ALTERNATIVES = 8  # of one pattern
LONGEST = 80  # characters
ANYTHING = "…"  # written where a pattern matches nearly any character
_SPECIAL = re.compile(r"[\\|\[\](){}*+?^$]")


def texts_in(reward: Any) -> list[str]:
    """Return up to `MOST_TEXTS` texts that a reward's code names; of a pattern, short texts that it matches.

    A reward model has none.

    >>> def polite(completions):
    ...     return [float(bool(re.search("please|thank(s| you)", c))) for c in completions]
    >>> texts_in(polite)
    ['please', 'thanks', 'thank you']
    """
    if hasattr(reward, "content_digest"):
        return []
    found: dict[str, None] = {}
    for text in strings_in(reward):
        for word in matches_of(text) if _SPECIAL.search(text) else [text]:
            if 2 <= len(word.strip()) <= LONGEST and re.search(r"\w", word):
                found[word.strip()] = None
    return list(found)[:MOST_TEXTS]


def matches_of(pattern: str) -> list[str]:
    """Return short texts that a regular expression matches, one for each of its alternatives.

    >>> matches_of(r"score:\\s*10/10|\\b(well|nicely) done"), matches_of("(")
    (['score:10/10', 'well done', 'nicely done'], ['('])
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except (re.error, RecursionError, OverflowError):
        return [pattern]
    return list(dict.fromkeys(_written(list(parsed))))[:MOST_ALTERNATIVES]


def _written(nodes: list[Any]) -> list[str]:
    """Write the shortest text of each alternative of a parsed pattern."""
    texts = [""]
    for operator, given in nodes:
        name, options = str(operator), [""]
        if name == "LITERAL":
            options = [chr(given)]
        elif name in ("ANY", "NOT_LITERAL"):
            options = [ANYTHING]
        elif name == "IN":
            options = [_one_of(given)]
        elif name == "BRANCH":
            options = [text for branch in given[1] for text in _written(list(branch))]
        elif name == "SUBPATTERN":
            options = _written(list(given[-1]))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            options = [text * min(given[0], 20) for text in _written(list(given[2]))]
        elif name == "ATOMIC_GROUP":
            options = _written(list(given))
        texts = [text + option for text in texts for option in dict.fromkeys(options)][:MOST_ALTERNATIVES]
    return texts


def _one_of(members: list[Any]) -> str:
    """Return one character of a set of characters."""
    usual = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "x"}
    operator, given = members[0]
    if str(operator) == "NEGATE":
        return ANYTHING
    if str(operator) == "LITERAL":
        return chr(given)
    if str(operator) == "RANGE":
        return chr(given[0])
    return usual.get(str(given), "x")
