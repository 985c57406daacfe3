"""Priority gates against a slow loop over levels, thresholds and steps."""

import math
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import gated_bonus, gated_step_sum, gated_sum, weighted_sum
from rewardsmith.transforms.gates import priority_gates

NAN, INF = math.nan, math.inf


def slow_gate(levels, thresholds, strict, i):
    """1, 0, or NaN: does every level above i clear its threshold?"""
    above = range(i + 1, len(levels))
    if any(math.isnan(levels[j]) for j in above):
        return NAN
    return float(all(levels[j] > thresholds[j] or (not strict and levels[j] == thresholds[j]) for j in above))


def slow_keep(reward, gate, sign):
    return reward if gate == 1 or (sign == "positive" and reward < 0) else 0.0


def slow_sum(levels, thresholds, strict, sign):
    if any(math.isnan(level) for level in levels):
        return NAN
    gates = [slow_gate(levels, thresholds, strict, i) for i in range(len(levels))]
    return sum(slow_keep(r, g, sign) for r, g in zip(levels, gates, strict=True))


LEVELS = list(product((-1.0, 0.0, 1.0, NAN, INF), repeat=3))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("thresholds", [[0.0, 0.0, 0.0], [5.0, -1.0, 0.0], [0.0, -INF, -INF], [0.0, 1.0, INF]])
def test_gates_and_sums_match_a_slow_loop_over_every_pattern(strict, thresholds):
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    gates = [[slow_gate(row, thresholds, strict, i) for i in range(3)] for row in LEVELS]
    got = priority_gates(levels, thresholds=thresholds, strict=strict)
    assert_close(got, torch.tensor(gates, dtype=torch.float64), equal_nan=True)
    for sign in ("all", "positive"):
        expected = [slow_sum(row, thresholds, strict, sign) for row in LEVELS]
        got = gated_sum(levels, thresholds=thresholds, strict=strict, gate_sign=sign)
        assert_close(got, torch.tensor(expected, dtype=torch.float64), equal_nan=True)


def test_an_outcome_equal_to_its_threshold_is_decided_by_strict():
    levels = torch.tensor([[0.5, 0.0]])
    assert gated_sum(levels, thresholds=[0.0, 0.0]).item() == 0.0
    assert gated_sum(levels, thresholds=[0.0, 0.0], strict=False).item() == 0.5


def test_open_thresholds_give_the_plain_sum_and_shut_ones_the_outcome_alone():
    levels = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(gated_sum(levels, thresholds=[-INF] * 3), weighted_sum(levels))
    assert torch.equal(gated_sum(levels, thresholds=[INF] * 3), levels[:, 2])


def test_of_rewards_per_turn_open_thresholds_keep_all_and_shut_ones_the_outcome_alone():
    turns, mask = torch.tensor([[0.5, 0.5, 0.0], [0.5, NAN, NAN]]), torch.tensor([[True] * 3, [True, False, False]])
    for outcomes in ([-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]):
        levels = [turns, torch.tensor(outcomes)]
        kept = torch.tensor([[0.5, 0.5, outcomes[0]], [0.5 + outcomes[1], NAN, NAN]])  # the outcome on the last turn
        alone = torch.tensor([[0.0, 0.0, outcomes[0]], [outcomes[1], NAN, NAN]])
        for threshold, expected in ((-2.0, kept), (1.0, alone)):  # no outcome is below −1 or above 1
            gated = gated_step_sum(levels, mask, thresholds=[0.0, threshold])
            assert_close(gated.step_rewards, expected, equal_nan=True)


def test_a_timeout_is_not_a_reward_below_its_threshold():
    assert gated_sum(torch.tensor([[1.0, NAN]]), thresholds=[0.0, 0.0]).isnan().all()
    assert priority_gates(torch.tensor([[1.0, NAN, -1.0]]), thresholds=[0.0] * 3)[0, 0].isnan()


