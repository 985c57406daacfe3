"""Tests of programs are read in each form that data sets have, and assertions are split from what they expect."""

import json
import os
import pickle
import zlib
from base64 import b64encode

import pytest

from rewardsmith.rewards.code.asserts import Call, read_asserts
from rewardsmith.rewards.code.comparing import same_output, same_value
from rewardsmith.rewards.code.formats import Command, Script, Stdin, Suite, program_of, read_tests
from rewardsmith.scoring.calling import Unscored

NAN = float("nan")


def kinds(columns, prompt=""):
    suite = read_tests(columns, prompt)
    assert isinstance(suite, Suite), suite
    return [type(case) for case in suite.cases]


@pytest.mark.parametrize("wrap", [lambda value: value, json.dumps])
def test_inputs_and_outputs_are_programs_or_calls_by_the_name_of_a_function(wrap):
    assert kinds({"input_output": wrap({"inputs": ["1\n"], "outputs": ["2\n"]})}) == [Stdin]
    assert kinds({"input_output": wrap({"inputs": [["1", "2"]], "outputs": [["3"]]})}) == [Stdin]
    suite = read_tests({"tests": wrap({"inputs": [[1, [2]]], "outputs": [[3]], "fn_name": "f"})})
    (call,) = suite.cases
    assert (call.name, call.args) == ("f", (1, [2]))
    assert call.holds(3, 0.0)  # APPS puts a value into a list of its own
    assert call.holds([3], 0.0)
    assert not call.holds(4, 0.0)


def test_public_and_hidden_tests_of_a_contest():
    public = [{"input": "1\n", "output": "2", "testtype": "stdin"}]
    hidden = [{"input": "[1, 2]\n3", "output": "[3, 2]", "testtype": "functional"}]
    suite = read_tests({"public_test_cases": json.dumps(public), "private_test_cases": public})
    assert (suite.n_public, len(suite.cases), suite.cases[0]) == (1, 2, Stdin("1\n", "2"))
    suite = read_tests({"private_test_cases": hidden, "metadata": '{"func_name": "swap"}'})
    assert suite.cases[0].args == ([1, 2], 3)
    assert suite.cases[0].holds((3, 2), 0.0)  # JSON has no tuples
    assert kinds({"tests": {"input": ["1", "2"], "output": ["1", "4"]}}) == [Stdin, Stdin]


def packed(value):
    """As LiveCodeBench packs its private tests."""
    return b64encode(zlib.compress(pickle.dumps(value))).decode()


class Runs:
    def __reduce__(self):
        return os.putenv, ("UNPICKLED", "1")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_compressed_private_tests_are_read_and_never_unpickled(protocol):
    hidden = json.dumps([{"input": "1\n", "output": "2 é\u2028", "testtype": "stdin"}] * 2, ensure_ascii=False)
    text = b64encode(zlib.compress(pickle.dumps(hidden, protocol))).decode()
    assert read_tests({"private_test_cases": text}).cases == (Stdin("1\n", "2 é\u2028"),) * 2
    for other in (Runs(), [hidden], hidden.encode(), 7, [Runs(), hidden]):
        assert "holds no tests" in read_tests({"private_test_cases": packed(other)}).why
    assert os.popen("echo $UNPICKLED").read() == "\n"


def test_arguments_are_one_a_line_whatever_else_ends_a_line_in_unicode():
    hidden = [{"input": '"a\u2028b"\n\n2\n', "output": "3", "testtype": "functional"}]
    suite = read_tests({"private_test_cases": hidden, "metadata": '{"func_name": "f"}'})
    assert suite.cases[0].args == ("a\u2028b", 2)


def test_assertions_of_a_list_and_of_a_text():
    asserts = ["assert add(1, 2) == 3", "assert add([1], b=2) == 3"]
    assert kinds({"test_list": asserts}) == kinds({"test": "\n".join(asserts)}) == [Call, Call]
    assert kinds({"ground_truth": {"assert_case": asserts}}) == kinds({"answer": {"functional": asserts[0]}}) * 2
    mixed = read_tests({"test_list": [asserts[0], "assert sorted(add(1, 2)) == 3"], "test_setup_code": "import math"})
    assert [type(case) for case in mixed.cases] == [Call, Script]
    assert (mixed.cases[1].source.split("\n")[0], mixed.preamble) == ("import math", "import math\n")


HUMAN = "from typing import List\n\ndef half(x):\n    return x / 2\n\ndef mean(xs: List) -> float:\n    '''Doc.'''\n"


