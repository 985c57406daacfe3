"""Reward-model losses against mpmath, NumPy loops, SciPy, TRL's own trainer's formula, gradcheck and limits."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import norm
from torch.autograd import gradcheck
from torch.testing import assert_close

from rewardsmith.objectives import (
    binned_rating_loss,
    bt_loss,
    centering_loss,
    normalized_weights,
    rating_loss,
    simcse_loss,
    spread_regularizer,
    squared_tie_loss,
    thurstone_loss,
    tie_loss,
    weighted_loss,
)
from rewardsmith.objectives.pairwise import sampled_preference_loss

INF, NAN = math.inf, math.nan


def draw(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def column(*values, **options):
    return torch.tensor(values, **{"dtype": torch.float64, **options})


def log_sigmoid(z):
    """With 60 digits, so that no stable form is needed."""
    with mpmath.workdps(60):
        return mpmath.log(1 / (1 + mpmath.exp(-mpmath.mpf(z))))


def slow(chosen, rejected, margin, weight, soft_label, *, tie=None, center=0.0):
    """One pair, from the equation."""
    with mpmath.workdps(60):
        delta = mpmath.mpf(chosen) - mpmath.mpf(rejected)
        z = delta - mpmath.mpf(margin)
        p = mpmath.mpf(soft_label)
        if tie is squared_tie_loss:
            label = delta**2
        elif tie:
            label = -(log_sigmoid(delta) + log_sigmoid(-delta)) / 2
        else:
            label = -(1 - p) * log_sigmoid(z) - p * log_sigmoid(-z)
        return float(weight * label + center * (mpmath.mpf(chosen) + mpmath.mpf(rejected)) ** 2)


def whole(chosen, rejected, margin, weight, soft_label, *, tie=None, center=0.1):
    """Every term on one pair."""
    losses = bt_loss(chosen, rejected, margin=margin, soft_label=soft_label) if tie is None else tie(chosen, rejected)
    return weighted_loss(losses, weight) + centering_loss(chosen, rejected, coef=center)


@pytest.mark.parametrize("tie", [None, tie_loss, squared_tie_loss])
@pytest.mark.parametrize("center", [0.0, 0.01])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_a_pair_costs_what_its_equation_says(tie, center, scale):
    chosen, rejected, margin = draw(3, 8, scale=scale)
    weight, soft_label = draw(2, 8, seed=1).sigmoid()
    expected = [
        slow(*(float(value) for value in row), tie=tie, center=center)
        for row in zip(chosen, rejected, margin, weight, soft_label, strict=True)
    ]
    losses = whole(chosen, rejected, margin, weight, soft_label, tie=tie, center=center)
    assert_close(losses, column(*expected))


def test_with_margin_and_center_alone_it_is_the_loss_of_trl():
    chosen, rejected, margin = draw(3, 16)
    theirs = -torch.nn.functional.logsigmoid(chosen - rejected - margin).mean()
    theirs = theirs + 0.01 * torch.mean((chosen + rejected) ** 2)  # trl 1.x, RewardTrainer.compute_loss
    ours = bt_loss(chosen, rejected, margin=margin) + centering_loss(chosen, rejected, coef=0.01)
    assert_close(ours.mean(), theirs)


def test_one_number_stands_for_all_rows():
    chosen, rejected = draw(2, 5)
    numbers = (0.5, 2.0, 0.1)
    assert_close(whole(chosen, rejected, *numbers), whole(chosen, rejected, *(torch.full((5,), v) for v in numbers)))


def test_gradients_are_those_of_finite_differences():
    scores = [row.clone().requires_grad_() for row in draw(3, 6)]
    shares = [row.clone().requires_grad_() for row in draw(2, 6, seed=1).sigmoid()]
    assert gradcheck(whole, [*scores, *shares])
    for tie in (tie_loss, squared_tie_loss):
        assert gradcheck(tie, scores[:2])


def test_a_sure_mistake_is_the_other_way_around():
    chosen, rejected = draw(2, 6)
    assert_close(bt_loss(chosen, rejected, soft_label=1.0), bt_loss(rejected, chosen))
    flipped = bt_loss(chosen, rejected, soft_label=1.0, margin=-0.7)
    assert_close(flipped, bt_loss(rejected, chosen, margin=0.7))


@pytest.mark.parametrize(("loss", "best"), [(tie_loss, math.log(2)), (squared_tie_loss, 0.0)])
def test_a_tie_has_no_order_and_asks_for_equal_scores(loss, best):
    chosen, rejected = draw(2, 6)
    assert_close(loss(chosen, rejected), loss(rejected, chosen))
    even = loss(chosen, chosen)
    assert_close(even, torch.full_like(even, best))
    assert (loss(chosen, rejected) > even).all()


def test_two_strict_rows_in_both_orders_make_two_ties():
    chosen, rejected = draw(2, 6)
    both = bt_loss(chosen, rejected) + bt_loss(rejected, chosen)
    assert_close(both, 2 * tie_loss(chosen, rejected))


def test_a_weight_is_as_many_copies_of_the_pair():
    chosen, rejected = draw(2, 3)
    times = [3, 1, 2]
    copies = torch.repeat_interleave(torch.arange(3), torch.tensor(times))
    assert_close(
        weighted_loss(bt_loss(chosen, rejected), column(*times)).sum(),
        bt_loss(chosen[copies], rejected[copies]).sum(),
    )


@pytest.mark.parametrize(
    ("hole", "tie"),
    [
        *((hole, None) for hole in ("chosen", "rejected", "margin", "weight", "soft_label")),
        *((hole, tie) for hole in ("chosen", "rejected", "weight") for tie in (tie_loss, squared_tie_loss)),
    ],
)
def test_a_row_with_a_hole_is_unscored_and_sends_no_gradient(hole, tie):
    rows = dict(zip(["chosen", "rejected", "margin"], draw(3, 4), strict=True))
    rows |= dict(zip(["weight", "soft_label"], draw(2, 4, seed=1).sigmoid(), strict=True))
    rest = {name: value[1:].clone() for name, value in rows.items()}
    rows[hole][0] = NAN
    for given in (rows, rest):
        given["chosen"].requires_grad_()
    losses = whole(**rows, tie=tie)
    assert losses.isnan().tolist() == [True, False, False, False]
    losses.nanmean().backward()
    whole(**rest, tie=tie).mean().backward()
    assert rows["chosen"].grad[0] == 0.0
    assert_close(rows["chosen"].grad[1:], rest["chosen"].grad)


def test_infinite_scores_give_the_limit_and_a_finite_gradient():
    chosen = column(INF, -INF, INF, -INF, 0.0).requires_grad_()
    losses = bt_loss(chosen, torch.zeros(5, dtype=torch.float64), soft_label=0.0)
    losses = weighted_loss(losses, column(1, 1, 0, 0, 0))
    assert losses.tolist() == [0.0, INF, 0.0, 0.0, 0.0]
    losses.sum().backward()
    assert chosen.grad.tolist() == [0.0, -1.0, 0.0, 0.0, 0.0]
    assert bt_loss(column(INF), column(0.0), soft_label=0.25).item() == INF
    for loss in (bt_loss, tie_loss, squared_tie_loss, centering_loss):
        assert loss(column(INF), column(INF)).isnan().all()


@pytest.mark.parametrize("scale", [1e4, 1e30])
@pytest.mark.parametrize("loss", [lambda a, b: bt_loss(a, b, margin=1.0, soft_label=0.2), tie_loss])
def test_extreme_scores_give_finite_losses_and_gradients(scale, loss):
    scores = [row.clone().requires_grad_() for row in draw(2, 6, scale=scale)]
    losses = loss(*scores)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert all(row.grad.isfinite().all() for row in scores)


def test_half_precision_stays_half_precision():
    chosen, rejected = draw(2, 6).half()
    losses = whole(chosen, rejected, torch.ones(6), torch.full((6,), 2.0), 0.1)
    assert losses.dtype == torch.float16
    expected = whole(chosen.double(), rejected.double(), 1.0, 2.0, 0.1)
    assert_close(losses.double(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: bt_loss(x, x[:1]), "bt_loss: arguments must share one shape"),
        (lambda x: bt_loss(x, x, margin=torch.zeros(3)), "bt_loss: arguments must share one shape"),
        (lambda x: bt_loss(x, x, soft_label=column(0.0, 1.5)), r"bt_loss: soft_label holds 1.5, outside \[0.0, 1.0\]"),
        (lambda x: tie_loss(x, x[:1]), "tie_loss: arguments must share one shape"),
        (lambda x: squared_tie_loss(x, x[:1]), "squared_tie_loss: arguments must share one shape"),
        (lambda x: weighted_loss(x, torch.zeros(3)), "weighted_loss: arguments must share one shape"),
        (
            lambda x: weighted_loss(x, -1.0),
            r"weighted_loss: weight holds -1.0, outside \[0.0, inf\]. Pass values in that range",
        ),
        (lambda x: centering_loss(x, x[:1]), "centering_loss: arguments must share one shape"),
        (lambda x: centering_loss(x, x, coef=-1.0), r"centering_loss: coef is -1.0, outside \[0.0, inf\]"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2))


def test_normalized_weights_have_mean_one_and_keep_what_is_missing():
    weight = column(1.0, NAN, 3.0, 0.0)
    normal = normalized_weights(weight)
    assert normal.isnan().tolist() == [False, True, False, False]
    assert_close(normal[[0, 2, 3]], column(0.75, 2.25, 0.0))
    assert normalized_weights(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    rows = torch.stack([weight, 3 * weight])
    assert_close(normalized_weights(rows), torch.stack([normal, normal]), equal_nan=True)


def test_a_rating_costs_its_mean_square_over_what_was_rated():
    scores, ratings = draw(2, 4, 5).unbind()
    ratings[0, 1], ratings[2], scores[3, 0] = NAN, NAN, NAN
    mask = draw(4, 5, seed=3) > -1
    expected = []
    for i in range(4):
        errors = [(scores[i, a] - ratings[i, a]).item() ** 2 for a in range(5) if mask[i, a]]
        errors = [error for error in errors if not math.isnan(error)]
        expected.append(np.mean(errors) if errors else NAN)
    assert_close(rating_loss(scores, ratings, mask=mask), column(*expected), equal_nan=True)


def test_an_unrated_attribute_sends_no_gradient():
    scores = draw(2, 3).requires_grad_()
    ratings = torch.tensor([[1.0, NAN, 2.0], [NAN, NAN, NAN]], dtype=torch.float64)
    rating_loss(scores, ratings).nansum().backward()
    assert (scores.grad != 0).tolist() == [[True, False, True], [False, False, False]]
    assert gradcheck(lambda s: rating_loss(s, torch.zeros_like(s)), [draw(3, 2).requires_grad_()])
    with pytest.raises(ValueError, match=r"rating_loss: scores must have shape \(any, any\)"):
        rating_loss(scores[0], ratings[0])


def test_binned_ratings_are_cross_entropies_shared_between_neighbours():
    logits = draw(6, 3, 5)
    ratings = torch.tensor([[0.0, 4.0, 2.5], [3.25, NAN, 1.0], [NAN, NAN, NAN]] * 2, dtype=torch.float64)
    mask = torch.tensor([[True, True, True]] * 3 + [[True, False, True]] * 3)
    expected = []
    for i in range(6):
        each = []
        for a in range(3):
            rating = float(ratings[i, a])
            if mask[i, a] and not math.isnan(rating):
                p = softmax(logits[i, a].numpy())
                share = rating % 1
                upper = math.log(p[math.ceil(rating)])
                each.append(-(1 - share) * math.log(p[int(rating)]) - share * upper)
        expected.append(np.mean(each) if each else NAN)
    losses = binned_rating_loss(logits, ratings, mask=mask)
    assert_close(losses, column(*expected), equal_nan=True)
    whole = torch.tensor([[0.0, 2.0, 4.0]] * 6, dtype=torch.float64)
    torch_own = torch.nn.functional.cross_entropy(logits.flatten(0, 1), whole.long().flatten(), reduction="none")
    assert_close(binned_rating_loss(logits, whole), torch_own.view(6, 3).mean(dim=1))


def test_a_rating_without_a_bin_is_refused_and_holes_send_no_gradient():
    logits = draw(2, 1, 5).requires_grad_()
    binned_rating_loss(logits, column(3.0, NAN)[:, None]).nansum().backward()
    assert (logits.grad != 0).any(dim=-1).flatten().tolist() == [True, False]
    assert logits.grad.isfinite().all()
    with pytest.raises(ValueError, match=r"binned_rating_loss: ratings run from 0 to 5, but 5 bins are 0 to 4. Shift"):
        binned_rating_loss(logits, column(5.0, 0.0)[:, None])
    with pytest.raises(ValueError, match=r"binned_rating_loss: logits must have shape \(any, any, any\)"):
        binned_rating_loss(logits[..., 0], column(1.0, 1.0)[:, None])


def test_the_spread_is_a_mean_over_pairs_of_scored_answers():
    scores = draw(4, 5)
    scores[1, 2], scores[2, 1:], scores[3] = NAN, NAN, NAN
    expected = []
    for row in scores.tolist():
        kept = [score for score in row if not math.isnan(score)]
        pairs = [-float(log_sigmoid(abs(a - b))) for i, a in enumerate(kept) for b in kept[:i]]
        expected.append(np.mean(pairs) if pairs else NAN)
    assert_close(spread_regularizer(scores), column(*expected), equal_nan=True)


def test_the_spread_falls_as_scores_part_and_ties_have_no_gradient():
    assert gradcheck(spread_regularizer, [draw(3, 4).requires_grad_()])
    assert (spread_regularizer(2 * draw(3, 4)) < spread_regularizer(draw(3, 4))).all()
    tied = torch.zeros(1, 4, requires_grad=True)
    spread_regularizer(tied).sum().backward()
    assert tied.grad.tolist() == [[0.0] * 4]
    with pytest.raises(ValueError, match=r"spread_regularizer: scores must have shape \(any, any\), got \(4,\)"):
        spread_regularizer(torch.zeros(4))


def test_simcse_is_cross_entropy_over_cosines():
    first, second = draw(2, 5, 3).unbind()
    first[3, 0] = NAN
    kept = [0, 1, 2, 4]
    a, b = (x.numpy()[kept] for x in (first, second))
    cosine = np.array([[u @ v / np.sqrt(u @ u) / np.sqrt(v @ v) for v in b] for u in a]) / 0.1
    expected = [-math.log(math.exp(cosine[i, i]) / np.exp(cosine[i]).sum()) for i in range(4)]
    losses = simcse_loss(first, second, temperature=0.1)
    assert losses.isnan().tolist() == [False, False, False, True, False]
    assert_close(losses[kept], column(*expected))
    first = first.requires_grad_()
    simcse_loss(first, second).nansum().backward()
    assert first.grad.isfinite().all()
    assert first.grad[3].tolist() == [0.0] * 3


def test_simcse_limits_and_refusals():
    assert gradcheck(lambda a, b: simcse_loss(a, b, temperature=0.5), list(draw(2, 4, 3).requires_grad_().unbind()))
    assert simcse_loss(draw(1, 3), draw(1, 3)).item() == 0.0
    same = torch.ones(4, 3, dtype=torch.float64)
    assert_close(simcse_loss(same, same), torch.full((4,), math.log(4), dtype=torch.float64))
    with pytest.raises(ValueError, match=r"simcse_loss: temperature is 0.0, outside"):
        simcse_loss(same, same, temperature=0.0)
    with pytest.raises(ValueError, match="simcse_loss: arguments must share one shape"):
        simcse_loss(same, same[:2])


def test_a_sampled_preference_is_the_squared_error_of_a_sampled_difference():
    chosen, rejected, noise = draw(3, 6)
    chosen_std, rejected_std = draw(2, 6, seed=1).exp()
    gap = chosen - rejected + (chosen_std**2 + rejected_std**2) ** 0.5 * noise
    expected = (1 - 1 / (1 + torch.exp(-gap))) ** 2
    losses = sampled_preference_loss(chosen, rejected, chosen_std, rejected_std, noise)
    assert_close(losses, expected)
    # what two independent samples would give, by their expectation over many
    draws = draw(2, 200_000, seed=3, scale=1.0)
    two = (0.4 + 0.7 * draws[0]) - (-0.1 + 1.1 * draws[1])
    mean = torch.sigmoid(-two).square().mean()
    column_of = lambda value: torch.full((200_000,), value, dtype=torch.float64)  # noqa: E731
    ours = sampled_preference_loss(*map(column_of, (0.4, -0.1, 0.7, 1.1)), draw(200_000, seed=4, scale=1.0)).mean()
    assert_close(ours, mean, rtol=0, atol=0.005)
    arguments = [x.clone().requires_grad_() for x in (chosen, rejected, chosen_std, rejected_std)]
    assert gradcheck(lambda *a: sampled_preference_loss(*a, noise), arguments)
    with pytest.raises(ValueError, match="sampled_preference_loss: arguments must share one shape"):
        sampled_preference_loss(chosen, rejected, chosen_std, rejected_std, noise[:2])


def test_thurstone_is_the_normal_tail_of_scipy():
    chosen, rejected = draw(2, 6, scale=4.0)
    chosen_std, rejected_std = draw(2, 6, seed=1).exp()
    expected = -norm.logcdf(chosen - rejected, scale=np.sqrt(chosen_std.numpy() ** 2 + rejected_std.numpy() ** 2))
    assert_close(thurstone_loss(chosen, rejected, chosen_std, rejected_std), torch.from_numpy(expected))
    arguments = [row.clone().requires_grad_() for row in (chosen, rejected, chosen_std, rejected_std)]
    assert gradcheck(thurstone_loss, arguments)


def test_thurstone_keeps_holes_scales_freely_and_refuses_a_std_of_zero():
    chosen, rejected = draw(2, 4)
    std = torch.ones(4, dtype=torch.float64)
    plain = thurstone_loss(chosen, rejected, std, std)
    assert_close(thurstone_loss(3 * chosen, 3 * rejected, 3 * std, 3 * std), plain)
    holed = chosen.clone()
    holed[0] = NAN
    holed.requires_grad_()
    losses = thurstone_loss(holed, rejected, std, std)
    losses.nansum().backward()
    assert losses.isnan().tolist() == [True, False, False, False]
    assert holed.grad[0] == 0.0
    far = thurstone_loss(column(-1e4), column(0.0), column(1.0), column(1.0))
    assert far.isfinite().all()
    with pytest.raises(ValueError, match=r"thurstone_loss: a std is 0.0, which is not above 0. Pass softplus"):
        thurstone_loss(chosen, rejected, std, 0 * std)
