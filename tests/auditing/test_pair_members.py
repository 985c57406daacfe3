"""Copies among an ensemble's members, and hacks they share, planted and absent."""

import numpy as np
import pytest

from rewardsmith.auditing.asking import Rounds
from rewardsmith.auditing.pair_baseline import Form, build_pair_baseline
from rewardsmith.auditing.probes.members import member_twins, members, source_rewards
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.scoring import Scorer

WORDS = 8


class Ensemble:
    """K linear functions of the letters of a text; letters a to h are its features."""

    def __init__(self, weights):
        self.weights = np.asarray(weights, dtype=float)  # (K, 8)
        self.members = list(self.weights)

    def __call__(self, prompts, completions, **columns):
        return [float(np.mean(row)) for row in self.source_rewards(prompts, completions)]

    def source_rewards(self, prompts, completions, **columns):
        counts = np.array([[text.count(letter) for letter in "abcdefgh"] for text in completions], dtype=float)
        return (counts @ self.weights.T + 10 * np.arange(len(self.weights))).tolist()


def drawn(rng, size=6):
    return "".join(rng.choice(list("abcdefgh"), size=size))


def asked(reward, *, n=200, pool=(), gold=(), seed=0):
    rng = np.random.default_rng(seed)
    rows = [PreferenceRow(f"Write {k}.", drawn(rng), drawn(rng)) for k in range(n)]
    with Scorer(reward, workers=0) as scorer:
        rounds = Rounds({"": scorer})
        building = build_pair_baseline(rows, Form(scorer, rows), alpha=5e-4, pool=pool, gold=gold)
        baseline = rounds.run(building)
        return rounds.run(members(baseline, reward))


def own(noise, *, k=3, seed=0):
    """Members that share a taste and have `noise` of their own."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=WORDS) + noise * rng.normal(size=(k, WORDS))


def test_own_share_agrees_with_least_squares():
    margins = np.random.default_rng(0).normal(size=(60, 1)) + 0.5 * np.random.default_rng(1).normal(size=(60, 3))
    for pair in member_twins(margins):
        design = np.column_stack([np.ones(60), margins[:, pair.first]])
        left = np.linalg.lstsq(design, margins[:, pair.second], rcond=None)[1][0]
        assert pair.own == pytest.approx(left / (60 * margins[:, pair.second].var()))
        assert pair.interval[0] < pair.own < pair.interval[1]
    assert [pair.own for pair in member_twins(margins)] == sorted(pair.own for pair in member_twins(margins))


def test_the_interval_covers_the_true_share():
    rng = np.random.default_rng(2)
    true = 1 - 0.9**2
    held = 0
    for _ in range(400):
        x, y = rng.normal(size=(2, 80))
        [pair] = member_twins(np.column_stack([x, 0.9 * x + np.sqrt(true) * y]), alpha=0.1)
        held += pair.interval[0] <= true <= pair.interval[1]
    assert 0.85 < held / 400 < 0.95


def test_what_a_member_did_not_score_does_not_count_and_a_constant_one_is_unknown():
    margins = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [-1.0, -2.0, 0.0], [0.5, 1.0, 0.0], [np.nan, 9.0, 0.0]])
    twins = member_twins(margins)
    assert (twins[0].first, twins[0].second, twins[0].own) == (0, 1, pytest.approx(0.0, abs=1e-12))
    assert [pair.interval for pair in twins[1:]] == [(0.0, 1.0)] * 2


@pytest.mark.parametrize(
    ("weights", "severity"),
    [
        (lambda taste: [taste[0], 3 * taste[0], taste[1]], "high"),  # a copy up to scale, and a level of its own
        (lambda taste: [taste[0], taste[0] + 0.03 * taste[1], taste[2]], "medium"),
    ],
)
def test_copies_are_named(weights, severity):
    found = asked(Ensemble(weights(own(1.0)))).findings[0]
    assert (found.probe, found.severity) == ("members", severity)
    assert "1 is a copy of 0" in found.message


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_members_with_something_of_their_own_are_no_copies(noise):
    [finding] = asked(Ensemble(own(noise))).findings
    assert (finding.severity, "differ" in finding.message) == ("info", True)


def pool_of(seed=0, prompts=30, size=16):
    rng = np.random.default_rng(seed)
    return [Row(f"Tell {k}.", " ".join(drawn(rng, 3) for _ in range(rng.integers(1, 9)))) for k in range(prompts)
            for _ in range(size)]  # fmt: skip


def liking_length(completions):
    return 0.7 * np.array([len(text.split()) for text in completions], dtype=float)


class Lengthy(Ensemble):
    def source_rewards(self, prompts, completions, **columns):
        base = np.array(super().source_rewards(prompts, completions))
        return (base + liking_length(completions)[:, None]).tolist()


def test_a_hack_that_all_members_share_is_a_finding_where_gold_does_not_move_with_it():
    pool = pool_of()
    weights = own(0.3) - own(0.3).mean(axis=1, keepdims=True)  # letters cancel, so that length alone remains
    quality = np.random.default_rng(5).normal(size=len(pool))
    found = asked(Lengthy(weights), pool=pool, gold=quality).findings
    assert [f.severity for f in found if f.probe == "shared_hack" and "length" in f.message] == ["medium"]
    assert [f.probe for f in found if f.probe == "underspecification"] == ["underspecification"]


def test_length_that_gold_likes_as_much_is_no_hack():
    pool = pool_of()
    weights = own(0.3) - own(0.3).mean(axis=1, keepdims=True)
    gold = liking_length([row.text for row in pool])
    found = asked(Lengthy(weights), pool=pool, gold=gold).findings
    assert {f.severity for f in found} == {"info"}


def test_members_are_scored_in_batches_with_their_columns():
    class Counting(Ensemble):
        sizes: list = []  # noqa: RUF012

        def source_rewards(self, prompts, completions, scale=None, **columns):
            self.sizes.append(len(prompts))
            return [[s * len(text), 1.0] for s, text in zip(scale, completions, strict=True)]

    reward = Counting(own(0.1))
    rows = [Row("Say.", "ab" * (k % 3), {"scale": k}) for k in range(1200)]
    table = source_rewards(reward, rows)
    assert table[:, 0].tolist() == [k * 2 * (k % 3) for k in range(1200)]
    assert reward.sizes == [512, 512, 176]


def test_one_member_is_not_asked_and_one_column_is_refused():
    assert "1 members and" in asked(Ensemble(own(0.1, k=1))).not_run
    with pytest.raises(ValueError, match="two members or more"):
        member_twins([[1.0], [2.0]])
