"""Read tests as data sets have them; the shape of the value decides, never the name of a data set."""

from __future__ import annotations

import ast
import json
import pickletools
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

from rewardsmith.data.keys import is_missing, parsed
from rewardsmith.data.rows import without_end_tokens
from rewardsmith.rewards.code.asserts import Call, equal, read_asserts
from rewardsmith.rewards.thinking import after_thinking
from rewardsmith.sandbox import Program
from rewardsmith.scoring.calling import Unscored


class Stdin(NamedTuple):
    """A program's input and the output that is expected of it."""

    stdin: str
    expected: str


class Script(NamedTuple):
    """Test code that runs in a process of its own. candidate: the function that its `check` is given."""

    source: str
    candidate: str = ""


class Command(NamedTuple):
    """A command that ends with exit code 0 where the completion, the file `solution`, is right."""

    command: tuple[str, ...]
    files: Mapping[str, str]
    solution: str


Case = Call | Stdin | Script | Command
Block = Literal["last", "first", "only", "all", "whole"]


@dataclass(frozen=True)
class Suite:
    """The tests of one row.

    n_public: how many of the cases, at the front, are public.
    preamble: code that the program needs before it, such as imports and HumanEval's prompt.
    entry: the function that the prompt has begun, "" if none.
    """

    cases: tuple[Case, ...]
    n_public: int = 0
    preamble: str = ""
    entry: str = ""

    @property
    def name(self) -> str:
        """The function that the tests call, "" for a program that reads its input."""
        return next((case.name for case in self.cases if isinstance(case, Call)), self.entry)


PUBLIC = ("public_tests", "public_test_cases")
HIDDEN = (
    *("tests", "hidden_tests", "private_tests", "private_test_cases", "input_output", "test_list", "test"),
    *("test_cases", "unit_tests", "ground_truth", "answer"),
)
"""Columns of tests, best first; the first that is there counts."""
NAMES = ("fn_name", "entry_point", "func_name", "function_name")
PRELUDE = """
from typing import *; from collections import *; from heapq import *; from bisect import *; from itertools import *
from functools import *; from math import *; from builtins import *
import bisect, collections, copy, functools, heapq, itertools, math, operator, random, re, string, sys
"""
"""What LeetCode, and the harnesses of APPS and LiveCodeBench, import before a function that a task has named."""
_FENCE = re.compile(r"([ \t]*)(`{3,}(?=[^`]*\Z)|~{3,})[ \t]*([\w+-]*)")
MAX_TESTS = 2**28
"""Characters of compressed tests, unpacked."""


def read_tests(columns: Mapping[str, Any], prompt: str = "") -> Suite | Unscored:
    """Return the tests of a row's columns, or why there are none that can be run.

    >>> read_tests({"test_list": ["assert add(1, 2) == 3"]}).name
    'add'
    >>> read_tests({"tests": "three cases"}).why
    "the column `tests` holds no tests: 'three cases'"
    """
    given = {name: value for name, value in columns.items() if not is_missing(value) and value not in ("", [], {})}
    metadata = parsed(given.get("metadata"))
    setup = "\n".join(_lines(given.get("test_imports")) + _lines(given.get("test_setup_code")))
    public, hidden = (next((column for column in group if column in given), "") for group in (PUBLIC, HIDDEN))
    held = [one for one in (metadata, parsed(given.get(hidden)), parsed(given.get(public))) if isinstance(one, Mapping)]
    name = next((str(one[key]) for one in (given, *held) for key in NAMES if not is_missing(one.get(key))), "")
    cases: dict[str, list[Case]] = {"": []}
    for column in (public, hidden):
        try:
            cases[column] = list(_cases(parsed(given[column]), name, setup)) if column else []
        except (SyntaxError, ValueError, TypeError, KeyError, RecursionError) as error:
            return Unscored(f"the column `{column}` holds no tests that can be read: {error}")
        if column and not cases[column]:
            return Unscored(f"the column `{column}` holds no tests: {str(given[column])[:80]!r}")
    if not (public or hidden):
        return Unscored(f"the row has no tests (columns of tests are {', '.join((*PUBLIC, *HIDDEN))})")
    found = tuple(cases[public] + cases[hidden])
    if all(isinstance(case, Stdin) and not case.expected.strip() for case in found):
        return Unscored("no test expects any output, so an empty program would pass")
    imports = "".join(f"{line}\n" for line in _imports(setup))
    prelude = f"{PRELUDE}globals().pop({name!r}, None)\n" if name else ""  # or the task `gcd` needs no program
    suite = Suite(found, len(cases[public]), prelude + imports)
    begun = _begun(prompt, name)
    return suite if begun is None else replace(suite, preamble=suite.preamble + begun, entry=name)


def _cases(value: Any, name: str, setup: str) -> Iterator[Case]:
    """Yield the tests of a dict, a list or a text."""
    if isinstance(value, Mapping):
        yield from _cases_in_dict(value, name, setup)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _cases(parsed(item), name, setup)
    elif isinstance(value, str) and re.search(r"^[ \t]*(?:assert\b|raise )|^def (?:check|test)|unittest", value, re.M):
        ast.parse(value)
        candidate = name if re.search(r"^def check\(", value, re.M) else ""
        calls = read_asserts(value, candidate=candidate)
        yield from [Script(f"{setup}\n{value}", candidate)] if calls is None else calls
    elif isinstance(value, str) and (text := _unpacked(value)):
        yield from _cases(parsed(text), name, setup)


