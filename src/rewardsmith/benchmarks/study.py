"""The downstream study: a zoo of rewards from a file or from rewards that are run, and its figure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewardsmith._pictures import HOUSE_STYLE
from rewardsmith.benchmarks.run import run_benchmark
from rewardsmith.data import BenchmarkRow, Row
from rewardsmith.errors import RowsError
from rewardsmith.measures.downstream import DownstreamStudy
from rewardsmith.measures.intervals import mean_or_nan
from rewardsmith.scoring import Target, rewards_of, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


class Zoo(NamedTuple):
    """R rewards: names, benchmark scores (R,) by benchmark, scores (R, P, M) of completions, and gold (P, M)."""

    names: list[str]
    benchmarks: dict[str, Array]
    rewards: Array
    gold: Array


def zoo_from(records: Sequence[Mapping[str, Any]]) -> Zoo:
    """Return the zoo that records hold, in one of two forms; what is missing is NaN.

        one record per reward       reward, benchmark, scores (P lists of M), gold (likewise, once or in every record)
        one record per completion   reward, benchmark, prompt, score, gold, and completion if the order differs

    `benchmark` is a number, or a mapping from benchmarks to numbers.

    Raises:
        RowsError: no gold or two of them, two values of a benchmark for a reward, or rewards that did not score the
            same completions.

    >>> scores = {"reward": "a", "benchmark": 0.7, "scores": [[0.1, 0.9]], "gold": [[0, 1]]}
    >>> zoo_from([scores, {"reward": "b", "benchmark": 0.6, "scores": [[0.2, 0.1]]}]).rewards.tolist()
    [[[0.1, 0.9]], [[0.2, 0.1]]]
    """
    if not records:
        raise RowsError("zoo_from: there are no records. Give one per reward, or one per completion.")
    whole = list(records) if "scores" in records[0] else _joined(records)
    names = [str(record.get("reward")) for record in whole]
    given = [(name, record.get("scores")) for name, record in zip(names, whole, strict=True)]
    true = [(name, own) for name, record in zip(names, whole, strict=True) if (own := record.get("gold")) is not None]
    if not true:
        raise RowsError("zoo_from: no record has `gold`, the true reward of each completion. Add it to one record.")
    tables, golds = ([_table(*one) for one in own] for own in (given, true))
    wanted = list(map(len, true[0][1]))
    for name, rows in (*given, *true):
        if list(map(len, rows)) != wanted:
            raise RowsError(
                f"zoo_from: {name} has {sum(map(len, rows))} completions of {len(rows)} prompts, but the first gold "
                f"has {sum(wanted)} of {len(wanted)}. Give all rewards the same completions, in lists of the same "
                "lengths; null where one has no score."
            )
    gold = golds[0]
    for (name, _), own in zip(true, golds, strict=True):
        gold = np.where(np.isnan(gold), own, gold)
        if not np.array_equal(np.where(np.isnan(own), gold, own), gold, equal_nan=True):
            raise RowsError(f"zoo_from: the gold of {name} is not that of the others. Give each completion one gold.")
    listed = [_listed(record.get("benchmark")) for record in whole]
    found = dict.fromkeys(name for own in listed for name in own)
    benchmarks = {name: np.array([own.get(name, math.nan) for own in listed]) for name in found}
    return Zoo(names, benchmarks, np.stack(tables), gold)


def run_zoo(
    rewards: Mapping[str, Target], items: Sequence[BenchmarkRow], rows: Sequence[Row], *, protocol: str, **options: Any
) -> Zoo:
    """Run every reward on the items of a benchmark and on completions with a column `gold`; one prompt's are its pool.

    The benchmark's score is the overall one, or the mean of its subsets where a section is missing.
    """
    records: list[dict[str, Any]] = []
    for name, target in rewards.items():
        found = run_benchmark(target, items, protocol=protocol, **options)
        known = [subset.value for subset in found.subsets.values() if not math.isnan(subset.value)]
        overall = mean_or_nan(known) if math.isnan(found.overall) else found.overall
        bare = [Row(row.prompt, row.completion, {k: v for k, v in row.columns.items() if k != "gold"}) for row in rows]
        for row, value in zip(rows, rewards_of(score(target, bare, **options)), strict=True):
            own = {"reward": name, "prompt": row.prompt_text, "score": value, "gold": row.columns.get("gold")}
            records.append({**own, "benchmark": {protocol: overall}})
    return zoo_from(records)


def study_figure(zoo: Zoo, study: DownstreamStudy) -> Figure:
    """Draw gold after both kinds of optimization against each benchmark's score, one point per reward."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    kinds = {
        "best of n": (study.optimized.best_of_n, study.best_of_n),
        "tilted": (study.optimized.tilted, study.tilted),
    }
    with mpl.rc_context(fname=HOUSE_STYLE):
        figure = Figure(figsize=(6.4, 2.8 * len(zoo.benchmarks)), layout="constrained")
        panels = figure.subplots(len(zoo.benchmarks), 2, squeeze=False)
        for row, (name, scores) in zip(panels, zoo.benchmarks.items(), strict=True):
            for axes, (kind, (gold, found)) in zip(row, kinds.items(), strict=True):
                axes.plot(scores, gold, "o", markersize=5)
                r = found[name].pearson
                axes.set_title(f"r = {r.value:.2f} ({r.low:.2f} to {r.high:.2f})", fontsize="medium")
                axes.set_xlabel(name)
                axes.set_ylabel(f"gold, {kind}")
    return figure


