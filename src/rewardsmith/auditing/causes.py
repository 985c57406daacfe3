"""Group findings with one cause: a rule that predicts the scores of the audit explains the findings it predicts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import partial
from statistics import median
from typing import NamedTuple

from rewardsmith.auditing.baseline import Baseline
from rewardsmith.auditing.finding import Example, Finding, clip, worst
from rewardsmith.auditing.report import ranked
from rewardsmith.auditing.texts import AnswerFormat
from rewardsmith.equivalence.numbers import read_number
from rewardsmith.measures.intervals import rank_correlations

AGREES = 0.9  # least share of the rewarded texts that a rule predicts, and of the predicted ones that are rewarded
REWARDED = 0.9  # of right minus wrong
ACCEPTED = ("share of rows", "share of rows scored higher")  # units of findings on texts that the reward accepts
SHARED = 20  # characters that two texts have in common by more than chance
Content = tuple[str, str, str]
"""A scored row: its prompt, its completion and its answer column as text."""
Feature = Callable[[str, str], float]
"""A number that a prompt and a completion have."""


class Rule(NamedTuple):
    """A guess at which texts a reward accepts.

    said: the guess in words, after "accepted wherever".
    holds: whether it accepts a text, given the key.
    heads: the probes that name such a flaw best, best first.
    """

    said: str
    holds: Callable[[str, str], bool]
    heads: tuple[str, ...]


def _values(text: str, key: str) -> list[str]:
    """Return the numbers in a text if the key is one, else its words."""
    numeric = any(character.isdigit() for character in key)
    return re.findall(r"-?\d+(?:\.\d+)?(?:/\d+)?" if numeric else r"[^\W\d_]+", text.casefold())


def _other_number(text: str, key: str) -> bool:
    return read_number(text.strip().rstrip(".")) is not None and key.strip() not in text


def _is_part(text: str, key: str) -> bool:
    return bool(text.strip()) and text.strip() in key


COMMITMENT = ("misplaced_answer", "uncommitted", "enumeration")
RULES = (
    Rule("the text is not another number", lambda text, key: not _other_number(text, key), ("opener_alone", "empty")),
    Rule("the key occurs", lambda text, key: key.casefold() in text.casefold(), ("superset", *COMMITMENT[::-1])),
    Rule("the key is among the values", lambda text, key: key.casefold() in _values(text, key), COMMITMENT[::-1]),
    Rule("the last value is the key", lambda text, key: _values(text, key)[-1:] == [key.casefold()], COMMITMENT),
    Rule("the first value is the key", lambda text, key: _values(text, key)[:1] == [key.casefold()], COMMITMENT),
    Rule("the text is a part of the key", _is_part, ("substring",)),
    Rule("the text begins with the key", lambda text, key: text.strip().startswith(key), ("superset",)),
    Rule("the text ends with the key", lambda text, key: text.strip().rstrip(".").endswith(key), ("superset",)),
)


def _repeated(prompt: str, text: str) -> float:
    asked, said = (frozenset(re.findall(r"\w+", own.casefold())) for own in (prompt, text))
    return len(asked & said) / max(len(asked), 1)


FOLLOWED: tuple[tuple[str, Feature, str], ...] = (
    ("the share of the prompt's words that it repeats", _repeated, "prompt_copy"),
    ("its number of words", lambda prompt, text: len(text.split()), "length_gain"),
)
"""What the score of a reward without a key may follow, in words and as a function, and the probe that names it."""
PARTS = (
    ("constant_answer", "other_answer"),
    *((symptom, "prompt_cache") for symptom in ("answer_key", "batch_dependence", "determinism")),
    *(("search", cause) for cause in ("length_gain", "confident_tone", "grader_instructions", "format_shell")),
    ("search", "prompt_copy"),
    *(("search", cause) for cause in ("opener_alone", "punctuation", "empty", "keywords")),
    *(("keywords", cause) for cause in ("confident_tone", "grader_instructions")),
    ("format_shell", "empty"),
    ("duplicate_calls", "extra_calls"),
)
"""Probes of which one may show what is wrong with the other: symptom, cause."""
WITH_TEXTS = frozenset({"search", "keywords", "format_shell"})
"""Symptoms whose texts must hold those of the cause."""


def grouped(findings: Sequence[Finding], scored: Mapping[Content, float | None], baseline: Baseline) -> list[Finding]:
    """Return one finding per cause, with the findings that it explains as `symptoms`.

    Args:
        findings: of all probes.
        scored: every text of the audit with its reward.
    """
    faults = [finding for finding in findings if finding.severity != "info" and finding.examples]
    if len(faults) < 2:
        return list(findings)
    kept, accepted = list(findings), [one for one in faults if one.unit in ACCEPTED]
    if baseline.verifier:
        rule, note = _best_rule(scored, baseline)
        explained = [one for one in accepted if rule is not None and _predicted(one, rule, baseline)]
        names = [name for name in (rule.heads if rule else ()) if any(one.probe == name for one in explained)]
        head = names[0] if names else ranked(explained)[0].probe if explained else ""
    else:
        head, explained, note = _followed(scored, accepted)
    if len(explained) > 1 and any(one.probe == head for one in explained):
        kept = _under(kept, head, explained, note)
    return by_parts(kept)


def by_parts(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, with those of one probe under the worst one whose part they are (`PARTS`)."""
    kept = list(findings)
    for symptom in dict.fromkeys(symptom for symptom, _ in PARTS):
        faults = [one for one in kept if one.severity != "info"]
        for one in [one for one in faults if one.probe == symptom]:
            causes = [
                other
                for other in faults
                if (symptom, other.probe) in PARTS and (symptom not in WITH_TEXTS or _shares(one, other))
            ]
            if causes:
                cause = ranked(causes)[0]
                kept = _under(kept, cause.probe, [one, cause])
    return kept


