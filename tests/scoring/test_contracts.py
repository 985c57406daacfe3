import asyncio
import pickle
from functools import partial

import pytest

from rewardsmith.data import Row
from rewardsmith.errors import TargetError
from rewardsmith.scoring import (
    contract_of,
    from_openrlhf,
    from_plain,
    from_verl,
    rewards_of,
    score,
    to_openrlhf,
    to_trl,
    to_verl,
)
from rewardsmith.scoring.contracts import is_async, signature_of


def trl_exact(completions, answer, **columns):
    return [None if a is None else float(c == a) for c, a in zip(completions, answer, strict=True)]


async def trl_exact_async(completions, answer, **columns):
    return trl_exact(completions, answer)


class AlwaysOne:
    def __call__(self, completions, **columns):
        return [1.0] * len(completions)


@pytest.mark.parametrize(
    ("function", "contract"),
    [
        (trl_exact, "trl"),
        (trl_exact_async, "trl"),
        (AlwaysOne(), "trl"),
        (partial(trl_exact, extra=1), "trl"),
        (lambda completion_ids, **columns: [], "trl"),
        (lambda prompts, solution: [], "trl"),
        (lambda **columns: [], "trl"),
        (lambda prompt, completion: 0.0, "plain"),
        (lambda question, response, answer: 0.0, "plain"),
        (lambda completion: 0.0, "plain"),
        (lambda data_source, solution_str, ground_truth, extra_info=None, **kw: 0.0, "verl"),
        (lambda queries, prompts, labels, **kw: {}, "openrlhf"),
    ],
)
def test_the_contract_is_told_by_parameter_names(function, contract):
    assert contract_of(function) == contract


def test_no_contract_names_the_accepted_ones():
    with pytest.raises(TargetError, match=r"takes \(a, b\), which is no reward signature we know: TRL f\(completions"):
        contract_of(lambda a, b: 0.0)
    with pytest.raises(TargetError, match=r"^signature_of: dict has no signature .*Wrap it in a Python function"):
        signature_of(dict)


def test_plain_rewards_read_text_columns_and_aliases():
    rows = [Row([{"role": "user", "content": "2+2?"}], [{"role": "assistant", "content": "4"}], {"answer": "4"})]
    for function in (
        lambda prompt, completion, answer: float((prompt, completion, answer) == ("2+2?", "4", "4")),
        lambda question, response, ground_truth: float((question, response, ground_truth) == ("2+2?", "4", "4")),
        lambda completion, **kw: float(kw == {"prompt": "2+2?", "answer": "4"}),
        lambda prompt, completion, /: float((prompt, completion) == ("2+2?", "4")),
    ):
        assert rewards_of(score(function, rows, workers=0)) == [1.0]


@pytest.mark.parametrize("name", ["solution", "solutions", "ground_truth", "label", "labels", "target", "reference"])
def test_a_required_answer_under_another_name_is_the_answer(name):
    scope = {}
    exec(f"def reward(completions, {name}): return [float(x == 'a') for x in {name}]", scope)
    assert rewards_of(score(scope["reward"], [Row("p", "c", {"answer": "a"})], workers=0)) == [1.0]
    other = [Row("p", "c", {"answer": "b", name: "a"})]  # a column of that very name comes first
    assert rewards_of(score(scope["reward"], other, workers=0)) == [1.0]


def test_verl_scores_come_from_a_float_or_a_dict_and_ground_truth_from_where_verl_keeps_it():
    def compute_score(data_source, solution_str, ground_truth, extra_info=None):
        score = float(solution_str == ground_truth) + 10 * float(extra_info == {"i": 1}) + 100 * (data_source == "d")
        return {"score": score, "acc": 1} if extra_info else score

    rows = [
        Row("p", "4", {"answer": "4"}),
        Row("p", "4", {"answer": "5", "ground_truth": "4", "data_source": "d", "extra_info": {"i": 1}}),
        Row("p", "4", {"reward_model": {"ground_truth": "4"}}),
    ]
    assert rewards_of(score(compute_score, rows, workers=0)) == [1.0, 111.0, 1.0]
    reward = from_verl(compute_score)
    assert reward(prompts=["p"], completions=["4"], answer=["4"], trainer_state=None) == [1.0]
    [scored] = score(from_verl(lambda solution_str, **kw: {"acc": 1.0}), rows[:1], workers=0)
    assert (scored.reason, scored.detail) == ("type", "dict: {'acc': 1.0}")


