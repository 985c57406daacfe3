"""Self-training in rounds: sample, annotate, pair, train; a killed run continues, and a collapse ends it."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from rewardsmith._check import check_range
from rewardsmith.data import PreferenceRow, Row, text_of
from rewardsmith.errors import RewardsmithError
from rewardsmith.measures import answer_entropy, label_length_correlation
from rewardsmith.scoring.journal import ROUNDS, Journal
from rewardsmith.scoring.keys import keys_of

logger = logging.getLogger(__name__)
CONFIDENT = 1.645
"""Standard errors below zero from which a fall is no accident: 5 %, one-sided."""


class Round(NamedTuple):
    """What every stage of a round is given.

    number: from 0. policy: the folder of the policy at this moment. previous: that of the round before, which in round
    0 is `base`. base: the model before all training, the reference of implicit rewards.
    """

    number: int
    policy: Path
    previous: Path
    base: Path


class Annotation(NamedTuple):
    """The labels of one prompt's completions.

    scores: one per completion, None where unscored; all None leaves the prompt out.
    agreement: how far several opinions agree, in [0, 1]; None with one opinion.
    columns: of the prompt's pair, such as {"target": 0.8}; one that is NaN or infinite leaves the prompt out.
    preferences: K lists of K probabilities that y_i beats y_j, None where not compared; for the audit of the run.
    """

    scores: list[float | None]
    agreement: float | None = None
    columns: Mapping[str, float] = {}
    preferences: list[list[float | None]] | None = None


Sample = Callable[[Round, Sequence[Row], int], Sequence[Sequence[str]]]
"""Draw completions of each row from `round.policy`; the integer seeds every random draw."""
Annotate = Callable[[Round, Sequence[Row], Sequence[Sequence[str]]], Sequence[Annotation]]
Pair = Callable[[list[dict[str, Any]]], list[PreferenceRow]]
Train = Callable[[Round, list[PreferenceRow], Path, int], Mapping[str, Any] | None]
"""Train `round.policy` on pairs, with `round.policy` as reference, and save the next policy to the folder.

