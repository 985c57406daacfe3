"""Programs are scored by their tests: what they print, exit with or claim decides nothing."""

import pickle
import random
from functools import partial

import pytest

import rewardsmith as rs
from rewardsmith.rewards import code_reward
from rewardsmith.rewards.code.formats import read_tests
from rewardsmith.rewards.code.running import Job, Rules, Verdict, verdicts
from rewardsmith.sandbox import Limits, Sandbox
from rewardsmith.scoring.calling import Unscored

pytestmark = pytest.mark.slow  # starts processes
QUICK = Limits(wall_s=10.0, cpu_s=1.0)
reward = partial(code_reward, limits=QUICK)


NAN = float("nan")


def fenced(code):
    return f"I add them.\n```python\n{code}\n```"


ADD = "def add(a, b):\n    return a + b"
ASSERTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
PAIRS = {"inputs": [[1, 2], [-1, 1]], "outputs": [3, 0], "fn_name": "add"}
LINES = {"inputs": ["1 2\n", "-1 1\n"], "outputs": ["3\n", "0\n"]}
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0"
LOOP = "def test_add():\n    for n in range(4):\n        assert sorted([add(n, 1)]) == [n + 1]"
UNIT = (
    "import unittest\nfrom solution import add\n\nclass TestAdd(unittest.TestCase):\n    def test_add(self):\n"
    "        self.assertEqual(add(1, 2), 3)\n        with self.assertRaises(TypeError):\n            add(1, None)"
)
COMMAND = {"command": ["python", "check.py"], "files": {"check.py": "from solution import add\nassert add(1, 2) == 3"}}


def test_a_right_program_passes_and_a_wrong_one_does_not_in_every_form_of_tests():
    forms = [
        {"tests": ASSERTS},
        {"test_list": ASSERTS},
        {"input_output": PAIRS},
        {"answer": PAIRS},
        {"test": CHECK, "entry_point": "add"},
        {"tests": LOOP},
        {"tests": UNIT},
        {"tests": COMMAND},
    ]
    names = {name for form in forms for name in form}
    columns = {name: [form.get(name) for form in forms for _ in range(2)] for name in names}
    programs = [fenced(code) for _ in forms for code in (ADD, ADD.replace("+", "-"))]
    assert reward(programs, **columns) == [1.0, 0.0] * len(forms)


def test_programs_that_read_and_print():
    right, wrong = "print(sum(map(int, input().split())))", "print(3)"
    assert reward([fenced(right), fenced(wrong), right], [LINES] * 3) == [1.0, 0.0, 0.0]
    assert reward([fenced(right), fenced(wrong)], [LINES] * 2, partial_credit=True) == [1.0, 0.5]
    assert reward([right], [LINES], block="whole") == [1.0]
    late = "print(sum(map(int, input().split())))\nraise ValueError"
    assert reward([fenced(late)], [LINES]) == [0.0]  # exit code 0 is needed, and not enough


def test_a_completion_that_continues_its_prompt():
    prompt = 'from math import floor\n\ndef add(a, b):\n    """Add."""\n'
    row = {"test": [CHECK] * 2, "entry_point": ["add"] * 2}
    completions = ["    return floor(a + b)\n", "    return a\n"]
    assert reward(completions, prompts=[prompt] * 2, block="whole", **row) == [1.0, 0.0]
    whole = fenced("def add(a, b):\n    return floor(a) + b")
    assert reward([whole, whole.replace("floor", "f")], prompts=[prompt] * 2, **row) == [1.0, 0.0]


def test_a_method_of_a_class_solution_is_found_by_its_name():
    method = fenced("class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b")
    assert reward([method] * 2, [PAIRS, ["assert Solution().add(1, 2) == 3"]]) == [1.0, 1.0]


NAMED = {"inputs": [[[4, 6]]], "outputs": [[6, 4, 1]], "fn_name": "gcd"}
HUMAN = 'from typing import List\n\ndef one() -> int:\n    return 1\n\ndef gcd(xs: List[int]) -> int:\n    """Gcd."""\n'


