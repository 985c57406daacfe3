"""SequenceReward against the model's own logits, one row at a time."""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_models import (
    bert,
    gpt2_classifier,
    llama_classifier,
    mistral_classifier,
    mixed_rows,
    one_by_one,
    tokenizer,
)

from rewardsmith.data import Row
from rewardsmith.rewards import Batching, SequenceReward
from rewardsmith.scoring import Scorer, rewards_of, score

pytestmark = [pytest.mark.models, pytest.mark.slow]

DECODERS = {
    "llama": llama_classifier,
    "gpt2": gpt2_classifier,
    "sliding window": lambda: mistral_classifier(window=8),
}


def expected(model, prompts, completions, tok, end="<eos>"):
    return [
        logits[0] for logits in one_by_one(model, [p + c + end for p, c in zip(prompts, completions, strict=True)], tok)
    ]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("budget", [1, 64, 4096])
@pytest.mark.parametrize("build", DECODERS.values(), ids=DECODERS)
def test_scores_are_those_of_each_row_by_itself(build, budget, side):
    model, tok = build(), tokenizer()
    prompts, completions = mixed_rows()
    rm = SequenceReward(model, tok, batching=Batching(token_budget=budget, padding_side=side))
    assert rm.score(prompts, completions) == pytest.approx(expected(model, prompts, completions, tok), abs=1e-9)


@pytest.mark.parametrize("build", DECODERS.values(), ids=DECODERS)
def test_a_shared_prompt_gives_the_plain_scores(build):
    model, tok = build(), tokenizer()
    prompts = ["the answer is " * 12 + "2+2=", "maybe " * 31] * 24
    completions = ["so " * (k % 7) + str(k) for k in range(48)]
    shared = SequenceReward(model, tok, batching=Batching(token_budget=256))
    plain = SequenceReward(model, tok, batching=Batching(token_budget=256, share_prompts=False))
    assert shared.score(prompts, completions) == pytest.approx(plain.score(prompts, completions), abs=1e-9)
    assert shared.scanner.share  # it was not given up
    encoded = shared.encode(prompts, completions)
    assert any(batch.prefix for batch in shared.scanner.plan(encoded))
    assert not plain.scanner.share


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_stays_near(dtype):
    model, tok = llama_classifier(), tokenizer()
    prompts, completions = mixed_rows()
    exact = expected(model, prompts, completions, tok)
    found = SequenceReward(model.to(dtype), tok).score(prompts, completions)
    assert found == pytest.approx(exact, abs=1e-4 if dtype is torch.float32 else 0.2)


def test_dropout_is_off_while_scoring_and_the_mode_is_put_back():
    model, tok = gpt2_classifier(), tokenizer()
    model.train()
    prompts, completions = mixed_rows()
    rm = SequenceReward(model, tok)
    assert rm.score(prompts, completions) == rm.score(prompts, completions)
    assert model.training


@pytest.mark.parametrize("special", [False, True], ids=["pad differs from eos", "pad is eos"])
def test_the_head_is_read_where_the_model_itself_reads_it(special):
    model, tok = llama_classifier(), tokenizer()
    if special:
        tok.pad_token, model.config.pad_token_id = "<eos>", 1
    prompts, completions = ["1+1=", "2+2=so the answer is "], ["2", "4<eos>"]
    want = expected(model, prompts, ["2", "4"], tok)
    assert SequenceReward(model, tok).score(prompts, completions) == pytest.approx(want, abs=1e-9)


def test_a_model_without_a_padding_token_is_read_at_the_last_one():
    model, tok = llama_classifier(), tokenizer()
    model.config.pad_token_id, tok.pad_token = None, None
    prompts, completions = mixed_rows()
    found = SequenceReward(model, tok).score(prompts, completions)
    assert found == pytest.approx(expected(model, prompts, completions, tok), abs=1e-9)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_encoder_is_masked_and_pools_by_itself(side):
    model, tok = bert(), tokenizer()
    prompts, completions = mixed_rows()
    found = SequenceReward(model, tok, batching=Batching(padding_side=side)).score(prompts, completions)
    assert found == pytest.approx(expected(model, prompts, completions, tok), abs=1e-9)


