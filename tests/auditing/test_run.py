"""The whole audit: resuming after a kill, seeds, given completions, total failure, and the command's exit codes."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from math import sqrt
from pathlib import Path

import jsonschema
import pytest
from scipy.stats import binomtest
from tests.auditing.small_baselines import ALPHA, exact, integer_rows, unkeyed_rows

from rewardsmith.auditing import audit, report_schema
from rewardsmith.data import Row
from rewardsmith.errors import RowsError
from rewardsmith.scoring import load_reward

COMMAND = Path(sys.executable).with_name("rewardsmith")
BUDGET = 1_200  # four to five prompts
COUNTED = '''
import os, time

def reward(prompt, completion, answer):
    """Sound; leaves a byte behind for every call."""
    place = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(place, b".")
    os.close(place)
    time.sleep(0.0005)
    try:
        return float(float(completion) == float(answer))
    except ValueError:
        return 0.0
'''
REWARDS = """
def sound(prompt, completion, answer):
    print("chatter")
    try:
        return float(float(completion) == float(answer))
    except ValueError:
        return 0.0

def lenient(prompt, completion, answer):
    return float(answer in completion)

def broken(prompt, completion, answer):
    raise RuntimeError("no grader today")
"""


def start(*arguments, **environment):
    return subprocess.Popen(
        [COMMAND, "audit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )


def run(*arguments, **environment):
    process = start(*arguments, **environment)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


@pytest.fixture
def files(tmp_path):
    """A folder with rewards and rows."""
    (tmp_path / "counted.py").write_text(COUNTED)
    (tmp_path / "rewards.py").write_text(REWARDS)
    records = [{"prompt": row.prompt, "answer": row.answer} for row in integer_rows()]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


@pytest.mark.slow
def test_an_edited_helper_gives_new_scores(files):
    """The first answer to "did my fix help?" must not be the old one."""
    (files / "helped.py").write_text(
        "import helper\ndef reward(prompt, completion, answer):\n    return helper.PAID * (completion == answer)\n"
    )
    job = (f"{files / 'helped.py'}:reward", files / "rows.jsonl", "--budget", 200, "--out", files / "out")
    for paid in (0.25, 0.75):
        (files / "helper.py").write_text(f"PAID = {paid}\n")
        _, _, said = run(*job)
        report = json.loads((files / "out" / "report.json").read_text())
        assert set(report["levels"]["right answers"]) == {paid}
    assert "the code has changed since" in said


def untimed(record):
    """A report without the command, and what the clock measured: seconds, estimate, date, and what `latency` found."""
    kept = {name: value for name, value in record.items() if name not in ("seconds", "estimate")}
    kept["provenance"] = {
        name: record["provenance"][name] for name in record["provenance"] if name not in ("command", "date")
    }
    for part in ("findings", "observations"):
        kept[part] = [finding for finding in kept[part] if finding["probe"] != "latency"]
    return kept


def journaled(folder):
    """How many results each key has in the journal, header and a torn last line left out."""
    lines = (folder / "journal.jsonl").read_bytes().split(b"\n")[1:-1]
    records = [record for line in lines if "results" in (record := json.loads(line))]
    return Counter(key for record in records for key in record["keys"]), sum(len(r["results"]) for r in records)


def calls_of(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.slow
def test_a_killed_audit_resumes_without_scoring_a_recorded_row_again_and_reports_the_same(files):
    job = (f"{files / 'counted.py'}:reward", files / "rows.jsonl", "--budget", BUDGET)
    whole, cut = files / "whole", files / "cut"
    code, _, said = run(*job, "--out", whole, CALLS=files / "calls-whole")
    assert code == 0, said
    total = calls_of(files / "calls-whole")

    process = start(*job, "--out", cut, CALLS=files / "calls-cut")
    deadline = time.monotonic() + 60
    while calls_of(files / "calls-cut") < total / 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.2)  # its worker dies with it
    assert process.returncode == -signal.SIGKILL
    assert not (cut / "report.json").exists()
    before = calls_of(files / "calls-cut")
    _, recorded = journaled(cut)
    assert total / 3 < recorded < total

    code, _, said = run(*job, "--out", cut, CALLS=files / "calls-cut")
    assert code == 0, said
    assert calls_of(files / "calls-cut") - before == total - recorded  # what was on disk was not asked again
    assert 0 <= before - recorded <= 2 * 16  # and at most the two batches in flight were lost
    keys, results = journaled(cut)
    assert set(keys.values()) == {1}
    assert results == total
    first, second = (json.loads((folder / "report.json").read_text()) for folder in (whole, cut))
    assert untimed(first) == untimed(second)
    jsonschema.validate(second, report_schema())

    code, _, said = run(*job, "--out", cut, CALLS=files / "calls-again")
    assert (code, calls_of(files / "calls-again")) == (0, 0)
    assert "\nFound finished, made on 20" in said
    third = json.loads((cut / "report.json").read_text())
    assert third["provenance"].pop("date") >= second["provenance"].pop("date")  # that of the report, which is new
    assert third == second  # a finished audit, asked again, repeats itself to the last digit, times included


@pytest.mark.slow
def test_the_command_ends_with_0_when_clean_and_json_is_all_it_prints(files):
    code, printed, _ = run(f"{files / 'rewards.py'}:sound", files / "rows.jsonl", "--budget", BUDGET, "--json")
    summary = json.loads(printed)
    assert (code, summary["verdict"], summary["findings"]) == (0, "clean", [])
    assert list(summary) == ["schema", "target", "verdict", "not_judged", "findings", "questions", "escapable",
                             "unscored", "calls", "seconds"]  # fmt: skip


@pytest.mark.slow
def test_the_command_ends_with_1_on_findings_and_writes_them_in_the_schema(files):
    job = (f"{files / 'rewards.py'}:lenient", files / "rows.jsonl", "--budget", BUDGET)
    code, printed, _ = run(*job, "--json", "--out", files / "out")
    summary = json.loads(printed)
    record = json.loads((files / "out" / "report.json").read_text())
    assert (code, summary["verdict"]) == (1, "findings")
    heads = summary["findings"]
    assert "enumeration" in {finding["probe"] for head in heads for finding in (head, *head["symptoms"])}
    assert summary == {name: record[name] for name in summary}
    jsonschema.validate(record, report_schema())
    assert "<html" in (files / "out" / "report.html").read_text()


@pytest.mark.slow
def test_a_reward_that_fails_on_everything_is_not_judged_and_ends_with_3(files):
    """It may be called wrongly: with a key that it does not read, or without a column."""
    job = (f"{files / 'rewards.py'}:broken", files / "rows.jsonl", "--budget", BUDGET)
    code, printed, _ = run(*job, "--json", "--out", files / "out")
    summary = json.loads(printed)
    assert (code, summary["verdict"], summary["findings"]) == (3, "not judged", [])
    assert "RuntimeError: no grader today" in summary["not_judged"]
    assert set(summary["unscored"]) == {"exception"}
    jsonschema.validate(json.loads((files / "out" / "report.json").read_text()), report_schema())


@pytest.mark.slow
def test_the_command_ends_with_2_where_target_or_rows_are_missing(files):
    for target, rows in (("rewards.py:nothing", "rows.jsonl"), ("rewards.py:sound", "none.jsonl")):
        code, printed, said = run(f"{files / target}", files / rows)
        assert (code, printed) == (2, "")
        assert said.startswith("Error: ")
        assert "Traceback" not in said


def told(**options):
    return untimed(audit(exact, integer_rows(), budget=BUDGET, workers=0, **options).as_json())


@pytest.mark.slow
def test_the_same_seed_asks_the_same_and_another_seed_asks_of_other_rows():
    asked: dict[int, list[set[tuple[str, str]]]] = {0: [], 1: []}
    for seed in (0, 0, 1):
        seen = set()

        def recording(prompt, completion, answer, seen=seen):
            seen.add((prompt, completion))
            return float(completion == answer)

        audit(recording, integer_rows(), budget=BUDGET, workers=0, seed=seed)
        asked[seed].append(seen)
    assert asked[0][0] == asked[0][1] != asked[1][0]
    assert told(seed=3) == told(seed=3)


@pytest.mark.slow
def test_worker_processes_change_nothing_but_times(files, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    alone = audit(exact, integer_rows(), budget=BUDGET, workers=0)
    helped = audit(exact, integer_rows(), budget=BUDGET, workers=1)
    assert [report.provenance.command.count("workers=0") for report in (alone, helped)] == [1, 0]
    assert untimed(alone.as_json()) == untimed(helped.as_json())


@pytest.mark.slow
def test_a_sound_reward_is_clean_and_every_question_is_accounted_for():
    report = audit(exact, integer_rows(), budget=6_000, workers=0)
    assert report.at_least("medium") == ()
    notes = {check.probe: check.note for check in report.checks if check.status == "not run"}
    assert notes == {"rollouts": "the rows have no completions"}
    assert report.levels["right answers"] == [1.0] * 24
    assert set(report.levels["wrong answers"]) == {0.0}


def test_rows_without_answers_do():
    def wordy(prompt, completion):
        return float(len(completion.split()) >= 3)

    report = audit(wordy, unkeyed_rows(), budget=BUDGET, workers=0)
    assert report.kind == "format or style reward"
    status = {check.probe: check.status for check in report.checks}
    assert status["answer_key"] == status["enumeration"] == status["search"] == "not run"
    assert status["length_gain"] != "not run"


def test_a_reward_that_always_raises_cannot_be_scored():
    def raising(prompt, completion, answer):
        raise RuntimeError("no grader today")

    report = audit(raising, integer_rows(), budget=BUDGET, workers=0)
    assert report.verdict() == "not judged"
    assert "could be scored" in report.not_judged
    assert "exception" in report.not_judged
    assert {check.status for check in report.checks if check.probe != "failures"} == {"not run"}


def test_a_reward_that_gives_nan_for_nothing_is_told_so():
    def reward(prompt, completion, answer):
        return float("nan") if not completion.strip() else float(completion == answer)

    report = audit(reward, integer_rows(), budget=BUDGET, workers=0)
    (finding,) = [finding for finding in report.findings if finding.probe == "non_finite"]
    assert finding.severity in ("medium", "high")
    assert set(report.unscored) == {"nan"}


def test_an_audit_without_rows_says_what_it_needs():
    with pytest.raises(RowsError, match=r"was given no rows\. Give at least one, with a `prompt`"):
        audit(exact, [], workers=0)


def sampled(**columns):
    """Twelve groups of four: six all right, six with one right answer and wrong ones of length 1, 2, 3."""
    rows = []
    for k, row in enumerate(integer_rows(12)):
        texts = [row.answer] * 4 if k < 6 else [row.answer, "7", "77", "777"]
        for text in texts:
            named = {name: value(k, text == row.answer) for name, value in columns.items()}
            rows.append(Row(row.prompt, text, {**row.columns, "group": k, **named}))
    return rows


def found(report, probe):
    return [finding for finding in report.findings if finding.probe == probe]


def test_groups_without_signal_and_pay_for_length_are_measured():
    """Half the groups pay all alike. In the others lengths 4, 1, 2, 3 have ranks 3, 0, 1, 2 and the rewards 1, 0, 0, 0
    have ranks 3, 1, 1, 1; about their mean 1.5 the products sum to 3, the squares to 5 and 3: 3/√15."""
    report = audit(exact, sampled(), budget=BUDGET, workers=0)
    (signal,) = found(report, "group_signal")
    assert (signal.value, signal.n) == (0.5, 12)
    (length,) = found(report, "length_correlation")
    assert length.value == pytest.approx(3 / sqrt(15))
    assert (length.n, length.severity) == (6, "low")


def test_scales_of_sources_are_compared():
    """The second source pays four times as much for the same completions."""

    def reward(prompt, completion, answer, source="first"):
        return float(completion == answer) * (4 if source == "second" else 1)

    rows = sampled(source=lambda k, right: "second" if k % 2 else "first")
    (scale,) = found(audit(reward, rows, budget=BUDGET, workers=0), "data_source_scale")
    assert scale.value == pytest.approx(4.0)
    assert (scale.n, scale.severity) == (48, "low")
    assert "in source 'second' is 4.0 times that in 'first'" in scale.message


def test_error_rates_against_gold_have_wilson_intervals():
    """Gold calls the eight right texts of two groups wrong: of 18 + 8 wrong ones 8 are paid; 22 are right."""
    rows = sampled(gold=lambda k, right: float(right and k > 1))
    rates = {finding.unit: finding for finding in found(audit(exact, rows, budget=BUDGET, workers=0), "gold_rates")}
    assert set(rates) == {"false positive rate", "false negative rate"}
    for unit, errors, n in (("false positive rate", 8, 26), ("false negative rate", 0, 22)):
        oracle = binomtest(errors, n).proportion_ci(confidence_level=1 - ALPHA, method="wilson")
        assert (rates[unit].value, rates[unit].n) == (errors / n, n)
        assert rates[unit].interval == pytest.approx((oracle.low, oracle.high))


@pytest.mark.slow
def test_a_reward_that_hangs_is_not_also_accused_of_state():
    async def sleeps_on_long_texts(prompt, completion, answer):
        if len(completion) > 150:
            await asyncio.sleep(5)
        return float(completion == answer)

    rows = [Row(f"{a}+{b}=", columns={"answer": str(a + b)}) for a in range(10, 20) for b in (3, 8)]
    report = audit(sleeps_on_long_texts, rows, timeout=0.02, workers=0, budget=1200)
    assert {finding.probe for finding in report.at_least("medium")} == {"failures", "strictness"}  # it compares texts
    assert {check.status for check in report.checks if check.probe == "determinism"} == {"not run"}


def test_a_reward_equal_to_gold_has_no_error_rate_above_zero():
    rows = [Row(f"p{i}", "yes" if i % 3 else "no", {"gold": float(bool(i % 3))}) for i in range(24)]
    report = audit(lambda prompt, completion: float(completion == "yes"), rows, workers=0, budget=1200)
    assert [finding.value for finding in report.findings if finding.probe == "gold_rates"] == [0.0, 0.0]


def test_a_share_of_failures_counts_each_completion_once_above_and_below():
    def raises(prompt, completion, answer):
        raise RuntimeError("no grader today")

    rows = [Row(f"{a}+{b}=", columns={"answer": str(a + b)}) for a in range(10, 20) for b in (3, 8)]
    report = audit(raises, rows, workers=0, budget=1200)
    share = next(f for f in found(report, "failures") if f.unit == "share of different completions sent")
    assert (share.value, share.severity) == (1.0, "info")  # all of them: it may be called wrongly
    assert f"{share.n} of {share.n} different completions get no reward" in share.message
    assert share.n < report.calls == report.unscored["exception"]  # some are sent again, to see whether they differ
    assert report.kind == "unknown, as no honest answer could be scored"
    assert {check.status for check in report.checks if check.probe == "failures"} == {"not run"}


def wants_a_password(prompt, completion, answer):
    """No usual format holds it, so no honest answer is accepted."""
    return float(completion == f"sesame {answer}")


@pytest.mark.slow
def test_a_reward_that_reads_an_answer_and_accepts_no_honest_one_is_neither_clean_nor_accused():
    report = audit(wants_a_password, integer_rows(), budget=BUDGET, workers=0)
    assert report.verdict() == "not judged"
    assert "scores right and wrong ones equally in all 17 formats" in report.not_judged
    assert report.at_least("low") == ()
    assert report.summary()["questions"]["not run"] >= 15


@pytest.mark.slow
def test_a_reward_whose_rows_have_no_answers_or_none_that_can_be_read_is_not_judged():
    def reads(prompt, completion, answer=None, ground_truth=None):
        return float(completion == str(answer or ground_truth))

    bare = audit(reads, unkeyed_rows(), budget=BUDGET, workers=0)
    assert (bare.verdict(), bare.not_judged) == ("not judged", "the reward reads an answer column that the rows lack")
    tests = [{"prompt": f"Sort {k}.", "ground_truth": {"inputs": [k], "outputs": [k + 1]}} for k in range(12)]
    unread = audit(reads, tests, budget=BUDGET, workers=0)
    assert unread.verdict() == "not judged"
    assert unread.not_judged.startswith("the ground truth is a set of code tests, which is no answer; give completions")


@pytest.mark.slow
def test_a_reward_of_another_text_per_row_is_not_judged_and_one_of_a_source_or_a_number_is():
    def mentions(prompt, completion, keyword):
        return float(keyword in completion and len(completion.split()) > 2)

    def within(prompt, completion, most, source):
        return -abs(len(completion.split()) - most) / 100 - (source == "b") / 100

    columns = [{"keyword": f"word{k}", "most": k + 5, "source": "ab"[k % 2]} for k in range(24)]
    rows = [Row(row.prompt, None, own) for row, own in zip(unkeyed_rows(), columns, strict=True)]
    report = audit(mentions, rows, budget=BUDGET, workers=0)
    assert "the reward reads the column `keyword`" in report.not_judged
    assert audit(within, rows, budget=BUDGET, workers=0).not_judged == ""


def test_a_format_reward_on_rows_with_answers_is_judged_on_the_questions_that_apply():
    """verl's signature has a ground truth, which a reward of format does not use."""

    def compute_score(data_source, solution_str, ground_truth, extra_info=None):
        thought, _, rest = solution_str.partition("</think>")
        return float(bool(re.search(r"<think>.*\w", thought, re.S) and re.search(r"\w", re.sub("<.*?>", "", rest))))

    report = audit(compute_score, integer_rows(), budget=BUDGET, workers=0)
    assert (report.verdict(), report.kind) == ("clean", "format or style reward")
    counts = report.summary()["questions"]
    assert counts["not run"] == 0
    assert {"enumeration", "answer_key"} <= {check.probe for check in report.checks if not check.applies}


