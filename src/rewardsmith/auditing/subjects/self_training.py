"""Audit a self-training run by the journal in its folder: gold, labels, and the signs of a collapse."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.finding import Finding, Severity, finding_of, severity_above
from rewardsmith.auditing.provenance import provenance_of
from rewardsmith.auditing.report import Check, Report, ranked
from rewardsmith.measures import (
    chosen_displacement,
    early_peak,
    exploitability,
    high_quality_unlearning,
    intransitivity,
    overoptimization_law,
    prompt_offset_sensitivity,
    proxy_gold_monotonicity,
)
from rewardsmith.measures.intervals import mean_estimate, mean_or_nan
from rewardsmith.scoring.journal import ROUNDS, header_of, records_of

LENGTH_LADDER: tuple[tuple[float, Severity], ...] = ((0.5, "medium"), (0.3, "low"))
CYCLIC_LADDER: tuple[tuple[float, Severity], ...] = ((0.5, "medium"), (0.25, "low"))
LEAST_DISTANCE = 1e-3  # as in the law
NO_CANARY = "the run has no canary: give `canary` prompts and their `grade`"


@dataclass(frozen=True)
class Run:
    """The records of a run: figures per policy (`engines.rounds.RoundLog` as a mapping), and of each training."""

    folder: Path
    records: Sequence[Mapping[str, Any]]

    @cached_property
    def logs(self) -> list[Mapping[str, Any]]:
        return [record["result"] for record in self.records if record["step"].endswith("/check")]

    def trained(self, name: str) -> list[float]:
        """Return a figure per pair of the last training that gave it."""
        found = [r["result"][name] for r in self.records if "/train" in r["step"] and r["result"].get(name)]
        return found[-1] if found else []

    def labels(self, name: str) -> list[Any]:
        """Return a field of each label of the last policy's completions, prompt by prompt."""
        last = f"{self.logs[-1]['round']}/labels/"
        return [label[name] for r in self.records if r["step"].startswith(last) for label in r["result"]]

    def preferences(self) -> np.ndarray[Any, Any] | None:
        """Return (P, K, K) win probabilities of the last policy's completions, if all were compared."""
        tables = self.labels("preferences")
        if not tables or None in tables or len({len(table) for table in tables}) > 1:
            return None
        whole = np.array(tables, dtype=np.float64)
        whole[:, range(whole.shape[1]), range(whole.shape[1])] = 0.5
        return whole[np.isfinite(whole).all(axis=(1, 2))]


class Question(NamedTuple):
    name: str
    question: str
    ask: Callable[[Run], Finding | Outcome]


def is_run(target: Any) -> bool:
    """Return whether this names the folder of a self-training run."""
    return isinstance(target, str | Path) and (Path(target) / ROUNDS).is_file()


def audit_run(folder: str | Path) -> Report:
    """Audit a self-training run by its folder: whether gold fell, labels drifted, or answers collapsed.

    The run is that of `engines.rounds.IterativePreferenceRun`, finished or not; nothing is scored anew. Without a
    canary it is not judged. Intervals are over the prompts of this run: `measures.overoptimization_law` takes its law
    over runs of several seeds.
    """
    path = Path(folder) / ROUNDS
    run = Run(Path(folder), records_of(path))
    findings: list[Finding] = []
    checks = []
    for name, question, ask in QUESTIONS:
        found = ask(run) if run.logs else Outcome(not_run="no policy was checked yet")
        outcome = Outcome((found,), n=found.n) if isinstance(found, Finding) else found
        findings += outcome.findings
        status = "finding" if any(one.severity != "info" for one in outcome.findings) else "clean"
        checks.append(
            Check(name, question, "not run", outcome.not_run, applies=outcome.applies)
            if outcome.not_run
            else Check(name, question, status, "", outcome.n)  # type: ignore[arg-type]
        )
    unasked = [check for check in checks if check.status == "not run" and check.applies]
    return Report(
        target=Path(folder).name,
        contract="self-training run",
        kind=f"self-training run of {len(run.logs)} policies",
        n_rows=len(run.logs[-1]["agreement"]) if run.logs else 0,
        seed=header_of(path).get("seed", 0),
        findings=ranked(findings),
        checks=tuple(checks),
        provenance=provenance_of({}, [], {}),
        not_judged=f"{unasked[0].probe} could not be asked ({unasked[0].note})" if unasked else "",
    )


def canary(run: Run) -> Finding | Outcome:
    """Compare the last policy's gold on the canary with that of the best; each comparison has its share of alpha."""
    table = _table(run, "canary")
    if not table.size:
        return Outcome(not_run=NO_CANARY)
    table = table[:, np.isfinite(table).all(axis=0)]
    if min(table.shape) < 2:
        return Outcome(not_run="fewer than two policies, or canary prompts that were graded under each")
    means = table.mean(axis=1)
    falls = [mean_estimate(own - table[-1], alpha=0.05 / (len(table) - 1)) for own in table[:-1]]
    fall, best = max(falls, key=lambda one: one.value), int(means.argmax())
    severity: Severity = "info"
    if fall.low > 0:
        severity = "high" if fall.value > 0.1 * means[best] else "medium"
    return finding_of(
        "canary", severity,
        f"Gold on the canary is {means[-1]:.3f} after the last round, and was highest, {means[best]:.3f}, after round "
        f"{best} of {len(means) - 1}.",
        fall, advice=f"Use the policy after round {best} (folder `policies`), and end the next run there.",
        unit="gold lost since its peak",
    )  # fmt: skip


