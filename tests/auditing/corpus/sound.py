"""Sound rewards of many kinds, as a careful author would write them; an audit has nothing to say against them."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from difflib import SequenceMatcher
from fractions import Fraction
from functools import partial
from typing import Any

from tests.auditing.corpus import prompts, sound_more  # noqa: F401 - it enters its own
from tests.auditing.corpus.case import SOUND, Case, sound

from rewardsmith.rewards import (
    Criterion,
    EntailmentJudge,
    Reply,
    RoutedReward,
    Rubric,
    WithoutConfidence,
    exact_number,
    exact_text,
)

SOUND["routed"] = Case(partial(RoutedReward, {"math": exact_number, "names": exact_text}), prompts.mixed_rows)
SOUND["without_confidence"] = Case(partial(WithoutConfidence, exact_number), prompts.arithmetic_rows)
NUMBER = re.compile(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,15})(?:\.[0-9]{1,12})?(?:/[1-9][0-9]{0,8})?")


def _value(text: str) -> Fraction | None:
    """The number that the whole text spells in ASCII digits, exactly; None for anything else."""
    text = text.strip()
    if NUMBER.fullmatch(text) is None or ("." in text and "/" in text):
        return None
    return Fraction(text.replace(",", ""))


def _same(text: str, key: str) -> float:
    value = _value(text)
    return float(value is not None and value == _value(key))


class _Exact:
    """A language model that solves the request itself and holds the response, which is data, against the solution."""

    def right(self, messages) -> bool:
        content = messages[-1]["content"]
        a, sign, b = re.search(r"Compute (-?\d+) ([-+*]) (\d+) and", content).groups()
        solution = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
        tag = re.findall(r"<(response\S*)>\n", content)[0]
        return bool(_same(content.partition(f"<{tag}>\n")[2].rpartition(f"\n</{tag}>")[0], str(solution)))

    async def __call__(self, messages) -> str:
        answer = {"criterion": "right", "reason": "Solved.", "answer": "yes" if self.right(messages) else "no"}
        return json.dumps({"answers": [answer]})

    async def reply(self, messages, *, logprobs: int = 0) -> Reply:
        if not logprobs:
            return Reply(await self(messages))
        said, other = ("Yes", "No") if self.right(messages) else ("No", "Yes")
        return Reply(said, ({said: -0.01, other: -5.0},))


SOUND["rubric"] = Case(partial(Rubric, [Criterion("right", "Is it right?")], _Exact()), prompts.arithmetic_rows)
SOUND["entailment_judge"] = Case(
    partial(EntailmentJudge, _Exact(), principle="The response is right."), prompts.arithmetic_rows
)


def _only(pattern: str, text: str) -> str:
    """What the pattern captures, if it occurs exactly once; else nothing."""
    found = re.findall(pattern, text, re.DOTALL)
    return found[0] if len(found) == 1 else ""


@sound(prompts.word_rows)
def exact_literal(completions, answer, **columns):
    return [float(c == a) for c, a in zip(completions, answer, strict=True)]


@sound(prompts.capital_rows)
def stripped_text(prompt: str, completion: str, answer: str) -> float:
    return float(completion.strip().rstrip(".").casefold() == answer.casefold())


@sound(prompts.arithmetic_rows)
def boxed_integer(completions, answer, **columns):
    return [_same(_only(r"\\boxed\{([^{}]*)\}", c), a) for c, a in zip(completions, answer, strict=True)]


@sound(prompts.fraction_rows)
def boxed_fraction(data_source, solution_str, ground_truth, extra_info=None):
    inside = _only(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}", solution_str)
    inside = re.sub(r"^\\d?frac\{([0-9]{1,9})\}\{([0-9]{1,9})\}$", r"\1/\2", inside.strip())
    return {"score": _same(inside, ground_truth)}


@sound(prompts.grouped_rows)
def gsm8k(prompt: str, completion: str, answer: str) -> float:
    """The only `####` must open the last line."""
    last = completion.rstrip().rpartition("\n")[2]
    return (
        _same(last.removeprefix("####"), answer) if last.startswith("####") and completion.count("####") == 1 else 0.0
    )


@sound(prompts.conversational(prompts.word_rows))
def answer_tag(completions, answer, **columns):
    """Exactly one pair of tags, and nothing but space behind it."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        text = completion[0]["content"]
        committed = text.count("<answer>") == text.count("</answer>") == 1 and text.rstrip().endswith("</answer>")
        scores.append(_same(_only(r"<answer>(.*?)</answer>", text), key) if committed else 0.0)
    return scores


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


