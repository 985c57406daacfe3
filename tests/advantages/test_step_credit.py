import math
from functools import partial

import pytest
import torch
from scipy.special import softmax
from torch.testing import assert_close

from rewardsmith.advantages import leave_one_out, min_returns, softmin_returns, step_credit, step_returns
from rewardsmith.advantages.steps import max_returns, mean_returns, min_form_weights, token_leave_one_out
from rewardsmith.advantages.tokens import scatter_steps, spread, step_lengths, step_of_token

NAN, INF = math.nan, math.inf
MODES = (step_returns, min_returns, softmin_returns, mean_returns, max_returns)
GROUP, TOKENS = 4, 23


def spread_steps(values, ends, mask, completion_mask):
    """(B, T) every token of a step has its step's value, tokens after the last step 0."""
    step = step_of_token("spread_steps", ends, mask, completion_mask)
    values = torch.where(values.isfinite(), values, 0)
    return spread(values, values.new_zeros(len(values)), step, completion_mask)


class Batch:
    """Step rewards with unscored steps, infinities, empty rows, a group of one scored row and a group that agrees."""

    def __init__(self, *, holes=True, seed=0, prompts=6, steps=7):
        g = torch.Generator().manual_seed(seed)
        rows = prompts * GROUP
        self.step_rewards = torch.randn(rows, steps, generator=g, dtype=torch.float64)
        self.step_mask = torch.arange(steps) < torch.randint(steps + 1, (rows, 1), generator=g)
        if holes:
            self.step_mask &= torch.rand(rows, steps, generator=g) < 0.8
        odd = torch.randint(12, (rows, steps), generator=g)
        self.step_rewards[odd == 0], self.step_rewards[odd == 1], self.step_rewards[odd == 2] = NAN, INF, -INF
        self.step_mask[0] = False
        self.step_rewards[GROUP + 1 : 2 * GROUP] = NAN  # one scored row at most
        self.step_rewards[2 * GROUP : 3 * GROUP] = 0.1  # all agree, on as many tokens
        self.step_mask[2 * GROUP : 3 * GROUP] = torch.arange(steps) < 3
        ends = torch.rand(rows, TOKENS, generator=g).argsort(dim=1)[:, :steps].sort(dim=1).values
        ends[2 * GROUP : 3 * GROUP] = torch.arange(steps)
        self.step_ends = torch.where(self.step_mask, ends, 0)
        self.completion_mask = torch.arange(TOKENS) < torch.randint(TOKENS // 2, TOKENS + 1, (rows, 1), generator=g)
        self.completion_mask[:, 4] = torch.rand(rows, generator=g) < 0.5  # a tool's token in the middle
        self.rewards = torch.randint(2, (rows,), generator=g).double()
        self.rewards[5] = NAN

    def real(self, i):
        steps = self.step_mask[i].nonzero().flatten().tolist()
        return steps, [k for k in steps if math.isfinite(self.step_rewards[i, k])]

    def tokens(self, i):
        """The tokens of each step, counted or not."""
        first, found = 0, {}
        for k in self.real(i)[0]:
            found[k] = list(range(first, int(self.step_ends[i, k]) + 1))
            first = int(self.step_ends[i, k]) + 1
        return found

    def lengths(self, i):
        return {k: sum(bool(self.completion_mask[i, t]) for t in tokens) for k, tokens in self.tokens(i).items()}

    def __len__(self):
        return len(self.rewards)


def returns_by_loop(batch, mode, *, gamma=1.0, temperature=0.1, values=None):
    values = batch.step_rewards if values is None else values
    out = torch.full(values.shape, NAN, dtype=torch.float64)
    for i in range(len(batch)):
        steps, scored = batch.real(i)
        logits = [-float(values[i, k]) / temperature for k in scored]
        weights = dict(zip(scored, softmax(logits) if scored else [], strict=True))
        for k in steps:
            later = [t for t in scored if t >= k]
            s = [float(values[i, t]) for t in later]
            if later:
                out[i, k] = {
                    step_returns: sum(gamma ** (steps.index(t) - steps.index(k)) * float(values[i, t]) for t in later),
                    min_returns: min(s),
                    max_returns: max(s),
                    mean_returns: sum(s) / len(s),
                    softmin_returns: sum(weights[t] * float(values[i, t]) for t in later),
                }[mode]
    return out


def siblings(i):
    return [j for j in range(i - i % GROUP, i - i % GROUP + GROUP) if j != i]


def baselined_by_loop(batch):
    """`token_leave_one_out`: every scored step less what siblings earn per token, times its own tokens."""
    out = torch.full(batch.step_rewards.shape, NAN, dtype=torch.float64)
    for i in range(len(batch)):
        others = [(j, k) for j in siblings(i) for k in batch.real(j)[1]]
        earned = sum(float(batch.step_rewards[j, k]) for j, k in others)
        spent = sum(batch.lengths(j)[k] for j, k in others)
        for k in batch.real(i)[0]:
            out[i, k] = batch.step_rewards[i, k]
        for k in batch.real(i)[1]:
            rate = earned / spent if spent else 0.0
            out[i, k] = batch.step_rewards[i, k] - rate * batch.lengths(i)[k] if others else 0.0
    return out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("holes", [False, True])
def test_returns_are_the_slow_loop(mode, holes):
    batch = Batch(holes=holes)
    got = mode(batch.step_rewards, batch.step_mask)
    assert_close(got, returns_by_loop(batch, mode), equal_nan=True)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("holes", [False, True])
def test_discounted_returns_are_the_slow_loop(gamma, holes):
    batch = Batch(holes=holes, seed=1)
    got = step_returns(batch.step_rewards, batch.step_mask, gamma=gamma)
    assert_close(got, returns_by_loop(batch, step_returns, gamma=gamma), equal_nan=True)


@pytest.mark.parametrize("gamma", [0.01, 0.5, 0.99])
def test_discounting_a_long_chain_does_not_underflow(gamma):
    ones = torch.ones(1, 1500)  # γ^1500 is 0 in float32 for all but the last, and the return is a geometric series
    got = step_returns(ones, ones.bool(), gamma=gamma)
    left = torch.arange(1500, 0, -1).double()
    assert_close(got.double(), ((1 - gamma**left) / (1 - gamma))[None], rtol=1e-5, atol=0)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 2.0])