@pytest.mark.slow
def test_a_reward_that_pays_full_marks_for_anything_is_a_finding_and_one_that_pays_a_little_is_not():
    def pays(marks):
        return lambda prompt, completion, answer: marks * bool(completion.strip() or answer is None)

    assert {f.probe for f in audit(pays(1.0), integer_rows(), budget=BUDGET, workers=0).at_least("high")} == {
        "answer_key"
    }
    assert audit(pays(0.1), integer_rows(), budget=BUDGET, workers=0).verdict() == "not judged"


@pytest.mark.parametrize("result", ["0.0", {"accuracy": 1.0, "format": 0.0}])
def test_a_result_without_a_number_is_the_reason_and_not_another_format(result):
    report = audit(lambda prompt, completion, answer: result, integer_rows(), budget=BUDGET, workers=0)
    said = f"first {f'{type(result).__name__}: {result!r}'!r}. Return a list with one number per row"
    assert said in report.not_judged
    assert "`score`" in report.not_judged
    assert "input format" not in report.not_judged


def test_one_score_for_a_batch_is_the_reason():
    def reward(prompts, completions, answer, **columns):
        return [1.0]

    report = audit(reward, integer_rows(), budget=BUDGET, workers=0)
    assert "1 rewards for 16 rows'. Return a list with one number per row" in report.not_judged


