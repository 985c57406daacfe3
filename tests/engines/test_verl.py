"""verl gets our functions: a stand-in written from verl 0.9.1's signatures, and verl itself where it is installed."""

import asyncio
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import drop_dead_groups, group_zscore, leave_one_out, min_returns, step_credit
from rewardsmith.advantages.steps import max_returns
from rewardsmith.data import segment_steps
from rewardsmith.engines.verl import STEP_WORTH_ZERO, register_advantage, register_recipe, step_reward_manager
from rewardsmith.recipes import Recipe, combine, source, step_source
from rewardsmith.transforms import RunningNorm, length_penalty, normalize_sources, weighted_sum
from tests.installed import part_of

NAN, INF = float("nan"), float("inf")


class Data:
    """The part of verl's DataProto that is used here."""

    def __init__(self, batch, non_tensor_batch):
        self.batch, self.non_tensor_batch = batch, non_tensor_batch

    def __getitem__(self, which):
        tensors = {name: values[which] for name, values in self.batch.items()}
        return Data(tensors, {name: values[which] for name, values in self.non_tensor_batch.items()})


class StandIn:
    """`register_adv_est` and the call that `compute_advantage` makes; `RewardManagerBase` as far as managers use it."""

    Data = Data

    def __init__(self, monkeypatch):
        self.registry = {}
        core, base = ModuleType("core_algos"), ModuleType("base")
        core.register_adv_est, base.RewardManagerBase = self._register, self._base()
        monkeypatch.setitem(sys.modules, "verl.trainer.ppo.core_algos", core)
        monkeypatch.setitem(sys.modules, "verl.experimental.reward_loop.reward_manager.base", base)

    def _register(self, name):
        def decorator(function):
            if name in self.registry and self.registry[name] != function:
                raise ValueError(f"Adv estimator {name} has already been registered")
            self.registry[name] = function
            return function

        return decorator

    def _base(self):
        class RewardManagerBase:
            def __init__(self, config, tokenizer, compute_score):
                self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score
                self.loop = asyncio.get_event_loop_policy().get_event_loop()

        return RewardManagerBase

    def compute(self, name, token_level_rewards, response_mask, uid, **config):
        keywords = {"token_level_rewards": token_level_rewards, "response_mask": response_mask, "config": config}
        if uid is not None:
            keywords["index"] = np.array(uid, dtype=object)
        return self.registry[name](**keywords)


class Real:
    """verl itself: its `compute_advantage` on a DataProto."""

    def __init__(self, monkeypatch):
        self.core = part_of("verl", "verl.trainer.ppo.core_algos")
        self.trainer = part_of("verl", "verl.trainer.ppo.ray_trainer")
        monkeypatch.setattr(self.core, "ADV_ESTIMATOR_REGISTRY", dict(self.core.ADV_ESTIMATOR_REGISTRY))

    def Data(self, batch, non_tensor_batch):  # noqa: N802
        from verl import DataProto

        return DataProto.from_dict(tensors=batch, non_tensors=non_tensor_batch)

    def compute(self, name, token_level_rewards, response_mask, uid, **config):
        from verl.trainer.config import AlgoConfig

        tensors = {"token_level_rewards": token_level_rewards, "response_mask": response_mask}
        data = self.Data(tensors, {} if uid is None else {"uid": np.array(uid, dtype=object)})
        data = self.trainer.compute_advantage(data, adv_estimator=name, config=AlgoConfig(adv_estimator=name, **config))
        return data.batch["advantages"], data.batch["returns"]


@pytest.fixture(params=[StandIn, Real], ids=["stand-in", "verl"])
def verl(request, monkeypatch):
    policy = asyncio.get_event_loop_policy()
    policy.set_event_loop(policy.new_event_loop())
    return request.param(monkeypatch)


UID = ["p", "q", "p", "r", "q", "r"]  # a prompt's rows do not lie together
SCORES = [1.0, 4.0, 3.0, 0.5, 2.0, 0.5]
LENGTHS = [3, 1, 2, 4, 4, 2]
MASK = (torch.arange(4) < torch.tensor(LENGTHS)[:, None]).long()


def outcomes(scores=SCORES, lengths=LENGTHS):
    rewards = torch.zeros(len(scores), 4)
    rewards[torch.arange(len(scores)), torch.tensor(lengths) - 1] = torch.tensor(scores)
    return rewards


# --- recipes -----------------------------------------------------------------------------------------------------


def number(completions, **columns):
    return [float(text) for text in completions]


