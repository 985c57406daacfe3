"""A self-training run resumes to the same labels wherever it was killed, logs what it must, and stops on collapse."""

import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from rewardsmith.engines.rounds import Annotation, RoundLog, collapse
from rewardsmith.errors import RewardsmithError
from rewardsmith.scoring.journal import ROUNDS
from tests.engines import self_training as world

pytestmark = pytest.mark.slow

SCRIPT = Path(world.__file__)
ROOT = SCRIPT.parents[2]


def run_script(folder, stage, number):
    command = [sys.executable, "-m", "tests.engines.self_training", str(folder), stage, str(number)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def records(folder):
    lines = [json.loads(line) for line in (folder / "run" / ROUNDS).read_text().splitlines()]
    return [(line["step"], line["result"]) for line in lines[1:]]


def policies(folder):
    return {path.parent.name: path.read_text() for path in (folder / "run" / "policies").rglob("policy.json")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    done = run_script(folder, "nowhere", 0)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.parametrize(
    ("stage", "number"), [("sample", 0), ("annotate", 0), ("train", 0), ("rename", 0), ("annotate", 1), ("sample", 2)]
)
def test_a_run_killed_in_any_stage_continues_to_the_same_labels_and_policies(tmp_path, whole, stage, number):
    assert run_script(tmp_path, stage, number).returncode == -9
    again = run_script(tmp_path, stage, number)
    assert again.returncode == 0, again.stderr
    assert again.stdout == whole[1]
    assert records(tmp_path) == records(whole[0])
    assert policies(tmp_path) == policies(whole[0])
    calls = len((tmp_path / "calls").read_text().splitlines())
    assert calls <= len((whole[0] / "calls").read_text().splitlines()) + 1  # one chunk or one training is repeated


def accuracy(folder):
    return world.shares(folder)[0]


def test_a_planted_collapse_is_stopped_before_gold_has_lost_a_tenth_of_its_peak(tmp_path):
    """The label likes one rare constant best: accuracy rises, and falls once samples hold the constant."""
    rows, canary = world.questions(100, 64), world.questions(500, 200)
    free, start = world.start(tmp_path / "free", world.truth_then_constant, most_fall=1.0, least_entropy=0.0)
    free.run(tmp_path / "free", rows, policy=start, canary=canary, rounds=40)
    every = sorted((tmp_path / "free" / "policies").iterdir())
    gold = [accuracy(start), *map(accuracy, every)]
    assert gold[-1] < 0.5 * max(gold)  # without the stop it collapses
    assert max(gold) > gold[0] + 0.1  # after a rise
    watched, start = world.start(tmp_path / "watched", world.truth_then_constant)
    found = watched.run(tmp_path / "watched", rows, policy=start, canary=canary, rounds=40)
    seen = sorted((tmp_path / "watched" / "policies").iterdir())
    assert "fell" in found.stopped
    assert len(found.logs) == len(seen) + 1  # the last policy was checked and not trained further
    assert accuracy(seen[-1]) >= 0.9 * max(gold)
    assert accuracy(found.policy) >= 0.95 * max(gold)


def test_without_a_canary_the_entropy_of_answers_stops_it(tmp_path):
    loop, start = world.start(tmp_path, world.truth_then_constant, grade=None)
    found = loop.run(tmp_path / "run", world.questions(100, 64), policy=start, rounds=60)
    assert "entropy" in found.stopped
    assert found.logs[-1].answer_entropy < 0.5 * found.logs[0].answer_entropy <= math.log(64) / 2


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_run_is_not_stopped(tmp_path, seed):
    loop, start = world.start(tmp_path)
    rows = world.questions(100, 64)
    found = loop.run(tmp_path / "run", rows, policy=start, canary=world.questions(500, 60), rounds=10, seed=seed)
    assert not found.stopped
    assert accuracy(found.policy) > accuracy(start)
    assert found.policy == tmp_path / "run" / "policies" / "009-0"


def test_the_log_holds_what_a_slow_loop_counts(tmp_path):
    def sample(at, rows, seed):
        return [["7", "7", "77", "8"], ["9", "7", "", "7"]][: len(rows)]

    loop, start = world.start(tmp_path, sample=sample, train=partial(world.train, rate=0.0), least_entropy=0.0)
    log = loop.run(tmp_path / "run", world.questions(7, 2), policy=start, canary=world.questions(7, 2), rounds=0).logs[
        0
    ]
    assert log.canary == [0.5, 0.0]  # two of four answers to 7 are right, none to 8
    assert log.proxy == [0.5, 0.0]
    assert log.label_accuracy == [1.0, None]  # the four pairs of a right and a wrong answer to 7
    assert log.agreement == [2 / world.K] * 2
    assert log.n_pairs == 1
    assert log.label_length_correlation["value"] == -1.0  # "7" against "77", the first of two equal worst
    assert log.answer_entropy == 0.0  # both questions are mostly answered by 7


def test_log_ratios_to_the_first_policy_average_to_the_divergence_from_it(tmp_path):
    loop, start = world.start(tmp_path, log_ratio=world.log_ratio)
    base = world.write_policy(tmp_path / "base", (0, 0, 0))  # of the labels, and not of the law
    given = {"policy": start, "base": base, "canary": world.questions(500, 500), "rounds": 3}
    logs = loop.run(tmp_path / "run", world.questions(100, 32), **given).logs
    assert logs[0].log_ratios == []  # of the first policy itself
    now, first = (world.shares(folder) for folder in (tmp_path / "run" / "policies" / "002-0", start))
    ratios = [math.log(p / q) for p, q in zip(now, first, strict=True)]
    kl = sum(p * ratio for p, ratio in zip(now, ratios, strict=True))
    spread = math.sqrt(sum(p * (ratio - kl) ** 2 for p, ratio in zip(now, ratios, strict=True)))
    drawn = [ratio for own in logs[3].log_ratios for ratio in own]
    assert len(drawn) == 500 * world.K
    assert sum(drawn) / len(drawn) == pytest.approx(kl, abs=4 * spread / math.sqrt(len(drawn)))


def test_labels_follow_the_policy_within_a_round_only_if_asked(tmp_path):
    seen = []

    def annotate(at, rows, texts):
        seen.append((at.number, at.policy.name))
        return world.annotator(world.truth)(at, rows, texts)

    loop, start = world.start(tmp_path, annotate=annotate, labelings=2, grade=None, least_entropy=0.0)
    loop.run(tmp_path / "run", world.questions(100, 8), policy=start, rounds=1)
    assert seen == [(0, "start"), (0, "000-0"), (1, "000-1")]


def test_rounds_know_the_policy_before_and_the_base(tmp_path):
    seen = []

    def annotate(at, rows, texts):
        seen.append((at.number, at.policy.name, at.previous.name, at.base.name))
        return world.annotator(world.truth)(at, rows, texts)

    loop, start = world.start(tmp_path, annotate=annotate, grade=None, least_entropy=0.0)
    base = world.write_policy(tmp_path / "base", world.START)
    loop.run(tmp_path / "run", world.questions(100, 8), policy=start, base=base, rounds=2)
    assert seen == [(0, "start", "base", "base"), (1, "000-0", "start", "base"), (2, "001-0", "000-0", "base")]


def test_a_folder_of_another_run_is_refused(tmp_path):
    loop, start = world.start(tmp_path)
    given = {"policy": start, "canary": world.questions(500, 4), "rounds": 1}
    loop.run(tmp_path / "run", world.questions(100, 8), **given)
    with pytest.raises(RewardsmithError, match=r"the rows have changed\). Choose another folder"):
        loop.run(tmp_path / "run", world.questions(101, 8), **given)
    with pytest.raises(RewardsmithError, match="seed was 0, now 1"):
        loop.run(tmp_path / "run", world.questions(100, 8), **given, seed=1)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"annotate": lambda at, rows, texts: []}, "annotate returned 0 results for 8 prompts"),
        ({"annotate": lambda at, rows, texts: None}, "annotate returned None for 8 prompts"),
        (
            {"annotate": lambda at, rows, texts: [[1.0] * world.K] * 8},
            r"annotate returned \[1.0.* Return an Annotation",
        ),
        (
            {"annotate": lambda at, rows, texts: [Annotation([1.0])] * 8},
            f"annotate returned 1 results for {world.K} completions",
        ),
        ({"sample": lambda at, rows, seed: [["1"]]}, "sample returned 1 results for 8 prompts"),
        ({"sample": lambda at, rows, seed: ["12345678"] * 8}, "sample returned '12345678' for a prompt"),
        ({"sample": lambda at, rows, seed: [[1] * 8] * 8}, r"sample returned \[1, .* Return a list of texts"),
    ],
)
def test_what_a_stage_may_not_return_is_refused_and_not_kept(tmp_path, stage, message):
    loop, start = world.start(tmp_path, **stage, grade=None)
    with pytest.raises(RewardsmithError, match=message):
        loop.run(tmp_path / "run", world.questions(100, 8), policy=start, rounds=1)
    mended, _ = world.start(tmp_path, grade=None)  # in the same folder, as if nothing had been wrong
    mended.run(tmp_path / "run", world.questions(100, 8), policy=start, rounds=1)
    mended.run(tmp_path / "other", world.questions(100, 8), policy=start, rounds=1)
    journals = [(tmp_path / name / ROUNDS).read_text().splitlines() for name in ("run", "other")]
    assert journals[0] == journals[1]


