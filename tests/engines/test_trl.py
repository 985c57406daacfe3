"""Our trainers are TRL's own until an option is set, and each option does what its docstring says."""

from functools import partial

import pytest
import torch
import trl
from torch.testing import assert_close

from rewardsmith.advantages import drop_dead_groups, gated_format, group_zscore, leave_one_out
from rewardsmith.engines.calls import call, check_rows, context_of, filter_weights
from rewardsmith.engines.trl import GRPOTrainer, RLOOTrainer
from rewardsmith.rewards import verdict_reward
from rewardsmith.transforms import chain, clip_rewards, normalize_sources, weighted_sum
from rewardsmith.types import RewardBatch, Traits, declares
from rewardsmith.worlds import substring_reward
from tests.engines.helpers import Keep, logged, make, parameters

pytestmark = pytest.mark.slow

NAN, INF = float("nan"), float("inf")
PAIRS = [pytest.param(trl.GRPOTrainer, GRPOTrainer, id="grpo"), pytest.param(trl.RLOOTrainer, RLOOTrainer, id="rloo")]
OURS = [pytest.param(GRPOTrainer, id="grpo"), pytest.param(RLOOTrainer, id="rloo")]


def brevity(completions, **columns):
    """A dense reward, so that no group is dead."""
    return [-len(text) / 10 - (sum(map(ord, text)) % 7) / 100 for text in completions]


def by_row(*scores):
    """A reward that pays the given scores over and over."""

    def fixed(completions, **columns):
        return [scores[i % len(scores)] for i in range(len(completions))]

    return fixed


def trained(trainer_class, world, reward_funcs, **options):
    trainer = make(trainer_class, world, reward_funcs, **options)
    start = parameters(trainer)
    trainer.train()
    trainer.moved = float((parameters(trainer) - start).abs().max())
    return trainer


def scored_by(trainer_class, world, reward_funcs, **options):
    keep = Keep()
    trained(trainer_class, world, reward_funcs, callbacks=[keep], steps=1, **options)
    return keep.seen[0]


# --- with no option set ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
@pytest.mark.parametrize(
    "config", [{"beta": 0.0}, {"beta": 0.1, "reward_weights": [0.3, 1.7]}, {"beta": 0.1, "num_iterations": 2}]
)
def test_without_options_the_parameters_are_those_of_trl_to_the_bit(theirs, ours, config, world):
    sources = [substring_reward, brevity]
    reference, mine = (trained(which, world, sources, config=config) for which in (theirs, ours))
    assert mine.moved > 0
    assert torch.equal(parameters(reference), parameters(mine))
    assert logged(reference, "reward") == logged(mine, "reward")
    assert logged(reference, "rewards/brevity/std") == logged(mine, "rewards/brevity/std")


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_options_that_repeat_trls_own_steps_repeat_its_parameters(theirs, ours, world):
    """The transform is TRL's sum of sources; for RLOO clip and KL must be found again around `advantage`."""
    config = {"beta": 0.1} | ({"reward_clip_range": (-0.9, 0.4)} if ours is RLOOTrainer else {})
    own = group_zscore if ours is GRPOTrainer else leave_one_out
    reference = trained(theirs, world, [substring_reward, brevity], config=config)
    mine = trained(
        ours, world, [substring_reward, brevity], config=config, transform=weighted_sum, advantage=own,
        sample_filter=torch.ones_like,
    )  # fmt: skip
    assert reference.moved > 1e-3
    assert_close(parameters(mine), parameters(reference), rtol=0, atol=1e-5)
    assert_close(logged(mine, "rewards/brevity/mean"), logged(reference, "rewards/brevity/mean"))
    assert_close(logged(mine, "rewards/brevity/std"), logged(reference, "rewards/brevity/std"))
    assert_close(logged(mine, "reward"), logged(reference, "reward"))


