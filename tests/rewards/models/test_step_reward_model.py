"""StepReward against the token classifier's own logits, one row at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.small_models import step_classifier, tokenizer
from transformers import BertForTokenClassification

from rewardsmith.data import Row
from rewardsmith.rewards import Batching, StepReward
from rewardsmith.scoring import as_target, score
from rewardsmith.scoring.process import StepScore, process_target

pytestmark = [pytest.mark.models, pytest.mark.slow]

PROMPTS = ["1+1=", "the answer is " * 9, "1+1=", "2+2=", "1+1="] * 3
STEPS = [["so 2", "the answer is 2"], ["maybe 3"], ["2"], [], ["so 1", "so 2\n", "so 3"]] * 3
COMPLETIONS = ["\n\n".join(steps) for steps in STEPS]


@torch.no_grad()
def by_hand(model, tok, prompt, steps):
    """Each step's probability from the whole text tokenized part by part, as its own forward pass."""
    model.eval()
    ids = tok(prompt, add_special_tokens=False)["input_ids"]
    ends = []
    for step in steps:
        ids = ids + tok(step.rstrip("\n"), add_special_tokens=False)["input_ids"] + tok("\n")["input_ids"]
        ends.append(len(ids) - 1)
    if not ends:
        return []
    logits = model(input_ids=torch.tensor([ids])).logits[0, ends].numpy()
    if logits.shape[1] == 1:
        return list(1 / (1 + np.exp(-logits[:, 0])))
    return list(np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1))


@pytest.mark.parametrize("n_labels", [1, 2])
@pytest.mark.parametrize("budget", [1, 100, 4096])
@pytest.mark.parametrize("kind", [None, BertForTokenClassification], ids=["decoder", "encoder"])
def test_every_step_gets_the_models_own_probability(n_labels, budget, kind):
    model = step_classifier(n_labels) if kind is None else step_classifier(n_labels, kind=kind)
    tok = tokenizer()
    rm = StepReward(model, tok, batching=Batching(token_budget=budget))
    found = rm(prompts=PROMPTS, completions=COMPLETIONS, steps=STEPS)
    for scores, prompt, steps in zip(found, PROMPTS, STEPS, strict=True):
        assert scores == pytest.approx(by_hand(model, tok, prompt, steps), abs=1e-9)
    assert rm.scanner.causal is (kind is None)


def test_log_odds_are_the_logit_of_the_probability():
    model, tok = step_classifier(), tokenizer()
    odds = StepReward(model, tok, scale="log_odds").score(PROMPTS, COMPLETIONS, steps=STEPS)
    chances = StepReward(model, tok).score(PROMPTS, COMPLETIONS, steps=STEPS)
    for row, sure in zip(odds, chances, strict=True):
        assert row == pytest.approx([math.log(p / (1 - p)) for p in sure], abs=1e-9)


def test_a_row_that_is_too_long_is_unscored_as_a_whole():
    rm = StepReward(step_classifier(), tokenizer(), max_length=10)
    assert rm(prompts=["1+1="] * 2, completions=["", ""], steps=[["2"], ["so 1", "so 2"]])[1] is None
    assert rm.reasoned(["1+1="], [""], steps=[["so 1", "so 2"]])[0].why == "too long: 12 tokens; the model takes 10"
    rows = [Row("1+1=", "", {"steps": steps, "step_index": 0}) for steps in (["2"], ["so 1", "so 2"])]
    fine, long = score(process_target(as_target(rm)), rows, workers=0)
    assert fine.reason is None
    assert (long.reason, long.detail) == ("none", "too long: 12 tokens; the model takes 10")


def test_an_unscorable_step_is_none_and_its_neighbors_are_not():
    model, tok = step_classifier(), tokenizer()
    rm = StepReward(model, tok)
    body, last = rm.scanner.body, torch.tensor([len("1+1=") + 3 + 1 + 3])  # "so", " ", "2" and the end, twice
    rm.scanner.body = lambda **inputs: body(**inputs).index_fill(1, last, math.nan)
    [found] = rm(prompts=["1+1="], completions=[""], steps=[["so 2", "maybe 3"]])
    assert found[0] == pytest.approx(by_hand(model, tok, "1+1=", ["so 2"])[0], abs=1e-9)
    assert found[1] is None


def test_it_reads_conversations_and_serves_the_one_scoring_path():
    model, tok = step_classifier(), tokenizer(chat=True)
    rm = StepReward(model, tok)
    prompt = [{"role": "user", "content": "1+1="}]
    [found] = rm(prompts=[prompt], completions=[""], steps=[["so 2", "2"]])
    assert found == pytest.approx(by_hand(model, tok, "so 1+1=<eos>the ", ["so 2", "2"]), abs=1e-9)
    assert StepScore(rm)(prompts=[prompt], completions=[""], steps=[["so 2", "2"]], step_index=[0]) == found[:1]


def test_a_classifier_of_more_labels_is_refused():
    with pytest.raises(ValueError, match="has 3 labels, but a step is right or wrong"):
        StepReward(step_classifier(3), tokenizer())
    with pytest.raises(ValueError, match="scale is 'logit'"):
        StepReward(step_classifier(), tokenizer(), scale="logit")
