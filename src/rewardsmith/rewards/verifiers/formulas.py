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
    parser = _Formulas(read, attached)
    if parser.words.count("/") > MAX_PARTS:
        raise UnreadableError("too many quotients")
    node = parser.answer()
    if parser.word:
        raise UnreadableError(f"{parser.word!r} is left over")
    return node


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
        return Node("list", tuple(parts), tuple(joined)) if len(parts) > 1 else parts[0]

    def item(self) -> Node:
        end = self.at
        while self.tokens[end].kind in ("letters", "text") and self.words[end] not in SEPARATORS:
            end += 1
        between = self.tokens[self.at : end]
        if self.words[end] in SEPARATORS | CLOSERS and any(is_word(token) for token in between):
            self.at = end
            return Node("text", (), (" ".join(token.text for token in between).lower(),))
        start = self.at
        node = self.chain()
        signs = [word for word in self.words[start : self.at] if word in ("±", "∓")]
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
        if closer not in (")", "]", "⟩") or (opener == "⟨") != (closer == "⟩"):
            raise UnreadableError(f"{opener!r} is not closed")
        if inner.op == "list" and set(inner.marks) <= {",", ";"} and inner.marks:
            round_ = opener == "⟨"
            return Node("bracket", inner.args, ("(", ")") if round_ else (opener, closer))
        if inner.op == "matrix" or (opener, closer) == ("(", ")"):
            return inner
        return self.fail(opener)

    def set(self, word: str) -> Node:
        """Read the elements of a set, or the condition on its elements as a relation."""
        if self.take(r"\}"):
            return Node("const", (), ("∅",))
        for after in range(self.at, len(self.words) - 1):
            if self.words[after] == "|" and self.words[after + 1 :].count("|") % 2 == 0 and r"\}" in self.words[after:]:
                self.words[after] = ":"
                self.tokens[after] = Token("sign", ":")
                break
        inner = self.inside(self.answer, r"\}")
        parts = inner.args if inner.op == "list" and inner.marks else (inner,)
        if inner.op == "chain" and ":" in inner.marks:
            at = inner.marks.index(":") + 1
            return _chain(list(inner.args[at:]), list(inner.marks[at:])) if len(inner.marks) > at else self.fail(word)
        return Node("set", parts)

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


def _signed(node: Node, sign: int) -> Node:
    """Return the node with + or - for each ±, and the other for each ∓."""
    if node.op == "sign":
        return number(sign if node.marks == ("±",) else -sign)
    return Node(node.op, tuple(_signed(part, sign) for part in node.args), node.marks)
