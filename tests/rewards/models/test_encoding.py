"""Token ids without the tokenizer's own bookkeeping: the same ids."""

from __future__ import annotations

import pytest
from small_models import tokenizer
from tokenizers.processors import TemplateProcessing

from rewardsmith.rewards.models.encoding import _token_ids


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