def test_a_recipe_is_split_between_the_reward_function_and_the_estimator(verl):
    """Doubled row by row; clipped to one deviation of the run and compared with siblings once all rows are there."""
    recipe = Recipe((2 * source(number)).then(RunningNorm(mode="clip")), advantage=leave_one_out)
    compute_score = register_recipe("ours", recipe, unscored=0.0)
    scores = [compute_score("set", str(score), "")["score"] for score in SCORES]
    assert scores == [2 * score for score in SCORES]
    advantages, _ = verl.compute("ours", outcomes(scores), MASK, UID)
    every = torch.tensor(scores)
    held = every.clamp(every.mean() - every.std(), every.mean() + every.std())
    expected = torch.tensor([held[0] - held[2], held[1] - held[4], held[2] - held[0], 0.0, held[4] - held[1], 0.0])
    assert_close(advantages, expected[:, None] * MASK)


def test_a_recipe_that_one_number_per_row_cannot_carry_is_refused():
    two = combine(normalize_sources, source(number, "a"), source(number, "b")).then(weighted_sum)
    with pytest.raises(TypeError, match=r"Recipe.split: normalize_sources\(a, b\) sees the prompt and reads several"):
        register_recipe("ours", Recipe(two, advantage=leave_one_out), unscored=0.0)
    with pytest.raises(ValueError, match="register_recipe: the recipe has no advantage"):
        register_recipe("ours", Recipe(source(number)), unscored=0.0)
    stepwise = Recipe(source(number), steps=step_source(number, "steps"), advantage=step_credit)
    with pytest.raises(TypeError, match="register_recipe: the recipe has steps, and verl passes an outcome or steps"):
        register_recipe("ours", stepwise, unscored=0.0)


# --- advantages --------------------------------------------------------------------------------------------------


def test_groups_are_found_by_uid_wherever_their_rows_lie(verl):
    """By hand: a row less its one sibling, on every token of the response."""
    register_advantage("ours", leave_one_out)
    advantages, returns = verl.compute("ours", outcomes(), MASK, UID)
    assert_close(advantages, torch.tensor([-2.0, 2.0, 2.0, 0.0, -2.0, 0.0])[:, None] * MASK)
    assert_close(returns, advantages)


def test_a_group_zscore_is_verls_own(verl):
    """verl 0.9.1's GRPO, as a loop: (r − mean) / (std + 1e-6)."""
    register_advantage("ours", partial(group_zscore, eps=1e-6))
    advantages, _ = verl.compute("ours", outcomes(), MASK, UID)
    for row, uid in enumerate(UID):
        group = torch.tensor([score for score, other in zip(SCORES, UID, strict=True) if other == uid])
        expected = (SCORES[row] - group.mean()) / (group.std() + 1e-6)
        assert_close(advantages[row], expected * MASK[row])
    if isinstance(verl, Real):
        theirs, _ = verl.compute("grpo", outcomes(), MASK, UID)
        assert_close(advantages, theirs)


def test_transform_and_filter_run_in_between(verl):
    """Half a point per token above 2, then what is left, centered; prompt r, whose rows then differ by 1, stays."""
    seen = {}

    def keep(rewards, *, uid, lengths, completion_mask, token_rewards, group_size):
        seen.update(uid=uid, lengths=lengths, mask=completion_mask, token_rewards=token_rewards)
        return leave_one_out(rewards, group_size=group_size)

    register_advantage(
        "ours", keep,
        transform=partial(length_penalty, per_token=0.5, free_tokens=2),
        sample_filter=partial(drop_dead_groups, tolerance=1.5),
    )  # fmt: skip
    advantages, _ = verl.compute("ours", outcomes(), MASK, UID)
    # p: 0.5, 3 · q: 4, 1 · r: −0.5, 0.5, whose spread of 1 is not above 1.5
    assert_close(advantages, torch.tensor([-2.5, 3.0, 2.5, 0.0, -3.0, 0.0])[:, None] * MASK)
    assert seen["uid"] == ["p", "p", "q", "q", "r", "r"]
    assert seen["lengths"].tolist() == [3.0, 2.0, 1.0, 4.0, 4.0, 2.0]
    assert seen["mask"].dtype == torch.bool
    assert_close(seen["token_rewards"], outcomes()[[0, 2, 1, 4, 3, 5]])


def test_padding_rows_neither_count_nor_get_credit(verl):
    """verl's trainer pads with rows of one uid of their own, without a response token."""
    padding = torch.zeros(3, 4)
    register_advantage("ours", leave_one_out)
    mask = torch.cat([padding.long(), MASK])
    advantages, _ = verl.compute("ours", torch.cat([padding, outcomes()]), mask, ["pad"] * 3 + UID)
    alone, _ = verl.compute("ours", outcomes(), MASK, UID)
    assert_close(advantages, torch.cat([padding, alone]))