def _unpacked(packed: str) -> str:
    """Return LiveCodeBench's private tests, a compressed pickle of one text, without unpickling; "" for others."""
    try:
        pickled = zlib.decompressobj().decompress(b64decode(packed, validate=True), MAX_TESTS)
        steps = [(step.name, value) for step, value, _ in pickletools.genops(pickled)]
    except (ValueError, zlib.error):
        return ""
    texts = [value for name, value in steps if name.endswith("UNICODE")]
    rest = {name for name, _ in steps if not name.endswith("UNICODE")}
    return str(texts[0]) if len(texts) == 1 and rest <= {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "STOP"} else ""


def _cases_in_dict(value: Mapping[str, Any], name: str, setup: str) -> Iterator[Case]:
    name = next((str(value[key]) for key in NAMES if value.get(key)), name)
    if "command" in value:
        command = value["command"]
        listed = tuple(command.split() if isinstance(command, str) else map(str, command))
        solution, files = str(value.get("solution", "solution.py")), dict(value.get("files") or {})
        if not all(isinstance(text, str) for text in files.values()):
            raise TypeError("a file is no text")
        Program("", files={solution: "", **files})  # it checks the paths
        yield Command(listed, files, solution)
        return
    for asserted in ("assert_case", "functional"):
        if value.get(asserted):
            yield from _cases(parsed(value[asserted]), name, f"{setup}\n{value.get('import_prefix') or ''}")
            return
    inputs, outputs = (value.get(f"{key}s", value.get(key)) for key in ("input", "output"))
    if inputs is None or outputs is None:
        return
    if "input" in value and not isinstance(inputs, list):
        inputs, outputs = [inputs], [outputs]
    if value.get("testtype") == "stdin":
        name = ""
    for given, expected in zip(inputs, outputs, strict=True):
        if not name:
            yield Stdin(_text(given), _text(expected))
        else:
            lines = [line for line in given.split("\n") if line.strip()] if isinstance(given, str) else []
            args = list(map(json.loads, lines)) if isinstance(given, str) else list(given)
            wanted = json.loads(expected) if isinstance(given, str) and isinstance(expected, str) else expected
            boxed = isinstance(wanted, list) and len(wanted) == 1 and not isinstance(given, str)
            holds = partial(_equal_or_boxed if boxed else equal_json, expected=wanted)
            yield Call(name, tuple(args), {}, holds, wanted[0] if boxed else wanted)


equal_json = partial(equal, loose=True)


def _equal_or_boxed(value: Any, tolerance: float, *, expected: list[Any]) -> bool:
    """Hold where the value is the expected one, which APPS puts into a list of its own."""
    return equal_json(value, tolerance, expected=expected) or equal_json(value, tolerance, expected=expected[0])


def _text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _lines(value: Any) -> list[str]:
    value = parsed(value)
    return [] if is_missing(value) else [value] if isinstance(value, str) else list(map(str, value))


def _imports(code: str) -> list[str]:
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return []
    return [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]


def _begun(prompt: str, name: str) -> str | None:
    """Return what a prompt defines before the function that it has begun, as HumanEval's do; None for another one."""
    place = re.search(rf"^(async )?def {re.escape(name)}\(", prompt, re.M) if name else None
    if place is None:
        return None
    lines = prompt[: place.start()].splitlines()[-200:]
    for start in range(len(lines) + 1):  # a question may stand before the code
        try:
            body = ast.parse("\n".join(lines[start:])).body
        except (SyntaxError, ValueError):
            continue
        defining = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign
        return "".join(f"{ast.unparse(node)}\n" for node in body if isinstance(node, defining))
    return None


def program_of(text: str, suite: Suite, prompt: str, block: Block) -> str | None:
    """Return the program of a completion, or None if it has no code block.

    It gets the tests' preamble. Where the prompt has begun a function that the completion does not define, the
    completion continues the prompt.

    Args:
        block: "last", "first" or "only" fenced block for Python (of any language if none is for Python), "all" of them
            joined, or "whole" for a completion that is code itself.
    """
    shown = after_thinking(without_end_tokens(text))
    if shown is None:
        return None
    if block == "whole":
        code: str | None = shown
    else:
        bodies = _fenced(shown)
        ours = [body for tag, body in bodies if tag in ("python", "py", "python3", "py3")]
        ours = ours or [body for tag, body in bodies if not tag]
        picked = {"last": ours[-1:], "first": ours[:1], "only": ours * (len(ours) == 1), "all": ours}[block]
        code = "\n".join(picked) if picked else None
    if code is None or not suite.entry or re.search(rf"^(async )?def {re.escape(suite.entry)}\(", code, re.M):
        return None if code is None else _after(suite.preamble, code)
    return f"{prompt.rstrip()}\n{code}" if block != "whole" else prompt + code


def _fenced(text: str) -> list[tuple[str, str]]:
    """Return language and content of each fenced block that is closed, as CommonMark reads them; line by line."""
    found, fence, lines = list[tuple[str, str]](), None, list[str]()
    for line in text.split("\n"):
        if fence is None:
            fence, lines = _FENCE.match(line), []
        elif (end := line.strip()).startswith(fence[2]) and not end.strip(fence[2][0]):
            found.append((fence[3].lower(), "".join(lines)))
            fence = None
        else:
            by = len(fence[1])  # the content loses the indentation of its fence
            lines.append(line[:by].lstrip(" \t") + line[by:] + "\n")
    return found


def _after(preamble: str, code: str) -> str:
    """Put the preamble before the code, but its imports from the future, which must be first, before both."""
    future = re.compile(r"^from __future__ import .*\n?", re.M)
    return "".join(future.findall(code)) + preamble + future.sub("", code) if preamble else code
