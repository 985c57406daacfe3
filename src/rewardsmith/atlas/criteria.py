"""Criteria judge a page's runs and print themselves as one sentence, so that text and check cannot differ.

A criterion speaks of results, `{"metric/arm": [one number per seed]}`, with every list in the same order of seeds.
Thresholds are on means over seeds, so that one seed is enough to judge and many judge better; NaN never passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rewardsmith.measures.intervals import rank_correlations, student_interval

Results = Mapping[str, Sequence[float]]
"""Per-seed numbers by "metric/arm"."""
MOST_ENUMERATED = 13
"""The most seeds whose 2ⁿ sign patterns are enumerated."""


class Verdict(NamedTuple):
    """Whether a criterion held, its sentence, what was observed, and the verdicts of its parts if it has any."""

    passed: bool
    sentence: str
    observed: str
    parts: tuple[Verdict, ...] = ()


class Criterion(Protocol):
    """What judges results and prints itself."""

    def judge(self, results: Results) -> Verdict:
        """Judge the results over these seeds."""
        ...


def values_of(results: Results, name: str) -> NDArray[np.float64]:
    """Return (n seeds,) the numbers of one result.

    Raises:
        ValueError: the experiment returned no such result, or no seeds.
    """
    if name not in results or not len(results[name]):
        raise ValueError(
            f"criterion: the results hold no {name!r} (they hold {', '.join(results) or 'nothing'}). "
            "Use a name that the page's experiment returns, and at least one seed."
        )
    return np.asarray(results[name], dtype=np.float64)


def mean_of(results: Results, name: str) -> float:
    """Return the mean of one result over seeds."""
    return float(values_of(results, name).mean())


@dataclass(frozen=True)
class Within:
    """The mean of `name` lies in [low, high].

    >>> Within("share/b", 0.35, 0.65).judge({"share/b": [0.2]}).passed
    False
    """

    name: str
    low: float
    high: float

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"mean {self.name} ≥ {self.low:g}"
        lowest = math.isinf(self.low)
        return f"mean {self.name} ≤ {self.high:g}" if lowest else f"mean {self.name} in [{self.low:g}, {self.high:g}]"

    def judge(self, results: Results) -> Verdict:
        """Pass where the mean over seeds lies in the closed interval."""
        mean = mean_of(results, self.name)
        return Verdict(self.low <= mean <= self.high, str(self), f"{mean:.4g}")


class AtLeast(Within):
    """The mean of `name` reaches `value`.

    >>> AtLeast("accuracy/clean", 0.85).judge({"accuracy/clean": [0.8, 0.9, 0.91]}).passed
    True
    """

    def __init__(self, name: str, value: float) -> None:
        super().__init__(name, value, math.inf)


class AtMost(Within):
    """The mean of `name` does not exceed `value`.

    >>> print(AtMost("share/hack", 0.1))
    mean share/hack ≤ 0.1
    """

    def __init__(self, name: str, value: float) -> None:
        super().__init__(name, -math.inf, value)


@dataclass(frozen=True, slots=True)
class PairedGain:
    """`name` minus `over`, paired by seed, lies above `at_least` and/or below `at_most` on average.

    With `p_value`, the gain must also differ from 0 by a one-sided exact sign-flip test, asked only where enough
    seeds ran for that p-value to be attainable (2⁻ⁿ ≤ p_value).

    >>> print(PairedGain("gold/par", over="gold/vanilla", at_least=0.5))
    mean gold/par − gold/vanilla, paired by seed, ≥ 0.5
    """

    name: str
    over: str
    at_least: float | None = None
    at_most: float | None = None
    p_value: float | None = None

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"PairedGain: {self.name} over {self.over} has no bound. Give at_least, at_most or both.")
        if self.p_value is not None and self.at_least is None:
            raise ValueError("PairedGain: p_value tests a gain, so it needs at_least. Give it, or drop p_value.")

    def __str__(self) -> str:
        bounds = [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        text = f"mean {self.name} − {self.over}, paired by seed, {' and '.join(bounds)}"
        if self.p_value is None:
            return text
        return f"{text}, exact sign-flip p ≤ {self.p_value:g} where that many seeds ran"

    def judge(self, results: Results) -> Verdict:
        """Pass where the mean paired difference lies within the bounds, and is significant if that is asked."""
        gain = values_of(results, self.name) - values_of(results, self.over)
        mean = float(gain.mean())
        passed = (self.at_least is None or mean >= self.at_least) and (self.at_most is None or mean <= self.at_most)
        if len(gain) < (needed := seeds_to_judge(self)):  # only `p_value` asks for more than one
            few = f"{_signed(mean)}; not tested: p ≤ {self.p_value:g} takes {needed} seeds, {len(gain)} ran"
            return Verdict(passed and not np.isnan(mean), str(self), few)
        if self.p_value is None:
            return Verdict(passed and not np.isnan(mean), str(self), _signed(mean))
        p_value = sign_flip_p_value(gain)
        return Verdict(passed and p_value <= self.p_value, str(self), f"{_signed(mean)}, p = {p_value:.2g}")


@dataclass(frozen=True, slots=True)
class LowerBound:
    """The lower end of the 95 % interval of `name`, or of `name` minus `over` paired by seed, lies above `above`.

        x̄ − t₀.₉₇₅ s / √n > above        Student's t with n − 1 degrees of freedom

    With fewer than `least_seeds` seeds an interval says little, so the mean is judged in its place.

    >>> LowerBound("gold/min", over="gold/single", above=0.1).judge(
    ...     {"gold/min": [0.5, 0.6, 0.7, 0.6, 0.6], "gold/single": [0.4, 0.4, 0.4, 0.4, 0.4]}
    ... )[2]
    '+0.2, lower bound +0.1122'
    """

    name: str
    above: float
    over: str | None = None
    least_seeds: int = 5

    def __post_init__(self) -> None:
        if self.least_seeds < 2:
            raise ValueError(
                f"LowerBound: least_seeds is {self.least_seeds}; one seed has no spread. Ask for 2 or more."
            )

    def __str__(self) -> str:
        what = self.name if self.over is None else f"{self.name} − {self.over}, paired by seed,"
        return f"lower 95 % bound of {what} > {self.above:g} (the mean, where fewer than {self.least_seeds} seeds ran)"

    def judge(self, results: Results) -> Verdict:
        """Pass where the bound lies above `above`, or the mean where too few seeds ran; NaN never passes."""
        values = values_of(results, self.name)
        if self.over is not None:
            values = values - values_of(results, self.over)
        mean = float(values.mean())
        if len(values) < self.least_seeds:
            return Verdict(mean > self.above, str(self), _signed(mean))
        low, _ = student_interval(values.tolist())
        return Verdict(low > self.above, str(self), f"{_signed(mean)}, lower bound {_signed(low)}")


def seeds_to_judge(criterion: Criterion) -> int:
    """Return the fewest seeds at which no part is judged by its mean in place of its interval or p-value.

    >>> seeds_to_judge(PairedGain("gold/par", over="gold/vanilla", at_least=0.5, p_value=0.01))  # 2⁻⁷ = 0.008
    7
    """
    p_value = getattr(criterion, "p_value", None)
    attainable = math.ceil(-math.log2(p_value)) if p_value else 1  # 2⁻ⁿ ≤ p
    parts = map(seeds_to_judge, getattr(criterion, "parts", ()))
    return max(attainable, getattr(criterion, "least_seeds", 1), *parts)


def _signed(gain: float) -> str:
    return f"{round(gain, 9) + 0.0:+.4g}"  # rounding errors are no gain


def sign_flip_p_value(gain: NDArray[np.float64]) -> float:
    """One-sided p-value of mean(gain) > 0: exact under random signs to 13 values, Student's t beyond.

    >>> sign_flip_p_value(np.array([1.0, 2.0, 3.0]))
    0.125
    """
    from scipy.stats import ttest_1samp

    if np.isnan(gain).any():
        return 1.0
    if len(gain) > MOST_ENUMERATED:
        return float(ttest_1samp(gain, 0.0, alternative="greater").pvalue)
    signs = np.array(list(product((1.0, -1.0), repeat=len(gain))))  # (2ⁿ, n)
    return float((signs @ gain >= gain.sum() - 1e-12 * np.abs(gain).sum()).mean())


class All:
    """Every part holds.

    >>> print(All(AtLeast("a/x", 1), AtMost("b/x", 2)))
    mean a/x ≥ 1; and mean b/x ≤ 2
    """

    def __init__(self, *parts: Criterion) -> None:
        if not parts:
            raise ValueError("All: no criteria given, so anything would pass. Give at least one.")
        self.parts = parts

    def __str__(self) -> str:
        return "; and ".join(str(part) for part in self.parts)

    def judge(self, results: Results) -> Verdict:
        """Pass where every part passes; the parts' verdicts are kept."""
        parts = tuple(part.judge(results) for part in self.parts)
        held = sum(part.passed for part in parts)
        return Verdict(held == len(parts), str(self), f"{held} of {len(parts)} parts hold", parts)


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """Spearman's correlation between two metrics, over the means of arms, reaches `at_least`."""

    metric: str
    other: str
    arms: tuple[str, ...]
    at_least: float

    def __str__(self) -> str:
        return f"Spearman of {self.metric} and {self.other} over {len(self.arms)} arms' means ≥ {self.at_least:g}"

    def judge(self, results: Results) -> Verdict:
        """Pass where the rank correlation of the arms' means over seeds is at least `at_least`."""
        means = [[mean_of(results, f"{m}/{arm}") for m in (self.metric, self.other)] for arm in self.arms]
        rho = float(rank_correlations(means)[0, 1])
        return Verdict(rho >= self.at_least, str(self), f"{rho:.3g}")
