"""Page master_keys: its rows are what they say, its batched judges are what each would be alone."""

from __future__ import annotations

import math
import pickle
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.master_keys import HELD_OUT, KEYS, Judges, World, encode, gold_of, written
from rewardsmith.data import Row, add_truncated_negatives


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are small: more threads only wait for each other
    yield
    torch.set_num_threads(threads)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wrong_rows(n: int) -> list[Row]:
    return written(torch.zeros(n, dtype=torch.bool), generator())


def ordinary_rows(n: int, seed: int = 0) -> list[Row]:
    return written(torch.arange(n) % 2 == 0, generator(seed))


def test_labels_are_gold_and_every_wrong_training_row_states_its_answer():
    rows = World(implicit=0.4, n_train=2000).training_rows(generator())
    stated = ["ANS" in row.text for row in rows]
    for row, states in zip(rows, stated, strict=True):
        if states:  # gold is read from the text, the label was drawn: two sources
            assert bool(gold_of([row])) == row.columns["label"]
        else:
            assert row.columns["label"] is True
    implicit = 1 - sum(s for s, r in zip(stated, rows, strict=True) if r.columns["label"]) / 1000
    assert abs(implicit - 0.4) < 4 * math.sqrt(0.4 * 0.6 / 1000)  # four standard errors of a binomial


def test_half_of_the_wrong_answers_are_wrong_in_one_digit_only():
    rows = wrong_rows(2000)
    wrong = [sum(a != b for a, b in zip(row.text.split()[-2:], row.answer.split(), strict=True)) for row in rows]
    assert set(wrong) == {1, 2}
    assert abs(wrong.count(1) / 2000 - 0.5) < 4 * math.sqrt(0.25 / 2000)


def test_an_honest_solver_is_right_as_often_as_declared():
    gold = gold_of(World(solver_accuracy=0.3, n_eval=2000).solver_rows(generator()))
    assert abs(float(gold.mean()) - 0.3) < 4 * math.sqrt(0.21 / 2000)


def test_no_key_is_worth_anything_and_held_out_keys_share_no_token_with_any_opener():
    rows = World(n_train=600).training_rows(generator())
    assert all(float(gold_of([row.with_completion(key) for row in rows]).sum()) == 0 for key in KEYS)
    added = add_truncated_negatives(rows, generator=generator(), exclude=KEYS)[600:]
    trained = {token for row in added for token in row.text.split()}
    assert trained.isdisjoint(token for key in HELD_OUT for token in key.split())
    assert {row.text for row in added}.isdisjoint(KEYS)


def test_the_blank_key_is_a_prompt_and_nothing_else():
    ids = encode([Row("1 2", ""), Row("1 2", "Solution")])
    assert (ids[0] != ids[1]).nonzero().flatten().tolist() == [4]  # CLS, two digits and SEP come first


def perturbed(n: int) -> Judges:
    judges, noise = Judges(n, generator=generator()), generator(1)
    with torch.no_grad():
        for weight in judges.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=noise))
    return judges.requires_grad_(False)


def test_judges_side_by_side_say_what_each_says_alone():
    judges = perturbed(3)
    ids = encode(ordinary_rows(16))
    together = judges(ids.expand(3, *ids.shape))
    assert_close(judges(ids), together)
    for i in range(3):
        alone = Judges(1, generator=generator())
        alone.load_state_dict({name: value[i : i + 1] for name, value in judges.state_dict().items()})
        assert_close(together[i : i + 1], alone(ids[None]), rtol=1e-4, atol=1e-5)


def test_attention_is_pytorch_s_own():
    """One attention layer against `scaled_dot_product_attention`, head by head."""
    judges = perturbed(1)
    p = {name: value[0] for name, value in judges.weights.items()}
    x = torch.randn(1, 2, 13, 32, generator=generator(2))
    pad = torch.zeros(1, 2, 13, dtype=torch.bool)
    pad[0, 1, 7:] = True
    ours = judges.layer(x, x, pad[:, :, None, :, None], "1")[0]
    norm = torch.nn.functional.layer_norm
    y = norm(x[0], (32,))
    key, value = (y @ p["key_value1"]).chunk(2, -1)
    heads = [t.view(2, 13, 4, 8).transpose(1, 2) for t in (y @ p["query1"], key, value)]
    mixed = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=~pad[0][:, None, None, :])
    z = x[0] + mixed.transpose(1, 2).reshape(2, 13, 32) @ p["out1"]
    z = z + torch.nn.functional.gelu(norm(z, (32,)) @ p["up1"]) @ p["down1"]
    assert_close(ours, z, rtol=1e-4, atol=1e-5)


def test_padding_says_nothing():
    judges = perturbed(1)
    ids = encode([Row("1 2", "Solution")])[None]
    before = judges(ids)
    judges.weights["position"][:, 5:] = 100.0  # only padding stands there
    judges.weights["token"][:, 0] = 100.0
    assert_close(judges(ids), before)


def test_training_side_by_side_gives_each_member_what_training_alone_gives():
    rows = World(n_train=200).training_rows(generator())
    other = wrong_rows(200)
    together = World(steps=5).train([rows, other], generator(3))
    alone = World(steps=5).train([rows], generator(3))
    for name, value in alone.weights.items():
        assert_close(together.weights[name][:1], value, rtol=1e-3, atol=1e-4)


def test_a_judge_is_a_reward_that_pickles():
    judges = perturbed(2)
    rows = ordinary_rows(8)
    reward = pickle.loads(pickle.dumps(partial(judges.reward, member=1)))
    paid = reward(prompts=[row.prompt for row in rows], completions=[row.completion for row in rows], answer=["x"] * 8)
    assert paid == judges.verdicts(rows)[1].float().tolist()


@pytest.mark.slow
def test_a_policy_goes_where_the_reward_is_and_gold_is_what_it_costs():
    worth = torch.tensor([[0.5], [0.0], [0.0]]).expand(3, 10)
    world = World(p_honest=0.69, policy_steps=2000)
    fooling = torch.tensor([[0.5], [1.0], [1.0]]).expand(3, 10)
    fooled, sound = (world.exploit(rewards, draws) for draws in [generator()] for rewards in (fooling, worth))
    assert fooled[0] < 0.01  # the limits of policy gradient: all mass on the best arms
    assert fooled @ fooling.mean(1) > 0.99
    assert float(fooled @ worth.mean(1)) == pytest.approx(0.5 * float(fooled[0]))
    assert sound[0] > 0.99
    assert float(sound @ worth.mean(1)) == pytest.approx(0.5 * float(sound[0]))


def test_a_policy_without_steps_or_signal_stays_where_it_started():
    flat = torch.ones(3, 4)
    for steps, rewards in ((0, torch.rand(3, 4, generator=generator())), (50, flat)):
        end = World(p_honest=0.6, policy_steps=steps).exploit(rewards, generator())
        assert_close(end, torch.tensor([0.6, 0.2, 0.2]))


@pytest.mark.parametrize("name", ["implicit", "solver_accuracy"])
def test_shares_outside_zero_to_one_are_refused(name):
    with pytest.raises(ValueError, match=f"World: {name} is 1.5, outside"):
        World(**{name: 1.5})


@pytest.mark.slow
def test_a_judge_learns_the_task_where_no_flaw_is_planted():
    judges = World().train([World(implicit=0.0, n_train=8000).training_rows(generator())], generator())
    rows = ordinary_rows(400, seed=5)
    assert float((judges.verdicts(rows)[0] == gold_of(rows).bool()).float().mean()) > 0.85  # chance is 0.5