def test_a_grade_of_another_length_is_refused_and_a_nan_counts_as_unknown(tmp_path):
    given = {"rows": world.questions(100, 8), "canary": world.questions(500, 2), "rounds": 0}
    loop, start = world.start(tmp_path, grade=lambda prompts, completions: [1.0])
    with pytest.raises(RewardsmithError, match=f"grade returned 1 results for {2 * world.K} completions"):
        loop.run(tmp_path / "run", policy=start, **given)
    loop, start = world.start(tmp_path, grade=lambda prompts, completions: [math.nan, *[1.0] * (2 * world.K - 1)])
    assert loop.run(tmp_path / "run", policy=start, **given).logs[0].canary == [1.0, 1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_column_without_a_value_leaves_its_prompt_out(tmp_path, value):
    seen = []

    def annotate(at, rows, texts):
        return [
            Annotation([float(k) for k in range(world.K)], None, {"target": value if row.prompt == "100" else 0.8})
            for row in rows
        ]

    def train(at, pairs, out, seed):
        seen.extend((pair.prompt, pair.columns) for pair in pairs)

    def sample(at, rows, seed):
        return [list("abcdefgh") for _ in rows]

    loop, start = world.start(tmp_path, sample=sample, annotate=annotate, train=train, grade=None, least_entropy=0.0)
    loop.run(tmp_path / "run", world.questions(100, 3), policy=start, rounds=1)
    assert seen == [("101", {"target": 0.8}), ("102", {"target": 0.8})]


@pytest.mark.parametrize("name", ["chunk", "labelings"])
def test_no_chunk_and_no_labeling_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"IterativePreferenceRun: {name} is 0"):
        world.start(tmp_path, **{name: 0})
    loop, start = world.start(tmp_path, grade=None)
    with pytest.raises(ValueError, match="IterativePreferenceRun: rounds is -1"):
        loop.run(tmp_path / "run", world.questions(100, 8), policy=start, rounds=-1)


