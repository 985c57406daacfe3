"""Randomness for worlds with many seeds: one generator per seed, so that seeds do not depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Streams:
    """Random streams, one per seed; every draw has the seeds as its first dimension S.

    A seed's draws depend on that seed and on the draws before, never on the other seeds, so a run over ten seeds
    repeats ten runs over one. To pair arms, draw once with a dimension of size 1 for them and broadcast.

    >>> both, alone = Streams([3, 4]), Streams([4])
    >>> bool((both.rand(2)[1] == alone.rand(2)[0]).all())
    True
    """

    def __init__(self, seeds: Sequence[int], *, dtype: torch.dtype = torch.float64) -> None:
        self.dtype = dtype
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __len__(self) -> int:
        return len(self.generators)

    def rand(self, *shape: int) -> Tensor:
        """Draw (S, *shape) numbers uniform on [0, 1)."""
        return self._draw(lambda g: torch.rand(shape, generator=g, dtype=self.dtype))

    def randn(self, *shape: int) -> Tensor:
        """Draw (S, *shape) standard normal numbers."""
        return self._draw(lambda g: torch.randn(shape, generator=g, dtype=self.dtype))

    def randint(self, high: int, *shape: int) -> Tensor:
        """Draw (S, *shape) integers in 0…high−1."""
        return self._draw(lambda g: torch.randint(high, shape, generator=g))

    def randperm(self, n: int) -> Tensor:
        """Draw (S, n), a permutation of 0…n−1 per seed."""
        return self._draw(lambda g: torch.randperm(n, generator=g))

    def _draw(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self.generators])


def sample_index(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Draw from categorical distributions by inverting their cumulative sums, so that arms can share their draws.

        i = #{ k : Σ_{j≤k} p_j ≤ u }

    Args:
        probabilities: (..., K), each row summing to 1.
        uniform: (...) in [0, 1), broadcast against the rows.

    Returns:
        (...) int64 indices.

    >>> sample_index(torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([0.4]))
    tensor([1])
    """
    below = (probabilities.cumsum(dim=-1) <= uniform[..., None]).sum(dim=-1)
    return below.clamp(max=probabilities.shape[-1] - 1)  # a sum that rounds to below 1
