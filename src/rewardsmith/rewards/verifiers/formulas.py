"""Parse an answer: a value, relations, lists, sets, tuples, intervals, matrices or words."""

from __future__ import annotations

from functools import lru_cache

from rewardsmith.rewards.verifiers.expressions import CLOSERS, RELATIONS, SEPARATORS, Expressions
from rewardsmith.rewards.verifiers.nodes import Node, number
from rewardsmith.rewards.verifiers.spelling import Token, UnreadableError, is_word, tokens

MAX_TOKENS = 600
MAX_PARTS = 40


@lru_cache(maxsize=1024)
def read_formula(text: str, *, attached: bool = False) -> Node:
    """Parse `text`; raise `UnreadableError` where it is no formula and no words.

    attached: also read one letter right after a numeral as a unit: `3m` is then 3 meters, not 3·m.

    >>> read_formula("x < 2").op, read_formula(r"\\{1, 2\\}").op, read_formula("(1, 2]").marks
    ('chain', 'set', ('(', ']'))
    """
    read = tokens(text)
    if not 2 < len(read) <= MAX_TOKENS:
        raise UnreadableError("the text is empty or too long")
    parser = _Formulas(_without_double(read), attached)
    if parser.words.count("/") > MAX_PARTS:
        raise UnreadableError("too many quotients")
    node = parser.answer()
    if parser.word:
        raise UnreadableError(f"{parser.word!r} is left over")
    return node


def _without_double(read: tuple[Token, ...]) -> tuple[Token, ...]:
    """Return the tokens without the brackets that directly surround another pair: ((x)) is (x)."""
    stack: list[int] = []
    closes: dict[int, int] = {}
    for at, token in enumerate(read):
        if token.text in ("(", "{"):
            stack.append(at)
        elif token.text in (")", "}") and stack:
            closes[stack.pop()] = at
    double = {at for at in closes if read[at] == read[at + 1] and closes.get(at + 1) == closes[at] - 1}
    return tuple(token for at, token in enumerate(read) if at not in double | {closes[n] for n in double})


