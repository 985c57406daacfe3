import itertools
import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.transforms import add_outcome, chain, clip_steps, delta_steps, gated_step_sum, renorm
from rewardsmith.transforms.steps import gate_by_outcome

NAN, INF = math.nan, math.inf
MODES = {
    "sum": add_outcome,
    "broadcast": partial(renorm, center=(0.0, 0.0)),
    "renorm": renorm,
    "gate": gate_by_outcome,
}
OPTIONS = {
    "sum": ({}, {"weight": 0.3}),
    "broadcast": ({}, {"weight": 0.3}),
    "renorm": ({}, {"weight": 0.3}, {"center": (0.25, 0.75)}),
    "gate": ({}, {"weight": 0.3}, {"threshold": 1.0}, {"threshold": 1.0, "strict": False}),
}


def chains(*, rows=40, steps=7, holes=True, seed=0, dtype=torch.float64):
    """Scores in [0, 1] with unscored steps, infinities, rows without a step and rows of one step."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(rows, steps, generator=generator, dtype=torch.float64)
    mask = torch.arange(steps) < torch.randint(steps + 1, (rows, 1), generator=generator)
    if holes:
        mask &= torch.rand(rows, steps, generator=generator) < 0.8
    odd = torch.randint(12, (rows, steps), generator=generator)
    scores[odd == 0], scores[odd == 1], scores[odd == 2] = NAN, INF, -INF
    mask[0], mask[1] = False, torch.arange(steps) == 0
    scores[2] = NAN
    scores[~mask & (odd > 6)] = NAN  # what lies outside the mask may be anything
    outcomes = torch.randint(2, (rows,), generator=generator).double()
    outcomes[3] = NAN
    return scores.to(dtype), mask, outcomes.to(dtype)


def real(row_scores, row_mask):
    """Positions of the row's steps, and of its scored steps."""
    steps = [k for k, there in enumerate(row_mask.tolist()) if there]
    return steps, [k for k in steps if math.isfinite(row_scores[k])]


def delta_by_loop(scores, mask, terminal):
    out = torch.full(scores.shape, NAN, dtype=torch.float64)
    for i in range(len(scores)):
        s = scores[i].tolist()
        steps, scored = real(s, mask[i])
        for k in steps:
            out[i, k] = s[k]
        chain = [k for k in scored if k != steps[-1]] if terminal == "drop" else scored
        for here, following in itertools.pairwise(chain):
            out[i, here] = s[here] - s[following]
        if terminal == "drop" and steps and steps[-1] in scored:
            out[i, steps[-1]] = 0.0
    return out


def combine_by_loop(scores, outcomes, mask, mode, *, weight=1.0, center=(0.5, 0.5), threshold=0.0, strict=True):
    out = torch.full(scores.shape, NAN, dtype=torch.float64)
    for i in range(len(scores)):
        s, r = scores[i].tolist(), float(outcomes[i])
        steps, scored = real(s, mask[i])
        open_gate = r > threshold or (not strict and r == threshold)
        for k in steps:
            if math.isnan(r):
                continue
            process = weight * s[k]
            if math.isinf(s[k]):
                out[i, k] = s[k]
                continue
            if not scored and k == steps[-1]:  # nobody scored a step: the outcome alone
                out[i, k] = r - center[1] if mode == "renorm" else r
                continue
            at_end = r if scored and k == scored[-1] else 0.0
            out[i, k] = {
                "sum": process + at_end,
                "broadcast": process + r,
                "renorm": weight * (s[k] - center[0]) + (r - center[1]),
                "gate": process * open_gate + at_end,
            }[mode]
    return out


@pytest.mark.parametrize("holes", [False, True])
def test_clip_punishes_below_the_threshold_and_pays_nothing_above(holes):
    scores, mask, _ = chains(holes=holes)
    wanted = torch.full_like(scores, NAN)
    for i, k in mask.nonzero().tolist():
        wanted[i, k] = NAN if scores[i, k].isnan() else min(float(scores[i, k]) - 0.4, 0.0)
    assert_close(clip_steps(scores, mask, threshold=0.4), wanted, equal_nan=True)