def test_an_encoder_may_read_pairs():
    model, tok = bert(), tokenizer()
    prompts, completions = ["1+1=", "3+4=maybe "], ["2", "so 7"]
    found = SequenceReward(model, tok, pair=True).score(prompts, completions)
    model.eval()
    for value, prompt, completion in zip(found, prompts, completions, strict=True):
        given = tok(prompt, completion, return_tensors="pt")
        with torch.no_grad():
            assert value == pytest.approx(float(model(**given).logits), abs=1e-9)


def test_conversations_go_through_the_chat_template():
    model, tok = llama_classifier(), tokenizer(chat=True)
    prompts = [[{"role": "user", "content": "1+1="}], [{"role": "user", "content": "2+2="}]]
    completions = [[{"role": "assistant", "content": "2"}], [{"role": "assistant", "content": "maybe 4"}]]
    want = [
        v[0] for v in one_by_one(model, ["so 1+1=<eos>the 2<eos>", "so 2+2=<eos>the maybe 4<eos>"], tok, special=False)
    ]
    assert SequenceReward(model, tok).score(prompts, completions) == pytest.approx(want, abs=1e-9)
    strings = ["1+1=", "2+2="], ["2", "maybe 4"]
    assert SequenceReward(model, tok, chat=True).score(*strings) == pytest.approx(want, abs=1e-9)
    assert SequenceReward(model, tok).score(*strings) == pytest.approx(expected(model, *strings, tok), abs=1e-9)


def test_conversations_without_a_template_are_refused():
    rm = SequenceReward(llama_classifier(), tokenizer())
    with pytest.raises(ValueError, match=r"no chat template to write them with\. Set tokenizer\.chat_template"):
        rm.score([[{"role": "user", "content": "1+1="}]], [[{"role": "assistant", "content": "2"}]])


def test_an_empty_completion_has_a_score_and_an_empty_batch_none():
    model, tok = llama_classifier(), tokenizer()
    rm = SequenceReward(model, tok)
    assert rm.score(["1+1=", ""], ["", ""]) == pytest.approx(expected(model, ["1+1=", ""], ["", ""], tok), abs=1e-9)
    assert rm.score([], []) == []
    assert SequenceReward(model, tok, eos=False).reasoned([""], [""])[0].why == "the row has no token"


def test_a_row_that_is_too_long_is_unscored_and_never_cut(caplog):
    model, tok = llama_classifier(), tokenizer()
    rm = SequenceReward(model, tok, max_length=12, name="mine")
    prompts, completions = ["1+1="] * 3, ["2", "so " * 20, "3"]
    with caplog.at_level(logging.WARNING):
        found = rm.score(prompts, completions)
    assert found[1] is None
    want = expected(model, prompts[:1] * 2, ["2", "3"], tok)
    assert [found[0], found[2]] == pytest.approx(want, abs=1e-9)
    assert "mine: 1 of 3 rows are unscored; the first: too long: 45 tokens; the model takes 12" in caplog.text
    [_, scored, _] = score(rm, [Row(p, c) for p, c in zip(prompts, completions, strict=True)], workers=0)
    assert (scored.reward, scored.reason) == (None, "none")
    assert scored.detail == "too long: 45 tokens; the model takes 12"
    assert SequenceReward(model, tok).max_length == 256  # what the model says of itself


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_unscored(value):
    model, tok = llama_classifier(), tokenizer()
    with torch.no_grad():
        model.model.embed_tokens.weight[tok.convert_tokens_to_ids("maybe")] = value
    rm = SequenceReward(model, tok)
    prompts, completions = ["1+1=", "1+1=", "2+2="] * 3, ["2", "maybe 2", "4"] * 3
    found = rm.score(prompts, completions)
    want = expected(model, ["1+1=", "2+2="], ["2", "4"], tok)
    assert found[1::3] == [None] * 3
    assert found[0] == pytest.approx(want[0], abs=1e-9)
    assert found[5] == pytest.approx(want[1], abs=1e-9)


