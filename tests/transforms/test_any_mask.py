"""A mask is a mask in any dtype: whatever takes one gives the same for bool, integers and floats."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith import advantages, objectives, transforms
from rewardsmith.advantages import steps, tokens

GENERATOR = torch.Generator().manual_seed(0)
STEPS, OTHERS = (torch.rand(4, 3, generator=GENERATOR) for _ in range(2))
OUTCOMES = torch.tensor([1.0, 0.0, 1.0, 0.0])
STEP_MASK = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
TOKEN_MASK = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
ENDS = torch.tensor([[0, 2, 4], [1, 3, 0], [2, 0, 0], [0, 0, 0]])
LOGITS = torch.rand(4, 6, 5, generator=GENERATOR)
IDS = torch.randint(5, (4, 6), generator=GENERATOR)
NOT_FIRST = (torch.arange(6) > 0).to(torch.uint8)  # no logits speak of a first token

CALLS = {
    "clip_steps": lambda s, t: transforms.clip_steps(STEPS, s, threshold=0.5),
    "delta_steps": lambda s, t: transforms.delta_steps(STEPS, s),
    "renorm": lambda s, t: transforms.renorm(STEPS, OUTCOMES, s, per_step_mean=True, final="outcome"),
    "add_outcome": lambda s, t: transforms.add_outcome(STEPS, OUTCOMES, s),
    "gate_by_outcome": lambda s, t: transforms.steps.gate_by_outcome(STEPS, OUTCOMES, s),
    **{
        f"gated_step_sum-{reduce}": partial(
            lambda s, t, reduce, cap: (
                transforms.gated_step_sum(
                    [STEPS, OTHERS, OUTCOMES], s, thresholds=[0.0, 0.5, 0.0], reduce=reduce, cap=cap
                ).step_rewards
            ),
            reduce=reduce,
            cap=cap,
        )
        for reduce, cap in (("sum", None), ("mean", None), ("cap", 1.0))
    },
    "gate": lambda s, t: transforms.gate(STEPS, condition=s),
    "step_returns": lambda s, t: advantages.step_returns(STEPS, s),
    "min_returns": lambda s, t: advantages.min_returns(STEPS, s),
    "max_returns": lambda s, t: steps.max_returns(STEPS, s),
    "mean_returns": lambda s, t: advantages.steps.mean_returns(STEPS, s),
    "softmin_returns": lambda s, t: advantages.softmin_returns(STEPS, s),
    "min_form_weights": lambda s, t: advantages.steps.min_form_weights(STEPS, s),
    "token_leave_one_out": lambda s, t: advantages.steps.token_leave_one_out(STEPS, s, 1 + ENDS, group_size=2),
    "step_credit": lambda s, t: advantages.step_credit(
        OUTCOMES, step_rewards=STEPS, step_mask=s, step_ends=ENDS, completion_mask=t, group_size=2
    ),
    "scatter_steps": lambda s, t: tokens.scatter_steps(STEPS, ENDS, s, n_tokens=6),
    "step_lengths": lambda s, t: tokens.step_lengths(ENDS, s, t),
    "sequence_logps": lambda s, t: objectives.sequence_logps(LOGITS, IDS, t * NOT_FIRST.to(t.dtype)),
    "rating_loss": lambda s, t: objectives.rating_loss(STEPS, OTHERS, mask=s),
    "binned_rating_loss": lambda s, t: objectives.binned_rating_loss(torch.stack([STEPS] * 3, -1), 0 * OTHERS, mask=s),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", CALLS)
def test_a_mask_may_have_any_dtype(name, dtype):
    wanted = CALLS[name](STEP_MASK.bool(), TOKEN_MASK.bool())
    assert_close(CALLS[name](STEP_MASK.to(dtype), TOKEN_MASK.to(dtype)), wanted, equal_nan=True)
