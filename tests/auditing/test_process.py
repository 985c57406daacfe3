"""Process rewards: step scores by prefix, the padding probe, and the audit's other questions about steps."""

from __future__ import annotations

import itertools
import random
import re

import pytest
import torch
from tests.auditing.corpus.prompts import running_sum

from rewardsmith.advantages import min_returns, step_returns
from rewardsmith.advantages.steps import max_returns, mean_returns
from rewardsmith.auditing import audit, padding_probe
from rewardsmith.auditing.probes.padding import FILLERS, INSERTED
from rewardsmith.auditing.step_baseline import TOTALS, total_of
from rewardsmith.data import Row
from rewardsmith.errors import RowsError, TargetError
from rewardsmith.rewards import exact_number
from rewardsmith.scoring import as_target, score, steps_of, with_steps
from rewardsmith.scoring.process import StepScore, process_target, takes_steps
from rewardsmith.transforms import clip_steps, delta_steps

RETURNS = {"sum": step_returns, "min": min_returns, "mean": mean_returns, "max": max_returns}
SUM = re.compile(r"(\d+) \+ (\d+) = (\d+)")


def level(step):
    """0.9 for a right sum, 0.1 for a wrong one, 0.8 for what is no sum."""
    found = SUM.fullmatch(step.strip())
    return 0.8 if found is None else 0.9 if int(found[1]) + int(found[2]) == int(found[3]) else 0.1


def prm(prompts, completions, steps, **columns):
    return [[level(step) for step in chain] for chain in steps]


def centered(steps, **columns):
    """Nothing for what is no sum, so that padding is worth nothing."""
    return [[{0.9: 0.1, 0.8: 0.0, 0.1: -1.0}[level(step)] for step in chain] for chain in steps]


def chains(n=40, seed=0, **columns):
    rng = random.Random(seed)
    rows = []
    for k in range(n):
        steps, labels, wrong = running_sum(rng)
        extra = {name: make(wrong, rng) for name, make in columns.items()}
        rows.append(Row(f"Sum {k}", None, {"completions": steps, "labels": labels, **extra}))
    return rows


def found(report, probe):
    return [finding for finding in report.findings if finding.probe == probe]


# --- totals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_totals_are_the_returns_of_the_librarys_own_step_transforms(seed):
    draw = torch.Generator().manual_seed(seed)
    steps = torch.rand(1, 5, generator=draw, dtype=torch.float64)
    mask = torch.ones_like(steps, dtype=torch.bool)
    clipped = clip_steps(steps, mask, threshold=0.4)
    shaped = {
        "clip": clipped,
        "delta": delta_steps(steps, mask, terminal="keep"),
        "clip_delta": delta_steps(clipped, mask, terminal="keep"),
    }
    for name in TOTALS:
        got = total_of(name, threshold=0.4)(steps[0].tolist())
        if name == "last":
            expected = steps[0, -1]
        elif name in shaped:
            expected = step_returns(shaped[name], mask)[0, 0]
        else:
            expected = RETURNS[name](steps, mask)[0, 0]
        assert got == pytest.approx(float(expected))


def test_an_unknown_total_names_the_known_ones():
    with pytest.raises(ValueError, match="audit: aggregate is 'product', which is not one of 'sum', 'mean', 'min'"):
        padding_probe(prm, chains(1), aggregate="product", workers=0)


# --- padding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregate", ["sum", "mean", "min", "max", "last", "clip", "delta", "clip_delta"])
def test_the_probe_is_the_change_of_the_total_per_inserted_step(aggregate):
    """Every filler and number, inserted before the last step by hand; the best by its lower bound is at least them."""
    rows, total = chains(12), total_of(aggregate)
    padding = padding_probe(prm, rows, aggregate=aggregate, workers=0)
    means = {}
    for filler, inserted in itertools.product(FILLERS, INSERTED):
        gains = []
        for row in rows:
            steps = row.columns["completions"]
            more = steps[:-1] + [filler.replace("{step}", steps[-2])] * inserted + steps[-1:]
            gains.append((total([level(s) for s in more]) - total([level(s) for s in steps])) / inserted)
        means[filler, inserted] = sum(gains) / len(gains)
    assert padding.gain == pytest.approx(means[padding.filler, padding.inserted])
    assert padding.low <= padding.gain <= padding.high
    assert padding.n == 12