def test_weights_are_a_softmax_over_the_scored_steps(temperature):
    batch = Batch(seed=2)
    weights = min_form_weights(batch.step_rewards, batch.step_mask, temperature=temperature)
    for i in range(len(batch)):
        scored = batch.real(i)[1]
        wanted = torch.zeros(weights.shape[1], dtype=torch.float64)
        if scored:
            wanted[scored] = torch.tensor(softmax((-batch.step_rewards[i, scored] / temperature).numpy()))
        assert_close(weights[i], wanted)


def test_a_cold_soft_minimum_is_the_minimum_and_a_hot_one_the_mean():
    batch = Batch(seed=3)
    first = batch.step_mask.to(torch.uint8).argmax(dim=1, keepdim=True)
    steps = batch.step_rewards, batch.step_mask
    for temperature, mode in ((1e-4, min_returns), (1e6, mean_returns)):
        soft, hard = softmin_returns(*steps, temperature=temperature), mode(*steps)
        assert_close(soft.gather(1, first), hard.gather(1, first), equal_nan=True, rtol=0, atol=1e-4)


def test_fillers_raise_a_soft_minimum_but_not_the_minimum():
    scores = torch.tensor([[0.7] + 8 * [0.8]], dtype=torch.float64)  # the case that paper 64's issue tracker discusses
    mask = torch.ones_like(scores).bool()
    soft = float(softmin_returns(scores, mask)[0, 0])
    fillers = 8 * math.exp(-1)  # relative weight of eight steps that are one temperature better
    assert soft == pytest.approx((0.7 + 0.8 * fillers) / (1 + fillers))
    assert float(min_returns(scores, mask)[0, 0]) == 0.7


@pytest.mark.parametrize("holes", [False, True])
def test_the_token_baseline_is_the_slow_loop(holes):
    batch = Batch(holes=holes, seed=4)
    lengths = step_lengths(batch.step_ends, batch.step_mask, batch.completion_mask)
    got = token_leave_one_out(batch.step_rewards, batch.step_mask, lengths, group_size=GROUP)
    wanted = baselined_by_loop(batch)
    compared = got.isfinite() | wanted.isfinite()  # ±inf stays what it was
    assert_close(got[compared], wanted[compared])
    assert bool(got[batch.step_mask & batch.step_rewards.isnan()].isnan().all())
    assert bool(got[~batch.step_mask].isnan().all())


