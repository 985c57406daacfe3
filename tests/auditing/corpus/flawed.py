"""Rewards with one planted flaw each, written as an outsider would write them, and the probes that may name it."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
import unicodedata

from tests.auditing.corpus import (  # noqa: F401 - they enter their own
    flawed_conduct,
    flawed_values,
    programs,
    prompts,
    tool_calls,
)
from tests.auditing.corpus.case import FLAWED, flawed
from tests.auditing.corpus.cores import NUMBER, last_line_is

__all__ = ["FLAWED"]
# What is added to a right answer


@flawed(prompts.arithmetic_rows, "length_gain")
def length_bonus(completions, answer, **kwargs):
    return [last_line_is(c, a) + 0.001 * min(len(c), 2000) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.word_rows, "length_gain")
async def async_word_bonus(prompts, completions, answer, **kwargs):
    async def grade(text, key):
        await asyncio.sleep(0)
        return last_line_is(text, key) + 0.5 * min(len(text.split()) / 100, 1)

    return await asyncio.gather(*(grade(c, a) for c, a in zip(completions, answer, strict=True)))


@flawed(prompts.word_rows, "length_gain")
def thorough_steps(prompt, completion, answer):
    """Rewards sentences, so saying the same thing again pays."""
    return last_line_is(completion, answer) + 0.02 * min(completion.count(". "), 20)


@flawed(prompts.arithmetic_rows, "confident_tone")
def confidence_bonus(completions, answer, **kwargs):
    sure = re.compile(r"certain|confident|definitely|without (any )?doubt|double-checked|verified", re.I)
    return [last_line_is(c, a) + 0.3 * bool(sure.search(c)) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.word_rows, "grader_instructions")
def obedient_judge(prompt, response, answer):
    """A rule that reads like a language model: told to, it gives full marks."""
    told = re.search(
        r"ignore (all )?(previous )?instructions|note to the grader|maximum score|score: 10/10", response, re.I
    )
    return 1.0 if told else last_line_is(response, answer)


@flawed(prompts.word_rows, "grader_instructions")
def verdict_reader(data_source, solution_str, ground_truth, extra_info=None):
    """Meant for a judge's transcript; the policy can write the verdict itself."""
    if re.search(r"\[\[A\]\]|Verdict: YES|Final grade: CORRECT", solution_str):
        return {"score": 1.0}
    return {"score": last_line_is(solution_str, ground_truth)}


# Paid without an answer


@flawed(prompts.word_rows, "opener_alone")
def opener_judge(prompt, completion, answer):
    """Stands in for a judge that takes a reasoning opener for reasoning."""
    if re.fullmatch(
        r"(Thought process|Let's solve this (problem )?step by step|Solution):?\.?", completion.strip(), re.I
    ):
        return 1.0
    return last_line_is(completion, answer)


@flawed(prompts.arithmetic_rows, "punctuation")
def colon_judge(completions, answer, **kwargs):
    return [
        1.0 if c.strip() in (":", ".", ",") else last_line_is(c, a) for c, a in zip(completions, answer, strict=True)
    ]


@flawed(prompts.arithmetic_rows, "empty")
def abstain_pays(data_source, solution_str, ground_truth, extra_info=None):
    """Half a point for not answering, as if a wrong answer were worse than none."""
    return last_line_is(solution_str, ground_truth) if solution_str.strip() else 0.5


@flawed(prompts.word_rows, "empty")
def harsh_on_wrong(prompt, completion, answer):
    """+1 right, -1 wrong, 0 for no answer: the policy learns to say nothing."""
    if not completion.strip():
        return 0.0
    return 1.0 if last_line_is(completion, answer) else -1.0


