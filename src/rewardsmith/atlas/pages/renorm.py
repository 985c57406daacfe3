"""Compare centered process scores with scores divided by the number of turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from rewardsmith.advantages import step_returns
from rewardsmith.atlas.criteria import All, AtMost, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters, rows
from rewardsmith.transforms import add_outcome, renorm
from rewardsmith.transforms.steps import gate_by_outcome
from rewardsmith.worlds import Streams
from rewardsmith.worlds.chain_training import Credit, Training, train_chains
from rewardsmith.worlds.step_chain import Rollouts, StepChain

CRITERION = All(
    # Free length: the centering is what keeps the broadcast scores from being collected by padding.
    PairedGain("free_solved/renorm", over="free_solved/broadcast", at_least=0.4, p_value=0.01),
    AtMost("free_solved/renorm_flipped", 0.1),
    AtMost("fixed_solved/process_only", 0.1),
    # The control, scores divided by the number of turns, gains what ReNorm was to gain, and at least as much.
    PairedGain("fixed_area/divided", over="fixed_area/outcome_only", at_least=0.08, p_value=0.01),
    PairedGain("free_solved/divided", over="free_solved/sum", at_least=0.4, p_value=0.01),
    PairedGain("fixed_area/divided", over="fixed_area/renorm", at_least=0.0, p_value=0.01),
    PairedGain("free_solved/divided", over="free_solved/renorm", at_least=0.0),
)
FIXED = ("outcome_only", "process_only", "sum", "divided", "broadcast", "renorm")
FREE = (*FIXED, "renorm_per_turn_mean", "renorm_flipped", "gate")


@dataclass(frozen=True, slots=True)
class World:
    """Part A has a fixed number of turns with lures; part B has chains of free length with filler."""

    turns: int = 6  # turns of part A
    n_actions: int = 6  # actions per turn of part A, one right
    n_lures: int = 2  # turns of part A at which a wrong action scores best
    fixed_initial_solved: float = 0.001  # probability; first policy of part A
    repeats: int = 8  # independent worlds of part A per seed, whose mean is the seed's number
    fixed_updates: int = 200  # steps of Adam in part A
    fixed_rollouts: int = 32  # episodes per update in part A
    fixed_learning_rate: float = 0.05  # of Adam, logits per step, in part A
    n_goals: int = 4  # sub-goals of part B
    horizon: int = 12  # turns after which an episode of part B is cut
    initial_solved: float = 0.10  # probability; first policy of part B
    initial_submitted: float = 0.93  # probability that it answers before the horizon
    updates: int = 160  # steps of Adam in part B
    rollouts: int = 8  # episodes per update in part B
    learning_rate: float = 0.03  # of Adam, logits per step, in part B
    noise_std: float = 0.08  # points; error of the process score


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure each combination's true success: over training and at the end (A), at the end with its length (B)."""
    arms = credits_by_name(broken)
    fixed, free = fixed_turns(seeds, world, arms), free_length(seeds, world, arms)
    return rows({
        "fixed_area": by_seed(fixed.area("solved"), world.repeats),
        "fixed_solved": by_seed(fixed.final("solved"), world.repeats),
        "free_solved": free.final("solved"),
        "free_length": free.final("length"),
    })  # fmt: skip


def fixed_turns(seeds: Sequence[int], world: World, arms: dict[str, Credit]) -> Training:
    """Train part A, in several worlds per seed."""
    streams = Streams([world.repeats * seed + repeat for seed in seeds for repeat in range(world.repeats)])
    chain = StepChain.fixed_turns(streams, n_turns=world.turns, **parameters(world, StepChain.fixed_turns))
    return train_chains(
        chain, {name: arms[name] for name in FIXED}, streams=streams,
        start=chain.warm_start(solved=world.fixed_initial_solved), updates=world.fixed_updates,
        rollouts=world.fixed_rollouts, learning_rate=world.fixed_learning_rate, evaluate_every=5,
    )  # fmt: skip


def by_seed(arms: dict[str, Tensor], repeats: int) -> dict[str, Tensor]:
    """Average over each seed's worlds: (S,) per arm."""
    return {name: values.view(-1, repeats).mean(dim=1) for name, values in arms.items()}


def free_length(seeds: Sequence[int], world: World, arms: dict[str, Credit]) -> Training:
    """Train part B."""
    streams = Streams(seeds)
    chain = StepChain.sample(streams, **parameters(world, StepChain.sample))
    return train_chains(
        chain, {name: arms[name] for name in FREE}, streams=streams,
        start=chain.warm_start(solved=world.initial_solved, submitted=world.initial_submitted),
        evaluate_every=world.updates, **parameters(world, train_chains),
    )  # fmt: skip


def credits_by_name(broken: bool) -> dict[str, Credit]:
    """Return each arm's credit."""
    center = (0.0, 0.0) if broken else (0.5, 0.5)
    return {
        "outcome_only": partial(combined, weight=0.0),
        "process_only": lambda drawn: step_returns(drawn.step_rewards, drawn.step_mask),
        "sum": combined,
        "divided": divided,
        "broadcast": partial(renormed, center=(0.0, 0.0)),
        "gate": partial(combined, combine=gate_by_outcome),
        "renorm": partial(renormed, center=center),
        "renorm_per_turn_mean": partial(renormed, center=center, per_step_mean=True),
        "renorm_flipped": lambda drawn: renormed(drawn._replace(step_rewards=1 - drawn.step_rewards), center=center),
    }


def combined(drawn: Rollouts, *, combine: Callable[..., Tensor] = add_outcome, **how: Any) -> Tensor:
    """Return (R, T) returns of process scores and the outcome at the end."""
    return step_returns(combine(drawn.step_rewards, drawn.solved, drawn.step_mask, **how), drawn.step_mask)


def divided(drawn: Rollouts) -> Tensor:
    """Return (R, T) returns of the mean process score and the outcome at the end."""
    mean = drawn.step_rewards / drawn.step_mask.sum(dim=1, keepdim=True)
    return combined(drawn._replace(step_rewards=mean))


def renormed(drawn: Rollouts, **how: Any) -> Tensor:
    """Return (R, T) returns of process scores and outcome, added and centered."""
    return step_returns(renorm(drawn.step_rewards, drawn.solved, drawn.step_mask, **how), drawn.step_mask)


figure = partial(
    dots,
    series={"free length: success at the end": "free_solved/{}", "fixed turns: mean success": "fixed_area/{}"},
    rows=FREE,
    label="success",
)
