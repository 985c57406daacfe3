"""Each kind of key: right and near wrong answers, judged by Fraction, int, math, datetime, numpy, sympy and pint."""

import math
import re
import threading
from datetime import datetime
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.installed import part_of

from rewardsmith.rewards import exact_number, math_equal
from rewardsmith.rewards.verifiers.mathematics import kind_of
from rewardsmith.rewards.verifiers.units import Unit, _table, unit_named

small = st.integers(1, 60)


def verdict(key: str, given_: str, **options) -> float | None:
    return math_equal([rf"So it is $\boxed{{{given_}}}$."], [key], **options)[0]


# The kind and the key, then answers that are equal and answers that are not, by a definition or an identity by hand.
KINDS = r"""
number: 12
  = 12.0 ; 24/2 ; 12 cm ; x = 12 ; 7+5=12 ; １２
  ≠ 7+5 ; \sqrt{144} ; 2^2\cdot 3 ; 7+5=13 ; 12.0000001 ; 12!
number: \frac{1}{7}
  = 0.\overline{142857} ; 0.(142857) ; \frac17 ; 2/14
  ≠ 0.142857 ; 0.14285714285714 ; 7
number: 1\frac{3}{4}
  = 1 3/4 ; 7/4 ; 1.75 ; 175\%
  ≠ 13/4 ; 1\frac{4}{3} ; 1\cdot\frac34
number: 0.001
  = 10^{-3} ; 1e-3 ; \frac{1}{1000} ; 1\times10^{-3}
  ≠ 10^{3} ; 0.01
number: 5 \text{ m}
  = 500 cm ; 5 ; 5m ; 5 meters ; 0.005\text{ km}
  ≠ 5 cm ; 5 kg ; 5\text{ m}^2 ; 5 florps ; 50
number: 36 \text{ km/h}
  = 10 m/s ; 10\ \mathrm{m\,s^{-1}} ; 10\frac{\text{m}}{\text{s}} ; 36
  ≠ 36 m/s ; 36 miles per hour ; 10
number: 5 feet
  = 60 inches ; 5 ft ; 1 yard 2 feet
  ≠ 5 meters ; 5 feet 1 inch
number: 2.5 hours
  = 150 minutes ; 2 hours 30 minutes ; 2 hours and 30 minutes
  ≠ 2 hours 30 seconds ; 2.5 minutes
number: 60^\circ
  = 60 ; 60 degrees ; \frac{\pi}{3} ; \frac{\pi}{3}\text{ rad}
  ≠ 60\text{ rad} ; 1.047 ; 60^\circ\text{C}
number: 25^\circ\text{C}
  = 25°C ; 25 degrees Celsius ; 25
  ≠ 25°F ; 25^\circ ; 77
number: \$5
  = 5 dollars ; 500 cents ; 5.00 ; 5 USD
  ≠ €5 ; 5 cents ; \$5 million
number: \$3 million
  = 3000000 ; 3,000,000 dollars ; 3 million
  ≠ 3 ; \$3
number: 50\%
  = 0.5 ; \frac12 ; 50 percent
  ≠ 50 ; 5 ; 0.5\%
number: 17\text{th}
  = 17 ; 17^{\text{th}} ; 17th
  ≠ 17 tenths ; 1/7 ; 16th
number: 12345
  = 12,345 ; 12 345 ; 12{,}345 ; 12\,345 ; 12,\!345
  ≠ 12,34,5 ; 123 45 ; (12,345) ; 12.345
number: 1234567
  = 12,34,567 ; 1 234 567
  ≠ 1,234,5678 ; 1 234 5678
expression: 2\sqrt{3}\text{ cm}
  = \sqrt{12} ; 2√3 ; \frac{6}{\sqrt3} ; 20\sqrt{3}\text{ mm}
  ≠ 2\sqrt{3}\text{ m} ; 3.4641016151377544 ; 2\sqrt{2}
expression: 36\pi \text{ square inches}
  = 36π ; \frac{\pi}{4}\text{ square feet} ; 36*pi
  ≠ 36 ; 36\pi\text{ inches} ; 113.1
expression: x^2-1
  = (x-1)(x+1) ; -1+x^2 ; y = x^2-1 ; x^2-1+0
  ≠ x^2+1 ; (X-1)(X+1) ; x^2 ; x^2-1=0 ; x^2-1+10^{-60}
expression: \frac{a}{b}+\frac{c}{d}
  = \frac{ad+bc}{bd}
  ≠ \frac{a+c}{b+d}
expression: 2\frac{\sqrt{3}}{5}x
  = \frac{2\sqrt3 x}{5} ; 0.4\sqrt{3}x
  ≠ \frac{\sqrt3 x}{5} ; 2\frac35 x
expression: |x|
  = \sqrt{x^2}
  ≠ x ; -x ; x^2
expression: \sin 2x
  = 2\sin x\cos x ; 2\cos(x)\sin{x}
  ≠ 2\sin x ; \sin^2 x ; 2x
expression: \cos 60^\circ + x
  = \frac12 + x ; x+0.5
  ≠ \cos 60 + x
expression: n!
  = n(n-1)! ; n\cdot(n-1)!
  ≠ n ; (n-1)! ; n!!
expression: 5!
  = 120 ; 5!
  ≠ 5 ; 15 ; 5!!
expression: \binom{n}{2}
  = \frac{n(n-1)}{2} ; {n \choose 2} ; \dbinom n2
  ≠ \frac{n}{2} ; \binom{2}{n}
expression: \frac{n(n+1)}{2}
  = \sum_{i=1}^{n} i ; \sum_{k=1}^{n}k
  ≠ \frac{n^2}{2} ; \sum_{k=0}^{n-1}k
expression: (-1)^n
  = \cos(n\pi) ; (-1)^{n+2}
  ≠ -1^n ; (-1)^{n+1} ; 1
expression: \gcd(a,b)
  = \gcd(b,a) ; \gcd(a, b)
  ≠ \gcd(a,c) ; ab ; a
expression: \lfloor 3.7 \rfloor x
  = 3x
  ≠ 4x ; 3.7x
expression: \log_2 9
  = 2\log_2 3 ; \frac{\ln 9}{\ln 2} ; \frac{\log 9}{\log 2}
  ≠ \log 9 ; \ln 9 ; \log_3 9
expression: 3^{100}
  = 3^{100} ; 9^{50} ; 3\cdot 3^{99}
  ≠ 3^{101} ; 3^{100}+1 ; 300
expression: 3+4i
  = 4i+3 ; 3 + 4 i ; (2+i)^2
  ≠ 3-4i ; 3+4j ; 5 ; 3+4
expression: 6xyz
  = 6zyx ; 6 x y z ; 3x \cdot 2yz
  ≠ 6 ; 6xy ; xyz ; 6 apples
expression: 3m
  = 3 meters ; 3m ; 3\text{ m}
  ≠ 3 ; m ; 3 cm ; 30m
expression: 2f(x)
  = 2 f(x) ; f(x)+f(x)
  ≠ f(2x) ; 2f ; 2x
equation: y = 2x+3
  = 2x-y+3=0 ; 2x+3 ; y-3=2x ; y=3+2x
  ≠ y=2x+4 ; 2x-y-3=0 ; y=2x ; x=2y+3
equation: x = 3
  = 3 ; 3=x ; x=1+2=3
  ≠ 2x=6 ; y=3 ; x=4 ; x-3=0
equation: f^{-1}(x)=\frac{x-1}{2}
  = \frac{x-1}{2} ; f^{-1}(x) = \frac12(x-1)
  ≠ f(x)=\frac{x-1}{2} ; \frac{x+1}{2}
equation: y''+y=0
  = y''+y=0 ; y+y''=0
  ≠ y'+y=0 ; y''=y
inequality: 0<x<8.5
  = (0, 8.5) ; 8.5 > x > 0 ; x\in(0,8.5)
  ≠ [0,8.5) ; 0<y<8.5 ; 0<x<8 ; x<8.5
inequality: x<1\text{ or }x>3
  = (-\infty,1)\cup(3,\infty)
  ≠ (1,3) ; x<1 ; x<1, x>4
inequality: x \ne 2
  = (-\infty,2)\cup(2,\infty) ; \mathbb{R}\setminus\{2\}
  ≠ x=2 ; x>2 ; x\ne 3
inequality: y>2x+1
  = 2x+1<y ; 2x-y<-1 ; y-2x>1
  ≠ y<2x+1 ; y\ge 2x+1 ; y>2x
equation: xy=12
  = y=12/x ; x=\frac{12}{y} ; 2xy-24=0 ; \frac{12}{x}=y
  ≠ y=12x ; y=x/12 ; xy=-12 ; x^2y=12x ; x^2y^2=144 ; y=13/x ; xy=12z
equation: y=2x
  = 2x-y=0
  ≠ \frac{y}{x}=2 ; xy=2x^2
interval: (-\infty,-2]\cup[2,\infty)
  = |x|\ge 2 ; 2\le|x| ; \{x : |x|\ge 2\} ; \{t\mid |t|\ge 2\} ; x\le-2 or x\ge2 ; |x|\ge\sqrt{4}
  ≠ |x|>2 ; |x|\le 2 ; |x|\ge -2 ; |x-1|\ge 2 ; x\ge 2 ; |x|\ge 2y ; |x+y|\ge 2
inequality: |x-1|<3
  = -2<x<4 ; (-2,4) ; |1-x|<3 ; 3>|x-1| ; x\in(-2,4)
  ≠ |x+1|<3 ; |x-1|\le3 ; [-2,4] ; (-4,2) ; |y-1|<3
expression: 2\,\text{cis}\,\frac{\pi}{3}
  = 1+i\sqrt{3} ; 2e^{i\pi/3} ; 2\operatorname{cis}(60^\circ) ; 2(\cos\frac{\pi}{3}+i\sin\frac{\pi}{3})
  ≠ 1-i\sqrt{3} ; 2 ; 2\operatorname{cis}60 ; 2\operatorname{cis}\frac{\pi}{6} ; 2e^{-i\pi/3}
interval: [-3,8]
  = x\in[-3,8] ; -3\le x\le 8 ; [-3, 8] ; [-3,2]\cup[2,8]
  ≠ (-3,8) ; [-3,8) ; [8,-3] ; \{-3,8\}
number: 6.02\times10^{23}
  = 6.02 x 10^23 ; 6.02x10^{23} ; 60.2 \cdot 10^{22}
  ≠ 6.02 x 10^{22} ; 6.02 x 1023 ; 6.02 y 10^{23}
list: {n \choose 2}, 5
  = \binom{n}{2}, 5 ; \frac{n(n-1)}{2}\text{ and }{5} ; {5, {n \choose 2}}
  ≠ {n \choose 2} ; ({n \choose 2}, 5) ; \binom{2}{n}, 5
set: \{1,2,3\}
  = {1,2,3} ; \{3, 1, 2\} ; 1,2,3 ; 3, 2 and 1
  ≠ \{1,2\} ; (1,2,3) ; \{1,2,3,4\} ; 123
list: 17, 38, \text{ and } 95
  = 17, 38, and 95 ; 95, 17, 38
  ≠ 17, 38 ; 17, 38, 59 ; (17,38,95)
list: -2, 1
  = x=1 \text{ or } x=-2 ; x=1, -2 ; 1 or -2 ; x_1=1, x_2=-2
  ≠ x=1, y=-2 ; (-2,1) ; 1
tuple: (2,4)
  = x=2, y=4 ; (x,y)=(2,4) ; \left( 2 , 4 \right)
  ≠ y=2, x=4 ; (4,2) ; [2,4] ; 2,4 ; (2,4,0)
expression: \frac{20!}{10!\,10!}
  = 184756 ; \binom{20}{10} ; \frac{20!}{(10!)^2}
  ≠ 184757 ; \frac{20!}{10!}
number: 62.5\%
  = 62\frac{1}{2}\% ; 0.625 ; \frac58
  ≠ 62\frac12 ; 62.5
number: \$4.75
  = \$4\frac{3}{4} ; \$4.75\text{ USD} ; 475 cents
  ≠ \$4\frac14 ; \$4.75\text{ million} ; €4.75
number: 7
  = \,7\, ; \color{red}{7} ; \large 7 ; ((7)) ; {{7}}
  ≠ ((8)) ; (7 ; \{7\}
set: \{0,1,-1\}
  = \{0,\pm1\} ; 0, \pm 1 ; \{-1,0,0,1\}
  ≠ \{\pm1\} ; 0, 1 ; \pm 0, 1
interval: (0, 1]
  = ]0,1] ; 0<x\le 1
  ≠ ]0,1[ ; [0,1]
matrix: \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}
  = \begin{bmatrix}1&2\\3&4\end{bmatrix} ; [[1,2],[3,4]]
  ≠ \begin{pmatrix}1&3\\2&4\end{pmatrix} ; \begin{vmatrix}1&2\\3&4\end{vmatrix} ; (1,2,3,4)
ratio: 2:3
  = 4:6 ; 2 : 3
  ≠ 3:2 ; 2:4 ; 23
congruence: x \equiv 3 \pmod 7
  = x\equiv 10 \pmod{7} ; x \equiv -4 (mod 7)
  ≠ x\equiv 3 \pmod 8 ; x\equiv 4\pmod 7 ; 3
base: 63_8
  = 63_8 ; (63)_{8} ; 63_{\text{eight}}
  ≠ 63_9 ; 63 ; 51 ; 73_8
base: 1A3_{16}
  = 1a3_{16} ; 1A3_{16}
  ≠ 1A4_{16} ; 1A3 ; 419
time: 3:45 \text{ p.m.}
  = 3:45 PM ; 3:45pm ; 15:45
  ≠ 3:45 ; 3:45 AM ; 3:46 PM ; 345
text: \text{no}
  = No ; no. ; \textbf{no}
  ≠ on ; yes ; n ; not
text: \text{even}
  = Even ; even
  ≠ neve ; odd ; even or odd
text: 12 florps
  = 12 florps
  ≠ 12 ; 12 m ; 12 sprolf
choice: \text{(C)}
  = C ; (C) ; C) 12 ; (C)\ 12
  ≠ B ; c ; 12 ; C or D ; (C) and (D)
"""


