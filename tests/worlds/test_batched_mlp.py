"""Perceptrons side by side against one at a time, built from torch's own layers."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP, batched_linear


def models_of(seeds, n_models=3, sizes=(4, 6, 5, 1), **options):
    return BatchedMLP(sizes, lead=(len(seeds), n_models), streams=Streams(seeds), **options)


def alone(models, s, m, activation=nn.ReLU):
    """The same perceptron as an nn.Sequential."""
    layers = []
    for weight, bias in zip(models.weights, models.biases, strict=True):
        linear = nn.Linear(*weight.shape[2:], dtype=torch.float64)
        linear.weight.data, linear.bias.data = weight[s, m].detach().T.clone(), bias[s, m].detach().clone()
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def randomized(models):
    """Biases that are not 0, so that a lost bias shows."""
    for seed, value in enumerate(models.parameters()):
        value.data += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return models


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("activation", "layer"), [(torch.relu, nn.ReLU), (torch.tanh, nn.Tanh)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_models_side_by_side_score_as_each_does_alone(shared, activation, layer, outputs):
    models = randomized(models_of([0, 1], sizes=(4, 6, 5, outputs), activation=activation))
    x = torch.randn(2, 1 if shared else 3, 7, 4, dtype=torch.float64)
    scores = models(x)
    assert scores.shape == ((2, 3, 7) if outputs == 1 else (2, 3, 7, 2))
    for s in range(2):
        for m in range(3):
            expected = alone(models, s, m, layer)(x[s, 0 if shared else m])
            assert_close(scores[s, m], expected.squeeze(-1) if outputs == 1 else expected)
    assert_close(models.head(models.hidden(x)), scores)


def test_trained_side_by_side_each_ends_where_it_ends_alone():
    models = randomized(models_of([0, 1], n_models=2))
    singles = {(s, m): alone(models, s, m) for s in range(2) for m in range(2)}
    x, y = torch.randn(2, 1, 9, 4, dtype=torch.float64), torch.randn(2, 1, 9, dtype=torch.float64)
    optimizer = torch.optim.AdamW(models.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        (models(x) - y).square().mean(dim=-1).sum().backward()
        optimizer.step()
    for (s, m), single in singles.items():
        one = torch.optim.AdamW(single.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(20):
            one.zero_grad()
            (single(x[s, 0]).squeeze(-1) - y[s, 0]).square().mean().backward()
            one.step()
        assert_close(models(x)[s, m], single(x[s, 0]).squeeze(-1))


def test_a_seed_s_weights_do_not_depend_on_the_seeds_beside_it():
    both, one = models_of([3, 4]), models_of([4])
    for beside, single in zip(both.parameters(), one.parameters(), strict=True):
        assert torch.equal(beside[1:], single)


def test_weights_have_the_variance_of_one_over_the_fan_in():
    weight = models_of([0], n_models=4, sizes=(50, 50)).weights[0]
    assert abs(float(weight.detach().var()) * 50 - 1) < 4 * (2 / weight.numel()) ** 0.5
    assert models_of([0]).lead == (1, 3)


def test_taken_models_are_copies_that_train_apart():
    models = randomized(models_of([0, 1]))
    taken = models.take([2, 0, 2])
    x = torch.randn(2, 1, 5, 4, dtype=torch.float64)
    before = models(x).detach()
    assert_close(taken(x), before[:, [2, 0, 2]])
    taken.weights[0].data.zero_()
    assert_close(models(x), before)
    assert taken.lead == (2, 3)
    assert set(taken.state_dict()) == set(models.state_dict())


def test_a_linear_map_may_lack_a_bias():
    x, weight = torch.randn(1, 1, 3, 2), torch.randn(1, 2, 2, 4)
    assert_close(batched_linear(x, weight), torch.einsum("sabi,smik->smbk", x, weight))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models_of([0], sizes=(4,)), r"BatchedMLP: sizes are \(4,\). Give at least the widths"),
        (
            lambda: BatchedMLP((4, 1), lead=(3, 1), streams=Streams([0])),
            r"BatchedMLP: lead is \(3, 1\), but there are 1 streams. Make its first entry that many",
        ),
        (lambda: models_of([0])(torch.zeros(1, 1, 5, 3)), r"batched_linear: x must have shape \(1, any, any, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
