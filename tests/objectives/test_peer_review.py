"""Peer review against a loop with sorting, and the schedule by hand."""

import math

import pytest
import torch

from rewardsmith.objectives import bt_loss, keep_schedule, peer_review_masks, weighted_loss

NAN = math.nan


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(reviewer, keep, pool=None):
    """The pairs that a reviewer lets through."""
    pool = reviewer if pool is None else pool
    scored = sorted((m for m in pool.tolist() if not math.isnan(m)), reverse=True)
    wanted = math.ceil(round(keep * len(scored), 9))
    return [wanted > 0 and not math.isnan(m) and m >= scored[wanted - 1] for m in reviewer.tolist()]


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.3, 0.7, 1.0])
def test_each_model_gets_the_pairs_that_its_peer_finds_clearest(keep):
    a, b = draw(2, 3, 10)  # three pairs of models side by side
    a[0, 2], b[1, :4] = NAN, NAN
    masks = peer_review_masks(a, b, keep=keep)
    assert masks.a.tolist() == [slow(row, keep) for row in b]
    assert masks.b.tolist() == [slow(row, keep) for row in a]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 1.0])
def test_a_global_bound_is_that_of_all_pairs(keep):
    a, b = draw(2, 8)
    all_a, all_b = draw(2, 40, seed=1)
    all_a[:8], all_b[:8], all_a[9] = a, b, NAN
    masks = peer_review_masks(a, b, keep=keep, all_margins_a=all_a, all_margins_b=all_b)
    assert masks.a.tolist() == slow(b, keep, all_b)
    assert masks.b.tolist() == slow(a, keep, all_a)


def test_in_batches_of_equal_difficulty_only_the_global_bound_keeps_the_easy_whole():
    everything = torch.arange(12.0)
    easy, hard = everything[8:], everything[:4]
    batch = [peer_review_masks(part, part, keep=0.5).a.sum().item() for part in (easy, hard)]
    whole = [
        peer_review_masks(part, part, keep=0.5, all_margins_a=everything, all_margins_b=everything).a.sum().item()
        for part in (easy, hard)
    ]
    assert (batch, whole) == ([2, 2], [4, 0])


def test_equal_margins_fill_the_quota_and_no_more():
    flat = torch.zeros(6)
    assert peer_review_masks(flat, flat, keep=0.5).a.sum() == 3
    assert not peer_review_masks(torch.full((3,), NAN), flat[:3], keep=1.0).b.any()
    assert peer_review_masks(torch.tensor([math.inf, -math.inf, 0.0]), flat[:3], keep=0.5).b.tolist() == [
        True,
        False,
        False,
    ]


def test_masks_weigh_a_loss_and_send_no_gradient_to_the_reviewer():
    a, b = (row.clone().requires_grad_() for row in draw(2, 5))
    masks = peer_review_masks(a, b, keep=0.4)
    losses = weighted_loss(bt_loss(a, torch.zeros(5, dtype=torch.float64)), masks.a)
    losses.sum().backward()
    assert ((a.grad != 0) == masks.a).all()
    assert b.grad is None


def test_the_schedule_falls_from_one_to_the_share_thought_right():
    kept = [keep_schedule(epoch, noise=0.4, warmup=6) for epoch in range(9)]
    assert kept[0] == 1.0
    assert kept[3] == pytest.approx(0.8)
    assert kept[6:] == pytest.approx([0.6] * 3)
    assert keep_schedule(0.5, noise=1.0, warmup=2) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: peer_review_masks(torch.zeros(2), torch.zeros(3), keep=0.5),
            "peer_review_masks: arguments must share",
        ),
        (
            lambda: peer_review_masks(torch.zeros(2), torch.zeros(2), keep=1.5),
            "peer_review_masks: keep is 1.5, outside",
        ),
        (
            lambda: peer_review_masks(torch.zeros(2), torch.zeros(2), keep=0.5, all_margins_a=torch.zeros(4)),
            "peer_review_masks: all margins are given for one model only. Give both or neither",
        ),
        (lambda: keep_schedule(-1, noise=0.1), "keep_schedule: epoch is -1, outside"),
        (lambda: keep_schedule(1, noise=1.1), "keep_schedule: noise is 1.1, outside"),
        (lambda: keep_schedule(1, noise=0.1, warmup=0), "keep_schedule: warmup is 0, outside"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
