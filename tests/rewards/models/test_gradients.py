"""Gradients of scores against finite differences, and what they propose against every swap tried out."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch
from tests.small_models import TEMPLATE, bert, gpt2_classifier, llama_classifier, tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from rewardsmith.rewards import (
    Batching,
    ContextualReward,
    GaussianHeads,
    GaussianReward,
    RewardEnsemble,
    SequenceReward,
)
from rewardsmith.rewards.models.gradients import token_gradients
from rewardsmith.rewards.models.triggers import Scene

pytestmark = pytest.mark.slow

PROMPTS = ["1+2=", "the answer is 40+50=", "7+7="]
COMPLETIONS = ["so 3", "and 90", "maybe 14 or 15, 16, 17"]
TRIGGER = "919293"  # three pieces that stand nowhere else in these rows
mean = partial(torch.mean, dim=-1)


class Bag(PreTrainedModel):
    """Linear in its embeddings: the head of their mean."""

    config_class = PretrainedConfig

    def __init__(self, size: int, seed: int) -> None:
        super().__init__(PretrainedConfig(num_labels=1, pad_token_id=0))
        generator = torch.Generator().manual_seed(seed)
        self.config.vocab_size = size
        self.words, self.head = nn.Embedding(size, 5).double(), nn.Linear(5, 1, bias=False).double()
        for weight in (self.words.weight, self.head.weight):
            weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask):
        counted = attention_mask[..., None].double()
        pooled = (self.words(input_ids) * counted).sum(dim=1) / counted.sum(dim=1)
        return SequenceClassifierOutput(logits=self.head(pooled))


def bag(seed=0):
    return SequenceReward(Bag(len(tokenizer()), seed), tokenizer())


def exact(model):
    """The model, its norms in double precision like all else of it: theirs is single, too coarse for differences."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, LlamaRMSNorm):
                norm = nn.RMSNorm(child.weight.shape[0], eps=child.variance_epsilon, dtype=torch.float64)
                norm.weight = child.weight
                setattr(module, name, norm)
    return model


def llama(n_labels=1, seed=0, **options):
    return SequenceReward(exact(llama_classifier(n_labels, seed)), tokenizer(), **options)


def gaussian():
    heads = GaussianHeads(32, 3, depth=1, generator=torch.Generator().manual_seed(2)).double()
    reward = GaussianReward(exact(llama_classifier()), heads, tokenizer())
    reward.fit_reference(PROMPTS, COMPLETIONS)
    return reward


def ensemble(members):
    reward = RewardEnsemble(members, mean, normalize="ref_zscore")
    reward.fit_reference(PROMPTS, COMPLETIONS)
    return reward


REWARDS = {
    "decoder": llama,
    "one row at a time": lambda: llama(batching=Batching(token_budget=1)),
    "padded on the left": lambda: SequenceReward(
        gpt2_classifier(), tokenizer(), batching=Batching(padding_side="left")
    ),
    "encoder": lambda: SequenceReward(bert(), tokenizer()),
    "attributes": lambda: llama(3, weights=[0.5, 0.0, -2.0]),
    "gaussian": gaussian,
    "ensemble": lambda: ensemble([llama(seed=k) for k in range(2)]),
    "one trunk": lambda: ensemble([llama(3), gaussian()]),
    "context": lambda: ContextualReward(llama()),
}


def after(text):
    return [f"{completion}\n{text}" for completion in COMPLETIONS]


@pytest.mark.parametrize("build", REWARDS.values(), ids=REWARDS)
def test_gradients_are_the_finite_differences_of_scores(build):
    """Each token of the trigger stands once, so moving its row of the embedding table moves that token alone."""
    reward, step = build(), 1e-5
    columns = {"context": ["so", None, "and the answer"]}
    generator = torch.Generator().manual_seed(3)
    ids = tokenizer()(TRIGGER)["input_ids"]
    for source in reward.differentiable().sources:
        rows = source.encode(PROMPTS, after(TRIGGER), columns)
        starts = [row.ids.tolist().index(ids[0]) for row in rows]
        _, gradients = token_gradients(source, rows, [range(start, start + len(ids)) for start in starts])
        table = source.embedding.weight.data
        for place, token in enumerate(ids):
            direction = torch.randn(table.shape[1], generator=generator, dtype=torch.float64)
            scores = []
            for sign in (step, -2 * step, step):
                table[token] += sign * direction
                scores.append(reward.score(PROMPTS, after(TRIGGER), **columns))
            differences = [(up - down) / (2 * step) for up, down, _ in zip(*scores, strict=True)]
            assert (gradients[:, place] @ direction).tolist() == pytest.approx(differences, rel=1e-5, abs=1e-7)
            assert max(map(abs, differences)) > 1e-3  # all of which is no comparison of zeros


def test_nothing_of_the_model_is_left_changed():
    reward = SequenceReward(gpt2_classifier(), tokenizer())
    reward.model.train()
    before = reward.score(PROMPTS, COMPLETIONS)
    reward.differentiable().suggest(Scene(PROMPTS, after), "so", n=3, rng=random.Random(0))
    assert reward.model.training
    assert all(parameter.grad is None for parameter in reward.model.parameters())
    assert not reward.differentiable().sources[0].embedding._forward_hooks
    assert reward.score(PROMPTS, COMPLETIONS) == before


