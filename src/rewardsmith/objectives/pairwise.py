"""Losses of a reward model: on comparisons, steps and ratings, and regularizers of its scores.

A row with NaN in a score that a loss reads is unscored: its loss is NaN and it sends no gradient, so skip it in the
reduction. Comparisons take scores of any one shape, written (B,) here, and ±inf gives the limit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_range, check_same_shape, check_shape
from rewardsmith.objectives.logps import wide

Numbers = Tensor | float


def bt_loss(
    chosen: Tensor, rejected: Tensor, *, margin: Numbers | None = None, soft_label: Numbers | None = None
) -> Tensor:
    """Compare two scores by Bradley-Terry, with a margin to reach and a probability that the label is wrong.

        ℓ = −(1 − p) log σ(Δ − m) − p log σ(−(Δ − m))        Δ = r⁺ − r⁻

    Margin m: Touvron et al. 2023, arXiv:2307.09288, Eq. 2. Soft label p: Wang, Zheng et al. 2024, arXiv:2401.06080.
    Without a soft label this is the loss of `trl.RewardTrainer`, whose centering `centering_loss` adds. For scaled
    Bradley-Terry pass it through `weighted_loss`. Use `tie_loss` for ties: as strict pairs they teach any difference
    between the two answers.

    Args:
        chosen, rejected: (B,) scores.
        margin: m, (B,) or one number, in the unit of the scores; large margins push all scores apart.
        soft_label: p ∈ [0, 1], (B,) or one number, the probability that the label is wrong; 0 if None.

    Returns:
        (B,) loss per pair.

    >>> bt_loss(torch.zeros(2), torch.zeros(2)) / math.log(2)
    tensor([1., 1.])
    """
    check_same_shape("bt_loss", chosen, rejected)
    difference = chosen - rejected
    difference = difference if margin is None else difference - _column("bt_loss", "margin", margin, chosen)
    doubt = None if soft_label is None else _column("bt_loss", "soft_label", soft_label, chosen, 0.0, 1.0)
    missing = difference.isnan() if doubt is None else difference.isnan() | doubt.isnan()
    difference = difference.masked_fill(missing, 0.0)
    losses = -F.logsigmoid(difference)
    if doubt is not None:
        losses = _share(1 - doubt, losses) + _share(doubt, -F.logsigmoid(-difference))
    return losses.masked_fill(missing, math.nan)


def tie_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Penalize unequal scores of a tied pair, by cross-entropy.

        ℓ = −½ log σ(Δ) − ½ log σ(−Δ)        Δ = r⁺ − r⁻

    Srivastava et al. 2025, arXiv:2506.16507. Its minimum is log 2, so log ties separately from strict pairs. Shapes as
    in `bt_loss`.
    """
    check_same_shape("tie_loss", chosen, rejected)
    return bt_loss(chosen, rejected, soft_label=0.5)


def step_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Fit the label of a step, hard or soft, by cross-entropy.

        ℓ = −y log σ(z) − (1 − y) log σ(−z)        z the log-odds that the step is right

    Lightman et al. 2023, arXiv:2305.20050 (hard labels, by people); Wang et al. 2023, arXiv:2312.08935 (soft ones: the
    share of continuations that reach the answer). Its minimum over z is the entropy of y, not 0, where y is soft.

    Args:
        logits: (B,) z; for a head with two classes the second logit less the first.
        labels: (B,) y ∈ [0, 1]; NaN for an unlabeled step: its loss is NaN and it sends no gradient.

    Returns:
        (B,) loss per step.

    >>> step_label_loss(torch.zeros(2), torch.tensor([1.0, 0.5])) / math.log(2)
    tensor([1., 1.])
    """
    check_same_shape("step_label_loss", logits, labels)
    return labeled_loss("step_label_loss", "labels", logits, labels)


def labeled_loss(caller: str, name: str, logits: Tensor, labels: Numbers) -> Tensor:
    """Return −y log σ(z) − (1 − y) log σ(−z), NaN without a gradient where z or y is NaN."""
    logits = wide(logits)
    right = _column(caller, name, labels, logits, 0.0, 1.0)
    return bt_loss(logits, torch.zeros_like(logits), soft_label=1 - right)


def squared_tie_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Penalize unequal scores of a tied pair, by their squared difference: ℓ = (r⁺ − r⁻)².

    Zhang et al. 2025, arXiv:2502.10391. Shapes as in `bt_loss`.
    """
    check_same_shape("squared_tie_loss", chosen, rejected)
    delta = chosen - rejected
    return delta.masked_fill(delta.isnan(), 0.0).square().masked_fill(delta.isnan(), math.nan)


