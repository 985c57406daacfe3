"""Fresh prompts with their answers, a different set for every seed; no prompt begins or ends with its own answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from rewardsmith.data import Row

Maker = Callable[[int, random.Random], list[Row]]
Pairs = Iterator[tuple[str, str]]

_NAMES = ("Ada", "Bela", "Chen", "Dina", "Emre", "Femi", "Gita", "Hugo", "Ines", "Jonas", "Kofi", "Lena")
_THINGS = ("apples", "marbles", "stamps", "pencils", "tickets", "shells", "coins", "books", "eggs", "tiles")
_CITIES = {
    "France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi", "Norway": "Oslo",
    "Egypt": "Cairo", "Cuba": "Havana", "Ghana": "Accra", "Latvia": "Riga", "Qatar": "Doha", "Chile": "Santiago",
    "Spain": "Madrid", "Greece": "Athens", "Poland": "Warsaw", "Ireland": "Dublin", "Vietnam": "Hanoi",
}  # fmt: skip
_OPPOSITES = {
    "hot": "cold", "early": "late", "heavy": "light", "narrow": "wide", "empty": "full", "rough": "smooth",
    "ancient": "modern", "cheap": "expensive", "loud": "quiet", "shallow": "deep", "generous": "stingy",
    "brave": "timid", "bitter": "sweet", "clumsy": "graceful", "simple": "complex", "guilty": "innocent",
}  # fmt: skip
_ADJECTIVES = ("amber", "broken", "crooked", "dusty", "frozen", "gilded", "hollow", "iron", "lonely", "painted")
_NOUNS = ("bridge", "castle", "garden", "ladder", "mirror", "orchard", "pillar", "river", "staircase", "windmill")
_VERBS = ("guards", "hides", "crosses", "borders", "shelters", "overlooks")


def drawn(draw: Callable[[int, random.Random], Pairs]) -> Maker:
    """Make rows of the prompts and answers that draw number k yields; one that yields none is drawn again."""

    def made(n: int, rng: random.Random) -> list[Row]:
        rows: list[Row] = []
        while len(rows) < n:
            rows += [Row(prompt=prompt, columns={"answer": answer}) for prompt, answer in draw(len(rows), rng)]
        return rows

    return made


@drawn
def arithmetic_rows(_: int, rng: random.Random) -> Pairs:
    """Sums, differences and products with integer answers from 2 to 5 digits, as expressions."""
    a, b = rng.randint(12, 9_999), rng.randint(12, 999)
    sign = rng.choice("+-*")
    value = {"+": a + b, "-": a - b, "*": (a % 90 + 10) * (b % 90 + 10)}[sign]
    left, right = (a % 90 + 10, b % 90 + 10) if sign == "*" else (a, b)
    if value > 9 and value not in (left, right):
        yield f"Compute {left} {sign} {right} and report the result.", str(value)


@drawn
def word_rows(_: int, rng: random.Random) -> Pairs:
    """Word problems in three steps with integer answers of 2 to 4 digits."""
    start, more, times, gone = rng.randint(11, 95), rng.randint(11, 95), rng.randint(3, 19), rng.randint(11, 99)
    value = (start + more) * times - gone
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    prompt = (
        f"{name} fills {times} crates. Each crate gets {start} red and {more} green {thing}. Afterwards {gone} "
        f"{thing} are given away. How many {thing} does {name} keep in total?"
    )
    if value > 9 and value not in (start, more, times, gone):
        yield prompt, str(value)


@drawn
def grouped_rows(_: int, rng: random.Random) -> Pairs:
    """Sums whose answers are written as newspapers write them: 950, 12,480."""
    top = rng.choice((400, 4_000, 40_000))
    a, b = rng.randint(top // 4, top), rng.randint(top // 4, top)
    if a + b not in (a, b):
        yield f"One town has {a:,} people and its neighbor {b:,}. How many live in both?", f"{a + b:,}"


@drawn
def fraction_rows(_: int, rng: random.Random) -> Pairs:
    """Sums of two fractions, the answers reduced and never whole."""
    x, y = Fraction(rng.randint(1, 11), rng.randint(3, 12)), Fraction(rng.randint(1, 11), rng.randint(3, 12))
    total = x + y
    if total.denominator > 1 and total not in (x, y):
        yield f"Add {x} and {y}, and reduce the sum to lowest terms.", str(total)


@drawn
def decimal_rows(_: int, rng: random.Random) -> Pairs:
    """Prices with two decimals."""
    price, count = rng.randint(115, 999), rng.randint(3, 19)
    value = f"{price * count / 100:.2f}"
    if not value.endswith("0"):
        yield f"A ticket costs {price / 100:.2f} euros. What do {count} such tickets cost?", value


@drawn
def choice_rows(k: int, rng: random.Random) -> Pairs:
    """Four options A to D, one of them the sum that was asked for; every letter is the answer equally often."""
    a, b = rng.randint(100, 999), rng.randint(100, 999)
    options = [a + b + shift for shift in rng.sample([-20, -10, -2, 2, 10, 20, 30, -30], 4)]
    letter = "ABCD"[(k + rng.randrange(2) * 2) % 4]
    options["ABCD".index(letter)] = a + b
    listed = "\n".join(f"{name}) {option}" for name, option in zip("ABCD", options, strict=True))
    yield f"Which of these is {a} + {b}?\n{listed}\nReply with the letter of one option.", letter


@drawn
def yes_no_rows(_: int, rng: random.Random) -> Pairs:
    """Comparisons answered by yes or no, about half of each."""
    a, b, limit = rng.randint(100, 900), rng.randint(100, 900), rng.randint(300, 1700)
    answer = "yes" if a + b > limit else "no"
    yield f"Decide whether {a} plus {b} is more than {limit}, in one word.", answer


@drawn
def capital_rows(k: int, rng: random.Random) -> Pairs:
    """Capitals (Title case) and opposites (lower case), about half of each."""
    if k % 2:
        word = rng.choice(list(_OPPOSITES))
        yield f"Note {k}: name the opposite of the adjective {word!r}, in one word.", _OPPOSITES[word]
    else:
        country = rng.choice(list(_CITIES))
        yield f"Card {k}: which city is the capital of {country}, in one word?", _CITIES[country]


def mixed_rows(n: int, rng: random.Random) -> list[Row]:
    """Sums and capitals in turn, each with the task that says which it is."""
    kinds = {"math": arithmetic_rows((n + 1) // 2, rng), "names": capital_rows(n // 2, rng)}
    tasked = [[replace(row, columns={**row.columns, "task": task}) for row in rows] for task, rows in kinds.items()]
    return [tasked[k % 2][k // 2] for k in range(n)]


@drawn
def text_rows(_: int, rng: random.Random) -> Pairs:
    """Titles of six words to be put in order; the prompt gives the words sorted, so that a copy of it is no answer."""
    first, second = rng.sample(_NOUNS, 2)
    one, two = rng.sample(_ADJECTIVES, 2)
    title = f"{one} {first} {rng.choice(_VERBS)} {two} {second} tonight"
    yield f"Translate catalogue entry {rng.randint(1000, 9999)} into English.", title


@drawn
def list_rows(_: int, rng: random.Random) -> Pairs:
    """Lists of five two-digit multiples, asked for in ascending order."""
    step, start = rng.randint(7, 13), rng.randint(2, 4)
    values = [step * (start + k) for k in range(5)]
    prompt = f"Count from {step * start - 1} upwards and list the first five multiples of {step}, in order."
    yield prompt, ", ".join(map(str, values))


@drawn
def multiset_rows(_: int, rng: random.Random) -> Pairs:
    """Prime factors in ascending order, one of them twice."""
    factors = sorted(rng.choices((2, 3, 5, 7, 11, 13), k=3))
    if len(set(factors)) == 2:
        product = factors[0] * factors[1] * factors[2]
        yield f"Write the number {product} as a product of primes, in ascending order.", ", ".join(map(str, factors))


@drawn
def pair_rows(_: int, rng: random.Random) -> Pairs:
    """Points in the plane, whose two coordinates differ."""
    x, y = rng.randint(-9, 40), rng.randint(-9, 40)
    if x != y:
        yield f"A walker goes {x + 50} steps east and {y + 50} north, then 50 back each way. Where?", f"({x}, {y})"


@drawn
def measure_rows(_: int, rng: random.Random) -> Pairs:
    """Sums of lengths, weights and times, with their unit."""
    unit = rng.choice(("meters", "kg", "hours", "liters"))
    a, b = rng.randint(12, 400), rng.randint(12, 400)
    yield f"One part measures {a} {unit} and the other {b} {unit}. How much is it together?", f"{a + b} {unit}"


@drawn
def price_rows(_: int, rng: random.Random) -> Pairs:
    """Prices in dollars."""
    price, count = rng.randint(115, 999), rng.randint(3, 19)
    value = f"{price * count / 100:.2f}"
    if not value.endswith("0"):
        yield f"A ticket costs {price / 100:.2f} dollars. What do {count} such tickets cost?", f"${value}"


@drawn
def expression_rows(_: int, rng: random.Random) -> Pairs:
    """Linear expressions in Python's notation."""
    a, b = rng.randint(2, 30), rng.randint(2, 99)
    yield f"Write as Python: take x, multiply it by {a}, then add {b} to the product.", f"{a}*x + {b}"


