"""Write code for the remedies in an advice, with this audit's reward and columns."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from rewardsmith.data import Row
from rewardsmith.equivalence.keys import committed, key_kind
from rewardsmith.scoring import Target

if TYPE_CHECKING:
    from jinja2 import Template

NAMED = re.compile(r"`(?:rewardsmith\.)?[a-z_]+(?:\.[a-z_]+)*\.(\w+)(?:\(([^`]*)\))?`")
"""One of our names in an advice, as `rewardsmith.transforms.rescale(scale=0.5)`: its last part and its arguments."""
VERIFIERS = ("exact_number", "exact_text", "math_equal", "multiple_choice")


def setting_of(targets: Mapping[str, Target], contract: str, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the values for the templates of remedies.txt: rewards, and the answer column."""
    answered = [row for row in rows if isinstance(row, Row) and row.answer][:64]
    answer, *inside = [*answered[0].answer_column.split("."), *answered[0].answers.inside] if answered else ["answer"]
    steps = "".join(f"[{step if step.isdigit() else json.dumps(step)}]" for step in inside)
    keys = [committed(row.answer or "") for row in answered]
    found = [(source, *_loaded(target)) for source, target in targets.items()]
    return {
        "load": "\n".join(dict.fromkeys(load for _, load, _ in found)),
        "reward": found[0][2],
        "terms": [
            f"source({name}, {json.dumps(source)})" if source else f"source({name})" for source, _, name in found
        ],
        "contract": contract,
        "answer": answer,
        "key": f"[row{steps} for row in {answer}]" if inside else answer,
        "verifier": verifier_for(set(map(key_kind, keys))),
        # Codes such as BK412; names are written in lower case or as titles.
        "cased": any(key.isalnum() and not (key.islower() or key.istitle() or key.isdigit()) for key in keys),
        "gate": r'pattern=r"\d"' if keys and all(map(re.compile(r"\d").search, keys)) else r'pattern=r"Answer:\s*\S"',
    }


def verifier_for(kinds: set[str]) -> str:
    """Return our verifier that reads keys of these kinds."""
    numbers = {"integer", "decimal", "fraction", "percent"}
    if kinds <= numbers:
        return "exact_number"
    if kinds == {"choice"}:
        return "multiple_choice"
    return "math_equal" if kinds & {"expression", "structured", *numbers} else "exact_text"


def _loaded(target: Target) -> tuple[str, str]:
    """Return a line that imports a reward, and an expression for it in TRL's contract."""
    module, _, name = target.name.partition(":")
    importable = not module.endswith(".py") and all(map(_is_name, [*module.split("."), name]))
    if target.contract == "trl" and importable:
        return f"from {module} import {name}", name
    if target.spec is not None:
        return "from rewardsmith.scoring import load_reward", f"load_reward({json.dumps(target.name)}).reward"
    if _is_name(target.name):
        return f"# {target.name} is the reward that was audited.", target.name
    return f"reward = ...  # put here the reward that was audited, {json.dumps(target.name)}", "reward"


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("rewardsmith.auditing", "")
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True).get_template("remedies.txt")


def remedies_in(advice: str, setting: Mapping[str, Any]) -> tuple[str, ...]:
    """Return code to paste for every remedy in the advice that remedies.txt has.

    Of several verifiers in an advice, it takes the one that reads these rows' answers.
    """
    written: Any = _template().make_module(dict(setting))
    codes: dict[str, None] = {}
    for named, bound in NAMED.findall(advice):
        name = setting["verifier"] if named in VERIFIERS else named
        if hasattr(written, name):
            codes[str(getattr(written, name)(bound)).strip() + "\n"] = None
    return tuple(codes)
