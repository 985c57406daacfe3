"""Entailment by principle and ranking by principle: regressions, verdicts, gold, and what holds by construction."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.testing import assert_close

from rewardsmith.atlas.pages import entailment_principles as verdict_page
from rewardsmith.atlas.pages import principle_ranking as ranking_page
from rewardsmith.atlas.pages.principle_ranking import ARMS, by_reward, losses, principles
from rewardsmith.worlds import Streams

pytestmark = pytest.mark.slow

FEW = verdict_page.World(n_pairs=300, steps=250, n_test=300)
SHORT = ranking_page.World(steps=110, width=24, n_test=200)


def test_a_regression_minimizes_its_penalized_likelihood():
    streams = Streams([0])
    x, label = streams.randn(60, 3), (streams.rand(60) < 0.5).double()
    own = torch.stack([torch.ones(60), (torch.arange(60) < 30).double()], dim=1)[None]
    found = verdict_page.regressed(x, label, own, 0.7)
    for k in range(2):
        rows = own[0, :, k] > 0

        def cost(w, rows=rows):
            z = x[0, rows].numpy() @ w
            return float(np.logaddexp(0, -(2 * label[0, rows].numpy() - 1) * z).sum() + 0.35 * w @ w)

        assert_close(found[0, k], torch.from_numpy(minimize(cost, np.zeros(3)).x), atol=1e-4, rtol=0)


def test_verdicts_tell_the_principles_but_for_flips_and_halo():
    streams, quiet = Streams([0]), verdict_page.World(flips=0.0)
    known = verdict_page.drawn(50, streams.randn(8, 16), streams, quiet)
    attended = streams.randint(8, 50, 2)
    said = verdict_page.verdicts(known, attended, streams, quiet)
    for n, m, side in ((0, 0, 0), (7, 1, 1), (49, 1, 0)):
        assert said[0, n, m, side] == known.kept[0, n, side, attended[0, n, m]]
    assert torch.equal(verdict_page.verdicts(known, attended, streams, verdict_page.World(flips=1.0)), 1 - said)
    known = known._replace(length=known.length.sign() * 50)
    dazzled = verdict_page.verdicts(known, attended, streams, verdict_page.World(halo=1.0))
    assert torch.equal(dazzled, (known.length[..., 0] > 0).double()[:, :, None].expand_as(dazzled))


def test_verdicts_beat_preferences_and_what_reads_no_principle_is_not_steered():
    found = verdict_page.experiments([3], FEW)[0]
    assert found["hard/entailment"] > found["hard/bt"]
    assert found["steering/bt"] < 0.75
    astray = verdict_page.experiments([3], FEW, broken=True)[0]
    assert astray["steering/entailment"] < found["steering/entailment"] - 0.1


def test_each_principle_has_two_attributes_and_is_listed_once():
    every = principles(5) > 0
    assert len(every) == 5 * 2 * 4 * 2
    assert len({tuple(row) for row in every.tolist()}) == len(every)
    main, other = (half.view(-1, 2, 5).any(dim=1) for half in every.chunk(2, dim=1))
    assert not (main & other).any()


def test_gold_is_twice_the_main_attribute_and_once_the_second():
    world, streams = ranking_page.World(), Streams([0])
    lists = ranking_page.drawn(torch.arange(80)[None], principles(5), 20, world, streams)
    for b in range(20):
        main, other = (lists.principle[0, b] > 0).chunk(2)
        signed = [(int(half.nonzero()) % 5, 1 if half.nonzero() < 5 else -1) for half in (main, other)]
        for n in range(4):
            (i, up), (j, high) = signed
            expected = 2 * up * lists.answers[0, b, n, i] + high * lists.answers[0, b, n, j]
            assert lists.gold[0, b, n] == expected


def test_a_gradient_by_the_reward_of_lists_moves_scores_toward_the_consensus():
    logits = torch.zeros(1, 4, 2, 5, dtype=torch.float64, requires_grad=True)
    consensus = torch.tensor([3.0, -3.0], dtype=torch.float64).expand(1, 4, 2)
    by_reward(logits.log_softmax(dim=-1), consensus, Streams([0])).sum().backward()
    place = torch.arange(5, dtype=torch.float64)
    pull = -(logits.grad * place).sum(dim=-1).mean(dim=(0, 1))
    assert pull[0] > 0 > pull[1]


def test_pairs_have_bradley_terry_s_loss_and_bins_a_cross_entropy():
    logits, consensus = torch.zeros(1, len(ARMS), 3, 4, 5, dtype=torch.float64), Streams([0]).randn(3, 4)
    found = losses(logits, consensus, Streams([0]))
    expected = {"pairs": 2.0, "pair": 2.0, "bins": 5.0}
    for m, (kind, _) in enumerate(ARMS.values()):
        if kind in expected:
            assert_close(found[0, m], torch.full((3,), expected[kind], dtype=torch.float64).log())


def test_the_principle_as_input_is_what_generalizes_and_another_list_s_scores_teach_nothing():
    found = ranking_page.experiments([3], SHORT)[0]
    assert found["held_out/bt"] > found["held_out/bt_no_principle"] + 0.15
    astray = ranking_page.experiments([3], SHORT, broken=True)[0]
    assert abs(astray["held_out/bt"] - 0.5) < 0.1