def centering_loss(chosen: Tensor, rejected: Tensor, *, coef: float = 0.01) -> Tensor:
    """Penalize the level of the scores, which comparisons leave free: ℓ = c (r⁺ + r⁻)², to add to their loss.

    Eisenstein et al. 2023, arXiv:2312.09244, Eq. 2. It does not depend on the label, so do not apply the pair's weight
    to it. Shapes as in `bt_loss`.
    """
    check_same_shape("centering_loss", chosen, rejected)
    check_range("centering_loss", "coef", coef, 0.0, math.inf)
    missing = (chosen - rejected).isnan()
    return (coef * (chosen + rejected).masked_fill(missing, 0.0).square()).masked_fill(missing, math.nan)


def weighted_loss(losses: Tensor, weight: Numbers) -> Tensor:
    """Weigh the loss of each pair: w·ℓ, and 0 where w is 0, even if ℓ is infinite.

    Wang et al. 2024, arXiv:2410.01257 (scaled Bradley-Terry, on `bt_loss`).

    Args:
        losses: (B,) loss per pair.
        weight: w ≥ 0, (B,) or one number; not normalized here, see `normalized_weights`.

    Returns:
        (B,) losses; NaN, without a gradient, where the loss or the weight is NaN.

    >>> weighted_loss(torch.tensor([2.0, math.inf]), torch.tensor([3.0, 0.0]))
    tensor([6., 0.])
    """
    column = _column("weighted_loss", "weight", weight, losses, 0.0)
    missing = losses.isnan() | column.isnan()
    losses = _share(column.masked_fill(missing, 0.0), losses.masked_fill(missing, 0.0))
    return losses.masked_fill(missing, math.nan)


def normalized_weights(weight: Tensor) -> Tensor:
    """Scale weights to mean 1, so that weighting changes which pairs count and not the learning rate.

        w_i / mean_j w_j

    Args:
        weight: (B,) w ≥ 0; NaN stays NaN and does not count. All 0 stay 0. In (..., B) each row has its own mean.

    >>> normalized_weights(torch.tensor([1.0, 3.0]))
    tensor([0.5000, 1.5000])
    """
    mean = weight.nanmean(dim=-1, keepdim=True)
    return weight / torch.where(mean > 0, mean, 1)