def slow_steps(levels, mask, thresholds, *, strict, sign, reduce, cap):
    """One row: list of L levels, each a number or a list over steps; returns what is paid at every step, and gates."""
    real = [t for t, step in enumerate(mask) if step]
    paid = []
    for level in levels:
        pays = [0.0] * len(mask)
        if not isinstance(level, list):
            if real:
                pays[real[-1]] = level
            paid.append((pays, level))
            continue
        spent = 0.0
        for t in real:
            pays[t] = level[t] / len(real) if reduce == "mean" else level[t]
            if reduce == "cap" and not math.isnan(level[t]):
                pays[t] = min(spent + level[t], cap) - min(spent, cap)
                spent += level[t]
        paid.append((pays, sum(pays)))
    totals = [total for _, total in paid]
    gates = [slow_gate(totals, thresholds, strict, i) for i in range(len(levels))]
    unknown = any(math.isnan(gate) for gate in gates)
    steps = []
    for t in range(len(mask)):
        kept = [slow_keep(pays[t], gate, sign) for (pays, _), gate in zip(paid, gates, strict=True)]
        missing = any(math.isnan(pays[t]) for pays, _ in paid)
        steps.append(NAN if unknown or missing or not mask[t] else sum(kept))
    return steps, gates


def random_levels(*, rows=40, steps=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    critic = torch.randn(rows, steps, generator=generator, dtype=torch.float64)
    milestone = torch.randn(rows, steps, generator=generator, dtype=torch.float64)
    outcome = torch.randint(-1, 2, (rows,), generator=generator).double()
    mask = torch.rand(rows, steps, generator=generator) < 0.7  # not left-aligned, and some rows have no step
    mask[:2] = False
    critic[5, 1] = milestone[6, 2] = outcome[7] = NAN
    mask[5, 1] = mask[6, 2] = True
    critic[~mask] = NAN  # the room's convention
    return [critic, milestone, outcome], mask


@pytest.mark.parametrize("sign", ["all", "positive"])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("reduce", "cap"), [("sum", None), ("mean", None), ("cap", 0.7)])
def test_gated_steps_match_a_slow_loop(sign, strict, reduce, cap):
    levels, mask = random_levels()
    thresholds = [0.0, -0.5, 0.0]
    options = {"strict": strict, "reduce": reduce, "cap": cap}
    got = gated_step_sum(levels, mask, thresholds=thresholds, gate_sign=sign, **options)
    for row in range(len(mask)):
        given = [levels[0][row].tolist(), levels[1][row].tolist(), levels[2][row].item()]
        steps, gates = slow_steps(given, mask[row].tolist(), thresholds, sign=sign, **options)
        assert_close(got.step_rewards[row], torch.tensor(steps, dtype=torch.float64), equal_nan=True)
        assert_close(got.gate_open[row], torch.tensor(gates, dtype=torch.float64), equal_nan=True)


def test_an_unscored_step_masks_itself_but_an_unknown_gate_masks_the_episode():
    mask = torch.tensor([[True, True, True]] * 2)
    critic = torch.tensor([[0.1, NAN, 0.1], [0.1, 0.1, 0.1]])
    got = gated_step_sum([critic, torch.tensor([1.0, NAN])], mask, thresholds=[0.0, 0.0])
    assert_close(got.step_rewards, torch.tensor([[0.1, NAN, 1.1], [NAN, NAN, NAN]]), equal_nan=True)
    assert_close(got.gate_open, torch.tensor([[1.0, 1.0], [NAN, 1.0]]), equal_nan=True)


def test_a_cap_pays_up_to_it_however_many_steps_there_are():
    critic = torch.full((1, 10), 0.5, dtype=torch.float64)
    got = gated_step_sum(
        [critic, torch.ones(1)], torch.ones(1, 10, dtype=torch.bool), thresholds=[0, 0], reduce="cap", cap=1.2
    )
    assert_close(got.step_rewards.sum(), torch.tensor(2.2, dtype=torch.float64))  # 1.2 of the critic, 1 of the outcome
    assert_close(got.step_rewards[0, :4], torch.tensor([0.5, 0.5, 0.2, 0.0], dtype=torch.float64))


def test_step_sums_agree_with_the_sum_over_the_episode():
    levels, mask = random_levels(rows=30, seed=3)
    whole = mask.any(dim=1) & ~torch.stack([torch.where(mask, level, 0).isnan().any(1) for level in levels[:2]]).any(0)
    whole &= ~levels[2].isnan()
    episode = torch.stack([torch.where(mask, level, 0).sum(1) for level in levels[:2]] + [levels[2]], dim=1)
    got = gated_step_sum(levels, mask, thresholds=[0.0, 0.0, 0.0]).step_rewards.nansum(dim=1)
    assert int(whole.sum()) > 20
    assert_close(got[whole], gated_sum(episode, thresholds=[0.0, 0.0, 0.0])[whole])