@drawn
def code_rows(_: int, rng: random.Random) -> Pairs:
    """Shelf codes: two capital letters and three digits."""
    letters = "".join(rng.choice("BCDFGHKLMNPRSTVW") for _ in range(2))
    code = f"{letters}{rng.randint(100, 999)}"
    yield f"Look up the shelf code of volume {rng.randint(10_000, 99_999)} in the index.", code


def open_rows(n: int, rng: random.Random) -> list[Row]:
    """Open questions without a reference answer."""
    topics = [f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}" for _ in range(n)]
    return [Row(prompt=f"Note {k}: describe how to repair a {topic}.") for k, topic in enumerate(topics)]


def answered_rows(n: int, rng: random.Random) -> list[Row]:
    """Open questions, each with a completion."""
    words = [*_ADJECTIVES, *_NOUNS, *_VERBS]
    return [
        replace(row, completion=f"First look at it. Then use the {' '.join(rng.sample(words, 6))}.")
        for row in open_rows(n, rng)
    ]


def running_sum(rng: random.Random) -> tuple[list[str], list[bool], int | None]:
    """The four steps of a sum, whether each is right, and the place of the wrong one, if there is one."""
    total, steps, labels = rng.randint(10, 99), [], []
    wrong = rng.choice((None, *range(4)))
    for place in range(4):
        more = rng.randint(2, 60)
        after = total + more + (rng.choice((-1, 3, 10)) if place == wrong else 0)
        steps.append(f"{total} + {more} = {after}")
        labels.append(place != wrong)
        total = after
    return steps, labels, wrong


def conversational(maker: Maker) -> Maker:
    """The same rows, as chats."""
    return lambda n, rng: [row.conversational() for row in maker(n, rng)]