@pytest.mark.slow
def test_padding_pays_under_the_raw_sum_and_under_no_bounded_total():
    gains = {name: padding_probe(prm, chains(), aggregate=name, workers=0) for name in TOTALS}
    assert gains["sum"].low > 0.5
    for name in ("min", "clip", "delta", "clip_delta", "last"):
        assert gains[name].high <= 1e-12, name


def test_chains_of_one_step_are_padded_behind_it_and_unscored_ones_left_out():
    def partly(steps, **columns):
        return [[None if step == "?" else 1.0 for step in chain] for chain in steps]

    rows = [Row("p", "One step."), Row("p", "?"), Row("p", "")]
    padding = padding_probe(partly, rows, workers=0)
    assert (padding.n, padding.gain) == (1, 1.0)
    assert sorted(padding.changes, key=str) == [1.0, None]


def test_a_total_of_ones_own_is_taken_as_it_is():
    assert padding_probe(prm, chains(8), aggregate=lambda scores: float(len(scores)), workers=0).gain == 1.0


# --- one step at a time ------------------------------------------------------------------------------------------


def test_a_step_is_scored_as_the_last_of_its_prefix_or_by_its_index():
    def place(steps, **columns):
        return [[10.0 * len(chain) + k for k in range(len(chain))] for chain in steps]

    row = Row("p", None, {"completions": ["a", "b", "c"], "labels": [1, 1, 0]})
    rows = [with_steps(row, ["a", "b"]), with_steps(row, ["a", "b", "c"], 0)]
    assert [s.reward for s in score(process_target(as_target(place)), rows, workers=0)] == [21.0, 30.0]
    assert rows[0].text == "a\n\nb"
    assert "labels" not in rows[0].columns  # they are the answer


def test_columns_are_bound_as_for_any_reward_and_async_ones_awaited():
    async def late(steps, solution):
        return [[float(step == key) for step in chain] for chain, key in zip(steps, solution, strict=True)]

    row = with_steps(Row("p", None, {"answer": "b"}), ["a", "b"])
    assert [s.reward for s in score(process_target(as_target(late)), [row], workers=0)] == [1.0]


def test_one_number_per_row_is_refused_with_what_to_return():
    with pytest.raises(TypeError, match="returned float for row 0, but a process reward returns one number"):
        StepScore(lambda steps: [0.5])(steps=[["a", "b"]])
    with pytest.raises(ValueError, match=r"returned 1 scores for 2 steps of row 0\. Return one number or None"):
        StepScore(lambda steps: [[0.5]])(steps=[["a", "b"]])
    assert StepScore(lambda steps: [None])(steps=[["a", "b"]]) == [None]


def test_tensors_of_scores_are_read_as_lists():
    def tensor(steps, **columns):
        return torch.tensor([[0.25] * len(chain) for chain in steps])

    assert StepScore(tensor)(steps=[["a", "b"]]) == [0.25]


def test_steps_come_from_columns_or_from_blank_lines():
    assert steps_of(Row("p", "a\n\nb", {"steps": ["c"]})) == ["c"]
    assert steps_of(Row("p", "a\n\nb", {"steps": 3})) == ["a", "b"]
    assert steps_of(Row("p")) == []


# --- the audit ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_ordinary_reward_that_reads_a_column_named_steps_stays_one():
    def within_steps(completions, steps, answer):
        return [float(s < 9) * right for s, right in zip(steps, exact_number(completions, answer=answer), strict=True)]

    rows = [Row(f"Add {k} and 700.", f"{k + 700}", {"answer": str(k + 700), "steps": 3}) for k in range(611, 631)]
    assert takes_steps(as_target(within_steps))
    report = audit(within_steps, rows, workers=0, budget=1200)
    assert report.contract == "trl"
    assert report.at_least("medium") == ()


@pytest.mark.slow
def test_what_returns_lists_is_a_process_reward_and_so_is_what_is_given_a_total():
    assert audit(prm, chains(), workers=0).contract == "process"
    assert (
        audit(lambda completions: [[1.0]] * len(completions), chains(), workers=0, aggregate="min").contract
        == "process"
    )


