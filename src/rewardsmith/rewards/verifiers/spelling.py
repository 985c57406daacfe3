"""Read the characters of an answer into tokens, so that each spelling of a sign, in LaTeX or not, is one token."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

MAX_CHARS = 2000
"""Longer answers are not read."""
MAX_EXPONENT = 1000
"""Larger powers of ten are refused, so that `1e999999999` takes no time."""


class UnreadableError(ValueError):
    """The text cannot be read as mathematics."""


class Token(NamedTuple):
    """kind: number, letters, text (letters that LaTeX sets upright) or sign; the end is a sign "".

    spaced: white space is before it. number: the value of a number.
    """

    kind: str
    text: str
    spaced: bool = False
    number: Fraction = Fraction(0)


END = Token("sign", "")
FONTS = "text|textbf|textit|textrm|textnormal|mathrm|mbox|hbox|rm|operatorname"
_SLANTED = "mathbf|mathit|mathbb|mathcal|mathsf|boldsymbol|bm|vec|boxed|fbox|ensuremath|displaystyle"
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_DIGITS = re.compile(r"(?P<number>[0-9]+)")
_DOLLARS = re.compile(r"(?<!\\)\$(?=\S)((?:\\.|[^$\\])*)(?<=\S)(?<!\\)\$(?![0-9])")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))")
_LOOK = re.compile(r"\{([:=<>+-])\}|\\(?:text)?color\s*\{[a-z]+\}|\\mathbf\s*\{R\}(?=\s*$)|\\mathbb\s+R(?![a-zA-Z])")
_RAISED = re.compile(r"\^\s*\{?\s*\\?(?:(?:text|mathrm|textrm)\s*\{)?\s*(st|nd|rd|th)\s*\}{1,2}")
_BOARD = {"R": "ℝ", "Z": "ℤ", "Q": "ℚ", "N": "ℕ", "C": "ℂ"}
_MARK = r"(?P<mark>,|\{,\}|\{\\,\}|\\,|,\s*\\!\s*|\\!,?|\\ |\ )"
_TOKEN = re.compile(
    r"(?P<space>(?:[\s~]|\\[,;:! \n]|\\(?:quad|qquad|left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|thinspace"
    r"|large|Large|small|normalsize)"
    r"(?![a-zA-Z]))+)"
    rf"|(?P<number>[1-9][0-9]{{0,2}}{_MARK}[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*(?!(?P=mark)?[0-9])(?:\.[0-9]+)?"
    r"|[1-9][0-9]?(?P<indian>,)(?:[0-9]{2},)+[0-9]{3}(?![0-9])(?:\.[0-9]+)?"
    r"|(?:[0-9]*\.[0-9]*(?:\\(?:overline|bar)\ ?\{(?P<over>[0-9]+)\}|\\dot\{?(?P<dot>[0-9])\}?"
    r"|(?<=[.0-9])\((?P<round>[0-9]+)\)))"
    r"|(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9}(?![0-9a-zA-Z]))?)"
    r"|(?P<row>\\\\(?:\[[^\]]{0,12}\])?|\\cr(?![a-zA-Z]))"
    rf"|\\(?P<font>{FONTS}|{_SLANTED})(?![a-zA-Z])\*?\s*"
    r"|\\(?:begin|end)\s*\{(?P<environment>[a-z]+)\*?\}(?:\[[a-z]\])?(?:(?<=array\})\{[a-z| ]*\})?"
    r"|\\(?P<command>[a-zA-Z]+|[{}%$&#_|])"
    r"|(?P<letters>[a-zA-Z]+|[^\W\d_])"
    r"|(?P<sign>\*\*|<=|>=|!=|==|\|\||[^\s\\])"
)
_COMMANDS = {  # spelling: token
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "over": "/", "pm": "±", "mp": "∓", "le": "≤", "leq": "≤",
    "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "lt": "<", "gt": ">", "ne": "≠", "neq": "≠", "in": "∈",
    "cup": "∪", "cap": "∩", "setminus": "∖", "backslash": "∖", "infty": "∞", "emptyset": "∅", "varnothing": "∅",
    "lbrace": r"\{", "rbrace": r"\}", "{": r"\{", "}": r"\}", "lbrack": "[", "rbrack": "]", "langle": "⟨",
    "rangle": "⟩", "lvert": "|", "rvert": "|", "vert": "|", "mid": ":", "colon": ":", "circ": "°", "degree": "°",
    "prime": "'", "equiv": "≡", "pmod": "mod", "bmod": "mod", "mod": "mod", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "dbinom": r"\binom",
    "tbinom": r"\binom", "%": "%", "$": "$", "&": "&", "_": "_", "|": "‖", "ldots": "…", "dots": "…", "cdots": "…",
    "lor": "or", "vee": "or", "land": "and", "wedge": "and", "euro": "€", "pounds": "£", "varepsilon": r"\epsilon",
    "vartheta": r"\theta", "varphi": r"\phi", "ell": r"\ell", "#": "#", "approx": "≈", "frac": r"\frac",
}  # fmt: skip
_SIGNS = {
    "**": "^", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "·": "*", "×": "*", "⋅": "*", "∙": "*", "÷": "/", "⁄": "/",
    "∕": "/", "⩽": "≤", "⩾": "≥", "∣": ":", "′": "'", "’": "'", "″": "''", "º": "°", "、": ",", "√": r"\√",
    "∑": r"\sum", "∏": r"\prod", "∛": r"\∛", "；": ";", "∨": "or", "∧": "and", "⋯": "…", "`": "'",
}  # fmt: skip
_GREEK = re.findall(
    r"\w+",
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega",
)
_LETTERS = dict(zip("αβγδεζηθικλμνξοπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", ["\\" + name for name in _GREEK], strict=True))
_LETTERS |= {"ϕ": r"\phi", "µ": "μ"}
_SPACES = dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000"), " ")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"), "-")
FUNCTIONS = re.findall(  # the longer of two names that begin alike is first
    r"\w+",
    "arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sin cos tan cot sec csc cis exp log ln lg gcd lcm "
    "min max sqrt cbrt abs floor ceil sgn det",
)
NAMES = re.compile("|".join([*FUNCTIONS, "pi(?![a-z]{2})", "infinity", "infty"]))


def is_word(token: Token) -> bool:
    """Return whether the letters are a word, and no variables, constant or function."""
    text = token.text
    if token.kind not in ("letters", "text") or text.startswith("\\") or len(text) < 2 or text in ("or", "and"):
        return False
    name = NAMES.match(text)
    return not (name and len(text) - name.end() < 2) and not (len(text) < 4 and set(text) <= set("abcxyz"))


def in_ascii(text: str) -> str:
    """Return `text` with ASCII digits, dashes, spaces and full-width forms; fractions and raised signs as LaTeX.

    >>> in_ascii("１２½ – x²")
    '12\\\\frac{1}{2} - x^{2}'
    """
    if text.isascii():
        return text
    text = text.translate(_SPACES).translate(_DASHES)
    return re.sub(r"[⁰¹²³⁴-⁹⁺⁻ⁿ]+|[₀-₉]+|[^\x00-\x7f]", _ascii, text)


def _ascii(match: re.Match[str]) -> str:
    character = match[0][0]
    if character in "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ" or "₀" <= character <= "₉":
        inner = unicodedata.normalize("NFKC", match[0]).replace("−", "-")
        return f"{'_' if '₀' <= character <= '₉' else '^'}{{{inner}}}"
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if unicodedata.decomposition(character).startswith("<fraction>"):
        above, _, below = unicodedata.normalize("NFKC", character).partition("⁄")
        return rf"\frac{{{above}}}{{{below}}}" if below else character
    return chr(ord(character) - 0xFEE0) if "！" <= character <= "～" else character


@lru_cache(maxsize=1024)
def tokens(text: str) -> tuple[Token, ...]:
    """Return the tokens of `text` and two ends; raise `UnreadableError` where it is too long or nested too deep.

    >>> [token.text for token in tokens(r"\\dfrac12 \\text{ cm}")]
    ['\\\\frac', '12', 'cm', '', '']
    """
    if len(text) > MAX_CHARS:
        raise UnreadableError("the text is too long")
    if text.lstrip().startswith("~"):
        raise UnreadableError("about a value")
    found: list[Token] = []
    text = _LOOK.sub(
        lambda look: "ℝ" if "math" in look[0] else look[1] or " ",
        _DEGREES.sub("°", _DOLLARS.sub(r" \1 ", in_ascii(text))),
    )
    _read(_RAISED.sub(r"\\text{\1}", text), found, upright=False, depth=0)
    return (*found, END, END)


def _read(text: str, found: list[Token], *, upright: bool, depth: int) -> None:
    at, spaced, brackets = 0, True, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or depth > 8:
            raise UnreadableError(f"{text[at]!r} is unknown")
        at = match.end()
        if match["space"] is not None:
            spaced = True
            continue
        if match["font"] is not None:
            end = closing(text, at)
            if end is not None:
                inner = text[at + 1 : end]
                if match["font"] == "mathbb":
                    found.append(Token("sign", _BOARD.get(inner.strip(), inner), spaced))
                else:
                    _read(inner, found, upright=upright or match["font"] in FONTS.split("|"), depth=depth + 1)
                at = end + 1
            spaced = True
            continue
        if match["number"] is not None:
            if (match["mark"] or match["indian"]) and not _grouped(match, found, brackets):
                match = _DIGITS.match(text, match.start())
                assert match is not None
                at = match.end()
            found.append(_number(match, spaced))
        elif match["letters"] is not None:
            letters: str = match["letters"]
            word = _LETTERS.get(letters, letters)
            found.append(Token("text" if upright else "letters", word, spaced))
        else:
            word = _sign(match)
            brackets += (word in ("(", "[", r"\{")) - (word in (")", "]", r"\}"))
            kind = "letters" if word[1:] in _GREEK or word in ("or", "and") else "sign"
            found.append(Token(kind, word, spaced))
        spaced = False


def _sign(match: re.Match[str]) -> str:
    if match["row"]:
        return r"\\"
    if match["environment"]:
        return ("begin:" if match[0].startswith(r"\begin") else "end:") + match["environment"]
    if match["command"]:
        return _COMMANDS.get(match["command"], "\\" + match["command"])
    return _SIGNS.get(match["sign"], match["sign"])


def _grouped(match: re.Match[str], found: list[Token], brackets: int) -> bool:
    """Return whether the marks are within one number, and do not separate several."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :].lstrip()[:1]
    if match["mark"] in (" ", r"\ "):
        return after != "/" and not (found and found[-1].kind == "number")
    return (not brackets and before != ",") or (match["mark"] or ",") != ","