def _followed(scored: Mapping[Content, float | None], faults: Sequence[Finding]) -> tuple[str, list[Finding], str]:
    """Return the probe that names what the scores of all texts follow, what it explains, and a sentence about it."""
    known = [(prompt, text, reward) for (prompt, text, _), reward in scored.items() if reward is not None]
    for said, feature, head in FOLLOWED:
        columns = [(feature(prompt, text), reward) for prompt, text, reward in known]
        agrees = rank_correlations(columns)[0, 1] if len(columns) > 2 else 0.0
        if agrees > AGREES:
            note = f"The score of a text follows {said} (rank correlation {agrees:.2f} over {len(known):,} texts)."
            return head, [one for one in faults if _no_more(one.examples[0], feature, columns)], note
    return "", [], ""


def _no_more(example: Example, feature: Feature, columns: Sequence[tuple[float, float]]) -> bool:
    """Return whether a text scores no more than most texts with more of a feature."""
    own = feature(example.prompt, example.completion)
    return (example.reward or 0.0) <= median([reward for value, reward in columns if value > own] or [math.inf])


def _under(findings: Iterable[Finding], cause: str, explained: Sequence[Finding], note: str = "") -> list[Finding]:
    """Put findings under that of the cause, which gets the worst severity among them."""
    head = next(one for one in explained if one.probe == cause)
    below = [replace(one, cause=cause, symptoms=()) for one in explained if one is not head]
    below += [replace(one, cause=cause) for group in explained for one in group.symptoms]
    head = replace(
        head,
        severity=worst(explained) or head.severity,
        why=head.why if worst(explained) == head.severity else "",
        message=f"{head.message} {note}".strip(),
        symptoms=ranked(below),
    )
    return [head, *(one for one in findings if not any(one is other for other in explained))]


