"""The tables of the guides name every option and every probe there is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from typer.main import get_command

from rewardsmith.auditing.finding import SEVERITIES
from rewardsmith.auditing.subjects import answers, code, pairs, sources, steps
from rewardsmith.auditing.trials import LEAST_SHARE, severity_of
from rewardsmith.cli import app
from rewardsmith.measures import wilson_interval
from rewardsmith.measures.intervals import family_alpha

DOCS = Path(__file__).parents[2] / "docs"


def named(page: str) -> set[str]:
    """What a guide writes as code outside of blocks, one word each."""
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"[\w-]+", code)}


@pytest.mark.parametrize(("command", "page"), [("audit", "audit.md"), ("score", "scaling.md")])
def test_a_guide_names_every_option_of_its_command(command, page):
    options = {
        name for option in get_command(app).commands[command].params for name in (*option.opts, *option.secondary_opts)
    }
    long = {name for name in options if name.startswith("--")} - {"--help"}
    assert len(long) > 10
    assert long <= named(page), long - named(page)


@pytest.mark.parametrize(
    ("probes", "page"),
    [
        (answers.PROBES, "audit.md"),
        (code.PROBES, "code.md"),
        (steps.PROBES, "audit.md"),
        (sources.PROBES, "audit.md"),
        (pairs.EDIT_PROBES, "reward_models.md"),
    ],
)
def test_a_guide_names_every_probe(probes, page):
    names = {probe.name for probe in probes} - {"rollouts"}  # which has a table of its own
    assert names <= named(page), names - named(page)


def test_every_file_that_the_guide_to_extending_names_exists():
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    files = {code for code in re.findall(r"`([\w./]*/[\w./]+)`", text) if "NAME" not in code}
    places = (DOCS.parent, DOCS.parent / "src" / "rewardsmith")
    assert len(files) > 40
    assert {file for file in files if not any((place / file).exists() for place in places)} == set()


def test_the_fewest_prompts_with_a_flaw_are_those_that_the_audit_finds():
    def fails(hits: int, n: int) -> bool:
        low, _ = wilson_interval(hits, n, alpha=family_alpha(answers.N_QUESTIONS))
        severe = SEVERITIES.index(severity_of(low, mean_gain=1.0)) >= SEVERITIES.index("medium")
        return low > LEAST_SHARE and severe

    text = (DOCS / "audit.md").read_text(encoding="utf-8")
    asked, fewest, shares = (
        [int(number) for number in re.findall(r"\d+", re.search(rf"^\| {name} (.*)$", text, re.MULTILINE)[1])]
        for name in ("prompts asked", "fewest with the flaw", "share")
    )
    assert fewest == [min(hits for hits in range(1, n + 1) if fails(hits, n)) for n in asked]
    assert shares == [round(100 * hits / n) for hits, n in zip(fewest, asked, strict=True)]


@pytest.mark.parametrize(
    ("target", "said", "score"),
    [
        (38, "38", 1.0),
        (38, "83", 0.0),
        (["Paris", "Paris, France"], "paris, France", 1.0),
        (["Paris", "Paris, France"], " Paris ", 1.0),
        (["Paris", "Paris, France"], "['Paris', 'Paris, France']", 0.0),
        (["Paris"], "Rome", 0.0),
    ],
)
def test_the_reward_for_verl_takes_a_value_or_a_list_of_accepted_ones(target, said, score):
    reward = runpy.run_path(str(DOCS / "files" / "my_verl_reward.py"))["compute_score"]
    assert reward("nq", f"So <answer>{said}</answer>", {"target": target, "numbers": [1, 2]}) == score
