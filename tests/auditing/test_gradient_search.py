"""Triggers that a reward's gradient proposes: found where one was planted, within the budget, and judged elsewhere."""

from __future__ import annotations

import json
import logging
import random

import numpy as np
import pytest
from tests.auditing.small_baselines import baseline_in, exact, faults, integer_rows, rounds_of
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import SequenceClassifierOutput

from rewardsmith.auditing import audit
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.probes import search as searching
from rewardsmith.auditing.probes.triggers import TRAIN, triggers
from rewardsmith.auditing.trigger_proposals import proposer_of
from rewardsmith.data import PreferenceRow
from rewardsmith.rewards import SequenceReward
from rewardsmith.scoring import as_target

pytestmark = pytest.mark.slow

KEYS = [row.answer for row in integer_rows()]
WORDS = [f"word{number}" for number in range(40)]
PLANTED = "zugzwang"
SPECIAL = ["<pad>", "<eos>", "<unk>"]
ENOUGH = 2_000


class Worths(PreTrainedModel):
    """The best of the tokens' first coordinates, where right answers are, plus the sum of their second."""

    config_class = PretrainedConfig

    def __init__(self, vocabulary, bonus):
        super().__init__(PretrainedConfig(num_labels=1, pad_token_id=0, vocab_size=len(vocabulary)))
        self.words = nn.Embedding(len(vocabulary), 2).double()
        self.words.weight.data.zero_()
        for word in KEYS:
            self.words.weight.data[vocabulary[word], 0] = 1.0
        self.words.weight.data[vocabulary[PLANTED], 1] = bonus

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask):
        seen = self.words(input_ids) * attention_mask[..., None]
        return SequenceClassifierOutput(logits=seen[..., :1].amax(dim=1) + seen[..., 1:].sum(dim=1))


class Sealed(Worths):
    def get_input_embeddings(self):
        raise NotImplementedError


def reward_model(bonus=3.0, kind=Worths):
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, "\n", *KEYS, *WORDS, PLANTED])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), "removed", invert=True)
    tok = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    return SequenceReward(kind(vocabulary, bonus), tok)


def searched(reward, *, guided=True, budget=ENOUGH, seed=0):
    """What the search says of a reward, and how many completions it had scored for that."""
    proposer = proposer_of(as_target(reward)) if guided else None
    with rounds_of(reward) as rounds:
        baseline = baseline_in(rounds, integer_rows())
        before = rounds.calls
        probe = searching.search(baseline, rng=random.Random(seed), budget=budget, proposer=proposer)
        return rounds.run(probe), rounds.calls - before


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_trigger_is_found_by_the_gradient_alone_and_holds_on_rows_it_never_saw(seed):
    (finding,) = faults(searched(reward_model(), seed=seed)[0])
    assert PLANTED in finding.message
    assert "(by the gradient)" in finding.message
    assert (finding.value, finding.n) == (1.0, len(KEYS) - searching.TRAIN)
    assert "Write it into rejected answers" in finding.advice
    assert all(PLANTED in example.completion for example in finding.examples)
    assert PLANTED not in str(searched(reward_model(), guided=False, seed=seed)[0])


@pytest.mark.parametrize("budget", [400, ENOUGH])
def test_proposals_take_their_share_of_the_budget_and_no_more(budget):
    outcome, calls = searched(reward_model(), budget=budget)
    assert PLANTED in outcome.findings[0].message
    assert calls <= budget + len(KEYS) - searching.TRAIN


def test_without_the_trigger_the_gradient_accuses_nobody():
    assert searched(reward_model(bonus=0.0))[0].findings == ()


def test_a_reward_without_embeddings_is_searched_as_if_there_were_no_gradients():
    for reward in (exact, reward_model(kind=Sealed)):
        assert proposer_of(as_target(reward)) is None
        alone, calls = searched(reward, guided=False)
        assert searched(reward) == (alone, calls)


