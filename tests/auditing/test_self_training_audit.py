"""The audit of a self-training run finds what was planted in it, and nothing in a sound one."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tests.engines import self_training as world

from rewardsmith.auditing import audit_run
from rewardsmith.auditing.subjects.self_training import Run, canary, label_accuracy, overoptimization
from rewardsmith.cli import app
from rewardsmith.engines.rounds import Annotation


def run(folder, score=world.truth, *, rounds=8, canary=60, **stages):
    watch = {"most_fall": 1.0, "least_entropy": 0.0}
    loop, start = world.start(folder, score, **watch, **({} if canary else {"grade": None}), **stages)
    held = world.questions(500, canary)
    loop.run(folder / "run", world.questions(100, 32), policy=start, canary=held, rounds=rounds)
    return audit_run(folder / "run")


def severities(report):
    return {finding.probe: finding.severity for finding in report.findings}


def test_a_sound_run_is_clean(tmp_path):
    report = run(tmp_path)
    assert report.verdict() == "clean"
    asked = {check.probe for check, outcome, _ in report.outcomes() if outcome == "observation"}
    assert asked == {"canary", "monotonicity", "label_accuracy", "agreement", "answer_entropy", "prompt_offset"}
    assert (report.kind, report.n_rows) == ("self-training run of 9 policies", 32)


@pytest.mark.slow
def test_a_collapsed_run_is_found_with_the_round_of_its_peak(tmp_path):
    report = run(tmp_path, world.truth_then_constant, rounds=40)
    found = severities(report)
    assert (found["canary"], found["monotonicity"], found["answer_entropy"]) == ("high", "high", "high")
    gold = [world.shares(path)[0] for path in sorted((tmp_path / "run" / "policies").iterdir())]
    (fall,) = [finding for finding in report.findings if finding.probe == "canary"]
    assert fall.value == pytest.approx(max(gold) - gold[-1], abs=0.05)
    assert f"round {int(np.argmax(gold)) + 1} " in fall.message or fall.value > 0.8


def test_labels_against_gold_and_longer_labels_are_found(tmp_path):
    def longest(question, answer):
        return float(len(answer)) + 0.1 * (answer != question)

    def sample(at, rows, seed):
        return [[row.prompt, f"{row.prompt} or more", "0"] for row in rows]

    report = run(
        tmp_path,
        longest,
        rounds=1,
        sample=sample,
        train=lambda at, pairs, out, seed: world.write_policy(out, (0, 0, 0)) and None,
    )
    assert severities(report)["label_length"] == "medium"
    assert report.verdict() == "findings"


def test_chosen_completions_that_lose_probability_and_cyclic_preferences_are_found(tmp_path):
    cycle = [[None, 0.9, 0.1], [0.1, None, 0.9], [0.9, 0.1, None]]

    def annotate(at, rows, texts):
        return [Annotation([1.0, 0.5, 0.0], None, {}, cycle) for _ in rows]

    def sample(at, rows, seed):
        return [[row.prompt, str(int(row.prompt) + 1), "0"] for row in rows]

    def train(at, pairs, out, seed):
        world.write_policy(out, (0, 0, 0))
        return {"chosen_change": [-1.0, -2.0, -3.0], "rejected_change": [-4.0, -8.0], "rejected_scores": [0.0, 1.0]}

    report = run(tmp_path, rounds=1, annotate=annotate, sample=sample, train=train)
    found = {finding.probe: finding for finding in report.findings}
    assert found["displacement"].value == pytest.approx(-2.0)
    assert (
        "100% of them down. The better half of the rejected ones moved by -8.00 nats." in found["displacement"].message
    )
    assert (found["intransitivity"].severity, found["intransitivity"].value) == ("medium", pytest.approx(1.0))
    assert "wins 50% against" in found["intransitivity"].message  # against all three equally often


def planted(gain, *, n_prompts=40):
    """A run whose gold follows gain(d) at d = √KL, with noise of its own per prompt."""
    noise = np.random.default_rng(0)
    logs = [
        {"canary": list(0.5 + gain(d) + noise.normal(0, 0.02, n_prompts)), "log_ratios": [[d * d, None]] * n_prompts}
        for d in np.linspace(0, 2, 9)
    ]
    return Run("run", [{"step": f"{k}/check", "result": log} for k, log in enumerate(logs)])


def test_the_law_of_gold_against_divergence_is_fitted_and_a_policy_beyond_its_peak_is_found():
    found = overoptimization(planted(lambda d: d * (0.4 - 0.25 * d)))  # highest at 0.4 / (2 · 0.25)
    assert (found.severity, found.n, found.unit) == ("medium", 40, "coefficient of d d")
    assert found.value == pytest.approx(0.25, abs=0.01)
    assert found.interval[0] < 0.25 < found.interval[1]
    assert "highest at d = 0.80" in found.message
    assert "The last policy is at d = 2.00" in found.message
    gao = overoptimization(planted(lambda d: d * (0.3 - 0.3 * np.log(max(d, 1e-9)))))  # highest at e⁰
    assert (gao.severity, gao.unit) == ("medium", "coefficient of d log d")
    assert "highest at d = 1.00" in gao.message or "highest at d = 0.99" in gao.message


@pytest.mark.parametrize("gain", [lambda d: 0.2 * d, lambda d: 0.3 * (1 - np.exp(-3 * d))])
def test_gold_that_rises_or_levels_off_is_not_overoptimized(gain):
    assert overoptimization(planted(gain)).severity == "info"


def test_a_law_needs_log_ratios_of_three_policies(tmp_path):
    report = run(tmp_path, rounds=2, log_ratio=world.log_ratio)
    (check,) = [one for one in report.checks if one.probe == "overoptimization"]
    assert (check.applies, check.note) == (
        False, "it takes `log_ratio`, three trained policies and three canary prompts",
    )  # fmt: skip
    assert report.verdict() == "clean"


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ([[0.0, 1.0], [5.0, 6.0], [9.0, 10.0]], 0.9839572192513369),  # (40.6667 − 0.5) / (40.6667 + 0.5), by hand
        ([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0, None]], 0.0),
    ],
)
def test_a_level_of_the_prompt_in_the_labels_is_measured(tmp_path, scores, share):
    def sample(at, rows, seed):
        return [[f"{row.prompt} {k}" for k in range(len(own))] for row, own in zip(rows, scores * 11, strict=False)]

    def annotate(at, rows, texts):
        return [Annotation(own) for own, _ in zip(scores * 11, rows, strict=False)]

    report = run(tmp_path, rounds=0, canary=0, sample=sample, annotate=annotate)
    (found,) = [finding for finding in report.findings if finding.probe == "prompt_offset"]
    assert (found.severity, found.value) == ("info", pytest.approx(share, abs=0.02))


def test_one_prompt_does_not_judge_the_labels():
    logs = [{"label_accuracy": [1.0, 0.5, 0.9]}, {"label_accuracy": [1.0, None, None]}]
    found = label_accuracy(Run("run", [{"step": f"{k}/check", "result": log} for k, log in enumerate(logs)]))
    assert found.not_run == "fewer than two canary prompts have completions of different gold"


def test_a_run_without_a_canary_is_not_judged(tmp_path):
    report = run(tmp_path, canary=0)
    assert report.verdict() == "not judged"
    assert "canary could not be asked (the run has no canary" in report.not_judged


@pytest.mark.slow
def test_the_command_reads_the_folder_and_takes_no_rows(tmp_path, capsys):
    run(tmp_path)
    folder = str(tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        app(["audit", folder, "--json", "--out", str(tmp_path / "report")])
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["target"], printed["verdict"], printed["calls"]) == ("run", "clean", 0)
    assert (tmp_path / "report" / "report.html").is_file()
    with pytest.raises(SystemExit) as ended:
        app(["audit", folder, "rows.jsonl"])
    assert ended.value.code == 2
    assert "a self-training run has rows of its own" in capsys.readouterr().err


@pytest.mark.slow
def test_gold_that_only_varies_is_called_a_fall_no_more_often_than_a_bound_of_two_and_a_half_percent_allows():
    """Five policies of one gold, 24 prompts: P(alarm) ≤ 1/40, by Bonferroni; 1,000 draws, +3 sigma."""
    draws = np.random.default_rng(0).normal(0.5, 0.2, size=(1000, 5, 24))
    runs = (Run(Path(), [{"step": f"{k}/check", "result": {"canary": row}} for k, row in enumerate(t)]) for t in draws)
    alarms = sum(canary(run).severity != "info" for run in runs)
    assert alarms <= 25 + 3 * math.sqrt(25 * 39 / 40)