def test_a_check_calls_the_entry_point_and_the_prompt_begins_it():
    check = "METADATA = {}\n\ndef check(candidate):\n    assert candidate([1.0, 2.0]) == 1.5\n    assert True\n"
    suite = read_tests({"test": check, "entry_point": "mean"}, HUMAN)
    assert [(case.name, case.args) for case in suite.cases] == [("mean", ([1.0, 2.0],))]
    assert suite.entry == "mean"
    whole = "def mean(xs):\n    return sum(xs) / len(xs)"
    assert program_of("    return 0", suite, HUMAN, "whole") == HUMAN + "    return 0"
    assert program_of(f"```python\n{whole}\n```", suite, HUMAN, "last").endswith(whole + "\n")
    assert "def half" in program_of(whole, suite, HUMAN, "whole")
    loop = "def check(candidate):\n    for x in range(3):\n        assert candidate([x]) == x\n"
    (script,) = read_tests({"test": loop, "entry_point": "mean"}, HUMAN).cases
    assert script.candidate == "mean"
    method = read_tests({"test": check, "entry_point": "Solution().mean"}, "Find the mean.")
    assert (method.cases[0].name, method.entry) == ("Solution().mean", "")


def test_test_functions_and_a_command():
    assert kinds({"test": "def test_f():\n    assert f(1) == 2\n"}) == [Script]
    assert kinds({"test": "import unittest\nclass T(unittest.TestCase):\n    pass\n"}) == [Script]
    (command,) = read_tests({"tests": {"command": "python check.py", "files": {"check.py": "import solution"}}}).cases
    assert command == Command(("python", "check.py"), {"check.py": "import solution"}, "solution.py")


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({}, "the row has no tests"),
        ({"tests": None}, "the row has no tests"),
        ({"tests": NAN}, "the row has no tests"),
        ({"tests": "three cases"}, "`tests` holds no tests: 'three cases'"),
        ({"test_list": ["assert f( == 3"]}, "`test_list` holds no tests that can be read"),
        ({"input_output": {"inputs": ["1", "2"], "outputs": ["1"]}}, "`input_output` holds no tests that can be read"),
        ({"private_test_cases": "eJxrYJmqzQABPS"}, "`private_test_cases` holds no tests"),  # compressed pickle
        ({"public_tests": ["assert f(1) == 1"], "tests": "?"}, "`tests` holds no tests"),
        ({"input_output": {"inputs": ["1"], "outputs": [" \n"]}}, "no test expects any output"),
        ({"tests": {"command": "true", "files": {"../x": ""}}}, "leads out of the working folder"),
        ({"tests": {"command": "true", "solution": "/x"}}, "leads out of the working folder"),
        ({"tests": {"command": "true", "files": {"x": b""}}}, "a file is no text"),
    ],
)
def test_tests_that_cannot_be_read_say_why(columns, why):
    found = read_tests(columns)
    assert isinstance(found, Unscored)
    assert why in found.why


@pytest.mark.parametrize(
    ("code", "holds", "fails"),
    [
        ("assert f(1) == (1, 'a')", [(1, "a")], [[1, "a"], (1, "b")]),
        ("assert {1: 2} == f(1)", [{1: 2}], [{"1": 2}]),
        ("assert f(1) != 3", [4], [3]),
        ("assert f(1)", [1, "x"], [0, "", None]),
        ("assert not f(1), 'message'", [0, []], [1]),
        ("assert f(1) is True", [True], [1, False]),
        ("assert f(1) == True", [1, True], [0]),  # as Python compares
        ("assert f(1) is None", [None], [0, False]),
        ("assert math.isclose(f(1), 2.0, rel_tol=0.1)", [2.1], [2.5]),
        ("assert abs(f(1) - 2.0) < 0.5", [2.4], [2.5]),
        ("assert abs(2.0 - f(1)) <= 0.5", [2.5], [2.6]),
        ("assert f(1) == set()", [set()], [[], {}]),
    ],
)
def test_an_assertion_holds_as_python_says(code, holds, fails):
    (call,) = read_asserts(code)
    assert [call.holds(value, 0.0) for value in holds] == [True] * len(holds)
    assert [call.holds(value, 0.0) for value in fails] == [False] * len(fails)
    for value in holds + fails:  # Python's own verdict
        try:
            exec(code, {"f": lambda x, value=value: value, "math": __import__("math")})
            assert value in holds
        except AssertionError:
            assert value in fails


@pytest.mark.parametrize(
    "code",
    [
        "assert f(x) == 1",
        "assert f(1) == g(1)",
        "assert f(*[1]) == 1",
        "assert f(**{'a': 1}) == 1",
        "assert len(f(1)) == 1",
        "assert f(1).x == 1",
        "assert f(1) == 1 == 1",
        "assert f(1) in [1]",
        "assert abs(f(1)) < 1",
        "assert isinstance(1, 2)",
        "x = 1\nassert f(1) == 1",
        "for x in [1]:\n    assert f(1) == 1",
        "assert f(1) is 1",
        "",
        "assert",
    ],
)
def test_other_code_is_not_split(code):
    assert read_asserts(code) is None


