"""RewardMATH, JudgeBench, PPE and ProcessBench: records in the published schemas, scored by hand."""

from __future__ import annotations

import json
import math
import re
from statistics import fmean

import pytest
import typer
from typer.testing import CliRunner

from rewardsmith.benchmarks import (
    judge_bench,
    ppe_preference,
    process_bench,
    reward_math,
    run_benchmark,
)
from rewardsmith.cli.benchmark import benchmark_command
from rewardsmith.data import BenchmarkRow, read_benchmark, read_steps
from rewardsmith.errors import EndpointError, RowsError
from rewardsmith.rewards import ChatBackend, Criterion, FirstErrorJudge, PairwiseJudge, Rubric


def solved(problem_id, steps, kind="rejected", subject="Algebra"):
    return {"problem": f"Problem {problem_id}", "answer": "2", "eval_solution": steps, "solution_reference": "m",
            "solution_type": kind, "subject": subject, "level": 1, "problem_id": problem_id, "id": 0}  # fmt: skip


def direct(problem_id, chosen, rejected, subject="Algebra"):
    return [solved(problem_id, chosen, "chosen", subject), *(solved(problem_id, r, subject=subject) for r in rejected)]


def duel(problem_id, chosen, rejected, position):
    sides = (chosen, rejected) if position == "A" else (rejected, chosen)
    return {"problem": f"Problem {problem_id}", "answer": "", "eval_solution_A": sides[0], "eval_solution_B": sides[1],
            "solution_reference": "m", "chosen_position": position, "subject": "Algebra", "level": 1,
            "problem_id": problem_id, "id": 0}  # fmt: skip


def by_number(completions):
    return [float(c.split()[-1]) if c.split()[-1].replace(".", "").isdigit() else None for c in completions]


class Judge:
    """A judge that compares by the number at the end, of draws and of missing verdicts; it notes what it was asked."""

    def __init__(self, prefers_first=False):
        self.prefers_first, self.asked = prefers_first, []

    def compare(self, prompts, firsts, seconds):
        self.asked += list(zip(firsts, seconds, strict=True))
        return [self.verdict(a, b) for a, b in zip(firsts, seconds, strict=True)]

    def verdict(self, first, second):
        a, b = by_number([first, second])
        if a is None or b is None:
            return None
        return 1.0 if self.prefers_first else 0.5 + 0.5 * ((a > b) - (a < b))

    def __call__(self, prompts, completions, reference, **columns):
        return self.compare(prompts, completions, reference)


# RewardMATH


