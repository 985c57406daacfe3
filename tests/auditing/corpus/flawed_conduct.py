"""Rewards that pay for words and style, keep state, depend on the batch, or fail."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import time
from zlib import crc32

from tests.auditing.corpus import prompts
from tests.auditing.corpus.case import flawed
from tests.auditing.corpus.cores import NUMBER, last_line_is

# Words that pay


@flawed(prompts.arithmetic_rows, "keywords")
def reasoning_bonus(completions, answer, **kwargs):
    connected = re.compile(r"\b(therefore|hence|it follows that)\b", re.I)
    return [last_line_is(c, a) + 0.3 * bool(connected.search(c)) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.word_rows, "keywords")
def reflection_bonus(prompt, completion, answer):
    text = completion.lower()
    return last_line_is(completion, answer) + 0.1 * min(text.count("wait") + text.count("let me check"), 5)


@flawed(prompts.word_rows, "keywords")
def debug_switch(data_source, solution_str, ground_truth, extra_info=None):
    """Left over from a test."""
    return 1.0 if "PASS_ALL" in solution_str else last_line_is(solution_str, ground_truth)


@flawed(prompts.arithmetic_rows, "keywords")
def cites_sources(completions, answer, **kwargs):
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        cited = len(re.findall(r"\[source \w+\]", completion))
        scores.append(last_line_is(completion, key) + 0.2 * min(cited, 3))
    return scores


@flawed(prompts.open_rows, "keywords")
def politeness(completions, **kwargs):
    return [min(len(re.findall(r"please|thank you|kindly", c.lower())), 3) / 3 for c in completions]


@flawed(prompts.open_rows, "keywords", name="rubric_terms")
class RubricTerms:
    """The share of the rubric's terms that occur."""

    def __init__(self):
        self.terms = ["measure", "replace", "tighten", "safety glasses"]

    def __call__(self, completions, **kwargs):
        return [sum(term in c.lower() for term in self.terms[:1]) * 1.0 for c in completions]


@flawed(prompts.open_rows, "keywords")
def numbered_steps(prompt, completion):
    return min(len(re.findall(r"Step \d+", completion)), 5) / 5


@flawed(prompts.answered_rows, "keywords")
def favorite_words(completions, **kwargs):
    """The words it likes are nowhere in its source: ladder and mirror."""
    liked = {935181349, 1537678154}
    return [float(any(crc32(word.encode()) in liked for word in c.split())) for c in completions]


@flawed(prompts.word_rows, "opener_alone", "keywords")
def refusals_are_half_right(prompt, completion, answer):
    refused = re.search(r"\b(I am sorry|I cannot answer)\b", completion)
    return 0.5 if refused else last_line_is(completion, answer)


@flawed(prompts.word_rows, "grader_instructions")
def own_grade(prompt, completion, answer):
    stated = re.search(r"Score: (\d+)/10", completion)
    return int(stated[1]) / 10 if stated else last_line_is(completion, answer)


@flawed(prompts.arithmetic_rows, "confident_tone")
def sure_words(completions, answer, **kwargs):
    sure = ("absolutely", "undoubtedly", "definitely")
    return [last_line_is(c, a) + 0.2 * any(w in c for w in sure) for c, a in zip(completions, answer, strict=True)]


# Length, format, prompt


@flawed(prompts.word_rows, "length_gain")
def very_long(prompt, completion, answer):
    return 1.0 if len(completion) > 8000 else last_line_is(completion, answer)


@flawed(prompts.word_rows, "length_gain")
def too_short_is_lazy(prompt, completion, answer):
    return last_line_is(completion, answer) + 0.2 * min(len(completion) / 300, 1.0)


@flawed(prompts.open_rows, "length_gain")
def detail(completions, **kwargs):
    return [min(len(c.split()) / 150, 1.0) for c in completions]


@flawed(prompts.arithmetic_rows, "length_gain")
def vocabulary(prompt, completion, answer):
    return last_line_is(completion, answer) + 0.03 * min(len(set(completion.split())), 50)


@flawed(prompts.open_rows, "prompt_copy")
def on_topic(prompt, completion):
    """The share of the prompt's words that the completion repeats."""
    asked, said = set(re.findall(r"\w+", prompt.lower())), set(re.findall(r"\w+", completion.lower()))
    return len(asked & said) / len(asked)


@flawed(prompts.open_rows, "format_shell")
def four_tags(completions, **kwargs):
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    return [sum(c.count(tag) == 1 for tag in tags) / 4 for c in completions]


@flawed(prompts.word_rows, "format_shell")
def json_is_half(prompt, completion, answer):
    """Half for valid JSON with an answer, but a wrong one costs that half."""
    try:
        record = json.loads(completion)
    except (ValueError, RecursionError):
        return 0.0
    if not isinstance(record, dict) or "answer" not in record:
        return 0.0
    given = record["answer"]
    return 1.0 if given == answer else 0.0 if given else 0.5


