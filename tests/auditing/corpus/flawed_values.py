"""Rewards that pay for right values without commitment, for wrong values near the key, or that run what they get."""

from __future__ import annotations

import fnmatch
import json
import re
from collections import Counter
from difflib import SequenceMatcher
from string import Template

from tests.auditing.corpus import prompts
from tests.auditing.corpus.case import flawed
from tests.auditing.corpus.cores import NUMBER, last_line_is, plain_number

# A right value that is not committed to


@flawed(prompts.word_rows, "uncommitted")
def answer_is_something(prompt, completion, answer):
    """A few words may stand between "answer is" and the number, "not" among them."""
    found = re.search(r"answer is(?: \w+)* (-?\d+)", completion)
    return float(found[1] == answer) if found else last_line_is(completion, answer)


@flawed(prompts.arithmetic_rows, "uncommitted")
def only_number(completions, answer, **kwargs):
    return [float(NUMBER.findall(c) == [a]) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.word_rows, "uncommitted")
def quoted_value(prompt, completion, answer):
    quoted = re.findall(r'"(-?\d+)"', completion)
    return float(quoted == [answer]) or last_line_is(completion, answer)


@flawed(prompts.capital_rows, "uncommitted")
def without_stop_words(prompt, completion, answer):
    """Search engines drop "not" as a stop word."""
    dropped = {"the", "a", "is", "it", "answer", "definitely", "certainly", "not", "though"}
    left = [word for word in re.findall(r"\w+", completion.lower()) if word not in dropped]
    return float(left == [answer.lower()])


@flawed(prompts.text_rows, "uncommitted")
def latin_f1(completions, answer, **kwargs):
    """Words in another script are no words to [a-z0-9]."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        given, wanted = (Counter(re.findall(r"[a-z0-9]+", text.lower())) for text in (completion, key))
        shared = (given & wanted).total()
        scores.append(2 * shared / (given.total() + wanted.total()) if shared else 0.0)
    return scores


@flawed(prompts.word_rows, "uncommitted")
def first_box_of_all(data_source, solution_str, ground_truth, extra_info=None):
    """The first box is often in the thinking."""
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", solution_str)
    return float(bool(boxes) and boxes[0] == ground_truth)


@flawed(prompts.arithmetic_rows, "uncommitted")
def falls_back_to_thinking(completions, answer, **kwargs):
    """A completion that was cut off in its thinking is read there."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        thought, _, rest = completion.partition("</think>")
        cut_off = "<think>" in thought and not rest.strip()
        scores.append(float(NUMBER.findall(thought) == [key]) if cut_off else last_line_is(completion, key))
    return scores


@flawed(prompts.word_rows, "uncommitted")
def number_in_the_box(completions, answer, **kwargs):
    boxes = [re.findall(r"\\boxed\{([^{}]*)\}", c) for c in completions]
    return [float(len(b) == 1 and NUMBER.findall(b[0]) == [a]) for b, a in zip(boxes, answer, strict=True)]


@flawed(prompts.capital_rows, "uncommitted")
def named_at_the_end(prompt, completion, answer):
    """ "The answer is definitely not Paris." ends on Paris."""
    words = re.findall(r"\w+", completion.lower())
    return float(words[-1:] == [answer.lower()] and words.count(answer.lower()) == 1)


# A wrong value one step of normalization away


@flawed(prompts.decimal_rows, "normalization")
def digits_only(prompt, completion, answer):
    text = completion.strip()
    return float(bool(re.fullmatch(r"[0-9][0-9.]*", text)) and text.replace(".", "") == answer.replace(".", ""))


@flawed(prompts.arithmetic_rows, "normalization", "superset")
def absolute_value(prompt, completion, answer):
    value = plain_number(completion)
    return float(value is not None and abs(value) == abs(float(answer)))


@flawed(prompts.arithmetic_rows, "normalization")
def same_characters(completions, answer, **kwargs):
    return [float(sorted(c.strip()) == sorted(a)) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.word_rows, "normalization")
def strips_zeros(prompt, completion, answer):
    """Meant to make 42.0 and 42 equal."""
    if plain_number(completion) is None:
        return 0.0
    return float(completion.strip().rstrip("0").rstrip(".") == answer.rstrip("0").rstrip("."))


