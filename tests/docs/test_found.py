"""What README says was found in published rewards is true of the versions that it names."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.installed import part_of

import rewardsmith

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EVALUATED = (
    "binary_matrix", "n_queens", "countdown", "puzzle24", "spiral_matrix", "string_insertion", "simple_integration",
    "intermediate_integration", "polynomial_multiplication",
)  # fmt: skip

pytestmark = pytest.mark.slow


def test_the_versions_accused_are_those_installed():
    accused = dict(re.findall(r"(TRL|math-verify|reasoning-gym) (\d[\d.]*\d)", README))
    assert accused == {name: version(name) for name in ("TRL", "math-verify", "reasoning-gym")}
    assert f"version = {{{rewardsmith.__version__}}}" in README


def scores(task, answer, n=12):
    """What a task pays an answer on each of its puzzles, and the puzzles."""
    puzzles = part_of("reasoning-gym", "reasoning_gym").create_dataset(task, size=n, seed=0)
    return [(puzzles.score_answer(answer(entry), entry), entry) for entry in puzzles]


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("game_of_life_halting", lambda entry: "no idea"),
        ("complex_arithmetic", lambda entry: "NaN"),
        ("puzzle24", lambda entry: "1*2*3*4"),
        ("gsm_symbolic", lambda entry: "-" + entry["answer"]),
    ],
)
def test_a_wrong_answer_is_paid_in_full_on_every_puzzle(task, answer):
    assert {score for score, _ in scores(task, answer)} == {1.0}


def test_a_lone_0_is_paid_in_full_where_the_answer_begins_with_0():
    paid = [(score, entry["answer"]) for score, entry in scores("coin_flip", lambda entry: "0")]
    assert {score for score, answer in paid if answer.startswith("0.")} == {1.0}
    assert {score for score, answer in paid if answer == "1"} == {0.0}


@pytest.mark.parametrize("task", EVALUATED)
def test_the_completion_is_evaluated(task, capsys):
    scores(task, lambda entry: "print('evaluated')", n=1)
    assert capsys.readouterr().out == "evaluated\n"


def test_the_rewards_of_trl_pay_a_part_of_the_pair_and_an_empty_thought():
    rewards = part_of("trl", "trl.rewards")
    said = [[{"role": "assistant", "content": text}] for text in (r"\boxed{(2, 11)}", r"\boxed{11}")]
    assert rewards.accuracy_reward(said, solution=["(2, 11)"] * 2) == [0.0, 1.0]
    assert rewards.accuracy_reward(said, solution=["$(2, 11)$"] * 2) == [1.0, 0.0]
    thought = [[{"role": "assistant", "content": "<think></think>"}]]
    assert rewards.think_format_reward(thought) == [1.0]