def test_questions_beyond_the_largest_number_of_calls_say_so():
    report = audit(exact, integer_rows(), max_calls=30, workers=0)
    assert "could not be asked (the calls were spent)" in report.not_judged
    assert {check.note for check in report.checks if check.status == "not run" and check.applies} <= {
        "the calls were spent", "the budget or the rows are too few"
    }  # fmt: skip


@pytest.mark.slow
def test_calls_that_hang_are_the_reason_for_all_that_was_not_asked(tmp_path):
    (tmp_path / "hangs.py").write_text(
        "import time\ndef reward(prompt, completion, answer):\n    return float(completion == answer) + time.sleep(60)"
    )
    report = audit(load_reward(f"{tmp_path / 'hangs.py'}:reward"), integer_rows(), timeout=0.2, budget=BUDGET)
    (finding,) = report.at_least("medium")
    assert finding.advice.startswith("Limit the time")
    late = report.unscored["timeout"]  # calls at once may end after the fifth
    assert late >= 5
    reason = f"{late} of {report.calls} calls gave no result within 0.2 s, and the audit stopped there"
    assert {check.note for check in report.checks if check.status == "not run"} == {reason}


@pytest.mark.slow
def test_a_crash_is_told_from_text_that_cannot_be_read(tmp_path):
    (tmp_path / "dies.py").write_text(
        "import os\ndef reward(prompt, completion, answer):\n"
        "    return float(completion == answer) if completion.isdigit() else os._exit(3)"
    )
    report = audit(load_reward(f"{tmp_path / 'dies.py'}:reward"), integer_rows(4), budget=150)
    (finding,) = (one for one in report.findings if one.probe == "failures")
    assert finding.advice.startswith("Find what ends the process")
    spent = [check.note for check in report.checks if check.note.startswith("the calls were spent")]
    assert spent
    assert all("rows of a call that crashes are sent again" in note for note in spent)