def test_attributes_are_weighed_by_name_or_place():
    model, tok = llama_classifier(3), tokenizer()
    model.config.id2label = {0: "helpful", 1: "honest", 2: "short"}
    prompts, completions = mixed_rows()
    texts = [p + c + "<eos>" for p, c in zip(prompts, completions, strict=True)]
    heads = np.array(one_by_one(model, texts, tok))
    named = SequenceReward(model, tok, weights={"honest": 2.0, "short": -0.5})
    assert named.score(prompts, completions) == pytest.approx(list(heads @ [0, 2.0, -0.5]), abs=1e-9)
    assert SequenceReward(model, tok, weights=[0, 2.0, -0.5]).score(prompts, completions) == named.score(
        prompts, completions
    )
    assert np.array(named.source_rewards(prompts, completions)) == pytest.approx(heads, abs=1e-9)


def test_an_attribute_without_weight_does_not_unscore_a_row():
    model, tok = llama_classifier(2), tokenizer()
    with torch.no_grad():
        model.score.weight[1] = math.nan
    assert SequenceReward(model, tok, weights=[1.0, 0.0]).score(["1+1="], ["2"])[0] is not None
    assert SequenceReward(model, tok, weights=[1.0, 0.1]).score(["1+1="], ["2"]) == [None]


