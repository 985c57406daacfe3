"""Each fault of math-verify found by experiment, shown on math-verify itself, and refused here."""

import builtins
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.installed import part_of

from rewardsmith.rewards import math_equal

math_verify = part_of("math-verify", "math_verify")


def math_verify_says(key: str, completion: str) -> bool:
    return math_verify.verify(math_verify.parse(f"${key}$"), math_verify.parse(completion))


FAULTS = [
    ("a false equation that ends in the key", "12", r"\boxed{13=12}"),
    ("a chain of them", "12", r"\boxed{99=13=12}"),
    ("an equation in two unknowns", "12", r"\boxed{x+y=12}"),
    ("a set for its element", "12", r"\boxed{\{12\}}"),
    ("an interval for its element", "12", r"\boxed{[12,12]}"),
    ("a list that repeats it", "12", r"\boxed{12,12}"),
    ("unfinished work", "12", r"\boxed{5+7}"),
    ("a sum still to be taken", "12", r"\boxed{\sum_{i=1}^{12}1}"),
    ("a percentage for its numeral", "9", r"\boxed{9\%}"),
    ("a numeral for its percentage", r"9\%", r"\boxed{9}"),
    ("twice the key, below six decimals", "0.0000001", r"\boxed{0.0000002}"),
    ("a rounded fraction", "1/3", r"\boxed{0.333333}"),
    ("a rounded key", "0.333333", r"\boxed{1/3}"),
    ("a rounded root", r"\sqrt{2}", r"\boxed{1.41421356}"),
    ("a near miss of a decimal", "12.0", r"\boxed{12.0000001}"),
    ("a set for a tuple", "(1,2)", r"\boxed{\{1,2\}}"),
    ("a tuple for a set", r"\{1,2\}", r"\boxed{(2,1)}"),
    ("an anagram", "even", r"\boxed{neve}"),
    ("another variable by case", "x", r"\boxed{X}"),
    ("another unit", r"12\text{ km}", r"\boxed{12\text{ m}}"),
    ("zero to the zero", "1", r"\boxed{0^0}"),
    ("the number before a factorial", "5", "5!"),
    ("a hidden comment", "12", "<!-- 12 -->"),
    ("digits side by side, which are added", "3", r"\boxed{1 2}"),
    ("a brace after a digit, which is added", "15", r"\boxed{12{3}}"),
    ("a phantom, which is added", "15", r"\boxed{12\phantom{3}}"),
    ("a dropped prime", "x+1", r"\boxed{x'+1}"),
]