# --- sources -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", OURS)
def test_two_rewards_of_one_name_are_refused_and_a_mapping_tells_them_apart(ours, world):
    first, second = by_row(0.0, 1.0), by_row(2.0, 5.0)
    with pytest.raises(ValueError, match=r"Trainer: several rewards are called fixed.*merge.*reward_funcs=\{"):
        make(ours, world, [first, second])
    trainer = trained(ours, world, {"low": first, "high": second}, steps=1)
    assert logged(trainer, "rewards/low/mean") == [0.5]
    assert logged(trainer, "rewards/high/mean") == [3.5]


@pytest.mark.parametrize("ours", OURS)
def test_a_missing_source_gives_its_weight_to_the_others(ours, world):
    """Weights 1 and 3: row 1 lacks the second, so it gets (1 + 3)/1 · 1 · 2 = 8 where TRL would give 2."""
    sources = {"a": by_row(2.0, 2.0), "b": by_row(1.0, None)}
    scored = scored_by(ours, world, sources, config={"reward_weights": [1.0, 3.0]})
    assert scored.rewards[:2].tolist() == [5.0, 8.0]
    assert scored.batch.source_names == ("a", "b")
    assert scored.batch.source_rewards[1].isnan().tolist() == [False, True]


@pytest.mark.parametrize("ours", OURS)
def test_metrics_and_completion_table_keep_their_sources_when_one_is_missing(ours, world):
    trainer = trained(ours, world, {"a": by_row(2.0, 4.0), "b": by_row(1.0, None)}, steps=1)
    assert logged(trainer, "rewards/a/mean") == [3.0]
    assert logged(trainer, "rewards/b/mean") == [1.0]
    assert set(trainer._logs["rewards"]) == {"a", "b"}
    assert {len(column) for column in trainer._logs["rewards"].values()} == {16}
    assert not [name for name in trainer.state.log_history[0] if name.startswith("rewards/rewardsmith")]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_an_infinite_score_is_left_out_where_trl_loses_or_blows_up_the_whole_group(theirs, ours, world):
    """One group of 4 scores 0, 1, inf, 1; the rest of it must still learn from each other."""
    fixed = by_row(0.0, 1.0, INF, 1.0)
    scored = scored_by(ours, world, fixed)
    assert scored.infinite == 4
    assert scored.rewards[:4].isnan().tolist() == [False, False, True, False]
    credit = scored.advantages[:4]
    assert credit[2] == 0
    expected = torch.tensor([0.0, 1.0, NAN, 1.0])
    own = group_zscore if ours is GRPOTrainer else leave_one_out
    assert_close(credit, own(expected, group_size=4))
    lost = make(theirs, world, fixed, steps=1)
    lost.train()
    theirs_credit = torch.tensor(list(lost._logs["advantages"]))[:4]  # the reason for this guard:
    assert bool((theirs_credit.abs() > 1e30).any() if ours is RLOOTrainer else (theirs_credit == 0).all())
    mine = trained(ours, world, fixed, steps=1)
    assert logged(mine, "rewardsmith/infinite") == [4.0]
    assert logged(mine, "rewardsmith/unscored_rate") == [0.25]


# --- transform ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", OURS)
def test_a_transform_sees_the_batch_by_name_and_its_result_is_what_gets_credited(ours, world):
    seen = {}

    def ranks(rewards, *, group_size, answer, prompt, completion, completion_mask, batch):
        seen.update(answer=answer, prompt=prompt, completion=completion, mask=completion_mask, batch=batch)
        return rewards.reshape(-1, group_size).argsort(dim=1).argsort(dim=1).flatten().float()

    scored = scored_by(ours, world, {"brevity": brevity}, transform=ranks)
    grouped = scored.rewards.reshape(-1, 4)
    assert_close(grouped.sort(dim=1).values, torch.arange(4.0).expand(4, 4))
    for start in range(0, 16, 4):
        assert len(set(seen["prompt"][start : start + 4])) == 1  # a prompt's completions are consecutive
    assert seen["answer"] == [str(sum(map(int, p[:-1].split("+")))) for p in seen["prompt"]]
    assert_close(seen["batch"].source_rewards[:, 0], torch.tensor(brevity(seen["completion"])))
    assert seen["mask"].shape[0] == 16
    own = group_zscore if ours is GRPOTrainer else leave_one_out
    assert_close(scored.advantages, own(scored.rewards, group_size=4))


