"""Link functions, which give an unbounded reward diminishing returns, alone or against references."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rewardsmith._check import check_choice, check_range, check_shape
from rewardsmith.types import Traits, declares

Link = Literal["sigmoid", "tanh", "poly", "identity", "logsigmoid"]
Aggregate = Literal["mean", "quantile"]
Estimator = Literal["normal", "empirical"]

_RANGES: dict[str, tuple[float, float]] = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "poly": (0.0, 1.0)}


_LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "poly": lambda x: 0.5 + x.clamp(-3, 3) / 4 - x.clamp(-3, 3) ** 3 / 108,  # σ's value and slope at 0, flat at 0 and 1
    "identity": torch.Tensor.clone,
    "logsigmoid": F.logsigmoid,
}


def _bend(link: Link, x: Tensor) -> Tensor:
    """Return f(x), NaN where x is, without NaN in the gradient of a row that the caller then drops."""
    known = ~x.isnan()
    return torch.where(known, _LINKS[link](torch.where(known, x, 0)), math.nan)


def _link_traits(*, link: str = "sigmoid", k: float = 1.0, **_: Any) -> Traits:
    """Return the traits of a link: it sees one row, and only the identity with k > 0 is affine."""
    return Traits(scope="row", affine=link == "identity" and k > 0, bounded=_RANGES.get(link))


@declares(_link_traits)
def pure_link(rewards: Tensor, *, link: Link = "sigmoid", k: float = 1.0, shift: float = 0.0) -> Tensor:
    """Apply a link function to a reward, without the scores of the prompt's other responses.

        u = f( k · (r − shift) )

    Fu et al. 2025, arXiv:2502.18770, the *pure* arms. `shift=3` with the sigmoid is a slow-then-fast control.

    Args:
        rewards: (...) rewards; NaN stays NaN, and ±inf gives the limit of f.
        link: f. "poly" is ½ + x/4 − x³/108 on [−3, 3], constant outside.

    Returns:
        (...) shaped rewards, in the range of f.

    Differs: the polynomial of the authors' code (PorUna-byte/PAR at f054b56) is a quintic fitted to σ on [−4, 4] with σ
    itself outside, which jumps by 0.011 at ±4; ours is the cubic with σ's value and slope at 0 and flat ends.

    >>> pure_link(torch.tensor([0.0, float("nan")]))
    tensor([0.5000,    nan])
    """
    check_choice("pure_link", "link", link, get_args(Link))
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    return _bend(link, k * (wide - shift)).to(torch.result_type(rewards, 1.0))


@declares(_link_traits)
def reference_link(
    rewards: Tensor,
    ref_rewards: Tensor,
    *,
    link: Link = "sigmoid",
    k: float = 1.0,
    shift: float = 0.0,
    aggregate: Aggregate = "mean",
    quantile: float = 0.85,
    estimator: Estimator = "normal",
) -> Tensor:
    """Apply a link function to a reward relative to reference responses for the same prompt.

        mean:      u = 1/M Σ_m f( k · (r − r^m − shift) )        the mean of links, not the link of the mean
        quantile:  u = f( k · (r − q − shift) ),  q = μ + Φ⁻¹(quantile)·σ of the r^m, or their empirical quantile

    Fu et al. 2025, arXiv:2502.18770 (the *relative* arms); Wang et al. 2024, arXiv:2402.00742 (quantile).

    Args:
        rewards: (B,) rewards r; NaN stays NaN, ±inf gives the limit of f.
        ref_rewards: (B, M) rewards r^m of reference responses, by the same reward in the same precision. NaN is
            skipped; a row without any reference is NaN. No gradient flows into them.
        link: f, as in `pure_link`; the sigmoid with shift=3 is the paper's slow-then-fast control (sgfc).
        quantile: the level in (0, 1) that a response must beat, for aggregate="quantile".

    Returns:
        (B,) shaped rewards; NaN (unscored) for inf − inf, which has no limit.
    """
    check_choice("reference_link", "link", link, get_args(Link))
    check_choice("reference_link", "aggregate", aggregate, get_args(Aggregate))
    check_choice("reference_link", "estimator", estimator, get_args(Estimator))
    check_range("reference_link", "quantile", quantile, 1e-6, 1 - 1e-6)
    check_shape("reference_link", "rewards", rewards, None)
    check_shape("reference_link", "ref_rewards", ref_rewards, rewards.shape[0], None)
    wide = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    references = ref_rewards.detach().to(wide)
    present = ~references.isnan()  # (B, M), or (B, 1) for a quantile
    if aggregate == "quantile":
        if estimator == "empirical":
            references = torch.nanquantile(references, quantile, dim=1, keepdim=True)
        else:  # σ is 0 where there is one reference
            count = present.sum(dim=1, keepdim=True)
            mean = torch.where(present, references, 0).sum(dim=1, keepdim=True) / count
            variance = torch.where(present, references - mean, 0).square().sum(dim=1, keepdim=True) / count
            references = mean + NormalDist().inv_cdf(quantile) * variance.sqrt()
        present = ~references.isnan()
    differences = wide[:, None] - torch.where(present, references, 0) - shift
    linked = torch.where(present, _bend(link, k * differences), 0)
    shaped = linked.sum(dim=1) / present.sum(dim=1)  # 0/0 is NaN where no reference is present
    return shaped.to(torch.result_type(rewards, 1.0))


@declares(Traits(scope="row", affine=False, bounded=(0.0, 1.0)))
def par(rewards: Tensor, ref_rewards: Tensor, *, k: float = 1.0) -> Tensor:
    """Return the reward's own probability that the response beats the references (preference as reward).

        u = 1/M Σ_m σ( k · (r − r^m) )

    Fu et al. 2025, arXiv:2502.18770. Shapes as in `reference_link`. A z-score over the group undoes the saturation,
    so use `group_centered`.

    >>> par(torch.tensor([0.0, 50.0]), torch.tensor([[0.0, 0.0], [0.0, 100.0]]))
    tensor([0.5000, 0.5000])
    """
    return reference_link(rewards, ref_rewards, link="sigmoid", k=k)


@declares(Traits(scope="row", affine=False))
def log_sigmoid_shaping(
    rewards: Tensor, ref_rewards: Tensor, *, quantile: float = 0.85, estimator: Estimator = "normal"
) -> Tensor:
    """Return the log-probability of beating a good reference; a sum over properties is the one that all hold.

        u = log σ( r − q ),  q the `quantile` of the references

    Wang et al. 2024, arXiv:2402.00742. Shapes as in `reference_link`; bounded above by 0, linear far below q.
    """
    return reference_link(
        rewards, ref_rewards, link="logsigmoid", aggregate="quantile", quantile=quantile, estimator=estimator
    )
