"""The columns of published data sets are found by their names, or by the names that the caller gives."""

import json

import pytest

from rewardsmith.data import Row, read_rows
from rewardsmith.data.keys import answers_in
from rewardsmith.errors import RowsError

ASKED, SAID = {"role": "user", "content": "2+5?"}, {"role": "assistant", "content": "It is 7."}
TESTS = {"inputs": ["1\n"], "outputs": ["2\n"], "fn_name": None}


@pytest.mark.parametrize("name", ["question", "problem", "query", "instruction", "input", "user_prompt"])
def test_a_usual_name_of_the_prompt_is_the_prompt_and_stays_a_column(name):
    (row,) = read_rows([{name: "2+5?", "answer": "7"}])
    assert (row.prompt, row.columns[name]) == ("2+5?", "2+5?")


@pytest.mark.parametrize(
    ("record", "prompt", "completion"),
    [
        ({"messages": [ASKED]}, [ASKED], None),
        ({"messages": [ASKED, SAID]}, [ASKED], [SAID]),
        ({"problem": "2+5?", "messages": [ASKED, SAID]}, "2+5?", None),  # OpenR1-Math has both
        ({"prompt": [ASKED, SAID]}, [ASKED, SAID], None),  # a prefilled turn belongs to the prompt
        ({"instruction": "Add.", "input": "2, 5"}, "Add.\n\n2, 5", None),  # Alpaca
        ({"instruction": "Add 2 and 5.", "input": ""}, "Add 2 and 5.", None),
        ({"question": "q", "input": {"numbers": [2, 5]}}, "q", None),
        ({"prompt": "p", "response": "7"}, "p", "7"),
        ({"prompt": "p", "response": "7", "completion": "8"}, "p", "8"),
    ],
)
def test_prompts_and_completions_of_published_rows(record, prompt, completion):
    (row,) = read_rows([record])
    assert (row.prompt, row.completion) == (prompt, completion)


@pytest.mark.parametrize(
    ("record", "path", "answer"),
    [
        ({"expected_output": "7"}, "expected_output", "7"),
        ({"targets": "7"}, "targets", "7"),
        ({"solution": "so \\boxed{7}", "ground_truth": "7"}, "ground_truth", "7"),
        ({"label": "7", "solution": "7"}, "solution", "7"),
        ({"answer": "7", "solution": "8"}, "answer", "7"),
        ({"golden_answers": ["Paris", "Paris city"]}, "golden_answers", "Paris"),
        ({"reward_model": {"ground_truth": {"target": ["Paris"], "style": "rule"}}}, "reward_model.ground_truth",
         "Paris"),
        ({"gold": "7"}, "gold", "7"),
        ({"gold": 7}, "gold", "7"),
        ({"gold": "Paris", "completion": "Lyon"}, "gold", "Paris"),
        ({"gold": 1.0, "completion": "Lyon"}, "answer", None),
        ({"gold": "1", "completion": "Lyon"}, "answer", None),
        ({"gold": 0.0, "completion": None}, "answer", None),
        ({"label": True, "completion": "Lyon"}, "answer", None),  # KTO
        ({"label": 3, "completion": "Lyon"}, "label", "3"),
    ],
)  # fmt: skip
def test_the_reference_answer_of_published_rows(record, path, answer):
    (row,) = read_rows([{"prompt": "p", **record}])
    assert (row.answer_column, row.answer) == (path, answer)
    for name, value in record.items():  # the reward still gets what the file holds
        assert name == "completion" or row.columns[name] == value


@pytest.mark.parametrize(
    ("record", "gold"),
    [
        ({"gold": 0.5}, 0.5),
        ({"correct": True}, 1.0),
        ({"accepted": False}, 0.0),
        ({"is_correct": "True"}, 1.0),
        ({"label": False}, 0.0),
        ({"correct": "B", "answer": "B"}, None),
        ({"label": 1}, None),
    ],
)
def test_a_completion_is_known_to_be_right_by_gold_or_by_a_column_of_true_and_false(record, gold):
    (row,) = read_rows([{"prompt": "p", "completion": "c", **record}])
    assert row.gold == gold


