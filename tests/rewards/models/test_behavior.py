"""What a model does decides how it is read, whatever its arguments and its head are called."""

from __future__ import annotations

import inspect
import logging
from functools import partial

import pytest
import torch
from tests.small_models import bert, llama_classifier, llama_policy, mixed_rows, one_by_one, step_classifier, tokenizer
from torch import nn
from transformers import LlamaModel
from transformers.modeling_outputs import SequenceClassifierOutput

from rewardsmith.rewards import Batching, ImplicitReward, SequenceReward, StepReward
from rewardsmith.rewards.models.behavior import behavior_of, evaluating
from rewardsmith.rewards.models.scanning import Output

pytestmark = [pytest.mark.models, pytest.mark.slow]
PROMPTS, COMPLETIONS = ["the answer is " * 3 + "2+2="] * 4 + ["1+1="], ["4", "so 4", "", "maybe 5 or 4", "so 2"]
CACHE = next(name for name in ("cache", "past_key_values") if name in inspect.signature(LlamaModel.forward).parameters)

LONG = 30


class Renamed(LlamaModel):
    """A decoder whose cache goes in and comes out under names of its own."""

    def forward(self, input_ids, attention_mask=None, position_ids=None, memory=None, use_cache=None):
        given = {CACHE: memory, "attention_mask": attention_mask, "position_ids": position_ids}
        out = super().forward(input_ids=input_ids, use_cache=use_cache, **given)
        return _Out(out.last_hidden_state, getattr(out, CACHE))


class _Out:
    def __init__(self, states, notes):
        self.last_hidden_state, self.notes = states, notes


class Forgetful(Renamed):
    """A decoder that never shows its cache."""

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        return _Out(super().forward(input_ids, attention_mask, position_ids, use_cache=False).last_hidden_state, None)


