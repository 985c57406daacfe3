"""Report whether a reward model's accuracy, the reward of the policy trained on it, and its quality move together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewardsmith.measures.associations import LEAST, Association, association

ACCURACIES = ("rm_val_acc", "rm_gold_acc", "rm_onpolicy_acc")
KNOWN = ("name", *ACCURACIES, "proxy_gain", "proxy_reward", "reference_mean", "reference_std", "gold_gain", "kl")


class MismatchReport(NamedTuple):
    """Correlations over n systems for three links, as {link: {"x → y": Association}}, and each quantity's range.

    Links are "reward model → policy", "reward model → evaluation" and "policy → evaluation". spread: (least, mean,
    most) of each quantity; a correlation says nothing where it is narrow.
    """

    links: dict[str, dict[str, Association]]
    spread: dict[str, tuple[float, float, float]]
    n: int

    def verdicts(self) -> list[str]:
        """Return one sentence for each pair of quantities, from the interval of Pearson's correlation."""
        return [f"{link}: {name}: {_verdict(found)}." for link, of in self.links.items() for name, found in of.items()]

    def as_text(self) -> str:
        """Return the links with intervals, n and ranges, then the spread of every quantity."""
        lines = [f"{self.n} systems"]
        for link, pairs in self.links.items():
            lines += [f"  {link}", *(f"    {n}: {_verdict(of)}; {of.as_text()}" for n, of in pairs.items())]
        lines += ["  spread (least, mean, most)"]
        return "\n".join(lines + [f"    {name}: {a:.3g}, {b:.3g}, {c:.3g}" for name, (a, b, c) in self.spread.items()])


def objective_mismatch_report(
    systems: Sequence[Mapping[str, Any]],
    *,
    alpha: float = 0.05,
    generator: np.random.Generator | None = None,
) -> MismatchReport:
    """Correlate accuracy of the reward model, reward of the policy and its quality, over trained systems.

    Lambert and Calandra 2023, arXiv:2311.00168, name the three links; measuring them like this is ours. Correlations
    with the KL held fixed are given where all systems have `kl`. Rewards of two models have no common unit, so they are
    standardized on reference samples. Even so, never rank reward models by the reward that their policies reach.

    Args:
        systems: 8 or more records with any of

            rm_val_acc, rm_gold_acc, rm_onpolicy_acc: accuracy on held-out labels of annotators, on gold labels, and on
                gold labels of pairs that the policy wrote. Often only the first is known, and it may hide a shared
                bias.
            proxy_gain: standardized reward gained; or proxy_reward, reference_mean and reference_std, from which it
                follows as (proxy_reward − reference_mean) / reference_std.
            gold_gain: true reward gained. kl: to the start policy, in nats. name: ignored.

            Any other number is an evaluation, such as a benchmark's score.

    Raises:
        ValueError: fewer than 8 systems, or no two quantities are known in 8 of them.

    >>> systems = [{"rm_val_acc": 0.8 - k / 100, "proxy_gain": 1.0, "gold_gain": float(k)} for k in range(8)]
    >>> report = objective_mismatch_report(systems)
    >>> report.links["reward model → evaluation"]["rm_val_acc → gold_gain"].pearson.value
    -1.0
    """
    if len(systems) < LEAST:
        raise ValueError(
            f"objective_mismatch_report: got {len(systems)} systems, and a correlation over fewer than {LEAST} says "
            "nothing. Add systems, such as other reward models or other strengths of optimization."
        )
    others = dict.fromkeys(name for system in systems for name in system if name not in KNOWN)
    names = (*ACCURACIES, "proxy_gain", "gold_gain", "kl", *others)
    columns = {name: np.array([_number(system, name) for system in systems]) for name in names}
    columns = {name: column for name, column in columns.items() if np.isfinite(column).sum() >= LEAST}
    accuracies = [name for name in ACCURACIES if name in columns]
    qualities = [name for name in ("gold_gain", *others) if name in columns]
    pairs = {
        "reward model → policy": [(name, "proxy_gain") for name in accuracies],
        "reward model → evaluation": [(name, quality) for name in accuracies for quality in qualities],
        "policy → evaluation": [("proxy_gain", quality) for quality in qualities],
    }
    links: dict[str, dict[str, Association]] = {}
    for link, wanted in pairs.items():
        for x, y in wanted:
            if x not in columns or y not in columns:
                continue
            both = np.isfinite(columns[x]) & np.isfinite(columns[y])
            if both.sum() >= LEAST:
                kl = columns.get("kl")
                given = kl if kl is not None and np.isfinite(kl[both]).all() else None
                found = association(columns[x], columns[y], given=given, alpha=alpha, generator=generator)
                links.setdefault(link, {})[f"{x} → {y}"] = found
    if not links:
        raise ValueError(
            f"objective_mismatch_report: no two linked quantities are known in {LEAST} of {len(systems)} systems. Give "
            "rm_val_acc with proxy_gain, gold_gain or an evaluation."
        )
    spread = {name: _spread(column) for name, column in columns.items()}
    return MismatchReport(links, spread, len(systems))


def _verdict(found: Association) -> str:
    low, high = found.pearson.low, found.pearson.high
    return "they rise together" if low > 0 else "one falls as the other rises" if high < 0 else "no clear link"


def _number(system: Mapping[str, Any], name: str) -> float:
    """Return one quantity of a system; NaN where it is missing or no number."""
    if name == "proxy_gain" and system.get("proxy_gain") in (None, ""):
        reward, mean, std = (_number(system, part) for part in ("proxy_reward", "reference_mean", "reference_std"))
        return (reward - mean) / std if std > 0 else math.nan
    try:
        return float(system.get(name, math.nan))
    except (TypeError, ValueError):
        return math.nan


def _spread(column: NDArray[np.float64]) -> tuple[float, float, float]:
    known = column[np.isfinite(column)]
    return float(known.min()), float(known.mean()), float(known.max())