def rows() -> list[tuple[str, str, list[str], list[str]]]:
    found: list[tuple[str, str, list[str], list[str]]] = []
    for line in KINDS.strip().splitlines():
        mark, _, rest = line.strip().partition(" ")
        if mark in "=≠":
            found[-1][2 if mark == "=" else 3].extend(text.strip() for text in rest.split(" ; "))
        else:
            found.append((mark.removesuffix(":"), rest, [], []))
    return found


@pytest.mark.parametrize(("kind", "key", "right", "wrong"), rows(), ids=[f"{row[0]}: {row[1]}" for row in rows()])
def test_each_kind_accepts_what_is_equal_and_nothing_near_it(kind, key, right, wrong):
    assert kind_of(key) == kind
    assert [text for text in right if verdict(key, text) != 1.0] == []
    assert [text for text in wrong if verdict(key, text) != 0.0] == []
    assert verdict(key, key) == 1.0


@pytest.mark.parametrize(
    "key", [r"\int_0^1 x^2\,dx", r"2^{2^{2^{2^{2^2}}}}", r"\lim_{x\to0} f", "9" * 400, "((((x", r"a \pm b \pm c"]
)
def test_the_same_text_is_equal_even_where_it_cannot_be_read(key):
    assert math_equal([rf"\boxed{{{key}}}", "7"], [key, key]) == [1.0, 0.0 if key[:2] == "99" else None]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 10**6), base=st.integers(2, 9), other=st.integers(2, 9))
