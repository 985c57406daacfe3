"""Does the reward depend on its batch, its history or luck; does it fail, change its inputs or stall?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import quantiles

from rewardsmith.auditing.asking import Answer, Ask, Asking, Building, Outcome, Probe
from rewardsmith.auditing.baseline import Conduct, Panel
from rewardsmith.auditing.finding import NOTHING_TO_DO, Finding, Ladder, counted, finding_of, shown
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.data import Row
from rewardsmith.measures import wilson_interval
from rewardsmith.scoring.work import Scored

NONE_YET = "We ship no repair for this yet: fix the reward."
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
"""Reasons that say nothing of the reward: it was not asked, or the server behind it did not answer."""
BREAKS_TRAINING = frozenset({"exception", "timeout", "crash", "length", "type"})
CHANGES: Ladder = ((0.5, "high"), (0.02, "medium"), (0.0, "low"))  # of the unit of scores
MUCH_FAILS = 0.2  # share of completions


def odd_completions(panel: Panel) -> Asking:
    """Send what no honest policy writes; what breaks is reported by `failures`, with all else that broke."""
    yield [Ask([item.row.with_completion(text) for text in ODD_COMPLETIONS for item in panel.items[:ODD]])]
    return Outcome()


def failures(broken: Sequence[tuple[Row, Scored]], n: int, *, alpha: float, honest: Sequence[Row]) -> list[Finding]:
    """Report what came back without a finite number, over everything the audit sent.

    Args:
        broken: the rows and how they failed, each once.
        n: how many different rows were sent.
        alpha: the error level.
        honest: ordinary answers; a reward that fails on one of them is worse than one that fails on odd input.
    """
    texts = {row.text for row in honest}
    found = []
    for probe, what, reasons in (
        ("failures", "no reward at all", BREAKS_TRAINING),
        ("non_finite", "no finite number", {"nan", "inf"}),
    ):
        entries = [(row, score) for row, score in broken if score.reason in reasons]
        if not entries:
            continue
        kinds = Counter(score.reason or "" for _, score in entries)
        listed = ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())
        ordinary = any(row.text in texts for row, _ in entries)
        grave = ordinary or len(entries) > MUCH_FAILS * n or kinds.keys() & {"timeout", "crash", "inf"}
        whose = "answers in the reward's own format among them"
        whose = whose if ordinary else "none of them an answer in the reward's own format"
        shortest: dict[str, tuple[Row, Scored]] = {}  # for each distinct failure
        for row, score in sorted(entries, key=lambda entry: len(entry[0].text)):
            shortest.setdefault(score.detail[:40], (row, score))
        found.append(
            finding_of(
                probe,
                "high" if grave else "medium",
                f"{len(entries)} of {n} different completions get {what} ({listed}), {whose}.",
                counted(len(entries), n, alpha=alpha),
                advice="Return None for what cannot be scored. Until then score through `rewardsmith.scoring.score` or "
                "train with `rewardsmith.engines.trl`: both turn failures and non-finite values into unscored rows.",
                unit="share of different completions sent",
                examples=[shown(row, note=f"{score.reason}: {score.detail}") for row, score in shortest.values()],
            )
        )
    return found


def determinism(panel: Panel | PairPanel) -> Building[Answer]:
    """Send the same call twice: a difference is noise, or state that the reward keeps between calls."""
    conduct = panel.conduct
    (late,) = yield [Ask(conduct.rows, nonce="conduct 5", whole=True)]
    changed, drifted = _changed(conduct, conduct.again), _changed(conduct, late)
    if not (changed or _changed(conduct, conduct.reverse) or _changed(conduct, conduct.single)):
        # otherwise the batch or noise explains a difference from the earliest scores
        drifted += _changed(conduct._replace(first=conduct.earliest), conduct.first)
    moved = list({id(entry[0]): entry for entry in changed + drifted}.values())
    what = "The same rows, scored again," if changed else "The same rows, scored again after many others (state),"
    advice = (
        "Average several calls, or correct measured error rates with `rewardsmith.transforms.backward_correction`; a "
        "reward that keeps state must be rewritten: we ship no repair for that."
    )
    return _inconstant("determinism", moved, panel, what, advice)


def batch_dependence(panel: Panel | PairPanel) -> Answer:
    """Compare the same rows in reverse order, and one by one: a row's reward may depend on that row alone."""
    conduct = panel.conduct
    if _changed(conduct, conduct.again):
        return Outcome(not_run="the same call gives other scores, so order cannot be told from noise")
    changed = _changed(conduct, conduct.reverse)
    what = "The same rows in another order" if changed else "The same rows one by one"
    advice = (
        "Score row by row, and move what compares rows after the gather: `rewardsmith.engines.trl` takes "
        "group- and batch-level transforms."
    )
    return _inconstant("batch_dependence", changed or _changed(conduct, conduct.single), panel, what, advice)


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


