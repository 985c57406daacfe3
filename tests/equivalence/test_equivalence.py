import random
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.work import lines_run

from rewardsmith.equivalence.keys import equivalent, key_kind
from rewardsmith.equivalence.numbers import read_number
from rewardsmith.equivalence.reading import number_tokens, reads_off, stands_alone
from rewardsmith.equivalence.spellings import Spelling, restated, same_notation, spellings_of
from rewardsmith.equivalence.wrong import STEPS, prefixes, slips, supersets, wrong_answers

KEYS = (
    "42", "-7", "0", "1,234", "98765", "0.5", "-.25", "3/4", r"\frac{1}{2}", "50%", "12 km", "$5", "x^2+1", r"\sqrt{8}",
    "B", "(C)", "yes", "True", "Paris", "NASA", "New York", "1, 2, 3", "[1, [2, 3]]", '{"a": 1, "b": "x"}',
    "the red fox jumps", "007", "1e5", "x = 5", "2 hours 30 minutes", "12:30", "2x", "東京", "3rd", "1 1/2", "ab\ncd",
)  # fmt: skip

KINDS = [
    ("42", "integer"), ("-1,234", "integer"), ("$42$", "integer"), ("12 km", "integer"), ("0.5", "decimal"),
    (".5", "decimal"), ("1e5", "decimal"), ("3/4", "fraction"), (r"\dfrac{3}{4}", "fraction"),
    ("1 1/2", "fraction"), ("50%", "percent"), (r"12.5\%", "percent"), ("x+1", "expression"),
    (r"\sqrt{2}", "expression"), ("2x", "expression"), ("C", "choice"), ("(D)", "choice"), ("Yes", "boolean"),
    ("false", "boolean"), ("Paris", "word"), ("NASA", "word"), ("007", "word"), ("12:30", "word"),
    ("New York", "text"), ("1, 2", "structured"), ("[[1, 0], [0, 1]]", "structured"),
    ('{"a": 1}', "structured"), ("a b\nc d", "structured"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "kind"), KINDS)
def test_the_layout_of_a_key_decides_its_kind(key, kind):
    assert key_kind(key) == kind


EQUAL = [
    ("1,234", "1234"), (r"1{,}234", "1234"), ("$42$", "42"), (r"\(42\)", "42"), ("42.", "42"), ("+42", "42"),
    ("42.0", "42"), (".5", "0.5"), ("1/2", "0.5"), (r"\frac{1}{2}", "0.5"), (r"-\dfrac12", "-1/2"), ("50%", "0.5"),
    (r"50\%", "50%"), ("1 1/2", "1.5"), (r"1\frac{1}{2}", "3/2"), ("1.5e3", "1500"), (r"1.5 \times 10^{3}", "1500"),
    ("−3", "-3"), ("2/4", "1/2"), ("12 km", "12km"), (r"12\text{ km}", "12 km"), (r"\boxed{7}", "7"), ("(B)", "B"),
    ("B.", "B"), ("YES", "yes"), ("paris", "Paris"), (r"\text{Paris}", "Paris"), ("2x", "x+x"),
    ("(x+1)(x-1)", "x^2-1"), (r"\frac{\sqrt{8}}{2}", r"\sqrt{2}"), ("[1, 2]", "[1,2]"), ("1, 2", "(1.0, 2)"),
    ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_spellings_of_one_value_are_equivalent_both_ways(a, b):
    assert equivalent(a, b) is True
    assert equivalent(b, a) is True


DIFFERENT = [("42", "43"), ("0.1", "0.10000001"), ("1/3", "0.3333"), ("50%", "0.6"), ("B", "C"), ("yes", "no"),
             ("x+1", "x-1"), (r"\sqrt{2}", "1.41421356"), ("1, 2", "1, 3"), ("1, 2", "1, 2, 3"), ("12 km", "13 km"),
             ('{"a": 1}', '{"a": 2}'), ("5", "")]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_provably_different_values_are_told_apart(a, b):
    assert equivalent(a, b) is False


OPEN = [("50%", "50"), ("12 km", "12"), ("007", "7"), ("Paris", "Lyon"), ("yes", "true"), ("1, 2", "2, 1"),
        ("NASA", "nasa"), ("e^2", "7.38"), ("f(x+1)", "fx+f"), ("1/2x", "x/2"), ("x = 5", "5"), ("B", "b"),
        ("a", "A")]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), OPEN)