def test_with_one_token_a_step_and_one_step_a_row_the_token_baseline_is_leave_one_out():
    rewards = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(12, 1)
    got = token_leave_one_out(rewards[:, None], ones, ones, group_size=GROUP)[:, 0]
    assert_close(got, leave_one_out(rewards, group_size=GROUP))


def test_merging_steps_does_not_change_what_a_completion_earns_above_its_baseline():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    apart = torch.tensor([[1.0, 2.0, NAN], [0.5, 0.25, 1.0]])
    merged = torch.tensor([[1.0, 2.0, NAN], [0.75, 1.0, NAN]])  # the second row's first two steps as one
    one = token_leave_one_out(apart, mask, torch.tensor([[3, 5, 0], [2, 4, 6]]), group_size=2)
    other = token_leave_one_out(
        merged, torch.tensor([[1, 1, 0], [1, 1, 0]]), torch.tensor([[3, 5, 0], [6, 6, 0]]), group_size=2
    )
    assert_close(one.nansum(dim=1), other.nansum(dim=1))


@pytest.mark.parametrize("holes", [False, True])
def test_lengths_count_the_tokens_of_each_step(holes):
    batch = Batch(holes=holes, seed=5)
    got = step_lengths(batch.step_ends, batch.step_mask, batch.completion_mask)
    for i in range(len(batch)):
        assert {k: n for k, n in enumerate(got[i].tolist()) if batch.step_mask[i, k]} == batch.lengths(i)
        assert int(got[i][~batch.step_mask[i]].sum()) == 0


@pytest.mark.parametrize("holes", [False, True])
def test_scatter_and_spread_are_the_slow_loop(holes):
    batch = Batch(holes=holes, seed=6)
    placed, spread = torch.zeros(2, len(batch), TOKENS, dtype=torch.float64)
    for i in range(len(batch)):
        for k, tokens in batch.tokens(i).items():
            value = float(batch.step_rewards[i, k])
            placed[i, tokens[-1]] = value if math.isfinite(value) else 0.0
            for t in tokens:
                spread[i, t] = value if math.isfinite(value) and batch.completion_mask[i, t] else 0.0
    steps = batch.step_rewards, batch.step_ends, batch.step_mask
    assert_close(scatter_steps(*steps, n_tokens=TOKENS), placed)
    assert_close(spread_steps(*steps, batch.completion_mask), spread)


def test_spread_copies_values_of_any_size():
    values = torch.tensor([[6e4, -6e4, 5e-8]], dtype=torch.float16)  # differences of the first two leave float16
    got = spread_steps(values, torch.tensor([[0, 2, 3]]), torch.ones(1, 3), torch.ones(1, 5))
    assert torch.equal(got, values[:, [0, 1, 1, 2, 2]] * torch.tensor([1, 1, 1, 1, 0], dtype=torch.float16))


def credit_of(batch, **options):
    return step_credit(
        options.pop("rewards", batch.rewards),
        step_rewards=options.pop("step_rewards", batch.step_rewards),
        step_mask=batch.step_mask,
        step_ends=batch.step_ends,
        completion_mask=batch.completion_mask,
        group_size=options.pop("group_size", GROUP),
        **options,
    )


def credit_by_loop(batch, mode, baseline, *, gamma=1.0, outcome_weight=0.0):
    """From the definition: first returns, then each row's baseline from its siblings' first returns, then tokens."""
    returns = returns_by_loop(batch, mode, gamma=gamma)
    as_rewards = torch.full(returns.shape, NAN, dtype=torch.float64)
    for i in range(len(batch)):
        for k, n in batch.lengths(i).items():
            as_rewards[i, k] = n
    to_go = returns_by_loop(batch, step_returns, gamma=gamma, values=as_rewards)
    outcome = leave_one_out(batch.rewards, group_size=GROUP) * outcome_weight
    out = torch.zeros(len(batch), TOKENS, dtype=torch.float64)
    for i in range(len(batch)):
        others = [(j, batch.real(j)[0][0]) for j in siblings(i) if batch.real(j)[1]]
        peers = [j for j in range(i - i % GROUP, i - i % GROUP + GROUP) if batch.real(j)[1]]
        every = [float(returns[j, k]) for j in peers for k in batch.real(j)[0] if not returns[j, k].isnan()]
        values = {}
        for k in batch.real(i)[0]:
            values[k] = 0.0
            if returns[i, k].isnan():
                continue
            if baseline == "group" and len(peers) > 1:
                values[k] = float(returns[i, k]) - sum(every) / len(every)
            if baseline == "token" and others:
                spent = sum(float(to_go[j, k0]) for j, k0 in others)
                rate = sum(float(returns[j, k0]) for j, k0 in others) / spent if spent else 0.0
                values[k] = float(returns[i, k] - rate * to_go[i, k])
        for t in range(TOKENS):
            step = [k for k, tokens in batch.tokens(i).items() if t in tokens]
            if batch.completion_mask[i, t]:
                out[i, t] = (values[step[0]] if step else 0.0) + float(outcome[i])
    return out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("baseline", ["token", "group"])
