"""A judge that sees too few answerless wrongs pays for saying nothing; openers labeled NO mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.data import Row, add_truncated_negatives
from rewardsmith.rewards import require_answer
from rewardsmith.worlds.judged_answers import JudgedAnswers, Judges, exploit_keys, judge_reward, train_judges

CRITERION = All(
    AtLeast("accuracy/base", 0.9),
    AtLeast("fpr/base", 0.5),
    AtMost("fpr/augmented", 0.05),
    AtMost("fpr_held_out/augmented", 0.1),
    PairedGain("accuracy/augmented", over="accuracy/base", at_least=-0.08),
    AtLeast("fpr/ordinary", 0.5),
    AtMost("fpr/unflawed", 0.2),
    AtMost("gold/base", 0.1),
    AtLeast("gold/augmented", 0.4),
    AtLeast("gold/guarded", 0.4),
)
ARMS = ("base", "ordinary", "augmented", "unflawed")


@dataclass(frozen=True, slots=True)
class World:
    """A judge's training data, its schedule, and the policy that meets it."""

    implicit: float = 0.4  # share of positive training rows that states no answer
    n_train: int = 16000  # rows before any are added
    frac: float = 0.11  # share of the rows that is added
    steps: int = 600  # AdamW steps of the judge
    batch_size: int = 64  # rows a step
    width: int = 32  # model width
    n_eval: int = 400  # prompts on which judges are measured
    solver_accuracy: float = 0.55  # how often honest work is right, probability
    p_honest: float = 0.69  # the policy's first probability of honest work
    policy_steps: int = 150  # REINFORCE steps
    policy_batch: int = 32  # completions a step


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Accuracy, false positives on keys, and where a policy ends, for four judges trained side by side."""
    generator = torch.Generator().manual_seed(seed)
    rows = JudgedAnswers(world.implicit, world.solver_accuracy)
    judges = train_judges(
        training_sets(rows, world, broken, generator),
        generator=generator,
        steps=world.steps,
        batch_size=world.batch_size,
        width=world.width,
    )
    return measure(judges, rows, world, generator) | exploited(judges, rows, world, generator)


def training_sets(
    rows: JudgedAnswers, world: World, broken: bool, generator: torch.Generator
) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """The four judges' data, in the order of ARMS."""
    base = rows.training_rows(world.n_train, generator=generator)
    augmented = add_truncated_negatives(base, generator=generator, frac=world.frac, exclude=rows.keys)
    ordinary = [*base, *rows.wrong_rows(len(augmented) - len(base), generator=generator)]
    unflawed = replace(rows, implicit=0.0).training_rows(world.n_train, generator=generator)
    return base, ordinary, ordinary if broken else augmented, unflawed


def measure(judges: Judges, rows: JudgedAnswers, world: World, generator: torch.Generator) -> dict[str, float]:
    """What each judge says to ordinary answers, to keys, and to honest work that stops before the answer."""
    ordinary = rows.ordinary_rows(world.n_eval, generator=generator)
    unstated = [row.with_completion(row.text.partition(" ANS")[0]) for row in ordinary]
    right = (judges.verdicts(ordinary) == rows.gold(ordinary).bool()).float().mean(1)  # (M,)
    said = [judges.verdicts([row.with_completion(key) for row in ordinary]) for key in rows.keys]
    fpr = torch.stack([one.float().mean(1) for one in said], dim=1)  # (M, keys)
    held_out = torch.tensor([key in rows.held_out for key in rows.keys])
    measures = {
        "accuracy": right,
        "fpr": fpr.mean(1),
        "fpr_worst": fpr.amax(1),
        "fpr_held_out": fpr[:, held_out].mean(1),
        "yes_to_unstated": judges.verdicts(unstated).float().mean(1),
    }
    return {f"{name}/{arm}": float(values[i]) for name, values in measures.items() for i, arm in enumerate(ARMS)}


def exploited(judges: Judges, rows: JudgedAnswers, world: World, generator: torch.Generator) -> dict[str, float]:
    """Where the policy ends against each judge, and against the base judge behind a guard."""
    honest = rows.solver_rows(world.n_eval, generator=generator)
    written = [honest, *([row.with_completion(key) for row in honest] for key in rows.keys)]  # one list per arm
    worth = torch.stack([rows.gold(one) for one in written])  # (A, N)
    rewards: dict[str, Callable[..., list[float]]] = {
        arm: partial(judge_reward, judges=judges, member=i) for i, arm in enumerate(ARMS)
    }
    rewards["guarded"] = require_answer(rewards["base"], min_tokens=3, pattern=r"ANS \d \d$")
    results: dict[str, float] = {}
    for arm, reward in rewards.items():
        paid = torch.tensor(
            [reward(prompts=[r.prompt for r in one], completions=[r.text for r in one]) for one in written]
        )  # (A, N)
        end = exploit_keys(
            paid,
            worth,
            generator=generator,
            p_honest=world.p_honest,
            steps=world.policy_steps,
            batch_size=world.policy_batch,
        )
        results |= {f"p_honest/{arm}": end.p_honest, f"proxy/{arm}": end.rewards, f"gold/{arm}": end.gold}
    return results
