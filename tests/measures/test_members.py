"""Do the ensemble audits see planted disagreement and a planted hack, and nothing where there is none?"""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from rewardsmith.measures import shared_hack_drift, underspecification

NAN = math.nan


def world(n_prompts=40, group_size=64, *, own=1.0, seed=0, k=4):
    """(B,) a quality that all members see, and their scores: the quality plus each member's own liking."""
    generator = np.random.default_rng(seed)
    quality = generator.normal(size=n_prompts * group_size)
    return quality, quality[:, None] + own * generator.normal(size=(len(quality), k))


def slow_picks(scores, group_size, n):
    """The first best of every n consecutive rows of a prompt, a remainder left out."""
    picks = []
    for start in range(0, len(scores), group_size):
        for first in range(start, start + group_size - n + 1, n):
            picks.append(max(range(first, first + n), key=lambda row: scores[row]))
    return picks


@pytest.mark.parametrize("n", [1, 3, 16])
def test_gap_and_correlation_agree_with_a_slow_loop(n):
    _, scores = world(n_prompts=5, group_size=16)
    z = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    gaps, correlations = [], []
    for k in range(4):
        picks = slow_picks(z[:, k], 16, n)
        others = [j for j in range(4) if j != k]
        gaps.append(np.mean([z[row, k] - np.mean([z[row, j] for j in others]) for row in picks]))
        correlations += [spearmanr(z[picks, k], z[picks, j]).statistic for j in others]
    (found,) = underspecification(scores, group_size=16, n=[n]).by_n
    assert found.gap == pytest.approx(np.mean(gaps), abs=1e-12)
    assert found.spearman == pytest.approx(np.mean(correlations), abs=1e-12)


def test_the_gap_of_independent_likings_grows_as_theory_says():
    # With z_k = (q + e_k)/√2, picking by z_k raises E[z_j] by half of E[z_k]: the gap is half the mean of a maximum.
    _, scores = world(n_prompts=400)
    one, four = underspecification(scores, group_size=64, n=[1, 4]).by_n
    assert one.gap == pytest.approx(0.0, abs=1e-9)
    assert four.interval[0] < 0.5 * 1.02938 < four.interval[1]  # E[max of 4 normals]
    assert four.spearman < one.spearman == pytest.approx(6 / math.pi * math.asin(0.5 / 2), abs=0.02)


def test_members_that_say_one_thing_on_different_scales_leave_no_gap():
    quality, _ = world()
    found = underspecification(np.stack([quality, 1e6 * quality - 3, 1e-6 * quality], axis=1), group_size=64)
    for best in found.by_n:
        assert best.spearman == pytest.approx(1.0)
        assert best.gap == pytest.approx(0.0, abs=1e-9)


def test_members_that_never_vary_have_no_correlation():
    found = underspecification(np.ones((8, 2)), group_size=4, n=[1])
    assert math.isnan(found.by_n[0].spearman)
    assert found.by_n[0].gap == 0.0
    assert math.isnan(underspecification([[1.0, 2.0], [2.0, 1.0]], group_size=2, n=[1]).by_n[0].spearman)


def test_a_row_that_one_member_left_unscored_is_left_out():
    _, scores = world(n_prompts=6, group_size=8)
    holes = scores.copy()
    holes[[3, 9]] = [NAN, np.inf, 0.0, 1e9]
    kept = np.delete(scores, [3, 9], axis=0)
    (found,) = underspecification(holes, group_size=8, n=[1]).by_n
    # Of one candidate each, every scored row is its own pick, and prompts weigh alike.
    z = (kept - kept.mean(axis=0)) / kept.std(axis=0)
    assert found.spearman == pytest.approx(np.mean(spearmanr(z).statistic[np.triu_indices(4, 1)]))
    assert math.isfinite(underspecification(holes, group_size=8, n=[8]).by_n[0].gap)
    nobody = underspecification(np.full((8, 2), NAN), group_size=8, n=[2]).by_n[0]
    assert math.isnan(nobody.gap)
    assert nobody.interval == (-math.inf, math.inf)


def test_accuracy_is_each_member_s_share_of_pairs_with_ties_half_and_unscored_pairs_left_out():
    chosen = [[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, NAN]]
    rejected = [[0.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 0.0]]
    found = underspecification(np.eye(4)[:, :2], group_size=2, chosen=chosen, rejected=rejected, n=[])
    assert found.accuracy == pytest.approx((0.75, 0.5))  # 3 of 4; (1 + 0 + ½) of 3
    assert found.accuracy_mean == pytest.approx(0.625)
    assert found.accuracy_spread == pytest.approx(0.125)
    assert math.isnan(underspecification(np.eye(2), group_size=2, n=[]).accuracy_mean)


