"""Combine reward models by their weights: average or extrapolate state dicts of one architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    State = Mapping[str, Tensor]


def extrapolate(theta_strong: State, theta_weak: State, alpha: float = 0.5) -> dict[str, Tensor]:
    """Move the weights further in the direction of training (ExPO).

        θ = θ_strong + α (θ_strong − θ_weak)

    Zheng et al. 2024, arXiv:2404.16792; Wang et al. 2024, arXiv:2410.01257, apply it to reward models, from the
    regression model through the comparison-trained one. Computed in float32 at least, biases and norms included.
    Entries that are not floating-point are the strong model's. Choose α on held-out pairs only.

    Args:
        theta_strong, theta_weak: `state_dict`s of one architecture, after and before training.
        alpha: α; 0 is the strong model, −1 the weak one.

    Returns:
        A `state_dict` in the strong model's dtypes.
    """
    _check_states("extrapolate", [theta_strong, theta_weak])
    return {name: _mixed([value, theta_weak[name]], [1 + alpha, -alpha]) for name, value in theta_strong.items()}


def average(thetas: Sequence[State], *, weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Return the weighted mean of several models' weights (a model soup).

        θ = Σ_k w_k θ_k / Σ_k w_k

    Ramé et al. 2024, arXiv:2401.12187 (WARM). Use it for fine-tunings of one pretrained model: models from different
    starting points do not average. Computed in float32 at least. Entries that are not floating-point are the first
    model's.

    Args:
        thetas: `state_dict`s of one architecture.
        weights: w, all 1 if None.
    """
    _check_states("average", thetas)
    shares = [1.0] * len(thetas) if weights is None else list(weights)
    if len(shares) != len(thetas) or sum(shares) == 0:
        raise ValueError(f"average: weights are {shares} for {len(thetas)} models. Give one each, with nonzero sum.")
    total = sum(shares)
    return {name: _mixed([theta[name] for theta in thetas], [w / total for w in shares]) for name in thetas[0]}


def _mixed(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    first = values[0]
    if not first.is_floating_point():
        return first.detach().clone()
    wide = [value.detach().to(first.device) for value in values]
    wide = [value if value.element_size() >= 4 else value.float() for value in wide]
    total = shares[0] * wide[0]
    for share, value in zip(shares[1:], wide[1:], strict=True):
        total = total + share * value
    return total.to(first.dtype)


def _check_states(caller: str, thetas: Sequence[State]) -> None:
    if not thetas:
        raise ValueError(f"{caller}: no models given. Give at least one state_dict.")
    first = {name: tuple(value.shape) for name, value in thetas[0].items()}
    for theta in thetas[1:]:
        shapes = {name: tuple(value.shape) for name, value in theta.items()}
        differing = sorted(name for name in first.keys() | shapes if first.get(name) != shapes.get(name))
        if differing:
            name = differing[0]
            raise ValueError(
                f"{caller}: {name} has shape {first.get(name)} in the first model and {shapes.get(name)} in another "
                f"({len(differing)} entries differ). Combine models of one architecture."
            )
