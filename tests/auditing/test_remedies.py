"""The code that a report offers: it compiles for every kind of reward, and what it builds works."""

from __future__ import annotations

import ast
import importlib
import json
import re
from functools import partial
from pathlib import Path

import pytest

import rewardsmith.auditing
from rewardsmith.auditing import audit
from rewardsmith.auditing.remedies import NAMED, remedies_in, setting_of
from rewardsmith.data import read_rows
from rewardsmith.recipes import Recipe
from rewardsmith.scoring import Target, as_sources, as_target, load_reward

PACKAGE = Path(rewardsmith.auditing.__file__).parent
REWARD = """
def holds_the_answer(completions, solution, **columns):
    return [float(key in text) for text, key in zip(completions, solution, strict=True)]


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return float(ground_truth in solution_str)


def reward_func(queries, prompts, labels):
    return [float(label in query) for query, label in zip(queries, labels, strict=True)]
"""
OURS = "my_rewards:holds_the_answer"
ROOMS = ("advantages", "data", "measures", "rewards", "transforms")
WITHOUT_CODE = {"localization_reward", "PairwiseReward", "read_preferences"}  # a training run, a model, a reader
NOT_HERE = {"RewardEnsemble", "mean_minus_std"}  # they load a trained ensemble


def advices() -> dict[str, str]:
    """Every remedy that some advice in the package names, with its room."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.startswith('"""'):
                for room, name in re.findall(r"`rewardsmith\.(\w+)\.(\w+)[(`]", node.value):
                    found[name] = room
    return {name: room for name, room in found.items() if room in ROOMS}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The reward and the data of a user, in the current folder."""
    (tmp_path / "my_rewards.py").write_text(REWARD)
    pairs = [
        {"prompt": f"Tell me of {n}.", "chosen": f"{n} it is. It is even." * 2, "rejected": "No."} for n in range(20)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    yield
    importlib.sys.modules.pop("my_rewards", None)


def rows_of(answers, column="solution"):
    return read_rows([{"prompt": f"Number {n}?", column: key} for n, key in enumerate(answers)])


def run(code: str) -> dict:
    names: dict = {}
    exec(compile(code, "remedy", "exec"), names)
    return names


def of(target, rows, contract=None):
    return partial(remedies_in, setting=setting_of({"": target}, contract or target.contract, rows))


@pytest.mark.slow
def test_every_remedy_that_an_advice_names_exists_and_has_code(module):
    code = of(load_reward(OURS), rows_of(["4"]))
    named = advices()
    assert len(named) > 25
    for name, room in named.items():
        assert hasattr(importlib.import_module(f"rewardsmith.{room}"), name), name
        assert bool(code(f"`rewardsmith.{room}.{name}`")) is (name not in WITHOUT_CODE), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        OURS,
        "my_rewards.py:holds_the_answer",
        "my_rewards:compute_score",
        "my_rewards:reward_func",
    ],
)
def test_the_code_runs_as_pasted_whatever_signature_the_reward_has(module, spec):
    code = of(load_reward(spec), rows_of(["4", "5"]))
    for name, room in advices().items():
        for pasted in code(f"`rewardsmith.{room}.{name}`"):
            built = run(pasted) if name not in NOT_HERE else compile(pasted, name, "exec")
            if "\nrecipe = " in pasted and name not in NOT_HERE:
                assert isinstance(built["recipe"], Recipe), name


def test_a_verifier_reads_the_column_that_the_rows_have(module):
    (pasted,) = of(load_reward(OURS), rows_of(["4", "5"]))("`rewardsmith.rewards.exact_number`")
    reward = run(pasted)["reward"]
    assert reward(["The answer is 4.", "4 or 5"], solution=["4", "5"]) == [1.0, 0.0]


def test_verl_and_openrlhf_get_their_own_signature(module):
    advice = "Read one answer: `rewardsmith.rewards.exact_number`, `math_equal`."
    (pasted,) = of(load_reward("my_rewards:compute_score"), rows_of(["4"]))(advice)
    assert run(pasted)["compute_score"]("data", "The answer is 4.", "4")["score"] == 1.0
    (pasted,) = of(load_reward("my_rewards:reward_func"), rows_of(["4"]))(advice)
    assert run(pasted)["reward_func"](["Number?The answer is 4."], ["Number?"], ["4"])["rewards"].tolist() == [1.0]


@pytest.mark.parametrize("truth", ["4", {"target": 4, "style": "rule"}, {"target": ["4", "four"]}])
def test_a_nested_key_is_read_where_verl_keeps_it(module, truth):
    rows = read_rows([{"prompt": "2+2?", "reward_model": {"ground_truth": truth}}])
    (pasted,) = of(load_reward(OURS), rows)("`rewardsmith.rewards.exact_number`")
    assert run(pasted)["reward"](["4", "5"], reward_model=[{"ground_truth": truth}] * 2) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("answers", "verifier"),
    [
        (["4", "1/2", "so\n#### 12"], "exact_number"),
        (["B", "C"], "multiple_choice"),
        (["4", r"\frac{1}{2}", "x^2 + 1"], "math_equal"),
        (["Paris", "New York"], "exact_text"),
    ],
)
def test_the_verifier_is_the_one_that_reads_these_answers(answers, verifier):
    setting = setting_of({"": as_target(lambda completions, answer: [0.0])}, "trl", rows_of(answers, "answer"))
    (pasted,) = remedies_in("`rewardsmith.rewards.exact_number`, `math_equal`", setting)
    own = run(pasted)["reward"]
    assert f"import {verifier}\n" in pasted
    texts = [f"\\boxed{{{key}}}" if verifier == "math_equal" else key for key in answers]
    assert own(texts, answers) == [1.0] * len(answers)


def test_what_the_advice_binds_is_in_the_code(module):
    code = of(load_reward(OURS), rows_of(["4"]))
    (pasted,) = code("Multiply by `rewardsmith.transforms.rescale(scale=0.43)`.")
    assert "rescale, scale=0.43" in pasted
    assert str(run(pasted)["recipe"].reward) == "0.43·holds_the_answer"


def test_sources_are_named_one_by_one(module):
    found = as_sources({"right": load_reward(OURS), "again": load_reward(OURS)})
    setting = setting_of(found.targets, "sources", rows_of(["4"]))
    (pasted,) = remedies_in("`rewardsmith.transforms.normalize_sources`", setting)
    assert list(run(pasted)["recipe"].sources) == ["right", "again"]


@pytest.mark.parametrize("name", ['x"; import os; "', "a\nimport os", "\u202eevil", "class", "a b:c"])
def test_a_hostile_name_is_text_and_no_code(name):
    target = Target(name, "trl", lambda completions: [0.0], spec=name)
    for spec in (name, None):
        setting = setting_of({"": Target(name, "trl", target.reward, spec=spec)}, "trl", [])
        for pasted in remedies_in("`rewardsmith.rewards.RequireAnswer`", setting):
            tree = ast.parse(pasted)
            assert not any(isinstance(node, ast.Import) for node in tree.body)
            assert pasted.isascii()


@pytest.mark.slow
def test_the_remedy_of_a_finding_passes_the_question_that_its_reward_failed(module):
    rows = rows_of([str(2 * n) for n in range(10, 34)])
    report = audit(load_reward(OURS), rows, workers=0, budget=2_000)
    (flaw,) = [finding for finding in report.every if finding.probe == "enumeration"]
    mended = audit(run(flaw.remedies[0])["reward"], rows, workers=0, budget=2_000)
    assert mended.at_least("medium") == ()
    assert {check.status for check in mended.checks if check.probe == "enumeration"} == {"clean"}


def test_names_in_an_advice_are_found_with_what_they_bind():
    advice = "Use `rewardsmith.transforms.rescale(scale=2)`, `transforms.mean_minus_std` or `math_equal`; see `--gold`."
    assert NAMED.findall(advice) == [("rescale", "scale=2"), ("mean_minus_std", "")]


@pytest.mark.parametrize(
    ("contract", "call"),
    [
        ("trl", lambda names, text: names["reward"]([text], answer=["BK412"])[0]),
        ("verl", lambda names, text: names["compute_score"]("codes", text, "BK412")["score"]),
        ("openrlhf", lambda names, text: names["reward_func"]([f"p{text}"], ["p"], ["BK412"])["rewards"][0]),
    ],
)
def test_where_the_case_of_keys_counts_the_code_keeps_it(contract, call):
    target = as_target(lambda completions, answer: [0.0])
    (pasted,) = of(target, rows_of(["BK412", "Ld107"], "answer"), contract)("`rewardsmith.rewards.exact_text`")
    names = run(pasted)
    assert [float(call(names, text)) for text in ("BK412", "bk412")] == [1.0, 0.0]
    (folded,) = of(target, rows_of(["Paris", "oslo"], "answer"), contract)("`rewardsmith.rewards.exact_text`")
    assert "fold_case" not in folded


@pytest.mark.parametrize(("keys", "answer"), [(["4", "17"], "so 4"), (["Paris"], "Answer: Paris"), ([], "Answer: yes")])
def test_the_gate_of_a_judge_admits_an_answer_and_no_opener(module, keys, answer):
    (pasted,) = of(load_reward(OURS), rows_of(keys or [None]))("`rewardsmith.rewards.RequireAnswer`")
    guarded = run(pasted)["guarded"]
    assert guarded.admits(answer)
    assert not any(guarded.admits(text) for text in ("", ":", "解", "Let's solve this step by step."))