CODE = "n = int(input())\nprint(n)\n"
FENCED = f"So:\n```python\n{CODE}```"


@pytest.mark.parametrize(
    "text",
    [
        FENCED + "<|im_end|>",
        FENCED + "<|eot_id|>\n",
        "<think>\n```python\nprint(0)\n```\n</think>\n" + FENCED,
        "<think>No code.</think>" + FENCED + "</s>",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>" + FENCED + "<|return|>",
        FENCED.replace("python", "py3"),
        FENCED.replace("```", "~~~"),
        FENCED.replace("```", "````"),
        "```python c```\n" + FENCED,
        "1. So:\n   ```python\n   n = int(input())\n   print(n)\n   ```",  # as Markdown reads a block in a list
    ],
)
def test_the_program_is_what_a_reader_sees_after_the_thinking(text):
    assert program_of(text, Suite((Stdin("", "x"),)), "", "last") == CODE


@pytest.mark.parametrize("block", ["last", "first", "only", "all", "whole"])
@pytest.mark.parametrize("text", ["<think>\n" + FENCED, "<think>\n" + FENCED + "\n</think>\nAs above."])
def test_a_program_in_the_thinking_is_none(text, block):
    found = program_of(text, Suite((Stdin("", "x"),)), "", block)
    assert found == ("\nAs above." if block == "whole" and "</think>" in text else None)


@pytest.mark.parametrize(
    "text", ["```python\n" * 50_000, "~" * 300_000, "``` " + " " * 300_000, " \n" * 100_000, FENCED + "\n```" * 50_000]
)
def test_many_fences_are_read_in_one_pass(text):  # a search from each of them would not end
    assert program_of(text, Suite((Stdin("", "x"),)), "", "first") == (CODE if FENCED in text else None)
    assert isinstance(read_tests({"tests": text}), Unscored)


def test_imports_from_the_future_stay_first():
    suite = Suite((Stdin("", "x"),), preamble="import math\n")
    program = program_of("from __future__ import annotations\nx: Y = math.pi", suite, "", "whole")
    assert program == "from __future__ import annotations\nimport math\nx: Y = math.pi"


def test_which_block_counts():
    suite = Suite((Stdin("", "x"),))
    text = "```python\na\n```\nThen\n```bash\nls\n```\n```py\nb\n```\nand ```python c```\n```python\nunfinished"
    assert program_of(text, suite, "", "last") == "b\n"
    assert program_of(text, suite, "", "first") == "a\n"
    assert program_of(text, suite, "", "all") == "a\n\nb\n"
    assert program_of(text, suite, "", "only") is None
    assert program_of(text, suite, "", "whole") == text
    assert program_of("```\nc\n```", suite, "", "only") == "c\n"
    assert program_of("```bash\nls\n```", suite, "", "last") is None
    assert program_of("print(1)", suite, "", "last") is None


@pytest.mark.parametrize(
    ("given", "expected", "how", "same"),
    [
        ("1 2 \n3\n\n", "1 2\n3", "lines", True),
        ("1  2", "1 2", "lines", False),
        ("1  2\n3", "1 2 3", "tokens", True),
        ("1 2\n", "1 2", "exact", False),
        ("\n1", "1", "lines", False),
        ("0.30000000000000004 x", "0.3 x", "lines", True),
        ("0.31", "0.3", "lines", False),
        ("1e0", "1.0", "lines", True),
        ("1.0", "1", "lines", False),  # an integer is expected
        ("1e999", "1.0", "lines", False),
        ("nan", "1.0", "lines", False),
        ("1", "", "lines", False),
        ("1\r\n2\r\n", "1\n2", "lines", True),
    ],
)
def test_printed_text_is_compared_by_rule(given, expected, how, same):
    assert same_output(given, expected, 1e-6, how) is same


def test_values_are_compared_as_python_does_with_a_tolerance_for_floats():
    assert same_value([1, (2.0000001,)], [1, (2.0,)], 1e-6)
    assert not same_value([1, (2.0000001,)], [1, (2.0,)], 0.0)
    assert same_value(NAN, NAN, 0.0)
    assert same_value({"a": (1,)}, {"a": [1]}, 0.0, loose=True)
    assert same_value({1: 2}, {"1": 2}, 0.0, loose=True)
    assert not same_value({1: 2}, {"1": 2}, 0.0)
    assert not same_value(3.0000001, 3, 1e-6)  # an integer is expected
    assert not same_value("3", 3, 1.0)
