"""Scales, dominance and missing scores of several sources, against slow loops and the transforms themselves."""

from __future__ import annotations

import io
import math
import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from rewardsmith.auditing import audit, render_text
from rewardsmith.auditing.asking import Outcome
from rewardsmith.auditing.source_baseline import source_baseline
from rewardsmith.auditing.subjects.sources import N_QUESTIONS, PROBES
from rewardsmith.data import Row
from rewardsmith.errors import RowsError, TargetError
from rewardsmith.measures.intervals import family_alpha
from rewardsmith.measures.source_scales import combined_table, source_dominance, source_scales, weighted_table
from rewardsmith.recipes import Recipe, source
from rewardsmith.scoring import SourceSet, as_sources
from rewardsmith.transforms import normalize_sources, weighted_sum

NAMES = ("a", "b", "c")


def scores(seed, *, missing=0.2, groups=6, size=4):
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(groups * size, 3)) * [1.0, 5.0, 0.1] + rng.normal(size=(groups, 1, 3)).repeat(
        size, axis=1
    ).reshape(-1, 3)
    rewards[rng.random(rewards.shape) < missing] = math.nan
    return rewards, np.repeat(np.arange(groups), size)


def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(5))
def test_parts_add_up_to_the_weighted_sum_with_missing_sources(seed):
    rewards, groups = scores(seed)
    rewards[0] = math.nan
    weights = np.array([0.5, -2.0, 0.0])
    table = weighted_table(NAMES, weights, rewards, groups)
    expected = weighted_sum(torch.from_numpy(rewards), weights=weights.tolist()).numpy()
    np.testing.assert_allclose(table.total, expected, rtol=1e-12)
    scored = ~np.isnan(expected)
    np.testing.assert_allclose(table.parts.sum(axis=1)[scored], expected[scored], rtol=1e-12)
    assert table.used.tolist() == [True, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_scales_are_pooled_deviations_over_the_groups_that_differ(seed):
    rewards, groups = scores(seed)
    rewards[groups == 2, 0] = 7.0
    found = source_scales(rewards, groups, generator=generator())
    for k in range(3):
        squares = freedom = live = judged = 0.0
        for g in range(6):
            values = [v for v in rewards[groups == g, k] if not math.isnan(v)]
            judged += len(values) > 1
            if len(values) > 1 and max(values) > min(values):
                live += 1
                squares += sum((v - sum(values) / len(values)) ** 2 for v in values)
                freedom += len(values) - 1
        assert found.std[k] == pytest.approx(math.sqrt(squares / freedom))
        assert found.alive[k] == pytest.approx(live / judged)


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_the_variance_are_covariances_within_groups_and_add_up_to_one(seed):
    rewards, groups = scores(seed, missing=0.0)
    weights = np.array([1.0, 0.3, -2.0])
    found = source_dominance(weighted_table(NAMES, weights, rewards, groups), generator=generator())
    cross, variance = np.zeros(3), 0.0
    for g in range(6):
        parts = rewards[groups == g] * weights
        total = parts.sum(axis=1)
        cross += [np.cov(parts[:, k], total)[0, 1] for k in range(3)]
        variance += np.var(total, ddof=1)
    np.testing.assert_allclose(found.share, cross / variance, rtol=1e-9)
    assert found.share.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_holding_a_source_at_its_mean_tells_of_a_sum_what_its_weights_tell(seed):
    rewards, groups = scores(seed, missing=0.0)
    weights = np.array([1.0, 0.3, -2.0])
    by_weight = source_dominance(weighted_table(NAMES, weights, rewards, groups), generator=generator())
    by_loss = source_dominance(combined_table(NAMES, rewards, groups, lambda r: r @ weights), generator=generator())
    np.testing.assert_allclose(by_loss.share, by_weight.share, rtol=1e-9)


def judge_sources(table, rows):
    baseline = source_baseline(table, rows, alpha=family_alpha(N_QUESTIONS))
    answers = [probe.ask(baseline) for probe in PROBES]
    return [finding for answer in answers for finding in (answer.findings if isinstance(answer, Outcome) else [answer])]


def rows_of(groups):
    return [Row(f"p{g}", f"text {i}") for i, g in enumerate(groups)]


def severities(table):
    return {f.probe: f.severity for f in judge_sources(table, rows_of(table.groups))}


def scaled(*factors, groups=24, size=8, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(groups * size, len(factors))) * factors, np.repeat(np.arange(groups), size)


def test_sources_of_very_different_scales_are_a_fault_unless_weights_even_them_out_or_were_meant_so():
    wide, groups = scaled(1.0, 50.0, 1.0)
    even, _ = scaled(1.0, 1.0, 1.0)
    table = partial(weighted_table, NAMES, groups=groups)
    assert severities(table(rewards=wide, weights=np.ones(3))) == {"source_scale": "medium", "source_dominance": "high"}
    for rewards, weights in ((wide, (1, 0.02, 1)), (even, (1, 1, 1)), (even, (1, 0.02, 1))):
        found = severities(table(rewards=rewards, weights=np.array(weights)))
        assert set(found.values()) == {"info"}


def test_normalizing_sources_mends_their_scales():
    wide, groups = scaled(1.0, 50.0, 1.0)

    def normalized(rewards):
        return weighted_sum(normalize_sources(torch.from_numpy(rewards), group_size=8)).numpy()

    assert set(severities(combined_table(NAMES, wide, groups, normalized)).values()) == {"info"}
    added = combined_table(NAMES, wide, groups, lambda rewards: rewards.sum(axis=1))
    assert severities(added)["source_dominance"] == "high"


def test_a_format_that_nearly_all_keep_is_not_crushed_by_correctness():
    """Three in a hundred break it: its variance is small because it is satisfied, not because of its scale."""
    rng = np.random.default_rng(3)
    rewards = np.stack([rng.random(960) < 0.5, rng.random(960) < 0.97], axis=1).astype(float)
    table = weighted_table(("right", "format"), np.ones(2), rewards, np.repeat(np.arange(60), 16))
    found = severities(table)
    assert found["source_dominance"] == found["source_scale"] == "info"


def test_sources_that_never_differ_within_a_group_are_named():
    rewards, groups = scaled(1.0, 1.0)
    rewards[:, 1] = 0.0
    (dead,) = [f for f in judge_sources(weighted_table(("a", "b"), np.ones(2), rewards, groups), rows_of(groups))
               if f.probe == "dead_source"]  # fmt: skip
    assert (dead.severity, dead.message) == ("low", "Source 'b' is always 0, so it carries no signal here.")
    logged = weighted_table(("a", "b"), np.array([1.0, 0.0]), rewards, groups)
    assert "dead_source" not in severities(logged)


def test_losing_a_source_is_a_fault_where_it_pays_and_none_where_it_is_the_prompts_doing():
    rewards, groups = scaled(0.3, 0.3)
    rewards[:, 1] += 1.0  # the other source pays well, so a row judged by it alone gains
    by_choice = rewards.copy()
    by_choice[::8, 0] = math.nan
    assert severities(weighted_table(("a", "b"), np.ones(2), by_choice, groups))["missing_source"] == "high"
    by_prompt = rewards.copy()
    by_prompt[groups % 2 == 0, 0] = math.nan
    assert severities(weighted_table(("a", "b"), np.ones(2), by_prompt, groups))["missing_source"] == "info"
    paid_less = rewards.copy()
    paid_less[::8, 1] = math.nan
    assert severities(weighted_table(("a", "b"), np.ones(2), paid_less, groups))["missing_source"] in ("info", "low")


def test_a_source_without_any_score_is_a_fault():
    rewards, groups = scaled(1.0, 1.0)
    rewards[:, 1] = math.nan
    assert severities(weighted_table(("a", "b"), np.ones(2), rewards, groups))["missing_source"] == "medium"


# --- rewards -----------------------------------------------------------------------------------------------------


def words(completions, **columns):
    return [float(len(text.split())) for text in completions]


def shouted(prompt, completion):
    return float(completion.isupper())


def chatter(groups=12, size=6):
    rng = random.Random(5)
    texts = [" ".join(["well"] * rng.randint(1, 40)) for _ in range(groups * size)]
    return [Row(f"p{i // size}", t.upper() if rng.random() < 0.5 else t) for i, t in enumerate(texts)]


def test_a_mapping_and_an_object_with_sources_and_weights_are_audited_as_sources():
    flawed = audit({"words": words, "shouted": shouted}, chatter(), workers=0)
    assert flawed.contract == "sources"
    assert {f.probe for f in flawed.at_least("medium")} >= {"source_dominance"}
    mended = SimpleNamespace(sources={"words": words, "shouted": shouted}, weights=[0.05, 1.0])
    assert audit(mended, chatter(), workers=0).at_least("medium") == ()


@pytest.mark.slow
def test_a_recipe_is_judged_by_what_it_makes_of_its_sources():
    added, evened = Recipe(source(words) + source(shouted_rows)), Recipe(0.05 * source(words) + source(shouted_rows))
    assert {f.probe for f in audit(added, chatter(), workers=0).at_least("medium")} >= {"source_dominance"}
    assert audit(evened, chatter(), workers=0).at_least("medium") == ()
    assert audit(evened, [Row("Say something.")], workers=0, budget=1200).contract == "trl"


def shouted_rows(completions, **columns):
    return [float(text.isupper()) for text in completions]


@pytest.mark.slow
def test_sources_may_have_any_name_and_none_becomes_a_path(tmp_path):
    names = ["../../x", "a/b", "n" * 300, "\x1b[31m", ""]
    report = audit(dict.fromkeys(names, words), chatter(), out=tmp_path / "out", workers=0)
    assert report.n_rows == 72
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {f"journal-2-{'n' * 40}.jsonl", "journal-4-.jsonl"}


def test_an_exception_in_one_source_is_reported_under_its_name():
    def raises(completions, **columns):
        raise RuntimeError("no grader today")

    report = audit({"words": words, "grader": raises}, chatter(), workers=0)
    assert any(f.probe == "failures" and f.message.startswith("Source 'grader': ") for f in report.at_least("medium"))
    different = {(row.prompt, row.completion) for row in chatter()}  # each is sent once
    assert report.unscored == {"exception": len(different)}


@pytest.mark.parametrize("rows", [[Row("p")], [Row("p", "x"), Row("q", "y")]])
def test_sources_need_several_completions_of_a_prompt(rows):
    with pytest.raises(
        RowsError, match=r"no prompt of the \d rows has two\. Give rows with a .* audit one source: sources\[words\]"
    ):
        audit({"words": words, "shouted": shouted}, rows, workers=0)


def test_an_audit_of_sources_says_that_each_was_not_audited_by_itself():
    report = audit({"words": words, "shouted": shouted}, chatter(), workers=0)
    (check,) = (check for check in report.checks if check.probe == "each_source")
    assert check.status == "not run"
    assert "audit sources[words], and so on" in check.note
    console = Console(width=200, file=io.StringIO())
    render_text(report, console)
    assert f"not run: each_source: {check.note}" in console.file.getvalue()


def test_a_recipe_that_sees_groups_needs_groups_of_one_size():
    uneven = [*chatter(), Row("p0", "one more")]
    with pytest.raises(RowsError, match=r"have 6 to 7 completions\. Give every prompt as many"):
        audit(SimpleNamespace(sources={"words": words}, transform=lambda r: r[:, 0]), uneven, workers=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"the weights None do not fit the sources \[\]"),
        (SimpleNamespace(sources={"a": words}, weights=[1, 2]), r"the weights \[1, 2\] do not fit the sources \['a'\]"),
        (SimpleNamespace(sources={"a": words}, weights={"b": 1}), "do not fit the .*Give at least one source, and one"),
        ({"a": 3}, "source 'a' of sources is no reward: as_target: 3 is a int, not"),
    ],
)
def test_sources_that_cannot_be_read_say_why(given, message):
    with pytest.raises(TargetError, match=message):
        as_sources(given)


def test_what_has_no_sources_is_no_set_of_them():
    assert as_sources(words) is None
    assert isinstance(as_sources(SourceSet("s", {}, {})), SourceSet)