class _Formulas(Expressions):
    def answer(self) -> Node:
        """Read one value, or a list of values in any order."""
        parts, joined = [self.item()], []
        while self.word in SEPARATORS:
            while self.take(*SEPARATORS):
                joined.append(self.words[self.at - 1])
            if self.word in CLOSERS:  # a comma at the end
                break
            parts.append(self.item())
            if len(parts) > MAX_PARTS:
                raise UnreadableError("too many parts")
        if len(parts) > 1:  # 0, ±1 are three values
            parts = [one for part in parts for one in (part.args if _is_both(part) else (part,))]
        return Node("list", tuple(parts), tuple(joined)) if len(parts) > 1 else parts[0]

    def item(self) -> Node:
        end = self.at
        while self.tokens[end].kind in ("letters", "text") and self.words[end] not in SEPARATORS:
            end += 1
        between = self.tokens[self.at : end]
        if self.words[end] in SEPARATORS | CLOSERS and any(is_word(token) for token in between):
            self.at = end
            return Node("text", (), (" ".join(token.text for token in between).lower(),))
        node = self.chain()
        signs = _signs(node)
        if signs.count("±") > 1:
            raise UnreadableError("several ± are ambiguous")
        return Node("list", (_signed(node, 1), _signed(node, -1))) if signs else node

    def chain(self) -> Node:
        """Read values with relations between them; rising, so that 2 > x is x < 2."""
        parts, marks = [self.union()], []
        while self.word in RELATIONS:
            marks.append(self.word)
            self.at += 1
            parts.append(self.union())
        if not marks:
            return parts[0]
        if self.take("mod"):
            return Node("congruence", (*parts, self.power()), tuple(marks))
        if self.word == "(" and self.words[self.at + 1] == "mod":
            self.at += 2
            return Node("congruence", (*parts, self.inside(self.sum, ")")), tuple(marks))
        return _chain(parts, marks)

    def union(self) -> Node:
        parts, marks = [self.sum()], []
        while self.word in ("∪", "∖"):
            marks.append(self.word)
            self.at += 1
            parts.append(self.sum())
        return Node("union", tuple(parts), tuple(marks)) if marks else parts[0]

    def bracket(self, opener: str) -> Node:
        """Read a group, a tuple or an interval."""
        bars, self.bars = self.bars, 0
        inner = self.answer()
        self.bars = bars
        closer = self.word
        self.at += 1
        if closer not in (")", "]", "[", "⟩") or (opener == "⟨") != (closer == "⟩"):
            raise UnreadableError(f"{opener!r} is not closed")
        if inner.op == "list" and set(inner.marks) <= {",", ";"} and inner.marks:
            round_ = {"⟨": "(", "]": "(", "⟩": ")", "[": ")"}  # ]0, 1[ is (0, 1)
            opens = opener if opener == "[" else round_.get(opener, opener)
            return Node("bracket", inner.args, (opens, closer if closer == "]" else round_.get(closer, closer)))
        if inner.op == "matrix" or (opener, closer) == ("(", ")"):
            return inner
        return self.fail(opener)

    def set(self, word: str) -> Node:
        """Read the elements of a set, or the condition on its elements as a relation."""
        if self.take(r"\}"):
            return Node("const", (), ("∅",))
        bars = [at for at in range(self.at, len(self.words)) if self.words[at] == "|"]
        if len(bars) % 2:  # the others are in pairs, as in |x|
            self.words[bars[0]], self.tokens[bars[0]] = ":", Token("sign", ":")
        inner = self.inside(self.answer, r"\}")
        parts = inner.args if inner.op == "list" else (inner,)
        if inner.op == "chain" and ":" in inner.marks:
            at = inner.marks.index(":") + 1
            return _chain(list(inner.args[at:]), list(inner.marks[at:])) if len(inner.marks) > at else self.fail(word)
        return Node("set", tuple(dict.fromkeys(parts)))

    def environment(self, word: str) -> Node:
        """Read a matrix, a determinant, or the lines of a system."""
        lines: list[tuple[Node, ...]] = []
        cells: list[Node] = []
        name = word.partition(":")[2]
        system = name in ("cases", "gathered")
        while True:
            cells.append(self.item() if system else self.sum())
            if self.take("&"):
                if system:
                    raise UnreadableError("a value by cases")
                continue
            self.take(",") if system else None
            lines.append(tuple(cells))
            cells = []
            if not self.take(r"\\") or self.word.startswith("end:"):
                break
        self.expect(f"end:{name}")
        if system:
            return Node("list", sum(lines, ()), (",",))
        if len({len(line) for line in lines}) != 1:
            raise UnreadableError("rows of different lengths")
        matrix = Node("matrix", sum(lines, ()), (len(lines[0]),))
        return Node("call", (matrix,), ("det",)) if name == "vmatrix" else matrix


def _chain(parts: list[Node], marks: list[str]) -> Node:
    """Return a chain of relations, turned to rise if all of them fall."""
    if marks[0] in (">", "≥") and not set(marks) - {">", "≥"}:
        parts, marks = parts[::-1], [{">": "<", "≥": "≤"}[mark] for mark in marks[::-1]]
    return Node("chain", tuple(parts), tuple(marks))


def _signs(node: Node) -> list[str]:
    return [*node.marks] if node.op == "sign" else [sign for part in node.args for sign in _signs(part)]


def _is_both(node: Node) -> bool:
    return node.op == "list" and not node.marks


def _signed(node: Node, sign: int) -> Node:
    """Return the node with + or - for each ±, and the other for each ∓."""
    if node.op == "sign":
        return number(sign if node.marks == ("±",) else -sign)
    if node.op == "*" and node.args[0].op == "sign" and _signed(node.args[0], sign) == number(1):
        return Node("*", node.args[1:]) if len(node.args) > 2 else node.args[1]
    return Node(node.op, tuple(_signed(part, sign) for part in node.args), node.marks)
