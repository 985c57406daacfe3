"""Probe how a reward behaves when called: noise, batch dependence, failures, mutation, latency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import quantiles
from time import sleep, time

from rewardsmith.auditing.asking import Answer, Ask, Asking, Building, Outcome, Probe
from rewardsmith.auditing.baseline import Baseline
from rewardsmith.auditing.finding import NOTHING_TO_DO, Finding, Ladder, counted, finding_of, shown
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.repeats import Conduct, mix
from rewardsmith.auditing.texts import ANSWER_FORMATS
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
_LIKE_A_WRONG_ANSWER = (
    "Score a completion that cannot be read like a wrong answer, so that nothing is gained by it. Return None only for "
    "a row whose key cannot be read."
)
_ONE_EACH = (
    "Return a list with one number per row, or from a reward of one row a number, or a dict that holds it as `score`, "
    "`reward`, `overall` or `value`."
)
MENDS = {
    "timeout": "Limit the time of each step of the reward, such as a pattern or `sympify`, or raise `--timeout`.",
    "crash": "Find what ends the process: `os._exit`, too deep a recursion, too little memory, or an error in C code.",
    "type": _ONE_EACH,
    "length": _ONE_EACH,
}
"""What to do about the most common reason for no reward, where reading the completion is not the problem."""
CHANGES: Ladder = ((0.5, "high"), (0.02, "medium"), (0.0, "low"))  # of the unit of scores
_SURROGATE = re.compile("[\ud800-\udfff]")
MUCH_FAILS = 0.2  # share of completions


ROUNDS = 3  # later rounds in which rows are scored again
Changed = list[tuple[Row, float | None, float | None]]
"""Rows with two different scores."""


def odd_completions(baseline: Baseline) -> Asking:
    """Send odd completions; `failures` reports those that break the reward."""
    items = baseline.items[: min(ODD, baseline.sizes.probed)]
    texts = ODD_COMPLETIONS if baseline.sizes.probed > 1 else ODD_COMPLETIONS[::2]
    yield [Ask([item.row.with_completion(text) for text in texts for item in items])]
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
                advice=f"{MENDS.get(kinds.most_common(1)[0][0], _LIKE_A_WRONG_ANSWER)} Until then "
                "`rewardsmith.scoring.score` and `rewardsmith.engines.trl` turn failures and non-finite values into "
                "unscored rows.",
                unit="share of different completions sent",
                examples=[shown(row, note=f"{score.reason}: {score.detail}") for row, score in shortest.values()],
            )
        )
    return found


def determinism(baseline: Baseline | PairBaseline) -> Building[Answer]:
    """Score rows again, in the same call and in each round of the audit; a difference is noise, or state.

    The last round of an audit on prompts waits, a second at most, so that its clock second is odd if that of the first
    is even, and the reverse. A reward that reads the clock may score all rows of a shorter audit in the same way.
    """
    conduct, begun = baseline.conduct, int(time())
    first = _changed(conduct, conduct.again)
    changed = first + (yield from _noise(conduct))
    # Else the batch or noise explains a difference from the earliest scores.
    steady = not (changed or any(_changed(conduct, scores) for _, scores in _other_calls(conduct)))
    drifted = _changed(conduct._replace(first=conduct.earliest), conduct.first) if steady else []
    repeats = _honest(baseline) if isinstance(baseline, Baseline) else []
    measured = baseline.measured if isinstance(baseline, Baseline) and steady else ()
    n = len(conduct.rows) + len(repeats) + len(measured)
    if measured:  # the first calls of all, whose scores are known
        alone = [Ask([row], nonce="alone", whole=True) for row in measured]
        known, *now = yield [Ask(measured, nonce="speed"), *alone]
        drifted += _changed(conduct._replace(rows=measured, first=known), [score for (score,) in now])
    for late in range(ROUNDS if repeats else 1):
        part, clock = repeats[late::ROUNDS], time()
        if late == ROUNDS - 1 and steady and not drifted and int(clock) % 2 == begun % 2:
            sleep(1.01 - clock % 1)
        again, others = yield [
            Ask(conduct.rows, nonce=f"conduct {5 + late}", whole=True),
            Ask([row for row, _ in part], nonce=f"spread {late}"),
        ]
        drifted += _changed(conduct, again)
        if steady:
            pairs = zip(part, others, strict=True)
            asked = [(row, a, b.reward) for (row, a), b in pairs if b.reason not in NOT_ANSWERED]
            drifted += [entry for entry in asked if _differ(*entry[1:])]
    moved = list({id(entry[0]): entry for entry in changed + drifted}.values())
    what = "The same rows scored again" if changed else "The same rows scored again after many others (state)"
    advice = (
        "Remove what is random, timed or kept between calls. Averaging several calls makes noise smaller, and "
        "`rewardsmith.transforms.backward_correction` corrects measured error rates."
    )
    return _inconstant("determinism", moved, baseline, what, advice, n)


def _honest(baseline: Baseline) -> list[tuple[Row, float | None]]:
    """Return a right and a wrong answer to every prompt, with their scores in the baseline."""
    wrap = baseline.answer_format.wrap
    return [
        (item.row.with_completion(wrap(text)), score)
        for item in baseline.items[: None if baseline.sizes.others is None else baseline.sizes.others // 8 or 1]
        for text, score in ((item.key, item.right), *zip(item.wrongs[:1], item.wrong_scores[:1], strict=False))
    ]


def _noise(conduct: Conduct) -> Building[Changed]:
    """Where order or size of a call seems to matter, make these calls again and return the rows that differ."""
    singly, among = _changed(conduct, conduct.single), _changed(conduct, conduct.mixed)
    if not singly and not among and not _changed(conduct, conduct.reverse):
        return []
    places = [k for k, row in enumerate(conduct.rows) if any(row is entry[0] for entry in singly)]
    forward, reverse, mixed, *single = yield [
        Ask(conduct.rows, nonce="order 1", whole=True),
        Ask(conduct.rows[::-1], nonce="order 2", whole=True),
        Ask(mix(conduct.rows) if among else [], nonce="order 4", whole=True),
        *(Ask([conduct.rows[k]], nonce="order 3", whole=True) for k in places),
    ]
    again = [score for scores in single for score in scores]
    alone = conduct._replace(rows=tuple(conduct.rows[k] for k in places), first=[conduct.single[k] for k in places])
    backward, beside = conduct._replace(first=conduct.reverse), conduct._replace(first=conduct.mixed)
    moved = [*_changed(conduct, forward), *_changed(backward, reverse[::-1]), *_changed(alone, again)]
    return [*moved, *(_changed(beside, mixed[: len(conduct.rows)]) if among else ())]


def _other_calls(conduct: Conduct) -> list[tuple[str, list[Scored]]]:
    """Return the calls that differ from the first in other things than the rows, in words, with their scores."""
    return [
        ("in another order", conduct.reverse),
        ("one by one", conduct.single),
        ("beside a longer and a shorter text", conduct.mixed),
    ]


def batch_dependence(baseline: Baseline | PairBaseline) -> Building[Answer]:
    """Compare the same rows in reverse order, beside others, and one by one; a score should depend only on its row."""
    conduct = baseline.conduct
    if _changed(conduct, conduct.again) or (yield from _noise(conduct)):
        return Outcome(not_run="the same call gives other scores, so noise hides any effect of order", applies=False)
    effects = [(how, changed) for how, scores in _other_calls(conduct) if (changed := _changed(conduct, scores))]
    how, changed = effects[0] if effects else ("", [])
    advice = (
        "Score row by row. Compare rows after the gather, with the group- and batch-level transforms of "
        "`rewardsmith.engines.trl`."
    )
    return _inconstant("batch_dependence", changed, baseline, f"The same rows {how}", advice, len(conduct.rows))


CACHED = 4  # prompts on which each answer format is tried


def prompt_cache(baseline: Baseline) -> Building[Answer]:
    """Send a right and a wrong answer to one new prompt, in both orders; each answer must get its own score.

    A reward that keeps a score per prompt scores all answers of the audit equally. A prompt is new by the white
    space after it, which is as long in both orders.
    """
    if baseline.verifier:
        return Outcome()
    if not baseline.keyed:
        return Outcome(not_run="the rows have no reference answers", applies=bool(baseline.blind))
    pairs, n_items = [], min(CACHED, baseline.sizes.probed, len(baseline.items))
    for number, answer_format in enumerate(ANSWER_FORMATS):
        for item in baseline.items[:n_items]:
            texts = [answer_format.wrap(text) for text in (item.key, item.wrongs[0])]
            for turn, own in enumerate((texts, texts[::-1])):
                space = " " * (number + 1)
                row = _asked_anew(item.row, f"\n{space}" if turn else f"{space}\n")
                pairs.append([row.with_completion(text) for text in own])
    scores = yield [Ask(rows, nonce="cache", whole=True) for rows in pairs]
    per_format = 2 * n_items
    for start in range(0, len(scores), per_format):
        calls = [[score.reward for score in call] for call in scores[start : start + per_format]]
        kept = all(call[0] is not None and call[0] == call[1] for call in calls)
        right_first, wrong_first = (sum(call[0] or 0.0 for call in calls[turn::2]) for turn in (0, 1))
        if kept and all((a[0] or 0.0) > (b[0] or 0.0) for a, b in zip(calls[::2], calls[1::2], strict=True)):
            gain = 2 * (right_first - wrong_first) / per_format
            return finding_of(
                "prompt_cache",
                "critical",
                "A later answer to a prompt gets the score of the first one, right or wrong. "
                f"A right answer sent first earns {gain:.3g} more, and so does the wrong one after it.",
                counted(per_format // 2, per_format // 2, alpha=baseline.alpha),
                advice="Keep scores by prompt and completion, or keep none. " + NONE_YET,
                unit="share of prompts",
                examples=[shown(pairs[start][1], calls[0][1], calls[1][0], "a wrong answer after a right one")],
            )
    return Outcome()


def _asked_anew(row: Row, space: str) -> Row:
    """Return the row with white space after its prompt."""
    if isinstance(row.prompt, str):
        return replace(row, prompt=row.prompt + space)
    *earlier, last = row.prompt
    return replace(row, prompt=[*earlier, {**last, "content": f"{last.get('content') or ''}{space}"}])


def _changed(conduct: Conduct, second: Sequence[Scored]) -> Changed:
    asked = [
        (row, a.reward, b.reward)
        for row, a, b in zip(conduct.rows, conduct.first, second, strict=True)
        if not {a.reason, b.reason} & NOT_ANSWERED
    ]
    return [(row, a, b) for row, a, b in asked if _differ(a, b)]


def _differ(a: float | None, b: float | None) -> bool:
    return a is not b if a is None or b is None else abs(a - b) > 1e-4 * max(1.0, abs(a), abs(b))


def _inconstant(
    probe: str, changed: Changed, baseline: Baseline | PairBaseline, what: str, advice: str, n: int
) -> Answer:
    if not changed:  # a question whose later rounds were not sent counts as asked of rows that were sent twice
        return Outcome(n=sum(score.reason != "unasked" for score in baseline.conduct.again))
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
    items = baseline.items[: min(2, baseline.sizes.probed)]
    tidy = [item.row.with_completion(text.format(key=item.key)) for item in items for text in texts]
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
PROMPT_CACHE = Probe("prompt_cache", "Does every answer to a prompt get its own score?", prompt_cache)
FAILURES = Probe("failures", "Does every completion, even an odd one, get a finite reward or None?", odd_completions)
MUTATION = Probe("mutation", "Does the reward leave its inputs unchanged?", mutation)
SATURATION = Probe("saturation", "What range do honest answers span?", saturation, essential=False)
LATENCY = Probe("latency", "How long does a row take?", latency, essential=False)