def test_a_named_function_has_the_imports_of_its_task_and_no_solution_in_them():
    body = "(self, xs: List[int]) -> Optional[List[int]]:\n        return [*Counter(xs)][::-1] + [pow(2, 2, 3)]"
    right = fenced(f"class Solution:\n    def gcd{body}")  # as LeetCode's editor gives it, without an import
    assert reward([right, fenced("pass")], [NAMED] * 2) == [1.0, 0.0]  # math.gcd is no solution
    asked = [[{"role": "user", "content": f"Complete it.\n```python\n{HUMAN}```"}]]
    check = ["def check(candidate):\n    assert candidate([2, 4]) == 3"]
    chat = partial(reward, prompts=asked, test=check, entry_point=["gcd"])
    assert chat([fenced("def gcd(xs: List[int]) -> int:\n    return min(xs) + one()")]) == [1.0]
    assert chat([fenced("def gcd(xs):\n    return min(xs)")]) == [0.0]


IN_PLACE = "def test_order():\n    given = [3, 1, 2]\n    order(given)\n    assert given == [1, 2, 3]"
ROTATED = (
    "def test_order():\n    given = [[1, 2], [3, 4]]\n    assert order(given) is None\n    assert given[0] == [3, 1]"
)


def test_what_a_function_changes_in_place_is_seen_by_the_tests():
    turn = "def order(m):\n    m[:] = [list(row) for row in zip(*m[::-1])]"
    programs = ["def order(x):\n    x.sort()", turn, "def order(x):\n    x.reverse()", "def order(x):\n    return x"]
    assert reward(list(map(fenced, programs)), [IN_PLACE, ROTATED, IN_PLACE, ROTATED]) == [1.0, 1.0, 0.0, 0.0]
    empty = "def order(x):\n    x.clear()\n    return []"  # a value that it returns is compared with what was given
    compared = "def test_order():\n    given = [3, 1]\n    assert order(given) == sorted(given)"
    assert reward([fenced(empty)], [compared]) == [0.0]


def test_tests_as_pytest_runs_them():
    rest = (
        "\n    def setup_method(self):\n        self.x = 1\n    def test_add(self):\n        assert add(self.x, 2) == 3"
    )
    star = "from solution import *\nimport solution\ndef test_add():\n    assert add(1, 2) == solution.add(2, 1) == 3"
    for tests in (f"class TestAdd:{rest}", star):
        assert reward([fenced(ADD), fenced(ADD.replace("+", "-"))], [tests] * 2) == [1.0, 0.0]


def test_a_main_block_and_an_import_from_the_future_do_not_count():
    start, end = "from __future__ import annotations\n", "\nif __name__ == '__main__':\n    print(add(int(input()), 1))"
    dated = "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\n"
    programs = [fenced(start + ADD), fenced(ADD + end), fenced(start + dated + ADD + end)]
    assert reward(programs, [ASSERTS] * 3, test_setup_code=["import math"] * 3) == [1.0] * 3


FOOLING = {
    "prints a verdict": "print('PASS', 'OK', '[True, True]', '1.0', sep='\\n')",
    "exits with 0": "import os\nos._exit(0)",
    "exits when called": "def add(a, b):\n    raise SystemExit(0)",
    "equals everything": "class E:\n    __eq__ = lambda s, o: True\ndef add(a, b):\n    return E()",
    "a number that equals everything": "class E(int):\n    __eq__ = lambda s, o: True\ndef add(a, b):\n    return E(7)",
    "raises": "def add(a, b):\n    raise AssertionError('passed')",
    "skips": "import unittest\ndef add(a, b):\n    raise unittest.SkipTest('no')",
    "lacks a module": "import no_such_module_",
    "does not parse": "def add(a, b:",
    "defines nothing": "pass",
    "patches the checker": "import unittest\nunittest.TestCase.assertEqual = print\ndef add(a, b):\n    return 7",
    "redefines the relay": "def rewardsmith_call(*args):\n    return 3\ndef add(a, b):\n    return 7",
}


def test_no_trick_is_rewarded_or_excused():
    programs = [fenced(code) for code in FOOLING.values() for _ in range(2)]
    tests = [ASSERTS, LINES] * len(FOOLING)
    assert reward(programs, tests, partial_credit=True) == [0.0] * len(programs)
    assert set(reward(programs[::2], [LOOP] * len(FOOLING))) <= {0.0, None}  # None where the value is an object


