"""Compare credit by a chain's worst step with credit by the sum of its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.advantages import leave_one_out, min_returns, softmin_returns, step_returns
from rewardsmith.advantages.steps import max_returns, min_form_weights, token_leave_one_out
from rewardsmith.atlas.criteria import All, AtLeast, AtMost
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters, rows
from rewardsmith.transforms import add_outcome
from rewardsmith.worlds import Streams
from rewardsmith.worlds.chain_training import Credit, Training, train_chains
from rewardsmith.worlds.step_chain import Rollouts, StepChain

CRITERION = All(
    # Where the process reward doubts right steps, the minimum holds and the control, a product, does not.
    AtLeast("doubtful_solved/min", 0.9),
    AtMost("doubtful_solved/product", 0.2),
    # Where it is sure of them the sum collapses, with and without a baseline per token, and the product holds too.
    AtMost("solved/sum", 0.2),
    AtMost("solved/sum_token", 0.2),
    AtMost("solved_early/sum", 0.3),
    AtLeast("solved/product", 0.9),
    # Must fail: the wrong end of the order, and a sum that a few verified outcomes should rescue.
    AtMost("solved/max", 0.2),
    AtMost("solved/sum_verified", 0.2),
)


@dataclass(frozen=True, slots=True)
class World:
    """Chains whose process reward likes filler best; training sees it on [−1, 1]."""

    n_goals: int = 4  # sub-goals in order
    n_contents: int = 4  # content actions, one right per goal
    horizon: int = 12  # steps after which a chain is cut
    right_score: float = 0.85  # points of [0, 1]; mean process score of a right step
    doubtful_score: float = 0.60  # points; the same where the process reward doubts right steps
    filler_score: float = 0.90  # points; of a step that changes nothing
    noise_std: float = 0.08  # points; error of the process score
    initial_solved: float = 0.22  # probability that the first policy solves a chain
    initial_submitted: float = 0.93  # probability that it answers before the horizon
    step_cost: float = 0.92  # points; charged for every step in the arm of that name
    temperature: float = 0.1  # T of the soft minimum
    verified_share: float = 0.1  # share of rollouts whose outcome is verified, in the arms that use it
    updates: int = 480  # steps of Adam
    early: int = 80  # updates after which success is first judged; a multiple of 20
    rollouts: int = 64  # chains per update
    learning_rate: float = 0.05  # of Adam, logits per step


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure the true success of the policy that each credit trains: early, at the end, and with doubtful scores."""
    arms = credits_of(world, broken)
    trained = train(seeds, world, arms, world.right_score)
    few = {name: arms[name] for name in ("min", "soft_min_token", "soft_max_token", "product", "step_cost")}
    doubtful = train(seeds, world, few, world.doubtful_score)
    return rows({
        "solved": trained.final("solved"),
        "solved_early": trained.at("solved", world.early),
        "solved_peak": trained.peak("solved"),
        "length": trained.final("length"),
        "doubtful_solved": doubtful.final("solved"),
        "doubtful_length": doubtful.final("length"),
    })  # fmt: skip


def train(seeds: Sequence[int], world: World, arms: dict[str, Credit], right_score: float) -> Training:
    """Train on chains whose right steps score so much."""
    streams = Streams(seeds)
    chain = StepChain.sample(streams, **parameters(world, StepChain.sample) | {"right_score": right_score})
    start = chain.warm_start(solved=world.initial_solved, submitted=world.initial_submitted)
    how = parameters(world, train_chains)
    return train_chains(chain, arms, streams=streams, start=start, evaluate_every=20, **how)


def credits_of(world: World, broken: bool) -> dict[str, Credit]:
    """Return each arm's credit."""
    soft = partial(returned, form=softmin_returns, temperature=world.temperature)
    verified = partial(outcome_above_siblings, group_size=world.rollouts, share=world.verified_share)
    token = partial(above_token_baseline, group_size=world.rollouts, temperature=world.temperature)
    return {
        "verified": outcome_alone,
        "sum": returned,
        "product": product_of_chain,
        "step_cost": lambda drawn: step_returns(drawn.step_rewards - world.step_cost, drawn.step_mask),
        "min": partial(returned, form=max_returns if broken else min_returns),
        "soft_min": soft,
        "max": partial(returned, form=max_returns),
        "soft_min_verified": lambda drawn: soft(drawn) + verified(drawn),
        "sum_verified": lambda drawn: returned(drawn) + verified(drawn),
        "soft_min_token": partial(token, order=1.0),
        "soft_max_token": partial(token, order=-1.0),
        "sum_token": partial(token, order=0.0),
    }


def signed(drawn: Rollouts) -> Tensor:
    """Return (R, T) process rewards on [−1, 1]: the probability of a good step less that of a bad one."""
    return 2 * drawn.step_rewards - 1


def returned(drawn: Rollouts, *, form: Callable[..., Tensor] = step_returns, **options: float) -> Tensor:
    """Return (R, T) returns of the process reward alone, in one of the library's forms."""
    return form(signed(drawn), drawn.step_mask, **options)


def product_of_chain(drawn: Rollouts) -> Tensor:
    """Return (R, T) returns that add up to the logarithm of the product of the scores, which are held above 0."""
    return step_returns(drawn.step_rewards.clamp(0.01, 1).log(), drawn.step_mask)


def outcome_alone(drawn: Rollouts) -> Tensor:
    """Return (R, T) returns of a verified outcome on every chain and nothing else."""
    paid = add_outcome(torch.zeros_like(drawn.step_rewards), drawn.solved - 1, drawn.step_mask)
    return step_returns(paid, drawn.step_mask)


def outcome_above_siblings(drawn: Rollouts, *, group_size: int, share: float) -> Tensor:
    """Return (R, 1) solved − 1 above the mean of the other verified rollouts, on a share of each batch; 0 elsewhere."""
    place = torch.arange(drawn.solved.shape[0]) % group_size
    checked = torch.where(place < round(share * group_size), drawn.solved - 1, torch.nan)
    return leave_one_out(checked, group_size=group_size)[:, None]


def above_token_baseline(drawn: Rollouts, *, order: float, group_size: int, temperature: float) -> Tensor:
    """Return (R, T) returns above what the other chains earn per token; a step is one token here.

    An order of 1 weighs the worst step most, −1 the best; 0 adds all steps up.
    """
    rewards, mask = signed(drawn), drawn.step_mask
    if order:
        rewards = rewards * min_form_weights(order * rewards, mask, temperature=temperature)
    return step_returns(token_leave_one_out(rewards, mask, mask.to(rewards), group_size=group_size), mask)


figure = partial(
    dots,
    series={"early": "solved_early/{}", "at the end": "solved/{}", "doubtful scores": "doubtful_solved/{}"},
    label="success",
)
