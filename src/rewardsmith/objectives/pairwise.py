"""Losses on which a reward model is fit: comparisons, ratings, and what keeps its scores apart and in place.

A row with NaN in a score that a loss reads is unscored: its loss is NaN and it sends no gradient, so skip it in the
reduction. Comparisons take scores of any one shape, written (B,) here, and ±inf gives the limit.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_choice, check_range, check_same_shape, check_shape

TieKind = Literal["entropy", "squared"]
RatingKind = Literal["mse", "ce_bins"]
Numbers = Tensor | float


def pairwise_loss(
    chosen: Tensor,
    rejected: Tensor,
    *,
    margin: Numbers | None = None,
    weight: Numbers | None = None,
    soft_label: Numbers | None = None,
    tie: Tensor | None = None,
    tie_kind: TieKind = "entropy",
    center: float = 0.0,
) -> Tensor:
    """Bradley-Terry on pairs, with everything that a pair may say of its own label.

        strict  ℓ = w [ −(1 − p) log σ(Δ − m) − p log σ(−(Δ − m)) ] + c (r⁺ + r⁻)²        Δ = r⁺ − r⁻
        tied    ℓ = w [ −½ log σ(Δ) − ½ log σ(−Δ) ] + c (r⁺ + r⁻)²,   or w Δ² in the bracket's place

    Margin m: Touvron et al. 2023, arXiv:2307.09288, Eq. 2. Weight w: Wang et al. 2024, arXiv:2410.01257 (scaled BT).
    Soft label p: Wang, Zheng et al. 2024, arXiv:2401.06080. Ties: Srivastava et al. 2025, arXiv:2506.16507 (entropy);
    Zhang et al. 2025, arXiv:2502.10391 (squared). Centering c: Eisenstein et al. 2023, arXiv:2312.09244, Eq. 2.

    With no option but `margin` and `center` this is the loss of `trl.RewardTrainer`. A tie costs log 2 at best, so
    log ties apart from strict pairs. A tie fed as a strict pair teaches whatever separates the two answers.

    Args:
        chosen, rejected: (B,) scores.
        margin: m, (B,) or one number, in the unit of the scores: large ones push all scores apart.
        weight: w ≥ 0, (B,) or one number; not normalized here, see `normalized_weights`. 0 drops the comparison; the
            centering, which asks nothing of the label, stays.
        soft_label: p ∈ [0, 1], (B,) or one number, the chance that the label is wrong; 0 if None.
        tie: (B,) True where neither is preferred; there, margin and soft label are ignored.
        center: c ≥ 0, which holds the level that comparisons leave free.

    Returns:
        (B,) loss per pair.

    >>> pairwise_loss(torch.zeros(2), torch.zeros(2), weight=torch.tensor([1.0, 3.0])) / math.log(2)
    tensor([1., 3.])
    """
    check_same_shape("pairwise_loss", chosen, rejected)
    check_choice("pairwise_loss", "tie_kind", tie_kind, ("entropy", "squared"))
    check_range("pairwise_loss", "center", center, 0.0, math.inf)
    m, w, p = (_column(name, value, chosen) for name, value in _named(margin, weight, soft_label))
    delta = chosen - rejected
    missing = delta.isnan()
    for column in (m, w, p):
        missing = missing if column is None else missing | column.isnan()
    delta = delta.masked_fill(missing, 0.0)
    losses = _strict(delta if m is None else delta - m.masked_fill(missing, 0.0), p)
    if tie is not None:
        check_same_shape("pairwise_loss", chosen, tie)
        losses = torch.where(tie, _tied(delta, tie_kind), losses)
    losses = losses if w is None else _share(w, losses)
    if center:
        losses = losses + center * (chosen + rejected).masked_fill(missing, 0.0).square()
    return losses.masked_fill(missing, math.nan)


def normalized_weights(weight: Tensor) -> Tensor:
    """Weights of mean 1, so that weighting changes which pairs count and not the learning rate.

        w_i / mean_j w_j

    Args:
        weight: (B,) w ≥ 0; NaN stays NaN and does not count. All 0 stay 0. Of (..., B) each row has its own mean.

    >>> normalized_weights(torch.tensor([1.0, 3.0]))
    tensor([0.5000, 1.5000])
    """
    mean = weight.nanmean(dim=-1, keepdim=True)
    return weight / torch.where(mean > 0, mean, 1)


def rating_loss(scores: Tensor, ratings: Tensor, *, mask: Tensor | None = None, kind: RatingKind = "mse") -> Tensor:
    """What ratings teach, averaged over the attributes that were rated.

        ℓ_i = Σ_a μ_ia ℓ_ia / Σ_a μ_ia

        mse       ℓ_ia = (s_ia − g_ia)²
        ce_bins   ℓ_ia = −(1 − f) log p_ia⌊g⌋ − f log p_ia⌈g⌉,   p_ia = softmax(s_ia),   f = g_ia − ⌊g_ia⌋

    Wang et al. 2024, arXiv:2410.01257 (HelpSteer2: ratings 0 to 4, five attributes or helpfulness alone). Bins are the
    ratings 0, 1, …, C − 1; a mean of several annotators is shared between its two neighbours, so that the best p has
    the rating as its mean.

    Args:
        scores: (B, A) one output per attribute; for bins (B, A, C) logits.
        ratings: (B, A); NaN where an attribute was not rated.
        mask: (B, A) True on the attributes that count; all if None.
        kind: "mse" or "ce_bins".

    Returns:
        (B,) loss per answer, NaN where no attribute counts.

    Raises:
        ValueError: shapes do not fit, or a rating has no bin.

    >>> rating_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, float("nan")]]))
    tensor([4.])
    >>> rating_loss(torch.zeros(1, 1, 5), torch.tensor([[3.5]]), kind="ce_bins").exp().round()
    tensor([5.])
    """
    check_choice("rating_loss", "kind", kind, get_args(RatingKind))
    binned = kind == "ce_bins"
    check_shape("rating_loss", "scores", scores, *[None] * (3 if binned else 2))
    one = scores[..., 0] if binned else scores
    check_same_shape("rating_loss", one, ratings, *([] if mask is None else [mask]))
    ratings = ratings.to(scores.dtype)
    rated = ~(ratings.isnan() | (scores.isnan().any(dim=-1) if binned else scores.isnan()))
    rated = rated if mask is None else mask.bool() & rated
    known = ratings.masked_fill(~rated, 0.0)
    if binned:
        each = _bin_entropy(scores.masked_fill(~rated[..., None], 0.0), known)
    else:
        each = (scores.masked_fill(~rated, 0.0) - known).square()
    count = rated.sum(dim=-1)
    total = each.masked_fill(~rated, 0.0).sum(dim=-1)
    return (total / count.clamp_min(1)).masked_fill(count == 0, math.nan)


def spread_regularizer(scores: Tensor) -> Tensor:
    """What a reward model pays for telling a prompt's answers not apart; it asks for no label.

        ℓ = −2/(k(k − 1)) Σ_{a<b} log σ(|r_a − r_b|)

    The negative of J in Wang, Zheng et al. 2024, arXiv:2401.06080 (MetaRM), on answers of the policy as it is now. It
    is log 2 at most, and equal scores have no gradient: which of two identical answers should rise is not known.
    Differs: the paper uses J inside `meta_rm_step`; added to the loss, with a small factor, it does more here.

    Args:
        scores: (B, k) of k answers to each prompt; an unscored one is left out.

    Returns:
        (B,) loss per prompt, NaN where fewer than two answers are scored.

    >>> spread_regularizer(torch.zeros(1, 3)) / math.log(2)
    tensor([1.])
    """
    check_shape("spread_regularizer", "scores", scores, None, None)
    first, second = torch.triu_indices(scores.shape[1], scores.shape[1], offset=1, device=scores.device)
    gap = scores[:, first] - scores[:, second]  # (B, k(k−1)/2)
    missing = gap.isnan()
    losses = -F.logsigmoid(gap.masked_fill(missing, 0.0).abs()).masked_fill(missing, 0.0)
    count = (~missing).sum(dim=-1)
    return (losses.sum(dim=-1) / count.clamp_min(1)).masked_fill(count == 0, math.nan)


def simcse_loss(first: Tensor, second: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Two views of one item should be nearer to each other than to any other item of the batch (InfoNCE).

        ℓ_i = −log( e^{cos(h_i, h′_i)/τ} / Σ_j e^{cos(h_i, h′_j)/τ} )

    Gao et al. 2021, arXiv:2104.08821; Wang, Zheng et al. 2024, arXiv:2401.06080, where an item is a pair's difference
    of last hidden states, h(y⁺) − h(y⁻), and its two views are two dropout passes.

    Args:
        first, second: (B, h) the views h and h′; an item with NaN in either is left out, also as a contrast.
        temperature: τ > 0.

    Returns:
        (B,) loss per item. It compares within the batch: with one item it is 0.
    """
    check_shape("simcse_loss", "first", first, None, None)
    check_same_shape("simcse_loss", first, second)
    check_range("simcse_loss", "temperature", temperature, torch.finfo(first.dtype).tiny, math.inf)
    missing = first.isnan().any(dim=-1) | second.isnan().any(dim=-1)
    ours, theirs = (F.normalize(h.masked_fill(missing[:, None], 0.0), dim=-1) for h in (first, second))
    similarity = (ours @ theirs.T / temperature).masked_fill(missing[None, :] & ~missing[:, None], -math.inf)
    return (similarity.logsumexp(dim=-1) - similarity.diagonal()).masked_fill(missing, math.nan)


