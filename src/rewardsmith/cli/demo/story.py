"""The four parts of the demo: audits of published rewards, a flaw exploited in training, its repair, the report."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape

from rewardsmith.auditing import Section, audit, render_text, write_report
from rewardsmith.auditing.render.text import render_league
from rewardsmith.auditing.render.wording import short_verdict
from rewardsmith.cli.demo.league import OUR_REWARDS, TRL_REWARDS, run_league
from rewardsmith.cli.demo.training import Arm, audit_rows, draw, train_arm
from rewardsmith.cli.shell import as_typed
from rewardsmith.rewards import exact_number
from rewardsmith.scoring import as_target
from rewardsmith.worlds import ArithmeticLM, substring_reward

FLAWED = "answer in completion"


def tell(out: Path, *, seed: int, steps: int, n_tasks: int | None) -> None:
    """Run the four parts, printing as they come, and write the report to `out`."""
    from reasoning_gym.factory import DATASETS

    console, start = Console(file=sys.stdout), time.monotonic()  # other output goes elsewhere
    console.rule("[bold]1. Audit rewards that other people published")
    tasks = [f"reasoning-gym:{name}" for name in sorted(DATASETS) if name != "composite"]  # a mixture of the others
    specs = (*TRL_REWARDS, *tasks[:n_tasks], *OUR_REWARDS)
    with contextlib.redirect_stdout(io.StringIO()):
        entries = run_league(specs, seed=seed, console=console)
    reports = [as_typed(entry.report) for entry in entries if entry.report is not None]
    render_league(reports, console)
    worst = Counter(short_verdict(report) for report in reports)
    listed = ", ".join(f"{count} {name}" for name, count in worst.most_common())
    failed = [escape(f"{entry.spec}: {entry.trouble}") for entry in entries if entry.report is None]
    console.print("\n".join([f"{len(reports)} rewards audited, by worst finding: {listed}.", *failed]))

    console.rule(f"[bold]2. Train against a flawed reward: {FLAWED}")
    with tempfile.TemporaryDirectory(prefix="rewardsmith-") as folder:
        with _quiet():
            world = ArithmeticLM.build(folder, generator=torch.Generator().manual_seed(seed))
        flawed = as_typed(audit(as_target(substring_reward, name=FLAWED), audit_rows(world, 64, seed), seed=seed))
        render_text(flawed, console)
        hacked = _train(world, substring_reward, f"reward: {FLAWED}", steps, seed, console)

        console.rule("[bold]3. Train again with the repair that the audit advises: exact_number")
        target = as_target(exact_number, name="exact_number")
        repaired = as_typed(audit(target, audit_rows(world, 64, seed), seed=seed))
        render_text(repaired, console)
        held = _train(world, exact_number, "reward: exact_number", steps, seed, console)

    console.rule("[bold]4. The report")
    arms, found = [hacked, held], flawed.at_least("medium")
    advice = found[0].advice if found else ""
    rows = [
        [arm.name, *(f"{value:.2f}" for curve in (arm.proxy, arm.gold) for value in arm.ends(curve))] for arm in arms
    ]
    written = [[arm.name, prompt, text] for arm in arms for prompt, text in arm.samples]
    sections = [
        Section(
            title="A reward hacked, and its repair",
            text="One small language model that adds numbers, trained twice by TRL's GRPO from the same start. In the "
            "first picture its reward looks for the right number anywhere in the completion, a flaw that training "
            f"exploits. In the second it is trained on the reward that the audit advised.\n\nThe advice: {advice}\n\n"
            f"The league table has both beside the {len(reports)} published rewards.",
            pictures=draw(arms),
            caption="Reward and true score at every training step; thick lines are means over eight steps.",
            table=(["arm", "reward, first 20 steps", "reward, last 20", "gold, first 20 steps", "gold, last 20"], rows),
        ),
        Section(
            title="What the trained policies write",
            text="Greedy completions after training.",
            table=(["arm", "prompt", "completion"], written),
        ),
    ]
    paths = write_report([flawed, repaired, *reports], out, title="rewardsmith demo", sections=sections)
    console.print(f"Report: [bold]{escape(str(paths.html))}[/] (and {escape(str(paths.json))})")
    console.print(f"Done in {time.monotonic() - start:.0f} s.")


def _train(world: ArithmeticLM, reward: Callable[..., Any], name: str, steps: int, seed: int, console: Console) -> Arm:
    with console.status(f"training {steps} steps"), _quiet():
        arm = train_arm(world, reward, name, steps=steps, seed=seed)
    (proxy_from, proxy_to), (gold_from, gold_to) = arm.ends(arm.proxy), arm.ends(arm.gold)
    console.print(f"reward {proxy_from:.2f} → {proxy_to:.2f}, true score {gold_from:.2f} → {gold_to:.2f}")
    for prompt, written in arm.samples:
        console.print(f"  {escape(prompt)}[dim]{escape(written)}[/]")
    for alarm in arm.alarms:
        console.print(f"  [yellow]monitor:[/] {escape(alarm)}")
    return arm


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the trainers' own output except errors."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