def test_what_cannot_be_told_for_certain_stays_open(a, b):
    assert equivalent(a, b) is None


@pytest.mark.slow
@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_compare_as_python_fractions_do(a, b):
    assert equivalent(str(a), str(b)) is (a == b)
    assert equivalent(str(a), f"{2 * a.numerator}/{2 * a.denominator}") is True


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=6))
def test_decimals_are_read_exactly(value):
    number = read_number(f"{value:f}")
    assert number is not None
    assert number.value == Fraction(value)
    assert read_number(f"{value:,f}") is not None
    assert equivalent(f"{value:,f}", f"{value:f}") is True


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=4), st.lists(st.integers(-9, 9), min_size=1, max_size=4))
def test_polynomials_agree_exactly_where_sympy_expands_them_alike(roots, other):
    x = sympy.Symbol("x")
    product = "".join(f"(x+{root})" if root >= 0 else f"(x-{-root})" for root in roots)
    expanded = str(sympy.expand(sympy.prod(x + root for root in other))).replace("**", "^")
    if len(product) <= 40 and len(expanded) <= 60:
        expected = sympy.expand(sympy.prod(x + r for r in roots) - sympy.prod(x + r for r in other)) == 0
        assert equivalent(product, expanded) in (expected, None)


@pytest.mark.parametrize(
    "text",
    [
        "1e999999999",
        "9^9^9^9",
        "(" * 500,
        "2**2**2**2**2",
        "((((((9^12)^12)^12)^12)^12)^12)^12",
        "((((((x^12)^9)^8)^9)^12)^12)^12",
        "9" * 10_000,
        r"\frac{1}{" * 200,
        "x" * 50_000,
        "[" * 5000,
    ],
)
def test_hostile_text_is_refused_at_once(text):
    def ask():
        assert equivalent(text, "1") in (None, False)
        equivalent(text, text[::-1])
        spellings_of(text)
        key_kind(text)

    assert lines_run(ask) < 50_000


_PIECES = st.sampled_from(
    [*"0123456789.,/%$-+^(){}[]\\ eExy\n:;=_", "\\frac", "{", "}", "sqrt", "yes", "B", "\ud800", "٣", "²"]
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(_PIECES, max_size=14).map("".join) | st.text(max_size=20), st.text(max_size=6), st.integers(0, 99))
def test_odd_text_never_raises_and_equality_is_reflexive_and_symmetric(a, b, seed):
    assert equivalent(a, a) is True
    assert equivalent(a, b) is equivalent(b, a)
    assert all(equivalent(a, form.text) for form in spellings_of(a))
    for text in wrong_answers(a, [b, "7", "no"], rng=random.Random(seed)):
        assert text.strip()
        assert equivalent(a, text) is not True
    supersets(a), prefixes(a), reads_off(b, a), stands_alone(b, a), number_tokens(a)


def test_no_text_is_ever_executed(tmp_path):
    target = tmp_path / "ran"
    for text in (f"__import__('pathlib').Path('{target}').touch()", "exec('1')", "lambda: 0", "sympify('1')"):
        equivalent(text, "x+1")
    assert not target.exists()


def families(key):
    return {form.family for form in spellings_of(key)}


