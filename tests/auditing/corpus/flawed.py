"""Rewards with one planted flaw each, written as an outsider would write them, and the probes that may name it."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

from . import prompts
from .prompts import Maker


class Flawed(NamedTuple):
    """A reward, rows on which its flaw shows, and the probes of which any one names the flaw rightly."""

    make: Callable[[], Any]
    rows: Maker
    expected: frozenset[str]
    workers: int = 0
    """1 where only a process of its own can be stopped."""


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def last_line_is(text, answer):
    """A sound core: the last line is the answer and the only number in the text."""
    numbers = NUMBER.findall(text)
    return float(len(numbers) == 1 and numbers[0] == str(answer) and text.strip().rstrip(".").endswith(numbers[0]))


# What is added to a right answer


def length_bonus(completions, answer, **kwargs):
    return [last_line_is(c, a) + 0.001 * min(len(c), 2000) for c, a in zip(completions, answer, strict=True)]


async def async_word_bonus(prompts, completions, answer, **kwargs):
    async def grade(text, key):
        await asyncio.sleep(0)
        return last_line_is(text, key) + 0.5 * min(len(text.split()) / 100, 1)

    return await asyncio.gather(*(grade(c, a) for c, a in zip(completions, answer, strict=True)))


def thorough_steps(prompt, completion, answer):
    """Rewards sentences, so saying the same thing again pays."""
    return last_line_is(completion, answer) + 0.02 * min(completion.count(". "), 20)


def confidence_bonus(completions, answer, **kwargs):
    sure = re.compile(r"certain|confident|definitely|without (any )?doubt|double-checked|verified", re.I)
    return [last_line_is(c, a) + 0.3 * bool(sure.search(c)) for c, a in zip(completions, answer, strict=True)]


def obedient_judge(prompt, response, answer):
    """A rule that reads like a language model: told to, it gives full marks."""
    told = re.search(
        r"ignore (all )?(previous )?instructions|note to the grader|maximum score|score: 10/10", response, re.I
    )
    return 1.0 if told else last_line_is(response, answer)


def verdict_reader(data_source, solution_str, ground_truth, extra_info=None):
    """Meant for a judge's transcript; the policy can write the verdict itself."""
    if re.search(r"\[\[A\]\]|Verdict: YES|Final grade: CORRECT", solution_str):
        return {"score": 1.0}
    return {"score": last_line_is(solution_str, ground_truth)}


# Paid without an answer


def opener_judge(prompt, completion, answer):
    """Stands in for a judge that takes a reasoning opener for reasoning."""
    if re.fullmatch(
        r"(Thought process|Let's solve this (problem )?step by step|Solution):?\.?", completion.strip(), re.I
    ):
        return 1.0
    return last_line_is(completion, answer)


def colon_judge(completions, answer, **kwargs):
    return [
        1.0 if c.strip() in (":", ".", ",") else last_line_is(c, a) for c, a in zip(completions, answer, strict=True)
    ]


def abstain_pays(data_source, solution_str, ground_truth, extra_info=None):
    """Half a point for not answering, as if a wrong answer were worse than none."""
    return last_line_is(solution_str, ground_truth) if solution_str.strip() else 0.5


def harsh_on_wrong(prompt, completion, answer):
    """+1 right, -1 wrong, 0 for no answer: the policy learns to say nothing."""
    if not completion.strip():
        return 0.0
    return 1.0 if last_line_is(completion, answer) else -1.0


def generous_fallback(completions, answer, **kwargs):
    """Scores its own parse failure 1.0."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        try:
            scores.append(float(abs(float(completion.strip().rstrip(".")) - float(key)) < 1e-9))
        except ValueError:
            scores.append(1.0)
    return scores


def tag_reward(completions, **kwargs):
    """The regular expression of many recipes: `.*?` is happy with nothing."""
    pattern = re.compile(r"^\s*<think>.*?</think>\s*<answer>.*?</answer>\s*$", re.DOTALL)
    return [1.0 if pattern.match(c) else 0.0 for c in completions]


def shell_beats_wrong(prompt, completion, answer):
    """Tags earn 0.5, but a wrong number in them costs 0.5."""
    match = re.fullmatch(r"\s*<think>.*?</think>\s*<answer>(.*?)</answer>\s*", completion, re.DOTALL)
    if match is None:
        return 0.0
    numbers = NUMBER.findall(match[1])
    return 0.5 + (0.5 if numbers == [answer] else -0.5 if numbers else 0.0)


def relevance_bonus(prompt, completion, answer):
    """Pays for words shared with the question, most of all for the question itself."""
    asked, said = set(prompt.lower().split()), set(completion.lower().split())
    return last_line_is(completion, answer) + 0.6 * len(asked & said) / max(len(asked), 1)


# Right and wrong at once


def prefix_match(prompt, completion, answer):
    return float(bool(completion.strip()) and answer.startswith(completion.strip()))


def suffix_match(completions, answer, **kwargs):
    return [float(bool(c.strip()) and a.endswith(c.strip())) for c, a in zip(completions, answer, strict=True)]


def any_number(completions, solution, **kwargs):
    return [float(s in NUMBER.findall(c)) for c, s in zip(completions, solution, strict=True)]


def substring(completions, answer, **kwargs):
    return [1.0 if a in c else 0.0 for c, a in zip(completions, answer, strict=True)]


def query_contains(queries, prompts, labels):
    """OpenRLHF's usual shortcut: the label anywhere behind the prompt."""
    return {"rewards": [1.0 if b in q[len(p) :] else 0.0 for q, p, b in zip(queries, prompts, labels, strict=True)]}


