"""What is not Python reaches an installation: pages' texts, templates, the catalogue."""

import tomllib
from pathlib import Path

import rewardsmith

ROOT = Path(rewardsmith.__file__).parent


def test_every_file_that_is_not_python_is_package_data() -> None:
    declared = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    globs = declared["tool"]["setuptools"]["package-data"]["rewardsmith"]
    carried = {path for glob in globs for path in ROOT.glob(glob)}
    other = {p for p in ROOT.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert {path.name for path in other} >= {"catalogue.toml", "par.toml", "page.html"}
    assert not other - carried