def test_a_chain_over_sources_runs_as_a_transform(world):
    both = chain(
        normalize_sources, partial(weighted_sum, weights=[1.0, 0.5]), partial(clip_rewards, low=-1.0, high=1.0)
    )

    def on_sources(source_rewards, *, group_size):
        return both(source_rewards, group_size=group_size)

    scored = scored_by(GRPOTrainer, world, [substring_reward, brevity], transform=on_sources)
    expected = both(scored.batch.source_rewards, group_size=4)
    assert_close(scored.rewards, expected)


@declares(Traits(scope="row", affine=True))
def doubled(rewards):
    return 2 * rewards + 3


@pytest.mark.parametrize(("ours", "effect"), [(GRPOTrainer, "cannot change anything"), (RLOOTrainer, "step size")])
def test_a_transform_that_the_advantage_cancels_warns(ours, effect, world):
    with pytest.warns(UserWarning, match=rf"{ours.__name__}: this transform .*{effect} under .*: doubled is affine"):
        make(ours, world, brevity, transform=doubled)
    with pytest.warns(UserWarning, match="affine"):
        make(ours, world, brevity, transform=chain(doubled))


def test_the_cancelled_transform_indeed_changes_nothing(world):
    with pytest.warns(UserWarning, match="cannot change anything"):
        scored = scored_by(GRPOTrainer, world, brevity, transform=doubled)
    plain = scored_by(GRPOTrainer, world, brevity)
    assert_close(scored.advantages, plain.advantages, rtol=1e-2, atol=1e-2)  # but for the z-score's eps


def test_a_transform_may_not_return_infinities_or_another_shape(world):
    trainer = make(GRPOTrainer, world, brevity, transform=lambda rewards: rewards / 0)
    with pytest.raises(ValueError, match=r"transform: .* returned ±inf.*clip_rewards"):
        trainer.train()
    trainer = make(GRPOTrainer, world, brevity, transform=lambda source_rewards: source_rewards)
    with pytest.raises(ValueError, match=r"transform: .* returned shape \(16, 1\), wanted \(16,\).*weighted_sum"):
        trainer.train()


def test_a_transform_is_refused_where_trl_would_normalize_the_sources_again(world):
    config = {"multi_objective_aggregation": "normalize_then_sum"}
    with pytest.raises(ValueError, match=r"GRPOTrainer: transform returns one reward.*normalize_sources"):
        make(GRPOTrainer, world, [brevity], config=config, transform=torch.tanh)
    sources = [brevity, substring_reward]
    theirs, mine = (trained(which, world, sources, config=config) for which in (trl.GRPOTrainer, GRPOTrainer))
    assert torch.equal(parameters(theirs), parameters(mine))


# --- advantage ---------------------------------------------------------------------------------------------------


def test_token_advantages_train_grpo_and_constant_ones_equal_those_per_row(world):
    def per_token(rewards, *, group_size, completion_mask):
        return torch.where(completion_mask.bool(), group_zscore(rewards, group_size=group_size)[:, None], 0)

    by_row_, by_token, fading = (
        trained(GRPOTrainer, world, brevity, advantage=function, config={"steps_per_generation": 2})
        for function in (group_zscore, per_token, lambda rewards, *, group_size, completion_mask: per_token(
            rewards, group_size=group_size, completion_mask=completion_mask
        ) * 0.5 ** torch.arange(completion_mask.shape[1]))
    )  # fmt: skip
    assert_close(parameters(by_token), parameters(by_row_), rtol=0, atol=1e-6)
    assert (parameters(fading) - parameters(by_row_)).abs().max() > 1e-4