def test_a_base_is_part_of_the_numeral(n, base, other):
    key, moved = (f"{np.base_repr(n, b)}_{{{b}}}" for b in (base, other))
    assert int(np.base_repr(n, base), base) == n
    assert verdict(key, key) == 1.0
    assert verdict(key, moved) == float(base == other)


@settings(max_examples=60, deadline=None)
@given(whole=st.integers(0, 99), fixed=st.integers(0, 99), repeated=st.integers(1, 98))
def test_a_recurring_decimal_is_the_fraction_of_its_digits(whole, fixed, repeated):
    value = whole + Fraction(fixed, 100) + Fraction(repeated, 9900)
    text = rf"{whole}.{fixed:02}\overline{{{repeated:02}}}"
    assert exact_number([text, text], [str(value), str(value + Fraction(1, 9900))]) == [1.0, 0.0]


@pytest.mark.parametrize("clock", ["00:05", "09:30", "12:00", "12:59", "13:00", "23:59"])
def test_times_of_day_agree_with_the_calendar(clock):
    spoken = datetime.strptime(clock, "%H:%M").strftime("%I:%M %p")
    assert verdict(spoken, clock if clock >= "13" else spoken.lower()) == 1.0
    assert verdict(spoken, spoken.replace("AM", "xm").replace("PM", "AM").replace("xm", "PM")) == 0.0


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(cells=st.lists(st.integers(-9, 9), min_size=9, max_size=9), place=st.integers(0, 8))
def test_matrices_and_determinants_agree_with_numpy(cells, place):
    def written(entries: list[int], name: str, glue: str) -> str:
        rows = [" & ".join(map(str, entries[n : n + 3])) for n in (0, 3, 6)]
        return rf"\begin{{{name}}}{glue.join(rows)}\end{{{name}}}"

    key = written(cells, "pmatrix", r" \\ ")
    moved = [*cells[:place], cells[place] + 1, *cells[place + 1 :]]
    assert [verdict(key, written(c, "bmatrix", r"\\")) for c in (cells, moved)] == [1.0, 0.0]
    value = round(np.linalg.det(np.array(cells).reshape(3, 3)))
    assert verdict(written(cells, "vmatrix", r"\\"), str(value)) == 1.0
    assert verdict(written(cells, "vmatrix", r"\\"), str(value + 1)) == 0.0


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(a=small, b=small, c=small)
def test_products_of_polynomials_agree_with_sympy(a, b, c):
    x = sympy.Symbol("x")
    expanded = sympy.latex(sympy.expand((a * x + b) * (x - c)))
    assert verdict(rf"({a}x+{b})(x-{c})", expanded) == 1.0
    assert verdict(rf"({a}x+{b})(x-{c})", f"{expanded} + 1") == 0.0


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 30), k=st.integers(0, 12))
def test_counting_functions_agree_with_the_standard_library(n, k):
    pairs = [(rf"\binom{{{n}}}{{{k}}}", math.comb(n, k)), (f"{n}!", math.factorial(n))]
    pairs += [(rf"\gcd({n},{k})", math.gcd(n, k)), (rf"\operatorname{{lcm}}({n},{k})", math.lcm(n, k))]
    assert [verdict(key, str(value)) for key, value in pairs] == [1.0] * 4
    assert [verdict(key, str(value + 1)) for key, value in pairs] == [0.0] * 4


