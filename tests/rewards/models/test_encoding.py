"""Token ids without the tokenizer's own bookkeeping: the same ids."""

from __future__ import annotations

import pytest
from tests.small_models import tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

from rewardsmith.rewards import SequenceReward
from rewardsmith.rewards.models.encoding import RowEncoder, _token_ids

pytestmark = pytest.mark.slow


def test_token_ids_are_those_that_the_tokenizer_gives_whatever_it_was_last_asked_to_do():
    tok = tokenizer()
    texts = ["1+2=3<eos>", "", "so maybe", "the answer is 40", "<eos>"]
    plain = tok(texts)["input_ids"]
    tok(texts, truncation=True, max_length=2, padding="max_length")
    assert list(_token_ids(tok, texts, special=True)) == plain

    class Odd(type(tok)):
        def __call__(self, *arguments, **options):
            return {"input_ids": [[7]] * len(arguments[0])}

    odd = Odd(tokenizer_object=tok.backend_tokenizer)
    assert list(_token_ids(odd, texts, special=True)) == [[7]] * 5


@pytest.mark.parametrize("special", [True, False])
def test_special_tokens_are_added_as_the_tokenizer_adds_them(special):
    tok = tokenizer()
    tok.backend_tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 1)])
    texts = ["1+2=3", "so"]
    assert list(_token_ids(tok, texts, special=special)) == tok(texts, add_special_tokens=special)["input_ids"]


def wrapped(single: str):
    """A tokenizer that adds its special tokens, <unk> for the one that begins a text."""
    tok = tokenizer()
    tok.bos_token = "<unk>"
    ids = [(token, tok.convert_tokens_to_ids(token)) for token in ("<unk>", "<eos>")]
    tok.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=ids)
    return tok


def test_a_text_that_a_template_has_begun_gets_no_second_begin_token():
    tok = wrapped("<unk> $A <eos>")
    begin, end = tok.bos_token_id, tok.eos_token_id
    plain, begun = RowEncoder(tok).rows(["1+1=", "<unk>1+1="], ["2", "2<eos>"])
    own = tok("1+1=2", add_special_tokens=False)["input_ids"]
    assert plain.ids.tolist() == [begin, *own, end, end]  # as TRL writes it: its end token, then the tokenizer's
    assert begun.ids.tolist() == [begin, *own, end]
    assert RowEncoder(tok).prompt_ids("<unk>1+1=") == [begin, *tok("1+1=", add_special_tokens=False)["input_ids"]]


def test_without_an_end_token_of_ours_the_tokenizer_s_own_stands_once():
    tok = wrapped("$A <eos>")
    ends = [
        row.ids.tolist().count(1) for row in RowEncoder(tok, eos=False).rows(["1="] * 3, ["1", "1<eos>", "<eos><eos>"])
    ]
    assert ends == [1, 1, 2]


def test_both_answers_of_a_pair_start_at_the_same_token():
    """The prompt's last letter joins one of the answers; TRL's DPOTrainer takes the shorter common prefix for both."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: n for n, token in enumerate(["<eos>", *letters, "th", "the"])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[("t", "h"), ("th", "e")]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    encoder = RowEncoder(PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>"))
    prompts, completions = ["why is t", "why is t", "why is s"], ["he quick", "& cats", "he quick"]
    starts = [row.reads[0] + 1 for row in encoder.split_rows(prompts, completions)]
    assert starts == [len("why is "), len("why is "), len("why is s")]
    assert [row.reads[0] + 1 for row in encoder.split_rows(prompts[1:2], completions[1:2])] == [len("why is t")]


def test_positions_behind_a_padding_row_are_the_ones_a_row_may_have():
    tok, size = tokenizer(), 16
    config = RobertaConfig(
        vocab_size=len(tok), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=size, pad_token_id=0, eos_token_id=1, bos_token_id=1, num_labels=1,
    )  # fmt: skip
    rm = SequenceReward(RobertaForSequenceClassification(config), tok)
    assert rm.max_length == size - 1  # position 0 is that of padding
    fits, long = rm.reasoned(["so" * 14, "so" * 15], ["", ""])
    assert isinstance(fits, float)
    assert long.why == "too long: 16 tokens; the model takes 15"