It may return figures per pair for the audit: `chosen_change` and `rejected_change`, log π_new(y|x) − log π_old(y|x),
and `rejected_scores`.
"""
Score = Callable[..., Sequence[float | None]]
"""A reward of completions: keyword lists in, one number or None per completion out."""


class RoundLog(NamedTuple):
    """Figures of a policy before it is trained further, from its own samples.

    canary, proxy: per canary prompt, the mean gold and the mean label score of its completions; None where unknown.
    label_accuracy: per canary prompt, the share of its completions' pairs of different gold that scores rank likewise.
    agreement: per prompt.
    label_length_correlation: `value`, `low`, `high` and `n` of `measures.label_length_correlation`, in characters.
    answer_entropy: of the most frequent answers to different questions, in nats.
    log_ratios: per canary prompt and completion, log π(y|x) − log π_first(y|x); none without `log_ratio`.
    """

    round: int
    n_pairs: int
    canary: list[float | None]
    proxy: list[float | None]
    label_accuracy: list[float | None]
    agreement: list[float | None]
    label_length_correlation: Mapping[str, float | None]
    answer_entropy: float | None
    log_ratios: Sequence[Sequence[float | None]] = ()


class RunResult(NamedTuple):
    """The last policy, or after a collapse the best one; a log per policy; why the run ended early, or ""."""

    policy: Path
    logs: list[RoundLog]
    stopped: str


class _Drawn(NamedTuple):
    """Prompts, the completions of each, and their labels."""

    rows: list[Row]
    texts: list[list[str]]
    labels: list[Annotation]


@dataclass(frozen=True)
class IterativePreferenceRun:
    """Rounds of self-training on preferences that the policy itself labels.

    Each round draws completions, annotates them, pairs them and trains. Before the training, and once more after the
    last, the policy's own samples are checked; a collapse ends the run (`collapse`), and the best policy before it is
    returned. The folder's journal holds every result of every stage, by chunks of prompts. After a kill, the same call
    repeats at most one chunk, or the training of one round. The stages must depend on their arguments alone.

    Wang et al. 2024, arXiv:2410.12735; Zhou et al. 2025, arXiv:2502.08922; Rosset et al. 2024, arXiv:2404.03715.
    Rewards refer to `round.base` and training to `round.policy`: mixing them changes the ranking.

    Args:
        sample, annotate, pair, train: the stages; `engines.annotators` has annotators, `data.best_worst_pairs` pairs.
        grade: the gold of canary completions, in the contract of a reward; nothing trains on it.
        log_ratio: maps a round whose `base` is the first policy to log π/π_base of completions, summed over tokens,
            such as `annotators.ImplicitScores`; asked about the canary's, whose mean is the KL, for the audit's law.
        extract: finds the answer in a text, for the entropy of answers.
        labelings: times per round that the samples are annotated and trained on. More than 1 lets the labels follow
            the policy within a round, which was measured to be worse than no filter (a self-fulfilling mask).
        chunk: prompts per call of `sample` and `annotate`.
        most_fall: share of the best canary accuracy that may be lost.
        least_entropy: share of the first answer entropy that must remain.
    """

    sample: Sample
    annotate: Annotate
    pair: Pair
    train: Train
    _: KW_ONLY
    grade: Score | None = None
    log_ratio: Callable[[Round], Score] | None = None
    extract: Callable[[str], str | None] = str.strip
    labelings: int = 1
    chunk: int = 32
    most_fall: float = 0.05
    least_entropy: float = 0.5

    def __post_init__(self) -> None:
        check_range("IterativePreferenceRun", "labelings", self.labelings, 1, math.inf)
        check_range("IterativePreferenceRun", "chunk", self.chunk, 1, math.inf)

    def run(
        self,
        folder: str | Path,
        rows: Sequence[Row] | Callable[[int], Sequence[Row]],
        *,
        policy: str | Path,
        base: str | Path | None = None,
        canary: Sequence[Row] = (),
        rounds: int = 3,
        seed: int = 0,
    ) -> RunResult:
        """Run the rounds in `folder`, or continue them there.

        Args:
            rows: prompts, the same in every round or those of a round by number.
            policy: folder of the first policy. base: of the model before it; `policy` itself if None.
            canary: prompts that `grade` can grade, apart from `rows`; their answers are never trained on.

        Raises:
            RewardsmithError: the folder holds the run of other rows, settings or policies, or a run that is going on.
        """
        if bool(canary) != (self.grade is not None):
            raise ValueError("IterativePreferenceRun: canary and grade need each other. Give both, or neither.")
        check_range("IterativePreferenceRun", "rounds", rounds, 0, math.inf)
        folder, policy = Path(folder), Path(policy)
        base = policy if base is None else Path(base)
        asked = [list(rows(n) if callable(rows) else rows) for n in range(rounds + 1)]
        keys = "".join(key for own in [*asked[:rounds], canary] for key in keys_of(own))
        header = {
            "job": "self-training",
            "rows": hashlib.blake2b(keys.encode(), digest_size=16).hexdigest(),
            "policy": str(policy.resolve()), "base": str(base.resolve()),
            "rounds": rounds, "seed": seed, "chunk": self.chunk, "labelings": self.labelings,
        }  # fmt: skip
        remedy = "Choose another folder for another run."
        steps = _Steps(Journal(folder / ROUNDS, header, remedy=remedy), seed)
        try:
            return self._rounds(steps, folder, asked, list(canary), Round(0, policy, base, base))
        finally:
            steps.journal.close()

    def _rounds(self, steps: _Steps, folder: Path, asked: list[list[Row]], canary: list[Row], at: Round) -> RunResult:
        logs: list[RoundLog] = []
        policies: list[Path] = []
        for number, rows in enumerate(asked):
            at = at._replace(number=number)
            policies.append(at.policy)
            own, held = self._drawn(steps, at, rows, ""), self._drawn(steps, at, canary, "canary-")
            pairs = self._paired(own)
            check = partial(self._checked, at._replace(base=policies[0]), own, held, pairs)
            logs.append(RoundLog(**steps.once(f"{number}/check", check)))
            logger.info("self-training: %s", logs[-1])
            stopped = collapse(logs, most_fall=self.most_fall, least_entropy=self.least_entropy)
            if stopped:  # the best by the canary; without one, the last before
                best = max(range(number), key=lambda k: (_mean(logs[k].canary) or 0.0, k))
                return self._ended(policies[best], logs, stopped)
            if number == len(asked) - 1:
                return self._ended(at.policy, logs, "")
            if not pairs:
                return self._ended(at.policy, logs, "no prompt gave a pair")
            for labeling in range(self.labelings):
                if labeling:
                    pairs = self._paired(self._labeled(steps, at, rows, own.texts, f"labels-{labeling}"))
                if pairs:
                    out = folder / "policies" / f"{number:03d}-{labeling}"
                    steps.once(f"{number}/train-{labeling}", partial(self._trained, steps, at, pairs, out))
                    at = at._replace(policy=out)
            at = at._replace(previous=policies[-1])
        raise AssertionError("the last round returns")

    def _ended(self, policy: Path, logs: list[RoundLog], stopped: str) -> RunResult:
        if stopped:
            logger.warning("IterativePreferenceRun: stopped before round %d: %s.", logs[-1].round, stopped)
        return RunResult(policy, logs, stopped)

    def _drawn(self, steps: _Steps, at: Round, rows: list[Row], whose: str) -> _Drawn:
        texts: list[list[str]] = []
        for start in range(0, len(rows), self.chunk):
            key, part = f"{at.number}/{whose}texts/{start}", rows[start : start + self.chunk]
            texts += steps.once(key, partial(_texts, self.sample, at, part, steps.seed_of(key)))
        return self._labeled(steps, at, rows, texts, f"{whose}labels")

    def _labeled(self, steps: _Steps, at: Round, rows: list[Row], texts: list[list[str]], name: str) -> _Drawn:
        labels: list[Annotation] = []
        for start in range(0, len(rows), self.chunk):
            part, said = rows[start : start + self.chunk], texts[start : start + self.chunk]
            given = steps.once(f"{at.number}/{name}/{start}", partial(_labels, self.annotate, at, part, said))
            labels += [Annotation(**label) for label in given]
        return _Drawn(rows, texts, labels)

    def _paired(self, drawn: _Drawn) -> list[PreferenceRow]:
        return self.pair([
            {**row.columns, **label.columns, "prompt_id": str(place), "prompt": row.prompt, "completion": text,
             "score": score}
            for place, (row, texts, label) in enumerate(zip(*drawn, strict=True))
            for text, score in zip(texts, label.scores, strict=True)
        ])  # fmt: skip

    def _trained(self, steps: _Steps, at: Round, pairs: list[PreferenceRow], out: Path) -> Mapping[str, Any]:
        """Train into a folder that gets its name when it is whole."""
        part = out.with_name(f"{out.name}.part")
        for left in (out, part):  # of a killed process
            shutil.rmtree(left, ignore_errors=True)
        part.mkdir(parents=True)
        figures = self.train(at, pairs, part, steps.seed_of(out.name))
        os.replace(part, out)
        return figures or {}

    def _checked(self, at: Round, own: _Drawn, held: _Drawn, pairs: list[PreferenceRow]) -> RoundLog:
        gold = [] if self.grade is None else scored("grade", self.grade, held.rows, held.texts)
        ratio = None if self.log_ratio is None or at.policy == at.base else self.log_ratio(at)
        lengths = [[len(text_of(text)) for text in (pair.chosen, pair.rejected)] for pair in pairs]
        answers = [Counter(answer for text in texts if (answer := self.extract(text))) for texts in own.texts]
        return RoundLog(
            round=at.number,
            n_pairs=len(pairs),
            canary=[_mean(golds) for golds in gold],
            proxy=[_mean(label.scores) for label in held.labels],
            label_accuracy=[_ranked(label.scores, golds) for label, golds in zip(held.labels, gold, strict=True)],
            agreement=[label.agreement for label in own.labels],
            label_length_correlation=label_length_correlation(
                *(zip(*lengths, strict=True) if pairs else ([], []))
            )._asdict(),
            answer_entropy=answer_entropy([max(found, key=found.__getitem__, default=None) for found in answers]),
            log_ratios=[] if ratio is None else scored("log_ratio", ratio, held.rows, held.texts),
        )


@dataclass(frozen=True)
class _Steps:
    """Results in the journal by name."""

    journal: Journal
    seed: int
    done: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.done.update((record["step"], record["result"]) for record in self.journal.records)

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return the recorded result of a step, or compute and record it."""
        if name not in self.done:
            result = _plain(compute())
            self.journal.append({"step": name, "result": result})
            self.done[name] = result
        return self.done[name]

    def seed_of(self, name: str) -> int:
        """Return a seed of the run and the step, in the 31 bits that every library takes."""
        return int.from_bytes(hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=4).digest()) >> 1


