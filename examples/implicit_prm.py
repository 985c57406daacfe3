"""make .venv/.installed && .venv/bin/python -m examples.implicit_prm

A process reward without labels of steps: a copy of the policy learns which of its answers are right, and the log-ratio
of the two scores every line. It picks the best of 16 answers, and it trains the policy, beside the outcome and alone.
Yuan et al. 2024, arXiv:2412.01981.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial

import torch

from examples.support import LINES, Panels, build, present, sampled, seeded, trained
from examples.watch import Rows, by_quantity
from rewardsmith.advantages import leave_one_out, step_credit
from rewardsmith.data import OutcomeRow, split_steps
from rewardsmith.engines.trl import RewardFit, fit_reward_model
from rewardsmith.measures import solution_score
from rewardsmith.recipes import Recipe, source, step_source
from rewardsmith.rewards import ImplicitPRM, load_reward_model
from rewardsmith.worlds import ArithmeticLM, ChainSums, final_answer_reward

TASK = ChainSums()  # 3+4+2= answered as "3+4=7\n7+2=9\n#### 9", or with errors, restated lines and leaps to the answer
EACH = 8  # answers to a prompt, to learn from
ASKED, SAMPLES = 64, 16  # prompts and answers to choose from


def answers(world: ArithmeticLM, n: int, each: int, *, seed: int) -> tuple[list[str], list[str], list[float]]:
    """Draw `each` answers to n prompts from the policy: prompts, completions, and whether they are right."""
    prompts = [row["prompt"] for row in world.rows(n, generator=seeded(seed)) for _ in range(each)]
    completions = sampled(world, world.model, prompts, seed=seed, max_tokens=32)
    return prompts, completions, [gold.correct for gold in TASK.gold(prompts, completions)]


def learned(world: ArithmeticLM, *, seed: int, prompts: int, fit_steps: int) -> ImplicitPRM:
    """Train on sampled answers, by whether they are right."""
    drawn = zip(*answers(world, prompts, EACH, seed=seed), strict=True)
    rows = [OutcomeRow(prompt, completion, bool(right)) for prompt, completion, right in drawn]
    fit = RewardFit(max_steps=fit_steps, batch_size=64, learning_rate=1e-3, beta=1.0, seed=seed)
    return ImplicitPRM(load_reward_model(fit_reward_model(rows, world.folder, tempfile.mkdtemp() + "/rm", fit)))


def lines(texts: list[str]) -> list[list[str]]:
    """The steps of each text."""
    return [split_steps(text, separator="\n") for text in texts]


def best_of(world: ArithmeticLM, prm: ImplicitPRM, *, seed: int) -> dict[str, float]:
    """Return the share of right answers among those that a score picks from 16."""
    prompts, completions, gold = answers(world, ASKED, SAMPLES, seed=seed + 1000)
    rows = {"prompts": prompts, "completions": completions}
    steps = prm(**rows, steps=lines(completions))
    scores = {
        "implicit outcome reward": prm.outcome(**rows),
        "least implicit step reward": [solution_score(row, "min") if row else None for row in steps],
        "log-probability of the untrained policy": [-row.reward_cap for row in prm.tokens(**rows)],
    }
    table = torch.tensor(gold).view(ASKED, SAMPLES)
    found = {"none": float(table.mean())}
    for name, values in scores.items():
        given = torch.tensor([-1e9 if value is None else value for value in values]).view(ASKED, SAMPLES)
        found[name] = float(table.gather(1, given.argmax(dim=1, keepdim=True)).mean())
    return found


def measure_with(prm: ImplicitPRM) -> Callable[[Rows], dict[str, float]]:
    """Which answers are right, by which way, and what the implicit reward says."""

    def measure(rows: Rows) -> dict[str, float]:
        gold = TASK.gold(rows["prompts"], rows["completions"])
        proxy = prm.outcome(prompts=rows["prompts"], completions=rows["completions"])
        return {
            "right answers (gold)": sum(g.correct for g in gold) / len(gold),
            "right in every line (gold)": sum(g.sound for g in gold) / len(gold),
            "implicit reward (proxy)": sum(value or 0.0 for value in proxy) / len(proxy),
            "lines": sum(map(len, lines(rows["completions"]))) / len(gold),
        }

    return measure


def run(*, steps: int = 80, seed: int = 0, prompts: int = 400, fit_steps: int = 150) -> Panels:
    """Train the process reward, choose by it, train each arm, and bring back its curves."""
    world = build(TASK, seed=seed, steps=400)
    prm = learned(world, seed=seed, prompts=prompts, fit_steps=fit_steps)
    print("best of 16:", {name: round(share, 2) for name, share in best_of(world, prm, seed=seed).items()})
    right, scores = source(final_answer_reward, "right"), 0.1 * step_source(prm)
    recipes = {
        "outcome": Recipe(right, advantage=leave_one_out),
        "outcome + implicit steps": Recipe(right, steps=scores, advantage=partial(step_credit, outcome_weight=1.0)),
        "implicit steps alone": Recipe(right, steps=scores, advantage=step_credit),
    }
    settings = {"max_steps": steps, "seed": seed, "max_completion_length": 32, "learning_rate": 5e-4}
    arms = {n: trained(world, r, measure_with(prm), segment=LINES, **settings) for n, r in recipes.items()}
    return by_quantity(arms)


if __name__ == "__main__":
    present(
        "implicit_prm", run, title="Step rewards learned from outcomes", seeds=(0, 1, 2),
        bounded=["right answers (gold)", "right in every line (gold)"],
    )  # fmt: skip