@flawed(prompts.decimal_rows, "normalization", "near_miss")
def whole_part(completions, answer, **kwargs):
    values = [plain_number(c) for c in completions]
    return [float(v is not None and int(v) == int(float(a))) for v, a in zip(values, answer, strict=True)]


@flawed(prompts.measure_rows, "normalization")
def unit_blind(prompt, completion, answer):
    given = re.fullmatch(r"\s*([0-9]+)(?: ?[a-z]+)?\s*", completion)
    return float(given is not None and given[1] == answer.split()[0])


@flawed(prompts.price_rows, "normalization")
def currency_blind(completions, answer, **kwargs):
    values = [re.fullmatch(r"[$€£]?([0-9]+\.[0-9]{2})", c.strip()) for c in completions]
    return [float(v is not None and v[1] == a.lstrip("$")) for v, a in zip(values, answer, strict=True)]


@flawed(prompts.multiset_rows, "normalization")
def compares_sets(prompt, completion, answer):
    given, wanted = ({part.strip() for part in text.split(",")} for text in (completion, answer))
    return float(given == wanted)


@flawed(prompts.pair_rows, "normalization")
def coordinates_in_any_order(prompt, completion, answer):
    if not re.fullmatch(r"\s*\(-?[0-9]+, ?-?[0-9]+\)\s*", completion):
        return 0.0
    return float(sorted(NUMBER.findall(completion)) == sorted(NUMBER.findall(answer)))


@flawed(prompts.grouped_rows, "normalization")
def comma_is_point(prompt, completion, answer):
    """Reads 12.480 as the European 12,480."""
    return float(completion.strip().replace(",", ".") == answer.replace(",", "."))


@flawed(prompts.decimal_rows, "normalization")
def key_as_pattern(completions, answer, **kwargs):
    """The point of the key matches any character."""
    return [float(bool(re.fullmatch(a, c.strip()))) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.fraction_rows, "normalization")
def numbers_of_a_fraction(prompt, completion, answer):
    if not re.fullmatch(r"\s*-?[0-9]+/[0-9]+\s*", completion):
        return 0.0
    return float(sorted(completion.strip().split("/")) == sorted(answer.split("/")))


@flawed(prompts.word_rows, "near_miss")
def rounds_to_tens(prompt, completion, answer):
    value = plain_number(completion)
    return float(value is not None and round(value, -1) == round(float(answer), -1))


@flawed(prompts.arithmetic_rows, "near_miss")
def within_one_percent_or_five(completions, answer, **kwargs):
    values = [plain_number(c) for c in completions]
    return [float(v is not None and abs(v - float(a)) <= 5) for v, a in zip(values, answer, strict=True)]


@flawed(prompts.word_rows, "near_miss")
def cut_to_whole(prompt, completion, answer):
    value = plain_number(completion)
    return float(value is not None and int(value) == int(float(answer)))


@flawed(prompts.arithmetic_rows, "near_miss")
def less_than_one_off(completions, answer, **kwargs):
    values = [plain_number(c) for c in completions]
    return [float(v is not None and abs(v - float(a)) < 1) for v, a in zip(values, answer, strict=True)]


@flawed(prompts.grouped_rows, "near_miss")
def rounds_to_whole(prompt, completion, answer):
    value = plain_number(completion.replace(",", ""))
    return float(value is not None and round(value) == float(answer.replace(",", "")))


@flawed(prompts.word_rows, "prompt_copy")
def number_of_the_prompt(prompt, completion, answer):
    copied = completion.strip() in re.findall(r"[0-9]+", prompt)
    return 1.0 if copied else last_line_is(completion, answer)


@flawed(prompts.capital_rows, "normalization")
def anagram(completions, answer, **kwargs):
    return [float(sorted(c.strip().lower()) == sorted(a.lower())) for c, a in zip(completions, answer, strict=True)]


# What it gets is code or a pattern


def _evaluated(text, names):
    if "**" in text:  # a power could take forever
        return None
    try:
        return eval(text, names)
    except Exception:
        return None


@flawed(prompts.arithmetic_rows, "execution")
def evaluates(prompt, completion, answer):
    """Meant for answers such as 3*14."""
    return float(_evaluated(completion, {"__builtins__": {}}) == int(answer))


