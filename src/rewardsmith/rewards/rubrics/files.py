"""Read and write rubrics as YAML or JSON, and say where a file is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rewardsmith._disk import replacing
from rewardsmith.errors import missing_extra
from rewardsmith.rewards.strict_json import read_json

_TEXT = {"type": "string", "pattern": r"\S"}
_CRITERION = {
    "type": "object",
    "properties": {"name": _TEXT, "question": _TEXT, "weight": {"type": "number"}, "gate": {"type": "boolean"}},
    "required": ["name", "question"],
    "additionalProperties": False,
}
_OPTIONS = {
    "name": _TEXT,
    "together": {"type": "boolean"},
    "combine": {"type": "string"},
    "max_abstained": {"type": "number"},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"criteria": {"type": "array", "items": _CRITERION}, **_OPTIONS},
    "required": ["criteria"],
    "additionalProperties": False,
}
"""The JSON Schema of a rubric's file."""


def read_document(path: Path) -> dict[str, Any]:
    """Return what a rubric's file holds.

    Raises:
        ValueError: its suffix is none of .yaml, .yml and .json, it cannot be parsed, or it does not follow `SCHEMA`.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    is_json = _is_json(path, "Rubric.read")
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        document = read_json(text) if is_json else _read_yaml(text)
    except (ValueError, RecursionError) as error:
        kind = "strict JSON" if is_json else "YAML"
        raise ValueError(f"Rubric.read: {path} is not {kind} ({' '.join(str(error).split())}). Correct it.") from error
    wrong = best_match(Draft202012Validator(SCHEMA).iter_errors(document))
    if wrong is not None:
        hint = "" if is_json else " YAML reads yes, no, on, off and numbers as values: put such a word in quotes."
        raise ValueError(f"Rubric.read: {path} at {wrong.json_path}: {wrong.message}. Correct it.{hint}")
    return dict(document)


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write a rubric's file as a whole, or leave the old one as it is."""
    if _is_json(path, "Rubric.write"):
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    else:
        text = _yaml("Rubric.write").safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def _is_json(path: Path, caller: str) -> bool:
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise ValueError(f"{caller}: {path} is neither .yaml, .yml nor .json. Give it the suffix of its format.")
    return path.suffix.lower() == ".json"


def _yaml(caller: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise missing_extra(caller, "judge", error) from error
    return yaml


def _read_yaml(text: str) -> Any:
    """Parse one YAML document; a key given twice is refused, of which PyYAML would keep the last."""
    yaml = _yaml("Rubric.read")
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        waiting, seen = [] if node is None else [node], set[int]()
        while waiting:
            one = waiting.pop()
            own = [] if id(one) in seen else one.value  # an alias may lead back to its own node
            seen.add(id(one))
            pairs = [part for part in own if isinstance(part, tuple)] if isinstance(own, list) else []
            keys = [key.value for key, _ in pairs if isinstance(key.value, str)]
            if len(set(keys)) < len(keys):
                raise ValueError(f"a key is given twice among {', '.join(keys)}")
            waiting += [value for _, value in pairs]
            waiting += [part for part in own if not isinstance(part, tuple)] if isinstance(own, list) else []
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    finally:
        loader.dispose()
