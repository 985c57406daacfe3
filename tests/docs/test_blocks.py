"""Every block of code in README, CONTRIBUTING, the guides and docs/snippets runs as it stands.

A page's blocks run in order in a folder that holds the files of docs/files. A python block has a namespace of its own;
with `title="NAME"` it is also written to NAME. Each line of a bash block is a command, and `# exit N` after it says how
it ends. What is `text` is shown, not run.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.installed import part_of
from tests.small_models import llama_policy, saved
from typer.testing import CliRunner

from rewardsmith.auditing.subjects import answers
from rewardsmith.cli import app
from rewardsmith.worlds import ArithmeticLM

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
NOT_HERE = ("pip install ", "make ", "git ")  # installs, or is a target with a test of its own
SMALL = ("Qwen/Qwen3-0.6B",)  # a folder of this name with a tiny model stands for the one on the hub

pytestmark = pytest.mark.slow


@contextmanager
def library_kept():
    """Undo at the end what a block has assigned in our modules, as a guide does that adds a probe to the audit."""
    held = {name: dict(vars(module)) for name, module in sys.modules.items() if name.startswith("rewardsmith.")}
    yield
    for name, names in held.items():
        vars(sys.modules[name]).update(names)


def test_what_a_block_assigns_in_the_library_is_undone():
    before = answers.PROBES
    with library_kept():
        exec("from rewardsmith.auditing.subjects import answers; answers.PROBES = ()", {})
        assert answers.PROBES == ()
    assert answers.PROBES is before


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A reader's folder: the files of the docs, tiny models under the names of large ones, two steps of GRPO."""
    import datasets
    import transformers
    import trl

    for file in (ROOT / "docs" / "files").iterdir():
        shutil.copy(file, tmp_path)
    for name in SMALL:
        saved(llama_policy().float(), tmp_path / name)

    def briefly(trainer, *args, **kwargs):
        trainer.args.max_steps = 2
        return transformers.Trainer.train(trainer, *args, **kwargs)

    build = ArithmeticLM.build.__func__
    few = classmethod(lambda cls, *args, **options: build(cls, *args, **options | {"steps": 40}))
    monkeypatch.setattr(ArithmeticLM, "build", few)
    for online in (trl.GRPOTrainer, trl.RLOOTrainer):
        monkeypatch.setattr(online, "train", briefly, raising=False)
    monkeypatch.setattr(transformers.training_args, "is_torch_bf16_gpu_available", lambda: True)  # TRL's default
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    with library_kept():
        yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def commands(code: str) -> list[tuple[str, int]]:
    """The commands of a bash block, each with its exit code."""
    found: list[tuple[str, int]] = []
    for line in code.replace("\\\n", " ").splitlines():
        if ends := re.match(r"# exit (\d)\b", line):
            found[-1] = found[-1][0], int(ends[1])
        elif line.strip() and not line.startswith("#"):
            found.append((line.strip(), 0))
    return found


def run_command(line: str, code: int) -> None:
    words = shlex.split(line, comments=True)
    if words[:3] == ["python", "-m", "rewardsmith"]:
        words = words[2:]
    if words[0] == "rewardsmith" and not {"|", ">", "&&"} & set(words):
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == code, f"{line}\n{done.output}\n{done.exception!r}"
    elif not line.startswith(NOT_HERE):
        installed = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        shell = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=installed)
        assert shell.returncode == code, f"{line}\n{shell.stdout}\n{shell.stderr}"


def run_block(language: str, title: str, code: str, where: str) -> None:
    if title:
        shipped = ROOT / "docs" / "files" / title
        assert not shipped.exists() or code in shipped.read_text(), f"{title} is another in docs/files"
        if not shipped.exists():
            Path(title).write_text(code)
    if language == "python":
        exec(compile(code, where, "exec"), {"__name__": "__main__"})
    elif language == "pycon":
        example = doctest.DocTestParser().get_doctest(code, {}, where, where, 0)
        assert doctest.DocTestRunner(verbose=False).run(example).failed == 0, where
    elif language == "bash":
        for line, ends in commands(code):
            run_command(line, ends)
    elif language == "toml":
        tomllib.loads(code)
    elif language == "yaml":
        part_of("PyYAML", "yaml").safe_load(code)
    elif language == "json":
        [json.loads(line) for line in code.splitlines()]
    else:
        assert language in ("text", "bibtex"), f"{where}: ```{language} says neither that it runs nor that it is shown"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_runs(page, folder):
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        where = f"{page.name}:{text.count(chr(10), 0, block.start()) + 1}"
        try:
            run_block(block[1], block[2] or "", block[3], where)
        except Exception as error:
            error.add_note(f"in the block of {where}")
            raise