def rating_loss(scores: Tensor, ratings: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Fit ratings by their squared error, averaged over the attributes that were rated.

        ℓ_i = Σ_a μ_ia (s_ia − g_ia)² / Σ_a μ_ia

    Wang et al. 2024, arXiv:2410.01257 (HelpSteer2: ratings 0 to 4, five attributes or helpfulness alone).

    Args:
        scores: (B, A) one output per attribute.
        ratings: (B, A) g; NaN where an attribute was not rated.
        mask: (B, A) μ, True on the attributes that count; all if None.

    Returns:
        (B,) loss per answer, NaN where no attribute counts.

    >>> rating_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, float("nan")]]))
    tensor([4.])
    """
    check_shape("rating_loss", "scores", scores, None, None)
    check_same_shape("rating_loss", scores, ratings, *([] if mask is None else [mask]))
    ratings = ratings.to(scores.dtype)
    rated = ~(ratings.isnan() | scores.isnan())
    rated = rated if mask is None else mask.bool() & rated
    return _over_rated((scores.masked_fill(~rated, 0.0) - ratings.masked_fill(~rated, 0.0)).square(), rated)


def binned_rating_loss(logits: Tensor, ratings: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Fit ratings by cross-entropy over bins 0, 1, …, C − 1, averaged over the attributes that were rated.

        ℓ_ia = −(1 − f) log p_ia⌊g⌋ − f log p_ia⌈g⌉,   p_ia = softmax(s_ia),   f = g_ia − ⌊g_ia⌋

    Wang et al. 2024, arXiv:2410.01257. A mean rating between two bins is split between them, so that the best p has
    the rating as its mean.

    Args:
        logits: (B, A, C) s.
        ratings, mask: (B, A) as in `rating_loss`, which averages in the same way.

    Raises:
        ValueError: shapes do not fit, or a rating has no bin.

    >>> binned_rating_loss(torch.zeros(1, 1, 5), torch.tensor([[3.5]])).exp().round()
    tensor([5.])
    """
    check_shape("binned_rating_loss", "logits", logits, None, None, None)
    check_same_shape("binned_rating_loss", logits[..., 0], ratings, *([] if mask is None else [mask]))
    ratings = ratings.to(logits.dtype)
    rated = ~(ratings.isnan() | logits.isnan().any(dim=-1))
    rated = rated if mask is None else mask.bool() & rated
    ratings, last = ratings.masked_fill(~rated, 0.0), logits.shape[-1] - 1
    if bool(((ratings < 0) | (ratings > last)).any()):
        low, high = float(ratings.min()), float(ratings.max())
        raise ValueError(
            f"binned_rating_loss: ratings run from {low:g} to {high:g}, but {last + 1} bins are 0 to {last}. "
            "Shift the ratings, or give the model more bins."
        )
    below = ratings.floor()
    share = ratings - below
    index = torch.stack([below, ratings.ceil()], dim=-1).long()  # (B, A, 2)
    logs = logits.masked_fill(~rated[..., None], 0.0).log_softmax(dim=-1).gather(-1, index)
    return _over_rated(-((1 - share) * logs[..., 0] + share * logs[..., 1]), rated)


def _over_rated(losses: Tensor, rated: Tensor) -> Tensor:
    """Return the (B,) mean of (B, A) losses over rated attributes; NaN where none is rated."""
    count = rated.sum(dim=-1)
    total = losses.masked_fill(~rated, 0.0).sum(dim=-1)
    return (total / count.clamp_min(1)).masked_fill(count == 0, math.nan)


def spread_regularizer(scores: Tensor) -> Tensor:
    """Penalize equal scores of a prompt's answers; no label is needed.

        ℓ = −2/(k(k − 1)) Σ_{a<b} log σ(|r_a − r_b|)

    The negative of J in Wang, Zheng et al. 2024, arXiv:2401.06080 (MetaRM), on answers of the current policy. It is
    log 2 at most, and equal scores have no gradient, since either answer might be the better one.
    Differs: the paper uses J inside `meta_rm_step`; added to the loss, with a small factor, it has more effect here.

    Args:
        scores: (B, k) of k answers to each prompt; an unscored one is left out.

    Returns:
        (B,) loss per prompt, NaN where fewer than two answers are scored.

    >>> spread_regularizer(torch.zeros(1, 3)) / math.log(2)
    tensor([1.])
    """
    check_shape("spread_regularizer", "scores", scores, None, None)
    first, second = torch.triu_indices(scores.shape[1], scores.shape[1], offset=1, device=scores.device)
    difference = scores[:, first] - scores[:, second]  # (B, k(k−1)/2)
    missing = difference.isnan()
    losses = -F.logsigmoid(difference.masked_fill(missing, 0.0).abs()).masked_fill(missing, 0.0)
    count = (~missing).sum(dim=-1)
    return (losses.sum(dim=-1) / count.clamp_min(1)).masked_fill(count == 0, math.nan)


