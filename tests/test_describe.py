"""Functions as text."""

from functools import partial

import pytest
import torch

from rewardsmith.describe import brief, describe, function_of, keywords_of, name_of


def shaped(rewards, low=0.0, high=1.0, *, by=None):
    return rewards


class Judge:
    def __call__(self, completions):
        return completions


@pytest.mark.parametrize(
    ("function", "name", "words"),
    [
        (shaped, "shaped", "shaped"),
        (Judge(), "Judge", "Judge"),
        (partial(Judge()), "Judge", "Judge()"),
        (partial(shaped, high=2.0, low=0.5), "shaped", "shaped(low=0.5, high=2)"),
        (partial(shaped, low=0.5, high=2.0), "shaped", "shaped(low=0.5, high=2)"),
        (partial(shaped, "r", by="x", other=1, another=2), "shaped", "shaped('r', by='x', another=2, other=1)"),
        (partial(shaped, by=partial(sorted, reverse=True)), "shaped", "shaped(by=sorted(reverse=True))"),
        (
            partial(shaped, by=torch.zeros(2, 3), low=torch.tensor(1)),
            "shaped",
            "shaped(low=tensor(1), by=tensor(2, 3))",
        ),
    ],
)
def test_a_function_is_its_name_and_what_is_bound_in_the_order_of_its_signature(function, name, words):
    assert (name_of(function), describe(function)) == (name, words)


@pytest.mark.parametrize("value", [0.1, 1e-05, 0.30000000000000004, 123456789.5, float("inf"), float("nan")])
def test_a_number_in_brief_is_read_back_as_it_was(value):
    assert float(brief(value)) == value or value != value  # noqa: PLR0124 - NaN
    assert len(brief(value)) <= len(repr(value))


def test_every_layer_is_looked_through_and_the_outermost_keyword_holds():
    class Layer(partial):
        """Does not flatten, as an own subclass of partial."""

    layered = Layer(Layer(shaped, low=1, high=2), low=3)
    assert function_of(layered) is shaped
    assert keywords_of(layered) == {"low": 3, "high": 2}
    assert describe(layered) == "shaped(low=3, high=2)"