def test_rewardmath_counts_ties_against_the_right_solution_and_says_what_they_are_worth():
    records = [
        *direct(0, ["a", "9"], [["b", str(k)] for k in range(9)]),  # first
        *direct(1, ["a", "5"], [["5"]] * 2 + [["6"]] + [["1"]] * 6, "Geometry"),  # one above, two equal: rank 4
        *direct(2, ["a", "3"], [["3"]] * 9, "Geometry"),  # all equal: rank 10
    ]
    read = read_benchmark(records)
    assert read.card.schema == "reward_math"
    assert read.rows[1].chosen == ["a\n5"]
    found = run_benchmark(by_number, read.rows, protocol="reward_math", workers=0)
    assert found.overall == pytest.approx(1 / 3)
    assert found.subsets["Geometry"].value == 0.0
    assert found.parts["accuracy with ties"] == pytest.approx(2 / 3)
    assert found.parts["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 10) / 3)
    shared = (fmean([1 / 2, 1 / 3, 1 / 4]), fmean([1 / k for k in range(1, 11)]))
    assert found.parts["mrr, ties shared"] == pytest.approx((1 + sum(shared)) / 3)


def test_rewardmath_leaves_an_unscored_solution_out_or_ranks_it_last():
    rows = read_benchmark([*direct(0, ["?"], [["1"]] * 9), *direct(1, ["2"], [["?"]] + [["1"]] * 8)]).rows
    left = run_benchmark(by_number, rows, protocol="reward_math", workers=0)
    assert (left.n, left.unscored) == (0, ("Algebra/0", "Algebra/1"))
    assert math.isnan(left.overall)
    counted = run_benchmark(by_number, rows, protocol="reward_math", ratings=True, workers=0)
    assert (counted.overall, counted.n_unscored) == (0.5, 0)
    assert counted.parts["mrr"] == pytest.approx((1 / 10 + 1) / 2)


def test_rewardmath_is_judged_in_the_published_order_and_the_rank_is_one_more_than_the_lost_duels():
    records = [duel(0, ["5"], [str(k)], "AB"[k % 2]) for k in range(9)]  # 6, 7, 8 win, and 5 draws
    [row] = read_benchmark(records).rows
    judge = Judge()
    found = run_benchmark(judge, [row], protocol="reward_math", workers=0)
    asked = judge.asked[-9:]
    assert asked[0] == ("5", "0")
    assert asked[1] == ("1", "5")
    assert found.parts["mrr"] == pytest.approx(1 / 5)
    assert found.overall == 0.0


def test_a_process_reward_is_aggregated_before_it_ranks():
    def scored(prompts, completions, steps, **columns):
        return [[float(step) for step in own] for own in steps]

    rows = read_benchmark(direct(0, [".9", ".4"], [[".5", ".6"]] * 9)).rows
    for how, right in (("mean", 1.0), ("min", 0.0), ("prod", 1.0), ("last", 0.0), ("max", 1.0)):
        found = run_benchmark(scored, rows, protocol="reward_math", aggregate=how, workers=0)
        assert found.overall == right, how


# JudgeBench


def judged(k, first, second, label, source="livebench-math"):
    return {"pair_id": f"p{k}", "original_id": k, "source": source, "question": f"Q{k}", "response_model": "m",
            "response_A": first, "response_B": second, "label": label}  # fmt: skip


def test_judgebench_needs_more_wins_than_losses_over_both_orders():
    rows = read_benchmark(
        [judged(0, "a 2", "b 1", "A>B"), judged(1, "a 1", "b 2", "A>B"), judged(2, "a 1", "b 1", "B>A")]
    ).rows
    assert [row.chosen[0] for row in rows] == ["a 2", "a 1", "b 1"]
    # won twice; lost twice; two draws
    assert run_benchmark(Judge(), rows, protocol="judge_bench", workers=0).sections["math"] == pytest.approx(1 / 3)
    # always the first: one win and one loss each
    assert run_benchmark(Judge(True), rows, protocol="judge_bench", workers=0).sections["math"] == 0.0
    assert run_benchmark(by_number, rows, protocol="judge_bench", workers=0).sections["math"] == pytest.approx(1 / 3)


def test_judgebench_counts_a_win_and_no_verdict_as_right_and_no_verdict_at_all_on_request():
    class Half(Judge):
        def verdict(self, first, second):
            return None if "?" in first + second or first.startswith("b") else 1.0

    rows = read_benchmark([judged(0, "a 2", "b 1", "A>B"), judged(1, "a ?", "b 1", "A>B")]).rows
    found = run_benchmark(Half(), rows, protocol="judge_bench", workers=0)
    assert found.sections["math"] == 1.0
    assert found.unscored == ("livebench-math/p1",)
    assert run_benchmark(Half(), rows, protocol="judge_bench", ratings=True, workers=0).sections["math"] == 0.5


def test_judgebench_is_a_share_of_all_pairs():
    sources = ["mmlu-pro-law"] * 3 + ["livebench-reasoning", "livebench-math", "livecodebench-x"]
    rows = read_benchmark([judged(k, "1", "0", "A>B" if k < 3 else "B>A", s) for k, s in enumerate(sources)]).rows
    found = run_benchmark(by_number, rows, protocol="judge_bench", workers=0)
    assert found.overall == 0.5  # 3 of 6, where the mean of the sections is ¼
    assert found.sections == {"knowledge": 1.0, "reasoning": 0.0, "math": 0.0, "coding": 0.0}
    assert math.isnan(judge_bench(rows[:4], [[1, 0]] * 4).overall)
    assert judge_bench(rows[:4], [[1, 0]] * 4).missing == ("math", "coding")


# PPE


def vote(k, winner, first="1", second="0", models=("m", "n"), **tags):
    return {"question_id": str(k), "model_a": models[0], "model_b": models[1], "winner": winner, "prompt": f"P{k}",
            "response_1": first, "response_2": second, "language": "English", "is_code": False, "hard_prompt": False,
            "easy_prompt": False, "if_prompt": False, "math_prompt": False, **tags}  # fmt: skip


def test_ppe_counts_votes_by_kind_and_language_and_drops_ties():
    records = [
        vote(0, "model_a", hard_prompt=True),  # agrees
        vote(1, "model_b", hard_prompt=True, language="German"),  # does not
        vote(2, "model_a", "1", "1"),  # equal scores are wrong
        vote(3, "tie"),
        vote(4, "tie (bothbad)"),
    ]
    read = read_benchmark(records)
    assert (len(read.rows), read.card.dropped["the winner is tie"]) == (3, 1)
    found = run_benchmark(by_number, read.rows, protocol="ppe_preference", workers=0)
    assert found.overall == pytest.approx(1 / 3)
    assert {name: (s.value, s.n) for name, s in found.subsets.items()} == {
        "human preference": (pytest.approx(1 / 3), 3), "hard_prompt": (0.5, 2), "English": (0.5, 2), "German": (0.0, 1),
    }  # fmt: skip


def test_ppe_ranks_models_by_the_pairs_that_they_win():
    # by people a > b > c; the reward swaps the order of b and c: ranks 1 2 3 and 1 3 2, Spearman 1 − 6·2/(3·8) = ½
    plays = [("a", "b", 1), ("a", "c", 1), ("b", "c", 0)]
    rows = read_benchmark([vote(k, "model_a", str(s), "0.5", (x, y)) for k, (x, y, s) in enumerate(plays)]).rows
    found = run_benchmark(by_number, rows, protocol="ppe_preference", workers=0)
    assert found.parts["spearman of models"] == pytest.approx(0.5)
    assert math.isnan(ppe_preference(rows[:1], [[1.0, 0.0]]).parts["spearman of models"])


def sampled(k, answers, scores, pairs, model="m", mark="options"):
    return {"question_id": str(k), mark: [], "prompt": f"P{k}", "model_name": model, "scores": scores,
            "mean_score": fmean(scores), "sampled_conflict_pairs": pairs, "conflict_pairs": pairs,
            **{f"response_{i + 1}": text for i, text in enumerate(answers)}}  # fmt: skip


def test_ppe_finds_right_answers_among_all_that_one_model_sampled():
    # scores .9 (wrong), .8 (right), .8 (wrong), .1 (right); the second sampled pair is a tie, which is wrong
    read = read_benchmark(
        [sampled(0, ["0.9", "0.8", "0.8", "0.1"], [False, True, False, True], [[1, 0], [1, 2], [2, 3]])]
    )
    [row] = read.rows
    assert (row.subset, row.chosen, row.rejected) == ("mmlu_pro", ["0.8", "0.1"], ["0.9", "0.8"])
    assert row.columns["pairs"] == [(0, 0), (0, 1), (1, 1)]
    found = run_benchmark(by_number, read.rows, protocol="ppe_correctness", workers=0)
    assert found.sections["mmlu_pro"] == 0.0
    # right share of the best of 1, 2, 3, 4: of 2, three pairs with the best are wrong, .8|.8 is ½, and .8(right)|.1 1
    curve = [1 / 2, (0 * 3 + 1 / 2 + 1 + 0) / 6, (0 * 3 + 1 / 2) / 4, 0.0]
    perfect = [1 / 2, 5 / 6, 1.0, 1.0]
    assert found.parts["mmlu_pro/end"] == 0.0
    assert found.parts["mmlu_pro/max"] == pytest.approx(max(curve))
    assert found.parts["mmlu_pro/error"] == pytest.approx(fmean(p - c for p, c in zip(perfect, curve, strict=True)))
    assert found.parts["mmlu_pro/auc"] == pytest.approx((0 + 1 / 2 + 0 + 0) / 4)
    assert math.isnan(found.overall)


def test_ppe_averages_over_models_and_keeps_rows_apart_when_one_is_unscored():
    marks = ["options", "Subdomain", "sanitized_solution", "test_list", "instruction_id_list"]
    records = [sampled(0, ["1", "?"], [True, False], [[0, 1]])]
    records += [sampled(k, ["1", "0"], [True, False], [[0, 1]], mark=mark) for k, mark in enumerate(marks, start=1)]
    records += [sampled(9, ["0", "1"], [True, False], [[0, 1]], model="other")]
    records += [sampled(10, ["1", "0"], [True, False], [[0, 1]])] * 2  # three of m and one of the other: the mean is ½
    found = run_benchmark(by_number, read_benchmark(records).rows, protocol="ppe_correctness", workers=0)
    assert found.sections == {"mmlu_pro": 0.5, "math": 1.0, "gpqa": 1.0, "mbpp_plus": 1.0, "ifeval": 1.0}
    assert found.overall == pytest.approx(0.9)
    assert found.unscored == ("mmlu_pro/0/m",)


# ProcessBench


def chain(k, label, n=3, kind="gsm8k"):
    steps = [f"{kind}{k} step {j}" for j in range(n)]
    return {"id": f"{kind}-{k}", "generator": "m", "problem": f"P{kind}{k}", "steps": steps,
            "final_answer_correct": label < 0, "label": label}  # fmt: skip


def test_processbench_is_the_harmonic_mean_of_two_accuracies():
    rows = read_benchmark([chain(0, 1), chain(1, 0), chain(2, -1), chain(3, -1), chain(4, -1)]).rows
    found = process_bench(rows, [1, 2, -1, -1, 0])  # ½ and ⅔
    assert found.subsets["gsm8k"].value == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert (found.parts["gsm8k/on_erroneous"], found.parts["gsm8k/on_correct"]) == (0.5, pytest.approx(2 / 3))
    assert math.isnan(found.overall)
    skipped = process_bench(rows, [1, None, -1, -1, 0])
    assert (skipped.subsets["gsm8k"].n_unscored, skipped.unscored) == (1, ("gsm8k/gsm8k-1",))
    assert skipped.parts["gsm8k/on_erroneous"] == 1.0
    assert process_bench(rows, [1, None, -1, -1, 0], ratings=True).parts["gsm8k/on_erroneous"] == 0.5
    every = read_benchmark(
        [chain(k, k - 1, kind=kind) for kind in ("gsm8k", "math", "olympiadbench", "omnimath") for k in (0, 1)]
    )
    assert process_bench(every.rows, [-1, 0] * 4).overall == 1.0


def test_a_process_reward_names_the_first_step_below_the_threshold():
    def doubtful(prompts, completions, steps, **columns):
        return [[0.3 if step.endswith("1") else 0.9 for step in own] for own in steps]

    rows = read_benchmark([chain(0, 1), chain(1, -1, n=1), chain(2, 2)]).rows
    found = run_benchmark(doubtful, rows, protocol="process_bench", workers=0)
    assert (found.parts["gsm8k/on_erroneous"], found.parts["gsm8k/on_correct"]) == (0.5, 1.0)
    lenient = run_benchmark(doubtful, rows, protocol="process_bench", threshold=0.2, workers=0)
    assert lenient.parts["gsm8k/on_erroneous"] == 0.0


def test_a_judge_of_first_errors_is_asked_for_its_index():
    async def backend(messages):
        text = messages[1]["content"]
        return r"\boxed{1}" if "Pgsm8k0" in text else r"\boxed{-1}" if "Pgsm8k1" in text else "I cannot tell."

    rows = read_benchmark([chain(0, 1), chain(1, -1), chain(2, 2)]).rows
    found = run_benchmark(FirstErrorJudge(backend), rows, protocol="process_bench", workers=0)
    assert found.subsets["gsm8k"][:1] == (1.0,)
    assert found.unscored == ("gsm8k/gsm8k-2",)


def test_processbench_also_gives_labeled_steps_for_training():
    rows = read_steps([chain(0, 1), chain(1, -1, n=2)]).rows
    assert [list(row.labels) for row in rows] == [[1.0, 0.0, None], [1.0, 1.0]]


# Readers and refusals


def test_the_records_of_a_problem_are_joined_wherever_they_stand():
    problems = [direct(k, ["a", "9"], [["b", str(j)] for j in range(9)]) for k in (0, 1)]
    mixed = [record for both in zip(*problems, strict=True) for record in both]
    rows = read_benchmark(mixed).rows
    assert [(row.item_id, row.chosen, len(row.rejected)) for row in rows] == [(k, ["a\n9"], 9) for k in "01"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (direct(0, ["1"], [["0"]])[1:], "not one chosen solution"),
        ([duel(0, ["1"], ["0"], "A") | {"chosen_position": "C"}], "chosen_position is C"),
        ([judged(0, "1", "0", "A=B")], "the label is A=B"),
        ([sampled(0, ["1", "0"], [True, True], [[0, 1]])], "no right and a wrong answer"),
        ([sampled(0, ["1", "0"], [True, True], [])], "no chosen or no rejected answer"),
        ([chain(0, 5)], "a label outside the steps"),
        ([chain(0, -1, n=0)], "no steps"),
        ([chain(0, 1.5)], "a label outside the steps"),
        ([chain(0, 1) | {"steps": "first second"}], "`steps` is no list of steps but a text"),  # and not its 12 letters
        (direct(0, "a 1", [["0"]]), "`eval_solution` is no list of steps"),
        ([duel(0, ["1"], '["0"]', "A")], "`eval_solution_B` is no list of steps"),
        ([solved(0, ["1"], "Chosen")], "solution_type is Chosen"),
        (
            [sampled(0, ["1", "0"], [0, 1], [[0, 1]]) | {"scores": ["False", "True"]}],
            "a score that is neither true nor false",
        ),
        (
            [sampled(0, ["1", "0"], [0, 1], [[0, 1]]) | {"scores": [None, True]}],
            "a score that is neither true nor false",
        ),
    ],
)
def test_records_that_break_the_schema_are_named(records, message):
    with pytest.raises(RowsError, match=message):
        read_benchmark(records)


