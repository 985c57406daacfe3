"""Chains: order, context, traits, state, and the warning about parts that cannot matter."""

import copy
import math
import pickle
import warnings
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import batch_scaled, group_centered, group_zscore, leave_one_out
from rewardsmith.transforms import (
    RunningNorm,
    backward_correction,
    cancels,
    chain,
    clip_rewards,
    correction_is_noop,
    gate,
    length_penalty,
    normalize_sources,
    par,
    reads,
    renorm,
    weighted_sum,
)
from rewardsmith.transforms.links import pure_link, reference_link
from rewardsmith.types import Traits, declares, traits_of

CONSTANT = partial(backward_correction, false_positive_rate=0.3, false_negative_rate=0.4)
CENTERING = partial(reference_link, link="identity")


@declares(Traits(scope="prompt", affine=True))
def halve_within_prompt(rewards, *, group_size):
    return rewards / group_size


@declares(Traits(scope="batch", affine=False))
def takes_everything(rewards, **context):
    return rewards + len(context)


def undeclared_advantage(rewards, *, group_size):
    return rewards


def some_rewards(n=24, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_chain_applies_its_parts_in_order():
    rewards, references = some_rewards(6), some_rewards(6, 1)[:, None]
    both = chain(partial(clip_rewards, high=0.5), par)
    assert_close(both(rewards, ref_rewards=references), par(rewards.clamp(max=0.5), references))


def test_each_part_gets_only_the_context_it_names():
    mixed = chain(normalize_sources, partial(weighted_sum, weights=[1.0, 2.0]), length_penalty, pure_link)
    sources, lengths = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 400, 2, 500])
    got = mixed(sources, group_size=2, lengths=lengths, condition="nobody names this")
    by_hand = normalize_sources(sources, group_size=2) @ torch.tensor([1.0, 2.0]) - torch.tensor([0, 1.0, 0, 2.0])
    assert_close(got, by_hand.sigmoid())


def test_a_part_with_open_keywords_gets_all_context_and_chains_nest():
    nested = chain(chain(takes_everything), partial(takes_everything, one=1))
    assert_close(nested(torch.zeros(2), one=1, two=2), torch.full((2,), 4.0))


def test_what_partial_bound_stays_bound():
    bound = chain(partial(length_penalty, per_token=1.0, free_tokens=0))
    assert_close(bound(torch.zeros(1), lengths=torch.tensor([3]), per_token=99.0), torch.tensor([-3.0]))


def test_two_gates_of_one_chain_read_two_columns():
    both = chain(reads(gate, condition="formatted"), reads(partial(gate, below=-1.0), condition="safe"))
    formatted, safe = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    assert_close(both(torch.full((4,), 2.0), formatted=formatted, safe=safe), torch.tensor([2.0, -1.0, 0.0, -1.0]))
    assert repr(both) == "chain(reads(gate, condition='formatted') -> reads(gate(below=-1), condition='safe'))"
    assert_close(pickle.loads(pickle.dumps(both))(torch.ones(4), formatted=formatted, safe=safe)[0], torch.tensor(1.0))


def test_a_column_that_is_read_and_not_passed_is_named():
    with pytest.raises(TypeError, match=r"reads: gate reads safe, and the call passed no context\. Pass that column"):
        reads(gate, condition="safe")(torch.ones(2))
    with pytest.raises(ValueError, match=r"reads: got no columns for gate\. Pass keyword='column'"):
        reads(gate)


def test_a_missing_keyword_is_named_with_the_part_that_needs_it():
    with pytest.raises(TypeError, match=r"chain, part 2 of 2: par needs ref_rewards, and is offered group_size"):
        chain(clip_rewards, par)(torch.zeros(2), group_size=2)
    with pytest.raises(TypeError, match=r"is offered nothing\. Bind it with functools.partial, or pass it by name"):
        chain(par)(torch.zeros(2))


def test_a_chain_declares_the_widest_scope_and_the_last_bound():
    assert traits_of(chain(CONSTANT, par)) == Traits(scope="row", affine=False, bounded=(0.0, 1.0))
    assert traits_of(chain(par, RunningNorm(), CONSTANT)) == Traits(scope="run", affine=False, bounded=None)
    assert traits_of(chain(CENTERING, CONSTANT)).affine


def test_a_chain_prints_itself():
    composed = chain(
        partial(clip_rewards, high=5), RunningNorm(mode="clip"), partial(par, ref_rewards=torch.ones(2, 3))
    )
    assert repr(composed) == "chain(clip_rewards(high=5) -> RunningNorm(mode='clip') -> par(ref_rewards=tensor(2, 3)))"