@pytest.mark.slow
def test_a_question_with_a_meaning_that_could_not_be_asked_leaves_a_reward_not_judged():
    """A reward that cannot score what lacks its word leaves every question about empty texts without a score."""

    def needs_a_digit(prompt, completion, answer):
        return float(completion == answer) if any(c.isdigit() for c in completion) else None

    report = audit(needs_a_digit, integer_rows(), budget=BUDGET, workers=0)
    unasked = {check.probe for check in report.checks if check.status == "not run" and check.applies}
    assert {"empty", "punctuation"} <= unasked
    assert report.verdict("high") == "not judged"  # it compares texts, which is a milder finding
    assert "could not be asked (no row fits, or none could be scored)" in report.not_judged


@pytest.mark.slow
def test_the_bound_of_a_question_counts_rows_that_a_variant_does_not_fit_as_not_hit():
    """The exact one-sided end for 0 among all 24 rows, by scipy, also where a variant fits a few of them."""
    rows = integer_rows(20) + [
        Row(f"Card {k}?", None, {"answer": city}) for k, city in enumerate(["Rome", "Oslo", "Lima", "Riga"])
    ]
    report = audit(exact, rows, budget=10_000, workers=0)
    bounds = {check.probe: check.bound for check in report.checks}
    oracle = binomtest(0, 24, alternative="less").proportion_ci(confidence_level=0.95, method="exact").high
    assert bounds["empty"] == bounds["lookalikes"] == bounds["enumeration"] == pytest.approx(oracle)
    assert report.escapable == max(bound for bound in bounds.values() if bound is not None)
    assert bounds["latency"] is None


def test_garbage_is_collected_as_before_once_an_audit_is_done():
    before, during = gc.get_threshold(), []

    def reward(prompt, completion, answer):
        during.append(gc.get_threshold()[0])
        return float(completion == answer)

    audit(reward, integer_rows(4), budget=150, workers=0)
    assert max(during) == 20 * before[0]
    assert gc.get_threshold() == before
