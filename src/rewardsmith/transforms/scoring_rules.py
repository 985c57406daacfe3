"""Scoring rules: rewards for a right answer and its stated confidence, and a check of their incentives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.describe import describe, function_of, keywords_of
from rewardsmith.transforms.noise import _check_verdicts
from rewardsmith.types import Traits, declares


def _check_confidence(caller: str, confidence: Tensor) -> None:
    odd = ~(confidence.isnan() | ((confidence >= 0) & (confidence <= 1)))
    if bool(odd.any()):
        raise ValueError(
            f"{caller}: confidence holds {confidence[odd].flatten()[0].item()}, but a confidence lies in [0, 1], or is "
            "NaN where none was stated. Divide percentages by 100, and parse with `data.parse_confidence`."
        )


def _traits(
    *,
    accuracy_weight: float = 1.0,
    weight: float = 1.0,
    missing: float | None = None,
    scores: tuple[float, float] = (-1.0, 0.0),
    **_: Any,
) -> Traits:
    """Return the traits with the bounds of a·z + w·S for S between `scores`."""
    ends = [right + weight * score for right in (0.0, accuracy_weight) for score in scores]
    ends += [] if missing is None else [missing]
    return Traits(scope="row", affine=False, bounded=(min(ends), max(ends)))


def _log_traits(*, weight: float = 1.0, eps: float = 0.01, **options: Any) -> Traits:
    if eps == 0 and weight:
        return Traits(scope="row", affine=False)
    return _traits(weight=weight, scores=(math.log(eps), math.log1p(-eps)) if eps else (-1.0, 0.0), **options)


def _given(caller: str, rewards: Tensor, confidence: Tensor) -> Tensor:
    """Return (B,) q̃, the stated probability of the true outcome, in float32 at least, without gradient."""
    check_same_shape(caller, rewards, confidence)
    _check_verdicts(caller, "rewards", rewards)
    _check_confidence(caller, confidence)
    wide = torch.promote_types(torch.promote_types(rewards.dtype, confidence.dtype), torch.float32)
    stated = confidence.detach().to(wide)
    return torch.where(rewards == 1, stated, 1 - stated)


def _combined(
    rewards: Tensor, given: Tensor, score: Tensor, accuracy_weight: float, weight: float, missing: float | None
) -> Tensor:
    """Return (B,) a·z + w·S of the probability `given`."""
    wide = rewards.to(given)
    charged = accuracy_weight * wide + (weight * score if weight else 0 * given)
    if missing is not None:
        charged = torch.where(given.isnan() & ~wide.isnan(), missing, charged)
    return charged.to(torch.result_type(rewards, 1.0))


@declares(_traits)
def brier_reward(
    rewards: Tensor,
    confidence: Tensor,
    *,
    accuracy_weight: float = 1.0,
    weight: float = 1.0,
    missing: float | None = None,
) -> Tensor:
    """Reward correctness, less the squared error of the stated confidence.

        u = a·z − w·(1 − q̃)² = a·z − w·(q − z)²        q̃ = q where z = 1, 1 − q where z = 0

    Damani et al. 2025, arXiv:2507.16806 (RLCR: a = w = 1). The rule is proper: the report of the true probability is
    optimal. `incentive_compatible` says whether a and w also keep accuracy optimal. Use `group_centered`: a z-score
    over the group reweighs easy and hard prompts and can swamp these small margins.

    Args:
        rewards: (B,) correctness z ∈ {0, 1}; NaN stays NaN.
        confidence: (B,) stated q ∈ [0, 1], NaN where none could be parsed.
        accuracy_weight: a.
        weight: w; the official code's weights ½, ½ are a = w.
        missing: reward of a scored row without confidence; None leaves it unscored. The official code scores it as
            wrong with certainty, which is −weight. 0 would be the best value that a wrong answer can get.

    Returns:
        (B,) rewards.

    >>> brier_reward(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 1.0]))
    tensor([ 0.7500, -1.0000])
    """
    given = _given("brier_reward", rewards, confidence)
    return _combined(rewards, given, -((1 - given) ** 2), accuracy_weight, weight, missing)


@declares(_traits)
def spherical_reward(
    rewards: Tensor,
    confidence: Tensor,
    *,
    accuracy_weight: float = 1.0,
    weight: float = 1.0,
    missing: float | None = None,
) -> Tensor:
    """Reward correctness, with the spherical rule on the stated confidence: u = a·z + w·(q̃ / √(q² + (1 − q)²) − 1).

    A proper rule, 0 for a right answer with certainty. q̃, arguments and result as in `brier_reward`.
    """
    given = _given("spherical_reward", rewards, confidence)
    return _combined(rewards, given, given / torch.hypot(given, 1 - given) - 1, accuracy_weight, weight, missing)


@declares(_log_traits)
def log_score_reward(
    rewards: Tensor,
    confidence: Tensor,
    *,
    accuracy_weight: float = 1.0,
    weight: float = 1.0,
    eps: float = 0.01,
    missing: float | None = None,
) -> Tensor:
    """Reward correctness, with the logarithmic rule on the stated confidence: u = a·z + w·log q̃.

    A proper rule. q̃, other arguments and result as in `brier_reward`.

    Args:
        eps: q̃ is clipped to [eps, 1 − eps]. 0 does not clip: −inf for a wrong answer with certainty.
    """
    check_range("log_score_reward", "eps", eps, 0.0, 0.49)
    given = _given("log_score_reward", rewards, confidence)
    return _combined(rewards, given, given.clamp(eps, 1 - eps).log(), accuracy_weight, weight, missing)


@declares(_traits)
def linear_reward(
    rewards: Tensor,
    confidence: Tensor,
    *,
    accuracy_weight: float = 1.0,
    weight: float = 1.0,
    missing: float | None = None,
) -> Tensor:
    """Reward correctness, less the distance of the stated confidence: u = a·z − w·(1 − q̃) = a·z − w·|q − z|.

    The rule is not proper, as its optimum is 0 or 1, and serves as a control. q̃, arguments and result as in
    `brier_reward`.
    """
    given = _given("linear_reward", rewards, confidence)
    return _combined(rewards, given, given - 1, accuracy_weight, weight, missing)


class Incentive(NamedTuple):
    """The verdict whether the most probable answer with the honest confidence is optimal under a reward.

    margin: the least of a + w·G′(p) over p, the least gain from one more unit of probability of being right. Below 0
        a surely wrong answer earns more somewhere. −inf: no accuracy weight is enough, or honesty is not optimal.
    """

    holds: bool
    margin: float


def incentive_compatible(reward: Callable[..., Tensor]) -> Incentive:
    """Return whether a reward on stated confidence keeps both accuracy and honesty optimal.

        a + w·G′(p) ≥ 0 for all p in [0, 1],   G(p) = max_q p·S(q, 1) + (1 − p)·S(q, 0)

        brier: G = −p(1 − p), G′ ≥ −1          spherical: G = √(p² + (1 − p)²) − 1, G′ ≥ −1
        log: G′ = log p/(1 − p), no bound; held in [eps, 1 − eps]: G′ ≥ log eps/(1 − eps)

    G is the score of an honest report with a probability p of being right. a·p + w·G(p) must not fall in p, or an
    answer known to be wrong, stated with confidence 0, earns more. As G is convex, the least G′ is that at p = 0. So
    brier and spherical need a ≥ w, log at eps = 0.01 needs a ≥ 4.6 w, and log without a floor is never safe.
    `linear_reward` is not proper, so it never holds, whatever a. Neither does any rule at w ≤ 0, which does not reward
    honesty. Damani et al. 2025, arXiv:2507.16806, state the theorem for bounded proper rules; the condition is derived
    here.

    A factor on the reward, such as a format term, changes the verdict: call it again on the product.

    Args:
        reward: one of this file's, its weights bound by `functools.partial`.

    >>> incentive_compatible(brier_reward)
    Incentive(holds=True, margin=0.0)
    >>> from functools import partial
    >>> incentive_compatible(partial(brier_reward, accuracy_weight=0.5))
    Incentive(holds=False, margin=-0.5)
    """
    rule, bound = function_of(reward), keywords_of(reward)
    known = (brier_reward, spherical_reward, log_score_reward, linear_reward)
    if rule not in known:
        raise ValueError(
            f"incentive_compatible: no condition is known for {describe(reward)}. Pass one of "
            f"{', '.join(each.__name__ for each in known)}, its weights bound by functools.partial."
        )
    weight, eps = bound.get("weight", 1.0), bound.get("eps", 0.01)
    if rule is log_score_reward:
        check_range("incentive_compatible", "eps", eps, 0.0, 0.49)
    if rule is linear_reward or (rule is log_score_reward and not eps) or weight <= 0:
        return Incentive(False, -math.inf)
    steepest = math.log(eps / (1 - eps)) if rule is log_score_reward else -1.0
    margin = bound.get("accuracy_weight", 1.0) + weight * steepest
    return Incentive(margin >= 0, margin)