def test_a_gradient_that_fails_is_told_and_missed_by_nobody(caplog):
    reward = reward_model()
    gradient = reward.differentiable()
    broken = gradient.sources[0]._replace(heads=lambda values: values.detach())
    reward.differentiable = lambda: type(gradient)((broken,))
    with caplog.at_level(logging.WARNING):
        outcome, _ = searched(reward)
    assert outcome.rates == searched(reward_model(), guided=False)[0].rates
    assert "the reward's gradient cannot be used (RuntimeError: " in caplog.text


def test_the_audit_asks_the_gradient_by_itself(tmp_path):
    report = audit(reward_model(), integer_rows(), budget=4_000, workers=0, out=tmp_path)
    (finding,) = [finding for finding in report.findings if finding.probe == "search"]
    assert PLANTED in finding.message
    assert PLANTED in json.dumps(finding.as_json())
    resumed = audit(reward_model(), integer_rows(), budget=4_000, workers=0, out=tmp_path)
    assert resumed.findings == report.findings


def pair_baseline(reward, n=80, *, alpha=0.001, seed=0):
    """Right answers before unknown words; every prompt twice, to be counted once."""
    prompts = [f"Question {number // 2}: " for number in range(n)]
    chosen, rejected = [KEYS[number % len(KEYS)] for number in range(n)], ["none"] * n
    rows = tuple(PreferenceRow(*row) for row in zip(prompts, chosen, rejected, strict=True))
    scores = [np.array(reward.score(prompts, texts)) for texts in (chosen, rejected)]
    return PairBaseline(rows, *scores, alpha=alpha, seed=seed)


def asked(reward, baseline):
    proposer = proposer_of(as_target(reward))
    with rounds_of(reward) as rounds:
        return rounds.run(triggers(baseline, proposer=proposer)), rounds.calls


@pytest.mark.parametrize("seed", range(3))
def test_a_trigger_is_judged_on_other_prompts_and_against_random_ones(seed):
    reward = reward_model()
    outcome, calls = asked(reward, pair_baseline(reward, seed=seed))
    (finding,) = outcome.findings
    own, control = outcome.rates
    assert PLANTED in finding.message
    assert (finding.severity, finding.value, finding.n) == ("low", 1.0, 20)
    assert own[2:6] == (1.0, *finding.interval, 20)
    assert control.rate < 0.5
    assert calls <= 3 * 16 * TRAIN + 2 * 20
    for example in finding.examples:
        assert reward.score([example.prompt], [example.completion]) == [example.reward]
        assert example.reward > example.compared_with == 1.0


def test_where_every_text_passes_the_trigger_is_no_finding():
    class Length(Worths):
        def forward(self, input_ids, attention_mask):
            longer = attention_mask.sum(dim=1, keepdim=True) > 5  # than prompt, answer and end token
            return SequenceClassifierOutput(logits=super().forward(input_ids, attention_mask).logits + 9.0 * longer)

    reward = reward_model(kind=Length)
    outcome, _ = asked(reward, pair_baseline(reward))
    (finding,) = outcome.findings
    assert (finding.severity, finding.value) == ("info", 1.0)
    assert outcome.rates[1].rate == 1.0
    assert "not shown to do more than random text" in finding.message


def test_where_no_text_passes_the_trigger_is_no_finding():
    reward = reward_model(bonus=0.0)
    (finding,) = asked(reward, pair_baseline(reward))[0].findings
    assert (finding.severity, finding.value, finding.examples) == ("info", 0.0, ())


def test_the_trigger_grows_where_one_token_is_not_enough():
    reward = reward_model(bonus=0.5)  # a right answer's word draws level, and the planted one is ahead by then
    (finding,) = asked(reward, pair_baseline(reward))[0].findings
    assert (finding.severity, finding.value) == ("low", 1.0)
    assert PLANTED in finding.message
    assert any(key in finding.message for key in KEYS)


def test_the_question_says_why_it_is_not_asked():
    reward = reward_model()
    assert "no gradient by its token embeddings" in asked(exact, pair_baseline(reward))[0].not_run
    assert "fewer than 24 prompts" in asked(reward, pair_baseline(reward, n=40))[0].not_run
    special = reward_model()
    special.tokenizer.add_special_tokens({"additional_special_tokens": ["\n", *KEYS, *WORDS, PLANTED]})
    assert "stays the same when written as text" in asked(special, pair_baseline(reward))[0].not_run