@pytest.mark.parametrize("terminal", ["keep", "drop"])
@pytest.mark.parametrize("holes", [False, True])
def test_delta_is_the_slow_loop(terminal, holes):
    scores, mask, _ = chains(holes=holes)
    assert_close(delta_steps(scores, mask, terminal=terminal), delta_by_loop(scores, mask, terminal), equal_nan=True)


def test_what_is_to_come_under_delta_is_the_score_of_each_scored_step():
    scores, mask, _ = chains(seed=1)
    deltas = delta_steps(scores, mask)
    scored = mask & scores.isfinite()
    to_come = torch.where(scored, deltas, 0).flip(1).cumsum(1).flip(1)
    assert_close(to_come[scored], scores[scored])


@pytest.mark.parametrize(
    ("terminal", "length", "wanted"),
    [
        ("drop", 1, [0.0]),  # the only step is the last one, which success covers
        ("drop", 2, [0.5, 0.0]),
        ("drop", 3, [-0.25, 0.75, 0.0]),
        ("keep", 1, [0.5]),
        ("keep", 2, [-0.25, 0.75]),
    ],
)
def test_delta_of_short_chains(terminal, length, wanted):
    scores = torch.tensor([[0.5, 0.75, 1.0]])[:, :length]
    assert delta_steps(scores, torch.ones_like(scores).bool(), terminal=terminal).tolist() == [wanted]


def test_an_unscored_step_takes_nothing_from_the_telescope():
    scores, mask = torch.tensor([[0.5, NAN, 0.25, NAN]]), torch.ones(1, 4).bool()
    assert_close(delta_steps(scores, mask), torch.tensor([[0.25, NAN, 0.25, NAN]]), equal_nan=True)
    dropped = delta_steps(scores, mask, terminal="drop")  # the last step is the unscored one: nothing else is dropped
    assert_close(dropped, torch.tensor([[0.25, NAN, 0.25, NAN]]), equal_nan=True)


def test_clip_then_delta_returns_the_clipped_score():
    scores, mask = torch.tensor([[0.5, 0.25, 1.0]]), torch.ones(1, 3).bool()
    both = chain(partial(clip_steps, threshold=0.75), delta_steps)
    to_come = both(scores, step_mask=mask).flip(1).cumsum(1).flip(1)
    assert to_come.tolist() == [[-0.25, -0.5, 0.0]]


@pytest.mark.parametrize(("mode", "options"), [(mode, options) for mode in MODES for options in OPTIONS[mode]])
def test_combinations_are_the_slow_loop(mode, options):
    scores, mask, outcomes = chains(seed=2)
    got = MODES[mode](scores, outcomes, mask, **options)
    assert_close(got, combine_by_loop(scores, outcomes, mask, mode, **options), equal_nan=True)