def _joined(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one record per reward of records per completion."""
    lacking = [name for name in ("reward", "prompt", "score") if name not in records[0]]
    if lacking:
        raise RowsError(
            f"zoo_from: the first record lacks {', '.join(lacking)}. Give reward, benchmark, prompt, score and gold "
            "per completion, or reward, benchmark, scores and gold per reward."
        )
    tables: dict[str, dict[str, list[tuple[str, Any, Any]]]] = defaultdict(lambda: defaultdict(list))
    benchmarks: dict[str, Any] = {}
    for record in records:
        name = str(record.get("reward"))
        own = tables[name][str(record.get("prompt"))]
        own.append((str(record.get("completion", len(own))).zfill(9), record.get("score"), record.get("gold")))
        if benchmarks.setdefault(name, record.get("benchmark")) != record.get("benchmark"):
            raise RowsError(f"zoo_from: {name} has two values of `benchmark`. Give every record of a reward the same.")
    first, wanted = next(iter(tables)), dict[str, list[str]]()
    whole = []
    for name, table in tables.items():
        ordered = {prompt: sorted(rows, key=lambda one: one[0]) for prompt, rows in table.items()}
        held = {prompt: [row[0] for row in rows] for prompt, rows in ordered.items()}
        wanted = wanted or held
        if held != wanted:
            raise RowsError(
                f"zoo_from: {name} scored other completions than {first}, or other prompts. Give all rewards the same "
                "completions; null where one has no score."
            )
        scores, gold = ([[row[k] for row in ordered[prompt]] for prompt in wanted] for k in (1, 2))
        known = any(value is not None for row in gold for value in row)
        record = {"reward": name, "benchmark": benchmarks[name], "scores": scores}
        whole.append(record | ({"gold": gold} if known else {}))
    return whole


def _listed(benchmark: Any) -> dict[str, float]:
    """Return {benchmark: number}; one number is called "benchmark"."""
    given = benchmark if isinstance(benchmark, Mapping) else {"benchmark": benchmark}
    return {name: _number(value) for name, value in given.items()}


def _number(value: Any) -> float:
    try:
        return math.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        raise RowsError(f"zoo_from: {value!r} is no number. Give numbers; null where one is not known.") from None


def _table(name: str, rows: Any) -> Array:
    """Return (P, M) numbers, filled with NaN."""
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise RowsError(f"zoo_from: scores or gold of {name} are no list with a list per prompt. Give [[…], […]].")
    table = np.full((len(rows), max(map(len, rows), default=0)), math.nan)
    for place, row in enumerate(rows):
        table[place, : len(row)] = [_number(value) for value in row]
    return table