def texts(key):
    return {form.text for form in spellings_of(key)}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("1234", {"1,234", "1{,}234", "1234.0", "+1234", "$1234$", "1.234e3", "1234.", " 1234 ", "1234\n"}),
        ("42", {"42.0", "+42", "$42$", "42."}),
        ("1/3", {r"0.\overline{3}", r"\frac{1}{3}", "2/6"}),
        ("0.5", {"0.50", ".5", "1/2", r"\frac{1}{2}", r"\dfrac{1}{2}"}),
        ("1/2", {"0.5", r"\frac{1}{2}"}),
        ("50%", {"0.5", r"50\%", "50 %"}),
        ("12 km", {"12km", r"12\text{ km}"}),
        ("Paris", {"paris", r"\text{Paris}", "Paris."}),
        ("B", {"(B)", "B.", "B)"}),
    ],
)
def test_a_key_has_the_spellings_that_anyone_would_expect(key, expected):
    assert expected <= texts(key)


def test_forms_that_a_fair_grader_may_refuse_are_never_offered():
    assert "case" not in families("NASA") | families("B") | families("12 km")
    assert "fraction" not in families("1/3") | families("42")
    assert "units" not in families("42")
    assert "thousands" not in families("123") | families("007")
    assert families("007") <= {"surrounding", "latex"}
    assert families("the red fox jumps") == {"surrounding"}


@pytest.mark.parametrize("key", KEYS)
def test_every_form_is_another_text_of_the_same_value(key):
    forms = spellings_of(key)
    assert forms
    assert len({form.text for form in forms}) == len(forms)
    assert all(form.text != key and equivalent(key, form.text) for form in forms)


def test_restated_keys_are_right_only_as_answers_to_their_question():
    """A number in another layout is a code, "few" is not "a few", and 0.3333 is not 1/3."""
    made = {key: {form.family: form.text for form in restated(key)} for key in (*KEYS, "a few", "the mean", "1/3")}
    assert made["42"] == {"zero_padding": "042", "equation": "x = 42", "sentence": "So it is 42."}
    assert made["-7"]["zero_padding"] == "-07"
    assert made["3/4"] == {"equation": "x = 3/4", "sentence": "So it is 3/4."}
    assert (made["B"]["choice_case"], made["(C)"]["choice_case"]) == ("b", "c")
    assert made["the mean"]["article"] == "mean"
    assert not any("0.3" in text for text in (*made["1/3"].values(), *(form.text for form in spellings_of("1/3"))))
    for key in ("007", "12:30", "12 km", "$5", "x = 5", "a few", "Paris", "50%", "3rd", "NASA"):
        assert made[key].keys() == {"sentence"}
    assert made["ab\ncd"] == {}
    assert all(equivalent(key, text) is not False for key, forms in made.items() for text in forms.values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"0.\overline{3}", "1/3"),
        (r"0.1\overline{6}", "1/6"),
        (r"-3.\overline{142857}", "-22/7"),
        (r"0.\overline{9}", "1"),
    ],
)
def test_a_repeating_decimal_is_the_limit_of_its_series_and_no_truncation_is(text, value):
    assert equivalent(text, value) is True
    assert equivalent(text.replace("\\overline{", "").replace("}", ""), value) is False


@pytest.mark.slow
@given(st.fractions(max_denominator=1000))
def test_a_repeating_spelling_is_its_fraction(value):
    for form in spellings_of(str(value)):
        if form.family == "repeating":
            whole, _, rest = form.text.rstrip("}").partition(".")
            before, after = rest.split("\\overline{")
            many = Fraction(f"{whole}.{before}{after * 40}")
            assert abs(many - value) < Fraction(1, 10 ** (len(before) + 40 * len(after) - 1))


def test_notation_tells_own_spellings_from_crossings():
    assert same_notation("1234", Spelling("1,234", "thousands"))
    assert same_notation("0.5", Spelling("0.50", "trailing_zero"))
    assert same_notation(r"\frac{1}{2}", Spelling(r"\dfrac{1}{2}", "latex"))
    assert not same_notation("1234", Spelling("1{,}234", "thousands"))
    assert not same_notation("42", Spelling("42.0", "trailing_zero"))
    assert not same_notation("42", Spelling("$42$", "latex"))
    assert not same_notation("50%", Spelling("0.5", "percent"))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("seed", range(5))