@pytest.mark.parametrize(("mode", "at_end"), [("sum", 1.0), ("broadcast", 1.0), ("renorm", 0.5), ("gate", 1.0)])
def test_a_row_whose_steps_nobody_scored_keeps_its_outcome_on_the_last_one(mode, at_end):
    scores = torch.full((1, 4), NAN)
    mask = torch.tensor([[True, True, True, False]])
    wanted = torch.tensor([[NAN, NAN, at_end, NAN]])
    for weight in (0.0, 1.0):
        got = MODES[mode](scores, torch.ones(1), mask, weight=weight)
        assert_close(got, wanted, equal_nan=True)
    assert MODES[mode](scores, torch.tensor([NAN]), mask).isnan().all()
    if mode == "renorm":
        for options in ({}, {"per_step_mean": True}, {"final": "outcome"}):
            assert_close(renorm(scores, torch.ones(1), mask, **options), wanted, equal_nan=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_an_infinite_step_stays_infinite_whatever_the_gate_and_the_weight(mode, weight, outcome):
    scores, mask = torch.tensor([[INF, -INF, 0.5]]), torch.ones(1, 3).bool()
    got = MODES[mode](scores, torch.tensor([outcome]), mask, weight=weight)
    assert got[0, :2].tolist() == [INF, -INF]
    assert got[0, 2].isfinite()


def test_renorm_never_rewards_a_failure_nor_punishes_a_success():
    scores, mask, outcomes = chains(seed=4)
    centered = renorm(scores, outcomes, mask)
    scored = mask & scores.isfinite()
    assert bool((centered[scored & (outcomes == 0)[:, None]] <= 0).all())
    assert bool((centered[scored & (outcomes == 1)[:, None]] >= 0).all())


def test_renorm_divided_by_the_steps_sums_to_their_mean():
    scores, mask, outcomes = chains(seed=5)
    whole, shared = (renorm(scores, outcomes, mask, per_step_mean=each) for each in (False, True))
    for i in range(len(scores)):
        _, scored = real(scores[i].tolist(), mask[i])
        if scored:
            assert_close(shared[i, scored].sum(), whole[i, scored].mean(), equal_nan=True)


def test_renorm_can_leave_the_answer_to_the_outcome_alone():
    scores, mask, outcomes = chains(seed=6)
    whole, final = renorm(scores, outcomes, mask), renorm(scores, outcomes, mask, final="outcome")
    for i in range(len(scores)):
        _, scored = real(scores[i].tolist(), mask[i])
        wanted = whole[i].clone()  # of a row without a scored step the last one has r − c already
        if scored:
            wanted[scored[-1]] = outcomes[i] - 0.5
        assert_close(final[i], wanted, equal_nan=True)


def test_the_gate_agrees_with_the_gate_of_several_levels():
    scores, mask, outcomes = chains(seed=7)
    scores = scores.nan_to_num(0.5, 0.5, 0.5)  # unscored steps: there the outcome goes to different steps
    levels = gated_step_sum([scores, outcomes], mask, thresholds=[0.0, 0.0])
    assert_close(gate_by_outcome(scores, outcomes, mask), levels.step_rewards, equal_nan=True)


@pytest.mark.parametrize(
    "function",
    [
        partial(clip_steps, threshold=0.4),
        delta_steps,
        partial(delta_steps, terminal="drop"),
        *[lambda s, m, combine=combine: combine(s, torch.ones(len(s)), m) for combine in MODES.values()],
        lambda s, m: renorm(s, torch.ones(len(s)), m, per_step_mean=True, final="outcome"),
    ],
)
def test_gradients_and_empty_batches(function):
    scores, mask = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.ones(3, 4)
    mask[1, 2:], mask[2, 0] = 0, 0
    scores[0, 1] = NAN
    known = scores.isfinite() & mask.bool()
    values = scores[known].requires_grad_()
    assert torch.autograd.gradcheck(lambda v: function(scores.masked_scatter(known, v), mask)[known], values)
    for shape in ((0, 3), (3, 0), (0, 0)):
        assert function(torch.ones(shape), torch.ones(shape)).shape == shape


@pytest.mark.slow
def test_the_outcome_gets_a_gradient():
    scores, mask, _ = chains(seed=8)
    scores, mask = scores[4:].nan_to_num(0.5, 0.5, 0.5), mask[4:]
    outcomes = torch.rand(len(scores), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for combine in MODES.values():
        assert torch.autograd.gradcheck(lambda r, combine=combine: combine(scores, r, mask)[mask], outcomes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, m: delta_steps(s, m, terminal="cut"), "delta_steps: terminal is 'cut'.*'keep', 'drop'"),
        (lambda s, m: renorm(s, s[:, 0], m, final="answer"), "renorm: final is 'answer'"),
        (lambda s, m: add_outcome(s, s[:, 0], m, weight=-1.0), "add_outcome: weight is -1.0"),
        (lambda s, m: gate_by_outcome(s, s[:, 0], m, weight=-1.0), "gate_by_outcome: weight is -1.0"),
        (lambda s, m: renorm(s, s[:, 0], m, weight=-1.0), "renorm: weight is -1.0"),
        (lambda s, m: add_outcome(s, s[0, :1], m), r"add_outcome: rewards must have shape \(2\), got \(1,\)"),
        (lambda s, m: gate_by_outcome(s, s[0, :1], m), r"gate_by_outcome: rewards must have shape \(2\), got \(1,"),
        (lambda s, m: renorm(s, s[0, :1], m), r"renorm: rewards must have shape \(2\), got \(1,\)"),
        (lambda s, m: clip_steps(s, m[:, :2], threshold=0.0), r"clip_steps: arguments must share one shape"),
        (lambda s, m: clip_steps(s[0], m[0], threshold=0.0), r"clip_steps: step_rewards must have shape \(any, any\)"),
        (lambda s, m: clip_steps(s, m, threshold=NAN), "clip_steps: threshold is nan"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3), torch.ones(2, 3).bool())
