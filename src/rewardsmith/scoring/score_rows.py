"""score: score rows in memory with one call, as messages or as strings, whichever the reward can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from html import escape
from statistics import fmean
from typing import Any, Literal, NamedTuple

from rewardsmith.data import Row, Rows
from rewardsmith.data.records import ReadOptions
from rewardsmith.data.rows import as_rows, has_text
from rewardsmith.scoring.scorer import Scorer
from rewardsmith.scoring.targets import Target
from rewardsmith.scoring.work import NO_TEXT, Scored

SHOWN_ROWS, SHOWN_CHARACTERS = 20, 200


class Scores(list[Scored]):
    """The result of `score`: a list of one `Scored` per row, which a notebook shows as a table with the rows."""

    def __init__(self, found: Iterable[Scored] = (), rows: Sequence[Row] = ()) -> None:
        super().__init__(found)
        self.rows = rows

    def _repr_html_(self) -> str:
        known = [score.reward for score in self if score.reward is not None]
        reasons = Counter(score.reason for score in self if score.reward is None)
        counts = [f"{len(known):,} of {len(self):,} rows scored", *(f"{n:,} {why}" for why, n in reasons.items())]
        counts += [f"mean {fmean(known):.4g}"] if known else []
        lines = []
        for place, (row, found) in enumerate(zip(self.rows[:SHOWN_ROWS], self, strict=False)):
            reward = "" if found.reward is None else f"{found.reward:.4g}"
            why = f"{found.reason}: {found.detail}" if found.detail else found.reason or ""
            lines.append((str(place), row.prompt_text, row.text, reward, why))
        if len(self.rows) > SHOWN_ROWS:
            lines.append(("…", f"{len(self) - SHOWN_ROWS:,} more rows", "", "", ""))
        cells = ["".join(f'<td style="text-align: left">{_shown(text)}</td>' for text in line) for line in lines]
        body = "".join(f"<tr>{line}</tr>" for line in cells)
        head = "<tr><th></th><th>prompt</th><th>completion</th><th>reward</th><th>why unscored</th></tr>"
        return f"<p>{_shown(', '.join(counts))}</p><table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _shown(text: str) -> str:
    """Cut and escape a text."""
    cut = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    return escape(printable(cut)).replace("\n", "<br>")


def printable(text: str) -> str:
    """Return a text whose characters that do not print are named; line breaks stay."""
    return "".join(c if c.isprintable() or c == "\n" else f"U+{ord(c):04X}" for c in text)


def score(reward: Target | Callable[..., Any], rows: Rows, **options: Any) -> Scores:
    """Score rows with a `Scorer` that has the given options, and close it; options of `read_rows` go to the reader.

    Args:
        rows: `Row`s, or input for `read_rows`: mappings, a `datasets.Dataset`, a file's name. If the reward raises on
            every row, they are passed in the other form, messages for strings or strings for messages.

    >>> def exact(completions, answer):
    ...     return [float(c == a) for c, a in zip(completions, answer)]
    >>> rows = [{"prompt": "2+2?", "completion": text, "answer": "4"} for text in ("4", "5")]
    >>> rewards_of(score(exact, rows, workers=0))
    [1.0, 0.0]
    """
    reading: Any = {name: options.pop(name) for name in ReadOptions.__annotations__ if name in options}
    given = as_rows(rows, **reading)
    with Scorer(reward, **options) as scorer:
        return Scores(in_either_form(scorer, given), given)


def in_either_form(scorer: Scorer, rows: Sequence[Row], keys: Sequence[str] | None = None) -> list[Scored]:
    """Score rows as they are, or in the other form if the reward raises on every row in the first form only."""
    found = scorer.score(rows, keys=keys)
    if {result.reason for result in found if result != NO_TEXT} != {"exception"}:
        return found
    formed = resolve_form(scorer, rows)
    return found if formed.form == "as given" else scorer.score(formed.rows)


def rewards_of(scored: Sequence[Scored]) -> list[float | None]:
    """Return the rewards, None where unscored."""
    return [result.reward for result in scored]


class Formed(NamedTuple):
    """Rows in a form that the reward can read, the name of that form, and the reason for a change."""

    rows: list[Row]
    form: Literal["as given", "conversational", "standard"]
    detail: str


def resolve_form(scorer: Scorer, rows: Sequence[Row]) -> Formed:
    """Return the rows in a form that the reward can read: as given, or the other if every trial call raises.

    Published TRL rewards often index `completion[0]["content"]`, which only conversational rows have. The first four
    rows are tried with their completion or, without one, their answer. Other contracts find theirs by themselves.
    """
    given = list(rows)
    tried = [row for row in given if row.completion is None or has_text(row.completion)][:4]
    problem = _trouble(scorer, tried) if scorer.target.contract == "trl" else ""
    if not problem:
        return Formed(given, "as given", "")
    turned = [_turned(row) for row in given]
    if _trouble(scorer, [_turned(row) for row in tried]):
        return Formed(given, "as given", f"neither form works: {problem}")
    form: Literal["conversational", "standard"] = "conversational" if isinstance(given[0].prompt, str) else "standard"
    return Formed(turned, form, f"the rows' own form fails: {problem}")


def _trouble(scorer: Scorer, rows: Sequence[Row]) -> str:
    tried = [row if row.completion is not None else row.with_completion(row.answer or "") for row in rows]
    results = scorer.score(tried, nonce="form", batch_size=1)
    return results[0].detail if results and all(result.reason == "exception" for result in results) else ""


def _turned(row: Row) -> Row:
    if isinstance(row.prompt, str):
        return row.conversational()
    return replace(row, prompt=row.prompt_text, completion=row.text if has_text(row.completion) else None)