def _inconstant(probe: str, changed: Changed, panel: Panel | PairPanel, what: str, advice: str) -> Answer:
    if not changed:
        return Outcome()
    n = len(panel.conduct.rows)
    largest = max((abs(a - b) for _, a, b in changed if a is not None and b is not None), default=0.0)
    return finding_of(
        probe,
        next(how for bound, how in CHANGES if largest >= bound * panel.unit) if largest else "medium",
        f"{what} get other rewards in {len(changed)} of {n} cases; the largest difference is {largest:.3g}.",
        counted(len(changed), n, alpha=panel.alpha),
        advice=advice,
        unit="share of rows that changed",
        examples=[shown(row, a, b, "the same row, scored twice") for row, a, b in changed],
    )


def mutation(panel: Panel) -> Building[Answer]:
    """Compare inputs before and after the call: a reward that edits them corrupts what the trainer sees next."""
    texts = ("  The Answer IS:\n\n<answer> \\boxed{{{key}}}. </answer>  \n", "\t{key},000.50 %  ", "**{key}**\r\n\r\n")
    tidy = [item.row.with_completion(text.format(key=item.key)) for item in panel.items[:2] for text in texts]
    rows = [*panel.conduct.rows[:4], *tidy]
    (scores,) = yield [Ask(rows, nonce="mutation", whole=True, check_mutation=True)]
    mutated = [row for row, score in zip(rows, scores, strict=True) if score.mutated]
    if not mutated:
        return Outcome()
    return finding_of(
        "mutation",
        "medium",
        "The reward changes the prompts, completions or columns that it is given.",
        (1.0, *wilson_interval(len(mutated), len(rows), alpha=panel.alpha), len(rows)),
        advice="Copy before editing. " + NONE_YET,
        unit="share of calls",
        examples=(shown(mutated[0]),),
    )


def saturation(panel: Panel) -> Answer:
    """State the range that honest answers span, and how much of it sits at the ends."""
    scores = [s for item in panel.items for s in (item.right, *item.wrong_scores) if s is not None]
    if not scores:
        return Outcome(not_run="no honest answer could be scored")
    low, high = min(scores), max(scores)
    at_ends = sum(score in (low, high) for score in scores) / len(scores)
    flat = high - low <= panel.noise
    span = (
        f"all are paid {low:.4g}" if flat else f"they span [{low:.4g}, {high:.4g}], {at_ends:.0%} of them at the ends"
    )
    message = f"Of {len(scores)} honest answers, right and wrong, {span}."
    return Finding("saturation", "info", message, at_ends, None, len(scores), NOTHING_TO_DO)


def latency(panel: Panel | PairPanel) -> Answer:
    """State how long a row takes, and how long the slowest."""
    seconds = [score.seconds for score in (*panel.conduct.first, *panel.conduct.single)]
    if len(seconds) < 2:
        return Outcome(not_run="too few rows")
    median, slow = quantiles(seconds, n=20)[9], quantiles(seconds, n=20)[18]
    message = f"A row takes {1e3 * median:.3g} ms (median), {1e3 * slow:.3g} ms at the 95th percentile."
    return Finding("latency", "info", message, median, None, len(seconds), NOTHING_TO_DO, "seconds per row")


DETERMINISM = Probe("determinism", "Does the same row get the same reward again?", determinism)
BATCH_DEPENDENCE = Probe("batch_dependence", "Does a row's reward depend on its row alone?", batch_dependence)
LATENCY = Probe("latency", "How long does a row take?", latency)