def test_a_label_outside_the_steps_gives_no_steps_to_train_on():
    for label in (5, 1.5):
        with pytest.raises(RowsError, match="a label outside the steps"):
            read_steps([chain(0, label)])
    for record in (chain(0, 1) | {"steps": "ab"}, {"prompt": "q", "completions": "ab", "labels": [1, 0]}):
        with pytest.raises(RowsError, match="is no list of steps but a text"):
            read_steps([record])


PAIR = BenchmarkRow("Q", ["1"], ["0"], "s", "0")
MANY = BenchmarkRow("Q", ["1", "2"], ["0"], "s", "0")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reward_math([MANY], [[1, 1, 0]]), "reward_math: s/0 has 2 chosen solutions"),
        (lambda: process_bench([PAIR], []), "process_bench: got 1 items and 0 predictions"),
        (lambda: run_benchmark(Judge(), [MANY], protocol="rm_bench"), "compares two answers, and rm_bench has items"),
        (lambda: run_benchmark(by_number, [PAIR], protocol="rewardbench", aggregate="min"), "has no parameter `steps`"),
        (lambda: run_benchmark(by_number, [PAIR], protocol="rewardbench", aggregate="sun"), "aggregate is 'sun'"),
        (lambda: run_benchmark(by_number, read_benchmark([chain(0, 1)]).rows, protocol="process_bench"),
         "neither scores steps nor names the first wrong one"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_benchmark_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_command_takes_the_new_benchmarks(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(json.dumps(judged(0, "longer", "short", "A>B")) + "\n")
    (tmp_path / "flat_rewards.py").write_text(
        "def length(completions):\n    return [float(len(c)) for c in completions]\n"
    )
    app = typer.Typer()
    app.command()(benchmark_command)
    command = [f"{tmp_path / 'flat_rewards.py'}:length", str(tmp_path / "pairs.jsonl"), "--json", "--workers", "0"]
    found = json.loads(CliRunner().invoke(app, command).stdout)
    assert (found["protocol"], found["sections"]["math"]) == ("judge_bench", 1.0)


# Judges and rubrics


class Reader:
    """A language model that reads the numbers of a response or of two answers, and prefers the larger one."""

    def __init__(self, first_wins=False):
        self.first_wins, self.asked = first_wins, 0

    async def __call__(self, messages):
        self.asked += 1
        content = messages[1]["content"]
        if "<response" in content:
            [number] = re.findall(r"<response\S*>\n.*?(\d+)\n</", content)
            said = "yes" if int(number) > 4 else "no"
            return json.dumps({"answers": [{"criterion": "right", "reason": "Read.", "answer": said}]})
        first, second = re.findall(r"<answer-[ab]\S*>\n.*?(\d+|none)\n</", content)
        if "none" in (first, second):
            return "I cannot decide."
        return f"<answer>[[{'A' if self.first_wins or int(first) > int(second) else 'B'}]]</answer>"


def judge_bench_rows(*pairs):
    return read_benchmark([judged(k, f"a {a}", f"b {b}", "A>B") for k, (a, b) in enumerate(pairs)]).rows


def test_a_rubric_scores_answers_of_a_benchmark_by_themselves():
    rubric = Rubric([Criterion("right", "Is it right?")], Reader())
    found = run_benchmark(rubric, judge_bench_rows((5, 2), (2, 6), (7, 8)), protocol="judge_bench", workers=0)
    assert found.sections["math"] == pytest.approx(1 / 3)  # right, wrong, and both yes: a tie counts as wrong
    [row] = read_benchmark(direct(0, ["It is 5"], [[f"It is {k % 5}"] for k in range(9)])).rows
    assert run_benchmark(rubric, [row], protocol="reward_math", workers=0).overall == 1.0


@pytest.mark.parametrize("swap", [True, False])
def test_a_pairwise_judge_is_asked_once_in_each_order(swap):
    reader = Reader()
    judge = PairwiseJudge(reader, swap=swap)
    rows = judge_bench_rows((5, 2), (2, 6), (3, "none"))
    found = run_benchmark(judge, rows, protocol="judge_bench", workers=0)
    assert (found.sections["math"], found.n, found.reasons) == (0.5, 2, {"none": 2})
    assert reader.asked == 6 + 4  # four rows are tried first for the form that the judge reads


def test_a_pairwise_judge_that_follows_the_position_wins_nothing():
    rows = judge_bench_rows((5, 2), (2, 6))
    judge = PairwiseJudge(Reader(first_wins=True))
    assert run_benchmark(judge, rows, protocol="judge_bench", workers=0).sections["math"] == 0.0


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [PairwiseJudge, lambda backend: Rubric([Criterion("right", "Is it right?")], backend)])
def test_a_benchmark_of_a_judge_whose_server_is_dead_ends_with_its_error(make, workers):
    backend = ChatBackend("tiny", base_url="http://127.0.0.1:9/v1", attempts=1)
    with pytest.raises(EndpointError, match=r"no usable answer from its endpoint .* could not be reached"):
        run_benchmark(make(backend), judge_bench_rows((5, 2)), protocol="judge_bench", workers=workers)
    backend.close()