def collapse(logs: Sequence[RoundLog], *, most_fall: float = 0.05, least_entropy: float = 0.5) -> str:
    """Return why the last policy has collapsed, or "".

    The canary's accuracy is more than `most_fall` of the best one below it, by more than chance over the prompts
    (paired, one-sided, 5 %); or the entropy of answers to different questions is below `least_entropy` of the first.
    """
    last = logs[-1]
    known = [(log, mean) for log in logs if (mean := _mean(log.canary)) is not None]
    best, accuracy = max(known, key=lambda pair: pair[1], default=(last, 0.0))
    falls = [a - b for a, b in zip(best.canary, last.canary, strict=True) if a is not None and b is not None]
    if len(falls) > 1 and fmean(falls) > max(most_fall * accuracy, CONFIDENT * stdev(falls) / len(falls) ** 0.5):
        return f"canary accuracy fell from {accuracy:.3f} in round {best.round} by {fmean(falls):.3f}"
    first, now = logs[0].answer_entropy, last.answer_entropy
    if first is not None and now is not None and now < least_entropy * first:
        return f"the entropy of answers to different questions fell from {first:.2f} to {now:.2f} nats"
    return ""


def scored(stage: str, reward: Score, rows: Sequence[Row], texts: Sequence[Sequence[str]]) -> list[list[float | None]]:
    """Return a reward's number per row and completion, None where unscored or not finite; one call for all."""
    flat = [row for row, own in zip(rows, texts, strict=True) for _ in own]
    columns = {name: [row.columns.get(name) for row in flat] for row in rows for name in row.columns}
    completions = [text for own in texts for text in own]
    found = reward(prompts=[row.prompt for row in flat], completions=completions, **columns)
    scores = iter(whole(stage, found, len(flat), "completion"))
    return [[finite(next(scores)) for _ in own] for own in texts]


