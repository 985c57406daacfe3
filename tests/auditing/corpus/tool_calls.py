"""Rewards of tool calls: careful ones, and one for each way in which a comparison of calls is careless."""

from __future__ import annotations

import ast
import json
import random
import re
from collections import Counter
from typing import Any

from tests.auditing.corpus.case import SOUND, Case, flawed, sound

from rewardsmith.data import Row
from rewardsmith.rewards import ToolCallReward

_CITIES = ("Oslo", "Lima", "Accra", "Hanoi", "Quito", "Riga", "Turin", "Perth")


def _convert(rng: random.Random) -> dict[str, Any]:
    value = {"amount": rng.randint(2, 99), "unit": rng.choice(("mile", "yard", "acre")), "exact": rng.random() < 0.5}
    return {"name": "convert_unit", "arguments": value}


def _forecast(rng: random.Random) -> dict[str, Any]:
    value = {"city": rng.choice(_CITIES), "zip": str(rng.randint(1000, 9999)), "span": {"days": rng.randint(1, 9)}}
    return {"name": "get_forecast", "arguments": value}


def _remind(rng: random.Random) -> dict[str, Any]:
    return {"name": "set_reminder", "arguments": {"text": rng.choice(_CITIES), "hours": [rng.randint(1, 24)]}}


def call_rows(n: int, rng: random.Random) -> list[Row]:
    """One to three independent calls with numbers, texts, booleans, lists and objects; the key is a JSON list."""
    rows = []
    for k in range(n):
        makers = rng.sample((_convert, _forecast, _remind), rng.choice((1, 1, 2, 3)))
        calls = [make(rng) for make in makers]
        rows.append(Row(f"Request {k}: {'; '.join(map(str, calls))}", columns={"answer": json.dumps(calls)}))
    return rows


def chat_rows(n: int, rng: random.Random) -> list[Row]:
    """The same as conversations."""
    return [row.conversational() for row in call_rows(n, rng)]


def tagged_rows(n: int, rng: random.Random) -> list[Row]:
    """The same with keys in `<tool_call>` tags with one call on each line, as ToolRL has them."""
    rows = []
    for row in call_rows(n, rng):
        lines = [
            json.dumps({"name": c["name"], "parameters": c["arguments"]}) for c in json.loads(row.columns["answer"])
        ]
        key = "<think> I call the tools. </think>\n<tool_call>\n" + "\n".join(lines) + "\n</tool_call>"
        rows.append(Row(row.prompt, columns={"answer": key}))
    return rows


def step_rows(n: int, rng: random.Random) -> list[Row]:
    """Two calls of which the second takes the result of the first by its label."""
    rows = []
    for k in range(n):
        first = {"name": "find_city", "arguments": {"country": f"{rng.choice(_CITIES)} {k}"}, "label": "$var_1"}
        second = {"name": "get_forecast", "arguments": {"city": "$var_1.name$", "days": rng.randint(1, 30)}}
        rows.append(Row(f"Chain {k}: {first['arguments']}, {second}", columns={"answer": json.dumps([first, second])}))
    return rows


def _tagged(text: str) -> list[dict[str, Any]]:
    """The calls in `<tool_call>` tags; none where one cannot be read."""
    try:
        return [json.loads(block) for block in re.findall(r"<tool_call>\s*(.*?)\s*</tool_call>", text, re.DOTALL)]
    except json.JSONDecodeError:
        return []


SOUND["tool_call_reward"] = Case(ToolCallReward, call_rows)


@sound(call_rows)
def same_calls(completions, answer, **columns):
    """The same JSON, call by call, and nothing after the tags."""
    scores = []
    for text, key in zip(completions, answer, strict=True):
        given = json.dumps(_tagged(text), sort_keys=True) if text.rstrip().endswith("</tool_call>") else "[]"
        scores.append(float(given == json.dumps(json.loads(key), sort_keys=True)))
    return scores


