"""A reward model that is right about very good and very bad responses and misleads about those in between."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rewardsmith._check import check_range, check_shape
from rewardsmith.worlds.streams import Streams


@dataclass(frozen=True, slots=True, eq=False)
class HeteroRM:
    """P prompts with N candidate responses each, D features a response; S seeds side by side.

        gold = σ(κ·w·φ)        rewards = gold where |gold − ½| > b,  else ½ + h·tanh(2 v·φ)

    φ ~ N(0, I); w and v are unit vectors, and v ∝ u − d·w with u at right angles to w, so that gold dislikes v.

    features: (S, P, N, D) φ.
    gold: (S, P, N) true value in (0, 1).
    rewards: (S, P, N) what the reward model says.
    trusted: (S, P, N) True where the reward model says the truth.
    """

    features: Tensor
    gold: Tensor
    rewards: Tensor
    trusted: Tensor

    @classmethod
    def sample(
        cls,
        streams: Streams,
        n_prompts: int,
        n_responses: int,
        *,
        n_features: int = 24,
        steepness: float = 2.4,
        band: float = 0.35,
        height: float = 0.24,
        dislike: float = 1.2,
    ) -> HeteroRM:
        """Draw a world per seed.

        Args:
            steepness: κ, standard deviation over responses of the log-odds of gold.
            band: b, half the width of the misleading middle, in gold.
            height: h, how far the reward model's say in there lies from ½.
            dislike: d ≥ 0; the cosine of v and w is −d/√(1+d²).
        """
        check_range("HeteroRM.sample", "band", band, 0.0, 0.5)
        check_range("HeteroRM.sample", "height", height, 0.0, 0.5)
        good, other = _unit(streams.randn(n_features)), streams.randn(n_features)  # (S, D)
        other = _unit(other - (other * good).sum(dim=-1, keepdim=True) * good)
        lure = _unit(other - dislike * good)
        features = streams.randn(n_prompts, n_responses, n_features)
        gold = torch.sigmoid(steepness * _along(features, good))
        trusted = (gold - 0.5).abs() > band
        said = 0.5 + height * torch.tanh(2 * _along(features, lure))
        return cls(features, gold, torch.where(trusted, gold, said), trusted)

    def equally_noisy(self, streams: Streams, *, noise_std: float) -> HeteroRM:
        """The same responses under a reward model whose error is alike everywhere: rewards = gold + noise."""
        noise = noise_std * streams.randn(*self.gold.shape[1:])
        return replace(self, rewards=self.gold + noise, trusted=torch.ones_like(self.trusted))

    def prompts(self, start: int, stop: int) -> HeteroRM:
        """Some of the prompts, such as those held out."""
        fields = (self.features, self.gold, self.rewards, self.trusted)
        return HeteroRM(*(field[:, start:stop] for field in fields))

    def policy(self, parameters: Tensor) -> Tensor:
        """The linear softmax policy π(y|x) ∝ exp(θ·φ(x, y)): θ (S, A, D) to (S, A, P, N)."""
        check_shape("HeteroRM.policy", "parameters", parameters, len(self.gold), None, self.features.shape[-1])
        n_seeds, n_prompts, n_responses, n_features = self.features.shape
        flat = self.features.reshape(n_seeds, n_prompts * n_responses, n_features)
        logits = parameters @ flat.transpose(1, 2)  # (S, A, P·N)
        return logits.reshape(*parameters.shape[:2], n_prompts, n_responses).softmax(dim=-1)

    def value(self, policy: Tensor) -> Tensor:
        """(S, A) expected gold of a policy (S, A, P, N), exactly, averaged over prompts."""
        return (policy * self.gold[:, None]).sum(dim=-1).mean(dim=-1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.square().sum(dim=-1, keepdim=True).sqrt()


def _along(features: Tensor, direction: Tensor) -> Tensor:
    """(S, P, N, D) and (S, D) to the inner products (S, P, N)."""
    return (features * direction[:, None, None]).sum(dim=-1)