def test_a_feature_that_all_scores_like_is_a_shared_hack_and_others_are_not():
    generator = np.random.default_rng(1)
    quality, scores = world()
    length, noise = generator.normal(size=(2, len(quality)))
    hacked = scores + 0.5 * length[:, None]
    hacked[:, 0] -= noise  # a liking of the first member alone, and against
    aggregates = {"first": hacked[:, 0], "second": hacked[:, 1], "min": hacked[:, 1:].min(axis=1)}
    likes, dislikes, other = shared_hack_drift({"long": length, "short": -length, "noise": noise}, aggregates,
                                               group_size=64)  # fmt: skip
    assert (likes.shared, dislikes.shared, other.shared) == (1, -1, 0)
    assert other.intervals["first"][1] < 0, "one member's own hack is told, but is not shared"
    assert likes.slopes["min"] == pytest.approx(-dislikes.slopes["min"])


def test_the_slope_is_that_of_a_fit_on_log_n_prompt_by_prompt():
    _, scores = world(n_prompts=3, group_size=16)
    feature = np.random.default_rng(2).normal(size=48)
    z = (feature - feature.mean()) / feature.std()
    slopes = []
    for prompt in range(3):
        rows = slice(16 * prompt, 16 * prompt + 16)
        means = [z[rows][slow_picks(scores[rows, 0], 16, n)].mean() for n in (1, 4, 16)]
        slopes.append(np.polyfit(np.log([1, 4, 16]), means, 1)[0])
    (drift,) = shared_hack_drift({"f": feature}, {"one": scores[:, 0]}, group_size=16, n=[1, 4, 16])
    assert drift.slopes["one"] == pytest.approx(np.mean(slopes))
    assert drift.intervals["one"][0] < np.mean(slopes) < drift.intervals["one"][1]


def test_one_prompt_alone_proves_nothing():
    (drift,) = shared_hack_drift({"f": range(16)}, {"same": range(16)}, group_size=16, n=[1, 16])
    assert drift.slopes["same"] > 0
    assert drift.shared == 0


def test_unscored_rows_are_never_picked_and_a_constant_feature_does_not_drift():
    scores = [None, 1.0, 0.0, 2.0, None, 1.0, 0.0, 2.0]
    feature = [9.0, 1.0, 0.0, 2.0, 9.0, 1.0, 0.0, 2.0]
    moving, still = shared_hack_drift({"f": feature, "still": [3.0] * 8}, {"r": scores}, group_size=4, n=[1, 4])
    z = (np.array(feature) - 3.0) / np.std(feature)
    assert moving.slopes["r"] == pytest.approx((z[3] - z[1:4].mean()) / math.log(4))  # in either prompt
    assert (still.slopes["r"], still.shared) == (0.0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: underspecification(np.ones((4, 1)), group_size=2), "have 1 member, and it takes two to disagree"),
        (lambda: underspecification(np.ones(4), group_size=2), "source_rewards must have two dimensions, got shape"),
        (lambda: underspecification(np.ones((5, 2)), group_size=2), "5 rows are not a whole number of groups of 2"),
        (lambda: underspecification(np.ones((4, 2)), group_size=2, n=[4]), r"n is 4, outside \[1, 2\]"),
        (
            lambda: underspecification(np.ones((4, 2)), group_size=2, n=[], chosen=np.ones((1, 2))),
            "underspecification: give both chosen and rejected, or neither",
        ),
        (
            lambda: underspecification(
                np.ones((4, 2)), group_size=2, n=[], chosen=np.ones((1, 3)), rejected=np.ones((1, 3))
            ),
            r"chosen and rejected have shapes \(1, 3\) and \(1, 3\), but there are 2 members",
        ),
        (lambda: shared_hack_drift({}, {"r": [1.0]}, group_size=1), "features or rewards are empty"),
        (lambda: shared_hack_drift({"f": [1, 2]}, {"r": [1, 2]}, group_size=2, n=[2]), "a slope needs two values"),
        (
            lambda: shared_hack_drift({"f": [1.0]}, {"r": [1.0, 2.0]}, group_size=2, n=[1, 2]),
            r"shared_hack_drift: features and rewards have shapes \[\(1,\), \(2,\)\]. Pass one value per response",
        ),
    ],
)
def test_the_audits_refuse_what_they_cannot_read(call, message):
    with pytest.raises(ValueError, match=message):
        call()