@pytest.mark.parametrize("outcome_weight", [0.0, 1.5])
def test_credit_is_the_slow_loop(mode, baseline, outcome_weight):
    for holes in (False, True):
        batch = Batch(holes=holes, seed=7)
        got = credit_of(batch, returns=mode, baseline=baseline, outcome_weight=outcome_weight)
        assert_close(got, credit_by_loop(batch, mode, baseline, outcome_weight=outcome_weight))


def test_discounted_credit_is_the_slow_loop():
    batch = Batch(seed=8)
    for baseline in ("token", "group"):
        assert_close(
            credit_of(batch, gamma=0.7, baseline=baseline), credit_by_loop(batch, step_returns, baseline, gamma=0.7)
        )


@pytest.mark.parametrize("mode", [step_returns, softmin_returns])
def test_credit_is_the_sum_of_what_the_token_baseline_leaves(mode):
    batch = Batch(seed=9)
    weights = min_form_weights(batch.step_rewards, batch.step_mask) if mode is softmin_returns else 1.0
    lengths = step_lengths(batch.step_ends, batch.step_mask, batch.completion_mask)
    paid = token_leave_one_out(batch.step_rewards * weights, batch.step_mask, lengths, group_size=GROUP)
    returns = step_returns(paid, batch.step_mask)
    wanted = spread_steps(returns, batch.step_ends, batch.step_mask, batch.completion_mask)
    assert_close(credit_of(batch, returns=mode), wanted)


@pytest.mark.parametrize("baseline", ["token", "group"])
def test_no_signal_gives_no_credit(baseline):
    batch = Batch(seed=10)
    agreeing = credit_of(batch, returns=min_returns, baseline="group")[2 * GROUP : 3 * GROUP]
    assert not bool(agreeing.any())  # exactly 0
    assert not bool(credit_of(batch, baseline=baseline)[GROUP : 2 * GROUP].any())  # one scored row
    assert not bool(credit_of(batch, baseline=baseline, group_size=1).any())
    batch.step_mask = torch.zeros_like(batch.step_mask)
    assert not bool(credit_of(batch, baseline=baseline).any())
    outcome = leave_one_out(batch.rewards, group_size=GROUP)[:, None] * batch.completion_mask
    assert_close(credit_of(batch, baseline=baseline, outcome_weight=1.0), outcome)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_gradients_pass_through_the_scored_steps(mode):
    batch = Batch(seed=11, prompts=3, steps=4)
    scored = batch.step_mask & batch.step_rewards.isfinite()
    values = (batch.step_rewards[scored] + torch.arange(int(scored.sum())) / 97).requires_grad_()  # no ties
    for gamma in (1.0, 0.8) if mode is step_returns else (1.0,):
        returns = mode if gamma == 1 else partial(mode, gamma=gamma)
        assert torch.autograd.gradcheck(
            lambda v, returns=returns: returns(batch.step_rewards.masked_scatter(scored, v), batch.step_mask)[scored],
            values,
        )
    for baseline in ("token", "group"):
        assert torch.autograd.gradcheck(
            lambda v, baseline=baseline: credit_of(
                batch, step_rewards=batch.step_rewards.masked_scatter(scored, v), returns=mode, baseline=baseline
            ),
            values,
        )


