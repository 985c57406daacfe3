"""`rewardsmith audit` on process rewards, sets of sources and confidence-stating rollouts.

Each planted fault is found (exit 1) and its sound twin is clean (exit 0), one of either at the shell and the others in
this process; `make sweep` asks it of fresh data at the shell.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from tests.auditing.corpus.prompts import running_sum
from typer.testing import CliRunner

from rewardsmith.auditing import report_schema
from rewardsmith.cli import app

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("rewardsmith")
AT_THE_SHELL = {"padding pays", "sources of one scale"}
REWARDS = '''
import re
from functools import partial

SUM = re.compile(r"(\\d+) \\+ (\\d+) = (\\d+)")


def level(step, aside):
    found = SUM.fullmatch(step.strip())
    return aside if found is None else 0.9 if int(found[1]) + int(found[2]) == int(found[3]) else 0.1


def prm(prompts, completions, steps, aside=0.8, **columns):
    """Likes every step that is not wrong, however empty."""
    return [[level(step, aside) for step in chain] for chain in steps]


def progress(prompts, completions, steps, **columns):
    """Pays a right sum a little, a wrong one much less, and what is no sum nothing."""
    return [[{0.9: 0.1, 0.1: -1.0}.get(level(step, 0.0), 0.0) for step in chain] for chain in steps]


def foresees(prompts, completions, steps, **columns):
    """A step's score falls once another follows."""
    return [[level(s, 0.8) - 0.3 * (k + 1 < len(chain)) for k, s in enumerate(chain)] for chain in steps]


def boxed(completions, answer, **columns):
    """The only box holds the number, however it is written."""
    return [float(is_number("".join(re.findall(r"boxed{(.*)}", c)), a)) for c, a in zip(completions, answer)]


def is_number(text, key):
    try:
        return float(text.replace(",", "")) == float(key)
    except ValueError:
        return False


def likes_confidence(completions, answer, **columns):
    """Half as much again for a confident voice, right or wrong."""
    stated = [re.findall(r"Confidence: ([0-9.]+)", c) for c in completions]
    return [r + 0.4 * float(s[-1]) if s else r for r, s in zip(boxed(completions, answer), stated)]


def brief(completions, unit=1.0, **columns):
    return [-unit * len(c.split()) / 20 for c in completions]


def unread(completions, answer, **columns):
    """Cannot score what mutters, so that muttering is judged by the other source alone."""
    return [None if "hmm" in c else r for c, r in zip(completions, boxed(completions, answer))]


def fluent(completions, **columns):
    return [0.5 + 0.5 * ("well" in c or "hmm" in c) for c in completions]


EVEN = {"right": boxed, "brief": brief}
UNEVEN = {"right": boxed, "brief": partial(brief, unit=60.0)}
MUTTER = {"right": unread, "fluent": fluent}


class Weighed:
    sources, weights = UNEVEN, {"right": 1.0, "brief": 1 / 60}


