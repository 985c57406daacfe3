"""Corrected labels against a loop over ranks, and the loss that they are made for."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rewardsmith.data import PreferenceRow, relabel, relabel_rows
from rewardsmith.objectives import bt_loss


def slow(mean, *, flip, smooth, soft, smooth_top, margin_scale, drop):
    """(flipped, soft_label, margin, weight) of each pair, from the definition."""
    judged = [m for m in mean if not math.isnan(m)]
    q = [sum(other <= m for other in judged) / len(judged) for m in mean]
    flips = [not math.isnan(m) and (m < 0 if flip == "sign" else r <= flip) for m, r in zip(mean, q, strict=True)]
    turned = sum(flips) / len(mean)
    rows = []
    for m, r, flipped in zip(mean, q, flips, strict=True):
        if math.isnan(m):
            rows.append((False, 0.0, 0.0, 1.0))
            continue
        doubtful = smooth[0] < r <= smooth[1] or r > 1 - smooth_top
        dropped = turned < r <= turned + drop and not flipped
        margin = margin_scale * max(-m if flipped else m, 0.0)
        rows.append((flipped, soft if doubtful else 0.0, margin, 0.0 if dropped else 1.0))
    return rows


@pytest.mark.parametrize("flip", [0.0, 0.2, 0.55, "sign"])
@pytest.mark.parametrize("drop", [0.0, 0.25])
def test_labels_are_corrected_by_rank(flip, drop):
    mean = np.random.default_rng(0).normal(0.3, 1.0, 40).round(1).tolist()  # rounded, so that there are ties
    options = {"flip": flip, "smooth": (0.2, 0.45), "soft": 0.3, "smooth_top": 0.1, "margin_scale": 0.5, "drop": drop}
    made = list(zip(*map(np.ndarray.tolist, relabel(mean, **options)), strict=True))
    assert made == slow(mean, **options)


def test_an_unjudged_pair_keeps_its_label():
    mean = [math.nan, -1.0, 2.0, 3.0, 4.0]
    made = relabel(mean, flip=0.25, smooth=None, margin_scale=1.0)
    assert made.label_flipped.tolist() == [False, True, False, False, False]
    assert made.margin.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert made.weight.tolist() == [1.0] * 5
    assert [column.tolist() for column in relabel([])] == [[], [], [], []]


@pytest.mark.parametrize("flip", [0.2, "sign"])
def test_strengths_that_tell_nothing_apart_do_nothing(flip):
    made = relabel([0.0] * 10, flip=flip, drop=0.2, margin_scale=1.0)
    assert not made.label_flipped.any()
    assert (made.weight == 1.0).all()
    assert (made.margin == 0.0).all()
    assert (made.soft_label == 0.0).all()


def test_the_weakest_can_be_left_out_in_place_of_turned():
    made = relabel(np.arange(10.0), flip=0.0, smooth=None, drop=0.3)
    assert made.weight.tolist() == [0.0] * 3 + [1.0] * 7


def rows():
    return [
        PreferenceRow("p", "good", "bad", ratings={"help": (4.0, 1.0)}, columns={"note": 1}),
        PreferenceRow("q", "a", "b", weight=2.0),
        PreferenceRow("r", "x", "y", is_tie=True),
        PreferenceRow("s", "m", "n"),
    ]


def test_rows_are_swapped_and_carry_the_columns_of_the_loss():
    made = relabel([-1.0, 0.5, -2.0, 2.0], flip=0.5, smooth=None, margin_scale=2.0, drop=0.25)
    first, second, tied, last = relabel_rows(rows(), made)
    assert (first.chosen, first.rejected, first.ratings) == ("bad", "good", {"help": (1.0, 4.0)})
    assert (first.margin, first.soft_label, first.weight) == (2.0, 0.0, 1.0)
    assert first.columns == {"note": 1, "label_flipped": True}
    assert (second.chosen, second.weight, second.columns) == ("a", 0.0, {"label_flipped": False})
    assert (tied.chosen, tied.margin, tied.soft_label, tied.columns) == ("x", None, None, {"label_flipped": False})
    assert (last.margin, last.weight) == (4.0, 1.0)
    assert rows()[1].weight == 2.0


def test_swapping_a_row_is_a_soft_label_of_one_and_a_margin_against_it():
    chosen, rejected = torch.randn(2, 4, dtype=torch.float64)
    made = relabel([-1.0, 0.5, -2.0, 2.0], flip=0.5, smooth=None, margin_scale=2.0)
    flipped, soft, margin = (torch.from_numpy(column) for column in made[:3])
    up, down = torch.where(flipped, rejected, chosen), torch.where(flipped, chosen, rejected)
    swapped = bt_loss(up, down, soft_label=soft, margin=margin)
    unswapped = bt_loss(
        chosen, rejected, soft_label=torch.where(flipped, 1 - soft, soft), margin=torch.where(flipped, -margin, margin)
    )
    assert_close(swapped, unswapped)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.2}, r"relabel: flip is 1.2, outside \[0.0, 1.0\]"),
        ({"flip": "signs"}, "relabel: flip is 'signs'. Pass a share of the pairs, or 'sign'"),
        ({"soft": -0.1}, r"relabel: soft is -0.1, outside"),
        ({"drop": 2.0}, r"relabel: drop is 2.0, outside"),
        ({"smooth_top": 2.0}, r"relabel: smooth_top is 2.0, outside"),
        ({"smooth": (0.4, 0.2)}, r"relabel: smooth\[1\] is 0.2, outside \[0.4, 1.0\]"),
        ({"margin_scale": -1.0}, r"relabel: margin_scale is -1.0, outside"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        relabel([0.0, 1.0], **options)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"relabel: strength must have shape \(any\), got \(1, 2\)"):
        relabel([[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"relabel_rows: 2 labels for 4 rows\. Give one per row"):
        relabel_rows(rows(), relabel([0.0, 1.0]))
