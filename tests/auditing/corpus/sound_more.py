"""More sound rewards: strict, lenient, unit-aware, with partial credit, of style and format, of code, of questions."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from fractions import Fraction
from functools import partial

from tests.auditing.corpus import prompts
from tests.auditing.corpus.case import SOUND, Case, sound
from tests.auditing.corpus.cores import plain_number

from rewardsmith.rewards import (
    exact_number,
    exact_text,
    json_schema,
    matches_format,
    math_equal,
    multiple_choice,
    think_format,
)

_TITLED = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
for _name, _reward, _rows in (
    ("our_number", exact_number, prompts.decimal_rows),
    ("our_math", math_equal, prompts.fraction_rows),
    ("our_math_on_pairs", math_equal, prompts.pair_rows),
    ("our_math_on_expressions", math_equal, prompts.expression_rows),
    ("our_math_on_measures", math_equal, prompts.measure_rows),
    ("our_number_on_prices", exact_number, prompts.price_rows),
    ("our_text", exact_text, prompts.text_rows),
    ("our_text_on_codes", exact_text, prompts.code_rows),
    ("our_choice", multiple_choice, prompts.choice_rows),
    ("our_think_format", think_format, prompts.open_rows),
    ("our_schema", partial(json_schema, schema=_TITLED), prompts.open_rows),
    ("our_pattern", partial(matches_format, pattern=r"Title: (?P<title>[^\n{]+)"), prompts.open_rows),
):
    SOUND[_name] = Case(lambda reward=_reward: reward, _rows)


def _line(text: str) -> str:
    """The whole text, less space and a final period."""
    return text.strip().removesuffix(".").rstrip()


# Strict and lenient


@sound(prompts.arithmetic_rows)
def digits_alone(completions, answer, **columns):
    return [float(c.isascii() and c.isdecimal() and c == a) for c, a in zip(completions, answer, strict=True)]


@sound(prompts.word_rows)
def escaped_pattern(prompt, completion, answer):
    return float(re.fullmatch(rf"\s*{re.escape(answer)}\.?\s*", completion) is not None)


@sound(prompts.decimal_rows)
def within_a_billionth(prompt, completion, answer):
    value = plain_number(completion)
    return float(value is not None and abs(value - float(answer)) <= 1e-9 * abs(float(answer)))


@sound(prompts.fraction_rows)
def same_fraction(completions, answer, **columns):
    """Reduced or not, as long as it is a fraction of whole numbers."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        match = re.fullmatch(r"\s*(-?[0-9]{1,9})/([1-9][0-9]{0,8})\s*", completion)
        scores.append(float(match is not None and Fraction(int(match[1]), int(match[2])) == Fraction(key)))
    return scores


@sound(prompts.arithmetic_rows)
def last_line_only(data_source, solution_str, ground_truth, extra_info=None):
    """The last line is one box and nothing else, and there is no other box."""
    last = solution_str.rstrip().rpartition("\n")[2]
    match = re.fullmatch(r"\\boxed\{(-?[0-9]{1,12})\}", last)
    return float(match is not None and solution_str.count("\\boxed") == 1 and match[1] == ground_truth)