def test_wrong_answers_are_wrong_distinct_and_apart_from_the_key(key, seed):
    wrong = wrong_answers(key, KEYS, rng=random.Random(seed))
    assert len(wrong) >= (1 if key_kind(key) == "boolean" else 2)
    assert len(set(wrong)) == len(wrong)
    for text in wrong:
        assert text.strip()
        assert equivalent(key, text) is not True
        assert text.casefold() not in key.casefold()
        assert key.casefold() not in text.casefold()
    assert wrong == wrong_answers(key, KEYS, rng=random.Random(seed))


@pytest.mark.slow
@given(st.integers(-(10**7), 10**7), st.integers(0, 10**6))
def test_wrong_integers_differ_in_value_and_keep_the_layout(value, seed):
    for key in (str(value), f"{value:,}"):
        near = wrong_answers(key, [], rng=random.Random(seed))
        assert len(near) == 3
        for text in near:
            assert int(text.replace(",", "")) != value
            assert ("," in text) == ("," in key) or len(text) < 4


@pytest.mark.slow
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-999, max_value=999, places=4), st.integers(0, 99))
def test_wrong_decimals_differ_by_more_than_rounding(value, seed):
    for text in wrong_answers(f"{value:f}", [], rng=random.Random(seed)):
        assert abs(Fraction(text) - Fraction(value)) >= max(abs(Fraction(value)) / 1000, Fraction(1, 10_000))


def test_a_reordered_list_or_text_is_not_called_wrong():
    for seed in range(20):
        wrong = wrong_answers("1, 1, 2", ["2, 1, 1", "1, 2", "3, 4"], rng=random.Random(seed))
        assert all(set(text.split(", ")) != {"1", "2"} for text in wrong)
    assert wrong_answers("red fox", ["fox red"], rng=random.Random(0), n_near=0) == []


def test_a_wrong_choice_keeps_the_layout_and_the_range_of_letters():
    assert set(wrong_answers("(B)", [], rng=random.Random(3), n_near=9)) == {"(A)", "(C)", "(D)"}
    assert set(wrong_answers("B", ["F"], rng=random.Random(3), n_near=9)) == {"A", "C", "D", "E", "F"}


@pytest.mark.parametrize(("key", "wrong"), [("yes", "no"), ("True", "False"), ("FALSE", "TRUE"), ("No", "Yes")])
def test_a_boolean_has_one_wrong_answer_in_its_own_case(key, wrong):
    assert wrong_answers(key, ["yes", "no"], rng=random.Random(0)) == [wrong]


@pytest.mark.parametrize("key", KEYS)
def test_supersets_hold_the_key_and_parts_lie_in_it_and_none_denotes_it(key):
    assert all(key.strip() in text and text != key and equivalent(text, key) is not True for text in supersets(key))
    for part in prefixes(key):
        assert 0 < len(part) < len(key.strip())
        at_an_end = key.strip().startswith(part) or key.strip().endswith(part)
        assert at_an_end or (key_kind(key) == "structured" and part in number_tokens(key))
        assert equivalent(part, key) is not True


def test_parts_that_stand_for_the_whole_are_left_out():
    assert "5" not in prefixes("x = 5")
    assert "y" not in prefixes("yes")
    assert "42" not in prefixes("42.0")
    assert ".5" not in prefixes("0.5")
    assert prefixes("7") == []


@pytest.mark.parametrize("key", [r"\frac{15}{17}", "(1, 2)", "[3; 4]", "$12$"])
def test_the_key_less_a_bracket_is_right(key):
    assert key[:-1] not in prefixes(key)
    assert key[1:] not in prefixes(key)


@pytest.mark.parametrize("key", ["67 apples", "12 km", "$5", "4.5 hours"])
def test_the_key_less_a_part_of_its_unit_may_be_right(key):
    whole = number_tokens(key)
    assert all(number_tokens(part) != whole for part in prefixes(key))
    assert "7 apples" in prefixes("67 apples")