def test_rloo_refuses_token_advantages(world):
    trainer = make(RLOOTrainer, world, brevity, advantage=lambda rewards, *, completion_mask: completion_mask * 1.0)
    with pytest.raises(ValueError, match=r"advantage: .*wanted \(16,\).*whole sequences.*GRPOTrainer"):
        trainer.train()


def test_rloos_custom_advantage_gets_the_reward_less_its_kl_penalty(world):
    """β = 0.5 against a moved policy: r − β·KL is recomputed here from the two models themselves."""
    got = []

    def keep(rewards):
        got.append(rewards.clone())
        return rewards

    trainer = make(RLOOTrainer, world, by_row(1.0), advantage=keep, config={"beta": 0.5}, steps=1)
    with torch.no_grad():
        for parameter in trainer.ref_model.parameters():
            parameter.mul_(1.05)
    logps = {}

    class Recompute(Keep):
        def on_rewards(self, args, state, control, *, scored):
            ids = trainer.processing_class(scored.batch.columns["prompt"], return_tensors="pt")["input_ids"]
            for name, model in (("policy", trainer.model), ("reference", trainer.ref_model)):
                sums = []
                for row, tokens in enumerate(trainer._completion_ids):
                    whole = torch.cat([ids[row], torch.tensor(tokens)])[None]
                    with torch.no_grad():
                        out = model(input_ids=whole).logits[0].log_softmax(-1)
                    sums.append(sum(out[ids.shape[1] + t - 1, token] for t, token in enumerate(tokens)))
                logps[name] = torch.stack(sums)

    generate = trainer._generate_single_turn

    def remember(*args, **keywords):
        trainer._completion_ids = generate(*args, **keywords)
        return trainer._completion_ids

    trainer._generate_single_turn = remember
    trainer.add_callback(Recompute())
    trainer.train()
    kl = logps["policy"] - logps["reference"]
    assert kl.abs().max() > 0.01
    assert_close(got[0], 1.0 - 0.5 * kl, rtol=1e-4, atol=1e-4)


def test_an_unscored_row_gets_no_credit_whatever_the_advantage_says(world):
    scored = scored_by(GRPOTrainer, world, by_row(1.0, None, 3.0, 4.0), advantage=lambda rewards: rewards)
    assert scored.advantages[:4].tolist() == [1.0, 0.0, 3.0, 4.0]


def test_an_infinite_advantage_is_refused(world):
    trainer = make(GRPOTrainer, world, brevity, advantage=lambda rewards: rewards / 0)
    with pytest.raises(ValueError, match=r"advantage: .* returned ±inf\. Add an eps"):
        trainer.train()


# --- sample_filter -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", OURS)
def test_what_is_filtered_out_teaches_nothing_and_the_rest_teaches_more(ours, world):
    def even_rows(rewards):
        return (torch.arange(len(rewards)) % 2 == 0) * 3.0

    keep = Keep()
    trainer = trained(ours, world, brevity, sample_filter=even_rows, callbacks=[keep], steps=1)
    own = group_zscore if ours is GRPOTrainer else leave_one_out
    plain = own(keep.seen[0].rewards, group_size=4)
    assert_close(keep.seen[0].advantages, plain * (torch.arange(16) % 2 == 0))  # 3 over the kept is mean 1
    assert logged(trainer, "rewardsmith/kept_rate") == [0.5]
    assert trained(ours, world, brevity, sample_filter=torch.zeros_like).moved == 0


def test_a_filter_of_the_library_reads_the_group_size(world):
    """Two prompts alike and two not, by the row's place: groups 1 and 3 are dead."""
    fixed = by_row(1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0)
    trainer = trained(GRPOTrainer, world, fixed, sample_filter=drop_dead_groups, steps=1)
    assert logged(trainer, "rewardsmith/kept_rate") == [0.5]


# --- by name -----------------------------------------------------------------------------------------------------