def test_openrlhf_gets_one_row_by_position_and_may_return_tensor_or_dict():
    import torch

    def reward_func(queries, prompts, labels, **kwargs):
        return {"rewards": torch.tensor([float(queries == ["2+2=4"] and prompts == ["2+2="] and labels == ["4"])])}

    rows = [Row("2+2=", "4", {"answer": "4"})]
    assert rewards_of(score(reward_func, rows, workers=0)) == [1.0]
    assert rewards_of(score(from_openrlhf(lambda q, p, labels: torch.tensor([0.5])), rows, workers=0)) == [0.5]


def test_async_row_functions_become_async_rewards():
    async def judged(prompt, completion):
        return 0.5

    reward = from_plain(judged)
    assert is_async(reward)
    assert asyncio.run(reward(prompts=["a", "b"], completions=["c", "d"])) == [0.5, 0.5]


def test_there_and_back_is_the_same_reward():
    rows = [Row("2+2=", "4", {"answer": "4"}), Row("2+2=", "5", {"answer": "4"})]
    assert rewards_of(score(from_verl(to_verl(trl_exact, unscored=None)), rows, workers=0)) == [1.0, 0.0]
    assert rewards_of(score(from_openrlhf(to_openrlhf(trl_exact, unscored=None)), rows, workers=0)) == [1.0, 0.0]
    assert rewards_of(score(to_trl(trl_exact), rows, workers=0)) == [1.0, 0.0]


@pytest.mark.parametrize("reward", [trl_exact, trl_exact_async])
def test_exports_pay_unscored_rows_what_was_said_and_flag_them(reward):
    assert to_verl(reward, unscored=-1.0)("d", "4", None, {"index": 3}) == {"score": -1.0, "scored": 0.0}
    result = to_openrlhf(reward, unscored=-1.0)(["a4", "b5"], ["a", "b"], ["4", None])
    assert result["rewards"].tolist() == [1.0, -1.0]
    assert result["extra_logs"]["scored"].tolist() == [1.0, 0.0]


def test_exports_raise_on_unscored_rows_where_that_was_said():
    with pytest.raises(ValueError, match=r"^to_verl: trl_exact left '4' unscored \(none\)\. Filter such rows out"):
        to_verl(trl_exact, unscored=None)("d", "4", None)


@pytest.mark.parametrize("export", [to_verl, to_openrlhf])
def test_nan_cannot_stand_for_unscored(export):
    with pytest.raises(ValueError, match=rf"^{export.__name__}: unscored=nan would spoil the average of its whole"):
        export(trl_exact, unscored=float("nan"))


def test_an_openrlhf_query_without_its_prompt_is_refused():
    with pytest.raises(ValueError, match=r"^to_openrlhf: the query 'x' does not contain its prompt 'a'.*chat template"):
        to_openrlhf(trl_exact, unscored=0.0)(["x"], ["a"], ["4"])


def test_exported_names_tell_configurations_apart_and_everything_pickles():
    one, two = to_trl(partial(trl_exact, tolerance=1)), to_trl(partial(trl_exact, tolerance=2))
    assert (one.__name__, two.__name__) == ("trl_exact(tolerance=1)", "trl_exact(tolerance=2)")
    assert to_trl(trl_exact, name="exact").__name__ == "exact"
    exports = [one, to_verl(trl_exact, unscored=0.0), to_openrlhf(trl_exact, unscored=0.0), from_plain(trl_exact)]
    for exported in exports:
        assert pickle.loads(pickle.dumps(exported)) == exported or exported is one
    assert is_async(to_trl(trl_exact_async))
