"""Policies at one KL, fits that do not mix seeds, and what two labels make of a conformal set."""

import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages import alignment_survey as page
from rewardsmith.atlas.pages.alignment_survey import World, at, divergence, judged, sharpened

SMALL = World(n_demos=40, n_pairs=40, width=4, steps=3, n_calibration=30, n_test=30)


def test_sharpening_reaches_the_kl_and_multiplies_the_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 5, 7, generator=generator, dtype=torch.float64).log_softmax(dim=-1)
    kl = torch.tensor([0.1, 0.4], dtype=torch.float64)
    found = sharpened(logits, logits, logits, kl)
    assert_close(divergence(found, logits), kl, atol=1e-6, rtol=0)
    ratio = (found[..., 1:] - found[..., :1]) / (logits[..., 1:] - logits[..., :1])
    assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert (ratio[:, 0, 0, 0] > 1).all()


def test_divergence_is_that_of_torch():
    generator = torch.Generator().manual_seed(1)
    now, ref = torch.randn(2, 1, 1, 3, 4, generator=generator, dtype=torch.float64).log_softmax(dim=-1).unbind(0)
    expected = torch.nn.functional.kl_div(ref[0, 0], now[0, 0], log_target=True, reduction="batchmean")
    assert_close(divergence(now, ref)[0], expected)


def test_rows_are_taken_as_by_a_loop():
    values = torch.arange(24.0).view(2, 1, 4, 3)
    index = torch.tensor([[[3, 0], [1, 1]], [[2, 2], [0, 3]]])
    found = at(values, index)
    for s, m, b in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        assert found[s, m, b].tolist() == values[s, 0, index[s, m, b]].tolist()
        assert at(values[..., 0], index)[s, m, b] == values[s, 0, index[s, m, b], 0]


def test_one_model_that_is_the_ensemble_gets_the_same_accuracy_where_as_many_are_decided():
    """With two labels a set of one label is a threshold on p, so that its pairs are the surest ones."""
    generator = torch.Generator().manual_seed(2)
    margins = []
    for _ in range(2):
        gold = torch.randn(1, 400, generator=generator, dtype=torch.float64)
        noisy = gold + torch.randn(1, 400, generator=generator, dtype=torch.float64)
        won = torch.where(torch.rand(1, 400, generator=generator) < gold.sigmoid(), 1.0, -1.0)
        turned = torch.rand(1, 400, generator=generator) < 0.5
        margins.append(((noisy * won)[:, None].expand(-1, 3, -1), gold * won, turned))
    found = judged(margins, World())
    assert found["accuracy"]["one_model"] == found["accuracy"]["decided"]
    assert found["accuracy"]["one_model_all"] == found["accuracy"]["all"]
    assert 0.82 < found["share"]["covered"][0] < 0.98


def test_a_seed_alone_gives_the_numbers_that_it_gives_beside_others():
    assert repr(page.experiments([3, 4], SMALL)[1]) == repr(page.experiments([4], SMALL)[0])  # NaN where none decides