def test_expected_values_are_not_in_any_process_of_the_program():
    """A program that sends back all it can find, which is compared with the values that it should not find."""
    search = """
import gc, os, sys
def add(a, b):
    found, frame = [sys.argv, dict(os.environ)], sys._getframe()
    found += [o for o in gc.get_objects() if isinstance(o, (str, list, tuple, dict))]
    for name in (*os.listdir('.'), '/proc/self/cmdline', '/proc/self/environ', '/proc/1/cmdline'):
        try:
            found.append(open(name, errors='replace').read())
        except OSError:
            pass
    while frame:
        found.append(list(frame.f_locals.values()))
        frame = frame.f_back
    return str(''.join(['735', '26189']) in str(found))
"""
    tests = ["assert add(1, 2) == 73526189", "assert add(1, 2) == 'False'"]
    assert reward([fenced(search)], [tests], partial_credit=True) == [0.5]
    found = fenced(search.replace("''.join(['735', '26189'])", "'find_this'") + "marker = 'find_this'\n")
    assert reward([found], [tests], partial_credit=True) == [0.0]  # it finds what is there


@pytest.mark.parametrize(
    ("code", "limit"),
    [("while True:\n    pass", "cpu"), ("print('x' * 10_000_000)", "output"), ("x = bytearray(10**10)", "memory")],
)
def test_a_limit_that_was_hit_fails_the_test_and_is_named(code, limit):
    told = []
    limits = Limits(wall_s=20.0, cpu_s=1.0, output_bytes=1000)
    assert code_reward([fenced(code)], [LINES], limits=limits, log_extra=lambda *logged: told.append(logged)) == [0.0]
    assert told == [("tests", [f"test 1 of 2: the limit of {limit} was hit"])]


def test_calls_that_wait_end_at_a_limit_of_all_together():
    slow = fenced("import time\ndef add(a, b):\n    time.sleep(0.4)\n    return a + b")
    tests = ["assert add(1, 2) == 3"] * 30  # 12 s, above the limit of 5 s
    assert code_reward([slow], [tests], limits=Limits(wall_s=5.0)) == [0.0]


def test_the_reason_of_each_failure_is_logged_without_the_expected_value():
    told = {}
    reward([fenced(ADD.replace("+", "-")), "no code", fenced(ADD)], [ASSERTS] * 3, log_extra=told.__setitem__)
    assert told == {"tests": ["test 1 of 2: add gives another value", "no code block", ""]}


CANNOT_RUN = {
    "no tests": "holds no tests",
    "def test_add():\n    assert add(1, lambda: 1) == 3": "an argument in the tests is no plain data",
    "import no_such_module_\ndef test_add():\n    assert add(1, 2) == 3": "the tests need no_such_module_",
    "def test_nothing():\n    pass": "the tests call nothing",
    "def test_add(n):\n    assert add(n, 2) == 3": "parameters",
    "async def test_add():\n    assert add(1, 2) == 3": "async",
    "def test_add():\n    assert add(1, 2) == THREE": "the tests use THREE of the program",
    "def test_add():\n    assert add(1, 2) == 3\n    assert Sum.of(1, 2) == 3": "the tests use Sum of the program",
    "def test_add():\n    try:\n        add(1, 2)\n    except NoSum:\n        pass": "the tests catch NoSum",
    UNIT.replace("TypeError", "NoSum"): "the tests catch NoSum",
}


def test_tests_that_cannot_be_run_leave_the_row_unscored_with_the_reason():
    completions, columns = [fenced(ADD)] * (len(CANNOT_RUN) + 1), [*CANNOT_RUN, ASSERTS]
    *unscored, right = code_reward.reasoned(completions, columns, limits=QUICK)
    assert all(isinstance(one, Unscored) for one in unscored)
    assert [why in one.why for one, why in zip(unscored, CANNOT_RUN.values(), strict=True)] == [True] * len(CANNOT_RUN)
    assert right == 1.0
    assert reward(completions, columns) == [None] * len(CANNOT_RUN) + [1.0]


def test_partial_credit_by_public_and_hidden_tests():
    columns = {"public_tests": [ASSERTS[:1]], "tests": [ASSERTS]}  # 1 public, 2 hidden
    hard_coded = [fenced("def add(a, b):\n    return 3")]  # passes the public test and one hidden
    assert reward(hard_coded, **columns) == [0.0]
    assert reward(hard_coded, **columns, partial_credit=True) == [pytest.approx(2 / 3)]
    assert reward(hard_coded, **columns, partial_credit=True, public_weight=0.0) == [0.5]
    assert reward(hard_coded, public_tests=[ASSERTS], partial_credit=True, public_weight=0.0) == [None]
    quiet = {"inputs": ["1\n", "2\n"], "outputs": ["", "x\n"]}
    assert reward([fenced("pass")], [quiet], partial_credit=True) == [0.0]  # no output earns nothing


