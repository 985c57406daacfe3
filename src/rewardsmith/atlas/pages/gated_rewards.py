"""Easy rewards per turn count only in episodes that achieve what matters more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.advantages import step_returns
from rewardsmith.atlas.criteria import All, Equal, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters, rows
from rewardsmith.transforms import add_outcome, gated_step_sum
from rewardsmith.transforms.gates import priority_gates
from rewardsmith.worlds import Streams
from rewardsmith.worlds.chain_training import Credit, train_chains
from rewardsmith.worlds.step_chain import Rollouts, StepChain

CRITERION = All(
    PairedGain("submitted/gate_solved", over="submitted/ungated", at_least=0.5, p_value=0.01),
    PairedGain("solved/gate_solved", over="solved/ungated", at_least=0.5, p_value=0.01),
    PairedGain("submitted/gate_submitted", over="submitted/ungated", at_least=0.5, p_value=0.01),
    PairedGain("solved/gate_submitted", over="solved/ungated", at_least=0.5, p_value=0.01),
    # Thresholds below and above every outcome give back the two baselines, to the last digit.
    Equal("submitted/gate_always_open", to="submitted/ungated", tol=0.0),
    Equal("solved/gate_always_open", to="solved/ungated", tol=0.0),
    Equal("submitted/gate_never_open", to="submitted/outcome_only", tol=0.0),
    Equal("solved/gate_never_open", to="solved/outcome_only", tol=0.0),
    # The two that must fail: an inverted gate, and one that is asked at each turn, before there is an outcome.
    PairedGain("submitted/gate_inverted", over="submitted/gate_solved", at_most=0.0),
    Equal("submitted/turn_gate_trusting", to="submitted/ungated", tol=0.0),
    Equal("submitted/turn_gate_doubting", to="submitted/outcome_only", tol=0.0),
)
NOT_SUBMITTED, UNSOLVED, SOLVED = -1.0, 0.0, 1.0
THRESHOLDS = {"always_open": -2.0, "submitted": -1.0, "solved": 0.0, "never_open": 1.0}


@dataclass(frozen=True, slots=True)
class World:
    """A repository task as a chain: content and filler are tool calls, the answer is the submission."""

    n_goals: int = 4  # sub-goals in order
    n_contents: int = 4  # content actions, one right per goal
    horizon: int = 12  # turns after which an episode is cut
    turn_reward: float = 0.5  # w, points of the outcome; paid per tool call
    initial_solved: float = 0.06  # probability that the first policy solves the task
    initial_submitted: float = 0.93  # probability that it submits before the horizon
    updates: int = 120  # steps of Adam
    rollouts: int = 64  # episodes per update
    learning_rate: float = 0.05  # of Adam, logits per step


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """How often the trained policies submit and solve, and how long their episodes are, exactly."""
    streams = Streams(seeds)
    chain = StepChain.sample(streams, **parameters(world, StepChain.sample))
    trained = train_chains(
        chain, credits_of(world, chain.n_actions - 1, broken), streams=streams,
        start=chain.warm_start(solved=world.initial_solved, submitted=world.initial_submitted),
        evaluate_every=world.updates, **parameters(world, train_chains),
    )  # fmt: skip
    return rows({metric: trained.final(metric) for metric in ("submitted", "solved", "length")})


def credits_of(world: World, submit: int, broken: bool) -> dict[str, Credit]:
    """What each arm pays; `submit` is the action that is no tool call."""
    turns = partial(turn_rewards, submit=submit, turn_reward=world.turn_reward)
    arms: dict[str, Credit] = {
        "outcome_only": partial(plain, turns=turns, weight=0.0),
        "ungated": partial(plain, turns=turns),
    }
    inverted = partial(inverted_gate, turns=turns, threshold=THRESHOLDS["solved"])
    for name, threshold in THRESHOLDS.items():
        gate = inverted_gate if broken else episode_gate
        arms[f"gate_{name}"] = partial(gate, turns=turns, threshold=threshold)
    arms["gate_solved_mean"] = partial(episode_gate, turns=turns, threshold=THRESHOLDS["solved"], reduce="mean")
    arms["gate_inverted"] = inverted
    arms["turn_gate_trusting"] = partial(turn_gate, turns=turns, belief=SOLVED)
    arms["turn_gate_doubting"] = partial(turn_gate, turns=turns, belief=NOT_SUBMITTED)
    return arms


def turn_rewards(drawn: Rollouts, *, submit: int, turn_reward: float) -> Tensor:
    """(R, T) w for every tool call, 0 for a submission."""
    return turn_reward * (drawn.actions != submit).to(drawn.step_rewards)


def outcomes(drawn: Rollouts) -> Tensor:
    """(R,) −1 not submitted, 0 submitted and unsolved, 1 solved."""
    return torch.where(drawn.submitted == 1, torch.where(drawn.solved == 1, SOLVED, UNSOLVED), NOT_SUBMITTED)


def plain(drawn: Rollouts, *, turns: Credit, weight: float = 1.0) -> Tensor:
    """(R, T) returns of rewards per turn and the outcome at the end, ungated."""
    paid = add_outcome(turns(drawn), outcomes(drawn), drawn.step_mask, weight=weight)
    return step_returns(paid, drawn.step_mask)


def episode_gate(drawn: Rollouts, *, turns: Credit, threshold: float, reduce: str = "sum") -> Tensor:
    """(R, T) returns where the completed episode's outcome gates its rewards per turn."""
    levels = [turns(drawn), outcomes(drawn).to(drawn.step_rewards)]
    gated = gated_step_sum(levels, drawn.step_mask, thresholds=[0.0, threshold], reduce=reduce)  # type: ignore[arg-type]
    return step_returns(gated.step_rewards, drawn.step_mask)


def inverted_gate(drawn: Rollouts, *, turns: Credit, threshold: float) -> Tensor:
    """(R, T) returns where rewards per turn count only below the threshold."""
    outcome = outcomes(drawn).to(drawn.step_rewards)
    gate = priority_gates(torch.stack([outcome, outcome], dim=1), thresholds=[0.0, threshold])[:, :1]
    paid = add_outcome(turns(drawn) * (1 - gate), outcome, drawn.step_mask)
    return step_returns(paid, drawn.step_mask)


def turn_gate(drawn: Rollouts, *, turns: Credit, belief: float) -> Tensor:
    """(R, T) returns where each turn is gated as it is paid, on a belief about the outcome that is yet to come."""
    rewards = turns(drawn)
    levels = torch.stack([rewards, torch.full_like(rewards, belief)], dim=-1).flatten(0, 1)  # (R·T, 2)
    gate = priority_gates(levels, thresholds=[0.0, THRESHOLDS["solved"]])[:, 0].view_as(rewards)
    paid = add_outcome(rewards * gate, outcomes(drawn), drawn.step_mask)
    return step_returns(paid, drawn.step_mask)


figure = partial(dots, series={"submits": "submitted/{}", "solves": "solved/{}"}, label="probability")