def thurstone_loss(chosen_mean: Tensor, rejected_mean: Tensor, chosen_std: Tensor, rejected_std: Tensor) -> Tensor:
    """The preference between two Gaussian scores that are independent.

        ℓ = −log Φ( (μ⁺ − μ⁻) / √(σ⁺² + σ⁻²) )

    Thurstone 1927, Case V generalized; the closed-form choice for the reward heads of Yan et al. 2024,
    arXiv:2409.15360. Means and deviations may be scaled together without a change, so compare heads only after
    scoring both on a reference set; floor σ where it is made (`softplus + 0.1`).

    Args:
        chosen_mean, rejected_mean: (B,) μ.
        chosen_std, rejected_std: (B,) σ > 0.

    Returns:
        (B,) loss per pair.
    """
    check_same_shape("thurstone_loss", chosen_mean, rejected_mean, chosen_std, rejected_std)
    if bool(((chosen_std <= 0) | (rejected_std <= 0)).any()):
        low = float(torch.minimum(chosen_std, rejected_std).min())
        raise ValueError(f"thurstone_loss: a std is {low}, which is not above 0. Pass softplus(x) + 0.1, say.")
    gap = (chosen_mean - rejected_mean) / torch.hypot(chosen_std, rejected_std)
    missing = gap.isnan()
    likelihood: Tensor = torch.special.log_ndtr(gap.masked_fill(missing, 0.0))
    return -likelihood.masked_fill(missing, math.nan)