@sound(prompts.conversational(prompts.choice_rows))
def choice_on_the_last_line(completions, answer, **columns):
    """ "Answer: B" or "(B)" as the last line, and "answer" in no other."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        lines = completion[0]["content"].strip().splitlines() or [""]
        match = re.fullmatch(r"(?:Answer: )?\(?([A-D])\)?\.?", lines[-1])
        alone = not any("answer" in line.lower() for line in lines[:-1])
        scores.append(float(match is not None and alone and len(lines) == 1 and match[1] == key))
    return scores


@sound(prompts.yes_no_rows)
def boolean_json(prompt, completion, answer):
    try:
        record = json.loads(completion)
    except (ValueError, RecursionError):
        return 0.0
    return float(isinstance(record, dict) and record == {"answer": answer})


@sound(prompts.yes_no_rows)
def yes_no_any_case(queries, prompts, labels):
    texts = [query[len(prompt) :].strip() for query, prompt in zip(queries, prompts, strict=True)]
    return [float(_line(text).lower() == label) for text, label in zip(texts, labels, strict=True)]


@sound(prompts.grouped_rows)
def grouped_or_not(prompt, completion, answer):
    """Thousands with all commas in place or with none."""
    text = completion.strip()
    whole = re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})*|[0-9]+", text)
    return float(whole is not None and text.replace(",", "") == answer.replace(",", ""))


# Units, lists, pairs


@sound(prompts.measure_rows)
def number_and_unit(prompt, completion, answer):
    return float(completion.split() == answer.split())


@sound(prompts.measure_rows)
def unit_aware(completions, answer, **columns):
    """Short and long names of a unit; a missing one counts as meant."""
    names = {"m": "meters", "meters": "meters", "kg": "kg", "kilograms": "kg", "h": "hours", "hours": "hours"}
    names |= {"l": "liters", "liters": "liters"}
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:\s*([a-z]+))?\.?\s*", completion)
        value, unit = key.split()
        scores.append(float(match is not None and match[1] == value and names.get(match[2] or unit) == unit))
    return scores


@sound(prompts.price_rows)
def dollars(prompt, completion, answer):
    match = re.fullmatch(r"\s*\$ ?([0-9]{1,9}\.[0-9]{2})\s*", completion)
    return float(match is not None and f"${match[1]}" == answer)


@sound(prompts.multiset_rows)
def factors(prompt, completion, answer):
    """In any order, each as often as in the key."""
    given, wanted = (Counter(part.strip() for part in text.split(",")) for text in (completion, answer))
    return float(given == wanted)


@sound(prompts.multiset_rows)
def factors_in_order(completions, answer, **columns):
    return [
        float([p.strip() for p in c.split(",")] == [p.strip() for p in a.split(",")])
        for c, a in zip(completions, answer, strict=True)
    ]


@sound(prompts.pair_rows)
def point(prompt, completion, answer):
    match = re.fullmatch(r"\s*\((-?[0-9]{1,9}),\s*(-?[0-9]{1,9})\)\s*", completion)
    return float(match is not None and f"({match[1]}, {match[2]})" == answer)


# Partial credit


@sound(prompts.word_rows)
def credit_for_closeness(prompt, completion, answer):
    """Full marks only for the number itself, and less the farther away it is."""
    value = plain_number(completion)
    return 0.0 if value is None else 1 / (1 + abs(value - int(answer)))


@sound(prompts.arithmetic_rows)
def tenth_for_a_number(completions, answer, **columns):
    """A tenth for a line that is a number at all."""
    values = [plain_number(c) for c in completions]
    return [0.0 if v is None else 1.0 if v == float(a) else 0.1 for v, a in zip(values, answer, strict=True)]


@sound(prompts.list_rows)
def share_of_elements(prompt, completion, answer):
    given, wanted = (Counter(part.strip() for part in text.split(",")) for text in (completion, answer))
    return (given & wanted).total() / max(given.total(), wanted.total())


@sound(prompts.text_rows)
def longest_common_words(prompt, completion, answer):
    """ROUGE-L: the longest common subsequence of words, as an F1."""
    given, wanted = completion.lower().split()[:200], answer.lower().split()
    best = [0] * (len(wanted) + 1)
    for word in given:
        row = [0]
        for k, other in enumerate(wanted):
            row.append(best[k] + 1 if word == other else max(best[k + 1], row[k]))
        best = row
    return 2 * best[-1] / (len(completion.split()) + len(wanted)) if given else 0.0


@sound(prompts.arithmetic_rows)
def format_only_if_right(prompt, completion, answer):
    """A fifth more for a thought before a right answer."""
    match = re.fullmatch(r"(?:<think>(.*?)</think>)?\s*(-?[0-9]{1,12})\s*", completion, re.DOTALL)
    if match is None or match[2] != answer or "<think>" in (match[1] or ""):
        return 0.0
    return 1.0 + 0.2 * bool(match[1] and re.search(r"\w", match[1]))


@sound(prompts.word_rows)
def right_less_overlong(completions, answer, **columns):
    return [
        float(_line(c.rpartition("</think>")[2]) == a and c.count("</think>") <= 1) - 0.5 * (len(c) > 1000)
        for c, a in zip(completions, answer, strict=True)
    ]


@sound(prompts.arithmetic_rows)
def minus_one_if_wrong(prompt, completion, answer):
    """What cannot be read is as bad as what is wrong."""
    value = plain_number(completion)
    return 1.0 if value is not None and value == float(answer) else -1.0


@sound(prompts.word_rows)
def unreadable_is_worst(completions, answer, **columns):
    values = [plain_number(c) for c in completions]
    return [-1.0 if v is None else 1.0 if v == float(a) else -0.5 for v, a in zip(values, answer, strict=True)]


@sound(prompts.arithmetic_rows)
def mean_of_two_graders(prompt, completion, answer):
    value = plain_number(completion)
    return (float(completion.strip() == answer) + float(value is not None and value == float(answer))) / 2


# Questions, code


@sound(prompts.capital_rows)
def exact_match(completions, answer, **columns):
    """As in SQuAD: lower case, no punctuation, no articles."""

    def normal(text: str) -> str:
        return " ".join(word for word in re.findall(r"\w+", text.lower()) if word not in ("a", "an", "the"))

    return [float(normal(c) == normal(a)) for c, a in zip(completions, answer, strict=True)]


@sound(prompts.text_rows)
def exact_title(prompt, completion, answer):
    return float(_line(completion).casefold().split() == answer.split())


@sound(prompts.capital_rows)
def tagged_answer(completions, answer, **columns):
    """One pair of tags at the end, and nothing else in the text but a thought."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        match = re.fullmatch(r"(?:<think>[^<]*</think>\s*)?<answer>([^<]*)</answer>\s*", completion)
        scores.append(float(match is not None and match[1].strip().lower() == key.lower()))
    return scores