def test_weights_that_do_not_fit_are_refused():
    model, tok = llama_classifier(2), tokenizer()
    with pytest.raises(ValueError, match=r"gives 2 attributes \(LABEL_0, LABEL_1\) and has no weights"):
        SequenceReward(model, tok).score(["1+1="], ["2"])
    for weights in ({"other": 1.0}, [1.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="do not fit the head's attributes LABEL_0, LABEL_1"):
            SequenceReward(model, tok, weights=weights)
    with pytest.raises(ValueError, match="must both be at least 1"):
        Batching(token_budget=0)


def test_a_lone_surrogate_is_no_crash():
    found = SequenceReward(llama_classifier(), tokenizer()).score(["1+1="] * 2, ["\ud800", "2"])
    assert all(value is not None for value in found)


def test_it_is_a_reward_in_trls_contract():
    rm = SequenceReward(llama_classifier(), tokenizer(), name="helpful")
    assert rm.__name__ == "helpful"
    called = rm(prompts=["1+1="], completions=["2"], completion_ids=[[3]], answer=["2"], trainer_state=None)
    assert called == rm.score(["1+1="], ["2"])
    copy = pickle.loads(pickle.dumps(rm))
    assert copy.score(["1+1="], ["2"]) == called


def test_a_scorer_sends_the_batches_that_the_model_plans():
    model, tok = llama_classifier(), tokenizer()
    sent = []

    class Noting(SequenceReward):
        def reasoned(self, prompts, completions, **columns):
            sent.append([len(tok(p + c)["input_ids"]) for p, c in zip(prompts, completions, strict=True)])
            return super().reasoned(prompts, completions, **columns)

    rm = Noting(model, tok, batching=Batching(token_budget=100, share_prompts=False))
    rows = [Row(f"{k}+1=", "so " * (k * 7 % 19)) for k in range(40)]
    with Scorer(rm, workers=0) as scorer:
        found = rewards_of(scorer.score(rows))
        assert found == pytest.approx(
            expected(model, [r.prompt for r in rows], [r.completion for r in rows], tok), abs=1e-9
        )
        lengths = [length for batch in sent for length in batch]
        assert lengths == sorted(lengths, reverse=True)
        assert len(sent) < 40
        scorer.score(rows, nonce="again", batch_size=1)  # a caller's own size is kept
        assert [len(batch) for batch in sent[-40:]] == [1] * 40


def test_one_bad_row_does_not_unscore_its_batch():
    rm = SequenceReward(llama_classifier(), tokenizer())
    conversation = Row([{"role": "user", "content": "1"}], [{"role": "assistant", "content": "2"}])
    rows = [Row("1+1=", "2"), conversation]
    with pytest.raises(ValueError, match="no chat template"):
        rm.score([row.prompt for row in rows], [row.completion for row in rows])
    found = score(rm, rows, workers=0, batch_size=2)
    assert [result.reason for result in found] == [None, "exception"]


JOBS = """
    import os, sys, time
    from pathlib import Path
    root, log, journal = sys.argv[1:]
    sys.path.insert(0, root)
    from tests.small_models import llama_classifier, tokenizer
    from rewardsmith.data import Row
    from rewardsmith.rewards import Batching, SequenceReward
    from rewardsmith.scoring import Scorer, rewards_of

    class Slow(SequenceReward):
        def reasoned(self, prompts, completions, **columns):
            time.sleep(delay)
            with open(log, "a") as stream:
                stream.writelines(prompt + chr(10) for prompt in prompts)
            return super().reasoned(prompts, completions, **columns)

    def job():
        rows = [Row(f"{k}+1=", "so " * (k * 7 % 19)) for k in range(60)]
        rm = Slow(llama_classifier(), tokenizer(), batching=Batching(token_budget=100))
        with Scorer(rm, workers=0, timeout=None, journal=Path(journal)) as scorer:
            print(rewards_of(scorer.score(rows)), scorer.calls, flush=True)

    for delay in (0.3, 0):  # each job in a process of its own, which finds the libraries imported
        input()
        process = os.fork()
        if not process:
            print(os.getpid(), flush=True)
            job()
            os._exit(0)
        os.waitpid(process, 0)
        print("ended", flush=True)
"""


def test_a_killed_job_repeats_nothing_that_is_on_disk(tmp_path):
    log, journal = tmp_path / "log", tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", textwrap.dedent(JOBS), str(Path(__file__).parents[3]), str(log), str(journal)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as jobs:
        jobs.stdin.write("first\n")
        jobs.stdin.flush()
        first = int(jobs.stdout.readline())
        deadline = time.monotonic() + 600
        while (not journal.exists() or journal.read_bytes().count(b"keys") < 4) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(first, signal.SIGKILL)
        assert jobs.stdout.readline() == "ended\n"
        before = log.read_text().splitlines()
        lines = journal.read_bytes().splitlines(keepends=True)
        again, _ = jobs.communicate("again\n")
    recorded = [json.loads(line) for line in lines[1:] if line.endswith(b"\n")]
    done = sum(len(record.get("keys", ())) for record in recorded)
    assert 0 < done < 60
    asked = log.read_text().splitlines()[len(before) :]
    assert len(asked) == 60 - done
    assert not set(asked) & set(before[:done])
    rows = [(f"{k}+1=", "so " * (k * 7 % 19)) for k in range(60)]
    want = SequenceReward(llama_classifier(), tokenizer()).score(*map(list, zip(*rows, strict=True)))
    _, printed, ended = again.splitlines()
    found, calls = printed.rsplit("] ", 1)
    assert json.loads(found + "]") == pytest.approx(want, abs=1e-9)
    assert (int(calls), ended) == (60, "ended")


def test_a_journal_knows_a_model_that_was_trained_on():
    model, tok = llama_classifier(), tokenizer()
    rm = SequenceReward(model, tok)
    before = rm.content_digest()
    assert SequenceReward(llama_classifier(), tok).content_digest() == before
    assert SequenceReward(model, tok, max_length=9).content_digest() != before
    with torch.no_grad():
        model.score.weight.add_(1e-3)
    assert rm.content_digest() != before
