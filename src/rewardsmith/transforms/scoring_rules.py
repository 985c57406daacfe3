"""Pay for a right answer and charge for a wrong confidence, and tell when the one undermines the other."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_same_shape
from rewardsmith.transforms.noise import _check_verdicts
from rewardsmith.types import Traits, declares

Rule = Literal["brier", "spherical", "log", "log_clipped", "linear"]


def _check_confidence(caller: str, confidence: Tensor) -> None:
    odd = ~(confidence.isnan() | ((confidence >= 0) & (confidence <= 1)))
    if bool(odd.any()):
        raise ValueError(
            f"{caller}: confidence holds {confidence[odd].flatten()[0].item()}, but a confidence lies in [0, 1], or is "
            "NaN where none was stated. Divide percentages by 100, and parse with `data.parse_confidence`."
        )


def _score(rule: Rule, given: Tensor, eps: float) -> Tensor:
    """S ≤ 0 for the probability `given` to what turned out true; 0 at certainty."""
    if rule == "brier":
        return -((1 - given) ** 2)
    if rule == "spherical":
        return given / torch.hypot(given, 1 - given) - 1
    if rule == "linear":
        return given - 1
    return given.clamp(eps, 1 - eps).log() if rule == "log_clipped" else given.log()


def _rule_traits(
    *,
    rule: Rule = "brier",
    accuracy_weight: float = 1.0,
    weight: float = 1.0,
    eps: float = 0.01,
    missing: float | None = None,
    **_: Any,
) -> Traits:
    if rule == "log" and weight:
        return Traits(scope="row", affine=False)
    scores = (math.log(eps), math.log1p(-eps)) if rule == "log_clipped" else (-1.0, 0.0)
    ends = [right + weight * score for right in (0.0, accuracy_weight) for score in scores]
    ends += [] if missing is None else [missing]
    return Traits(scope="row", affine=False, bounded=(min(ends), max(ends)))


@declares(_rule_traits)
def scoring_rule_reward(
    rewards: Tensor,
    confidence: Tensor,
    *,
    rule: Rule = "brier",
    accuracy_weight: float = 1.0,
    weight: float = 1.0,
    eps: float = 0.01,
    missing: float | None = None,
) -> Tensor:
    """Correctness, less what a scoring rule charges for the confidence that was stated.

        u = a·z + w·S(q, z)        with q̃ = q where z = 1, 1 − q where z = 0:

        brier: −(1 − q̃)² = −(q − z)²    spherical: q̃ / √(q² + (1 − q)²) − 1    log: log q̃
        log_clipped: log of q̃ held in [eps, 1 − eps]    linear: −(1 − q̃) = −|q − z|

    Damani et al. 2025, arXiv:2507.16806 (RLCR: brier, a = w = 1). Every S ≤ 0 is 0 (log_clipped: log(1 − eps)) where
    q = z. All but "linear" are proper: the report of the true probability is optimal; "linear" is best served by 0 or 1
    and is here as a control. Whether accuracy survives is a matter of a and w: ask `incentive_compatible`. Use
    `group_centered`: a z-score over the group reweighs easy and hard prompts and can swamp these small margins.

    Args:
        rewards: (B,) correctness z ∈ {0, 1}; NaN stays NaN.
        confidence: (B,) stated q ∈ [0, 1], NaN where none could be parsed.
        rule: S.
        accuracy_weight: a.
        weight: w; the official code's weights ½, ½ are a = w.
        eps: the floor of "log_clipped". "log" has none: −inf for certainty that was wrong.
        missing: what a scored row without confidence earns; None leaves it unscored. The official code pays it like
            certainty that was wrong, which is −weight for brier. 0 would be the best value that a wrong answer can get.

    Returns:
        (B,) rewards.

    >>> scoring_rule_reward(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 1.0]))
    tensor([ 0.7500, -1.0000])
    """
    check_choice("scoring_rule_reward", "rule", rule, get_args(Rule))
    check_same_shape("scoring_rule_reward", rewards, confidence)
    check_range("scoring_rule_reward", "eps", eps, 1e-6, 0.49)
    _check_verdicts("scoring_rule_reward", "rewards", rewards)
    _check_confidence("scoring_rule_reward", confidence)
    wide = rewards.to(torch.promote_types(torch.promote_types(rewards.dtype, confidence.dtype), torch.float32))
    stated = confidence.detach().to(wide)
    charge = weight * _score(rule, torch.where(wide == 1, stated, 1 - stated), eps) if weight else 0 * stated
    charged = accuracy_weight * wide + charge
    if missing is not None:
        charged = torch.where(stated.isnan() & ~wide.isnan(), missing, charged)
    return charged.to(torch.result_type(rewards, 1.0))


class Incentive(NamedTuple):
    """Whether a reward asks for the most probable answer with the honest confidence.

    margin: the least of a + w·G′(p) over p, the worst price of one more unit of probability of being right; below 0 a
        surely wrong answer pays better somewhere. −inf: no accuracy weight is enough, or honesty is not asked for.
    """

    holds: bool
    margin: float


def incentive_compatible(
    *, rule: Rule = "brier", accuracy_weight: float = 1.0, weight: float = 1.0, eps: float = 0.01
) -> Incentive:
    """Does `scoring_rule_reward` leave both accuracy and honesty optimal?

        a + w·G′(p) ≥ 0 for all p in [0, 1],   G(p) = max_q p·S(q, 1) + (1 − p)·S(q, 0)

        brier: G = −p(1 − p), G′ ≥ −1          spherical: G = √(p² + (1 − p)²) − 1, G′ ≥ −1
        log: G′ = log p/(1 − p), no bound      log_clipped: G′ ≥ log eps/(1 − eps)

    G is what an honest report earns with a probability p of being right, and a·p + w·G(p) must not fall in p, lest an
    answer known to be wrong, stated with confidence 0, pay better. As G is convex, the least G′ is that at p = 0. So
    brier and spherical need a ≥ w, log_clipped at eps = 0.01 needs a ≥ 4.6 w, and log is never safe. "linear" is
    not proper, so it never holds, whatever a; nor does any rule at w ≤ 0, which pays nothing for honesty or punishes
    it. Damani et al. 2025, arXiv:2507.16806, state the theorem for bounded proper rules; the condition is derived here.

    Anything multiplied onto the reward, such as a format term, changes the question: ask again.

    >>> incentive_compatible(rule="brier", accuracy_weight=1.0, weight=1.0)
    Incentive(holds=True, margin=0.0)
    >>> incentive_compatible(rule="brier", accuracy_weight=0.5, weight=1.0)
    Incentive(holds=False, margin=-0.5)
    """
    check_choice("incentive_compatible", "rule", rule, get_args(Rule))
    check_range("incentive_compatible", "eps", eps, 1e-6, 0.49)
    if rule in ("linear", "log") or weight <= 0:
        return Incentive(False, -math.inf)
    steepest = math.log(eps / (1 - eps)) if rule == "log_clipped" else -1.0
    margin = accuracy_weight + weight * steepest
    return Incentive(margin >= 0, margin)