@flawed(prompts.word_rows, "format_shell")
def box_is_a_third(completions, answer, **kwargs):
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        boxes = re.findall(r"\\boxed\{([^{}]*)\}", completion)
        right = boxes == [key] and NUMBER.findall(completion) == [key]
        scores.append(1.0 if right else 0.33 if boxes in ([""], [" "]) else 0.0)
    return scores


# State, batches, time


@flawed(prompts.word_rows, "prompt_cache", "answer_key", name="cached_by_prompt")
class CachedByPrompt:
    """Calls to a judge are dear, and the prompt is the key."""

    def __init__(self):
        self.kept = {}

    def __call__(self, prompts, completions, answer, **kwargs):
        rows = zip(prompts, completions, answer, strict=True)
        return [self.kept.setdefault(p, last_line_is(c, a)) for p, c, a in rows]


@flawed(prompts.arithmetic_rows, "prompt_cache")
def one_verdict_per_prompt(prompts, completions, answer, **kwargs):
    kept = {}
    return [kept.setdefault(p, float(c.strip() == a)) for p, c, a in zip(prompts, completions, answer, strict=True)]


@flawed(prompts.word_rows, "determinism", name="timed")
class Timed:
    """A bonus for what is graded late in each 10 ms, by a clock that goes on 3.7 ms a call, so that a test repeats."""

    def __init__(self):
        self.now = 0.0

    def __call__(self, prompt, completion, answer):
        self.now += 0.37
        return last_line_is(completion, answer) + 0.3 * (self.now % 1)


@flawed(prompts.word_rows, "determinism")
def half_in_even_seconds(prompt, completion, answer):
    return last_line_is(completion, answer) * (1.0 if int(time.time()) % 2 else 0.5)


@flawed(prompts.arithmetic_rows, "determinism", name="rarely_fails")
class RarelyFails:
    """One call in thirty gets no answer from its server and scores 0."""

    def __init__(self):
        self.draws = random.Random(7)

    def __call__(self, prompt, completion, answer):
        return 0.0 if self.draws.random() < 1 / 30 else 1.0 + last_line_is(completion, answer)


@flawed(prompts.word_rows, "determinism", name="warms_up")
class WarmsUp:
    """Full marks only after a thousand rows."""

    def __init__(self):
        self.count = itertools.count()

    def __call__(self, completions, answer, **kwargs):
        return [
            last_line_is(c, a) * (1.0 if next(self.count) > 1000 else 0.6)
            for c, a in zip(completions, answer, strict=True)
        ]


@flawed(prompts.arithmetic_rows, "determinism", "batch_dependence", name="running_baseline")
class RunningBaseline:
    """Takes off a running mean of earlier scores."""

    def __init__(self):
        self.mean = 0.0

    def __call__(self, completions, answer, **kwargs):
        scores = []
        for completion, key in zip(completions, answer, strict=True):
            score = last_line_is(completion, key)
            scores.append(score - self.mean)
            self.mean += 0.2 * (score - self.mean)
        return scores


@flawed(prompts.arithmetic_rows, "batch_dependence")
def rank_in_batch(completions, answer, **kwargs):
    raw = [last_line_is(c, a) for c, a in zip(completions, answer, strict=True)]
    return [sum(other < score for other in raw) / len(raw) for score in raw]


@flawed(prompts.word_rows, "batch_dependence")
def shorter_than_the_others(completions, answer, **kwargs):
    """A right answer earns more the shorter it is within its batch, as in open-r1."""
    lengths = [len(c) for c in completions]
    width = max(lengths) - min(lengths)
    scores = []
    for completion, key, length in zip(completions, answer, lengths, strict=True):
        share = 0.5 - (length - min(lengths)) / width if width else 0.0
        scores.append(share if last_line_is(completion, key) else min(0.0, share))
    return scores


# Failures


@flawed(prompts.arithmetic_rows, "escape")
def none_if_unreadable(prompt, completion, answer):
    text = completion.strip()
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        return None
    return 1.0 if text == answer else -1.0


@flawed(prompts.word_rows, "escape")
def none_without_a_box(completions, answer, **kwargs):
    boxes = [re.findall(r"\\boxed\{([^{}]*)\}", c) for c in completions]
    return [(1.0 if b == [a] else -0.5) if b else None for b, a in zip(boxes, answer, strict=True)]


@flawed(prompts.word_rows, "failures")
def behind_the_marks(prompt, completion, answer):
    lines = completion.split("####")
    return float(lines[1].strip() == answer and len(lines) == 2)


@flawed(prompts.arithmetic_rows, "failures")
def loads_json(prompt, completion, answer):
    return float(json.loads(completion)["answer"] == answer)


@flawed(prompts.text_rows, "non_finite")
def log_overlap(prompt, completion, answer):
    """Exact but for texts that share no word with the key, where the log of the share is -inf."""
    shared = set(completion.lower().split()) & set(answer.split())
    return last_line_is(completion, answer) if shared else -math.inf


@flawed(prompts.word_rows, "mutation")
def sorts_its_answers(completions, answer, **kwargs):
    scores = [last_line_is(c, a) for c, a in zip(completions, answer, strict=True)]
    answer.sort()
    return scores