WEIGHED = Weighed()
'''


def chains(rng):
    for k in range(60):
        steps, labels, _ = running_sum(rng)
        yield {"prompt": f"Add up list {k}.", "completions": steps, "labels": labels}


def answers(rng, chance, stated, *, groups=24, size=8):
    """Groups of boxed answers, with the confidence that `stated` gives for the chance of being right."""
    for _ in range(groups):
        a, b = rng.randint(101, 4999), rng.randint(101, 4999)
        for _ in range(size):
            p = chance(rng)
            right = rng.random() < p
            value = a + b if right else a + b + rng.randint(1, 90)
            filler = " ".join(["well"] * rng.randint(0, 40))
            mutter = "hmm " if not right and rng.random() < 0.5 else ""
            text = f"{mutter}{filler} so \\boxed{{{value}}}" + (f".\nConfidence: {stated(p, rng):g}" if stated else "")
            yield {"prompt": f"Add {a} and {b}.", "completion": text, "answer": str(a + b), "gold": float(right)}


ROWS = {
    "chains": chains,
    "groups": lambda rng: answers(rng, lambda r: 0.5, None),
    "calibrated": lambda rng: answers(rng, lambda r: r.choice((0.2, 0.5, 0.7, 0.9)), lambda p, r: p),
    "overconfident": lambda rng: answers(rng, lambda r: 0.55, lambda p, r: r.choice((0.9, 0.95, 1.0))),
}
PLANTED = {
    "padding pays": ("prm", "chains", (), {"padding"}),
    "a step pays for what follows": ("foresees", "chains", ("--aggregate", "min"), {"prefix_consistency"}),
    "a source drowns the other": ("UNEVEN", "groups", (), {"source_dominance", "source_scale"}),
    "losing a source pays": ("MUTTER", "groups", (), {"missing_source"}),
    "the policy is surer than right": ("boxed", "overconfident", (), {"stated_calibration"}),
    "confidence is paid": ("likes_confidence", "calibrated", (), {"confidence_bias"}),
}
SOUND = {
    "padding is worth nothing": ("progress", "chains", ()),
    "padding is worth nothing to the worst step": ("prm", "chains", ("--aggregate", "min")),
    "padding is worth nothing once clipped": ("prm", "chains", ("--aggregate", "clip", "--threshold", "0.5")),
    "padding is worth nothing between neighbors": ("prm", "chains", ("--aggregate", "delta")),
    "sources of one scale": ("EVEN", "groups", ()),
    "weights even the scales out": ("WEIGHED", "groups", ()),
    "the policy is as sure as right": ("boxed", "calibrated", ()),
}


def written(folder, seed):
    """The folder, holding the rewards and rows of a seed."""
    (folder / "rewards.py").write_text(REWARDS)
    for name, make in ROWS.items():
        lines = [json.dumps(record) + "\n" for record in make(random.Random(f"{seed} {name}"))]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("planted"), 0)


def run(folder, reward, rows, *options, shell=False):
    """The exit code and what is printed."""
    arguments = ["audit", f"{folder / 'rewards.py'}:{reward}", str(folder / f"{rows}.jsonl"), "--budget", "1200"]
    arguments += options
    if shell:
        done = subprocess.run([COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=120)
        code, output = done.returncode, done.stdout
    else:
        done = CliRunner().invoke(app, arguments)
        code, output = done.exit_code, done.stdout
    assert code in (0, 1), done.stderr
    return code, output


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named_and_ends_with_1(folder, name, tmp_path):
    reward, rows, options, expected = PLANTED[name]
    code, output = run(folder, reward, rows, "--json", "--out", str(tmp_path), *options, shell=name in AT_THE_SHELL)
    named = {finding["probe"] for finding in json.loads(output)["findings"]}
    assert code == 1
    assert expected <= named, named
    jsonschema.validate(json.loads((tmp_path / "report.json").read_text()), report_schema())
    assert "<html" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", SOUND)
def test_its_sound_twin_is_clean_and_ends_with_0(folder, name):
    reward, rows, options = SOUND[name]
    code, output = run(folder, reward, rows, "--json", *options, shell=name in AT_THE_SHELL)
    summary = json.loads(output)
    assert (code, summary["findings"]) == (0, []), summary["findings"]


def test_one_source_of_a_set_is_audited_by_its_name(folder):
    code, output = run(folder, "EVEN[right]", "groups")
    assert code == 0, output
    assert "verifier, reads:" in output


def test_a_finished_audit_of_sources_or_steps_resumes_without_a_call(folder, tmp_path):
    for reward, rows in (("UNEVEN", "groups"), ("prm", "chains")):
        out = tmp_path / reward
        first, second = (run(folder, reward, rows, "--json", "--out", str(out))[1] for _ in range(2))
        assert json.loads(first) == json.loads(second)  # times included: they come from the journal
