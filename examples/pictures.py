"""make pictures

Make every picture of docs/images anew, except flow.svg, which shows no run. The report is shown by chromium.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from examples.support import IMAGES, build, draw
from rewardsmith._pictures import picture_svg
from rewardsmith.cli import app
from rewardsmith.cli.demo.story import FLAWED
from rewardsmith.cli.demo.training import train_arm
from rewardsmith.recipes import Recipe
from rewardsmith.rewards import exact_number
from rewardsmith.worlds import substring_reward

DOCS = IMAGES.parents[1]
STARTS_ALONE = '"""make .venv/.installed && '


def examples() -> None:
    """Run every example on its first seed."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if file.read_text(encoding="utf-8").startswith(STARTS_ALONE):
            subprocess.run([sys.executable, "-m", f"examples.{file.stem}"], check=True)


def hacked_and_repaired() -> None:
    """Train and draw the two arms of `rewardsmith demo`."""
    world = build()
    rewards = {f"reward: {FLAWED}": substring_reward, "reward: exact_number": exact_number}
    arms = [train_arm(world, reward, name, steps=120, seed=0) for name, reward in rewards.items()]
    panels = {arm.name: {"reward (proxy)": arm.proxy, "true score (gold)": arm.gold} for arm in arms}
    draw("../hacked_and_repaired", panels, title="One small model, trained twice", bounded=list(panels))


def guide_recipe() -> None:
    """Draw the first recipe of docs/recipes.md."""
    block = re.search(r"^```python\n(.*?)^print", (DOCS / "recipes.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert block is not None
    names: dict[str, Recipe] = {}
    exec(block[1], names)
    (IMAGES.parent / "recipe.svg").write_text(picture_svg(names["recipe"].draw()), encoding="utf-8")


def report() -> None:
    """Audit the flawed reward of the guides, and photograph its report in light and in dark colors."""
    with contextlib.chdir(DOCS / "files"), tempfile.TemporaryDirectory() as folder:
        app(["audit", "my_rewards.py:contains_answer", "rows.jsonl", "--out", folder], standalone_mode=False)
        for name, dark in (("report.png", 1), ("report_dark.png", 0)):
            command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1180"]
            command += [f"--blink-settings=preferredColorScheme={dark}", f"--screenshot={IMAGES.parent / name}"]
            subprocess.run([*command, f"file://{folder}/report.html"], check=True)
            # 64 colors are enough, and a third of the bytes
            Image.open(IMAGES.parent / name).quantize(64).save(IMAGES.parent / name, optimize=True)


if __name__ == "__main__":
    examples()
    hacked_and_repaired()
    guide_recipe()
    report()