def _best_rule(scored: Mapping[Content, float | None], baseline: Baseline) -> tuple[Rule | None, str]:
    """Return the rule that agrees best with the scores, if it agrees with nearly all, and a sentence about it."""
    items = {(item.row.prompt_text, str(item.row.columns.get("answer"))): item for item in baseline.items}
    texts: list[tuple[str, str, bool]] = []  # with the key, and whether it is rewarded like it
    for (prompt, text, answer), reward in scored.items():
        item = items.get((prompt, answer))
        if item is not None and reward is not None:
            texts.append((text, item.key, baseline.gain(item, reward) >= REWARDED))
    texts.sort(key=lambda text: not text[2])
    n_rewarded = sum(rewarded for *_, rewarded in texts)
    best, found, note = AGREES, None, ""
    for rule in (*RULES, *_rules_inside(baseline.answer_format)):
        agrees = _agreement(rule, texts, n_rewarded, best)
        if agrees > best:
            best, found = agrees, rule
            note = f"A text is accepted wherever {rule.said} ({agrees:.0%} of {n_rewarded:,} accepted texts agree)."
    return found, note


def _agreement(rule: Rule, texts: Sequence[tuple[str, str, bool]], n_rewarded: int, least: float) -> float:
    """Return |predicted ∩ rewarded| / max(|predicted|, |rewarded|), or 0 once it cannot exceed `least`."""
    right, extra = n_rewarded, 0
    for text, key, rewarded in texts:
        said = rule.holds(text, key)
        if said != rewarded:
            right, extra = right - rewarded, extra + said
            if right <= least * max(right + extra, n_rewarded):
                return 0.0
    return right / max(right + extra, n_rewarded, 1)


def _rules_inside(answer_format: AnswerFormat) -> list[Rule]:
    """Return the rules on what stands inside the reward's answer format, if it has a mark to find it by."""
    before, _, after = answer_format.wrap("\0").partition("\0")
    if not before.split():
        return []
    inside, where = partial(_inside, opening=before.split()[-1], closing=after.strip()), f" in {answer_format.name}"
    unread = f"no other number can be parsed{where}, also where nothing can be parsed"
    return [
        Rule(unread, lambda text, key: not _other_number(inside(text) or "", key), RULES[0].heads),
        *(rule._replace(said=rule.said + where, holds=partial(_holds, rule=rule, inside=inside)) for rule in RULES),
    ]


def _holds(text: str, key: str, *, rule: Rule, inside: Callable[[str], str | None]) -> bool:
    own = inside(text)
    return own is not None and rule.holds(own, key)


def _inside(text: str, *, opening: str, closing: str) -> str | None:
    """Return what stands in the last answer format of a text, or None.

    >>> _inside("so \\\\boxed{4} or \\\\boxed{5}", opening="\\\\boxed{", closing="}")
    '5'
    """
    _, found, rest = text.rpartition(opening)
    return (rest.partition(closing)[0] if closing.strip(".") else rest) if found else None


def _predicted(finding: Finding, rule: Rule, baseline: Baseline) -> bool:
    """Return whether the rule accepts every text behind a finding, as far as the report shows it in full."""
    items = {clip(item.row.prompt_text): item for item in baseline.items}
    whole = [one for one in finding.examples if one.prompt in items and clip(one.completion) == one.completion]
    return bool(whole) and all(
        rule.holds(one.completion, (item := items[one.prompt]).key)
        and REWARDED <= baseline.gain(item, one.reward or 0.0) <= 2 - REWARDED  # no rule explains more than a right one
        for one in whole
    )


def _shares(symptom: Finding, cause: Finding) -> bool:
    """Return whether a text behind the symptom contains one behind the cause, or the word that one of them is about."""
    about = [one for one in (symptom, cause) if one.probe == "keywords"]
    text = _without_prompt(symptom.examples[0])
    if about and (word := re.search("“(.+?)”", about[0].message)):
        return word[1] in (cause.examples[0].completion if about[0] is symptom else text)
    parts = [_without_prompt(one) for one in cause.examples if one.completion.strip()]
    if not parts:
        return not text.strip()
    sizes = [SequenceMatcher(None, text, part, autojunk=False).find_longest_match().size for part in parts]
    return any(size >= min(SHARED, len(part.strip())) for size, part in zip(sizes, parts, strict=True))


def _without_prompt(example: Example) -> str:
    """Return the completion with a mark for each copy of its prompt, which differs from row to row."""
    return example.completion.replace(example.prompt, "{prompt}") if example.prompt else example.completion