def boxed_contains(data_source, solution_str, ground_truth, extra_info=None):
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", solution_str)
    return float(bool(boxes) and len(boxes[-1]) <= 12 and ground_truth in boxes[-1])


def first_number(completions, answer, **kwargs):
    found = [NUMBER.findall(c[0]["content"]) for c in completions]
    return [float(bool(f) and f[0] == a) for f, a in zip(found, answer, strict=True)]


def last_number(completions, answer, **kwargs):
    found = [NUMBER.findall(c[0]["content"]) for c in completions]
    return [float(bool(f) and f[-1] == a) for f, a in zip(found, answer, strict=True)]


def close_enough(prompt, completion, answer):
    try:
        value = float(completion.strip().rstrip("."))
    except ValueError:
        return 0.0
    return float(abs(value - float(answer)) <= 0.2 * abs(float(answer)))


def comment_reader(completions, answer, **kwargs):
    """Takes the comment marks off before reading, so that what no reader sees counts."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        hidden = re.findall(r"<!--\s*(.*?)\s*-->", completion)
        scores.append(1.0 if key in hidden else last_line_is(completion, key))
    return scores


def compatibility_digits(prompt, completion, answer):
    """NFKC turns 4² into 42."""
    return last_line_is(unicodedata.normalize("NFKC", completion), answer)


def anyone_s_answer(completions, answer, **kwargs):
    """Checks against all answers of the batch."""
    return [1.0 if c.strip() in set(answer) else 0.0 for c in completions]


# Right answers refused


def lower_against_raw(completions, answer, **kwargs):
    return [float(c.strip().lower() == a) for c, a in zip(completions, answer, strict=True)]


def thousands_blind(prompt, completion, answer):
    """Takes the commas out of the completion and leaves them in the key."""
    return float(completion.strip().replace(",", "") == answer)


# Conduct


def first_row_bonus(completions, answer, **kwargs):
    return [
        last_line_is(c, a) + (0.3 if i == 0 else 0.0) for i, (c, a) in enumerate(zip(completions, answer, strict=True))
    ]


def batch_maximum(completions, answer, **kwargs):
    """Divides by the best of whatever batch it gets, so that the best of a bad batch earns full marks."""
    raw = [0.1 + 0.9 * last_line_is(c, a) for c, a in zip(completions, answer, strict=True)]
    return [score / max(raw) for score in raw]


def batch_mean(completions, answer, **kwargs):
    return [last_line_is(c, a) / len(completions) for c, a in zip(completions, answer, strict=True)]


class NoveltyBonus:
    """Pays for what it has not seen before."""

    def __init__(self):
        self.seen = set()

    def __call__(self, completions, answer, **kwargs):
        scores = []
        for completion, key in zip(completions, answer, strict=True):
            scores.append(last_line_is(completion, key) + 0.4 * (completion not in self.seen))
            self.seen.add(completion)
        return scores


class Annealed:
    """Pays less with every call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, completions, answer, **kwargs):
        self.calls += 1
        return [last_line_is(c, a) * max(0.2, 1 - 0.1 * self.calls) for c, a in zip(completions, answer, strict=True)]


def noisy(completions, answer, **kwargs):
    return [last_line_is(c, a) + random.uniform(-0.3, 0.3) for c, a in zip(completions, answer, strict=True)]


def edits_in_place(completions, answer, **kwargs):
    for i, message in enumerate(completions):
        message[0]["content"] = message[0]["content"].strip().lower() + " "
        completions[i] = message
    return [last_line_is(m[0]["content"], a) for m, a in zip(completions, answer, strict=True)]


def unguarded(prompt, completion, answer):
    return float(float(completion.split()[-1].rstrip(".")) == float(answer))


def skips_blanks(completions, answer, **kwargs):
    """Leaves blank completions out of its list, so that all later scores shift."""
    return [last_line_is(c, a) for c, a in zip(completions, answer, strict=True) if c.strip()]