def _number(match: re.Match[str], spaced: bool) -> Token:
    """Return the token of a numeral with its exact value."""
    parts = match.groupdict()
    digits = re.sub(r"[^0-9.eE+-]", "", match[0]) if parts.get("mark") or parts.get("indian") else match[0]
    repeated = parts.get("over") or parts.get("dot") or parts.get("round")
    if repeated:
        whole, _, fixed = re.split(r"[\\(]", digits)[0].strip().partition(".")
        value = Fraction(int(whole + fixed or "0"), 10 ** len(fixed))
        return Token(
            "number", digits, spaced, value + Fraction(int(repeated), 10 ** len(fixed) * (10 ** len(repeated) - 1))
        )
    mantissa, _, power = digits.lower().partition("e")
    if abs(int(power or "0")) > MAX_EXPONENT or not mantissa.strip("."):
        raise UnreadableError(f"{match[0]!r} is no numeral that is read")
    return Token("number", digits, spaced, Fraction(mantissa.removesuffix(".")) * Fraction(10) ** int(power or "0"))


def closing(text: str, start: int) -> int | None:
    """Return the index of the brace that closes the one at `start`; None if there is none or it stays open."""
    if start >= len(text) or text[start] != "{":
        return None
    depth = 0
    for token in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.start()
    return None