@sound(chat_rows)
def same_messages(completions, answer, **columns):
    """The calls of the message as OpenAI's servers give them, in any order."""
    scores = []
    for messages, key in zip(completions, answer, strict=True):
        calls = [call["function"] for call in messages[-1].get("tool_calls") or []]
        try:
            given = [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in calls]
        except (TypeError, ValueError):
            given = []
        texts = [sorted(json.dumps(call, sort_keys=True) for call in own) for own in (given, json.loads(key))]
        scores.append(float(texts[0] == texts[1]))
    return scores


@flawed(call_rows, "extra_calls")
def all_wanted(data_source, solution_str, ground_truth, extra_info=None):
    """Every wanted call is there; what else is there does not count."""
    texts = [json.dumps(call, sort_keys=True) for call in _tagged(solution_str)]
    return float(all(json.dumps(call, sort_keys=True) in texts for call in json.loads(ground_truth)))


@flawed(chat_rows, "extra_calls")
def first_calls(completions, answer, **columns):
    """Compares as many calls of the message as the key has."""
    scores = []
    for messages, key in zip(completions, answer, strict=True):
        calls = [call["function"] for call in messages[-1].get("tool_calls") or []]
        pairs = [(call["name"], json.loads(call["arguments"])) for call in calls if isinstance(call["arguments"], str)]
        wanted = [(call["name"], call["arguments"]) for call in json.loads(key)]
        scores.append(float(json.dumps(pairs[: len(wanted)]) == json.dumps(wanted)))
    return scores


@flawed(call_rows, "duplicate_calls")
def as_sets(completions, answer, **columns):
    """Compares sets, so that a call counts once however often it is made."""
    scores = []
    for text, key in zip(completions, answer, strict=True):
        given, wanted = ({json.dumps(call, sort_keys=True) for call in own} for own in (_tagged(text), json.loads(key)))
        scores.append(float(given == wanted))
    return scores


@flawed(step_rows, "call_order")
def as_multisets(completions, answer, **columns):
    """Counts calls, though the key says that one takes the result of the other."""
    scores = []
    for text, key in zip(completions, answer, strict=True):
        wanted = [{name: call[name] for name in ("name", "arguments")} for call in json.loads(key)]
        given, right = (Counter(json.dumps(call, sort_keys=True) for call in own) for own in (_tagged(text), wanted))
        scores.append(float(given == right))
    return scores


@flawed(call_rows, "argument_types")
def values_as_text(completions, answer, **columns):
    """Reads Python calls, as BFCL's models write them, and compares values as texts."""
    scores = []
    for text, key in zip(completions, answer, strict=True):
        try:
            nodes = ast.parse(text.strip(), mode="eval").body.elts
            given = [(node.func.id, {k.arg: str(ast.literal_eval(k.value)) for k in node.keywords}) for node in nodes]
        except (AttributeError, MemoryError, RecursionError, SyntaxError, ValueError):
            given = []
        wanted = [(call["name"], {k: str(v) for k, v in call["arguments"].items()}) for call in json.loads(key)]
        scores.append(float(given == wanted))
    return scores


@flawed(tagged_rows, "extra_calls")
def by_parts(data_source, solution_str, ground_truth, extra_info=None):
    """Names, parameter names and values in parts, over what the key can earn: the published reward of ToolRL."""

    def calls(text):
        return [json.loads(line) for line in text.split("<tool_call>")[1].split("</tool_call>")[0].strip().split("\n")]

    def overlap(one, other):
        one, other = Counter(one), Counter(other)
        return 1.0 if one == other else (one & other).total() / (one | other).total()

    form = re.fullmatch(r"<think>.*?</think>\n<tool_call>\n.*?\n</tool_call>", solution_str, re.DOTALL) is not None
    try:
        given, wanted = calls(solution_str), calls(ground_truth)
        earned = overlap([c["name"] for c in given], [c["name"] for c in wanted])
        best = 1.0
        for goal in wanted:
            own = goal["parameters"]
            best += 1 + len(own)
            scores = [
                overlap(c["parameters"].keys(), own.keys()) + sum(c["parameters"].get(k) == v for k, v in own.items())
                if c["name"] == goal["name"]
                else 0.0
                for c in given
            ]
            if max(scores, default=0.0) > 0:
                earned += max(scores)
                del given[scores.index(max(scores))]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return form - 3.0
    return form + 6 * earned / best - 3
