"""Length penalties against slow loops, hand derivations and limits."""

import math
import statistics
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import group_centered, group_zscore
from rewardsmith.transforms import length_shaped, overlong_penalty, relative_length_penalty
from rewardsmith.types import traits_of

NAN, INF = math.nan, math.inf
GROUP = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(prompts=12, *, seed=0, unscored=True):
    """(B,) correctness and lengths, with groups that are all right, all wrong, single right and of equal lengths."""
    source = generator(seed)
    rewards = (torch.rand(prompts * GROUP, generator=source) < 0.6).double()
    lengths = torch.randint(10, 400, (prompts * GROUP,), generator=source).double()
    rewards[:GROUP], rewards[GROUP : 2 * GROUP] = 1.0, 0.0
    rewards[2 * GROUP : 3 * GROUP] = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
    lengths[3 * GROUP : 4 * GROUP] = 77.0
    if unscored:
        rewards[4 * GROUP] = rewards[5 * GROUP + 2] = NAN
        rewards[6 * GROUP : 7 * GROUP] = NAN
    return rewards, lengths


def clip01(x):
    return min(max(x, 0.0), 1.0)


# Overlong: fixed ramp


@pytest.mark.parametrize("apply_to", ["correct", "all", "incorrect"])
@pytest.mark.parametrize("given", [None, [1.0, 0.0, NAN, 1.0, 0.0, 1.0]])
def test_the_overlong_penalty_is_its_ramp_on_the_rows_it_applies_to(apply_to, given):
    rewards, lengths = [0.7, -1.0, 1.0, 0.0, NAN, 0.2], [90.0, 150.0, 260.0, 199.0, 150.0, NAN]
    correct = None if given is None else torch.tensor(given, dtype=torch.float64)
    got = overlong_penalty(
        torch.tensor(rewards, dtype=torch.float64),
        torch.tensor(lengths, dtype=torch.float64),
        low=100,
        high=200,
        weight=0.5,
        correct=correct,
        apply_to=apply_to,
    )
    for i, (r, length) in enumerate(zip(rewards, lengths, strict=True)):
        right = r > 0 if given is None else given[i] == 1
        charged = {"all": True, "correct": right, "incorrect": not right}[apply_to]
        expected = r if not charged else NAN if math.isnan(length) else r - 0.5 * clip01((length - 100) / 100)
        assert float(got[i]) == pytest.approx(expected, nan_ok=True)


def test_dapos_soft_overlong_punishment_is_a_special_case():
    # 0 up to L_max − L_cache, then (L_max − L_cache − |y|) / L_cache down to −1
    cap, buffer = 1000, 200
    lengths = torch.tensor([10, 800, 801, 900, 1000, 1500])
    expected = [0.0, 0.0, -1 / 200, -100 / 200, -1.0, -1.0]
    got = overlong_penalty(torch.zeros(6).double(), lengths, low=cap - buffer, high=cap, apply_to="all")
    assert_close(got, torch.tensor(expected, dtype=torch.float64))


def test_a_group_that_is_all_wrong_is_not_taught_to_be_short():
    wrong, lengths = torch.zeros(4), torch.tensor([10, 150, 180, 500])
    assert not overlong_penalty(wrong, lengths, low=100, high=200).any()
    assert overlong_penalty(wrong, lengths, low=100, high=200, apply_to="all").any()


# Relative: ramp by the group's statistics


