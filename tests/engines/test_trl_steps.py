"""Process rewards in our trainers: which text is a step, on which token it ends, and what reaches whom."""

import asyncio
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import min_returns, step_credit
from rewardsmith.data import segment_steps
from rewardsmith.data.steps import StepTable
from rewardsmith.engines.trl import GRPOTrainer, RLOOTrainer
from rewardsmith.transforms import length_penalty
from tests.engines.helpers import Keep, logged, make

pytestmark = pytest.mark.slow

NAN, INF = float("nan"), float("inf")
# What the four completions of each prompt are: text, and whether it ended by itself.
WRITTEN = [("1\n\n2\n\n3", True), ("7 or 8", True), ("4\n\n5\n\n6", False), ("9", False)]
STEPS = [["1", "2", "3"], ["7 or 8"], ["4", "5"], []]
# One token per number, newline, space and "or"; a text that ended has an end token, which its last step takes in.
ENDS = [[0, 3, 7], [5], [0, 3], []]
LENGTHS = [8, 6, 7, 1]
MASK = [[True, True, True], [True, False, False], [True, True, False], [False, False, False]]


class Fixed:
    def _generate_single_turn(self, prompt_ids, *rest):
        ids = []
        for row in range(len(prompt_ids)):
            text, ended = WRITTEN[row % 4]
            ids.append([*self._tokenizer(text)["input_ids"], *[self._tokenizer.eos_token_id] * ended])
        return (ids, None) if isinstance(self, GRPOTrainer) else ids


class FixedGRPO(Fixed, GRPOTrainer):
    pass


class FixedRLOO(Fixed, RLOOTrainer):
    pass


def outcome(completions, **columns):
    return [float(i % 4) for i in range(len(completions))]


def first_number(steps, **columns):
    """Every step's first digit: a known value for each."""
    return [[int(text[0]) for text in texts] for texts in steps]


def at_the_ends(rewards, *, step_rewards, step_mask, step_ends, completion_mask):
    """(B, T) each step's own score on its last token."""
    tokens = torch.zeros(completion_mask.shape)
    for row, step in step_mask.nonzero().tolist():
        tokens[row, step_ends[row, step]] = step_rewards[row, step]
    return tokens


def scored_by(world, *, trainer_class=FixedGRPO, **options):
    keep = Keep()
    trainer = make(trainer_class, world, outcome, callbacks=[keep], steps=1, **options)
    trainer.train()
    return keep.seen[0], trainer


def four(rows):
    """What one group has, for all four groups of the batch."""
    return [row for _ in range(4) for row in rows]


# --- steps -------------------------------------------------------------------------------------------------------


def test_step_scores_arrive_on_the_last_token_of_each_step(world):
    scored, _ = scored_by(world, process_rewards=first_number, advantage=at_the_ends)
    expected = torch.zeros(4, 8)
    for row, (ends, texts) in enumerate(zip(ENDS, STEPS, strict=True)):
        for end, text in zip(ends, texts, strict=True):
            expected[row, end] = int(text[0])
    assert_close(scored.advantages, expected.repeat(4, 1))
    batch = scored.batch
    assert batch.step_mask.tolist() == four(MASK)
    assert [ends[mask].tolist() for ends, mask in zip(batch.step_ends, batch.step_mask, strict=True)] == four(ENDS)
    assert not batch.step_ends[~batch.step_mask].any()
    assert list(batch.step_rewards) == ["first_number"]
    assert batch.step_rewards["first_number"].isnan().equal(~batch.step_mask)


def test_a_process_reward_is_called_as_a_reward_is_with_steps_beside(world):
    got = {}

    def keep(*, prompts, completions, completion_ids, steps, answer, trainer_state, log_metric, **columns):
        got.update(prompts=prompts, completions=completions, ids=completion_ids, steps=steps, answer=answer)
        log_metric("asked", trainer_state.global_step)
        return [None] * len(steps)

    _, trainer = scored_by(world, process_rewards=keep, advantage=at_the_ends)
    assert got["steps"] == four(STEPS)
    assert got["completions"] == four([text for text, _ in WRITTEN])
    assert list(map(len, got["ids"])) == four(LENGTHS)
    assert got["answer"] == [str(sum(map(int, prompt[:-1].split("+")))) for prompt in got["prompts"]]
    assert logged(trainer, "asked") == [0]