@sound(prompts.expression_rows)
def same_syntax_tree(prompt, completion, answer):
    """Code is parsed and not run."""
    try:
        given, wanted = (ast.dump(ast.parse(text.strip(), mode="eval")) for text in (completion, answer))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0.0
    return float(given == wanted)


@sound(prompts.code_rows)
def shelf_code_any_case(prompt, completion, answer):
    return float(_line(completion).upper() == answer)


# Format and style


@sound(prompts.open_rows)
def not_too_long(completions, **columns):
    """Up to two hundred words, and at least one."""
    return [float(1 <= len(re.findall(r"\w+", c)) <= 200) for c in completions]


@sound(prompts.open_rows)
def no_insults(completions, **columns):
    return [-float(bool(re.search(r"\b(idiot|stupid|moron)\b", c.lower()))) for c in completions]


@sound(prompts.open_rows)
def no_placeholders(prompt, completion):
    return -float("TODO" in completion or "lorem ipsum" in completion.lower())


@sound(prompts.open_rows)
def one_json_object(completions, **columns):
    """An object with a text in every field."""
    scores = []
    for completion in completions:
        try:
            record = json.loads(completion)
        except (ValueError, RecursionError):
            record = None
        filled = isinstance(record, dict) and record and all(isinstance(v, str) and v.strip() for v in record.values())
        scores.append(float(bool(filled)))
    return scores


# State and conduct that do no harm


@sound(prompts.word_rows, name="cached_by_both")
class CachedByBoth:
    """Keeps scores by prompt and completion."""

    def __init__(self):
        self.kept = {}

    def __call__(self, prompts, completions, answer, **columns):
        for prompt, completion, key in zip(prompts, completions, answer, strict=True):
            self.kept.setdefault((prompt, completion), float(_line(completion) == key))
        return [self.kept[pair] for pair in zip(prompts, completions, strict=True)]


@sound(prompts.arithmetic_rows)
def works_on_copies(completions, answer, **columns):
    completions, answer = list(completions), list(answer)
    completions.reverse()
    answer.reverse()
    return [float(_line(completions.pop()) == answer.pop()) for _ in range(len(answer))]


@sound(prompts.arithmetic_rows)
def unreadable_keys_are_none(completions, answer, **columns):
    keys = [plain_number(a) for a in answer]
    return [None if k is None else 2.0 * (plain_number(c) == k) - 1.0 for c, k in zip(completions, keys, strict=True)]
