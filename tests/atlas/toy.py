"""A page of one parameter in a folder of its own, whose runs are counted."""

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path

from rewardsmith.atlas import pages, read_pages

MODULE = '''"""A coin's heads."""

from dataclasses import dataclass

from rewardsmith.atlas.criteria import AtLeast

CRITERION = AtLeast("heads/seen", 0.5)


@dataclass
class World:
    """A coin."""

    bias: float = 1 / 3  # share of heads
    flips: int = 3  # flips


def experiment(seed, world, *, broken=False):
    """Heads by seed."""
    with open(RUNS, "a") as file:
        file.write(f"{world.bias:.2f} {broken}\\n")
    heads = -1.0 if broken else seed * world.bias
    return {"heads/seen": heads, "heads/un_seen": float("nan"), "tails/seen": 1.0 - heads}


def figure(results, axes):
    """Nothing but a point."""
    axes.plot(0, 0, "o")
'''
TEXT = """paper = 1
components = ["rewardsmith.transforms.par"]
claim = "<b>Heads</b> & `tails`."
scope = "s."
ablation = "a."
usage = "u"
advice = "Flip <i>twice</i>."
changed = [{bias = 0.25}, {bias = 0.75, flips = 4}]
"""


@contextmanager
def only_page(folder: Path, module: str = MODULE, text: str = TEXT):
    """The atlas has this page alone; yields the file that has a line per seed that ran."""
    folder.mkdir(exist_ok=True)
    runs = folder / "runs"
    (folder / "toy.py").write_text(module.replace("RUNS", repr(str(runs))), encoding="utf-8")
    (folder / "toy.toml").write_text(text, encoding="utf-8")
    before, pages.__path__ = pages.__path__, [str(folder)]
    _forget()
    try:
        yield runs
    finally:
        pages.__path__ = before
        _forget()


def _forget() -> None:
    sys.modules.pop(f"{pages.__name__}.toy", None)
    importlib.invalidate_caches()
    read_pages.cache_clear()
