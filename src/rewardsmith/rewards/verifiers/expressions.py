"""Parse one expression: sums, products, powers, functions, mixed numbers and units."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from rewardsmith.rewards.verifiers.nodes import DEGREE, MINUS, Node, is_d, is_plain, number, radians, symbols, times
from rewardsmith.rewards.verifiers.spelling import FUNCTIONS, NAMES, Token, UnreadableError, is_word
from rewardsmith.rewards.verifiers.units import Unit, unit_at, unit_named

MAX_DEPTH = 30

RELATIONS = frozenset("=<>≤≥≠∈≡:")
SEPARATORS = frozenset((",", ";", "or", "and"))
CLOSERS = frozenset((")", "]", "}", r"\}", "⟩", "|", "⌋", "⌉", "&", r"\\", "mod", "∪", "∖", ""))
_CONSTANTS = {"pi": "π", "infinity": "∞", "infty": "∞", "e": "e", "i": "i", r"\pi": "π"}
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc"}
_BASES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_CURRENCY = frozenset("$€£¥₹₽")
_CODES = frozenset(("USD", "EUR", "GBP"))


class Expressions:
    """Reads tokens from left to right; `formulas` adds what is made of several expressions."""

    def __init__(self, read: tuple[Token, ...], attached: bool) -> None:
        self.tokens, self.words = list(read), [token.text for token in read]
        self.at = self.depth = self.bars = 0
        self.attached = attached
        self.indices: list[str] = []

    @property
    def word(self) -> str:
        return self.words[self.at]

    def take(self, *words: str) -> bool:
        if self.word in words:
            self.at += 1
            return True
        return False

    def expect(self, *words: str) -> None:
        if not self.take(*words):
            raise UnreadableError(f"{self.word!r} instead of {words[0]!r}")

    def inside(self, parse: Callable[[], Node], *closers: str) -> Node:
        """Return what `parse` reads up to one of the closers."""
        bars, self.bars = self.bars, 0
        node = parse()
        self.bars = bars
        self.expect(*closers)
        return node

    def sum(self) -> Node:
        terms: list[Node] = []
        while not terms or self.word in ("+", "-", "±", "∓"):
            sign = self.word
            signed = self.take("+", "-", "±", "∓")
            term = self.product()
            if signed and sign != "+":
                term = times(MINUS if sign == "-" else Node("sign", (), (sign,)), term)
            terms.append(term)
        if len(terms) == 1:
            return terms[0]
        return Node("+", tuple(radians(term) for term in terms))

    def product(self) -> Node:
        node = self.power()
        while True:
            unit = self.unit_after(node)
            if unit is not None:
                node = unit
            elif self.word == "*" or self.words[self.at : self.at + 3] in (["x", "10", "^"], ["X", "10", "^"]):
                self.at += 1
                node = times(node, self.negated())
            elif self.word == "/":
                self.at += 1
                below = self.negated()
                coefficient = is_plain(node) and is_plain(below)  # 1/2x is (1/2)x, and a/bc is a/(bc)
                while not coefficient and self.implicit():
                    below = times(below, self.power())
                node = Node("/", (node, below))
            elif self.tokens[self.at].kind == "number" or (self.word == r"\frac" and is_plain(node)):
                node = self.mixed(node)
            elif self.implicit():
                node = times(node, self.power())
            else:
                return node

    def negated(self) -> Node:
        negative = self.take("-")
        return times(MINUS, self.power()) if negative else self.power()

    def implicit(self) -> bool:
        """Return whether a factor follows without a sign."""
        token = self.tokens[self.at]
        opens = ("(", r"\frac", r"\sqrt", r"\√", r"\∛", r"\binom", "⌊", "⌈", "∞", r"\sum", r"\prod")
        return (
            (token.kind in ("letters", "text") and token.text not in SEPARATORS)
            or token.text in opens
            or token.text.startswith("begin:")
            or (token.text == "|" and not self.bars)
            or (token.kind == "sign" and token.text[1:] in FUNCTIONS)
        ) and not (token.text == "(" and self.words[self.at + 1] == "mod")

    def mixed(self, node: Node) -> Node:
        """Read the fraction of a mixed number, such as the 3/4 of `1 3/4` and `1\\frac{3}{4}`, or a factor."""
        if self.words[self.at - 1] in ("!", "i"):
            return times(node, self.power())
        whole = node.marks[0] if node.op == "num" and self.tokens[self.at - 1].kind == "number" else None
        part = self.atom()
        if part.op == "num" and self.word == "/":
            self.at += 1
            part = Node("/", (part, self.power()))
        values = [argument.marks[0] for argument in part.args if argument.op == "num"]
        if part.op == "/" and len(values) < 2:
            return times(node, part if self.word != "^" else self.fail("^"))
        if whole is None or part.op != "/" or not values[1] or not 0 <= values[0] / values[1] < 1:
            raise UnreadableError("two numbers side by side")
        if {whole.denominator, values[0].denominator, values[1].denominator} != {1}:
            raise UnreadableError("a mixed number of decimals")
        return number(whole + values[0] / values[1])

    def unit_after(self, node: Node) -> Node | None:  # noqa: PLR0911
        """Return `node` with the unit that follows it up to the end of the value, or None."""
        token, first = self.tokens[self.at], self.word
        lone = token.kind == "letters" and len(first) == 1 and first.isascii() and not token.spaced
        words = token.kind in ("letters", "text") and not (lone and not self.attached)
        fraction = first == r"\frac" and self.tokens[self.at + 2].kind == "text"
        if not (words or fraction or first in ("%", "‰", "°", "¢", "/") or first in _CURRENCY):
            return None
        found = unit_at(self.words, self.at)
        if found is None or symbols(node) or node.op in ("list", "set", "bracket", "text"):
            return None
        unit, end = found
        if first == "/" and not (node.op == "unit" or self.tokens[self.at + 1].kind == "text"):
            return None
        follows = self.words[end]
        if not (follows in SEPARATORS | CLOSERS | RELATIONS or self.tokens[end].kind == "number"):
            return None
        self.at = end
        if node.op == "unit" and node.marks[0].powers == unit.powers:  # $5 USD
            return node
        inner = node if node.op == "unit" else Node("unit", (node,), (Unit(),))
        node = Node("unit", inner.args, (inner.marks[0].times(unit),))
        skipped = self.at + (self.word == "and")
        if self.tokens[skipped].kind == "number":  # 5 feet 6 inches, 2 hours and 30 minutes
            self.at = skipped
            rest = self.product()
            if rest.op != "unit" or rest.marks[0].powers != unit.powers or rest.marks[0].scale >= unit.scale:
                if skipped > end:
                    self.at = end
                    return node
                raise UnreadableError("two numbers side by side")
            ratio = rest.marks[0].scale / unit.scale
            whole, part = node.args[0], rest.args[0]
            if whole.op != "num" or part.op != "num":
                return self.fail(follows)
            node = Node("unit", (number(whole.marks[0] + part.marks[0] * ratio),), node.marks)
        return node

    def power(self) -> Node:
        node = self.atom()
        for _ in range(MAX_DEPTH):
            if self.take("^"):
                exponent = self.group() if self.word == "{" else self.negated()
                node = Node("^", (node, exponent))
            elif self.take("!"):
                node = Node("call", (node,), ("!!" if self.take("!") else "!",))
            elif self.word in ("°", "%"):
                measured = self.unit_after(node)
                if measured is None:
                    measured = times(node, DEGREE if self.word == "°" else number(Fraction(1, 100)))
                    self.at += 1
                node = measured
            elif self.word == "_" and node.op == "num":
                node = self.based(node)
            else:
                break
        return node

    def based(self, node: Node) -> Node:
        """Read the base of a numeral: `101_2`, `101_{\\text{two}}`."""
        self.at += 1
        spelled = str(node.marks[0])
        braced = self.take("{")
        base = _BASES.index(self.word) + 2 if self.word in _BASES else int(self.tokens[self.at].number)
        self.at += 1
        if braced:
            self.expect("}")
        if not (2 <= base <= 36 and spelled.isdigit()):
            raise UnreadableError("a subscript of a number is no base")
        try:
            return number(int(spelled)) if base == 10 else Node("base", (), (Fraction(int(spelled, base)), base))
        except ValueError as error:
            raise UnreadableError("a digit is too large for the base") from error

    def group(self) -> Node:
        self.expect("{")
        return self.inside(self.chosen, "}")

    def chosen(self) -> Node:
        node = self.sum()
        return Node("call", (node, self.sum()), ("binom",)) if self.take(r"\choose") else node

    def argument(self) -> Node:
        """Read the argument of a LaTeX command: a group, or one digit or letter."""
        token = self.tokens[self.at]
        if token.kind == "number" and token.text.isdigit() and len(token.text) > 1:
            rest = token.text[1:]
            self.tokens[self.at] = Token("number", rest, False, Fraction(int(rest)))
            self.words[self.at] = rest
            return number(int(token.text[0]))
        return self.group() if self.word == "{" else self.atom()

    def atom(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deep")
        node = self.one_atom()
        self.depth -= 1
        return node

    def one_atom(self) -> Node:
        token = self.tokens[self.at]
        word = token.text
        self.at += 1
        if token.kind == "number":
            return number(token.number)
        if token.kind in ("letters", "text") and word not in _CODES:
            return self.letters(token)
        if word in _CURRENCY or word in _CODES:
            amount = self.negated()
            if amount.op == "num" and self.word == r"\frac":
                amount = self.mixed(amount)
            return Node("unit", (amount,), (unit_named(word),)) if amount.op == "num" else self.fail(word)
        if word[1:] in FUNCTIONS and word != r"\sqrt":
            return self.call(word[1:])
        read: Callable[[str], Node] = getattr(self, _ATOMS.get(word.partition(":")[0], "fail"))
        return read(word)

    def braced(self, word: str) -> Node:
        """Read a group, or a set whose braces lack their backslashes."""
        node = self.inside(self.chosen, "}", ",")
        if self.words[self.at - 1] == "}":
            return node
        rest = self.inside(self.answer, "}")
        return Node("set", (node, *(rest.args if rest.op == "list" else (rest,))))

    def bar(self, word: str) -> Node:
        self.bars += 1
        node = self.sum()
        self.bars -= 1
        self.expect("|")
        return Node("call", (node,), ("abs",))

    def rounded(self, word: str) -> Node:
        closer, name = {"⌊": ("⌋", "floor"), "⌈": ("⌉", "ceil")}[word]
        return Node("call", (self.inside(self.sum, closer),), (name,))

    def fraction(self, word: str) -> Node:
        above, below = self.argument(), self.argument()
        if is_d(above) and is_d(below):
            raise UnreadableError("a derivative")
        return Node("/", (above, below)) if word == r"\frac" else Node("call", (above, below), ("binom",))

    def root(self, word: str) -> Node:
        degree = number(3 if word == r"\∛" else 2)
        if word == r"\sqrt":
            if self.take("["):
                degree = self.inside(self.sum, "]")
            if self.tokens[self.at].kind == "number" and len(self.word) > 1:
                raise UnreadableError("a root of several digits without braces")
        return Node("root", (self.argument() if word == r"\sqrt" else self.atom(), degree))

    def constant(self, word: str) -> Node:
        return Node("const", (), (word,))

    def decorated(self, word: str) -> Node:
        """Read a letter with a mark above it as a name of its own."""
        start = self.at
        self.argument()
        return Node("sym", (), (word + "".join(self.words[start : self.at]),))

    def fail(self, word: str) -> Node:
        raise UnreadableError(f"{word!r} is not read here")

    def letters(self, token: Token) -> Node:
        """Read a function with its argument, a constant, or one variable of a run of letters."""
        name = NAMES.match(token.text)
        if name and name[0] in FUNCTIONS:
            self.rest(token, name[0])
            return self.call(name[0])
        word = name[0] if name else token.text if token.text.startswith("\\") else token.text[0]
        few = len(token.text) < 4 or (not token.spaced and len(set(token.text)) == len(token.text) < 6)
        if is_word(token) and not (few and token.kind == "letters"):
            raise UnreadableError(f"{token.text!r} is a word")
        self.rest(token, word)
        if word in _CONSTANTS and word not in self.indices and self.word not in ("_", "'"):
            return Node("const", (), (_CONSTANTS[word],))
        if self.take("_"):
            start = self.at
            if self.word == "{":
                self.inside(self.subscript, "}")
            else:
                self.at += 1
            word += "_" + "".join(self.words[start : self.at]).strip("{}")
        while self.take("'"):
            word += "'"
        inverse = self.words[self.at : self.at + 5] == ["^", "{", "-", "1", "}"]
        if word[0] in "fghFGPQ" and (self.words[self.at + 5 * inverse] == "("):
            self.at += 5 * inverse + 1
            inner = self.inside(self.answer, ")")
            return Node("call", inner.args if inner.op == "list" else (inner,), (f"{word}{'⁻¹' * inverse}()",))
        return Node("sym", (), (word,))

    def subscript(self) -> Node:
        while self.word not in ("}", "{", ""):
            self.at += 1
        return Node("text")

    def rest(self, token: Token, name: str) -> None:
        """Leave the letters after `name` as a token of their own."""
        left = token.text[len(name) :]
        if left:
            self.at -= 1
            self.tokens[self.at], self.words[self.at] = Token(token.kind, left), left

    def call(self, name: str) -> Node:
        """Read the exponent, the base and the argument of a function."""
        exponent: Node | None = None
        base: tuple[Node, ...] = ()
        while self.word in ("^", "_"):
            if self.take("_"):
                base = (self.argument(),)
            else:
                self.at += 1
                exponent = self.group() if self.word == "{" else self.negated()
        if exponent == times(MINUS, number(1)) and name in _INVERSE:
            name, exponent = _INVERSE[name], None
        if self.take("("):
            inner = self.inside(self.answer, ")")
            arguments = inner.args if inner.op == "list" else (inner,)
        elif self.word == "{":
            arguments = (self.group(),)
        else:
            argument = self.power()
            while self.implicit() and not self.starts_function() and self.word != "(":
                argument = times(argument, self.power())
            arguments = (argument,)
        arguments = tuple(radians(argument) for argument in arguments)
        if any(argument.op in ("list", "text", "chain", "unit") for argument in arguments):
            raise UnreadableError(f"{name} of something else than a number")
        node = Node("call", (*arguments, *base), (name,))
        if name in ("sqrt", "cbrt"):
            node = Node("root", (*arguments, number(2 if name == "sqrt" else 3)))
        return node if exponent is None else Node("^", (node, exponent))

    def starts_function(self) -> bool:
        name = NAMES.match(self.word.lstrip("\\"))
        return name is not None and name[0] in FUNCTIONS

    def series(self, op: str) -> Node:
        """Read a sum or product over an index, which may be called i."""
        self.expect("_")
        self.expect("{")
        name = self.word
        self.at += 1
        self.expect("=")
        first = self.inside(self.sum, "}")
        self.expect("^")
        last = self.group() if self.word == "{" else self.atom()
        self.indices.append(name)
        body = self.product()
        self.indices.pop()
        return Node(op[1:], (first, last, body), (name,))

    def answer(self) -> Node:
        raise NotImplementedError


_ATOMS = {
    "{": "braced", "(": "bracket", "[": "bracket", "]": "bracket", "⟨": "bracket", r"\{": "set", "|": "bar",
    "begin": "environment", "⌊": "rounded", "⌈": "rounded", r"\frac": "fraction", r"\binom": "fraction",
    r"\sum": "series", r"\prod": "series", **dict.fromkeys((r"\sqrt", r"\√", r"\∛"), "root"),
    **dict.fromkeys("∞∅ℝℤℚℕℂ", "constant"),
    **dict.fromkeys((r"\bar", r"\overline", r"\hat", r"\tilde", r"\dot"), "decorated"),
}  # fmt: skip
