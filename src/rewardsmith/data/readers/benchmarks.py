"""Read the items of reward model benchmarks into one format; `rewardsmith.benchmarks` scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewardsmith.data.preferences import BenchmarkRow
from rewardsmith.data.readers.conversations import is_filled, steps_of
from rewardsmith.data.readers.schema import Broken, Drop, Schema

RM_BENCH_STYLES = ("concise", "detailed", "detailed_markdown")
"""The order of the three chosen and the three rejected answers in an item of RM-Bench."""


def rewardbench(record: Mapping[str, Any]) -> list[BenchmarkRow]:
    """Read allenai/reward-bench (split `filtered`): `prompt`, `chosen`, `rejected`, `chosen_model`, `rejected_model`,
    `subset`, `id`."""
    return [_item(record, [record["chosen"]], [record["rejected"]], str(record["subset"]))]


def rewardbench2(record: Mapping[str, Any]) -> list[BenchmarkRow]:
    """Read allenai/reward-bench-2 (split `test`): `chosen` and `rejected` are lists, `num_correct` right answers among
    `total_completions`; `subset` and `id`, which in the subset Ties is "ref:N" or "tied:N".

    `num_correct` and `num_incorrect` must agree with the lists, if given.
    """
    chosen, rejected = list(record["chosen"]), list(record["rejected"])
    for name, texts in (("num_correct", chosen), ("num_incorrect", rejected)):
        if record.get(name) is not None and int(record[name]) != len(texts):
            raise Drop(f"{name} does not agree with the list")
    return [_item(record, chosen, rejected, str(record["subset"]))]


def rm_bench(record: Mapping[str, Any]) -> list[BenchmarkRow]:
    """Read THU-KEG/RM-Bench: `prompt`, three `chosen` and three `rejected` answers in the order of `RM_BENCH_STYLES`,
    `domain` (chat, code, math, safety-refuse, safety-response), `id`."""
    chosen, rejected = list(record["chosen"]), list(record["rejected"])
    if len(chosen) != len(RM_BENCH_STYLES) or len(rejected) != len(RM_BENCH_STYLES):
        raise Drop("not three chosen and three rejected answers")
    return [_item(record, chosen, rejected, str(record["domain"]))]


def reward_math(records: Sequence[Mapping[str, Any]]) -> list[BenchmarkRow]:
    """Read RewardMATH, scored or compared: `problem`, `subject`, `problem_id`, which joins the records of a problem.

    Scored one by one (RewardMATH_direct.json), ten records have `eval_solution`, a list of steps, and `solution_type`,
    "chosen" or "rejected". Compared (RewardMATH_pairwise.json), nine have `eval_solution_A`, `eval_solution_B` and
    `chosen_position`. Steps are joined by a line break, and kept in a column `steps`, in the order of the answers; of
    comparisons `chosen_first` says which answer came first in each.
    """
    first, steps = records[0], {"chosen": list[list[str]](), "rejected": list[list[str]]()}
    columns: dict[str, Any] = {}
    if "chosen_position" in first:
        for record in records:
            place = record["chosen_position"]
            if place not in ("A", "B"):
                raise Broken(f"chosen_position is {place}")
            steps["rejected"].append(steps_of(record, f"eval_solution_{'B' if place == 'A' else 'A'}"))
        steps["chosen"].append(steps_of(first, f"eval_solution_{first['chosen_position']}"))
        columns["chosen_first"] = [record["chosen_position"] == "A" for record in records]
    else:
        for record in records:
            if record["solution_type"] not in steps:
                raise Broken(f"solution_type is {record['solution_type']}")
            steps[record["solution_type"]].append(steps_of(record, "eval_solution"))
    if len(steps["chosen"]) != 1:
        raise Drop("not one chosen solution")
    chosen, rejected = (["\n".join(own) for own in steps[side]] for side in ("chosen", "rejected"))
    columns["steps"] = [*steps["chosen"], *steps["rejected"]]
    number = str(first["problem_id"])
    return [BenchmarkRow(first["problem"], chosen, rejected, str(first["subject"]), number, columns)]


def judge_bench(record: Mapping[str, Any]) -> list[BenchmarkRow]:
    """Read ScalerLab/JudgeBench: `question`, `response_A`, `response_B`, `label` ("A>B" or "B>A"), `source`,
    `pair_id`. A column `chosen_first` says whether the chosen answer is A."""
    if record["label"] not in ("A>B", "B>A"):
        raise Drop(f"the label is {record['label']}")
    first, second = record["response_A"], record["response_B"]
    won = record["label"] == "A>B"
    chosen, rejected = (first, second) if won else (second, first)
    name, columns = str(record["pair_id"]), {"chosen_first": [won]}
    return [BenchmarkRow(record["question"], [chosen], [rejected], str(record["source"]), name, columns)]


def ppe_preference(record: Mapping[str, Any]) -> list[BenchmarkRow]:
    """Read lmarena-ai/PPE-Human-Preference-V1: `prompt`, `response_1`, `response_2`, `winner` (model_a or model_b;
    a tie is dropped), `model_a`, `model_b`, `language`, and `hard_prompt`, `easy_prompt`, `if_prompt`, `math_prompt`,
    `is_code`."""
    if record["winner"] not in ("model_a", "model_b"):
        raise Drop(f"the winner is {record['winner']}")
    won = record["winner"] == "model_a"
    answers, models = (record["response_1"], record["response_2"]), (record["model_a"], record["model_b"])
    kept = ("language", "hard_prompt", "easy_prompt", "if_prompt", "math_prompt", "is_code")
    columns = {name: record.get(name) for name in kept}
    columns |= {"models": models if won else models[::-1], "chosen_first": [won]}
    name = None if record.get("question_id") is None else str(record["question_id"])
    chosen, rejected = answers if won else answers[::-1]
    return [BenchmarkRow(record["prompt"], [chosen], [rejected], "human preference", name, columns)]


PPE_MARKS = {
    "mmlu_pro": "options",
    "gpqa": "Subdomain",
    "math": "sanitized_solution",
    "mbpp_plus": "test_list",
    "ifeval": "instruction_id_list",
}
"""A column that only this one of PPE's five sets of sampled answers has."""