def read_back(text):
    """A trigger's tokens where it stands, or None where they are others than its own text has."""
    tok = tokenizer()
    bare, whole = (tok(after(part)[0])["input_ids"] for part in ("", text))
    return whole[len(bare) :] if whole[: len(bare)] == bare and text.strip() else None


def brute_force(reward, trigger):
    """Every trigger that differs from this one in one token, or has one more, the best paid first."""
    tok = tokenizer()
    ids = tok(trigger)["input_ids"] if trigger else []
    tokens = [token for token in range(len(tok)) if token not in tok.all_special_ids]
    tried = {(*ids, token) for token in tokens}
    tried |= {(*ids[:place], token, *ids[place + 1 :]) for place in range(len(ids)) for token in tokens}
    texts = {tok.decode(one) for one in tried - {tuple(ids)} if read_back(tok.decode(one)) == list(one)}
    return sorted(texts, key=lambda text: -sum(reward.score(PROMPTS, after(text))))


@pytest.mark.parametrize("trigger", ["", "maybe", "maybe?so"])
@pytest.mark.parametrize("build", [bag, lambda: ensemble([bag(1), bag(2), bag(3)])], ids=["alone", "ensemble"])
def test_where_the_score_is_linear_the_proposals_are_the_best_of_all(build, trigger):
    reward = build()
    rng = random.Random(4)
    found = reward.differentiable().suggest(Scene(PROMPTS, after), trigger, n=8, rng=rng)
    assert found == brute_force(reward, trigger)[:8]


def test_proposals_are_read_as_the_tokens_they_were_made_of_and_hold_no_special_one():
    reward = SequenceReward(llama_classifier(), tokenizer())
    rng = random.Random(5)
    found = reward.differentiable().suggest(Scene(PROMPTS, after), "1", n=200, rng=rng)
    read = [read_back(text) for text in found]
    assert all(read), [text for text, ids in zip(found, read, strict=True) if not ids]
    assert {len(ids) for ids in read} == {1, 2}
    assert not {token for ids in read for token in ids} & set(tokenizer().all_special_ids)


def byte_tokenizer():
    """Byte-level BPE as public models have it, whose single bytes are often no text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator([*PROMPTS, *COMPLETIONS, "maybe the answer is not an answer, and so on"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = TEMPLATE
    return fast


def test_proposals_survive_byte_level_tokens_and_chat_templates():
    tok = byte_tokenizer()
    gradient = SequenceReward(Bag(len(tok), 3), tok).differentiable()
    prompts = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]

    def write(text):
        return [[{"role": "assistant", "content": completion}] for completion in after(text)]

    def tokens(text):
        rendered = tok.apply_chat_template([*prompts[0], *write(text)[0]], tokenize=False)
        return tok(rendered, add_special_tokens=False)["input_ids"]

    first = gradient.suggest(Scene(prompts, write), "", n=300, rng=random.Random(8))
    fragments = sum("\ufffd" in tok.decode([token]) for token in range(len(tok)))
    assert fragments > 100
    assert len(first) > 80
    second = gradient.suggest(Scene(prompts, write), first[0], n=20, rng=random.Random(8))
    assert len(second) == 20
    for text in (*first, *second):
        assert "\ufffd" not in text
        assert len(tokens(text)) - len(tokens("")) in ((1,) if text in first else (1, 2))


def test_random_triggers_have_as_many_tokens_and_are_drawn_anew():
    gradient = bag().differentiable()
    rng = random.Random(6)
    drawn = gradient.draw(Scene(PROMPTS, after), "maybe?so", n=20, rng=rng)
    assert len(drawn) == 20
    assert {len(read_back(text)) for text in drawn} == {3}
    assert len(set(drawn)) > 15


def test_rows_that_cannot_be_read_take_no_part():
    gradient = SequenceReward(llama_classifier(), tokenizer(), max_length=16).differentiable()
    long = "so " * 40

    def write(text):
        return [f"{long}{text}", *after(text)]

    rng = random.Random
    found = gradient.suggest(Scene(["1+1=", *PROMPTS], write), "", n=5, rng=rng(7))
    assert len(found) == 5
    assert found == gradient.suggest(Scene(PROMPTS, after), "", n=5, rng=rng(7))
    assert gradient.suggest(Scene(["1+1="], lambda text: write(text)[:1]), "", n=5, rng=rng(7)) == []


class Sealed(Bag):
    def get_input_embeddings(self):
        raise NotImplementedError


def test_what_has_no_gradient_says_so():
    sealed = SequenceReward(Sealed(len(tokenizer()), 0), tokenizer())
    assert sealed.score(PROMPTS, COMPLETIONS) == bag().score(PROMPTS, COMPLETIONS)
    assert sealed.differentiable() is None
    constant = lambda completions, **columns: [1.0] * len(completions)  # noqa: E731
    assert RewardEnsemble([bag(), constant], mean).differentiable() is None
    assert ContextualReward(constant).differentiable() is None
    other = tokenizer()
    other.add_tokens(["zebra"])
    assert RewardEnsemble([bag(), SequenceReward(Bag(len(other), 0), other)], mean).differentiable() is None
