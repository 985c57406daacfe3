"""Check a row's reference answer (key): it must be a text or a number; otherwise there is a reason why it is none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple


class Key(NamedTuple):
    """The text of a reference answer, or None with the reason."""

    text: str | None
    why: str = ""


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN, or pandas' NA and NaT.

    >>> [is_missing(value) for value in (None, float("nan"), "", "nan", 0, [None])]
    [True, True, False, False, False, False]
    """
    if value is None or isinstance(value, str):
        return value is None
    try:
        return not bool(value == value)  # noqa: PLR0124 — only missing values differ from themselves
    except TypeError:  # NA has no truth value
        return True
    except Exception:  # an array of several values
        return False


def read_key(value: Any) -> Key:
    """Read a reference answer as text, or return the reason why it is no key.

    A dict or a list is no key, because any of its values could be meant.

    >>> read_key(7), read_key({"target": "7"}).text, read_key(None).why
    (Key(text='7', why=''), None, 'the row has no key')
    """
    if is_missing(value):
        return Key(None, "the row has no key")
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy numbers and arrays
    if isinstance(value, str) or not isinstance(value, Mapping | Sequence | Set | bytes | bytearray):
        try:
            return Key(str(value)) if not is_missing(value) else Key(None, "the row has no key")
        except Exception as error:  # an integer with more digits than Python writes
            return Key(None, f"the key cannot be written as text ({type(error).__name__}: {error})")
    kind = type(value).__name__
    held = f"with {', '.join(map(str, list(value)[:4]))}" if isinstance(value, Mapping) else f"of {len(value)}"
    return Key(None, f"the key is a {kind} {held}, but `answer` must be one text or number")


class Answers(NamedTuple):
    """The right answers in a reference answer.

    texts: all accepted ones; the first is the key. Empty if there is none.
    why: what the reference answer is instead, as in "a dict with target, numbers and no single answer".
    inside: the path of the first one in an object.
    field: a field of an unread dict to propose to the user, else "".
    """

    texts: tuple[str, ...] = ()
    why: str = ""
    inside: tuple[str, ...] = ()
    field: str = ""


ANSWER_FIELDS = ("answer", "final_answer", "correct_answer", "expected_answer", "ground_truth", "reference_answer")
"""Fields of a dict that are its answer whatever else it holds."""
LOOSE_FIELDS = ("target", "targets", "answers", "label", "solution", "value", "reference", "expected_output")
"""Fields of a dict that may be its answer or a part of the task, such as countdown's `target`."""
SIDE_FIELDS = frozenset(
    ("style", "type", "kind", "format", "source", "data_source", "split", "index", "id", "level", "difficulty")
)
"""Fields of a dict that describe the answer."""
TEST_FIELDS = frozenset(
    ("inputs", "outputs", "input_output", "test", "tests", "test_cases", "unit_tests", "test_list", "public_tests",
     "private_tests", "fn_name", "entry_point", "assert_case", "functional")
)  # fmt: skip
"""Fields of a dict that holds tests of code."""
TESTS = Answers(why="a set of code tests, which is no answer")
MOST_LEVELS = 4
_ASSERT = re.compile(r"^\s*assert\b", re.MULTILINE)


def answers_in(value: Any, levels: int = MOST_LEVELS) -> Answers:
    """Return the answers in a text, a number, a dict, a list or a JSON string of a dict.

    Of a dict it is the answer's field: one of `ANSWER_FIELDS`, else the only field beside `SIDE_FIELDS`. Several texts
    in a list are equal answers, as in data for question answering. Several numbers in a list may be one answer or
    several, so they are none. Nor are tests of code.

    >>> answers_in({"target": ["Paris", "Paris city"], "style": "rule"}).texts
    ('Paris', 'Paris city')
    >>> answers_in({"target": 3, "numbers": [1, 2]}).why
    'a dict with target, numbers and no single answer'
    """
    if type(value) is str and value[:1] not in "{[" and "assert" not in value:
        return Answers((value,))
    opened = parsed(value)
    if isinstance(opened, Mapping) and levels:
        return _answers_in_dict(opened, levels, text=value if isinstance(value, str) else "")
    if isinstance(opened, list | tuple) and opened and levels:
        if all(_is_test(item) for item in opened):
            return TESTS
        if not isinstance(value, str):
            return _answers_in_list(opened, levels)
    text = read_key(value).text
    if text is None:
        return Answers(why="" if is_missing(value) else f"a {type(value).__name__} that is no answer")
    return TESTS if len(_ASSERT.findall(text)) > text.count("\n") / 4 else Answers((text,))


def _answers_in_dict(fields: Mapping[str, Any], levels: int, *, text: str) -> Answers:
    """Return the answers in a dict, or in the JSON `text` of one."""
    given = {str(name): value for name, value in fields.items() if not is_missing(value)}
    if TEST_FIELDS & given.keys():
        return TESTS
    named = [name for name in ANSWER_FIELDS if name in given]
    several = [name for name in given if name not in SIDE_FIELDS]
    one = named or (several if len(several) == 1 and (not text or several[0] in LOOSE_FIELDS) else [])
    found = {name: answers_in(given[name], levels - 1) for name in one}
    if found and len({own.texts for own in found.values()}) == 1:
        name, own = next(iter(found.items()))
        return own._replace(inside=(name, *own.inside))
    if text and not any(name in given for name in (*ANSWER_FIELDS, *LOOSE_FIELDS)):
        return Answers((text,))  # the answer itself is an object
    fits = [name for name in (*named, *LOOSE_FIELDS, *several) if name in given]
    shown = ", ".join(list(given)[:4]) or "no fields"
    return Answers(why=f"a dict with {shown} and no single answer", field=fits[0] if fits else "")


def _answers_in_list(items: Sequence[Any], levels: int) -> Answers:
    given = [item for item in items if not is_missing(item)]
    if len(given) == 1:
        own = answers_in(given[0], levels - 1)
        return own._replace(inside=(str(items.index(given[0])), *own.inside))
    if given and all(isinstance(item, str) and item.strip() for item in given):
        return Answers(tuple(dict.fromkeys(given)), inside=(str(items.index(given[0])),))
    return Answers(why=f"a list of {len(given)}, which may be one answer or several", field="0" if given else "")


def _is_test(item: Any) -> bool:
    if isinstance(item, Mapping):
        return bool({"input", "output", *TEST_FIELDS} & item.keys())
    return isinstance(item, str) and _ASSERT.match(item) is not None


def parsed(value: Any) -> Any:
    """Return an array as a list, and a JSON string of a dict or a list as that; anything else unchanged."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """Return the value of a column, or at a dotted path into its dicts, lists and JSON strings; None if there is none.

    >>> value_at({"reward_model": {"ground_truth": {"target": 38}}}, "reward_model.ground_truth.target")
    38
    """
    if path in record:
        return record[path]
    value: Any = record
    for step in path.split("."):
        value = parsed(value)
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list | tuple) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