def test_options_refuse_what_they_name():
    assert [verdict("5 m", text, require_unit=True) for text in ("5", "5 m", "500 cm")] == [0.0, 1.0, 1.0]
    assert verdict("5", "5 m", require_unit=True) == 1.0
    for name, key, text in (
        ("inequality", "(0,2)", "0<x<2"),
        ("assignment", "(2,4)", "x=2, y=4"),
        ("assignment", "x=2, y=4", "(2,4)"),
        ("worked", "4", "2+2=4"),
    ):
        assert (verdict(key, text), verdict(key, text, refuse=[name]), verdict(key, key, refuse=[name])) == (1, 0, 1)
    with pytest.raises(ValueError, match=r"math_equal: refuse is \['unit'\]\. Pass a list of inequality, assignment"):
        math_equal(["1"], ["1"], refuse=["unit"])


HUGE = [
    r"9^{9^{9^{9}}}", "(" * 60 + "x" + ")" * 60, "(" * 10**5, "9" * 10**7, r"\frac" * 300, r"\sqrt" * 300,
    "-" * 590 + "x",
    "1/" * 299 + "1", "x^" * 299 + "x", "5 m/" + "(" * 580, "f(" * 280 + "x" + ")" * 280, "square " * 280 + "m",
    r"\sum_{i=1}^{300}\sum_{j=1}^{300}\sum_{k=1}^{300} ijk", r"(x+1)^{900}(x+2)^{900}(x+3)^{900}", r"e^{e^{e^{e^9}}}",
    r"\sin(10^{90}\pi)", "*".join(rf"\sin({n}x)^{{\cos {n}}}" for n in range(2, 40)), "|" * 500, r"\{ x |" * 100,
    ",".join(rf"\sqrt{{{n}}}+\pi x" for n in range(40)), "x=1" + "=1" * 280, "{" * 300 + "1" + "}" * 300,
]  # fmt: skip


