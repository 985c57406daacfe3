"""Preference pairs whose annotator is known, and rewards that read them: what tests of the audit on pairs share."""

from __future__ import annotations

import math
import random
import re
from contextlib import contextmanager

from rewardsmith.auditing.asking import Rounds
from rewardsmith.auditing.pair_baseline import Form, build_pair_baseline
from rewardsmith.data import PreferenceRow
from rewardsmith.scoring import Scorer

SLOPE = 1.0
TOPICS = ("rivers", "metals", "birds", "stars", "novels", "cheeses", "bridges", "painters")
CONTEXTS = ("Long ones are better.", "Short ones are better.")
FILLER = "There is a lot that one could say about it. "


def pairs(n=400, *, seed=0, flipped=0.0, spread=3.0, sources=("a", "b")):
    """Answers hold their quality in writing; an annotator prefers by Bradley-Terry and turns some labels at random."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        topic = rng.choice(TOPICS)
        qualities = [rng.gauss(0, spread), rng.gauss(0, spread)]
        texts = [f"{FILLER * rng.randint(0, 2)}Of {topic} I say {quality:.6f}." for quality in qualities]
        first = rng.random() < 1 / (1 + math.exp(-SLOPE * (qualities[0] - qualities[1])))
        chosen, rejected = texts if first != (rng.random() < flipped) else texts[::-1]
        rows.append(PreferenceRow(f"{number}: speak of {topic}.", chosen, rejected, source=rng.choice(sources)))
    return rows


def contextual_pairs(n=400, *, seed=0, reversals=False):
    """Pairs whose label is decided by the context; with `reversals`, each stands there under both contexts."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        texts = sorted((f"Well{', well' * words}. ({number})" for words in rng.sample(range(9), 2)), key=len)
        for context in CONTEXTS if reversals else [rng.choice(CONTEXTS)]:
            short, long = texts
            chosen, rejected = (long, short) if context == CONTEXTS[0] else (short, long)
            rows.append(PreferenceRow(f"Say well, {number}.", chosen, rejected, context=context))
    return rows


def quality(completion):
    """What an answer says of itself."""
    said = re.search(r"I say (-?\d+\.\d+)", completion)
    return float(said[1]) if said else -9.0


def sound(prompt, completion):
    """The annotator's own log-odds, less what an answer to another question costs."""
    topic = prompt.rstrip(".").split()[-1]
    return SLOPE * quality(completion) - 20.0 * (topic not in completion)


def blind(prompt, completion):
    """Right on the pairs, whatever was asked."""
    return SLOPE * quality(completion)


def noise(prompt, completion):
    """What an untrained head gives: a number that depends on the text and on nothing in it."""
    return random.Random(f"{prompt}{completion}").gauss(0, 1)


def in_its_context(prompt, completion):
    """Reads the context where it is written into the prompt."""
    words = len(completion.split())
    return float(words if "Long" in prompt else -words if "Short" in prompt else 0.0)


@contextmanager
def baseline_and_rounds(reward, rows, *, alpha=0.0005, seed=0):
    with Scorer(reward, workers=0, timeout=None) as scorer:
        rounds = Rounds({"": scorer})
        building = build_pair_baseline(rows, Form(scorer, rows), alpha=alpha, seed=seed)
        yield rounds.run(building), rounds


def outcome_of(probe, reward, rows):
    """What one probe says of one reward."""
    with baseline_and_rounds(reward, rows) as (baseline, rounds):
        return rounds.run(probe(baseline))


def worst_of(outcome):
    """The worst finding of an outcome, or None."""
    order = ("info", "low", "medium", "high", "critical")
    return max(outcome.findings, key=lambda finding: order.index(finding.severity), default=None)