def test_no_steps_at_all_give_no_step_rewards_and_still_gates():
    got = gated_step_sum(
        [torch.zeros(2, 0), torch.tensor([1.0, -1.0])], torch.zeros(2, 0, dtype=torch.bool), thresholds=[0.0, 0.0]
    )
    assert got.step_rewards.shape == (2, 0)
    assert_close(got.gate_open, torch.tensor([[1.0, 1.0], [0.0, 1.0]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_it_was_given(dtype):
    levels, mask = random_levels()
    halves = [level.to(dtype) for level in levels]
    got = gated_step_sum(halves, mask, thresholds=[0.0, -0.5, 0.0])
    exact = gated_step_sum([level.double() for level in halves], mask, thresholds=[0.0, -0.5, 0.0])
    assert got.step_rewards.dtype == got.gate_open.dtype == dtype
    eps = torch.finfo(dtype).eps
    assert_close(got.step_rewards, exact.step_rewards.to(dtype), rtol=2 * eps, atol=4 * eps, equal_nan=True)


def test_infinite_steps_leave_other_rows_alone_and_inputs_are_not_mutated():
    levels, mask = random_levels()
    levels[0][10] = INF
    levels[1][11] = -INF
    before = [level.clone() for level in levels]
    got = gated_step_sum(levels, mask, thresholds=[0.0, -0.5, 0.0])
    plain, _ = random_levels()
    rest = [row for row in range(len(mask)) if row not in (10, 11)]
    expected = gated_step_sum(plain, mask, thresholds=[0.0, -0.5, 0.0])
    assert_close(got.step_rewards[rest], expected.step_rewards[rest], equal_nan=True)
    for level, kept in zip(levels, before, strict=True):
        assert_close(level, kept, equal_nan=True, rtol=0, atol=0)


MASK = torch.ones(4, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: gated_sum(s, thresholds=[0.0]), r"gated_sum: thresholds must have shape \(2\), got \(1,\)"),
        (lambda s: priority_gates(s, thresholds=[0.0, NAN]), r"priority_gates: thresholds .* hold NaN. Use -inf for"),
        (lambda s: gated_sum(s, thresholds=[0, 0], gate_sign="no"), r"gated_sum: gate_sign is 'no'"),
        (lambda s: priority_gates(s[0], thresholds=[0.0]), r"priority_gates: level_rewards must have shape"),
        (lambda s: gated_step_sum([], MASK, thresholds=[]), r"gated_step_sum: got no levels.*Pass at least one"),
        (lambda s: gated_step_sum([s], MASK, thresholds=[0], reduce="max"), r"gated_step_sum: reduce is 'max'"),
        (lambda s: gated_step_sum([s], MASK, thresholds=[0], reduce="cap"), r"cap is None for reduce='cap'. Pass a"),
        (lambda s: gated_step_sum([s], MASK, thresholds=[0], cap=1.0), r"cap is 1.0 for reduce='sum'"),
        (lambda s: gated_step_sum([s[:, :1]], MASK, thresholds=[0]), r"gated_step_sum: arguments must share one shape"),
        (lambda s: gated_step_sum([s[0]], MASK, thresholds=[0]), r"gated_step_sum: a level per episode must have"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4, 2))


def test_a_gated_bonus_pays_no_wrong_answer():
    """The official table with valid format less its 0.5: (a, b) → 0, 0.5, 1, 1.5."""
    accuracy = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, NAN, 1.0])
    bonus = torch.tensor([1.0, -1.0, -1.0, 0.0, 1.0, NAN, 1.0, NAN])
    expected = torch.tensor([0.0, 0.0, 0.5, 1.0, 1.5, 0.0, NAN, NAN])
    assert_close(gated_bonus(accuracy, bonus), expected, equal_nan=True)
    signed = torch.tensor([-1.0, -1.0, 1.0])  # the default of `verdict_reward`: neither trace of a wrong verdict gains
    assert_close(gated_bonus(signed, torch.tensor([1.0, -1.0, 1.0])), torch.tensor([-1.0, -1.0, 1.5]))
    with pytest.raises(ValueError, match=r"gated_bonus: arguments must share one shape"):
        gated_bonus(accuracy, bonus[:2])
