"""What a job takes for the code of its reward: an edit there, and nowhere else, makes another digest."""

from __future__ import annotations

import importlib
import logging
import sys
from functools import partial

import pytest

from rewardsmith.data import Row
from rewardsmith.errors import RewardsmithError
from rewardsmith.scoring import Scorer, as_target, digest, load_target, rewards_of
from rewardsmith.scoring.digest import source_digest


def tree(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


REWARD = "import helper\ndef pays(completions, **columns):\n    return [helper.VALUE] * len(completions)\n"


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A folder to import from, whose modules are forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded(spec):
    importlib.invalidate_caches()
    return source_digest(load_target(spec))


@pytest.mark.parametrize(
    ("spec", "files", "counts", "does_not"),
    [
        (
            "reward.py:pays",
            {"reward.py": REWARD, "helper.py": "VALUE = 1\n", "unused.py": "", "sub/other.py": "", "words.txt": "a"},
            ["reward.py", "helper.py", "unused.py"],
            ["sub/other.py", "words.txt"],
        ),
        (
            "reward.py:pays",
            {
                "reward.py": "from tools import scale as helper\n" + REWARD.partition("\n")[2],
                "tools/__init__.py": "",
                "tools/scale.py": "from .deep import table\nVALUE = 1\n",
                "tools/deep/__init__.py": "",
                "tools/deep/table.py": "",
                "tools/unused.py": "",
                "packages/unused/__init__.py": "",
            },
            ["tools/scale.py", "tools/deep/table.py", "tools/unused.py"],
            ["packages/unused/__init__.py"],
        ),
        (
            "pkg.inner.reward:pays",
            {
                "pkg/__init__.py": "",
                "pkg/inner/__init__.py": "",
                "pkg/inner/reward.py": "from pkg import helper\nimport common\nimport spaced.tool\n"
                + REWARD.partition("\n")[2],
                "pkg/helper.py": "VALUE = 1\n",
                "pkg/far/away.py": "",
                "common.py": "import further\n",
                "further.py": "",
                "spaced/tool.py": "",
                "spaced/unused.py": "",
                "stranger.py": "",
            },
            ["pkg/helper.py", "pkg/far/away.py", "common.py", "further.py", "spaced/tool.py"],
            ["stranger.py", "spaced/unused.py"],
        ),
    ],
    ids=["folder", "package beside", "own package"],
)
def test_an_edit_counts_where_the_reward_lives_and_in_what_it_imports(fresh, spec, files, counts, does_not):
    tree(fresh, files)
    before = loaded(spec)
    assert before == loaded(spec)
    for name in does_not:
        (fresh / name).write_text("edited = 1\n")
        assert loaded(spec) == before, name
    for name in counts:
        text = (fresh / name).read_text()
        (fresh / name).write_text(text + "# edited\n")
        assert loaded(spec) != before, name
        (fresh / name).write_text(text)
        assert loaded(spec) == before


@pytest.mark.parametrize(
    ("helper", "line"),
    [
        ("utils/check.py", 'importlib.import_module("utils.check").VALUE'),
        ("utils/check.py", 'importlib.import_module(name="utils.check").VALUE'),
        ("sub/k.py", '__import__("sub.k", fromlist=["VALUE"]).VALUE'),
        ("sub/k.py", 'builtins.__import__("sub.k").k.VALUE'),
        ("lib/lazy.py", "late()"),
        ("lib/deep/lazy.py", "later()"),
    ],
)
def test_an_edit_counts_in_what_is_imported_by_a_call_with_its_name(fresh, helper, line):
    tree(
        fresh,
        {
            "reward.py": "import builtins, importlib, sys\n"
            'def late():\n    sys.path.insert(0, "lib")\n    import lazy\n    return lazy.VALUE\n'
            'def later():\n    sys.path.append("lib")\n    from deep.lazy import VALUE\n    return VALUE\n'
            f"def pays(completions, **columns):\n    return [{line}] * len(completions)\n",
            helper: "VALUE = 1\n",
            "lib/unused.py": "VALUE = 1\n",
        },
    )
    before = loaded("reward.py:pays")
    tree(fresh, {"lib/unused.py": "VALUE = 2\n"})
    assert loaded("reward.py:pays") == before
    tree(fresh, {helper: "VALUE = 2\n"})
    assert loaded("reward.py:pays") != before


def test_what_names_a_reward_counts_as_much_as_what_defines_it(fresh):
    tree(fresh, {"mine.py": "from functools import partial\nfrom rewardsmith.rewards import exact_number\n"
                            "close = partial(exact_number, tolerance=0.1)\n"})  # fmt: skip
    before = loaded("mine.py:close")
    (fresh / "mine.py").write_text((fresh / "mine.py").read_text().replace("0.1", "0.2"))
    assert loaded("mine.py:close") != before


def test_what_a_reward_holds_counts(fresh):
    outer = (
        "class Outer:\n    def __init__(self, inner):\n        self.inner = inner\n"
        "    def __call__(self, completions):\n        return [self.inner(c) for c in completions]\n"
    )
    tree(fresh, {"held.py": "def inner(text):\n    return 1.0\n", "outer/holding.py": outer})
    sys.path.insert(0, str(fresh / "outer"))
    holding, held = importlib.import_module("holding"), importlib.import_module("held")
    target = as_target(partial(holding.Outer(held.inner)), name="outer")
    before = source_digest(target)
    (fresh / "held.py").write_text("def inner(text):\n    return 2.0\n")
    assert source_digest(target) != before


def test_a_function_that_no_file_holds_goes_by_its_code():
    def made(text):
        space = {"__name__": "nowhere"}
        exec(text, space)
        return source_digest(as_target(space["pays"]))

    one = made("def pays(completions):\n    return [1.0 for c in completions]\n")
    assert one is not None
    assert made("\n\ndef pays(completions):\n    return [1.0 for c in completions]\n") == one
    assert made("def pays(completions):\n    return [2.0 for c in completions]\n") != one
    assert made("def pays(completions):\n    return list(map(lambda c: 1.0, completions))\n") != one


def test_an_installed_package_counts_only_where_the_reward_lives_in_it(fresh):
    site = fresh / "lib" / "site-packages"
    sys.path.insert(0, str(site))
    body = REWARD.partition("\n")[2]
    files = {
        "bought/__init__.py": "",
        "bought/reward.py": "import other\n" + REWARD.replace("helper", "bought.rate"),
        "bought/rate.py": "VALUE = 1\n",
        "other.py": "",
        "single.py": "import bought\n" + body,
    }
    tree(site, files)
    tree(fresh, {"mine.py": "import other, bought.rate\n" + body})
    mine, theirs, single = loaded("mine.py:pays"), loaded("bought.reward:pays"), loaded("single:pays")
    (site / "bought" / "rate.py").write_text("VALUE = 2\n")
    assert loaded("bought.reward:pays") != theirs
    assert (loaded("mine.py:pays"), loaded("single:pays")) == (mine, single)
    theirs = loaded("bought.reward:pays")
    (site / "other.py").write_text("VALUE = 2\n")
    assert (loaded("mine.py:pays"), loaded("bought.reward:pays")) == (mine, theirs)


def test_of_a_large_package_only_what_is_imported_counts_and_a_warning_says_so(fresh, monkeypatch, caplog):
    monkeypatch.setattr(digest, "MOST_FILES", 5)
    tree(fresh, {"large/__init__.py": "", "large/reward.py": "from . import helper\n" + REWARD.partition("\n")[2],
                 "large/helper.py": "VALUE = 1\n", **{f"large/m{i}.py": "" for i in range(6)}})  # fmt: skip
    with caplog.at_level(logging.WARNING):
        before = loaded("large.reward:pays")
    assert "large has more than 5 files. Only edits of those that the reward's module imports are" in caplog.text
    (fresh / "large" / "m0.py").write_text("edited = 1\n")
    assert loaded("large.reward:pays") == before
    (fresh / "large" / "helper.py").write_text("VALUE = 2\n")
    assert loaded("large.reward:pays") != before


@pytest.mark.slow
def test_in_this_process_an_edit_that_was_not_loaded_is_refused(fresh):
    tree(fresh, {"mine.py": REWARD, "helper.py": "VALUE = 1.0\n"})
    rows = [Row("p", "c")]

    def scores(workers):
        with Scorer(load_target("mine.py:pays"), workers=workers, journal=fresh / f"j{workers}") as scorer:
            return rewards_of(scorer.score(rows))

    assert scores(0) == scores(1) == [1.0]
    (fresh / "helper.py").write_text("VALUE = 2.0\n")
    with pytest.raises(RewardsmithError, match=r"helper\.py was edited after this process loaded it"):
        scores(0)
    assert scores(1) == [2.0]  # a worker loads what is there
    importlib.reload(sys.modules["helper"])
    assert scores(0) == [2.0]