def test_the_librarys_step_credit_trains_on_the_scores(world):
    """Called by the trainer, it gives what it gives on tensors made by hand."""
    credit = partial(step_credit, returns=min_returns, outcome_weight=0.5)
    scored, trainer = scored_by(world, process_rewards=first_number, advantage=credit)
    by_hand = credit(
        torch.arange(4.0).repeat(4),
        step_rewards=torch.tensor(four([[1.0, 2.0, 3.0], [7.0, NAN, NAN], [4.0, 5.0, NAN], [NAN] * 3])),
        step_mask=torch.tensor(four(MASK)),
        step_ends=torch.tensor(four([[0, 3, 7], [5, 0, 0], [0, 3, 0], [0, 0, 0]])),
        completion_mask=torch.arange(8) < torch.tensor(four(LENGTHS))[:, None],
        group_size=4,
    )
    assert_close(scored.advantages, by_hand)
    assert len(by_hand[0].unique()) > 2  # it does tell the tokens of a row apart
    assert logged(trainer, "grad_norm")[0] > 0


def test_unscored_and_infinite_steps_are_nan_and_counted(world):
    def flaky(steps, **columns):
        scores = {"1": None, "2": INF, "3": 5.0, "7 or 8": torch.tensor(-INF), "4": 1, "5": NAN}
        return [[scores[text] for text in texts] if texts else None for texts in steps]

    scored, trainer = scored_by(world, process_rewards={"prm": flaky}, advantage=at_the_ends)
    expected = torch.tensor(four([[NAN, NAN, 5.0], [NAN] * 3, [1.0, NAN, NAN], [NAN] * 3]))
    assert_close(scored.batch.step_rewards["prm"], expected, equal_nan=True)
    assert logged(trainer, "rewardsmith/steps") == [6 / 4]
    assert logged(trainer, "rewardsmith/infinite_steps") == [8.0]
    assert logged(trainer, "rewardsmith/unscored_step_rate") == [pytest.approx(4 / 6)]
    assert logged(trainer, "step_rewards/prm/mean") == [3.0]
    assert logged(trainer, "rewardsmith/infinite") == [0.0]  # that one counts completions


def test_several_process_rewards_come_by_name_and_async_ones_run_together(world):
    """Each of the two awaits the other's start, so that run one after the other they would never end."""
    started = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def meet(steps, mine, others, **columns):
        started[mine].set()
        await asyncio.wait_for(started[others].wait(), timeout=20)
        return [[float(len(text)) for text in texts] for texts in steps]

    def difference(rewards, *, step_rewards, **context):
        assert set(step_rewards) == {"digit", "a", "b"}
        named = {name: context[name] for name in ("step_mask", "step_ends", "completion_mask")}
        return at_the_ends(rewards, step_rewards=step_rewards["digit"] - step_rewards["a"], **named)

    several = {
        "digit": first_number,
        "a": partial(meet, mine="a", others="b"),
        "b": partial(meet, mine="b", others="a"),
    }
    scored, _ = scored_by(world, process_rewards=several, advantage=difference)
    assert scored.advantages[0].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0]  # 1−1, 2−1, 3−1
    assert scored.advantages[1].tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]  # 7−6


def test_completions_without_any_step_have_empty_steps(world, monkeypatch):
    monkeypatch.setitem(globals(), "WRITTEN", [("9", False)] * 4)
    scored, trainer = scored_by(world, process_rewards=first_number, advantage=at_the_ends)
    assert scored.batch.step_mask.shape == (16, 1)
    assert not scored.batch.step_mask.any()
    assert not scored.advantages.any()
    assert logged(trainer, "rewardsmith/steps") == [0.0]


def test_a_transform_may_read_steps_where_the_loss_weighs_whole_sequences(world):
    def worst_step(rewards, *, step_rewards):
        worst = step_rewards.nan_to_num(nan=INF).amin(dim=1)
        return torch.where(worst.isfinite(), worst, NAN)

    scored, _ = scored_by(world, trainer_class=FixedRLOO, process_rewards=first_number, transform=worst_step)
    assert_close(scored.rewards, torch.tensor(four([1.0, 7.0, 4.0, NAN])), equal_nan=True)
    # Leave-one-out by hand: 1 − (7+4)/2, 7 − (1+4)/2, 4 − (1+7)/2; the row without a step is unscored.
    assert_close(scored.advantages, torch.tensor(four([-4.5, 4.5, 0.0, 0.0])))