@pytest.mark.parametrize(("key", "completion"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_what_math_verify_accepts_wrongly_is_refused(key, completion):
    assert math_verify_says(key, completion) is True
    assert math_equal([completion], [key]) == [0.0]


def test_off_the_main_thread_math_verify_fails_and_math_equal_scores():
    seen: list[object] = []

    def work() -> None:
        try:
            math_verify_says("12", r"\boxed{12}")
        except ValueError as error:
            seen.append(str(error))
        seen.append(math_equal([r"\boxed{\sqrt{12}}"], [r"2\sqrt{3}"]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "threaded environment" in str(seen[0])
    assert seen[1] == [1.0]


@pytest.mark.parametrize(
    "tower", [r"10^{10^{10}}", r"x^{10^{9}}", r"99999!", r"e^{e^{e^{e^{9}}}}", r"\sqrt{9^{9^{9^9}}}"]
)
def test_towers_that_math_verify_needs_its_alarm_for_are_refused_by_size(tower):
    assert math_equal([tower, tower], [r"\sqrt{2}", "x"]) == [0.0, 0.0]
    assert math_equal(["x"], [tower]) == [None]


EQUAL = [  # each pair equal by an identity that one can check by hand
    (r"\sqrt{12}", r"2\sqrt{3}"),
    (r"\sqrt{12}", r"2\cdot 3^{1/2}"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    (r"\sqrt{2}/2", r"2^{-0.5}"),
    ("x+1", "1+x"),
    ("(x+1)^2", "x^2+2x+1"),
    ("0.5x", r"\frac{x}{2}"),
    ("e^{2x}", "(e^x)^2"),
    (r"\ln 8", r"3\ln 2"),
    (r"\log_2 9", r"2\log_2 3"),
    ("x", r"\sin^2 x+\cos^2 x+x-1"),
    (r"\frac{\pi}{4}", r"\arctan 1"),
    (r"2\pi", "2π"),
    ("3+4i", "4i+3"),
    ("(1,2)", r"\left(1.0, \frac{4}{2}\right)"),
    ("1, 2", r"2 \text{ and } 1"),
    ("1, 2", r"\{2, 1\}"),
    (r"\pm 2", "2, -2"),
    (r"2\pm\sqrt3", r"2+\sqrt{3}, 2-\sqrt{3}"),
    ("x<2", "2>x"),
    (r"1<x\leq 2", r"2 \ge x > 1"),
    ("x=2", "2"),
    ("2", "x=2"),
    (r"(-\infty,3]", r"(-\infty, 3]"),
    (r"(1,2)\cup(3,4)", r"(3,4) \cup (1,2)"),
    (r"\text{even}", "Even"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&\frac{8}{2}\end{pmatrix}"),
]
UNEQUAL = [
    ("x<2", "x>2"),
    ("x<2", r"x\le 2"),
    ("(1,2)", "[1,2]"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "(1,2,3)"),
    ("1, 2", "1, 2, 3"),
    ("1, 2", "1"),
    ("1, 2", "1, 1"),
    ("x=2", "y=2"),
    ("x=2", "2x=4"),
    ("x+1", r"x+1+10^{-50}"),
    (r"\sqrt{2}", "1.414213562373095048801688724209698"),
    (r"\pi", "22/7"),
    (r"\pi", r"\frac{355}{113}"),
    (r"\infty", r"-\infty"),
    ("xy", "x"),
    ("ab", "a+b"),
    (r"\pm 2", "2"),
    (r"\emptyset", "0"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\4&3\end{pmatrix}"),
]


@pytest.mark.parametrize(("key", "given_"), EQUAL)
def test_equal_mathematics_is_accepted(key, given_):
    assert math_equal([rf"\boxed{{{given_}}}", f"The answer is ${given_}$."], [key, key]) == [1.0, 1.0]


@pytest.mark.parametrize(("key", "given_"), UNEQUAL)
def test_unequal_mathematics_is_refused(key, given_):
    assert math_equal([rf"\boxed{{{given_}}}", rf"\boxed{{{key}}}"], [key, key]) == [0.0, 1.0]


PIECES = [r"\frac", r"\sqrt", "{", "}", "2", "x", "^", r"\pi", "(", ")", ",", r"\cup", "="]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    text=st.text(alphabet="0123xyei+-*/^_{}()[],.<>= \\&%!'", max_size=25)
    | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
)
def test_nothing_a_policy_writes_raises(text):
    for key in (r"\sqrt{2}", "(1,2)", "x"):
        assert math_equal([rf"\boxed{{{text}}}", text], [key, key])[0] in (0.0, 1.0)
    assert math_equal(["1"], [text])[0] in (0.0, 1.0, None)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(a=st.integers(1, 30), b=st.integers(2, 30), near=st.integers(1, 5))
def test_roots_agree_with_sympy(a, b, near):
    import sympy

    key, moved = rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b + near}}}"
    assert sympy.sqrt(a * a * b) == a * sympy.sqrt(b) != sympy.sqrt(a * a * b + near)
    assert math_equal([rf"\boxed{{\sqrt{{{a * a * b}}}}}", rf"\boxed{{{moved}}}"], [key, key]) == [1.0, 0.0]


@pytest.mark.parametrize(
    "key",
    [None, "", "9" * 10**6, "x+" * 10**5 + "x", r"\boxed{}", r"\frac{1", r"\foo{2}"],
    ids=lambda key: str(key)[:9],
)
def test_a_key_that_cannot_be_read_leaves_the_row_unscored(key):
    assert math_equal(["12"], [key]) == [None]


def test_math_equal_needs_no_other_package(monkeypatch):
    real = builtins.__import__

    def blocked(name, *args, **kwargs):
        if name.startswith(("math_verify", "latex2sympy2_extended", "sympy")):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", blocked)
    assert math_equal([r"\sin^2 7+\cos^2 7", "2"], [r"\frac{2\pi}{2\pi}", r"\sqrt{5}"]) == [1.0, 0.0]