class LastColumn(nn.Module):
    """A decoder's head by another name, which reads the last column whatever stands in it."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.config = inner, inner.config
        self.base_model_prefix, self.device, self.dtype = "inner", inner.device, inner.dtype

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        states = self.inner.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        return SequenceClassifierOutput(logits=self.inner.score(states[:, -1]))


class Maskless(LastColumn):
    """It takes token ids and nothing else."""

    def forward(self, input_ids):
        return super().forward(input_ids)


class Neighbors(LastColumn):
    """Its scores depend on the other rows of the pass."""

    apart = 1.0

    def forward(self, input_ids, attention_mask=None):
        logits = super().forward(input_ids, attention_mask).logits
        return SequenceClassifierOutput(logits=logits + self.apart * (len(input_ids) - 1))


class Switching(LastColumn):
    """Its attention becomes another, for good, at the first short row."""

    def __init__(self, inner):
        super().__init__(inner)
        self.attention = "sparse"

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        if input_ids.shape[1] <= LONG // 2:
            self.attention = "full"
        logits = super().forward(input_ids, attention_mask, position_ids).logits
        return SequenceClassifierOutput(logits=logits + (self.attention == "sparse"))


class Largest(LastColumn):
    """Its score is the largest over all positions, padding too."""

    def forward(self, input_ids, attention_mask=None):
        states = self.inner.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        return SequenceClassifierOutput(logits=self.inner.score(states).max(dim=1).values)


class Stretching(LlamaModel):
    """A decoder that reads otherwise once a pass is longer than its training, as those with longer rotations do."""

    def forward(self, input_ids, **given):
        kept = given.get(CACHE)
        length = input_ids.shape[1] + (0 if kept is None else kept.get_seq_length())
        out = super().forward(input_ids, **given)
        if length > LONG:
            out.last_hidden_state = out.last_hidden_state * 1.5
        return out


def want(model, prompts=PROMPTS, completions=COMPLETIONS):
    texts = [p + c + "<eos>" for p, c in zip(prompts, completions, strict=True)]
    return [logits[0] for logits in one_by_one(model, texts, tokenizer())]


def _own_forward(model, input_ids):
    return SequenceClassifierOutput(logits=model.score(model.model(input_ids).last_hidden_state[:, -1]))


def dressed(kind):
    model = llama_classifier()
    model.model.__class__ = kind
    return model


def test_the_name_of_the_cache_changes_nothing():
    right = want(llama_classifier())
    for kind, shared in ((Renamed, True), (Forgetful, False)):
        model = dressed(kind)
        model.forward = partial(_own_forward, model)
        rm = SequenceReward(model, tokenizer())
        assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(right, abs=1e-9)
        assert rm.scanner.causal
        assert rm.scanner.share is shared
    trunk = dressed(Renamed).model
    assert behavior_of(Output(trunk), trunk, llama_classifier()).cache == ("notes", "memory")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_head_that_reads_the_last_column_is_padded_on_the_left(side):
    model = LastColumn(llama_classifier())
    rm = SequenceReward(model, tokenizer(), batching=Batching(padding_side=side))
    prompts, completions = mixed_rows()
    assert rm.score(prompts, completions) == pytest.approx(want(model.inner, prompts, completions), abs=1e-9)
    assert rm.scanner.side == "left"
    assert rm.scanner.max_rows > 1


@pytest.mark.parametrize("kind", [Neighbors, Maskless])
def test_where_no_padding_leaves_scores_alone_rows_are_read_alone(kind, caplog):
    model = kind(llama_classifier())
    rm = SequenceReward(model, tokenizer())
    with caplog.at_level(logging.WARNING):
        assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(want(model.inner), abs=1e-9)
    assert "padding or other rows change this model's scores, so rows are read one at a time" in caplog.text


def test_a_head_of_small_scores_is_tried_as_closely_as_another():
    model = Neighbors(llama_classifier())
    model.inner.score.weight.data *= 1e-3
    model.apart = 1e-4
    rm = SequenceReward(model, tokenizer())
    right = want(model.inner)
    assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(right, abs=1e-3 * (max(right) - min(right)))


@pytest.mark.parametrize("share", [True, False])
def test_what_begins_behind_some_length_is_found_in_later_passes(share):
    model = dressed(Stretching)
    rm = SequenceReward(model, tokenizer(), batching=Batching(share_prompts=share))
    for more in (0, 6, 12, 18, 24):  # tokens that all rows gain: the third pass holds rows on both sides of the length
        prompts = ["so " * more + "the answer is " * 3] * 6 + ["2+2=" + "so " * more] * 2
        completions = ["so " * k for k in range(1, 7)] + ["4", "so 4"]
        right = want(model, prompts, completions)
        assert rm.score(prompts, completions) == pytest.approx(right, abs=1e-9), more


def test_a_head_that_takes_the_largest_over_all_positions_keeps_its_scores():
    prompts, completions = mixed_rows()
    model = Largest(llama_classifier())
    rm = SequenceReward(model, tokenizer())
    assert rm.score(prompts, completions) == pytest.approx(want(model, prompts, completions), abs=1e-5)


def test_a_model_that_exchanges_its_own_attention_is_put_back():
    model = Switching(llama_classifier())
    rm = SequenceReward(model, tokenizer())
    right = want(model.inner)
    long = [
        len(tokenizer()(p + c + "<eos>")["input_ids"]) > LONG // 2 for p, c in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    assert set(long) == {True, False}
    expected = [value + (1 if high else 0) for value, high in zip(right, long, strict=True)]
    for _ in range(2):
        assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(expected, abs=1e-9)
        assert model.attention == "sparse"


def test_what_looks_left_is_found_by_asking():
    for model, left in ((llama_classifier(), True), (bert(), False)):
        assert behavior_of(Output(model.base_model), model.base_model, model).causal is left
    policy = llama_policy()
    assert behavior_of(Output(policy, "logits"), policy.base_model, policy).causal
    assert StepReward(step_classifier(), tokenizer()).scanner.causal
    assert ImplicitReward(llama_policy(), llama_policy(), tokenizer()).scanner.share


@pytest.mark.parametrize("mode", [True, False])
def test_every_part_is_put_back_in_its_mode_and_a_model_in_use_is_not_switched(mode):
    frozen, live = nn.Dropout(), nn.Dropout()
    whole = nn.Sequential(frozen, live)
    whole.train(mode)
    frozen.eval()
    live.train()
    with evaluating(whole):
        assert not any(part.training for part in whole.modules())
    assert [whole.training, frozen.training, live.training] == [mode, False, True]

    def refuses(mode=True):
        raise AssertionError("switched")

    whole.eval()
    whole.train = whole.eval = refuses
    with evaluating(whole):
        assert not live.training


class Merging(nn.Linear):
    """An adapter that adds its part to the weights in eval mode, and takes it out again by a switch of its own."""

    merged = False

    def train(self, mode=True):
        if mode is self.merged:
            self.weight.data += -1.0 if mode else 1.0
            self.merged = not mode
        return super().train(mode)


def test_an_adapter_that_merges_its_weights_in_eval_mode_takes_them_out_again():
    adapter = Merging(2, 1)
    adapter.merged = False  # an attribute of its own, as it has after a first switch
    nn.init.constant_(adapter.weight, 0.5)
    with evaluating(adapter):
        assert adapter.merged
    assert not adapter.merged
    assert torch.equal(adapter.weight, torch.full((1, 2), 0.5))
