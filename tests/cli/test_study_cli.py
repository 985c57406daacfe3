"""`rewardsmith study` on scores, on systems, on rewards that it runs, and on the world."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import typer
from scipy import stats
from typer.testing import CliRunner

from rewardsmith.benchmarks.study import zoo_from
from rewardsmith.cli.study import study_command
from rewardsmith.errors import RowsError
from rewardsmith.measures import best_of_n_curve, downstream_study, objective_mismatch_report
from rewardsmith.measures.best_of_n import tilted_curve
from rewardsmith.measures.downstream import optimized_gold
from rewardsmith.worlds import reward_zoo

pytestmark = pytest.mark.slow


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(study_command)

    def run(*arguments, code=0):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, done.output
        return done

    return run


def zoo(n_rewards=9, n_prompts=12, n_candidates=6):
    """Rewards of growing quality, and a benchmark that nearly orders them."""
    rng = np.random.default_rng(0)
    gold = (rng.random((n_prompts, n_candidates)) < 0.4).astype(float)
    quality = np.linspace(0.0, 2.0, n_rewards)
    rewards = rng.normal(size=(n_rewards, n_prompts, n_candidates)) + quality[:, None, None] * gold
    return quality + 0.2 * rng.normal(size=n_rewards), rewards, gold


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_the_study_is_the_correlation_of_the_benchmark_with_best_of_n_and_with_the_tilted_policy():
    bench, rewards, gold = zoo()
    found = downstream_study({"mine": bench}, rewards, gold, n=4, kl=0.5)
    best = [best_of_n_curve(own, gold, n=[4]).gold.mean[0] for own in rewards]
    tilted = [tilted_curve(own, gold, kl=[0.5], least_effective=1).gold.mean[0] for own in rewards]
    assert found.optimized.best_of_n == pytest.approx(best)
    assert found.optimized.tilted == pytest.approx(tilted)
    assert found.best_of_n["mine"].pearson.value == pytest.approx(stats.pearsonr(bench, best)[0])
    assert found.tilted["mine"].spearman.value == pytest.approx(stats.spearmanr(bench, tilted)[0])


def test_a_reward_gains_nothing_by_leaving_wrong_completions_unscored():
    gold = [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]
    flat = np.zeros((2, 4))
    shy = np.where(np.arange(8).reshape(2, 4) == 1, np.nan, flat)  # abstains from one wrong completion
    found = optimized_gold([flat, shy, flat * np.nan], gold, n=2, kl=0.1)
    # By equal scores the best of two is any of those that all score: 2 of 3, and 2 of 4.
    assert found.best_of_n[:2] == pytest.approx([(2 / 3 + 1 / 2) / 2] * 2)
    assert np.isnan(found.best_of_n[2])


def test_a_kl_that_the_completions_cannot_reach_is_unknown():
    assert np.isnan(optimized_gold(np.ones((2, 3, 4)), np.eye(4)[:3], n=2, kl=1.0).tilted).all()


def test_both_forms_of_a_file_hold_the_same_zoo_and_the_command_draws_it(command, tmp_path):
    bench, rewards, gold = zoo()
    whole = [{"reward": f"r{m}", "benchmark": {"mine": b}, "scores": rewards[m].tolist()} for m, b in enumerate(bench)]
    whole[0]["gold"] = gold.tolist()
    rows = [
        {
            "reward": f"r{m}",
            "benchmark": bench[m],
            "prompt": f"p{p}",
            "completion": k,
            "score": s,
            "gold": gold[p, k],
        }
        for (m, p, k), s in reversed(list(np.ndenumerate(rewards)))
    ]
    rows.sort(key=lambda row: (row["reward"], int(row["prompt"][1:])))  # candidates stay in reversed order
    first, second = zoo_from(whole), zoo_from(rows)
    assert (first.rewards == second.rewards).all()
    assert (first.gold == second.gold).all()
    out = tmp_path / "out"
    done = command(jsonl(tmp_path / "zoo.jsonl", whole), "--n", 4, "--kl", 0.5, "--out", out)
    assert "9 rewards, best of 4 and KL 0.5" in done.stdout
    assert "<svg" in (out / "study.svg").read_text()
    expected = downstream_study({"mine": bench}, rewards, gold, n=4, kl=0.5)
    saved = json.loads((out / "study.json").read_text())
    assert saved["best_of_n"]["mine"]["pearson"]["value"] == pytest.approx(expected.best_of_n["mine"].pearson.value)
    header, *lines = [",".join(map(str, row.values())) for row in [dict(zip(rows[0], rows[0], strict=True)), *rows]]
    (tmp_path / "zoo.csv").write_text("\n".join([header, *lines]) + "\n")
    same = json.loads(command(tmp_path / "zoo.csv", "--n", 4, "--kl", 0.5, "--json").stdout)
    assert same["optimized"]["best_of_n"] == pytest.approx(saved["optimized"]["best_of_n"])


def test_rewards_are_run_on_a_benchmark_and_on_completions(command, tmp_path):
    names = [f"count_{letter}" for letter in "abcdefgh"]
    body = "(completions):\n    return [float(c.count('{}')) for c in completions]\n"
    code = "".join(f"def {name}{body.format(name[-1])}" for name in names)
    (tmp_path / "letter_rewards.py").write_text(code)
    chosen = ("a", "ab", "abc")
    pairs = [{"prompt": f"Q{c}", "chosen": c, "rejected": "h", "subset": "hep-go", "id": c} for c in chosen]
    texts = ("ab", "cd", "hga", "ef")
    pool = [{"prompt": f"P{p}", "completion": t, "gold": float("a" in t)} for p in range(4) for t in texts]
    rewards = [part for name in names for part in ("--reward", f"{tmp_path / 'letter_rewards.py'}:{name}")]
    source, items = jsonl(tmp_path / "pool.jsonl", pool), jsonl(tmp_path / "pairs.jsonl", pairs)
    done = command(source, *rewards, "--items", items, "--n", 2, "--kl", 0.1, "--workers", 0, "--json")
    found = json.loads(done.stdout)
    assert found["benchmarks"]["rewardbench"] == pytest.approx([1.0, 2 / 3, 1 / 3, 0, 0, 0, 0, 0])
    # best of 2 by the letter a: 1 unless both lack it (1 of 6 pairs); by e: 0 in 3 of 6 pairs, else ⅔ of the others
    assert found["optimized"]["best_of_n"][0] == pytest.approx(5 / 6)
    assert "--reward needs --items" in command(source, *rewards, code=2).stderr


def systems(n=12):
    rng = np.random.default_rng(1)
    kl, accuracy = rng.random(n), rng.random(n)
    rows = {"rm_val_acc": accuracy, "rm_gold_acc": -accuracy + 0.1 * rng.random(n), "kl": kl}
    rows |= {"proxy_gain": rng.random(n), "gold_gain": 0.3 * kl - accuracy, "bench": rng.random(n)}
    return [{"name": f"s{k}", **{name: float(column[k]) for name, column in rows.items()}} for k in range(n)]


def test_the_report_has_three_links_and_their_spread():
    rows = systems()
    found = objective_mismatch_report(rows)
    ends = ("gold_gain", "bench")
    assert {link: list(pairs) for link, pairs in found.links.items()} == {
        "reward model → policy": ["rm_val_acc → proxy_gain", "rm_gold_acc → proxy_gain"],
        "reward model → evaluation": [f"{name} → {end}" for name in ("rm_val_acc", "rm_gold_acc") for end in ends],
        "policy → evaluation": [f"proxy_gain → {end}" for end in ends],
    }
    link = found.links["reward model → evaluation"]["rm_val_acc → gold_gain"]
    columns = {name: [row[name] for row in rows] for name in ("rm_val_acc", "gold_gain", "kl")}
    assert link.pearson.value == pytest.approx(stats.pearsonr(columns["rm_val_acc"], columns["gold_gain"])[0])
    assert link.partial.value == pytest.approx(-1.0)  # gold is .3 kl − accuracy
    assert found.spread["kl"] == pytest.approx((min(columns["kl"]), np.mean(columns["kl"]), max(columns["kl"])))
    assert "reward model → evaluation: rm_val_acc → gold_gain: one falls as the other rises." in found.verdicts()
    assert "spread (least, mean, most)" in found.as_text()


def test_a_shuffled_order_of_systems_leaves_no_link_and_rewards_are_standardized():
    rows = systems(60)
    order = np.random.default_rng(2).permutation(60)
    mixed = [{**row, "gold_gain": rows[k]["gold_gain"]} for row, k in zip(rows, order, strict=True)]
    link = objective_mismatch_report(mixed).links["reward model → evaluation"]["rm_val_acc → gold_gain"]
    assert abs(link.pearson.value) < 0.3
    units = {"proxy_gain": None, "reference_mean": 5, "reference_std": 3}
    raw = [{**row, **units, "proxy_reward": 5 + 3 * row["proxy_gain"]} for row in rows]
    both = [objective_mismatch_report(given).links["policy → evaluation"] for given in (rows, raw)]
    assert both[0]["proxy_gain → bench"].pearson.value == pytest.approx(both[1]["proxy_gain → bench"].pearson.value)


def test_the_command_reads_systems(command, tmp_path):
    path = jsonl(tmp_path / "systems.jsonl", systems())
    assert "policy → evaluation" in command(path).stdout
    assert json.loads(command(path, "--json").stdout)["n"] == 12
    few = jsonl(tmp_path / "few.jsonl", systems(7))
    assert "got 7 systems, and a correlation over fewer than 8" in command(few, code=2).stderr
    lone = [{"name": k, "kl": k} for k in range(9)]
    assert "no two linked quantities" in command(jsonl(tmp_path / "lone.jsonl", lone), code=2).stderr


def scored(name, **gold):
    return [{"reward": name, "prompt": "p", "completion": c, "score": g, "gold": g} for c, g in gold.items()]


def test_gold_that_is_known_for_other_completions_in_each_record_is_joined():
    parts = [
        {"reward": name, "scores": [[1.0, 2.0]], "gold": [gold]} for name, gold in (("a", [0, None]), ("b", [0, 1]))
    ]
    assert zoo_from(parts).gold.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"reward": "a", "scores": [[1.0]]}], "no record has `gold`"),
        (
            [{"reward": "a", "scores": [[1.0]], "gold": [[1.0, 0.0]]}],
            "a has 1 completions of 1 prompts, but the first gold has 2 of 1",
        ),
        ([{"reward": "a", "score": 1.0}], "the first record lacks prompt"),
        ([], "there are no records"),
        ([{"reward": "a", "scores": [1.0], "gold": [1.0]}], "scores or gold of a are no list with a list per prompt"),
        ([{"reward": "a", "scores": [["high"]], "gold": [[1.0]]}], "'high' is no number"),
        (
            [
                {"reward": name, "scores": [[1.0, 2.0]], "gold": gold}
                for name, gold in (("a", [[0, 1]]), ("b", [[1, 0]]))
            ],
            "the gold of b is not that of the others",
        ),
        # Sorted by their texts, the completions of b would be taken for those of a.
        (scored("a", x=0, y=1) + scored("b", z=0, w=1), "b scored other completions than a"),
        ([*scored("a", x=0), *scored("b", x=0), {**scored("b", x=0)[0], "prompt": "q"}], "or other prompts"),
        ([{**row, "benchmark": k} for k, row in enumerate(scored("a", x=0, y=1))], "a has two values of `benchmark`"),
    ],
)
def test_a_zoo_that_does_not_fit_together_is_refused(records, message):
    with pytest.raises(RowsError, match=message):
        zoo_from(records)


def test_few_rewards_are_refused(command, tmp_path):
    bench, rewards, gold = zoo(n_rewards=7)
    given = enumerate(zip(bench, rewards.tolist(), strict=True))
    whole = [{"reward": str(m), "benchmark": b, "scores": r, "gold": gold.tolist()} for m, (b, r) in given]
    assert "7 units are known" in command(jsonl(tmp_path / "zoo.jsonl", whole), "--n", 2, code=2).stderr


def test_the_world_is_a_zoo(command, monkeypatch):
    few = partial(reward_zoo.sampled_zoo, n_models=8, n_prompts=12, n_candidates=16)
    monkeypatch.setattr(reward_zoo, "sampled_zoo", few)
    found = json.loads(command("zoo", "--json", "--seed", 1).stdout)
    assert len(found["rewards"]) == 8
    assert set(found["best_of_n"]) == {"same style", "mismatched style"}
    assert found["best_of_n"]["same style"]["pearson"]["value"] > 0.5