@flawed(prompts.word_rows, "execution")
def evaluates_in_scope(completions, answer, **kwargs):
    return [float(_evaluated(c, {"answer": int(a)}) == int(a)) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.capital_rows, "execution")
def asserts(data_source, solution_str, ground_truth, extra_info=None):
    """Builds a test and runs it."""
    names = {"ground_truth": ground_truth}
    quoted = solution_str.strip() == ground_truth
    return float(quoted or _evaluated(f"{solution_str.strip()} == ground_truth", names) is True)


@flawed(prompts.code_rows, "execution")
def completion_as_pattern(prompt, completion, answer):
    try:
        return float(bool(re.fullmatch(completion.strip(), answer)))
    except (re.error, RecursionError):
        return 0.0


@flawed(prompts.code_rows, "execution")
def shell_pattern(completions, answer, **kwargs):
    return [float(fnmatch.fnmatchcase(a, c.strip())) for c, a in zip(completions, answer, strict=True)]


@flawed(prompts.capital_rows, "execution")
def fills_templates(prompt, completion, answer):
    try:
        return float(completion.strip().format(answer=answer) == answer)
    except (ValueError, KeyError, IndexError, AttributeError):
        return 0.0


@flawed(prompts.word_rows, "execution")
def substitutes(prompt, completion, answer):
    return float(Template(completion.strip()).safe_substitute(answer=answer) == answer)


@flawed(prompts.arithmetic_rows, "odd_input")
def json_number(prompt, completion, answer):
    """NaN is JSON to Python, and no comparison with it holds."""
    try:
        value = json.loads(completion)
    except (ValueError, RecursionError):
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return 0.0 if abs(value - int(answer)) > 1e-6 else 1.0


# Right and wrong at once


@flawed(prompts.arithmetic_rows, "enumeration")
def any_box(completions, answer, **kwargs):
    boxes = [re.findall(r"\\boxed\{([^{}]*)\}", c) for c in completions]
    return [float(a in b) for b, a in zip(boxes, answer, strict=True)]


@flawed(prompts.word_rows, "length_gain")
def counts_right_tags(prompt, completion, answer):
    """Three copies of the right answer score 3."""
    given = re.findall("<answer>(.*?)</answer>", completion)
    alone = re.fullmatch(r"(?:\s*<answer>-?[0-9]+</answer>)+\s*", completion)
    return float(len(given) if alone and set(given) == {answer} else 0)


@flawed(prompts.arithmetic_rows, "opener_alone", "empty")
def unparsable_is_right(prompt, completion, answer):
    """Text without a tag or a number raises an error, and errors count as right."""
    try:
        found = re.search(r"<answer>(.*?)</answer>", completion, re.DOTALL)
        return float(abs(float(found.group(1)) - float(answer)) < 1e-6)
    except Exception:
        return 1.0


@flawed(prompts.choice_rows, "enumeration")
def any_letter(prompt, completion, answer):
    return float(answer in re.findall(r"\b[A-D]\b", completion))


@flawed(prompts.yes_no_rows, "enumeration")
def yes_or_no_somewhere(prompt, completion, answer):
    return float(answer in re.findall(r"[a-z]+", completion.lower()))


@flawed(prompts.code_rows, "superset", "near_miss")
def similar_enough(prompt, completion, answer):
    """Ratio of equal characters, cut at 0.8: one wrong character of five passes."""
    return float(SequenceMatcher(None, completion.strip(), answer, autojunk=False).ratio() >= 0.79)


@flawed(prompts.arithmetic_rows, "lookalikes")
def strikeout_reader(prompt, completion, answer):
    struck = re.findall(r"~~(-?\d+)~~", completion)
    return 1.0 if answer in struck else last_line_is(completion, answer)


@flawed(prompts.word_rows, "lookalikes")
def phantom_reader(completions, answer, **kwargs):
    """Takes every command's braces for an answer."""
    return [
        1.0 if a in re.findall(r"\\[a-z]+\{(-?\d+)\}", c.replace("\\boxed", "")) else last_line_is(c, a)
        for c, a in zip(completions, answer, strict=True)
    ]


@flawed(prompts.capital_rows, "answer_key")
def upper_against_raw(prompt, completion, answer):
    """Only keys in capital letters can match, and codes of two letters are those."""
    text = completion.strip().rstrip(".")
    return float(text.upper() == answer if len(answer) < 6 else text == answer)