@sound(prompts.arithmetic_rows)
def json_field(prompt: str, completion: str, answer: str) -> float:
    """One object with one field, an integer or its text."""
    try:
        record = json.loads(completion, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return 0.0
    if not isinstance(record, dict) or set(record) != {"answer"} or isinstance(record["answer"], bool):
        return 0.0
    return _same(str(record["answer"]), answer) if isinstance(record["answer"], str | int) else 0.0


@sound(prompts.choice_rows)
def multiple_choice(queries, prompts, labels):
    """OpenRLHF: one letter, in the usual brackets, and nothing else."""
    texts = [query[len(prompt) :] for query, prompt in zip(queries, prompts, strict=True)]
    matches = [re.fullmatch(r"\s*\(?([A-D])[.)]?\s*", text) for text in texts]
    return {"rewards": [float(bool(m) and m[1] == label) for m, label in zip(matches, labels, strict=True)]}


@sound(prompts.yes_no_rows)
def yes_no(prompt: str, completion: str, answer: str) -> float:
    return float(completion.strip().rstrip(".").lower() == answer)


@sound(prompts.decimal_rows)
def strict_final_line(completions, answer, **columns):
    """The last line, and no other, reads `Answer: <number>`; correct within 1e-6."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        lines = [line for line in completion.splitlines() if line.strip()]
        stated = [line for line in lines if "answer:" in line.lower()]
        match = re.fullmatch(r"Answer: (-?[0-9]{1,12}(?:\.[0-9]{1,9})?)\s*", lines[-1]) if len(stated) == 1 else None
        scores.append(float(match is not None and abs(float(match[1]) - float(key)) <= 1e-6))
    return scores


@sound(prompts.list_rows)
def comma_set(prompt: str, completion: str, answer: str) -> float:
    """The same elements in any order, none of them twice."""
    given, wanted = (sorted(part.strip() for part in text.strip().split(",")) for text in (completion, answer))
    return float(given == wanted)


def _tokens(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()[:5000]))


@sound(prompts.text_rows)
def token_f1(prompt: str, completion: str, answer: str) -> float:
    given, wanted = _tokens(completion), _tokens(answer)
    shared = (given & wanted).total()
    return 2 * shared / (given.total() + wanted.total()) if shared else 0.0


@sound(prompts.text_rows)
def word_similarity(completions, answer, **columns):
    """Difflib on words, so that a word with a letter too many is simply another word."""
    scores = []
    for completion, key in zip(completions, answer, strict=True):
        given = completion.split()
        # Longer than four times the key cannot score above 0.4 anyway; 0 keeps the matcher fast.
        long = len(given) > 4 * len(key.split())
        scores.append(0.0 if long else SequenceMatcher(None, given, key.split(), autojunk=False).ratio())
    return scores


_THOUGHT = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)


@sound(prompts.open_rows)
def think_format(completions, **columns):
    """One think block with words in it, then words outside any tag."""
    scores = []
    for completion in completions:
        match = _THOUGHT.fullmatch(completion)
        single = completion.count("<think>") == completion.count("</think>") == 1
        inside, after = (match[1], re.sub(r"<[^>]*>", " ", match[2])) if match and single else ("", "")
        scores.append(float(bool(re.search(r"\w", inside)) and bool(re.search(r"\w", after))))
    return scores


@sound(prompts.open_rows)
def soft_overlong(completions, **columns):
    """0 up to 400 characters, then down to -1 at 800: length can only cost."""
    return [-min(max(len(completion) - 400, 0) / 400, 1.0) for completion in completions]


@sound(prompts.code_rows)
def code_pattern(prompt: str, completion: str, answer: str) -> float:
    """A shelf code and nothing else."""
    return float(re.fullmatch(r"[A-Z]{2}[0-9]{3}", completion.strip()) is not None and completion.strip() == answer)


@sound(prompts.open_rows)
def repetition_penalty(completions, **columns):
    """Minus the share of word trigrams that occurred before: an honest sentence loses nothing."""
    scores = []
    for completion in completions:
        words = completion.lower().split()
        grams = list(zip(words, words[1:], words[2:], strict=False))
        scores.append(-(1 - len(set(grams)) / len(grams)) if grams else 0.0)
    return scores


@sound(prompts.word_rows)
def weighted_sum(prompt: str, completion: str, answer: str) -> float:
    """0.8 for the right number, 0.2 for the format, which counts only with a thought and a number in it."""
    match = re.fullmatch(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", completion, re.DOTALL)
    if match is None or completion.count("<answer>") != 1 or _value(match[2]) is None or not re.search(r"\w", match[1]):
        return 0.0
    return 0.2 + 0.8 * _same(match[2], answer)


@sound(prompts.list_rows)
def element_credit(prompt: str, completion: str, answer: str) -> float:
    """The share of list elements that are right and in place, over the longer of the two lists."""
    given, wanted = ([part.strip() for part in text.split(",")] for text in (completion, answer))
    return sum(a == b for a, b in zip(given, wanted, strict=False)) / max(len(given), len(wanted))


@sound(prompts.arithmetic_rows)
async def async_judge(prompts, completions, answer, **columns):
    """Stands in for a judge that was told to accept one committed value only."""
    await asyncio.sleep(0)
    return [_same(completion, key) for completion, key in zip(completions, answer, strict=True)]


@sound(prompts.fraction_rows, name="boxed_math_verify")
class BoxedMath:
    """TRL's accuracy reward with its holes closed: one box, a short plain value in it, no sets and no intervals."""

    def __call__(self, completions, solution, **columns):
        return [self._score(c, s) for c, s in zip(completions, solution, strict=True)]

    @staticmethod
    def _score(completion: str, solution: str) -> float:
        from math_verify import parse, verify

        inside = _only(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}", completion).strip()
        if (
            re.fullmatch(r"-?[0-9]{1,9}(?:/[1-9][0-9]{0,8})?|-?\\d?frac\{[0-9]{1,9}\}\{[1-9][0-9]{0,8}\}", inside)
            is None
        ):
            return 0.0
        gold, given = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (solution, inside))
        return float(verify(gold, given, timeout_seconds=None))


@sound(prompts.arithmetic_rows)
def chain_sum(prompt: str, completion: str, answer: str) -> float:
    """reasoning-gym's decimal comparison without its partial credit, which pays "1234567" for the key "123456"."""
    from reasoning_gym.utils import compute_decimal_reward

    return float(compute_decimal_reward(completion, oracle_answer=answer, strip_commas=True) == 1.0)