@pytest.mark.slow
def test_padding_is_a_fault_of_the_sum_and_of_no_bounded_use():
    assert {f.probe for f in audit(prm, chains(), workers=0).at_least("medium")} == {"padding"}
    for aggregate in ("min", "clip", "delta", "clip_delta"):
        assert audit(prm, chains(), workers=0, aggregate=aggregate).at_least("medium") == ()
    assert audit(centered, chains(), workers=0).at_least("medium") == ()


@pytest.mark.slow
def test_a_score_that_depends_on_later_steps_is_a_fault():
    def foresees(steps, **columns):
        return [[level(step) - 0.4 * (k + 1 < len(chain)) for k, step in enumerate(chain)] for chain in steps]

    named = {f.probe for f in audit(foresees, chains(), workers=0, aggregate="min").at_least("medium")}
    assert named == {"prefix_consistency"}


@pytest.mark.slow
def test_scores_that_change_from_call_to_call_are_a_fault():
    count = itertools.count()

    def drifts(steps, **columns):
        return [[level(step) * (0.8 + 0.1 * (next(count) % 3)) for step in chain] for chain in steps]

    assert "step_determinism" in {
        f.probe for f in audit(drifts, chains(), workers=0, aggregate="min").at_least("medium")
    }


@pytest.mark.slow
def test_a_reward_blind_to_wrong_steps_is_a_fault_and_a_good_one_finds_them_all():
    def blind(steps, **columns):
        return [[0.5 + 0.4 * (hash_of(step) % 97) / 97 for step in chain] for chain in steps]

    (poor,) = found(audit(blind, chains(120), workers=0, aggregate="min"), "first_error")
    assert poor.severity in ("medium", "high")
    (good,) = found(audit(prm, chains(120), workers=0, aggregate="min"), "first_error")
    assert (good.value, good.severity) == (1.0, "info")
    (fixed,) = found(audit(prm, chains(120), workers=0, aggregate="min", threshold=0.95), "first_error")
    assert fixed.value < 0.5  # every right sum is called wrong, too


def hash_of(text):
    return sum(ord(c) * 31**k for k, c in enumerate(text)) % 1009


@pytest.mark.slow
def test_right_answers_with_a_wrong_step_that_pass_are_counted():
    gold = {"gold": lambda wrong, rng: 1.0}
    (caught,) = found(audit(prm, chains(80, **gold), workers=0, aggregate="min"), "undetected_flaws")
    assert (caught.value, caught.severity) == (0.0, "info")
    (passed,) = found(audit(prm, chains(80, **gold), workers=0, aggregate="min", threshold=0.05), "undetected_flaws")
    assert (passed.value, passed.severity) == (1.0, "medium")
    wrong = sum(False in row.columns["labels"] for row in chains(80, **gold))
    assert passed.n == wrong


@pytest.mark.slow
def test_scores_of_the_wrong_number_are_failures_of_a_process_reward():
    def short(steps, **columns):
        return [[level(step) for step in chain[1:]] for chain in steps]

    report = audit(short, chains(), workers=0)
    assert report.contract == "process"
    assert "failures" in {f.probe for f in report.at_least("medium")}


def test_without_steps_there_is_nothing_to_score():
    with pytest.raises(RowsError, match=r"scores steps, but none of the 1 rows has any\. Give `steps` or"):
        audit(prm, [Row("p")], workers=0, aggregate="sum")


@pytest.mark.slow
def test_questions_that_the_rows_cannot_answer_are_not_run():
    bare = [Row("p", "\n\n".join(row.columns["completions"])) for row in chains(20)]
    notes = {check.probe: check.note for check in audit(prm, bare, workers=0).checks if check.status == "not run"}
    assert notes == {
        "first_error": "the rows have no step labels",
        "undetected_flaws": "no right answer is labeled flawed",
    }


def test_a_reward_without_a_known_signature_is_still_refused():
    with pytest.raises(TargetError, match="which is no reward signature we know"):
        as_target(lambda x: 1.0)