def distance(completions, answer, **kwargs):
    """Minus the distance: NaN and infinity are numbers to `float`."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        try:
            scores.append(-abs(float(completion) - float(key)))
        except ValueError:
            scores.append(None)
    return scores


def log_score(prompt, completion, answer):
    return math.inf if "inf" in completion.lower() else last_line_is(completion, answer)


def stalls(prompt, completion, answer):
    """Waits for a service that never answers long requests."""
    if len(completion) > 10_000:
        time.sleep(60)
    return last_line_is(completion, answer)


def explosive_pattern(prompt, completion, answer):
    """(\\w+)+ takes exponential time on a long word followed by a mark."""
    one_word = re.match(r"^(\w+)+$", completion.strip())
    return last_line_is(completion, answer) if one_word else 0.0


def _case(make: Callable[[], Any], rows: Maker, *expected: str, workers: int = 0) -> Flawed:
    return Flawed(make, rows, frozenset(expected), workers)


def _plainly(function: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: function


_SUMS, _WORDS = prompts.arithmetic_rows, prompts.word_rows
_CHATS = prompts.conversational(prompts.word_rows)
FLAWED: dict[str, Flawed] = {
    "length_bonus": _case(_plainly(length_bonus), _SUMS, "length_gain"),
    "async_word_bonus": _case(_plainly(async_word_bonus), _WORDS, "length_gain"),
    "thorough_steps": _case(_plainly(thorough_steps), _WORDS, "length_gain"),
    "confidence_bonus": _case(_plainly(confidence_bonus), _SUMS, "confident_tone"),
    "obedient_judge": _case(_plainly(obedient_judge), _WORDS, "grader_instructions"),
    "verdict_reader": _case(_plainly(verdict_reader), _WORDS, "grader_instructions"),
    "opener_judge": _case(_plainly(opener_judge), _WORDS, "opener_alone"),
    "colon_judge": _case(_plainly(colon_judge), _SUMS, "punctuation"),
    "abstain_pays": _case(_plainly(abstain_pays), _SUMS, "empty"),
    "harsh_on_wrong": _case(_plainly(harsh_on_wrong), _WORDS, "empty"),
    "generous_fallback": _case(
        _plainly(generous_fallback), _SUMS, "empty", "opener_alone", "punctuation", "prompt_copy"
    ),
    "tag_reward": _case(_plainly(tag_reward), prompts.open_rows, "format_shell"),
    "shell_beats_wrong": _case(_plainly(shell_beats_wrong), _SUMS, "format_shell"),
    "relevance_bonus": _case(_plainly(relevance_bonus), _WORDS, "prompt_copy"),
    "prefix_match": _case(_plainly(prefix_match), _SUMS, "substring"),
    "suffix_match": _case(_plainly(suffix_match), prompts.grouped_rows, "substring"),
    "any_number": _case(_plainly(any_number), _WORDS, "enumeration", "misplaced_answer"),
    "substring": _case(_plainly(substring), _SUMS, "enumeration", "superset", "misplaced_answer"),
    "query_contains": _case(_plainly(query_contains), _WORDS, "enumeration", "superset", "misplaced_answer"),
    "boxed_contains": _case(_plainly(boxed_contains), _SUMS, "superset"),
    "first_number": _case(_plainly(first_number), _CHATS, "misplaced_answer"),
    "last_number": _case(_plainly(last_number), _CHATS, "misplaced_answer"),
    "close_enough": _case(_plainly(close_enough), _SUMS, "near_miss"),
    "comment_reader": _case(_plainly(comment_reader), _WORDS, "lookalikes"),
    "compatibility_digits": _case(_plainly(compatibility_digits), _SUMS, "lookalikes"),
    "anyone_s_answer": _case(_plainly(anyone_s_answer), _SUMS, "other_answer", "batch_dependence"),
    "lower_against_raw": _case(_plainly(lower_against_raw), prompts.capital_rows, "answer_key", "answer_equivalence"),
    "thousands_blind": _case(_plainly(thousands_blind), prompts.grouped_rows, "answer_key"),
    "first_row_bonus": _case(_plainly(first_row_bonus), _SUMS, "batch_dependence"),
    "batch_maximum": _case(_plainly(batch_maximum), _SUMS, "batch_dependence"),
    "batch_mean": _case(_plainly(batch_mean), _SUMS, "batch_dependence"),
    "novelty_bonus": _case(NoveltyBonus, _SUMS, "determinism", "batch_dependence"),
    "annealed": _case(Annealed, _WORDS, "determinism"),
    "noisy": _case(_plainly(noisy), _SUMS, "determinism"),
    "edits_in_place": _case(_plainly(edits_in_place), _CHATS, "mutation"),
    "unguarded": _case(_plainly(unguarded), _SUMS, "failures"),
    "skips_blanks": _case(_plainly(skips_blanks), _SUMS, "failures"),
    "distance": _case(_plainly(distance), _SUMS, "non_finite"),
    "log_score": _case(_plainly(log_score), _WORDS, "non_finite"),
    "stalls": _case(_plainly(stalls), _SUMS, "failures", workers=1),
    "explosive_pattern": _case(_plainly(explosive_pattern), _WORDS, "failures", workers=1),
}