def simcse_loss(first: Tensor, second: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Bring two views of an item nearer to each other than to any other item of the batch (InfoNCE).

        ℓ_i = −log( e^{cos(h_i, h′_i)/τ} / Σ_j e^{cos(h_i, h′_j)/τ} )

    Gao et al. 2021, arXiv:2104.08821; Wang, Zheng et al. 2024, arXiv:2401.06080, where an item is a pair's difference
    of last hidden states, h(y⁺) − h(y⁻), and its two views are two dropout passes.

    Args:
        first, second: (B, h) the views h and h′; an item with NaN in either is left out, also as a contrast.
        temperature: τ > 0.

    Returns:
        (B,) loss per item; 0 for a batch of one item.
    """
    check_shape("simcse_loss", "first", first, None, None)
    check_same_shape("simcse_loss", first, second)
    check_range("simcse_loss", "temperature", temperature, torch.finfo(first.dtype).tiny, math.inf)
    missing = first.isnan().any(dim=-1) | second.isnan().any(dim=-1)
    ours, theirs = (F.normalize(h.masked_fill(missing[:, None], 0.0), dim=-1) for h in (first, second))
    similarity = (ours @ theirs.T / temperature).masked_fill(missing[None, :] & ~missing[:, None], -math.inf)
    return (similarity.logsumexp(dim=-1) - similarity.diagonal()).masked_fill(missing, math.nan)


def thurstone_loss(chosen_mean: Tensor, rejected_mean: Tensor, chosen_std: Tensor, rejected_std: Tensor) -> Tensor:
    """Fit the preference between two independent Gaussian scores.

        ℓ = −log Φ( (μ⁺ − μ⁻) / √(σ⁺² + σ⁻²) )

    Thurstone 1927, Case V generalized; the closed-form choice for the reward heads of Yan et al. 2024,
    arXiv:2409.15360. Scaling all means and deviations together changes nothing, so compare heads only after scoring
    both on a reference set. Floor σ where it is made (`softplus + 0.1`).

    Args:
        chosen_mean, rejected_mean: (B,) μ.
        chosen_std, rejected_std: (B,) σ > 0.

    Returns:
        (B,) loss per pair.
    """
    check_same_shape("thurstone_loss", chosen_mean, rejected_mean, chosen_std, rejected_std)
    if bool(((chosen_std <= 0) | (rejected_std <= 0)).any()):
        low = float(torch.minimum(chosen_std, rejected_std).min())
        raise ValueError(f"thurstone_loss: a std is {low}, which is not above 0. Pass softplus(x) + 0.1, for example.")
    difference = (chosen_mean - rejected_mean) / torch.hypot(chosen_std, rejected_std)
    missing = difference.isnan()
    likelihood: Tensor = torch.special.log_ndtr(difference.masked_fill(missing, 0.0))
    return -likelihood.masked_fill(missing, math.nan)


def sampled_preference_loss(
    chosen_mean: Tensor, rejected_mean: Tensor, chosen_std: Tensor, rejected_std: Tensor, noise: Tensor
) -> Tensor:
    """Square the error of one sampled preference between two Gaussian scores.

        ℓ = ( 1 − σ( μ⁺ − μ⁻ + √(σ⁺² + σ⁻²) ε ) )²

    Our reading of the squared error on reparameterized samples in Yan et al. 2024, arXiv:2409.15360; the exact target
    is not public. Deviations grow only where the order is wrong.

    Args:
        chosen_mean, rejected_mean: (B,) μ. chosen_std, rejected_std: (B,) σ.
        noise: (B,) ε ~ N(0, 1), one for the difference of two independent samples.

    Returns:
        (B,) loss per pair.
    """
    check_same_shape("sampled_preference_loss", chosen_mean, rejected_mean, chosen_std, rejected_std, noise)
    difference = chosen_mean - rejected_mean + torch.hypot(chosen_std, rejected_std) * noise
    return torch.sigmoid(-difference).square()


def _share(weight: Tensor, losses: Tensor) -> Tensor:
    """Return weight·losses, and 0 where the weight is 0 even if the loss is infinite."""
    return torch.where(weight == 0, 0.0, weight * losses)


def _column(
    caller: str, name: str, value: Numbers, like: Tensor, low: float = -math.inf, high: float = math.inf
) -> Tensor:
    """Return (B,) in the dtype of `like`, in its range or NaN."""
    column = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if column.ndim:
        check_same_shape(caller, like, column)
    bad = (column < low) | (column > high)
    if bool(bad.any()):
        raise ValueError(
            f"{caller}: {name} holds {float(column[bad].flatten()[0])}, outside [{low}, {high}]. "
            "Pass values in that range, and NaN for a row that does not count."
        )
    return column.expand_as(like)