def two_numbers(row, rng):
    """Fresh inputs; a row's columns decide how many."""
    return [(rng.randint(100, 999), rng.randint(100, 999)) for _ in range(row["n_fresh"])]


def lines(row, rng):
    return [f"{rng.randint(100, 999)} {rng.randint(100, 999)}\n" for _ in range(3)]


def test_fresh_inputs_find_what_knows_only_the_tests():
    table = "def add(a, b):\n    return {(1, 2): 3, (-1, 1): 0}.get((a, b))"
    columns = {"solution": [ADD] * 2, "n_fresh": [3] * 2}
    assert reward([fenced(ADD), fenced(table)], [ASSERTS] * 2, **columns) == [1.0, 1.0]
    fresh = partial(reward, generator=two_numbers, solution_column="solution")
    assert fresh([fenced(ADD), fenced(table)], [ASSERTS] * 2, **columns) == [1.0, 0.0]
    assert fresh([fenced(table)], [ASSERTS], solution=[ADD], n_fresh=[3], partial_credit=True) == [0.4]  # 2 of 5
    program = "print(sum(map(int, input().split())))"
    columns = {"reference": [program] * 2}
    assert reward([fenced(program), fenced("print(3)")], [LINES] * 2, generator=lines, **columns) == [1.0, 0.0]


def test_fresh_inputs_are_the_same_for_the_same_program_and_other_for_another():
    seen = []

    def watched(row, rng):
        seen.append(rng.random())
        return []

    for text in (ADD, ADD, ADD + "\n"):
        reward([fenced(text)], [ASSERTS], generator=watched, solution_column="x", x=[ADD])
    assert seen[0] == seen[1] != seen[2]


def test_a_solution_that_fails_leaves_the_row_unscored():
    fresh = partial(code_reward.reasoned, generator=two_numbers, solution_column="solution")
    (found,) = fresh([fenced(ADD)], [ASSERTS], solution=["def add(a, b):\n    raise ValueError('no')"], n_fresh=[1])
    assert "the solution in `solution` fails" in found.why
    for tests, missing in ((ASSERTS, None), (LINES, ""), (LINES, NAN)):  # no program prints nothing on fresh inputs
        (found,) = fresh([fenced(ADD)], [tests], solution=[missing], n_fresh=[1])
        assert "the row has no solution in the column `solution`" in found.why


def test_verdicts_name_each_case():
    suite = read_tests({"tests": ASSERTS})
    with Sandbox(QUICK) as sandbox:
        found = verdicts([Job("def add(a, b):\n    return 3", suite)], sandbox, Rules(True, 0.0, "lines"))
    assert found == [Verdict((True, False), "test 2 of 2: add gives another value")]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"block": "frist"}, "block is 'frist'. Pass one of last, first"),
        ({"whitespace": None}, "whitespace is None. Pass one of lines, exact"),
        ({"tolerance": -1}, "tolerance is -1. Pass a finite number"),
        ({"tolerance": NAN}, "tolerance is nan"),
        ({"public_weight": "2"}, "public_weight is '2'"),
    ],
)
def test_an_option_of_another_value_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        code_reward([], [], **option)


def test_rows_without_tests_do_not_stop_the_others_and_an_empty_batch_is_empty():
    assert reward([fenced(ADD), fenced(ADD)], [None, ASSERTS]) == [None, 1.0]
    assert reward([], []) == []


def test_score_and_pickle_take_it_as_any_other_reward():
    assert pickle.loads(pickle.dumps(reward)).keywords == {"limits": QUICK}
    rows = [{"prompt": "Add.", "completion": fenced(ADD), "reward_model": {"ground_truth": PAIRS}}]
    assert [scored.reward for scored in rs.score(code_reward, rows)] == [1.0]
    conversation = [[{"role": "assistant", "content": fenced(ADD)}]]
    assert reward(conversation, [ASSERTS], prompts=[[{"role": "user", "content": "Add."}]]) == [1.0]


def test_a_batch_keeps_its_order():
    rng = random.Random(0)
    offsets = [rng.randint(0, 3) for _ in range(12)]
    programs = [fenced(f"def add(a, b):\n    return a + b + {n}") for n in offsets]
    assert reward(programs, [ASSERTS] * 12) == [float(n == 0) for n in offsets]