def ppe_correctness(record: Mapping[str, Any]) -> list[BenchmarkRow]:
    """Read lmarena-ai/PPE-*-Best-of-K: `prompt`, `response_1` … `response_32`, `scores` (whether each is right),
    `model_name`, and `sampled_conflict_pairs` of a right and a wrong answer.

    The right answers come first. A column `pairs` holds the sampled pairs as places among right and wrong ones.
    """
    if not all(score in (0, 1) for score in record["scores"]):
        raise Broken("a score that is neither true nor false")
    scores = [bool(score) for score in record["scores"]]
    answers = [record[f"response_{k + 1}"] for k in range(len(scores))]
    place = {k: scores[:k].count(right) for k, right in enumerate(scores)}
    given = record.get("sampled_conflict_pairs")
    pairs = [(i, j) if scores[i] else (j, i) for i, j in ([] if given is None else given)]
    if any(scores[i] == scores[j] for i, j in pairs):
        raise Broken("a sampled pair is no right and a wrong answer")
    columns = {"model_name": record.get("model_name"), "pairs": [(place[i], place[j]) for i, j in pairs]}
    chosen, rejected = ([a for a, s in zip(answers, scores, strict=True) if s is side] for side in (True, False))
    subset = next((name for name, mark in PPE_MARKS.items() if mark in record), "other")
    name = f"{record.get('question_id')}/{record.get('model_name')}"
    return [BenchmarkRow(record["prompt"], chosen, rejected, subset, name, columns)]


def process_bench(record: Mapping[str, Any]) -> list[BenchmarkRow]:
    """Read Qwen/ProcessBench: `problem`, `steps`, `label` (the first wrong step from 0, −1 for none), `id`, whose text
    before the last hyphen is the subset. The solution is the one chosen answer; columns hold `steps` and `label`."""
    steps, label = steps_of(record, "steps"), float(record["label"])
    if not steps or not (label.is_integer() and -1 <= label < len(steps)):
        raise Broken("no steps" if not steps else "a label outside the steps")
    name = str(record["id"])
    columns = {"steps": steps, "label": int(label)}
    return [BenchmarkRow(record["problem"], ["\n\n".join(steps)], [], name.rpartition("-")[0] or name, name, columns)]


def _item(record: Mapping[str, Any], chosen: list[Any], rejected: list[Any], subset: str) -> BenchmarkRow:
    known = ("prompt", "chosen", "rejected", "subset", "domain", "id")
    columns = {name: value for name, value in record.items() if name not in known}
    item_id = None if record.get("id") is None else str(record["id"])
    return BenchmarkRow(record["prompt"], chosen, rejected, subset, item_id, columns)


def check(row: BenchmarkRow) -> None:
    """Drop an item without a chosen or a rejected answer; empty answers stay, as their authors score them too."""
    for answer in (*row.chosen, *row.rejected):
        is_filled(answer, "an answer")
    if not row.chosen or not (row.rejected or "label" in row.columns):
        raise Drop("no chosen or no rejected answer")


def _lists(record: Mapping[str, Any]) -> bool:
    return not isinstance(record["chosen"], str)


BENCHMARK_SCHEMAS: tuple[Schema[BenchmarkRow], ...] = (
    Schema("rm_bench", frozenset({"prompt", "chosen", "rejected", "domain"}), rm_bench, test=_lists),
    Schema("rewardbench2", frozenset({"prompt", "chosen", "rejected", "subset"}), rewardbench2, test=_lists),
    Schema("rewardbench", frozenset({"prompt", "chosen", "rejected", "subset"}), rewardbench),
    Schema(
        "reward_math",
        frozenset({"problem", "problem_id", "eval_solution", "solution_type"}),
        reward_math,
        joined="problem_id",
        scattered=True,
    ),
    Schema(
        "reward_math",
        frozenset({"problem", "problem_id", "eval_solution_A", "chosen_position"}),
        reward_math,
        joined="problem_id",
        scattered=True,
    ),
    Schema("judge_bench", frozenset({"question", "response_A", "response_B", "label", "pair_id"}), judge_bench),
    Schema("ppe_preference", frozenset({"prompt", "response_1", "response_2", "winner"}), ppe_preference),
    Schema("ppe_correctness", frozenset({"prompt", "response_1", "response_2", "scores"}), ppe_correctness),
    Schema("process_bench", frozenset({"problem", "steps", "label"}), process_bench),
)