def test_another_separator_is_bound_to_the_segmentation(world):
    scored, _ = scored_by(
        world,
        process_rewards=lambda steps, **columns: [[1.0] * len(texts) for texts in steps],
        segment=partial(segment_steps, separator=" or "),
        advantage=at_the_ends,
    )
    assert scored.batch.step_mask.sum(dim=1).tolist() == four([1, 2, 0, 0])
    assert scored.batch.step_ends[1].tolist() == [0, 5]


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda steps: [[1.0]], ValueError, r"prm returned 1 rows for 16 completions\. Return one list"),
        (lambda steps: 3.0, ValueError, r"prm returned float for 16 completions"),
        (lambda steps: [[1.0] for _ in steps], ValueError, r"prm returned 1 scores for a completion of 3 steps\. Retu"),
        (lambda steps: [1.0 for _ in steps], ValueError, r"prm returned float for a completion of 3 steps"),
        (lambda steps: [["good"] * len(s) for s in steps], TypeError, r"prm scored a step 'good', a str\. Return a n"),
    ],
)
def test_scores_that_do_not_fit_the_steps_are_refused(returned, error, message, world):
    reward = {"prm": lambda steps, **columns: returned(steps)}
    trainer = make(FixedGRPO, world, outcome, process_rewards=reward, advantage=at_the_ends, steps=1)
    with pytest.raises(error, match=rf"process_rewards: {message}"):
        trainer.train()


@pytest.mark.parametrize(
    "table",
    [
        StepTable([["1"]], [[0]], [[True]]),
        StepTable([["1"]] * 16, [[0]] * 16, [[False]] * 16),
        StepTable([["1"]] * 16, [[8]] * 16, [[True]] * 16),
        StepTable([["1"]] * 16, [[0, 0]] * 16, [[True]] * 16),
    ],
    ids=["too few rows", "a text without a place", "beyond the completion", "shapes that differ"],
)
def test_a_segmentation_that_does_not_fit_is_refused(table, world):
    trainer = make(
        FixedGRPO, world, outcome, process_rewards=first_number, advantage=at_the_ends, steps=1,
        segment=lambda ids, decode, *, complete: table,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"segment: .* do not fit 16 completions\. Return a data\.StepTable"):
        trainer.train()


@pytest.mark.parametrize("wrong", [[first_number], {}, "first_number"], ids=["list", "empty", "text"])
def test_process_rewards_are_a_function_or_named_functions(wrong, world):
    with pytest.raises(TypeError, match=r"FixedGRPO: process_rewards is .*Pass a function, or a mapping of name"):
        make(FixedGRPO, world, outcome, process_rewards=wrong, advantage=at_the_ends)


def test_process_rewards_that_nothing_reads_warn(world):
    with pytest.warns(UserWarning, match=r"FixedGRPO: process_rewards are scored, but no function reads .*step_credit"):
        make(FixedGRPO, world, outcome, process_rewards=first_number)


def test_a_function_that_wants_steps_is_told_when_there_are_none(world):
    trainer = make(FixedGRPO, world, outcome, advantage=at_the_ends, steps=1)
    with pytest.raises(TypeError, match=r"advantage: .* needs step_rewards, step_mask, step_ends, and is offered"):
        trainer.train()


# --- lengths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainer_class", [FixedGRPO, FixedRLOO])
def test_lengths_and_truncation_come_without_a_column(trainer_class, world):
    seen = {}

    def keep(rewards, *, lengths, truncated):
        seen.update(lengths=lengths, truncated=truncated)
        return rewards

    penalty = partial(length_penalty, per_token=0.5, free_tokens=4)
    scored, _ = scored_by(world, trainer_class=trainer_class, transform=penalty, advantage=keep)
    assert_close(scored.rewards, torch.tensor(four([0.0 - 2.0, 1.0 - 1.0, 2.0 - 1.5, 3.0])))
    assert_close(seen["lengths"], torch.tensor(four(LENGTHS), dtype=torch.float32))
    assert seen["truncated"].tolist() == four([False, False, True, True])


def test_lengths_are_those_sampled_where_truncated_completions_are_masked(world):
    seen = {}

    def keep(rewards, *, lengths, completion_mask):
        seen.update(lengths=lengths, counted=completion_mask.sum(dim=1))
        return rewards

    scored_by(world, advantage=keep, config={"mask_truncated_completions": True})
    assert seen["lengths"].tolist() == four(LENGTHS)
    assert seen["counted"].tolist() == four([8, 6, 0, 0])


def test_a_column_of_that_name_goes_first(world):
    seen = {}

    def keep(rewards, *, lengths):
        seen["lengths"] = lengths
        return rewards

    trainer = make(FixedGRPO, world, outcome, transform=keep, steps=1)
    trainer.train_dataset = trainer.train_dataset.add_column("lengths", [100] * len(trainer.train_dataset))
    trainer.train()
    assert seen["lengths"].tolist() == [100.0] * 16
