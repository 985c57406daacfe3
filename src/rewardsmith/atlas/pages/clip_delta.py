"""Clip process scores and reward their differences only: the total per chain is bounded, and padding gains nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import torch
from torch import Tensor

from rewardsmith.advantages import step_returns
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain, Within
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters, rows
from rewardsmith.auditing import padding_probe
from rewardsmith.data import Row
from rewardsmith.transforms import add_outcome, clip_steps, delta_steps
from rewardsmith.worlds import Streams
from rewardsmith.worlds.chain_training import Credit, Training, train_chains
from rewardsmith.worlds.step_chain import Rollouts, StepChain

CRITERION = All(
    PairedGain("solved/process", over="solved/outcome_only", at_most=-0.5),  # the first that must fail
    PairedGain("solved/clip_delta", over="solved/outcome_only", at_least=-0.03),
    PairedGain("solved/clip_delta", over="solved/process", at_least=0.5, p_value=0.01),
    AtMost("filler_share/clip_delta", 0.15),
    AtLeast("padding_gain/process", 1e-6),
    AtMost("padding_gain/clip", 0.0),
    Within("padding_gain/delta_keep", -0.08, 0.08),  # the noise of one score
    PairedGain("solved/delta_reversed", over="solved/outcome_only", at_most=-0.03),  # the second
)
Shape = Callable[[Tensor, Tensor], Tensor]
WEAK = 0.2
RIGHT_ANSWER = 0.9  # points; mean process score of a right answer
PROBED = ("process", "clip", "delta_keep")


@dataclass(frozen=True, slots=True)
class World:
    """Chains whose process reward scores filler above the right step."""

    n_goals: int = 4  # sub-goals in order
    n_contents: int = 4  # content actions, one right per goal
    horizon: int = 12  # steps after which a chain is cut
    right_score: float = 0.85  # points; mean process score of a right step
    filler_score: float = 0.90  # points; of a step that changes nothing
    noise_std: float = 0.08  # points; error of the process score
    threshold: float = 0.7  # η, points
    weight: float = 1.0  # α of the process reward; success is worth 1
    probed: int = 16  # chains that the padding probe pads
    initial_solved: float = 0.22  # probability that the first policy solves a chain
    initial_submitted: float = 0.93  # probability that it answers before the horizon
    updates: int = 160  # steps of Adam
    rollouts: int = 64  # chains per update
    learning_rate: float = 0.05  # of Adam, logits per step


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure success, length and share of filler under each shaping, and what padding a right chain earns."""
    streams = Streams(seeds)
    chain = StepChain.sample(streams, **parameters(world, StepChain.sample))
    shapes = shapes_of(world.threshold, broken)
    trained = training(chain, streams, shapes, world)
    found = rows({metric: trained.final(metric) for metric in ("solved", "length", "filler_share")})
    return [row | padding_gains(seed, shapes, world) for row, seed in zip(found, seeds, strict=True)]


def shapes_of(threshold: float, broken: bool) -> dict[str, Shape]:
    """Return each arm's shaping of (R, T) scores under their mask."""
    clip = partial(clip_steps, threshold=threshold)
    drop = partial(delta_steps, terminal="drop")
    return {
        "process": raw,
        "clip": clip,
        "delta_drop": drop,
        "delta_keep": delta_steps,
        "clip_delta": raw if broken else lambda scores, mask: drop(clip(scores, mask), mask),
        "clip_delta_keep": raw if broken else lambda scores, mask: delta_steps(clip(scores, mask), mask),
        "delta_reversed": lambda scores, mask: -drop(scores, mask),
    }


def raw(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the scores unchanged."""
    return torch.where(mask, scores, torch.nan)


def training(chain: StepChain, streams: Streams, shapes: dict[str, Shape], world: World) -> Training:
    """Train all arms: at full weight, at a weak one, and some from an uninformed start."""
    arms: dict[str, Credit] = {"outcome_only": partial(paid, shape=raw, weight=0.0)}
    arms |= {name: partial(paid, shape=shape, weight=world.weight) for name, shape in shapes.items()}
    arms |= {f"{name}_weak": partial(paid, shape=shape, weight=WEAK) for name, shape in shapes.items()}
    warm = chain.warm_start(solved=world.initial_solved, submitted=world.initial_submitted)
    uninformed = ("clip", "clip_delta")
    starts = [warm.expand(-1, len(arms), -1, -1), torch.zeros_like(warm).expand(-1, len(uninformed), -1, -1)]
    arms |= {f"{name}_uninformed": partial(paid, shape=shapes[name], weight=world.weight) for name in uninformed}
    start, schedule = torch.cat(starts, dim=1), parameters(world, train_chains)
    return train_chains(chain, arms, streams=streams, start=start, evaluate_every=world.updates, **schedule)


def paid(drawn: Rollouts, *, shape: Shape, weight: float) -> Tensor:
    """Return (R, T) returns of shaped scores, and success at the end."""
    shaped = shape(drawn.step_rewards, drawn.step_mask)
    return step_returns(add_outcome(shaped, drawn.solved, drawn.step_mask, weight=weight), drawn.step_mask)


def padding_gains(seed: int, shapes: dict[str, Shape], world: World) -> dict[str, float]:
    """Return by shaping what chains of right steps gain per inserted filler, by the probe."""
    texts = [*(f"Goal {goal} is met." for goal in range(world.n_goals)), "So the answer follows."]
    chains = [Row(f"Task {task}", "\n\n".join(texts)) for task in range(world.probed)]
    reward = partial(written_scores, texts=texts, seed=seed, world=world)
    return {
        f"padding_gain/{name}": round(
            padding_probe(reward, chains, aggregate=partial(total, shape=shapes[name]), workers=0).gain, 12
        )
        for name in PROBED
    }


def written_scores(
    prompts: list[Any], steps: list[list[str]], *, texts: list[str], seed: int, world: World, **columns: Any
) -> list[list[float]]:
    """Score chains as text: a step that is neither a goal nor the answer is filler.

    A step keeps its error wherever it stands, so that the probe changes one thing; the second of two equal steps has
    its own.
    """

    def score(prompt: Any, step: str, before: int) -> float:
        mean = world.right_score if step in texts[:-1] else RIGHT_ANSWER if step == texts[-1] else world.filler_score
        return mean + Random(f"{seed} {prompt} {step} {before}").gauss(0.0, world.noise_std)

    return [
        [score(prompt, step, chain[:place].count(step)) for place, step in enumerate(chain)]
        for prompt, chain in zip(prompts, steps, strict=True)
    ]


def total(scores: Sequence[float], *, shape: Shape) -> float:
    """Sum a chain's shaped scores."""
    row = torch.tensor([list(scores)], dtype=torch.float64)
    return float(shape(row, torch.ones_like(row, dtype=torch.bool)).sum())


figure = partial(
    dots,
    series={"weight 1": "solved/{}", f"weight {WEAK}": "solved/{}_weak", "uninformed start": "solved/{}_uninformed"},
    rows=("outcome_only", "process", "clip", "delta_drop", "delta_keep", "clip_delta", "clip_delta_keep",
          "delta_reversed"),
    label="success",
)  # fmt: skip