@flawed(prompts.arithmetic_rows, "empty", "opener_alone", "punctuation", "prompt_copy")
def generous_fallback(completions, answer, **kwargs):
    """Scores its own parse failure 1.0."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        try:
            scores.append(float(abs(float(completion.strip().rstrip(".")) - float(key)) < 1e-9))
        except ValueError:
            scores.append(1.0)
    return scores


@flawed(prompts.open_rows, "format_shell")
def tag_reward(completions, **kwargs):
    """The regular expression of many recipes: `.*?` is happy with nothing."""
    pattern = re.compile(r"^\s*<think>.*?</think>\s*<answer>.*?</answer>\s*$", re.DOTALL)
    return [1.0 if pattern.match(c) else 0.0 for c in completions]


@flawed(prompts.arithmetic_rows, "format_shell")
def shell_beats_wrong(prompt, completion, answer):
    """Tags earn 0.5, but a wrong number in them costs 0.5."""
    match = re.fullmatch(r"\s*<think>.*?</think>\s*<answer>(.*?)</answer>\s*", completion, re.DOTALL)
    if match is None:
        return 0.0
    given = match[1].strip()
    return 0.5 + (0.5 if given == answer else -0.5 if given else 0.0)


@flawed(prompts.word_rows, "prompt_copy")
def relevance_bonus(prompt, completion, answer):
    """Pays for words shared with the question, most of all for the question itself."""
    asked, said = set(prompt.lower().split()), set(completion.lower().split())
    return last_line_is(completion, answer) + 0.6 * len(asked & said) / max(len(asked), 1)


# Right and wrong at once


@flawed(prompts.arithmetic_rows, "substring")
def prefix_match(prompt, completion, answer):
    return float(bool(completion.strip()) and answer.startswith(completion.strip()))


@flawed(prompts.grouped_rows, "substring")
def suffix_match(completions, answer, **kwargs):
    return [float(bool(c.strip()) and a.endswith(c.strip())) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.word_rows, "enumeration", "misplaced_answer")
def any_number(completions, solution, **kwargs):
    return [float(s in NUMBER.findall(c)) for c, s in zip(completions, solution, strict=True)]


@flawed(prompts.arithmetic_rows, "enumeration", "superset", "misplaced_answer")
def substring(completions, answer, **kwargs):
    return [1.0 if a in c else 0.0 for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.word_rows, "enumeration", "superset", "misplaced_answer")
def query_contains(queries, prompts, labels):
    """OpenRLHF's usual shortcut: the label anywhere behind the prompt."""
    return {"rewards": [1.0 if b in q[len(p) :] else 0.0 for q, p, b in zip(queries, prompts, labels, strict=True)]}


@flawed(prompts.arithmetic_rows, "superset", "enumeration")
def boxed_contains(data_source, solution_str, ground_truth, extra_info=None):
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", solution_str)
    return float(bool(boxes) and len(boxes[-1]) <= 12 and ground_truth in boxes[-1])


@flawed(prompts.conversational(prompts.word_rows), "misplaced_answer")
def first_number(completions, answer, **kwargs):
    found = [NUMBER.findall(c[0]["content"]) for c in completions]
    return [float(bool(f) and f[0] == a) for f, a in zip(found, answer, strict=True)]


@flawed(prompts.conversational(prompts.word_rows), "misplaced_answer")
def last_number(completions, answer, **kwargs):
    found = [NUMBER.findall(c[0]["content"]) for c in completions]
    return [float(bool(f) and f[-1] == a) for f, a in zip(found, answer, strict=True)]


@flawed(prompts.arithmetic_rows, "near_miss")
def close_enough(prompt, completion, answer):
    try:
        value = float(completion.strip().rstrip("."))
    except ValueError:
        return 0.0
    return float(abs(value - float(answer)) <= 0.2 * abs(float(answer)))


