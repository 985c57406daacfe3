"""Rewards and their tests as short texts, so that a file which an agent may rewrite runs without running its code."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rewardsmith.scoring.calling import Unscored, shorten

NUMBER = r"(-?\d{1,6}(?:\.\d{1,6})?)"
RULE = re.compile(rf"{NUMBER} (?:always|when (\S+) (is|has) (\S.*))")
EXPECTED = re.compile(rf"answer (\S.*) gives {NUMBER}")


def run_rules(rules: str | None, *, answer: str | None, files: Mapping[str, str]) -> float | Unscored:
    """Return the reward that a text of rules gives: the sum of the numbers whose condition holds.

        NUMBER always
        NUMBER when answer is TEXT          or has TEXT, which asks for a part of it
        NUMBER when FILE is TEXT            or has TEXT; a file that is missing is and has nothing

    Case, and spaces at the ends, do not count. Empty lines and those that begin with # are skipped.

    Args:
        rules: the text; None where its file is missing.
        answer: what the agent answered; None where it did not, which is and has nothing.

    Returns:
        The reward, or why there is none: a line that is no rule, or no rule at all. That is never a reward of 0.

    >>> run_rules("0.4 when answer is 12\\n1 when log.txt has done", answer="12", files={"log.txt": "not yet"})
    0.4
    >>> run_rules("return 1", answer="12", files={})
    Unscored(why="the reward cannot be read: 'return 1' is no rule", reason='none')
    """
    lines = _lines(rules)
    if not lines:
        return Unscored(f"the reward cannot be read: it {'is missing' if rules is None else 'holds no rule'}")
    total = 0.0
    for line in lines:
        match = RULE.fullmatch(line)
        if match is None:
            return Unscored(f"the reward cannot be read: {shorten(ascii(line))} is no rule")
        points, subject, how, text = match.groups()
        found = None if subject is None else answer if subject == "answer" else files.get(subject)
        if subject is None or (found is not None and _fits(found, how, text)):
            total += float(points)
    return total


def run_tests(tests: str | None, *, rules: str | None, files: Mapping[str, str]) -> bool | Unscored:
    """Return whether a text of tests finds a reward as it should be.

        answer TEXT gives NUMBER

    Returns:
        False where an answer gets another reward or none. If the tests themselves cannot be read, why.

    >>> run_tests("answer 12 gives 0.4", rules="1 always", files={})
    False
    """
    lines = _lines(tests)
    if not lines:
        return Unscored(f"the tests cannot be read: they {'are missing' if tests is None else 'hold no test'}")
    passed = True
    for line in lines:
        match = EXPECTED.fullmatch(line)
        if match is None:
            return Unscored(f"the tests cannot be read: {shorten(ascii(line))} is no test")
        found = run_rules(rules, answer=match[1], files=files)
        passed &= not isinstance(found, Unscored) and abs(found - float(match[2])) < 1e-9
    return passed


def _lines(text: str | None) -> list[str]:
    lines = [line.strip() for line in (text or "").split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def _fits(found: str, how: str, text: str) -> bool:
    found, text = found.strip().casefold(), text.strip().casefold()
    return found == text if how == "is" else text in found