def test_a_canary_needs_its_grade(tmp_path):
    loop, start = world.start(tmp_path, grade=None)
    with pytest.raises(ValueError, match="canary and grade need each other"):
        loop.run(tmp_path / "run", world.questions(100, 8), policy=start, canary=world.questions(1, 2))


def test_a_round_without_pairs_ends_the_run(tmp_path):
    loop, start = world.start(tmp_path, pair=lambda rows: [], grade=None)
    found = loop.run(tmp_path / "run", world.questions(100, 8), policy=start)
    assert (found.policy, found.stopped) == (start, "no prompt gave a pair")


def log_of(number, canary, entropy=2.0):
    return RoundLog(number, 1, canary, [], [], [], {}, entropy)


def test_collapse_is_a_fall_of_the_same_prompts_beyond_chance():
    n, best = 100, [1.0] * 80 + [0.0] * 20
    worse = [0.0] * 9 + [1.0] * 71 + [0.0] * 20  # nine prompts fall, none rises: p = 1/512 by the sign test
    noise = [0.0] * 15 + [1.0] * 65 + [1.0] * 10 + [0.0] * 10  # 15 fall and 10 rise: p = 0.21
    assert len(worse) == len(noise) == n
    assert collapse([log_of(0, best), log_of(1, worse)]) == "canary accuracy fell from 0.800 in round 0 by 0.090"
    assert not collapse([log_of(0, best), log_of(1, noise)])
    assert not collapse([log_of(0, best), log_of(1, worse)], most_fall=0.2)
    assert not collapse([log_of(0, [None] * n), log_of(1, [None] * n)])
    assert collapse([log_of(0, [], 2.0), log_of(1, [], 0.9)]).startswith("the entropy of answers")