def test_a_response_all_of_whose_tokens_are_masked_keeps_its_place_in_the_group(verl):
    """Rejection sampling may mask a whole response; its reward still belongs to the baseline, as in verl's GRPO."""
    register_advantage("ours", leave_one_out)
    mask = MASK.clone()
    mask[0] = 0
    advantages, _ = verl.compute("ours", outcomes(), mask, UID)
    assert_close(advantages[2], 2.0 * MASK[2])
    assert not advantages[0].any()


def test_unscored_rows_get_no_credit(verl):
    register_advantage("ours", leave_one_out)
    advantages, _ = verl.compute("ours", outcomes([1.0, 4.0, NAN, INF, 2.0, 0.5]), MASK, UID)
    assert_close(advantages, torch.tensor([0.0, 2.0, 0.0, 0.0, -2.0, 0.0])[:, None] * MASK)


def test_step_scores_are_read_off_the_tokens(verl):
    """Two prompts of two; a step worth 0 is a step, and a row without any step gets nothing."""
    rewards = torch.tensor([[0.0, 2.0, 0.0, STEP_WORTH_ZERO], [3.0, 0.0, 0.0, 0.0], [0.0] * 4, [1.0, -1.0, 5.0, 0.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]])
    credit = partial(step_credit, returns=min_returns)
    register_advantage("ours", credit)
    advantages, _ = verl.compute("ours", rewards, mask, ["p", "q", "q", "p"])
    by_hand = credit(
        torch.zeros(4),
        step_rewards=torch.tensor([[2.0, 0.0, NAN], [1.0, -1.0, 5.0], [3.0, NAN, NAN], [NAN] * 3]),
        step_mask=torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0]]).bool(),
        step_ends=torch.tensor([[1, 3, 0], [0, 1, 2], [0, 0, 0], [0, 0, 0]]),
        completion_mask=mask[[0, 3, 1, 2]],
        group_size=2,
    )
    assert_close(advantages[[0, 3, 1, 2]], by_hand)
    assert by_hand[0].unique().numel() > 1


def test_refusals_say_what_to_do(verl):
    register_advantage("ours", leave_one_out)
    register_advantage("ours", leave_one_out)
    register_advantage("steps", partial(step_credit, returns=min_returns))
    register_advantage("steps", partial(step_credit, returns=min_returns))  # a file that is loaded twice
    with pytest.raises(ValueError, match="already been registered"):
        register_advantage("steps", partial(step_credit, returns=max_returns))
    with pytest.raises(ValueError, match="already been registered"):
        register_advantage("ours", group_zscore)
    with pytest.raises(ValueError, match=r"prompts have \[1, 2, 3\] responses each.*whole groups of `rollout\.n`"):
        verl.compute("ours", outcomes(), MASK, ["p", "q", "p", "p", "q", "r"])
    with pytest.raises(ValueError, match=r"verl passed no uid.*non_tensor_batch"):
        verl.compute("ours", outcomes(), MASK, None)
    with pytest.raises(ValueError, match=r"reads steps, but algorithm\.use_kl_in_reward .*use_kl_loss"):
        verl.compute("steps", outcomes(), MASK, UID, use_kl_in_reward=True)
    register_advantage("wide", lambda rewards: rewards[:, None])
    with pytest.raises(ValueError, match=r"advantage: .*shape \(6, 1\), wanted \(6,\) or \(6, 4\)"):
        verl.compute("wide", outcomes(), MASK, UID)


def test_without_verl_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "verl.trainer.ppo.core_algos", None)
    with pytest.raises(ImportError, match=r"rewardsmith\.engines\.verl: verl\.trainer\.ppo\.core_algos .*Install verl"):
        register_advantage("ours", leave_one_out)


# --- step rewards ------------------------------------------------------------------------------------------------


class Bytes:
    """A tokenizer of bytes with an end and a padding token."""

    all_special_ids, END = (0, 1), 1

    def decode(self, ids, skip_special_tokens):
        return bytes(i for i in ids if not (skip_special_tokens and i in self.all_special_ids)).decode()


def config(**changes):
    model = {"enable": True, "enable_resource_pool": False} | changes
    path = model.pop("path", "file.py")
    return SimpleNamespace(
        reward=SimpleNamespace(reward_model=SimpleNamespace(**model), custom_reward_function=SimpleNamespace(path=path))
    )


WRITTEN = ["ab\n\nc", "d\n\nef\n\ng"]  # the second was cut off, so that its last piece is no step