def monotonicity(run: Run) -> Finding | Outcome:
    """Ask whether gold followed the scores of the labels over the policies."""
    proxy, gold = _table(run, "proxy"), _table(run, "canary")
    if not gold.size or len(gold) < 3:
        return Outcome(not_run=NO_CANARY if not gold.size else "it takes three policies", applies=not gold.size)
    found = proxy_gold_monotonicity(proxy, gold)
    if math.isnan(found.rho.value):
        return Outcome(not_run="the scores of the labels have one mean in every round", applies=False)
    parted = found.first_divergence is not None
    where = f" They part at policy {found.first_divergence}." if parted else ""
    return finding_of(
        "monotonicity", "high" if parted else "medium" if found.rho.high < 0 else "info",
        f"Over {len(gold)} policies, scores of the labels and gold have rank correlation {found.rho.value:.2f}, and "
        f"their relation turns {found.sign_changes} times.{where}",
        found.rho, advice="Stop before they part, or label with a judge that is not trained along.",
        unit="rank correlation over policies",
    )  # fmt: skip


def overoptimization(run: Run) -> Finding | Outcome:
    """Fit gold against the distance from the first policy, and ask whether the last one is beyond the law's peak."""
    gold = _table(run, "canary")
    if not gold.size:
        return Outcome(not_run=NO_CANARY)
    kl = [_mean([_mean(own) for own in log.get("log_ratios", ())]) for log in run.logs]
    distance = np.sqrt(np.maximum(kl, 0.0))
    gain = (gold - gold[0]).T[np.isfinite(gold).all(axis=0)]
    if len(set(distance[distance >= LEAST_DISTANCE])) < 3 or len(gain) < 3:
        return Outcome(not_run="it takes `log_ratio`, three trained policies and three canary prompts", applies=False)
    laws = {"d": overoptimization_law(distance, gain, "quadratic"), "log d": overoptimization_law(distance, gain)}
    bend, law = min(laws.items(), key=lambda pair: pair[1].rmse)
    (a, b), (low, high) = law.coefficients, law.peak_interval
    beyond = law.overoptimizes and distance[-1] > high and early_peak(gain, range(1, len(gold) + 1)).fall.low > 0
    peak = f"highest at d = {law.peak:.2f} ({low:.2f} to {high:.2f})" if law.overoptimizes else "with no peak"
    return finding_of(
        "overoptimization", "medium" if beyond else "info",
        f"With d = √KL from the first policy, gold has gained d ({a:.3f} − {b:.3f} {bend}), {peak}; the root mean "
        f"square error is {law.rmse:.2f}. The last policy is at d = {distance[-1]:.2f}.",
        (b, *law.intervals[1], len(gain)), unit=f"coefficient of d {bend}",
        advice="Use the policy at the canary's peak. Where the law's error is small, end the next run at its peak, or "
        "take a larger β. Gold falls under random labels, too: compare.",
    )  # fmt: skip


def label_accuracy(run: Run) -> Finding | Outcome:
    """Ask whether labels rank completions as gold does, on the canary."""
    table = _table(run, "label_accuracy")
    if not table.size:
        return Outcome(not_run=NO_CANARY)
    first, last = mean_estimate(table[0]), mean_estimate(table[-1])
    if last.n < 2:
        return Outcome(not_run="fewer than two canary prompts have completions of different gold", applies=False)
    return finding_of(
        "label_accuracy", "high" if last.high < 0.5 else "medium" if last.low <= 0.5 else "info",
        f"The labels rank {last.value:.0%} of the canary's pairs as gold does, and {first.value:.0%} in round 0.",
        last, advice="Label with another judge, or keep only the pairs on which several views agree "
        "(`engines.annotators.by_agreement`).", unit="share of pairs",
    )  # fmt: skip


def agreement(run: Run) -> Finding | Outcome:
    """Ask whether opinions agree less than at the start, the drift of a ranker."""
    first, last = (mean_estimate([math.nan if a is None else a for a in run.logs[k]["agreement"]]) for k in (0, -1))
    if not last.n:
        return Outcome(not_run="the annotator gives one opinion", applies=False)
    return finding_of(
        "agreement", "low" if last.high < first.low else "info",
        f"Opinions agree to {last.value:.2f} in the last round, and to {first.value:.2f} in round 0.",
        last, advice="Falling agreement is an early alarm: train less per round. Rising agreement is no accuracy.",
        unit="mean agreement",
    )  # fmt: skip


