"""Averages and extrapolations of state dicts against linear models, whose outputs are linear in the weights."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rewardsmith.rewards import average, extrapolate


def linear(seed):
    torch.manual_seed(seed)
    return nn.Linear(3, 2).double()


def output(state, x):
    model = nn.Linear(3, 2).double()
    model.load_state_dict(state)
    return model(x)


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 2.0])
def test_a_linear_model_extrapolates_as_its_outputs_do(alpha):
    strong, weak, x = linear(0), linear(1), torch.randn(4, 3, dtype=torch.float64)
    mixed = output(extrapolate(strong.state_dict(), weak.state_dict(), alpha), x)
    assert_close(mixed, strong(x) + alpha * (strong(x) - weak(x)))


def test_a_linear_model_averages_as_its_outputs_do():
    models, x = [linear(seed) for seed in range(3)], torch.randn(4, 3, dtype=torch.float64)
    states = [model.state_dict() for model in models]
    assert_close(output(average(states), x), sum(model(x) for model in models) / 3)
    weighted = (models[0](x) + 3 * models[2](x)) / 4
    assert_close(output(average(states, weights=[1.0, 0.0, 3.0]), x), weighted)


def test_low_precision_is_mixed_in_float32_and_counters_are_kept():
    strong = {"w": torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "steps": torch.tensor(7)}
    weak = {"w": torch.tensor([1.0, 1.9921875], dtype=torch.bfloat16), "steps": torch.tensor(3)}
    far = extrapolate(strong, weak, 100.0)
    assert far["w"].dtype == torch.bfloat16
    assert far["w"].tolist() == [1.0, 2.78125]  # 2.78125 is exact in bfloat16; 2.0 + 100·0.0078125
    assert far["steps"].item() == 7
    far["steps"] += 1
    assert strong["steps"].item() == 7


def test_inputs_are_not_changed():
    strong, weak = linear(0).state_dict(), linear(1).state_dict()
    before = {name: value.clone() for name, value in strong.items()}
    extrapolate(strong, weak)["weight"].zero_()
    average([strong])["weight"].zero_()
    assert all(torch.equal(strong[name], value) for name, value in before.items())


def test_models_that_do_not_match_are_refused():
    state = linear(0).state_dict()
    message = r"extrapolate: bias has shape \(2,\) in the first model and None in another \(2 entries differ\)"
    with pytest.raises(ValueError, match=message):
        extrapolate(state, {"weight": torch.zeros(2, 4)})
    with pytest.raises(ValueError, match=r"average: no models given\. Give at least one state_dict"):
        average([])
    with pytest.raises(ValueError, match=r"average: weights are \[1.0\] for 2 models"):
        average([state, state], weights=[1.0])