def test_calls_fill_parameters_by_name_and_leave_bound_ones_alone():
    context = {"group_size": 4, "answer": ["1"], "source_rewards": torch.ones(2, 3)}
    rewards = torch.zeros(2)
    assert call("transform", partial(lambda r, *, group_size: r + group_size, group_size=7), rewards, context)[0] == 7
    assert call("transform", lambda r, **rest: r + len(rest), rewards, context)[0] == 3
    assert call("transform", lambda source_rewards: source_rewards.sum(dim=1), rewards, context)[0] == 3
    assert call("transform", torch.tanh, rewards, context)[0] == 0  # a built-in has no signature
    assert call("transform", torch.nn.Identity(), rewards, context)[0] == 0
    assert call("transform", chain(partial(clip_rewards, low=1.0)), rewards, context)[0] == 1
    assert call("transform", lambda r, scale=2.0: r + scale, rewards, context)[0] == 2


def test_calls_say_what_is_missing_or_wrong():
    rewards = torch.zeros(2)
    with pytest.raises(TypeError, match=r"transform: .* needs key, and is offered answer\. Bind it"):
        call("transform", lambda r, *, key: r, rewards, {"answer": ["1"]})
    with pytest.raises(TypeError, match=r"advantage: .* returned list\. Return a tensor"):
        call("advantage", lambda r: [0.0], rewards, {})
    with pytest.raises(ValueError, match=r"sample_filter: .* returned shape \(3,\), wanted \(2,\)\. Return one"):
        check_rows("sample_filter", torch.tanh, torch.zeros(3), [(2,)], advice="Return one.")


@pytest.mark.parametrize("weights", [[1.0, -1.0], [NAN, 1.0], [INF, 1.0]])
def test_filter_weights_must_be_weights(weights):
    with pytest.raises(ValueError, match=r"sample_filter: .*negative or not finite"):
        filter_weights(torch.tanh, torch.tensor(weights))


def test_kept_weights_have_mean_one_and_nothing_kept_stays_nothing():
    """0, 1, 3 keep two of mean 2."""
    assert filter_weights(torch.tanh, torch.tensor([0.0, 1.0, 3.0])).tolist() == [0.0, 0.5, 1.5]
    assert filter_weights(torch.tanh, torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_columns_of_numbers_reach_a_transform_as_tensors():
    columns = {
        "ref_rewards": [[0.0, None], [1.0, 2.0]],
        "formatted": [True, False],
        "n": [1, None],
        "answer": ["4", "5"],
    }
    batch = RewardBatch(torch.zeros(2, 1), ("r",), 2, columns={**columns, "ragged": [[1.0], [1.0, 2.0]]})
    context = context_of(batch)
    assert_close(context["ref_rewards"], torch.tensor([[0.0, float("nan")], [1.0, 2.0]]), equal_nan=True)
    assert context["formatted"].dtype == torch.bool
    assert_close(context["n"], torch.tensor([1.0, float("nan")]), equal_nan=True)
    assert context["answer"] == ["4", "5"]
    assert context["ragged"] == [[1.0], [1.0, 2.0]]
    assert context["columns"]["n"] == [1, None]


@pytest.mark.parametrize("ours", OURS)
def test_a_judges_share_without_a_verdict_reaches_the_log_and_malformed_rows_get_a_fixed_credit(ours, world):
    """No text of the small world is a verdict; with a gate for the malformed, every row gets their credit."""

    def judged(completions, log_metric, **columns):
        return verdict_reward(completions, [0] * len(completions), unparsed=-2.0, log_metric=log_metric)

    keep = Keep()
    gate = partial(gated_format, malformed=-2.0, credit=-0.5)
    trainer = trained(ours, world, judged, steps=1, advantage=gate, callbacks=[keep])
    assert logged(trainer, "verdict_reward/unparsed") == [1.0]
    assert keep.seen[0].advantages.tolist() == [-0.5] * 16
