"""Audits of published rewards: TRL's built-in ones and every reasoning-gym scorer."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from rewardsmith.auditing import Report, audit
from rewardsmith.data import Row
from rewardsmith.errors import MissingExtraError, TargetError
from rewardsmith.scoring import Scorer, load_target
from rewardsmith.scoring.loading import target_rows

TRL_REWARDS = (
    "trl.rewards:accuracy_reward",
    "trl.rewards:reasoning_accuracy_reward",
    "trl.rewards:think_format_reward",
    "trl.rewards:get_cosine_scaled_reward(max_len=200)",
    "trl.rewards:get_repetition_penalty_reward()",
    "trl.rewards:get_soft_overlong_punishment(max_completion_len=200, soft_punish_cache=50)",
)
OUR_REWARDS = (
    "rewardsmith.rewards:exact_number",
    "rewardsmith.rewards:math_equal",
    "rewardsmith.rewards:think_format",
)
SMALL_BUDGET, BUDGET, LARGE_BUDGET = 500, 2_000, 8_000
SLOW = 0.01  # seconds a row, from which the budget is smaller
TIMEOUT = 2.0
SIDE_BY_SIDE = 2


class Entry(NamedTuple):
    """One reward of the league: its report, or the reason why there is none."""

    spec: str
    report: Report | None
    trouble: str = ""


def run_league(specs: Sequence[str], *, seed: int, console: Console) -> list[Entry]:
    """Audit every target, two at a time, with a progress bar; an entry without a report has a reason."""
    rng = random.Random(seed)
    # Prompts whose keys are integers, fractions, decimals and pairs, as in published mathematics data.
    rows = []
    for i in range(48):
        match i % 4:
            case 0:
                a, b = rng.randint(10, 900), rng.randint(10, 900)
                asked, key = f"A depot holds {a} crates and receives {b} more. How many are there now?", str(a + b)
            case 1:
                a, b = sorted(rng.sample((3, 5, 7, 11, 13, 17), 2))
                asked, key = f"Write {3 * a} out of {3 * b} as a fraction in lowest terms.", f"\\frac{{{a}}}{{{b}}}"
            case 2:
                a = rng.randint(11, 99)
                asked, key = f"What is {a} divided by 8?", str(a / 8)
            case _:
                a, b = rng.randint(2, 9), rng.randint(10, 19)
                asked, key = f"Solve x + y = {a + b} and y - x = {b - a} for (x, y).", f"({a}, {b})"
        rows.append(Row(asked, columns={"answer": key}))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        entries = pool.map(lambda spec: _enter(spec, rows, seed), specs)
        return list(track(entries, "auditing published rewards", len(specs), console=console, transient=True))


def _enter(spec: str, rows: list[Row], seed: int) -> Entry:
    try:
        target = load_target(spec)
        own = target.contract == "reasoning-gym"
        given = target_rows(target, 8, seed) if own else rows
        tried = [row.with_completion(row.answer or "") for row in given[:4]]
        with Scorer(target, timeout=TIMEOUT) as scorer:
            scorer.score(tried)
            start = time.perf_counter()
            scorer.score(tried, nonce="timed")
        slow = time.perf_counter() - start > SLOW * len(tried)
        budget = SMALL_BUDGET if slow else BUDGET if own else LARGE_BUDGET
        return Entry(spec, audit(target, given, budget=budget, timeout=TIMEOUT, seed=seed))
    except (TargetError, MissingExtraError) as error:
        return Entry(spec, None, str(error))
