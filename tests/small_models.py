"""Small random models and slow, one-row-at-a-time oracles that share no code with the scoring core."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    MistralForTokenClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rewardsmith.worlds.arithmetic_lm import make_tokenizer

TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'user' %}so {% else %}the {% endif %}"
    "{{ message.content }}<eos>{% endfor %}{% if add_generation_prompt %}the {% endif %}"
)


def tokenizer(chat: bool = False) -> PreTrainedTokenizerFast:
    made = make_tokenizer()
    if chat:
        made.chat_template = TEMPLATE
    return made


def seeded(build, seed: int = 0):
    """The model, in double precision so that comparisons are of method and not of rounding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().double()


def _sizes(**more):
    return {
        "vocab_size": len(tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
        **more,
    }


def llama_classifier(n_labels: int = 1, seed: int = 0, **more):
    return seeded(lambda: LlamaForSequenceClassification(LlamaConfig(**_sizes(num_labels=n_labels, **more))), seed)


def mistral_classifier(window: int, seed: int = 0):
    config = MistralConfig(**_sizes(num_labels=1, sliding_window=window, num_key_value_heads=2))
    return seeded(lambda: MistralForSequenceClassification(config), seed)


def gpt2_classifier(seed: int = 0):
    config = GPT2Config(
        vocab_size=len(tokenizer()), n_embd=32, n_layer=2, n_head=4, n_positions=256, num_labels=1, pad_token_id=0,
        eos_token_id=1, bos_token_id=1, initializer_range=0.2, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5,
    )  # fmt: skip
    return seeded(lambda: GPT2ForSequenceClassification(config), seed)


def bert(kind=BertForSequenceClassification, n_labels: int = 1, seed: int = 0):
    config = BertConfig(**_sizes(num_labels=n_labels))
    return seeded(lambda: kind(config), seed)


def llama_policy(seed: int = 0):
    return seeded(lambda: LlamaForCausalLM(LlamaConfig(**_sizes())), seed)


def qwen2_policy(seed: int = 0):
    return seeded(lambda: Qwen2ForCausalLM(Qwen2Config(**_sizes(num_key_value_heads=2))), seed)


def step_classifier(n_labels: int = 2, seed: int = 0, kind=MistralForTokenClassification):
    if kind is BertForTokenClassification:
        return bert(kind, n_labels, seed)
    return seeded(lambda: kind(MistralConfig(**_sizes(num_labels=n_labels, num_key_value_heads=2))), seed)


@torch.no_grad()
def one_by_one(model, texts, tok, special: bool = True) -> list[list[float]]:
    """The model's own logits for each text by itself: no padding, no mask, no cache."""
    model.eval()
    found = []
    for text in texts:
        ids = tok(text, add_special_tokens=special, return_tensors="pt")["input_ids"]
        found.append(model(input_ids=ids).logits[0].tolist())
    return found


@torch.no_grad()
def token_by_token(model, ids: list[int], start: int) -> float:
    """log p(ids[start:] | ids[:start]), one forward pass a token."""
    model.eval()
    total = 0.0
    for place in range(start, len(ids)):
        logits = model(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
        total += float(logits.log_softmax(-1)[ids[place]])
    return total


def mixed_rows(n_prompts: int = 3, per_prompt: int = 4):
    """Prompts of several lengths with several completions each, interleaved, and some with one."""
    prompts, completions = [], []
    for k in range(per_prompt):
        for p in range(n_prompts):
            prompts.append("the answer is " * (4 * p + 1) + f"{p}+{p}=")
            completions.append("so maybe " * ((k * 7 + p) % 5) + str(p + k))
    return [*prompts, "9+9=", ""], [*completions, "18", "so 3"]


def saved(model, folder: Path) -> Path:
    """The folder, holding a model and the tokenizer."""
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
