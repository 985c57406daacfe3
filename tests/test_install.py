"""What installs with which extra: verifiers need no torch, and a missing library is named with its install line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rewardsmith.data import read_preferences
from rewardsmith.errors import MissingExtraError
from rewardsmith.rewards import load_reward_model
from rewardsmith.scoring import load_target
from tests.installed import part_of

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TEXTS = [path for folder in ("src", "docs") for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")]
ROWS = [{"prompt": f"{n} + {n}?", "answer": str(2 * n), "completion": f"{n + 4}"} for n in range(3, 11)]


@pytest.fixture
def without_torch(tmp_path):
    """The command line in processes that find no torch, workers included."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("torch", "transformers", "trl"):
        message = f"No module named {name!r}"
        (hidden / f"{name}.py").write_text(f"raise ModuleNotFoundError({message!r}, name={name!r})\n")
    paths = [str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments):
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    return run


@pytest.mark.slow
def test_a_verifier_is_scored_without_torch(without_torch, tmp_path):
    done = without_torch(
        "-m", "rewardsmith", "score", "rows.jsonl", "--reward", "rewardsmith.rewards:exact_number", "--out", "out.jsonl"
    )
    assert done.returncode == 0, done.stderr
    scored = [json.loads(line)["reward"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert scored == [float(n + 4 == 2 * n) for n in range(3, 11)]


@pytest.mark.slow
def test_a_verifier_is_audited_without_torch(without_torch):
    done = without_torch(
        "-m", "rewardsmith", "audit", "rewardsmith.rewards:exact_number", "rows.jsonl", "--budget", "300", "--json"
    )
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["target"] == "rewardsmith.rewards:exact_number"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("atlas", "run", "39", "--n-seeds", "1"), r'^Error: rewardsmith: torch cannot .*pip install "\.\[torch\]"$'),
        (("demo",), r'^Error: rewardsmith demo: torch cannot be imported .*pip install "\.\[demo\]"$'),
        (("audit", "."), r"^Error: load_reward_model: '\.': torch cannot be imported .*pip install \"\.\[trl\]\"$"),
    ],
)
def test_a_command_that_needs_torch_says_how_to_install_it(without_torch, command, message):
    done = without_torch("-m", "rewardsmith", *command)
    assert done.returncode == 2
    assert re.search(message, done.stderr.strip()), done.stderr


@pytest.mark.slow
def test_a_room_that_needs_torch_says_how_to_install_it(without_torch):
    imports = [
        *(f"import rewardsmith.{room}" for room in ("transforms", "advantages", "objectives", "recipes", "worlds")),
        "import rewardsmith.monitors",
        "from rewardsmith.rewards import GaussianHeads",
    ]
    code = f"for line in {imports}:\n    try: exec(line)\n    except ImportError as error: print(error)"
    done = without_torch("-c", code)
    message = (
        "rewardsmith: torch cannot be imported (No module named 'torch'). In the folder of a checkout of rewardsmith, "
        'run: pip install ".[torch]"'
    )
    assert done.stdout.splitlines() == [message] * len(imports)


@pytest.mark.slow
def test_the_one_question_of_an_audit_that_needs_torch_says_that_it_was_not_asked(without_torch):
    code = """
from rewardsmith.auditing.probes.regions import reward_regions
from rewardsmith.data import Row

groups = [[(Row(prompt=str(g), columns={"gold": float(i)}), g + i / 8) for i in range(4)] for g in range(12)]
for finding in reward_regions(groups):
    print(finding.severity, finding.message)
"""
    done = without_torch("-c", code)
    assert re.search(r"^info Not run\. rewardsmith: torch cannot be imported", done.stdout), done.stderr


def missing_gym():
    load_target("reasoning-gym:coin_flip")


def missing_transformers():
    load_reward_model(".")


def missing_datasets():
    read_preferences("someone/pairs")


@pytest.mark.parametrize(
    ("module", "use", "message"),
    [
        ("reasoning_gym", missing_gym, r'load_target: \'reasoning-gym:coin_flip\': reasoning_gym .*"\.\[gym\]"'),
        (
            "transformers",
            missing_transformers,
            r'load_reward_model: \'\.\': transformers cannot be imported .*"\.\[trl\]"',
        ),
        ("datasets", missing_datasets, r'read_preferences: someone/pairs of the hub: datasets .*"\.\[trl\]"'),
    ],
)
def test_a_missing_library_is_named_with_its_extra(monkeypatch, module, use, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=message):
        use()


def test_install_lines_are_those_of_a_checkout():
    """The project is on no index, so that only a line with a dot installs it; and every extra named exists."""
    paths = [*TEXTS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    assert re.findall(r"""pip install ["']?rewardsmith.*""", text) == []
    named = ",".join(re.findall(r"""pip install "\.\[([\w,]+)\]""", text)).split(",")
    raised = re.findall(r"""missing_extra\(.*, "(\w+)", error\)""", text)
    assert len(raised) >= 9
    assert {*named, *raised} <= set(EXTRAS)


@pytest.mark.slow
def test_help_keeps_what_stands_in_brackets():
    done = subprocess.run(
        [sys.executable, "-m", "rewardsmith", "demo", "--help"], capture_output=True, text=True, check=True
    )
    assert 'pip install ".[demo]"' in done.stdout


def test_a_part_that_is_broken_fails_and_an_absent_package_skips():
    with pytest.raises(pytest.skip.Exception, match="no-such-package is not installed"):
        part_of("no-such-package", "no_such_package")
    with pytest.raises(pytest.fail.Exception, match=r"pytest is installed, and its pytest\.nothing cannot be imported"):
        part_of("pytest", "pytest.nothing")


def test_no_test_skips_a_part_of_what_is_installed():
    """`importorskip` skips it in silence; `part_of` does not."""
    skipping = "pytest.import" + "orskip"
    assert [path.name for path in (ROOT / "tests").rglob("*.py") if skipping in path.read_text(encoding="utf-8")] == []