@pytest.mark.parametrize("stats", ["correct", "group"])
@pytest.mark.parametrize("apply_to", ["correct", "all"])
def test_the_relative_penalty_matches_a_slow_loop(stats, apply_to):
    rewards, lengths = batch()
    lengths[1] = INF
    got = relative_length_penalty(
        rewards, lengths, group_size=GROUP, low=-0.5, high=1.0, weight=0.3, stats=stats, apply_to=apply_to, eps=2.0
    )
    for start in range(0, len(rewards), GROUP):
        group = list(range(start, start + GROUP))
        z, n = rewards.tolist(), lengths.tolist()
        right = [i for i in group if z[i] == 1]
        counted = [
            n[i] for i in (right if stats == "correct" else group) if not math.isnan(z[i]) and math.isfinite(n[i])
        ]
        mean = statistics.mean(counted) if counted else 0.0
        std = statistics.stdev(counted) if len(counted) > 1 else 0.0
        for i in group:
            charged = (apply_to == "all" or z[i] == 1) and (stats == "group" or right)
            ramp = clip01(((n[i] - mean) / (std + 2.0) + 0.5) / 1.5)
            expected = z[i] - 0.3 * ramp if charged else z[i]
            assert float(got[i]) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_correctness_may_come_from_a_column_where_rewards_are_not_verdicts():
    rewards = torch.tensor([5.0, 5.0, 5.0, 5.0], dtype=torch.float64)
    lengths, correct = torch.tensor([10.0, 30.0, 500.0, 20.0]), torch.tensor([1.0, 1.0, 0.0, NAN])
    got = relative_length_penalty(rewards, lengths, group_size=4, low=0, high=1, correct=correct)
    s = math.sqrt(200)  # of 10 and 30; mean 20
    assert_close(got, torch.tensor([5.0, 5.0 - 10 / (s + 1), 5.0, 5.0], dtype=torch.float64))


# Length-shaped correctness


def slow_shaped(z, n, cut, *, alpha, link, stats, eps):
    """One group of correctness, lengths and truncation, the definition word by word."""
    z = [0.0 if c and not math.isnan(v) else v for v, c in zip(z, cut, strict=True)]
    counted = [
        length
        for v, length, c in zip(z, n, cut, strict=True)
        if (v == 1 if stats == "correct" else not math.isnan(v) and not c) and math.isfinite(length)
    ]
    out = []
    for v, length in zip(z, n, strict=True):
        if v != 1:
            out.append(v)
            continue
        if not counted or math.isnan(length):
            out.append(NAN)
            continue
        if link == "sigmoid_z":
            std = statistics.stdev(counted) if len(counted) > 1 else 0.0
            f = 1 / (1 + math.exp(-(length - statistics.mean(counted)) / (std + eps)))
        else:
            middle, spread = (min(counted) + max(counted)) / 2, max(counted) - min(counted)
            f = clip01(0.5 + (length - middle) / (spread + eps))
            f = f if link == "linear" else math.sin(math.pi * f / 2) ** 2  # ½(1 − cos πf)
        out.append(1 - alpha * f)
    return out


@pytest.mark.parametrize("link", ["sigmoid_z", "linear", "cosine"])
@pytest.mark.parametrize("stats", ["correct", "group"])
@pytest.mark.parametrize("eps", [1.0, 0.1])
def test_shaped_correctness_matches_a_slow_loop(link, stats, eps):
    rewards, lengths = batch()
    truncated = torch.rand(len(rewards), generator=generator(5)) < 0.2
    lengths[7 * GROUP], rewards[7 * GROUP], truncated[7 * GROUP] = NAN, 1.0, False
    got = length_shaped(
        rewards, lengths, group_size=GROUP, alpha=0.6, link=link, stats=stats, eps=eps, truncated=truncated
    )
    for start in range(0, len(rewards), GROUP):
        rows = slice(start, start + GROUP)
        expected = slow_shaped(
            *(column[rows].tolist() for column in (rewards, lengths, truncated)),
            alpha=0.6,
            link=link,
            stats=stats,
            eps=eps,
        )
        assert_close(got[rows], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("link", ["sigmoid_z", "linear", "cosine"])
def test_where_lengths_agree_or_one_is_right_every_right_answer_loses_half_of_alpha(link):
    shaped = partial(length_shaped, alpha=0.4, link=link)
    assert_close(shaped(torch.ones(3), torch.full((3,), 50), group_size=3), torch.full((3,), 0.8))
    got = shaped(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([5, 50, 500]), group_size=3)
    assert_close(got, torch.tensor([0.0, 0.8, 0.0]))
    assert_close(shaped(torch.ones(2), torch.tensor([5, 500]), group_size=1), torch.full((2,), 0.8))  # groups of one


def test_one_token_more_among_equals_is_not_punished_as_the_longest_possible():
    lengths = torch.tensor([100.0, 100.0, 100.0, 101.0])
    got = length_shaped(torch.ones(4), lengths, group_size=4, alpha=1.0)
    assert 0.3 < got[3] < got[0] < 0.6


@pytest.mark.parametrize("link", ["sigmoid_z", "linear", "cosine"])
def test_shorter_right_answers_earn_more_and_every_right_one_more_than_a_wrong_one(link):
    lengths = torch.tensor([10.0, 20.0, 40.0, 80.0, 5.0])
    got = length_shaped(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]), lengths, group_size=5, alpha=0.9, link=link)
    assert (got[:4].diff() < 0).all()
    assert (got[:4] > got[4]).all()


