"""Distillation from extrapolated logits: parts of the world by loops, and where the per-state teacher is no optimum."""

import math

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.aligndistil import (
    World,
    distillation,
    experiments,
    reinforce,
    sharpened,
    table_of,
    trained_by_dpo,
)
from rewardsmith.objectives import extrapolated_logits
from rewardsmith.worlds import Streams
from rewardsmith.worlds.prefix_tree import PrefixTree, mean_kl

TREE = PrefixTree(n_prompts=2, n_tokens=3, length=3)


def three_tables():
    streams = Streams([0, 1])
    return [(2 * streams.randn(1, 2, TREE.n_prefixes, 3)).log_softmax(-1) for _ in range(3)]


@pytest.mark.parametrize(("w", "least", "most"), [(1.0, 0.0, 1e-9), (0.5, 0.01, math.inf), (2.0, 0.05, math.inf)])
def test_the_teacher_is_the_optimum_over_responses_only_where_it_is_the_dpo_model(w, least, most):
    """RLHF with reward log π_dpo/π_ref: the optimum over responses is π_ref (π_dpo/π_ref)^w, normalized over them."""
    dpo, ref, _ = three_tables()
    teacher = TREE.logps(extrapolated_logits(dpo, ref, w - 1).log_softmax(-1))
    optimum = (TREE.logps(ref) + w * (TREE.logps(dpo) - TREE.logps(ref))).log_softmax(-1)
    gap = mean_kl(teacher, optimum)
    assert (gap >= least - 1e-12).all()
    assert (gap <= most).all()


def test_a_student_that_is_its_teacher_has_no_loss_and_another_has_the_mean_kl_of_its_own_states():
    streams, policy = Streams([0, 1]), TREE.policy(Streams([0, 1]), width=8)
    own, (other, *_) = table_of(TREE, policy), three_tables()
    even = torch.ones(2, 1, 2, TREE.n_prefixes, dtype=torch.float64)
    assert_close(distillation(TREE, streams, 5, own, even, policy), torch.zeros(2, 1, dtype=torch.float64))
    found = distillation(TREE, streams, 20_000, other, even, policy)
    kl = (own.exp() * (own - other)).sum(-1)  # at every prefix
    visited = TREE.logps(own).exp()[..., None] * kl[..., TREE.prefixes]  # (S, 1, X, N, T)
    assert_close(found, visited.sum(-2).mean(dim=(-2, -1)), rtol=0.03, atol=0)


def test_reinforce_follows_the_gradient_of_the_kl_to_its_scores():
    streams = Streams([3])
    policy, (scores, *_) = TREE.policy(streams, width=4), three_tables()
    scores = TREE.logps(scores)[:1]
    gradients = []
    for loss in (
        lambda: reinforce(TREE, streams, 100_000, scores, policy).sum(),
        lambda: mean_kl(TREE.logps(TREE.next_token(policy)), scores).sum() / TREE.length,
    ):
        policy.zero_grad()
        loss().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
    assert float(gradients[0].norm() / gradients[1].norm()) == pytest.approx(1.0, abs=0.03)


def test_sharpening_reaches_the_kl_asked_for_by_one_factor():
    table, ref, _ = three_tables()
    ref = TREE.logps(ref)
    asked = mean_kl(TREE.logps((3 * table).log_softmax(-1)), ref)
    assert_close(sharpened(TREE, table, ref, asked), (3 * table).log_softmax(-1))


def test_dpo_raises_the_chosen_over_the_rejected():
    streams = Streams([0])
    reference = TREE.policy(streams, width=8)
    chosen, rejected = torch.tensor([[[[3], [9]]]]), torch.tensor([[[[20], [1]]]])
    model = trained_by_dpo(TREE, reference, chosen, rejected, beta=0.5, steps=50, learning_rate=1e-2)
    moved = TREE.logps(table_of(TREE, model)) - TREE.logps(table_of(TREE, reference))
    assert (moved.gather(-1, chosen) - moved.gather(-1, rejected) > 1).all()


@pytest.mark.slow
def test_a_seed_alone_gives_the_numbers_that_it_gives_beside_another():
    small = World(n_prompts=2, length=3, n_texts=20, n_pairs=4, n_test=9, dpo_steps=5, longer=6, steps=3, width=8)
    alone, beside = experiments([7], small), experiments([6, 7], small)
    assert alone[0] == pytest.approx(beside[1], rel=1e-3, abs=1e-4)
