"""A chain of reasoning is worth its worst step, not the sum of its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.advantages import leave_one_out, min_returns, softmin_returns, step_returns
from rewardsmith.advantages.steps import max_returns, mean_returns, min_form_weights, token_leave_one_out
from rewardsmith.atlas.criteria import All, AtLeast, AtMost
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters, rows
from rewardsmith.transforms import add_outcome
from rewardsmith.worlds import Streams
from rewardsmith.worlds.chain_training import Credit, train_chains
from rewardsmith.worlds.step_chain import Rollouts, StepChain

CRITERION = All(
    AtLeast("solved/min", 0.9),
    AtMost("solved/sum", 0.2),
    AtLeast("solved_halfway/soft_min", 0.9),
    AtMost("solved_halfway/sum", 0.3),
    # The two that must fail: the wrong end of the order, and a sum that a few verified outcomes should rescue.
    AtMost("solved/max", 0.2),
    AtMost("solved/sum_verified", 0.2),
)
ARMS = ("verified", "sum", "discounted", "mean_of_chain", "mean_to_come", "min", "soft_min", "soft_min_cold",
        "soft_min_hot", "max", "soft_min_verified", "sum_verified", "soft_min_token", "soft_min_verified_token",
        "sum_token")  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """Chains whose process reward likes filler best, and pays it on [−1, 1]."""

    n_goals: int = 4  # sub-goals in order
    n_contents: int = 4  # content actions, one right per goal
    horizon: int = 12  # steps after which a chain is cut
    right_score: float = 0.85  # points of [0, 1]; mean process score of a right step
    filler_score: float = 0.90  # points; of a step that changes nothing
    noise_std: float = 0.08  # points; error of the process score
    initial_solved: float = 0.22  # probability that the first policy solves a chain
    initial_submitted: float = 0.93  # probability that it answers before the horizon
    temperature: float = 0.1  # T of the soft minimum
    verified_share: float = 0.1  # share of rollouts whose outcome is verified, in the arms that use it
    updates: int = 160  # steps of Adam
    rollouts: int = 64  # chains per update
    learning_rate: float = 0.05  # of Adam, logits per step


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """True success of the policy that each form of credit trains: at half time, at the end and at its best."""
    streams = Streams(seeds)
    chain = StepChain.sample(streams, **parameters(world, StepChain.sample))
    trained = train_chains(
        chain, credits_of(world, broken), streams=streams,
        start=chain.warm_start(solved=world.initial_solved, submitted=world.initial_submitted),
        evaluate_every=max(1, world.updates // 16), **parameters(world, train_chains),
    )  # fmt: skip
    return rows({
        "solved": trained.final("solved"),
        "solved_halfway": trained.at("solved", trained.updates[len(trained.updates) // 2]),
        "solved_peak": trained.peak("solved"),
        "length": trained.final("length"),
    })  # fmt: skip


def credits_of(world: World, broken: bool) -> dict[str, Credit]:
    """What each arm pays."""
    soft = partial(returned, form=softmin_returns, temperature=world.temperature)
    verified = partial(outcome_above_siblings, group_size=world.rollouts, share=world.verified_share)
    token = partial(above_token_baseline, group_size=world.rollouts, temperature=world.temperature)
    pay: tuple[Credit, ...] = (
        outcome_alone,
        returned,
        partial(returned, gamma=0.9),
        mean_of_chain,
        partial(returned, form=mean_returns),
        partial(returned, form=max_returns if broken else min_returns),
        soft,
        partial(returned, form=softmin_returns, temperature=0.02),
        partial(returned, form=softmin_returns, temperature=0.3),
        partial(returned, form=max_returns),
        lambda drawn: soft(drawn) + verified(drawn),
        lambda drawn: returned(drawn) + verified(drawn),
        partial(token, soft=True),
        lambda drawn: token(drawn, soft=True) + verified(drawn),
        partial(token, soft=False),
    )
    return dict(zip(ARMS, pay, strict=True))


def signed(drawn: Rollouts) -> Tensor:
    """(R, T) process rewards on [−1, 1]: the probability of a good step less that of a bad one."""
    return 2 * drawn.step_rewards - 1


def returned(drawn: Rollouts, *, form: Callable[..., Tensor] = step_returns, **options: float) -> Tensor:
    """(R, T) returns of the process reward alone, in one of the library's forms."""
    return form(signed(drawn), drawn.step_mask, **options)


def mean_of_chain(drawn: Rollouts) -> Tensor:
    """(R, T) returns that add up to the mean over the whole chain."""
    rewards = signed(drawn) / drawn.step_mask.sum(dim=1, keepdim=True)
    return step_returns(rewards, drawn.step_mask)


def outcome_alone(drawn: Rollouts) -> Tensor:
    """(R, T) returns of a verified outcome on every chain and nothing else."""
    paid = add_outcome(torch.zeros_like(drawn.step_rewards), drawn.solved - 1, drawn.step_mask)
    return step_returns(paid, drawn.step_mask)


def outcome_above_siblings(drawn: Rollouts, *, group_size: int, share: float) -> Tensor:
    """(R, 1) solved − 1 on a share of each batch, above the mean of the others that are verified; 0 elsewhere."""
    place = torch.arange(drawn.solved.shape[0]) % group_size
    checked = torch.where(place < round(share * group_size), drawn.solved - 1, torch.nan)
    return leave_one_out(checked, group_size=group_size)[:, None]


def above_token_baseline(drawn: Rollouts, *, soft: bool, group_size: int, temperature: float) -> Tensor:
    """(R, T) returns above what the other chains earn per token; a step is one token here."""
    rewards, mask = signed(drawn), drawn.step_mask
    if soft:
        rewards = rewards * min_form_weights(rewards, mask, temperature=temperature)
    return step_returns(token_leave_one_out(rewards, mask, mask.to(rewards), group_size=group_size), mask)


figure = partial(
    dots, series={"at half time": "solved_halfway/{}", "at the end": "solved/{}"}, rows=ARMS, label="success"
)