def batch_of(verl, **columns):
    responses = torch.tensor([[*b"ab\n\nc", Bytes.END, 0, 0], [*b"d\n\nef\n\ng"]])
    lengths = torch.tensor([6, 8])
    prompts = torch.tensor([[0, *b"1+1"], [*b"10+1"]])
    mask = torch.cat([prompts != 0, torch.arange(8) < lengths[:, None]], dim=1).long()
    non_tensors = {}
    for name, values in columns.items():
        non_tensors[name] = np.empty(2, dtype=object)
        non_tensors[name][:] = values
    return verl.Data({"prompts": prompts, "responses": responses, "attention_mask": mask}, non_tensors)


def scored(manager, data):
    """As verl's reward loop does: row by row, then all at once."""
    rows = [manager.loop.run_until_complete(manager.run_single(data[i : i + 1])) for i in range(2)]
    return rows, type(manager).assemble_rm_scores(data, [row["reward_score"] for row in rows])


def test_step_scores_are_put_on_each_steps_last_token(verl):
    seen = []

    def lengths(*, prompts, completions, steps, answer, difficulty, reward_router_address, **columns):
        seen.append((prompts, completions, steps, answer, difficulty, reward_router_address))
        return [[float(len(text) - 1) for text in steps[0]]]

    chats = [[{"role": "user", "content": text}] for text in ("1+1", "10+1")]
    data = batch_of(
        verl,
        raw_prompt=chats,
        reward_model=[{"ground_truth": "2"}, {"ground_truth": "11"}],
        extra_info=[{"difficulty": 1}, {"difficulty": 2}],
    )
    manager = step_reward_manager(lengths, unscored=None)(
        config(), Bytes(), None, "host:1", reward_model_tokenizer=None
    )
    rows, rm_scores = scored(manager, data)
    expected = torch.zeros(2, 8)
    expected[0, 1], expected[0, 5] = 1.0, STEP_WORTH_ZERO  # the last step takes in the end token
    expected[1, 0], expected[1, 4] = STEP_WORTH_ZERO, 1.0
    assert torch.equal(rm_scores, expected)
    assert [row["reward_extra_info"] for row in rows] == [{"steps": 2, "scored_steps": 2}] * 2
    prompts, completions, steps, *rest = seen[0]
    assert prompts == chats[:1]
    assert completions == [[{"role": "assistant", "content": "ab\n\nc"}]]
    assert steps == [["ab", "c"]]
    assert rest == [["2"], [1], "host:1"]
    assert seen[1][2] == [["d", "ef"]]


def test_rewards_may_be_async_and_the_prompt_be_all_that_verl_passes(verl):
    async def later(*, prompts, completions, steps, **columns):
        await asyncio.sleep(0)
        return [[None] + [2.0] * (len(steps[0]) - 1)]

    cls = step_reward_manager(later, unscored=-1.0, segment=partial(segment_steps, separator="\n"))
    rows, rm_scores = scored(cls(config(), Bytes(), None), batch_of(verl))
    assert rm_scores[0].tolist() == [0.0, -1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0]
    assert rm_scores[1].tolist() == [-1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]
    assert rows[0]["reward_extra_info"] == {"steps": 2, "scored_steps": 1}


def test_step_scores_travel_from_the_manager_to_the_advantages(verl):
    """The two responses answer one prompt, so that each is compared with the other."""
    cls = step_reward_manager(lambda steps, **columns: [[float(len(t) - 1) for t in steps[0]]], unscored=None)
    data = batch_of(verl)
    _, rm_scores = scored(cls(config(), Bytes(), None), data)
    register_advantage("ours", partial(step_credit, baseline="group"))
    response_mask = data.batch["attention_mask"][:, 4:]
    advantages, _ = verl.compute("ours", rm_scores, response_mask, ["p", "p"])
    # Returns-to-go: 1, 0 and 1, 1; the group's mean is 3/4; the fragment and the padding get nothing.
    expected = [[0.25] * 2 + [-0.75] * 4 + [0.0] * 2, [0.25] * 5 + [0.0] * 3]
    assert_close(advantages, torch.tensor(expected))


def test_the_manager_refuses_what_verl_would_lose(verl):
    def none(*, steps, **columns):
        return [None]

    cls = step_reward_manager(none, unscored=None)
    for changes in ({"enable": False}, {"enable_resource_pool": True}):
        with pytest.raises(ValueError, match=r"without a colocated reward model verl keeps one number.*to_verl"):
            cls(config(**changes), Bytes(), None)
    with pytest.raises(ValueError, match=r"custom_reward_function\.path verl asks the reward model itself"):
        cls(config(path=None), Bytes(), None)
    with pytest.raises(ValueError, match=r"none left the step 'ab' unscored \(nan\).*Pass unscored="):
        scored(cls(config(), Bytes(), None), batch_of(verl))
    with pytest.raises(ValueError, match=r"unscored=nan would make the mean of the batch.*finite number"):
        step_reward_manager(none, unscored=NAN)
