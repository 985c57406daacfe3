"""Traits are declared once and seen through partials."""

from functools import partial

import pytest
import torch

from rewardsmith._check import check_choice, check_groups, check_range, check_same_shape, check_shape
from rewardsmith.types import Traits, declares, traits_of


@declares(lambda **options: Traits("row", affine=options.get("link") == "identity"))
def linked(rewards, *, link="sigmoid"):
    return rewards


def test_traits_may_depend_on_the_options_that_partial_binds():
    assert traits_of(partial(linked, link="identity")).affine
    assert not traits_of(linked).affine
    assert traits_of(partial(partial(linked, link="sigmoid"), link="identity")).affine  # the outer binding wins


def test_a_transform_without_traits_is_refused():
    with pytest.raises(TypeError, match=r"traits_of: .* declares no traits.*Decorate it with @declares"):
        traits_of(len)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: check_same_shape("f", torch.zeros(2), torch.zeros(3)),
            r"f: arguments must share one shape, got \[\(2,\), \(3,\)\]",
        ),
        (lambda: check_shape("f", "x", torch.zeros(2), None, 3), r"f: x must have shape \(any, 3\), got \(2,\)"),
        (lambda: check_groups("f", 5, 2), r"f: 5 rows are not a whole number of groups of 2"),
        (lambda: check_choice("f", "mode", "c", ("a", "b")), r"f: mode is 'c', which is not one of 'a', 'b'"),
        (lambda: check_range("f", "rate", float("nan"), 0, 1), r"f: rate is nan, outside \[0, 1\]"),
    ],
)
def test_checks_say_who_got_what(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_checks_let_good_arguments_pass():
    check_same_shape("f", torch.zeros(2), torch.ones(2))
    check_shape("f", "x", torch.zeros(2, 3), None, 3)
    check_groups("f", 6, 2)
    check_choice("f", "mode", "a", ("a", "b"))
    check_range("f", "rate", 1.0, 0, 1)