def sampled_preference_loss(
    chosen_mean: Tensor, rejected_mean: Tensor, chosen_std: Tensor, rejected_std: Tensor, noise: Tensor
) -> Tensor:
    """The squared error of one sampled preference between two Gaussian scores.

        ℓ = ( 1 − σ( μ⁺ − μ⁻ + √(σ⁺² + σ⁻²) ε ) )²

    Yan et al. 2024, arXiv:2409.15360, whose squared error on reparameterized samples this reads so; the exact target
    is not public. Deviations grow only where the order is wrong.

    Args:
        chosen_mean, rejected_mean: (B,) μ. chosen_std, rejected_std: (B,) σ.
        noise: (B,) ε ~ N(0, 1): the difference of two independent samples needs one.

    Returns:
        (B,) loss per pair.
    """
    check_same_shape("sampled_preference_loss", chosen_mean, rejected_mean, chosen_std, rejected_std, noise)
    gap = chosen_mean - rejected_mean + torch.hypot(chosen_std, rejected_std) * noise
    return torch.sigmoid(-gap).square()


def _bin_entropy(logits: Tensor, ratings: Tensor) -> Tensor:
    """(B, A) cross entropy of (B, A, C) logits with ratings shared between their two neighbouring bins."""
    last = logits.shape[-1] - 1
    if bool(((ratings < 0) | (ratings > last)).any()):
        low, high = float(ratings.min()), float(ratings.max())
        raise ValueError(
            f"rating_loss: ratings run from {low:g} to {high:g}, but {last + 1} bins are 0 to {last}. "
            "Shift the ratings, or give the model more bins."
        )
    below = ratings.floor()
    share = ratings - below
    index = torch.stack([below, ratings.ceil()], dim=-1).long()
    logs = logits.log_softmax(dim=-1).gather(-1, index)
    return -((1 - share) * logs[..., 0] + share * logs[..., 1])


def _strict(gap: Tensor, wrong: Tensor | None) -> Tensor:
    right = -F.logsigmoid(gap)
    return right if wrong is None else _share(1 - wrong, right) + _share(wrong, -F.logsigmoid(-gap))


def _tied(delta: Tensor, kind: TieKind) -> Tensor:
    if kind == "squared":
        return delta.square()
    return -(F.logsigmoid(delta) + F.logsigmoid(-delta)) / 2


def _share(weight: Tensor, losses: Tensor) -> Tensor:
    """weight·losses, and 0 where the weight is 0 even if the loss is infinite."""
    return torch.where(weight == 0, 0.0, weight * losses)


def _named(
    margin: Numbers | None, weight: Numbers | None, soft_label: Numbers | None
) -> tuple[tuple[str, Numbers | None], ...]:
    return ("margin", margin), ("weight", weight), ("soft_label", soft_label)


_RANGES = {"margin": (-math.inf, math.inf), "weight": (0.0, math.inf), "soft_label": (0.0, 1.0)}


def _column(name: str, value: Numbers | None, scores: Tensor) -> Tensor | None:
    """(B,) in the scores' dtype, in its range or NaN; None where it was not given."""
    if value is None:
        return None
    column = torch.as_tensor(value, dtype=scores.dtype, device=scores.device)
    if column.ndim:
        check_same_shape("pairwise_loss", scores, column)
    low, high = _RANGES[name]
    bad = (column < low) | (column > high)
    if bool(bad.any()):
        raise ValueError(
            f"pairwise_loss: {name} holds {float(column[bad].flatten()[0])}, outside [{low}, {high}]. "
            "Pass values in that range, and NaN where a row is not to count."
        )
    return column.expand_as(scores)
