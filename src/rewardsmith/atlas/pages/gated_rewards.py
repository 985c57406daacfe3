"""Compare a gate on rewards per turn with dividing them by the number of turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.advantages import step_returns
from rewardsmith.atlas.criteria import All, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters, rows
from rewardsmith.transforms import add_outcome, gated_step_sum
from rewardsmith.transforms.gates import priority_gates
from rewardsmith.worlds import Streams
from rewardsmith.worlds.chain_training import Credit, train_chains
from rewardsmith.worlds.step_chain import Rollouts, StepChain

CRITERION = All(
    # Where turns pay more than the outcome does, dividing is not enough and the gate adds to it.
    PairedGain("submitted/gate_mean_strong", over="submitted/ungated_mean_strong", at_least=0.5, p_value=0.01),
    PairedGain("solved/gate_mean_strong", over="solved/ungated_mean_strong", at_least=0.5, p_value=0.01),
    # Must fail: an inverted gate.
    PairedGain("submitted/gate_inverted", over="submitted/gate_solved", at_most=0.0),
    # The control, no gate and the mean per turn, gains what the gate was to gain, and at least as much.
    PairedGain("submitted/ungated_mean", over="submitted/ungated", at_least=0.5, p_value=0.01),
    PairedGain("solved/ungated_mean", over="solved/ungated", at_least=0.5, p_value=0.01),
    PairedGain("solved/ungated_mean", over="solved/gate_solved", at_least=0.0, p_value=0.01),
)
NOT_SUBMITTED, UNSOLVED, SOLVED = -1.0, 0.0, 1.0


@dataclass(frozen=True, slots=True)
class World:
    """A repository task as a chain: content and filler are tool calls, the answer is the submission."""

    n_goals: int = 4  # sub-goals in order
    n_contents: int = 4  # content actions, one right per goal
    horizon: int = 12  # turns after which an episode is cut
    turn_reward: float = 0.5  # w, points of the outcome per tool call
    strong_turn_reward: float = 5.0  # points; w where turns pay more than the outcome
    initial_solved: float = 0.06  # probability that the first policy solves the task
    initial_submitted: float = 0.93  # probability that it submits before the horizon
    updates: int = 120  # steps of Adam
    rollouts: int = 64  # episodes per update
    learning_rate: float = 0.05  # of Adam, logits per step


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure exactly how often the trained policies submit and solve, and how long their episodes are."""
    streams = Streams(seeds)
    chain = StepChain.sample(streams, **parameters(world, StepChain.sample))
    trained = train_chains(
        chain, credits_of(world, chain.n_actions - 1, broken), streams=streams,
        start=chain.warm_start(solved=world.initial_solved, submitted=world.initial_submitted),
        evaluate_every=world.updates, **parameters(world, train_chains),
    )  # fmt: skip
    return rows({metric: trained.final(metric) for metric in ("submitted", "solved", "length")})


def credits_of(world: World, submit: int, broken: bool) -> dict[str, Credit]:
    """Return each arm's credit; `submit` is the action that is no tool call."""
    gate = inverted_gate if broken else episode_gate
    turns = partial(turn_rewards, submit=submit, turn_reward=world.turn_reward)
    mean = partial(mean_turn_rewards, submit=submit, turn_reward=world.turn_reward)
    strong = partial(mean_turn_rewards, submit=submit, turn_reward=world.strong_turn_reward)
    return {
        "outcome_only": partial(ungated, turns=turns, weight=0.0),
        "ungated": partial(ungated, turns=turns),
        "ungated_mean": partial(ungated, turns=mean),
        "gate_submitted": partial(gate, turns=turns, threshold=NOT_SUBMITTED),
        "gate_solved": partial(gate, turns=turns, threshold=UNSOLVED),
        "gate_mean": partial(gate, turns=mean, threshold=UNSOLVED),
        "gate_inverted": partial(inverted_gate, turns=turns, threshold=UNSOLVED),
        "ungated_mean_strong": partial(ungated, turns=strong),
        "gate_mean_strong": partial(gate, turns=strong, threshold=UNSOLVED),
    }


def turn_rewards(drawn: Rollouts, *, submit: int, turn_reward: float) -> Tensor:
    """Return (R, T) w for every tool call, 0 for a submission."""
    return turn_reward * (drawn.actions != submit).to(drawn.step_rewards)


def mean_turn_rewards(drawn: Rollouts, *, submit: int, turn_reward: float) -> Tensor:
    """Return (R, T) `turn_rewards` divided by the episode's number of turns."""
    rewards = turn_rewards(drawn, submit=submit, turn_reward=turn_reward)
    return rewards / drawn.step_mask.sum(dim=1, keepdim=True)


def outcomes(drawn: Rollouts) -> Tensor:
    """Return (R,) −1 not submitted, 0 submitted and unsolved, 1 solved."""
    return torch.where(drawn.submitted == 1, torch.where(drawn.solved == 1, SOLVED, UNSOLVED), NOT_SUBMITTED)


def ungated(drawn: Rollouts, *, turns: Credit, weight: float = 1.0) -> Tensor:
    """Return (R, T) returns of rewards per turn and the outcome at the end."""
    rewards = add_outcome(turns(drawn), outcomes(drawn), drawn.step_mask, weight=weight)
    return step_returns(rewards, drawn.step_mask)


def episode_gate(drawn: Rollouts, *, turns: Credit, threshold: float) -> Tensor:
    """Return (R, T) returns where the completed episode's outcome gates its rewards per turn."""
    levels = [turns(drawn), outcomes(drawn).to(drawn.step_rewards)]
    gated = gated_step_sum(levels, drawn.step_mask, thresholds=[0.0, threshold])
    return step_returns(gated.step_rewards, drawn.step_mask)


def inverted_gate(drawn: Rollouts, *, turns: Credit, threshold: float) -> Tensor:
    """Return (R, T) returns where rewards per turn count only below the threshold."""
    outcome = outcomes(drawn).to(drawn.step_rewards)
    gate = priority_gates(torch.stack([outcome, outcome], dim=1), thresholds=[0.0, threshold])[:, :1]
    rewards = add_outcome(turns(drawn) * (1 - gate), outcome, drawn.step_mask)
    return step_returns(rewards, drawn.step_mask)


figure = partial(dots, series={"submits": "submitted/{}", "solves": "solved/{}"}, label="probability")