def test_an_endless_completion_takes_the_limit_and_leaves_the_others_statistics():
    lengths = torch.tensor([10.0, 30.0, INF], dtype=torch.float64)
    got = length_shaped(torch.ones(3).double(), lengths, group_size=3, alpha=0.5)
    assert_close(got[2], torch.tensor(0.5, dtype=torch.float64))
    assert_close(got[:2], length_shaped(torch.ones(2).double(), lengths[:2], group_size=2, alpha=0.5))


def test_a_zscore_makes_any_alpha_push_alike_on_an_all_right_group_and_centering_does_not():
    lengths = torch.tensor([100.0, 150.0, 220.0, 400.0], dtype=torch.float64)
    tiny, large = (length_shaped(torch.ones(4).double(), lengths, group_size=4, alpha=a) for a in (0.01, 0.6))
    zscore = partial(group_zscore, group_size=4, eps=0.0)
    assert_close(zscore(tiny), zscore(large))
    assert_close(60 * group_centered(tiny, group_size=4), group_centered(large, group_size=4))


def test_scopes_say_what_each_must_see():
    assert traits_of(overlong_penalty).scope == "row"
    assert traits_of(relative_length_penalty).scope == traits_of(length_shaped).scope == "prompt"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: overlong_penalty(r, r, low=5, high=5), r"overlong_penalty: low=5 must be below high=5.*Widen them"),
        (lambda r: overlong_penalty(r, r, low=1, high=INF), r"overlong_penalty: low=1 must be below high=inf"),
        (lambda r: overlong_penalty(r, r[:2], low=1, high=2), r"overlong_penalty: arguments must share one shape"),
        (lambda r: overlong_penalty(r, r, low=1, high=2, apply_to="x"), r"overlong_penalty: apply_to is 'x'"),
        (lambda r: overlong_penalty(r, r, low=1, high=2, correct=r + 3), r"overlong_penalty: correct holds 3.0"),
        (lambda r: relative_length_penalty(r, r, group_size=3), r"relative_length_penalty: 4 rows are not a whole"),
        (lambda r: relative_length_penalty(r, r, group_size=2, stats="x"), r"relative_length_penalty: stats is 'x'"),
        (lambda r: length_shaped(r + 0.5, r, group_size=2), r"length_shaped: rewards holds 0.5, but a verdict is 0, 1"),
        (lambda r: length_shaped(r, r, group_size=3), r"length_shaped: 4 rows are not a whole number of groups of 3"),
        (lambda r: length_shaped(r, r, group_size=2, alpha=1.5), r"length_shaped: alpha is 1.5, outside \[0.0, 1.0\]"),
        (lambda r: length_shaped(r, r, group_size=2, link="tanh"), r"length_shaped: link is 'tanh'"),
        (lambda r: length_shaped(r, r, group_size=2, eps=0.0), r"length_shaped: eps is 0.0, outside"),
        (lambda r: length_shaped(r, r, group_size=2, truncated=r[:2]), r"length_shaped: arguments must share one"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4))