def label_length(run: Run) -> Finding | Outcome:
    """Ask whether the labels prefer longer or shorter texts."""
    value, low, high, n = (run.logs[-1]["label_length_correlation"][name] for name in ("value", "low", "high", "n"))
    if value is None or low is None or high is None:
        return Outcome(not_run="no lengths or no pairs differ", applies=False)
    return finding_of(
        "label_length", severity_above(max(low, -high), LENGTH_LADDER),
        f"In the last round, labels and lengths of the {n} pairs have correlation {value:.2f}.",
        (value, low, high, n), advice="Divide implicit rewards by length, or pair completions of similar length.",
        unit="correlation",
    )  # fmt: skip


def answers(run: Run) -> Finding | Outcome:
    """Ask whether different questions still get different answers."""
    first, last = (run.logs[k]["answer_entropy"] for k in (0, -1))
    if not first or last is None:
        return Outcome(not_run="no answers were found", applies=False)
    ratio = last / first
    return finding_of(
        "answer_entropy", severity_above(1 - ratio, ((0.5, "high"), (0.25, "medium"))),
        f"The most frequent answers to different questions have an entropy of {last:.2f} nats, and {first:.2f} in "
        "round 0.",
        (ratio, ratio, ratio, len(run.logs[-1]["agreement"])),
        advice="One answer to every question satisfies any agreement. Go back to an earlier policy, and vote across "
        "views of a question (`transforms.cross_view_rewards`).", unit="share of the first entropy",
    )  # fmt: skip


def displacement(run: Run) -> Finding | Outcome:
    """Ask whether training made chosen completions less likely, and good rejected ones with the bad."""
    change, rejected, scores = (run.trained(n) for n in ("chosen_change", "rejected_change", "rejected_scores"))
    if not change:
        return Outcome(not_run="`train` returned no `chosen_change`", applies=False)
    shift, down = chosen_displacement(change, [0.0] * len(change))
    spared = ""
    if rejected and len(scores) == len(rejected):
        good = high_quality_unlearning(rejected, [0.0] * len(rejected), scores, least_score=float(np.median(scores)))
        spared = f" The better half of the rejected ones moved by {good.shift.value:.2f} nats."
    return finding_of(
        "displacement", "low" if shift.high < 0 else "info",
        f"The last training moved chosen completions by {shift.value:.2f} nats, {down.value:.0%} of them down.{spared}",
        shift, advice="Add a likelihood term on the chosen completions (`engines.trl.Anchor`).", unit="nats",
    )  # fmt: skip


def prompt_offset(run: Run) -> Finding | Outcome:
    """Ask how much of the labels' variance is a level of the prompt, which preferences do not fix."""
    scores = list(zip_longest(*run.labels("scores")))  # None beyond a prompt's last
    found = prompt_offset_sensitivity(np.array(scores, dtype=np.float64).reshape(len(scores), -1).T)
    if math.isnan(found.value):
        return Outcome(not_run="scores of labels do not vary, or there is one prompt", applies=False)
    return finding_of(
        "prompt_offset", "info",
        f"Of the variance of the last round's label scores {found.value:.0%} lies between prompts.",
        found, advice="Pairs of one prompt are free of it. Compare no scores of different prompts, as a threshold or a "
        "baseline of the batch does; subtract the group's mean.", unit="share of variance",
    )  # fmt: skip


def cycles(run: Run) -> Finding | Outcome:
    """Ask how much of the labels' preferences no score of single completions explains."""
    table = run.preferences()
    if table is None or not len(table) or table.shape[1] < 3:
        return Outcome(not_run="three or more completions were not all compared", applies=False)
    odds = np.clip(table, 1e-3, 1 - 1e-3)
    found = mean_estimate(intransitivity(np.log(odds / (1 - odds))))
    beaten = exploitability(table, np.full(table.shape[:2], 1 / table.shape[1])).mean()
    return finding_of(
        "intransitivity", severity_above(found.low, CYCLIC_LADDER),
        f"Of the last round's preferences {found.value:.0%} is cyclic. A prompt's best completion wins "
        f"{0.5 + beaten:.0%} against the policy's others.",
        found, advice="Train on win rates (`engines.annotators.by_win_rate`), and average the rounds' policies.",
        unit="share of the energy of log-odds",
    )  # fmt: skip


QUESTIONS = (
    Question("canary", "Is gold on the canary as high as at its best?", canary),
    Question("monotonicity", "Does gold follow the scores of the labels?", monotonicity),
    Question("overoptimization", "Is the policy within the reach of its labels?", overoptimization),
    Question("label_accuracy", "Do the labels rank as gold does?", label_accuracy),
    Question("agreement", "Do opinions agree as much as at the start?", agreement),
    Question("label_length", "Are labels independent of length?", label_length),
    Question("answer_entropy", "Do different questions get different answers?", answers),
    Question("displacement", "Do chosen completions become more likely?", displacement),
    Question("prompt_offset", "Do prompts have a level of their own in the labels?", prompt_offset),
    Question("intransitivity", "Can single scores explain the preferences?", cycles),
)


def _table(run: Run, name: str) -> np.ndarray[Any, Any]:
    """Return (C, P) figures of C policies on the canary, NaN where unknown."""
    return np.array([log[name] for log in run.logs], dtype=np.float64)


def _mean(values: Iterable[float | None]) -> float:
    return mean_or_nan([value for value in values if value is not None and not math.isnan(value)])