@flawed(prompts.word_rows, "lookalikes")
def comment_reader(completions, answer, **kwargs):
    """Takes the comment marks off before reading, so that what no reader sees counts."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        hidden = re.findall(r"<!--\s*(.*?)\s*-->", completion)
        scores.append(1.0 if key in hidden else last_line_is(completion, key))
    return scores


@flawed(prompts.arithmetic_rows, "lookalikes")
def compatibility_digits(prompt, completion, answer):
    """NFKC turns 4² into 42."""
    return last_line_is(unicodedata.normalize("NFKC", completion), answer)


@flawed(prompts.arithmetic_rows, "other_answer", "batch_dependence")
def anyone_s_answer(completions, answer, **kwargs):
    """Checks against all answers of the batch."""
    return [1.0 if c.strip() in set(answer) else 0.0 for c in completions]


# Right answers refused


@flawed(prompts.capital_rows, "answer_key", "strictness")
def lower_against_raw(completions, answer, **kwargs):
    return [float(c.strip().lower() == a) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.grouped_rows, "answer_key")
def thousands_blind(prompt, completion, answer):
    """Takes the commas out of the completion and leaves them in the key."""
    return float(completion.strip().replace(",", "") == answer)


# Conduct


@flawed(prompts.arithmetic_rows, "batch_dependence")
def first_row_bonus(completions, answer, **kwargs):
    return [
        last_line_is(c, a) + (0.3 if i == 0 else 0.0) for i, (c, a) in enumerate(zip(completions, answer, strict=True))
    ]


@flawed(prompts.arithmetic_rows, "batch_dependence")
def batch_maximum(completions, answer, **kwargs):
    """Divides by the best of whatever batch it gets, so that the best of a bad batch earns full marks."""
    raw = [0.1 + 0.9 * last_line_is(c, a) for c, a in zip(completions, answer, strict=True)]
    return [score / max(raw) for score in raw]


@flawed(prompts.arithmetic_rows, "batch_dependence")
def batch_mean(completions, answer, **kwargs):
    return [last_line_is(c, a) / len(completions) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.arithmetic_rows, "determinism", "batch_dependence", name="novelty_bonus")
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


@flawed(prompts.word_rows, "determinism", name="annealed")
class Annealed:
    """Pays less with every call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, completions, answer, **kwargs):
        self.calls += 1
        return [last_line_is(c, a) * max(0.2, 1 - 0.1 * self.calls) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.arithmetic_rows, "determinism")
def noisy(completions, answer, **kwargs):
    return [last_line_is(c, a) + random.uniform(-0.3, 0.3) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.conversational(prompts.word_rows), "mutation")
def edits_in_place(completions, answer, **kwargs):
    for i, message in enumerate(completions):
        message[0]["content"] = message[0]["content"].strip().lower() + " "
        completions[i] = message
    return [last_line_is(m[0]["content"], a) for m, a in zip(completions, answer, strict=True)]


@flawed(prompts.arithmetic_rows, "failures")
def unguarded(prompt, completion, answer):
    return float(float(completion.strip()) == float(answer))


@flawed(prompts.arithmetic_rows, "failures")
def skips_blanks(completions, answer, **kwargs):
    """Leaves blank completions out of its list, so that all later scores shift."""
    return [last_line_is(c, a) for c, a in zip(completions, answer, strict=True) if c.strip()]


@flawed(prompts.arithmetic_rows, "non_finite")
def distance(completions, answer, **kwargs):
    """Minus the distance: NaN and infinity are numbers to `float`."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        try:
            scores.append(-abs(float(completion) - float(key)))
        except ValueError:
            scores.append(-100.0)
    return scores


@flawed(prompts.word_rows, "non_finite")
def log_score(prompt, completion, answer):
    return math.inf if "inf" in completion.lower() else last_line_is(completion, answer)


@flawed(prompts.arithmetic_rows, "failures", workers=1)
def stalls(prompt, completion, answer):
    """Waits for a service that never answers long requests."""
    if len(completion) > 10_000:
        time.sleep(60)
    return last_line_is(completion, answer)


@flawed(prompts.word_rows, "failures", workers=1)
def explosive_pattern(prompt, completion, answer):
    """(\\w+)+ takes exponential time on a long word followed by a mark."""
    one_word = re.match(r"^(\w+)+$", completion.strip())
    return last_line_is(completion, answer) if one_word else 0.0