def test_a_chain_pickles_and_carries_the_state_of_its_modules():
    composed = chain(RunningNorm(), partial(clip_rewards, low=-1.0, high=1.0))
    composed(some_rewards())
    fresh = chain(RunningNorm(), partial(clip_rewards, low=-1.0, high=1.0))
    fresh.load_state_dict(composed.state_dict())
    probe = torch.linspace(-1, 1, 5)
    expected = copy.deepcopy(composed).eval()(probe)
    assert_close(fresh.eval()(probe), expected)
    assert_close(pickle.loads(pickle.dumps(composed)).eval()(probe), expected)


def test_an_empty_chain_and_an_undeclared_part_are_refused():
    with pytest.raises(ValueError, match=r"chain: got no transforms.* Pass at least one"):
        chain()
    with pytest.raises(TypeError, match=r"declares no traits.* Decorate it"):
        chain(undeclared_advantage)


def test_a_canceled_part_warns_with_its_name_and_what_to_do():
    with pytest.warns(
        UserWarning, match=r"chain: backward_correction cannot change anything under group_zscore"
    ) as seen:
        chain(CONSTANT, advantage=group_zscore)
    assert "give it parameters that differ within a group" in str(seen[0].message)
    assert seen[0].filename == __file__
    with pytest.warns(
        UserWarning, match="chain: reference_link can change nothing but the step size under leave_one_out"
    ):
        chain(CENTERING, advantage=leave_one_out)


def test_every_canceled_part_at_the_end_warns_and_a_part_before_a_bend_does_not():
    with pytest.warns(UserWarning, match="chain: ") as seen:
        chain(CENTERING, par, CONSTANT, RunningNorm(), advantage=partial(group_zscore, eps=0.0))
    assert [str(w.message).split()[1] for w in seen] == ["RunningNorm", "backward_correction"]


@pytest.mark.parametrize("advantage", [group_zscore, group_centered, None])
def test_parts_that_act_do_not_warn(advantage):
    by_row = partial(backward_correction, false_positive_rate=0.0, false_negative_rate=torch.tensor([0.1, 0.5]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chain(CENTERING, par, by_row, advantage=advantage)


@pytest.mark.parametrize(
    ("transform", "advantage", "extent"),
    [
        (CONSTANT, group_zscore, "exactly"),
        (RunningNorm(mode="minmax"), group_zscore, "exactly"),
        (halve_within_prompt, group_zscore, "exactly"),
        (CONSTANT, group_centered, "up to scale"),
        (CONSTANT, leave_one_out, "up to scale"),
        (CENTERING, batch_scaled, "up to scale"),
        (halve_within_prompt, group_centered, "no"),
        (CONSTANT, undeclared_advantage, "no"),
        (par, group_zscore, "no"),
    ],
)
def test_cancellation_follows_from_what_both_sides_declare(transform, advantage, extent):
    verdict = cancels(transform, advantage)
    assert verdict.extent == extent
    assert bool(verdict) == (extent != "no")
    assert verdict.reason


@pytest.mark.parametrize("advantage", [group_zscore, group_centered, leave_one_out, batch_scaled])
@pytest.mark.parametrize(
    ("transform", "canceled"),
    [(CONSTANT, True), (CENTERING, True), (RunningNorm(), True), (RunningNorm(mode="clip"), False), (par, False)],
)
def test_what_is_declared_to_cancel_is_measured_to_cancel(advantage, transform, canceled):
    rewards = some_rewards()
    context = {"ref_rewards": some_rewards(6, 1).repeat_interleave(4)[:, None]}
    measured = correction_is_noop(chain(transform), advantage, rewards, 4, **context)
    assert measured == canceled == bool(cancels(transform, advantage))


def test_rates_that_differ_within_a_group_are_measured_to_act():
    verdicts = torch.tensor([0.0, 1.0, 1.0, 0.0])
    by_row = partial(
        backward_correction, false_positive_rate=0.0, false_negative_rate=torch.tensor([0.0, 0.0, 0.6, 0.6])
    )
    assert not correction_is_noop(by_row, group_centered, verdicts, 4)


def test_a_sign_flip_is_no_noop():
    assert not correction_is_noop(torch.neg, group_zscore, some_rewards(), 4)


def test_measuring_leaves_running_statistics_alone():
    norm = RunningNorm()
    correction_is_noop(norm, group_zscore, some_rewards(), 4)
    assert norm.count == 0


def test_rewards_without_signal_tell_nothing():
    with pytest.raises(ValueError, match=r"correction_is_noop: no group has a signal.* Pass rewards that differ"):
        correction_is_noop(CONSTANT, group_zscore, torch.tensor([1.0, 1.0, math.nan, 0.0]), 2)


def test_a_part_on_steps_may_read_the_outcome_as_rewards():
    scores, mask = torch.tensor([[0.9, 0.2]]), torch.ones(1, 2, dtype=torch.bool)
    outcome = torch.tensor([1.0])
    got = chain(renorm)(scores, rewards=outcome, step_mask=mask)
    assert_close(got, renorm(scores, outcome, mask))