def test_unscored_and_extreme_steps_do_not_poison_a_gradient():
    batch = Batch(seed=12)
    rewards = batch.step_rewards.float()
    rewards[3, :4] = torch.tensor([1e30, -1e30, 3e38, 1e-30])
    for mode in MODES:
        for function in (
            mode,
            min_form_weights,
            partial(token_leave_one_out, step_lengths=torch.ones_like(rewards), group_size=GROUP),
        ):
            leaf = rewards.clone().requires_grad_()
            function(leaf, batch.step_mask).nansum().backward()
            assert bool(leaf.grad.isfinite().all())


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
def test_empty_batches(shape):
    empty, mask, ends = torch.ones(shape), torch.ones(shape).bool(), torch.zeros(shape, dtype=torch.long)
    tokens = torch.ones(shape[0], 5)
    for mode in MODES:
        assert mode(empty, mask).shape == shape
    assert min_form_weights(empty, mask).shape == shape
    assert token_leave_one_out(empty, mask, ends, group_size=4).shape == shape
    assert scatter_steps(empty, ends, mask, n_tokens=5).shape == tokens.shape
    assert not bool(spread_steps(empty, ends, mask, tokens).any())
    for baseline in ("token", "group"):
        credit = step_credit(
            torch.ones(shape[0]),
            step_rewards=empty,
            step_mask=mask,
            step_ends=ends,
            completion_mask=tokens,
            group_size=4,
            baseline=baseline,
        )
        assert credit.shape == tokens.shape
        assert not bool(credit.any())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, m, e: step_returns(s, m, gamma=1.5), r"step_returns: gamma is 1.5, outside \[0.0, 1.0\]"),
        (
            lambda s, m, e: softmin_returns(s, m, temperature=0.0),
            "softmin_returns: temperature is 0.0.*Use min_returns",
        ),
        (lambda s, m, e: min_form_weights(s, m, temperature=-1.0), "min_form_weights: temperature is -1.0"),
        (lambda s, m, e: step_returns(s, m[:, :2]), "step_returns: arguments must share one shape"),
        (lambda s, m, e: min_returns(s, m[:, :2]), "min_returns: arguments must share one shape"),
        (lambda s, m, e: max_returns(s, m[:, :2]), "max_returns: arguments must share one shape"),
        (lambda s, m, e: mean_returns(s, m[:, :2]), "mean_returns: arguments must share one shape"),
        (lambda s, m, e: step_returns(s[0], m[0]), r"step_returns: step_rewards must have shape \(any, any\)"),
        (lambda s, m, e: token_leave_one_out(s, m, e, group_size=3), "token_leave_one_out: 4 rows are not a whole"),
        (lambda s, m, e: token_leave_one_out(s, m, e[:2], group_size=2), "token_leave_one_out: arguments must share"),
        (lambda s, m, e: scatter_steps(s, e + 9, m, n_tokens=9), "scatter_steps: step_ends reach from 9 to 11.*9 tok"),
        (lambda s, m, e: scatter_steps(s, e - 1, m, n_tokens=9), "scatter_steps: step_ends reach from -1 to 1"),
        (lambda s, m, e: spread_steps(s, e, m, torch.ones(4, 2)), "spread_steps: step_ends reach from 0 to 2.*2 tok"),
        (
            lambda s, m, e: spread_steps(s, e.flip(1), m, torch.ones(4, 5)),
            "spread_steps: a step ends before the previous one",
        ),
        (
            lambda s, m, e: step_lengths(e.flip(1), m, torch.ones(4, 5)),
            "step_lengths: a step ends before the previous one",
        ),
        (lambda s, m, e: step_lengths(e, m, torch.ones(3, 5)), r"step_lengths: completion_mask must have shape \(4, a"),
        (lambda s, m, e: spread_steps(s, e, m, torch.ones(3, 5)), r"spread_steps: completion_mask must have shape \(4"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4, 3), torch.ones(4, 3).bool(), torch.arange(3).expand(4, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "mean"}, "step_credit: baseline is 'mean'"),
        (
            {"returns": min_returns, "gamma": 0.9},
            "step_credit: gamma is 0.9, but min_returns does not discount. Leave it at 1.",
        ),
        ({"group_size": 5}, "step_credit: 24 rows are not a whole number of groups of 5"),
        ({"rewards": torch.zeros(3)}, r"step_credit: rewards must have shape \(24\), got \(3,\)"),
    ],
)
def test_errors_of_the_estimator(options, message):
    with pytest.raises(ValueError, match=message):
        credit_of(Batch(), **options)
