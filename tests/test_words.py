"""Private words stay out of what users read, and a function's first docstring line begins with its verb."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "rewardsmith"

PRIVATE = re.compile(
    r"(?<![.\w])(panels?|carriers?|paid|lapses?|pressures?|hearing|heard|told|guide|idle)(?![\w(])", re.IGNORECASE
)
"""Words that stood for something of our own. `gap` (of two accuracies), `forms` and the `guides` of the documentation
have ordinary uses that no other word serves as well, so they are not in the list."""
ORDINARY = ("and will be heard",)
"""Phrases with such a word in its ordinary sense, as in a sentence of filler that the audit sends to rewards."""
NO_VERB = re.compile(
    "A All An And Any As At Both By Each Either Every Everything For From How If In It Its Like Neither No Nor Not Of "
    "One Other Our Several Some That The Their These This Those Three To Two What When Where Whether Which Who Why "
    "With Accuracy Alarms Copies Mean Number Pairs Part Probability Rows Share Steps Texts True".replace(" ", "|")
)


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def prose() -> list[Path]:
    pages = [SOURCE / "atlas" / "catalogue.toml", *sorted((SOURCE / "atlas" / "pages").glob("*.toml"))]
    return [*pages, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sentences(text: str) -> str:
    """Return the text without code: names in backticks, and all of a code block but its comments."""
    lines, fenced = [], False
    for line in text.split("\n"):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        example = line.lstrip().startswith((">>>", "... "))
        lines.append("" if fence else line.partition("#")[2] if fenced or example else line)
    plain = re.sub(r"`[^`\n]*`", "", "\n".join(lines))
    for phrase in ORDINARY:
        plain = plain.replace(phrase, "")
    return plain


def found_in(text: str) -> list[str]:
    return [match[0] for match in PRIVATE.finditer(sentences(text))]


def test_the_list_finds_words_and_not_names_or_code():
    assert found_in("Paid by a panel, told apart.") == ["Paid", "panel", "told"]
    assert found_in("`told` and curve.pressure, paid_above=1, idle(), >>> heard") == ["heard"]
    assert found_in("```python\npaid = told  # what is paid\n```\nidle") == ["paid", "idle"]


@pytest.mark.parametrize("path", sources(), ids=name)
def test_no_private_word_is_in_a_docstring_an_option_or_a_message(path):
    if not PRIVATE.search(path.read_text(encoding="utf-8")):
        return  # most files, without parsing them
    texts = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)]
    # A string without a space is a name or a value, such as a column.
    read = [(node.lineno, node.value) for node in texts if isinstance(node.value, str) and " " in node.value]
    assert not [(line, words) for line, text in read if (words := found_in(text))]


@pytest.mark.parametrize("path", prose(), ids=name)
def test_no_private_word_is_in_a_page_or_a_guide(path):
    lines = sentences(path.read_text(encoding="utf-8")).split("\n")
    assert not [(number, words) for number, line in enumerate(lines, 1) if (words := found_in(line))]


def first_lines(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield name and first docstring line of public functions and methods, without properties and inner functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            hidden = child.name.startswith("_") or "property" in ast.unparse(ast.Tuple(child.decorator_list))
            if not hidden and (text := ast.get_docstring(child)):
                yield child.name, text.split("\n")[0]
        else:
            yield from first_lines(child)


def begins_with_a_verb(line: str) -> bool:
    """Return whether a line may begin with a verb; a reward may say where it is 1.0."""
    first = re.match(r"[A-Z][a-z]+(-[a-z]+)*\b", line)
    return line.startswith("1.0 ") or (first is not None and not NO_VERB.fullmatch(first[0]))


def test_lines_without_a_verb_are_found():
    good = ["Return the mean.", "Warm-start the policy.", "1.0 where both agree.", "Direct preference optimization: y."]
    bad = ["The mean.", "(B,) rewards.", "`r` as a list.", "What it is.", "KL of two policies.", "Whether it is one."]
    assert [*map(begins_with_a_verb, good + bad)] == [True] * len(good) + [False] * len(bad)


@pytest.mark.parametrize("path", sources(), ids=name)
def test_the_first_line_of_a_public_function_begins_with_a_verb(path):
    lines = first_lines(parsed(path))
    assert not [(function, line) for function, line in lines if not begins_with_a_verb(line)]
