"""Online estimation of a verifier's false-negative rate, from a few appeals against its rejections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.transforms.noise import _check_verdicts


class AppealsEstimator(nn.Module):
    """Online estimate of the false-negative rate per key, by a second verifier on a random share of the rejected rows.

        ô = N⁻ · Σ overturned / q  ÷  Σ answered / q        right rows among the N⁻ rejected
        ô ← (ô − α₀ N⁻) / (1 − α₀ − α₁)                     less the appeal verifier's own errors
        ρ̂₁ = ô / (N⁺ − ρ₀ ŵ + ô),  ŵ = (N⁻ − ô) / (1 − ρ₀)   ŵ wrong rows, of which ρ₀ were accepted

    Cai et al. 2025, arXiv:2510.00915, which leaves the estimator open. Each answered appeal weighs 1/q
    (Horvitz–Thompson), in numerator and denominator, so q may change during a run, and an appeal without an answer is
    left out, not counted as upheld. Rates follow the policy, so older rows get less weight.

    Args:
        q: probability that a rejected row is appealed.
        halflife: updates after which a row counts half; None never forgets.
        false_positive_rate: ρ₀ of the verifier.
        appeal_false_positive_rate: α₀, how often an appeal overturns a right rejection.
        appeal_false_negative_rate: α₁, how often it upholds a wrong one.
        initial_rate: rate of a key without an answered appeal; 0 leaves its rows uncorrected.
    """

    def __init__(
        self,
        *,
        q: float = 0.25,
        halflife: float | None = None,
        false_positive_rate: float = 0.0,
        appeal_false_positive_rate: float = 0.0,
        appeal_false_negative_rate: float = 0.0,
        initial_rate: float = 0.0,
    ) -> None:
        super().__init__()
        check_range("AppealsEstimator", "q", q, 1e-6, 1.0)
        check_range("AppealsEstimator", "halflife", 1.0 if halflife is None else halflife, 1e-6, math.inf)
        check_range("AppealsEstimator", "false_positive_rate", false_positive_rate, 0.0, 0.99)
        check_range("AppealsEstimator", "initial_rate", initial_rate, 0.0, 1.0)
        check_range("AppealsEstimator", "appeal_false_positive_rate", appeal_false_positive_rate, 0.0, 1.0)
        room = 0.99 - appeal_false_positive_rate
        check_range("AppealsEstimator", "appeal_false_negative_rate", appeal_false_negative_rate, 0.0, room)
        self.q = q
        self.halflife = halflife
        self.initial_rate = initial_rate
        self._rho0 = false_positive_rate
        self._alpha0, self._alpha1 = appeal_false_positive_rate, appeal_false_negative_rate
        self._counts: dict[str, list[float]] = {}  # accepted, rejected, answered / q, overturned / q

    def select(self, verdicts: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw the rejected rows to appeal, each with probability q: (B,) bool, False for NaN rows."""
        _check_verdicts("AppealsEstimator.select", "verdicts", verdicts)
        draw = torch.rand(verdicts.shape, generator=generator, device=generator.device if generator else None)
        return (verdicts == 0) & (draw < self.q).to(verdicts.device)

    def update(self, keys: Sequence[str], verdicts: Tensor, appealed: Tensor, overturned: Tensor) -> None:
        """Add a batch to the counts.

        Args:
            keys: B keys, such as the response's format.
            verdicts: (B,) the verifier's verdicts ∈ {0, 1}, NaN where unscored; such rows are skipped.
            appealed: (B,) True where `select` chose the row.
            overturned: (B,) 1 where the appeal accepted the row, 0 where it did not, NaN where it gave no answer;
                read only where `appealed`.
        """
        check_same_shape("AppealsEstimator.update", verdicts, appealed, overturned)
        _check_verdicts("AppealsEstimator.update", "verdicts", verdicts)
        answers = torch.where(appealed.bool(), overturned.to(torch.float64), math.nan)
        _check_verdicts("AppealsEstimator.update", "overturned", answers)
        if len(keys) != len(verdicts):
            raise ValueError(f"AppealsEstimator.update: {len(keys)} keys for {len(verdicts)} rows. Pass one per row.")
        if bool((appealed.bool() & (verdicts != 0)).any()):
            raise ValueError(
                "AppealsEstimator.update: a row was appealed that was not rejected. Appeal verdict 0 only."
            )
        keep = 1.0 if self.halflife is None else 0.5 ** (1 / self.halflife)
        self._counts = {key: [keep * count for count in counts] for key, counts in self._counts.items()}
        for key, verdict, answer in zip(keys, verdicts.tolist(), answers.tolist(), strict=True):
            if math.isnan(verdict):
                continue
            counts = self._counts.setdefault(key, [0.0, 0.0, 0.0, 0.0])
            counts[0 if verdict == 1 else 1] += 1
            if not math.isnan(answer):
                counts[2] += 1 / self.q
                counts[3] += answer / self.q

    def rate(self, key: str) -> float:
        """Return ρ̂₁ of one key, or `initial_rate` where no appeal was answered or nothing right was seen."""
        accepted, rejected, answered, overturned = self._counts.get(key, [0.0, 0.0, 0.0, 0.0])
        if answered == 0:
            return self.initial_rate
        right = rejected * overturned / answered
        right = (right - self._alpha0 * rejected) / (1 - self._alpha0 - self._alpha1)
        right = min(max(right, 0.0), rejected)
        wrong = (rejected - right) / (1 - self._rho0)
        accepted_right = max(accepted - self._rho0 * wrong, 0.0)
        found = right + accepted_right
        return right / found if found > 0 else self.initial_rate

    def false_negative_rate(self, keys: Sequence[str]) -> Tensor:
        """Return (B,) ρ̂₁ of each row's key, for `backward_correction` and `forward_weights`."""
        rates = {key: self.rate(key) for key in dict.fromkeys(keys)}
        return torch.tensor([rates[key] for key in keys], dtype=torch.float64)

    def get_extra_state(self) -> dict[str, Any]:
        return {"counts": {key: list(counts) for key, counts in self._counts.items()}}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._counts = {key: list(counts) for key, counts in state["counts"].items()}