def finite(value: float | None) -> float | None:
    """Return a number that is finite, else None."""
    return None if value is None or not math.isfinite(value) else float(value)


def _ranked(scores: Sequence[float | None], golds: Sequence[float | None]) -> float | None:
    """Return the share of pairs of different gold that scores rank likewise; equal scores count half."""
    known = [(a, g) for a, g in zip(scores, golds, strict=True) if a is not None and g is not None]
    return _mean([
        0.5 if a == b else float((a > b) == (g > h)) for (a, g), (b, h) in combinations(known, 2) if g != h
    ])  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _texts(sample: Sample, at: Round, rows: Sequence[Row], seed: int) -> Sequence[Sequence[str]]:
    """Return what `sample` draws, checked before the journal keeps it."""
    texts: Sequence[Sequence[str]] = whole("sample", sample(at, rows, seed), len(rows), "prompt")
    for own in texts:
        if isinstance(own, str) or not all(isinstance(text, str) for text in own):
            raise RewardsmithError(
                f"IterativePreferenceRun: sample returned {own!r:.80} for a prompt. Return a list of texts for each."
            )
    return texts


def _labels(annotate: Annotate, at: Round, rows: Sequence[Row], texts: Sequence[Sequence[str]]) -> list[Annotation]:
    """Return the labels of `annotate`, checked before the journal keeps them."""
    labels = []
    for label, own in zip(whole("annotate", annotate(at, rows, texts), len(rows), "prompt"), texts, strict=True):
        if not isinstance(label, Annotation):
            raise RewardsmithError(
                f"IterativePreferenceRun: annotate returned {label!r:.80} for a prompt. Return an Annotation for each."
            )
        whole("annotate", label.scores, len(own), "completion")
        unknown = any(value is not None and _plain(value) is None for value in label.columns.values())
        labels.append(label._replace(scores=[None] * len(own), columns={}) if unknown else label)
    return labels


def whole(stage: str, results: Any, n: int, what: str) -> Any:
    """Return the results of a stage; raise unless there are n."""
    if not hasattr(results, "__len__") or len(results) != n:
        found = f"{len(results)} results" if hasattr(results, "__len__") else repr(results)
        raise RewardsmithError(
            f"IterativePreferenceRun: {stage} returned {found} for {n} {what}s. Return one per {what}, in order."
        )
    return results


def _plain(value: Any) -> Any:
    """Write a result as JSON has it: named tuples as mappings, arrays as lists, numbers that are not finite as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping) or hasattr(value, "_asdict"):
        items = value._asdict() if hasattr(value, "_asdict") else value
        return {str(name): _plain(one) for name, one in items.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