@pytest.mark.slow
def test_any_input_ends_soon_also_in_a_thread():
    """Each is bounded by its size. Without the bounds, one of them alone would keep this test for hours."""
    seen: list[float | None] = []

    def work() -> None:
        for text in HUGE:
            seen.extend(math_equal([rf"\boxed{{{text}}}", "12", text], ["12", text[:5000], r"\sqrt{2}+x"]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(seen) == 3 * len(HUGE)
    assert 1.0 not in seen


@pytest.mark.slow
def test_the_table_of_units_agrees_with_pint():
    pint = part_of("pint", "pint")
    known = pint.UnitRegistry()
    # Money, counted things and temperatures are not pint's; its acre is that of the US survey.
    spelled = {"Ω": "ohm", "cal": "calorie", "mi": "mile", "h": "hour", "L": "liter", "l": "liter", "cu": "cubic"}
    base = {"m": "meter", "g": "gram", "s": "second", "A": "ampere", "K": "kelvin", "mol": "mole", "cd": "candela"}
    base |= {"bit": "bit", "degree": "degree", "radian": "radian"}
    others = re.findall(r"\w+", "C F T B in kph kmh cc wk mins hrs lbs gramme rev rpm acre hbar")
    checked = 0
    for name, unit in _table().items():
        if not unit.powers or not {b for b, _ in unit.powers} <= set(base) or not name.isascii():
            continue
        if name in others:
            continue
        theirs = known.parse_expression(spelled.get(name, name))
        ours = known.Quantity(1, "dimensionless")
        for part, power in unit.powers:
            ours = ours * known.Quantity(1, base[part]) ** power
        ratio = (theirs / (float(unit.scale) * ours)).to_base_units()
        assert ratio.dimensionless, name
        assert ratio.magnitude == pytest.approx(1, rel=1e-6), name
        checked += 1
    assert checked > 150
    assert unit_named("cats") != unit_named("cup")
    assert unit_named("eighths") is None
    assert unit_named("dozen") == Unit(number=Fraction(12))
