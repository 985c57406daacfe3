"""Scores under several contexts, mixed by the probability of each context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_shape
from rewardsmith.transforms.links import Link, pure_link
from rewardsmith.transforms.sources import Missing, weighted_sum
from rewardsmith.types import Traits, declares

Numbers = float | Sequence[float] | Tensor


@declares(Traits(scope="row", affine=False))
def mixture_score(
    source_rewards: Tensor,
    *,
    weights: Sequence[float] | Tensor | None = None,
    center: Numbers = 0.0,
    scale: Numbers = 1.0,
    link: Link = "sigmoid",
    missing: Missing = "renormalize",
) -> Tensor:
    """Mix the scores of a response under several contexts, weighted by the probability of each.

        u = Σ_z p(z) f( (r_z − μ_z) / σ_z ) / Σ_z p(z)

    Pitis et al. 2024, arXiv:2407.14916. Scores under different contexts have their own offsets and units, so bring them
    to one unit (`reference_statistics`) before they are mixed. With r_z(y₁) − r_z(y₂) for r_z, f the sigmoid and no μ
    or σ, u is the probability Σ_z p(z) p(y₁ ≻ y₂ | z) of the two-step model: probabilities are averaged.

    Args:
        source_rewards: (B, K) scores under K contexts; NaN where unscored.
        weights: K probabilities p(z), equal if None; or (B, K), one set per row.
        center, scale: μ and σ > 0, K numbers or one for all.
        link: f, as in `pure_link`.
        missing: "renormalize" gives the weight of an unscored context to the others, "unscored" makes the row NaN.

    Returns:
        (B,) scores, in the range of f; NaN where nothing of nonzero weight is scored.

    >>> mixture_score(torch.tensor([[0.0, 2.0], [1.0, -1.0]]), weights=[0.5, 0.5], link="identity")
    tensor([1., 0.])
    """
    check_shape("mixture_score", "source_rewards", source_rewards, None, None)
    wide = source_rewards.to(torch.promote_types(source_rewards.dtype, torch.float32))
    ends = []
    for name, given in (("center", center), ("scale", scale)):
        value = torch.as_tensor(given, dtype=wide.dtype, device=wide.device)
        if value.ndim:
            check_shape("mixture_score", name, value, wide.shape[1])
        ends.append(value)
    if not bool((ends[1] > 0).all()):
        raise ValueError(
            f"mixture_score: scale is {ends[1].tolist()}, which must be above 0. Measure it with reference_statistics."
        )
    if weights is not None and bool((torch.as_tensor(weights) < 0).any()):
        raise ValueError(
            "mixture_score: weights hold one below 0, which is no probability. Pass p(z), each at least 0."
        )
    linked = pure_link((wide - ends[0]) / ends[1], link=link)
    return weighted_sum(linked, weights=weights, normalize=True, missing=missing).to(
        torch.result_type(source_rewards, 1.0)
    )


def profile_posterior(
    margins: Tensor, profiles: Sequence[Sequence[float]] | Tensor, *, prior: Sequence[float] | Tensor | None = None
) -> Tensor:
    """Infer the kind of user from a few pairs that the user labeled.

        p(u | labels) ∝ p(u) Π_i Σ_z p(z|u) σ( r_z(y_i⁺) − r_z(y_i⁻) )

    The first step of Pitis et al. 2024, arXiv:2407.14916, with a set of known profiles instead of a model that writes
    the context. `posterior @ profiles` are the weights for `mixture_score`.

    Args:
        margins: (..., n, K) r_z of the pair's preferred response less that of the other, under each of K contexts; a
            pair in which any is NaN is left out.
        profiles: (U, K) p(z|u) of U kinds of users.
        prior: (U,) p(u), equal if None.

    Returns:
        (..., U) probabilities; the prior where no pair is scored.

    >>> profile_posterior(torch.tensor([[1.0, 3.0]]).log(), [[1.0, 0.0], [0.0, 1.0]])  # ½ against ¾
    tensor([0.4000, 0.6000])
    """
    wide = margins.to(torch.promote_types(margins.dtype, torch.float32))
    rates = torch.as_tensor(profiles, dtype=wide.dtype, device=wide.device)
    check_shape("profile_posterior", "profiles", rates, None, wide.shape[-1] if wide.ndim else None)
    if wide.ndim < 2:
        raise ValueError(
            f"profile_posterior: margins must have shape (..., n, K), got {tuple(wide.shape)}. Pass one row per pair."
        )
    given = torch.ones(len(rates)) if prior is None else prior
    belief = torch.as_tensor(given, dtype=rates.dtype, device=rates.device)
    check_shape("profile_posterior", "prior", belief, len(rates))
    for name, value in (("profiles", rates), ("prior", belief[None])):
        if bool((value < 0).any()) or not bool((value.sum(-1) > 0).all()):
            raise ValueError(
                f"profile_posterior: {name} must be probabilities. Pass values of at least 0, not all of them 0."
            )
    known = ~wide.isnan().any(dim=-1, keepdim=True)  # (..., n, 1)
    logs = F.logsigmoid(torch.where(known, wide, 0))[..., None, :]  # (..., n, 1, K)
    likelihood = (logs + (rates / rates.sum(dim=-1, keepdim=True)).log()).logsumexp(dim=-1)  # (..., n, U)
    total = torch.where(known, likelihood, 0).sum(dim=-2) + belief.log()
    return total.softmax(dim=-1).to(torch.result_type(margins, 1.0))
