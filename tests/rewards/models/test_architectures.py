"""Every kind of model that transformers has: the scores of its rows are those of its own plain forward, row by row.

The training form is TRL's: the end token is written behind every string, before the tokenizer adds its own.
"""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
import transformers
from tests.small_models import tokenizer
from tokenizers.processors import TemplateProcessing

from rewardsmith.rewards import Batching, SequenceReward

pytestmark = [pytest.mark.models, pytest.mark.slow]

SIZES = {
    "vocab_size": len(tokenizer()),
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "num_labels": 1,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 1,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "shared_expert_intermediate_size": 8, "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 24, "n_positions": 128, "n_ctx": 128}
SEQ2SEQ = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_start_token_id": 1,
}  # fmt: skip
DECODERS = {
    "Llama": {}, "Qwen2": {}, "Qwen3": {}, "Qwen3Moe": EXPERTS, "Mistral": {"sliding_window": 8}, "Mixtral": EXPERTS,
    "Gemma": {}, "Gemma2": {"sliding_window": 8, "query_pre_attn_scalar": 8},
    "Gemma3Text": {"sliding_window": 8, "query_pre_attn_scalar": 8}, "Phi3": {}, "GPT2": GPT, "GPTNeoX": {},
    "OPT": {"ffn_dim": 24, "word_embed_proj_dim": 16}, "Bloom": {"n_layer": 2, "n_head": 2},
    "Falcon": {"head_dim": None}, "StableLm": {}, "GPTBigCode": GPT,
}  # fmt: skip
HYBRIDS = {
    "Jamba": EXPERTS | {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False, "mamba_dt_rank": 2},
    "Qwen3Next": EXPERTS | LINEAR,
}
ENCODERS = {
    "Bert": {}, "DistilBert": {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2},
    "Electra": {"embedding_size": 16}, "ModernBert": {"local_attention": 8, "global_attn_every_n_layers": 2},
    "Albert": {"embedding_size": 16},
}  # fmt: skip
ENCODERS_WITH_AN_END = {
    "Roberta": {}, "DebertaV2": {"pooler_hidden_size": 16, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
}  # fmt: skip
BOTH = {
    "T5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
    "Bart": SEQ2SEQ,
}
LAST = {"XLNet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "max_position_embeddings": None}}

# How its tokenizer writes a text, and whether it names an end token; "maybe" stands for a token that opens a text.
FORMS = {
    **dict.fromkeys(DECODERS | HYBRIDS, ("$A", True)),
    **dict.fromkeys(ENCODERS, ("maybe $A <eos>", False)),
    **dict.fromkeys(ENCODERS_WITH_AN_END, ("maybe $A <eos>", True)),
    "T5": ("$A <eos>", True),
    "Bart": ("maybe $A <eos>", True),
    "XLNet": ("$A <eos> maybe", True),
}
OPTIONS = DECODERS | HYBRIDS | ENCODERS | ENCODERS_WITH_AN_END | BOTH | LAST

FACTORS = {
    "side": ("right", "left"),
    "pad": ("own", "eos", "none"),
    "budget": (1, 64, 1024),
    "share": (True, False),
    "order": ("as given", "mixed"),
}
CASES = [
    ("right", "own", 1, True, "as given"),
    ("left", "own", 64, False, "mixed"),
    ("right", "own", 1024, True, "mixed"),
    ("left", "eos", 1, False, "mixed"),
    ("right", "eos", 64, True, "as given"),
    ("right", "eos", 1024, False, "mixed"),
    ("right", "none", 1, False, "mixed"),
    ("right", "none", 64, True, "mixed"),
    ("left", "none", 1024, True, "as given"),
    ("right", "own", 1024, False, "as given"),
]

PROMPTS = ["the answer is 4+4=", "so maybe 1+2+3="] * 4 + ["9+9=", "1+1=the answer"]
COMPLETIONS = ["8", "so 6", "the answer is not 7 or 8", "6", "so so so so so so so 9", "", "maybe 8", "is 3", "18", "2"]
MIXED = [7, 2, 9, 0, 4, 5, 1, 8, 3, 6]


def test_every_two_options_meet():
    for (one, left), (other, right) in itertools.combinations(enumerate(FACTORS.values()), 2):
        assert {(case[one], case[other]) for case in CASES} == set(itertools.product(left, right))


@functools.cache
def model_of(name: str):
    sizes = {key: size for key, size in {**SIZES, **OPTIONS[name]}.items() if size is not None}
    config = getattr(transformers, f"{name}Config")(**sizes)
    kind = getattr(transformers, f"{name}ForSequenceClassification")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model


def tokenizer_of(name: str, pad: str):
    single, ends = FORMS[name]
    made = tokenizer()
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single=single, special_tokens=[(token, made.convert_tokens_to_ids(token)) for token in ("maybe", "<eos>")]
    )
    made.pad_token = {"own": "<pad>", "eos": "<eos>", "none": None}[pad]
    if not ends:
        made.eos_token = None
    return made


@torch.no_grad()
def plain(model, tok, prompt: str, completion: str) -> float:
    ids = tok(prompt + completion + (tok.eos_token or ""), return_tensors="pt")["input_ids"]
    return float(model(input_ids=ids).logits)


@pytest.mark.parametrize("name", OPTIONS)
def test_scores_are_those_of_the_models_own_forward(name):
    model = model_of(name)
    for pad in ("own", "eos") if name in BOTH else FACTORS["pad"]:  # encoder-decoders start with their padding token
        tok = tokenizer_of(name, pad)
        model.config.pad_token_id = tok.pad_token_id
        want = [plain(model, tok, *row) for row in zip(PROMPTS, COMPLETIONS, strict=True)]
        assert max(want) - min(want) > 0.05
        for side, chosen, budget, share, order in CASES:
            if chosen == pad:
                rows = range(len(PROMPTS)) if order == "as given" else MIXED
                batching = Batching(token_budget=budget, padding_side=side, share_prompts=share)
                rm = SequenceReward(model, tok, batching=batching)
                found = rm.score([PROMPTS[row] for row in rows], [COMPLETIONS[row] for row in rows])
                assert found == pytest.approx([want[row] for row in rows], abs=1e-4), (side, pad, budget, share, order)
