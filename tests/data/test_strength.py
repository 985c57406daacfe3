"""Votes on labels: who may judge what, and the strengths against loops over a matrix."""

import math

import numpy as np
import pytest
import torch

from rewardsmith.data import cross_fit_masks, preference_strength, strength_of_votes


def shuffler(seed=0):
    return torch.Generator().manual_seed(seed)


def slow(votes):
    """Pair by pair, with numpy's own statistics."""
    scaled = []
    for row in votes:
        given = row[np.isfinite(row)]
        scaled.append(row / (given.std() if len(given) and given.std() > 0 else 1.0))
    columns = [[v for v in column if math.isfinite(v)] for column in np.array(scaled).T]
    return (
        [np.mean(c) if c else math.nan for c in columns],
        [np.std(c, ddof=1) if len(c) > 1 else math.nan for c in columns],
        [np.mean([(v < 0) + 0.5 * (v == 0) for v in c]) if c else math.nan for c in columns],
        [len(c) for c in columns],
    )


def test_strengths_are_the_statistics_of_the_votes_that_were_given():
    votes = np.random.default_rng(0).normal(0.5, 2.0, (6, 12))
    votes[:, 3], votes[1:, 4], votes[2, 5:9], votes[:, 7] = math.nan, math.nan, math.inf, 0.0
    votes[5] = 0.0  # a voter that says nothing has no spread to divide by
    for ours, expected in zip(strength_of_votes(votes), slow(votes), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_a_voter_s_unit_does_not_matter():
    votes = np.random.default_rng(1).normal(size=(4, 9))
    loud = votes * np.array([[1.0], [1e3], [1e-3], [5.0]])
    for ours, theirs in zip(strength_of_votes(loud), strength_of_votes(votes), strict=True):
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_every_pair_is_held_out_once_per_vote(folds):
    masks = cross_fit_masks(20, n_voters=4, folds=folds, generator=shuffler())
    assert masks.shape == (4 * folds, 20)
    assert ((~masks).sum(axis=0) == 4).all()
    for voter in masks.reshape(4, folds, 20):
        assert ((~voter).sum(axis=0) == 1).all()
        assert set((~voter).sum(axis=1)) <= {20 // folds, 20 // folds + 1}
    assert not np.array_equal(masks[:folds], masks[folds : 2 * folds])  # each vote has its own folds


def test_with_one_fold_all_voters_see_all_pairs():
    assert cross_fit_masks(5, n_voters=3, folds=1, generator=shuffler()).tolist() == [[True] * 5] * 3


def test_pairs_of_one_prompt_are_held_out_together():
    groups = ["a", "b", "a", "c", "d", "c", "a"]
    masks = cross_fit_masks(7, n_voters=5, folds=4, generator=shuffler(), groups=groups)
    for seen in masks:
        for group in set(groups):
            assert len({bool(s) for s, g in zip(seen, groups, strict=True) if g == group}) == 1
    assert ((~masks).sum(axis=0) == 5).all()


def test_voters_judge_exactly_what_they_did_not_see_and_get_seeds_of_their_own():
    seen, seeds = [], []

    def fit(train_index, seed):
        seen.append(set(train_index))
        seeds.append(seed)

        def score(index):
            assert not set(index) & seen[seed]
            assert set(index) | seen[seed] == set(range(11))
            return [seed + i for i in index]

        return score

    strength = preference_strength(fit, 11, n_voters=3, folds=2, generator=shuffler(4))
    masks = cross_fit_masks(11, n_voters=3, folds=2, generator=shuffler(4))
    votes = np.where(masks, np.nan, np.arange(6)[:, None] + np.arange(11))
    assert seeds == list(range(6))
    for ours, expected in zip(strength, slow(votes), strict=True):
        np.testing.assert_allclose(ours, expected)


def test_a_memorizing_voter_finds_wrong_labels_only_where_it_is_held_out():
    right = np.random.default_rng(0).random(200) < 0.7

    def fit(train_index, seed):
        known = set(train_index)
        return lambda index: [1.0 if i in known or right[i] else -1.0 for i in index]

    held_out = preference_strength(fit, 200, n_voters=2, folds=4, generator=shuffler())
    in_sample = preference_strength(fit, 200, n_voters=2, folds=1, generator=shuffler())
    assert ((held_out.mean > 0) == right).all()
    assert (in_sample.mean > 0).all()
    assert (in_sample.n_votes == 2).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cross_fit_masks(3, folds=4, generator=shuffler()),
            "cross_fit_masks: folds is 4, but there are 3 groups of pairs. Pass 1 to that many",
        ),
        (
            lambda: cross_fit_masks(3, folds=2, generator=shuffler(), groups=["a"]),
            "cross_fit_masks: 1 groups for 3 pairs. Give one per pair",
        ),
        (
            lambda: cross_fit_masks(3, folds=2, n_voters=0, generator=shuffler()),
            r"cross_fit_masks: n_voters is 0, outside \[1, inf\]",
        ),
        (lambda: strength_of_votes([1.0]), r"strength_of_votes: votes must have shape \(any, any\), got \(1,\)"),
        (
            lambda: preference_strength(lambda i, s: lambda j: [1.0], 6, folds=2, generator=shuffler()),
            r"preference_strength: a voter returned margins of shape \(1,\) for 3 pairs. Return one number per index",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