def test_the_key_less_an_article_is_right():
    assert "derivative" not in prefixes("the derivative")
    assert "harbor" in prefixes("old harbor")


@pytest.mark.parametrize(
    ("key", "step", "text"),
    [
        ("42", "times ten", "420"),
        ("42", "divided by ten", "4.2"),
        ("1,234", "times ten", "12,340"),
        ("1,234", "with a decimal point for its comma", "1.234"),
        ("-7.25", "with the other sign", "7.25"),
        ("2/3", "turned upside down", "3/2"),
        ("427", "with its digits in another order", "724"),
        ("12.75", "cut to a whole number", "12"),
        ("3.5", "with a digit for its decimal point", "375"),
        ("5 meters", "in a unit of another scale", "5 kilometers"),
        ("5 meters", "in a unit of another kind", "5 kilograms"),
        ("3, 5, 5", "without a repeated element", "3, 5"),
        ("(1, 2)", "with its two parts exchanged", "(2, 1)"),
        ("2x+1", "with a variable in the other case", "2X+1"),
    ],
)
def test_a_step_of_normalization_gives_another_value(key, step, text):
    assert slips(key)[step] == text


@pytest.mark.parametrize("key", ["0", "11", "1/1", "3.01", "Paris", "yes", "B", "b", "1, 2", ""])
def test_a_step_that_leaves_the_value_is_not_taken(key):
    """0 has no other sign, 11 no other order, 1/1 no other way up, 3.01 is nearly 3, and b may be the option B."""
    made = slips(key)
    assert set(made) <= set(STEPS)
    assert all(equivalent(key, text) is not True for text in made.values())
    assert not {"with its digits in another order", "turned upside down", "cut to a whole number"} & set(made)


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("-5", "−5"), ("-5", "- 5"), ("0", "-0"), ("1/2", "2/4"), ("3/2", "1 1/2"), ("0.001", "1E-3"), ("5", "(5)"),
        ("2*sqrt(3)", r"2\sqrt{3}"), (r"\sqrt{2}", r"\sqrt 2"), (r"\pi", "π"), (r"2\pi", r"2 \pi"), ("(1,2)", "(1, 2)"),
        (r"50\%", "50%"), ("1000", "1e3"), ("0.5", ".5"), ("1,000", "1000"), ("5", r"\text{5}"),
    ],
)  # fmt: skip
def test_a_form_that_a_model_writes_is_among_the_spellings(key, form):
    assert form in [spelling.text for spelling in spellings_of(key)]


@given(st.integers(1, 10**6))
def test_supersets_of_an_integer_are_other_integers(value):
    assert all(int(text) != value and str(value) in text for text in supersets(str(value)))


def test_a_reader_finds_the_key_where_it_stands_alone():
    assert number_tokens("Add 1,200 and -3.5, or 3/4; x2 does not count.") == ["1,200", "-3.5", "3/4"]
    assert stands_alone("There are 1,200 of them", "1200")
    assert not stands_alone("There are 12000 of them", "1200")
    assert stands_alone("Is it Paris or Lyon?", "paris")
    assert not stands_alone("A parison is a bulb of glass", "paris")
    assert not stands_alone("anything", "")


def test_a_reader_takes_the_first_or_last_thing_for_an_answer():
    assert reads_off("What is 4 + 5?", "5")
    assert reads_off("What is 4 + 5?", "4")
    assert not reads_off("Is 4 + 5 more than 7?", "5")
    assert reads_off("Which is larger, Lyon or Paris?", "Paris")
    assert not reads_off("Is Paris larger than Lyon?", "Paris")


def test_numbers_cost_microseconds():
    """50 µs a pair at about 0.1 µs a line of Python."""
    pairs = [(f"{k},{k + 100:03d}", f"{k}{k + 100:03d}.0") for k in range(1, 800)]

    def ask():
        assert all(equivalent(a, b) for a, b in pairs)

    assert lines_run(ask) / len(pairs) < 500
