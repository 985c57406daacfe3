"""A grid of reward models: several bodies, each pretrained with its own seed, and several fine-tunings of each body."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rewardsmith._check import check_range
from rewardsmith.objectives import bt_loss, centering_loss
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs
from rewardsmith.worlds.streams import Streams

_BIAS_STD = 0.3


def pretrain_bodies(
    features: Tensor,
    *,
    streams: Streams,
    n_bodies: int,
    widths: Sequence[int] = (48, 48),
    one_seed: bool = False,
    mask_rate: float = 0.25,
    steps: int = 200,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
) -> BatchedMLP:
    """Perceptrons (S, n_bodies) that fill in features which were set to 0, by Adam on their squared error.

        ℓ = mean over masked j of ( f(x ⊙ (1 − m))_j − x_j )²        m_j ~ Bernoulli(mask_rate)

    The seed of a body sets its start, its order of the samples and its masks. Weights start at √2 times those of
    `BatchedMLP`, as befits ReLU, and biases of hidden layers at N(0, 0.3²), so that kinks lie everywhere.

    Args:
        features: (S, n, d) unlabeled responses.
        one_seed: all bodies of a seed start and learn alike.
    """
    check_range("pretrain_bodies", "mask_rate", mask_rate, 0.0, 1.0)
    _, n, d = features.shape
    bodies = BatchedMLP((d, *widths, d), lead=(len(streams), n_bodies), streams=streams, activation=torch.relu)
    with torch.no_grad():
        for weight, bias in zip(list(bodies.weights)[:-1], list(bodies.biases)[:-1], strict=True):
            weight.mul_(math.sqrt(2))
            bias.copy_(_BIAS_STD * streams.randn(*bias.shape[1:]))
    if one_seed:
        bodies = bodies.take([0] * n_bodies)
    apart = 1 if one_seed else n_bodies
    seed = torch.arange(len(streams))[:, None, None]
    optimizer = torch.optim.Adam(bodies.parameters(), lr=learning_rate, fused=True)
    for _ in range(steps):
        x = features[seed, streams.randint(n, apart, batch_size)]  # (S, bodies, batch, d)
        masked = (streams.rand(apart, batch_size, d) < mask_rate).to(x.dtype)
        missed = (bodies(x * (1 - masked)) - x) * masked
        optimizer.zero_grad()
        torch.autograd.backward((missed.square().mean(dim=(-1, -2)) / max(mask_rate, 1 / d)).sum())
        optimizer.step()
    return bodies


def finetune_heads(
    bodies: BatchedMLP,
    pairs: Pairs,
    *,
    streams: Streams,
    n_heads: int,
    center: float = 0.01,
    head_scale: float = 0.1,
    steps: int = 300,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    body_learning_rate: float = 5e-4,
) -> BatchedMLP:
    """Reward models (S, n_bodies · n_heads), body by body: a copy of the body under a new head, trained on pairs.

        ℓ = softplus( −(r⁺ − r⁻) ) + center (r⁺ + r⁻)²

    Eisenstein et al. 2023, arXiv:2312.09244. The seed of a fine-tuning sets its head and its order of the pairs; the
    body is trained along at a smaller rate.

    Args:
        head_scale: of the new heads' start; small, as heads on language models are started, so that what a member
            says is learned and not drawn.
    """
    n_seeds, n_bodies = bodies.lead
    widths = [weight.shape[-1] for weight in list(bodies.weights)[:-1]]
    sizes = (pairs.chosen.shape[-1], *widths, 1)
    models = BatchedMLP(sizes, lead=(n_seeds, n_bodies * n_heads), streams=streams, activation=bodies.activation)
    with torch.no_grad():
        for ours, theirs in ((models.weights, bodies.weights), (models.biases, bodies.biases)):
            for layer in range(len(widths)):
                ours[layer].copy_(theirs[layer].repeat_interleave(n_heads, dim=1))
        models.weights[-1].mul_(head_scale)
    body = [*list(models.weights)[:-1], *list(models.biases)[:-1]]
    head = [models.weights[-1], models.biases[-1]]
    optimizer = torch.optim.Adam(
        [{"params": body, "lr": body_learning_rate}, {"params": head, "lr": learning_rate}], fused=True
    )
    both, seed = torch.stack([pairs.chosen, pairs.rejected], dim=2), torch.arange(n_seeds)[:, None, None]
    for _ in range(steps):
        picks = streams.randint(both.shape[1], n_bodies * n_heads, batch_size)
        scores = models(both[seed, picks].flatten(2, 3)).unflatten(-1, (batch_size, 2))
        losses = bt_loss(scores[..., 0], scores[..., 1])
        losses = losses + centering_loss(scores[..., 0], scores[..., 1], coef=center)
        optimizer.zero_grad()
        torch.autograd.backward(losses.mean(dim=-1).sum())
        optimizer.step()
    return models