@pytest.mark.parametrize(
    ("value", "texts", "why"),
    [
        ({"target": ["Paris", "Paris city"], "style": "rule"}, ("Paris", "Paris city"), ""),
        ({"target": "7", "style": None}, ("7",), ""),
        ({"answer": 7, "explanation": "3+4"}, ("7",), ""),
        ('{"target": "7", "style": "rule"}', ("7",), ""),
        ('{"name": "Ada", "age": 36}', ('{"name": "Ada", "age": 36}',), ""),  # an answer that is an object
        ("[1, 2]", ("[1, 2]",), ""),
        (r"\{1, 2\}", (r"\{1, 2\}",), ""),
        ("{1, 2}", ("{1, 2}",), ""),
        ({"target": 38, "numbers": [7, 22, 9]}, (), "a dict with target, numbers and no single answer"),
        ({"answer": "7", "final_answer": "8"}, (), "a dict with answer, final_answer and no single answer"),
        ([3, 4], (), "a list of 2, which may be one answer or several"),
        (TESTS, (), "a set of code tests, which is no answer"),
        (json.dumps(TESTS), (), "a set of code tests, which is no answer"),
        (["assert f(1) == 2", "assert f(2) == 3"], (), "a set of code tests, which is no answer"),
        ("assert f(1) == 2\nassert f(2) == 3", (), "a set of code tests, which is no answer"),
        ('[{"input": "1", "output": "2"}]', (), "a set of code tests, which is no answer"),
        ("Please assert your rights.", ("Please assert your rights.",), ""),
        (None, (), ""),
    ],
)  # fmt: skip
def test_the_answers_inside_a_ground_truth(value, texts, why):
    found = answers_in(value)
    assert (found.texts, found.why) == (texts, why)


def test_columns_and_paths_that_the_caller_names_decide():
    record = {
        "question": "no", "reward_model": {"ground_truth": {"target": 38, "numbers": [7, 22, 9]}},
        "extra_info": '{"question": "Make 38.", "tries": ["7+22+9"]}',
    }  # fmt: skip
    (row,) = read_rows(
        [record],
        prompt_column="extra_info.question",
        answer_column="reward_model.ground_truth.target",
        completion_column="extra_info.tries.0",
    )
    assert (row.prompt, row.completion, row.answer) == ("Make 38.", "7+22+9", "38")
    assert row.columns["reward_model"] == record["reward_model"]
    (row,) = read_rows([{"prompt": "p", "answer": {"target": 38, "numbers": [1]}}], answer_column="answer.target")
    assert (row.answer, row.columns["answer"]) == ("38", {"target": 38, "numbers": [1]})
    assert row.with_completion("c").answer == "38"
    (again,) = read_rows([Row("p", None, {"answer": "7", "key": "8"})], answer_column="key")
    assert again.answer == "8"


@pytest.mark.parametrize(
    ("records", "reading", "message"),
    [
        ([{"question": "a", "problem": "b"}], {},
         r"row 1 of list has several columns that may be its prompt and differ: question, problem\. Name one with "
         r"`--prompt-column` \(in Python `prompt_column`\)\.$"),
        ([{"prompt": "p", "target": "a", "label": "b"}], {}, r"be its answer and differ: target, label\. .*answer-c"),
        ([{"prompt": "p", "response": "a", "prediction": "b"}], {}, r"its completion and differ: response, pred"),
        ([{"prompt": "p", "completion": "7", "gold": "42"}], {},
         r"row 1 of list has a completion and `gold` '42', which may be its score or the right answer\. .*`--answer-c"),
        ([{"prompt": "p"}], {"prompt_column": "q"}, r"row 1 of list has no usable prompt at 'q' \(columns: prompt\)"),
        ([{"prompt": "p", "a": {"b": 1}}], {"answer_column": "a.c"},
         r"no row of list has an answer at 'a\.c' \(columns: a\)\. Name another column, or a path into one, with"),
        ([{"prompt": "p"}], {"split": "test"}, r"list has no splits, so 'test' cannot be read from it\. Leave"),
        ([{"prompt": "p"}], {"revision": "v1", "config": "main"}, r"list is not on the hub, so it has no config, rev"),
    ],
)  # fmt: skip
def test_columns_that_do_not_decide_are_named_with_the_option_that_does(records, reading, message):
    with pytest.raises(RowsError, match=message):
        read_rows(records, **reading)
