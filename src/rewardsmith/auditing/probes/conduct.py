"""Probe how a reward behaves when called: noise, batch dependence, failures, mutation, latency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import quantiles

from rewardsmith.auditing.asking import Answer, Ask, Asking, Building, Outcome, Probe
from rewardsmith.auditing.baseline import Baseline, Conduct
from rewardsmith.auditing.finding import NOTHING_TO_DO, Finding, Ladder, counted, finding_of, shown
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.data import Row
from rewardsmith.measures import wilson_interval
from rewardsmith.scoring.work import Scored

NONE_YET = "Fix the reward, as no component repairs this."
ODD = 2  # rows on which each odd completion is tried
ODD_COMPLETIONS: tuple[str, ...] = (
    "",
    " \t\n ",
    "\x00\x01\x1b[31m42",
    "\ud800 42",
    "4️⃣2️⃣ é̂ 👩‍👩‍👧",
    "9" * 400,
    "NaN",
    "inf",
    "1e999",
    "1/0",
    "10**10**10",
    "\\boxed{\\frac{1}{0}}",
    "\\boxed{",
    "<answer>",
    "The answer is unknown.",
    "(" * 300,
    "[" * 300 + "]" * 300,
    '{"answer": ',
    "[1, null, true]",
    "word " * 4000,
    "a" * 20_000 + "!",
    "\u202e24\u202c",
    "%s {0} {{}} %n",
)
NOT_ANSWERED = frozenset({"unasked", "endpoint"})
"""Reasons that are no evidence against the reward: the row was not sent, or its server did not answer."""
BREAKS_TRAINING = frozenset({"exception", "timeout", "crash", "length", "type"})
CHANGES: Ladder = ((0.5, "high"), (0.02, "medium"), (0.0, "low"))  # of the unit of scores
_SURROGATE = re.compile("[\ud800-\udfff]")
MUCH_FAILS = 0.2  # share of completions


def odd_completions(baseline: Baseline) -> Asking:
    """Send odd completions; `failures` reports those that break the reward."""
    yield [Ask([item.row.with_completion(text) for text in ODD_COMPLETIONS for item in baseline.items[:ODD]])]
    return Outcome()


def failures(broken: Sequence[tuple[Row, Scored]], n: int, *, alpha: float, honest: Sequence[Row]) -> list[Finding]:
    """Report all rows of the audit that got no finite number.

    Args:
        broken: the rows with their failures, each once.
        n: how many different rows were sent.
        alpha: the error level.
        honest: ordinary answers; failing on one of them is worse than failing on odd input.
    """
    texts = {row.text for row in honest}
    found = []
    for probe, what, reasons in (
        ("failures", "no reward at all", BREAKS_TRAINING),
        ("non_finite", "no finite number", {"nan", "inf"}),
    ):
        entries = [(row, score) for row, score in broken if score.reason in reasons]
        # No tokenizer decodes to a lone surrogate.
        written = [entry for entry in entries if not _SURROGATE.search(entry[0].text)]
        entries, possible = written or entries, bool(written)
        if not entries:
            continue
        kinds = Counter(score.reason or "" for _, score in entries)
        listed = ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())
        ordinary = any(row.text in texts for row, _ in entries)
        grave = ordinary or len(entries) > MUCH_FAILS * n or kinds.keys() & {"timeout", "crash", "inf"}
        whose = "including ordinary answers"
        whose = whose if ordinary else "none of them an ordinary answer"
        shortest: dict[str, tuple[Row, Scored]] = {}  # for each distinct failure
        for row, score in sorted(entries, key=lambda entry: len(entry[0].text)):
            shortest.setdefault(score.detail[:40], (row, score))
        found.append(
            finding_of(
                probe,
                "info" if not possible else "high" if grave else "medium",
                f"{len(entries)} of {n} different completions get {what} ({listed}), {whose}."
                + ("" if possible else " Each holds half a character, which no tokenizer writes."),
                counted(len(entries), n, alpha=alpha),
                advice="Score a completion that cannot be read like a wrong answer, so that nothing is gained by it. "
                "Return None only for a row whose key cannot be read. Until then `rewardsmith.scoring.score` and "
                "`rewardsmith.engines.trl` turn failures and non-finite values into unscored rows.",
                unit="share of different completions sent",
                examples=[shown(row, note=f"{score.reason}: {score.detail}") for row, score in shortest.values()],
            )
        )
    return found


def determinism(baseline: Baseline | PairBaseline) -> Building[Answer]:
    """Send the same call twice; a difference is noise, or state kept between calls."""
    conduct = baseline.conduct
    (late,) = yield [Ask(conduct.rows, nonce="conduct 5", whole=True)]
    changed, drifted = _changed(conduct, conduct.again), _changed(conduct, late)
    if not (changed or _changed(conduct, conduct.reverse) or _changed(conduct, conduct.single)):
        # else the batch or noise explains a difference from the earliest scores
        drifted += _changed(conduct._replace(first=conduct.earliest), conduct.first)
    moved = list({id(entry[0]): entry for entry in changed + drifted}.values())
    what = "The same rows scored again" if changed else "The same rows scored again after many others (state)"
    advice = (
        "Average several calls, or correct measured error rates with `rewardsmith.transforms.backward_correction`. "
        "Rewrite a reward that keeps state."
    )
    return _inconstant("determinism", moved, baseline, what, advice)


def batch_dependence(baseline: Baseline | PairBaseline) -> Answer:
    """Compare the same rows in reverse order and one by one; a reward should depend only on its row."""
    conduct = baseline.conduct
    if _changed(conduct, conduct.again):
        return Outcome(not_run="the same call gives other scores, so noise hides any effect of order", applies=False)
    changed = _changed(conduct, conduct.reverse)
    what = "The same rows in another order" if changed else "The same rows one by one"
    advice = (
        "Score row by row. Compare rows after the gather, with the group- and batch-level transforms of "
        "`rewardsmith.engines.trl`."
    )
    return _inconstant("batch_dependence", changed or _changed(conduct, conduct.single), baseline, what, advice)


Changed = list[tuple[Row, float | None, float | None]]


def _changed(conduct: Conduct, second: Sequence[Scored]) -> Changed:
    asked = [
        (row, a.reward, b.reward)
        for row, a, b in zip(conduct.rows, conduct.first, second, strict=True)
        if not {a.reason, b.reason} & NOT_ANSWERED
    ]
    return [
        (row, a, b)
        for row, a, b in asked
        if (a is not b if a is None or b is None else abs(a - b) > 1e-4 * max(1.0, abs(a), abs(b)))
    ]


def _inconstant(probe: str, changed: Changed, baseline: Baseline | PairBaseline, what: str, advice: str) -> Answer:
    if not changed:
        return Outcome()
    n = len(baseline.conduct.rows)
    largest = max((abs(a - b) for _, a, b in changed if a is not None and b is not None), default=0.0)
    return finding_of(
        probe,
        next(how for bound, how in CHANGES if largest >= bound * baseline.unit) if largest else "medium",
        f"{what} get other rewards in {len(changed)} of {n} cases. The largest difference is {largest:.3g}.",
        counted(len(changed), n, alpha=baseline.alpha),
        advice=advice,
        unit="share of rows that changed",
        examples=[shown(row, a, b, "the same row, scored twice") for row, a, b in changed],
    )


def mutation(baseline: Baseline) -> Building[Answer]:
    """Compare inputs before and after the call; a change corrupts what the trainer sees next."""
    texts = ("  The Answer IS:\n\n<answer> \\boxed{{{key}}}. </answer>  \n", "\t{key},000.50 %  ", "**{key}**\r\n\r\n")
    tidy = [item.row.with_completion(text.format(key=item.key)) for item in baseline.items[:2] for text in texts]
    rows = [*baseline.conduct.rows[:4], *tidy]
    (scores,) = yield [Ask(rows, nonce="mutation", whole=True, check_mutation=True)]
    mutated = [row for row, score in zip(rows, scores, strict=True) if score.mutated]
    if not mutated:
        return Outcome()
    return finding_of(
        "mutation",
        "medium",
        "The reward changes its input prompts, completions or columns.",
        (1.0, *wilson_interval(len(mutated), len(rows), alpha=baseline.alpha), len(rows)),
        advice="Copy before editing. " + NONE_YET,
        unit="share of calls",
        examples=(shown(mutated[0]),),
    )


def saturation(baseline: Baseline) -> Answer:
    """Report the range of honest answers' scores, and the share at its ends."""
    scores = [s for item in baseline.items for s in (item.right, *item.wrong_scores) if s is not None]
    if not scores:
        return Outcome(not_run="no honest answer could be scored")
    low, high = min(scores), max(scores)
    at_ends = sum(score in (low, high) for score in scores) / len(scores)
    flat = high - low <= baseline.noise
    span = f"all score {low:.4g}" if flat else f"they span [{low:.4g}, {high:.4g}], {at_ends:.0%} of them at the ends"
    message = f"Of {len(scores)} honest answers, right and wrong, {span}."
    return Finding("saturation", "info", message, at_ends, None, len(scores), NOTHING_TO_DO)


def latency(baseline: Baseline | PairBaseline) -> Answer:
    """Report the median and the 95th percentile of seconds per row."""
    seconds = [score.seconds for score in (*baseline.conduct.first, *baseline.conduct.single)]
    if len(seconds) < 2:
        return Outcome(not_run="too few rows")
    median, slow = quantiles(seconds, n=20)[9], quantiles(seconds, n=20)[18]
    message = f"A row takes {1e3 * median:.3g} ms (median), {1e3 * slow:.3g} ms at the 95th percentile."
    return Finding("latency", "info", message, median, None, len(seconds), NOTHING_TO_DO, "seconds per row")


DETERMINISM = Probe("determinism", "Does the same row get the same reward again?", determinism)
BATCH_DEPENDENCE = Probe("batch_dependence", "Does a row's reward depend only on that row?", batch_dependence)
LATENCY = Probe("latency", "How long does a row take?", latency, essential=False)
