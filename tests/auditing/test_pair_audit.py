"""The audit of a reward on preference pairs, question by question and as a whole."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from rich.console import Console
from tests.auditing.pair_worlds import (
    baseline_and_rounds,
    blind,
    contextual_pairs,
    in_its_context,
    noise,
    outcome_of,
    pairs,
    quality,
    sound,
    worst_of,
)
from typer.testing import CliRunner

from rewardsmith.auditing import audit, audit_pairs, render_html, render_text, report_schema
from rewardsmith.auditing.pair_baseline import Form, drawn, takes_context, with_conduct
from rewardsmith.auditing.probes.accuracy import accuracy
from rewardsmith.auditing.probes.conduct import batch_dependence, determinism
from rewardsmith.auditing.probes.cues import CUES, cues
from rewardsmith.auditing.probes.reading import context, prompt
from rewardsmith.auditing.render.write import strict_json
from rewardsmith.cli import app
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.errors import RowsError, TargetError
from rewardsmith.rewards import ContextualReward
from rewardsmith.scoring import Scorer, as_target


def negated(prompt, completion):
    return -sound(prompt, completion)


def one_and_the_same(prompt, completion):
    return 3.0


@pytest.mark.parametrize(
    ("reward", "severity", "words"),
    [
        (noise, "high", "no better than chance"),
        (negated, "critical", "its sign is probably flipped"),
        (one_and_the_same, "critical", "the same score, 3"),
        (sound, "info", "pairs correctly"),
    ],
)
def test_accuracy_names_what_a_reward_ranks(reward, severity, words):
    finding = worst_of(outcome_of(accuracy, reward, pairs(300)))
    assert finding.severity == severity
    assert words in finding.message


def test_accuracy_counts_equal_scores_half():
    def says_little(prompt, completion):
        return float(quality(completion) > 0)

    rows = pairs(200)
    finding = outcome_of(accuracy, says_little, rows).findings[0]
    signs = [np.sign(says_little("", row.chosen) - says_little("", row.rejected)) for row in rows]
    assert finding.value == pytest.approx(np.mean([(sign + 1) / 2 for sign in signs]))
    assert f"{signs.count(0)} pairs are ties" in finding.message


def test_copies_of_one_prompt_are_no_independent_pairs():
    rows = pairs(60)
    alone = outcome_of(accuracy, sound, rows).findings[0]
    copied = outcome_of(accuracy, sound, rows * 4).findings[0]
    assert copied.interval == pytest.approx(alone.interval, abs=0.01)


def test_few_pairs_are_not_judged():
    assert worst_of(outcome_of(accuracy, noise, pairs(20))).severity == "info"


def test_a_weak_source_is_named():
    def weak_on_b(prompts, completions, of=(), **columns):
        return [noise(p, c) if b == "b" else sound(p, c) for p, c, b in zip(prompts, completions, of, strict=True)]

    rows = [replace(row, columns={"of": row.source}) for row in pairs(400)]
    found = [f for f in outcome_of(accuracy, weak_on_b, rows).findings if f.severity == "medium"]
    assert [("'b'" in f.message, f.n) for f in found] == [(True, sum(row.source == "b" for row in rows))]


@pytest.mark.slow
def test_an_ignored_prompt_is_found_and_a_read_one_is_not():
    ignoring, reading = (worst_of(outcome_of(prompt, reward, pairs(300))) for reward in (blind, sound))
    assert (ignoring.severity, reading.severity) == ("high", "info")
    assert ignoring.interval[0] <= 0.5 <= ignoring.interval[1]
    # an answer passes where the topics are equal and its quality is less: in half of one in eight cases
    assert reading.interval[0] <= 1 - 1 / 16 <= reading.interval[1]


def test_labels_that_hold_under_any_prompt_are_no_sign_of_an_ignored_prompt():
    finding = worst_of(outcome_of(prompt, sound, pairs(300)))
    assert "With exchanged prompts its accuracy is" in finding.message
    assert finding.severity == "info"


def test_a_reward_at_chance_is_not_asked_about_prompts():
    assert "not shown to be better than chance" in outcome_of(prompt, noise, pairs(200)).not_run
    assert "fewer than 30 pairs" in outcome_of(prompt, sound, pairs(10)).not_run


@pytest.mark.slow
@pytest.mark.parametrize("reversals", [False, True])
def test_an_ignored_context_is_found_and_a_read_one_is_not(reversals):
    rows = contextual_pairs(200, reversals=reversals)

    def long(prompt, completion):
        return float(len(completion))

    ignoring, reading = (worst_of(outcome_of(context, reward, rows)) for reward in (long, in_its_context))
    assert (ignoring.severity, reading.severity) == ("high", "info")
    # all right under their own context and all wrong under the other, and without one all equal
    assert (reading.value, "50% with none" in reading.message) == (1.0, True)
    assert ("label depends on the context" in ignoring.message) is reversals


def test_pairs_without_contexts_are_not_asked_about_them():
    assert outcome_of(context, sound, pairs(100)).not_run == "no row has a context"


def test_contexts_reach_a_reward_by_its_column_or_in_its_prompt():
    rows = contextual_pairs(40)

    def by_column(prompt, completion, context):
        return in_its_context(context or "", completion)

    for reward in (by_column, in_its_context, ContextualReward(as_target(in_its_context).reward)):
        assert outcome_of(accuracy, reward, rows).findings[0].value == 1.0
        finding = worst_of(outcome_of(context, reward, rows))
        assert (finding.value, "50% with none" in finding.message) == (1.0, True)
    assert takes_context(as_target(by_column))
    assert not takes_context(as_target(in_its_context))


def test_a_cue_that_decides_is_told_from_one_that_does_not():
    def by_length(prompt, completion):
        return quality(completion) / 3 + 2.0 * completion.count("lot")

    leaning, even = (outcome_of(cues, reward, pairs(400)).findings[0] for reward in (by_length, sound))
    assert (leaning.severity, even.severity) == ("low", "info")
    assert "more words" in leaning.message
    rows = pairs(400)
    longer = [row for row in rows if len(row.chosen.split()) > len(row.rejected.split())]
    shorter = [row for row in rows if len(row.chosen.split()) < len(row.rejected.split())]
    shares = [
        np.mean([by_length("", r.chosen) > by_length("", r.rejected) for r in part]) for part in (longer, shorter)
    ]
    assert leaning.value == pytest.approx(shares[0] - shares[1])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("more words", "one two three", 3),
        ("more list items", "- a\n2. b\nc - d", 2),
        ("more bold", "**a** and **b**", 2),
        ("more headings", "# A\ntext # no\n## B", 2),
        ("a stock opener", "Sure, here it is", 1),
        ("a stock opener", "It is sure", 0),
        ("a surer tone", "Definitely, but maybe not. I think.", -1),
        ("more of the prompt's words", "Name a Thing now", 0.5),
    ],
)
def test_cues_are_measured_by_hand(name, text, value):
    assert CUES[name](text, "name thing?") == value


def repeated(probe, reward, rows):
    """What a question about repeated scores says of one reward."""
    with baseline_and_rounds(reward, rows) as (baseline, rounds):
        return rounds.run(probe(rounds.run(with_conduct(baseline))))


def test_scores_that_depend_on_the_batch_or_on_luck_are_found():
    def ranks(completions, **columns):
        values = [quality(text) for text in completions]
        return [float(sorted(values).index(value)) for value in values]

    calls = Counter()

    def counts(prompt, completion):
        calls["n"] += 1
        return quality(completion) + calls["n"]

    rows = pairs(40)
    assert worst_of(repeated(batch_dependence, ranks, rows)).severity in ("medium", "high")
    assert worst_of(repeated(determinism, counts, rows)).severity in ("medium", "high")
    assert not repeated(determinism, sound, rows).findings
    assert not repeated(batch_dependence, sound, rows).findings


def test_pairs_are_drawn_from_every_source_alike_and_prompts_stay_whole():
    sizes = {"big": 300, "small": 30, "mid": 90}
    rows = [row for name, size in sizes.items() for row in pairs(size, sources=(name,))]
    rows += [replace(row, chosen=row.rejected, rejected=row.chosen) for row in rows]
    kept = drawn(rows, 240, 0)
    counts = Counter(row.source for row in kept)
    assert counts["small"] == 60
    assert {counts["big"], counts["mid"]} == {90}
    assert all(count == 2 for count in Counter((row.source, row.prompt) for row in kept).values())
    assert drawn(rows, 240, 0) == kept
    assert drawn(rows, 240, 1) != kept
    assert drawn(rows, len(rows), 0) == rows


def test_rows_go_to_the_reward_in_the_form_that_it_reads():
    def spoken(prompts, completions, **columns):
        return [sound(p[-1]["content"], c[0]["content"]) for p, c in zip(prompts, completions, strict=True)]

    rows = pairs(50)
    expected = outcome_of(accuracy, sound, rows).findings[0].value
    assert outcome_of(accuracy, spoken, rows).findings[0].value == expected
    assert outcome_of(accuracy, sound, [row.conversational() for row in rows]).findings[0].value == expected
    with Scorer(as_target(spoken), workers=0) as scorer:
        assert Form(scorer, rows).name == "conversational"


@pytest.mark.slow
def test_unscored_pairs_are_left_out_and_reported():
    def picky(prompt, completion):
        if prompt.startswith("7"):
            raise ValueError("no sevens")
        return sound(prompt, completion)

    rows = pairs(80)
    with baseline_and_rounds(picky, rows) as (baseline, _):
        assert len(baseline.rows) == sum(not row.prompt.startswith("7") for row in rows)
        assert np.isfinite(baseline.margins).all()
    report = audit_pairs(picky, rows)
    assert next(f for f in report.findings if f.probe == "failures").severity == "high"
    assert report.unscored["exception"] > 0


@pytest.mark.slow
def test_a_sound_reward_is_clean_and_its_report_renders():
    report = audit(sound, pairs(400), workers=0)
    assert report.at_least("medium") == ()
    assert {check.status for check in report.checks} <= {"clean", "not run"}
    assert (report.contract, report.kind, report.n_rows) == ("preference pairs", "function", 400)
    assert [len(scores) for scores in report.levels.values()] == [400, 400]
    jsonschema.validate(json.loads(strict_json(report.as_json())), report_schema())
    assert "chosen answers" in render_html([report])
    console = Console(record=True, width=120)
    render_text(report, console)
    assert "Clean" in console.export_text()


@pytest.mark.slow
@pytest.mark.parametrize(("reward", "probes"), [(noise, {"accuracy"}), (blind, {"prompt"})])
def test_a_faulty_reward_has_its_findings_and_no_others(reward, probes):
    report = audit(reward, pairs(400), workers=0)
    own = {
        "accuracy",
        "margin_calibration",
        "label_noise",
        "prompt",
        "context",
        "cues",
        "determinism",
        "batch_dependence",
    }
    assert {finding.probe for finding in report.at_least("medium")} & own == probes


@pytest.mark.slow
def test_the_same_seed_asks_the_same():
    first, second, other = (audit_pairs(sound, pairs(300), most_pairs=100, seed=seed) for seed in (3, 3, 4))
    assert replace(first, seconds=0.0, findings=_timeless(first)) == replace(
        second, seconds=0.0, findings=_timeless(second)
    )
    assert other.levels != first.levels


def _timeless(report):
    return tuple(finding for finding in report.findings if finding.probe != "latency")


@pytest.mark.slow
def test_a_killed_audit_goes_on_where_it_stopped(tmp_path):
    sent = Counter()
    limit = [250]

    def dies(prompts, completions, **columns):
        sent["n"] += len(prompts)
        if sent["n"] > limit[0]:
            raise KeyboardInterrupt
        return [sound(p, c) for p, c in zip(prompts, completions, strict=True)]

    rows = pairs(200)
    with pytest.raises(KeyboardInterrupt):
        audit_pairs(dies, rows, out=tmp_path)
    limit[0] = 10**9
    sent.clear()
    report = audit_pairs(dies, rows, out=tmp_path)
    whole = audit_pairs(dies, rows)
    assert report.calls == whole.calls
    assert _timeless(report) == _timeless(whole)
    again = sent["n"] - whole.calls  # what the resumed job sent
    assert report.calls - 250 <= again <= report.calls - 250 + 2 * 16


@pytest.mark.slow
def test_pool_and_gold_reach_the_baseline(monkeypatch):
    seen = []

    def kept(baseline):
        seen.append(baseline)
        return accuracy(baseline)

    monkeypatch.setattr("rewardsmith.auditing.probes.accuracy.accuracy", kept)
    rows = pairs(60)
    pool = [Row(rows[0].prompt, text, {"gold": gold}) for text, gold in (("a", 1.5), ("b", None), ("c", "x"))]
    audit(sound, rows, pool=pool, workers=0)
    assert [row.text for row in seen[0].pool] == ["a", "b", "c"]
    np.testing.assert_array_equal(seen[0].gold, [1.5, np.nan, np.nan])

    def gold(prompt, completion):
        return float(ord(completion))

    audit(sound, rows, pool=pool, gold=gold, workers=0)
    assert seen[1].gold.tolist() == [97.0, 98.0, 99.0]


def test_what_cannot_be_audited_is_refused():
    tie = PreferenceRow("p", "a", "b", is_tie=True)
    with pytest.raises(RowsError, match=r"given 1 rows, and no pair has a better answer. Give rows"):
        audit_pairs(sound, [tie])
    with pytest.raises(
        RowsError, match=r"1 of 2 rows are preference pairs and the others are not. Audit them separately"
    ):
        audit(sound, [tie, Row("p")])
    with pytest.raises(RowsError, match="pool and gold need preference pairs"):
        audit(sound, [Row("p")], pool=[Row("p", "a")])
    with pytest.raises(TargetError, match=r"has 2 sources .*and pairs need one reward. Name one"):
        audit_pairs({"one": sound, "two": blind}, pairs(5))


def test_a_reward_that_scores_nothing_is_no_clean_reward():
    def never(prompt, completion):
        return None

    report = audit_pairs(never, pairs(40))
    assert (report.verdict(), report.not_judged[:24]) == ("not judged", "no pair could be scored ")
    assert {check.status for check in report.checks} == {"not run"}


def written(folder, rows):
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row.record()) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_the_command_reads_pairs_and_judges_a_reward(tmp_path):
    code = "import re\n\ndef reward(completions, **columns):\n    return [{} for text in completions]\n"
    (tmp_path / "good.py").write_text(code.format("float(re.findall(r'-?[0-9.]+[0-9]', text)[-1])"))
    (tmp_path / "bad.py").write_text(code.format("-float(re.findall(r'-?[0-9.]+[0-9]', text)[-1])"))
    rows = written(tmp_path, pairs(150))
    arguments = [str(rows), "--json", "--workers", "0", "--fail-on", "critical"]
    good = CliRunner().invoke(app, ["audit", f"{tmp_path / 'good.py'}:reward", *arguments])
    bad = CliRunner().invoke(app, ["audit", f"{tmp_path / 'bad.py'}:reward", *arguments, "--out", str(tmp_path / "o")])
    assert (good.exit_code, bad.exit_code) == (0, 1), (good.output, bad.output)
    assert json.loads(bad.stdout)["findings"][0]["probe"] == "accuracy"
    assert json.loads((tmp_path / "o" / "report.json").read_text())["contract"] == "preference pairs"
    missing = CliRunner().invoke(app, ["audit", f"{tmp_path / 'good.py'}:reward", str(tmp_path / "none.jsonl")])
    assert missing.exit_code == 2
    assert "there is no file" in missing.stderr


def untrained(folder):
    """A tiny decoder with a random head, and a tokenizer of its characters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    signs = {sign: place for place, sign in enumerate(["<pad>", "<eos>", "<unk>", *map(chr, range(32, 127))])}
    made = Tokenizer(models.WordLevel(signs, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    words = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(words), **shape, pad_token_id=0, eos_token_id=1, num_labels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_the_command_finds_an_untrained_head_in_a_folder(tmp_path):
    folder, rng = untrained(tmp_path / "rm"), random.Random(0)
    texts = ["".join(rng.choices("abcdefgh ", k=30)) for _ in range(800)]  # nothing in them goes with the label
    rows = [PreferenceRow(f"Say {k}.", *texts[2 * k : 2 * k + 2]) for k in range(400)]
    result = CliRunner().invoke(app, ["audit", str(folder), str(written(tmp_path, rows)), "--out", str(tmp_path / "o")])
    assert result.exit_code == 1, result.output
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["kind"] == "reward model, one score"
    assert any(f["probe"] == "accuracy" and "no better than chance" in f["message"] for f in report["findings"])
