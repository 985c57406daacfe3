"""Read the items of reward model benchmarks into one format; `rewardsmith.benchmarks` scores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewardsmith.data.preferences import BenchmarkRow
from rewardsmith.data.readers.conversations import is_filled
from rewardsmith.data.readers.schema import Drop, Schema

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


def _item(record: Mapping[str, Any], chosen: list[Any], rejected: list[Any], subset: str) -> BenchmarkRow:
    known = ("prompt", "chosen", "rejected", "subset", "domain", "id")
    columns = {name: value for name, value in record.items() if name not in known}
    item_id = None if record.get("id") is None else str(record["id"])
    return BenchmarkRow(record["prompt"], chosen, rejected, subset, item_id, columns)


def check(row: BenchmarkRow) -> None:
    """Drop an item without a chosen or a rejected answer; empty answers stay, as their authors score them too."""
    for answer in (*row.chosen, *row.rejected):
        is_filled(answer, "an answer")
    if not row.chosen or not row.rejected:
        raise Drop("no chosen or no rejected answer")


def _lists(record: Mapping[str, Any]) -> bool:
    return not isinstance(record["chosen"], str)


BENCHMARK_SCHEMAS: tuple[Schema[BenchmarkRow], ...] = (
    Schema("rm_bench", frozenset({"prompt", "chosen", "rejected", "domain"}), rm_bench, test=_lists),
    Schema("rewardbench2", frozenset({"prompt", "chosen", "rejected", "subset"}), rewardbench2, test=_lists),
    Schema("rewardbench", frozenset({"prompt", "chosen", "rejected", "subset"}), rewardbench),
)
