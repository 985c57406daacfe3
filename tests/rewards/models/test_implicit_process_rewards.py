"""ImplicitPRM against log-probabilities of one forward pass per token; spans of tokens against their text."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.small_models import llama_policy, token_by_token, tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rewardsmith.rewards import Batching, ImplicitPRM, ImplicitReward
from rewardsmith.rewards.models.encoding import RowEncoder

pytestmark = [pytest.mark.models, pytest.mark.slow]

PROMPTS = ["1+2=", "1+2=", "3+3=", "5+5="]
COMPLETIONS = ["1+2=3\n#### 3", "2 or 3\n\n4\n", "so", "10 or"]
STEPS = [["1+2=3", "#### 3"], ["2 or 3", "4"], ["so"], ["10"]]


def prm_of(**options):
    outcome = ImplicitReward(llama_policy(1), llama_policy(2), tokenizer(), beta=0.3, **options)
    return ImplicitPRM(outcome)


def by_hand(prm, prompt, completion):
    """(β log ratio of each token of the completion, log π_ref of them), one forward pass each."""
    tok = prm.outcome.tokenizer
    start, ids = len(tok(prompt)["input_ids"]), tok(prompt + completion + "<eos>")["input_ids"]
    both = [[token_by_token(model, ids[: k + 1], k) for k in range(start, len(ids))]
            for model in (prm.outcome.policy, prm.outcome.reference)]  # fmt: skip
    return [0.3 * (a - b) for a, b in zip(*both, strict=True)], sum(both[1]), ids[start:]


@pytest.mark.parametrize("budget", [1, 4096])
def test_tokens_are_log_ratios_and_their_sums_the_values_of_prefixes(budget):
    prm = prm_of(batching=Batching(token_budget=budget))
    for row, *asked in zip(prm.tokens(PROMPTS, COMPLETIONS), PROMPTS, COMPLETIONS, strict=True):
        want, ref_logp, _ = by_hand(prm, *asked)
        assert row.token_rewards == pytest.approx(want, abs=1e-9)
        assert row.prefix_values == pytest.approx(np.cumsum(want).tolist(), abs=1e-9)
        assert row.reward_cap == pytest.approx(-0.3 * ref_logp, abs=1e-9)
    assert prm.outcome.score(PROMPTS, COMPLETIONS) == pytest.approx(
        [row.prefix_values[-1] for row in prm.tokens(PROMPTS, COMPLETIONS)], abs=1e-9
    )


def test_a_step_is_what_its_tokens_add_and_the_last_one_ends_with_the_completion():
    prm = prm_of()
    found = prm(prompts=PROMPTS, completions=COMPLETIONS, steps=STEPS)
    ends = [[5, 9], [5, 9], [2], [1]]  # tokens: "1+2=3" has 5, "\n#### 3<eos>" 5; spaces and line breaks are tokens
    for row, own, *asked in zip(found, ends, PROMPTS, COMPLETIONS, strict=True):
        want, _, ids = by_hand(prm, *asked)
        whole = len(ids) if asked[1] != "10 or" else own[-1]  # text after the last step is cut off: it is in no step
        bounds = [0, *own[:-1], whole]
        assert row == pytest.approx([sum(want[a:b]) for a, b in pairwise(bounds)], abs=1e-9)
    values = ImplicitPRM(prm.outcome, scale="value")(prompts=PROMPTS, completions=COMPLETIONS, steps=STEPS)
    assert [row[-1] for row in values[:3]] == pytest.approx(prm.outcome.score(PROMPTS, COMPLETIONS)[:3], abs=1e-9)
    assert values[0] == pytest.approx(np.cumsum(found[0]).tolist(), abs=1e-9)


def test_the_expectation_of_the_exponential_is_one_and_caps_what_is_right():
    prm = prm_of()
    vocabulary = [text for text in prm.outcome.tokenizer.get_vocab() if text not in ("<pad>", "<unk>", "<eos>")]
    rows = prm.tokens(["1+2="] * len(vocabulary), vocabulary)
    caps = [row.reward_cap for row in rows]
    assert all(row.prefix_values[-1] <= cap + 1e-9 for row, cap in zip(rows, caps, strict=True))
    ratios = [(math.exp(row.token_rewards[0] / 0.3), row) for row in rows]  # of the first token: Σ π_ref π/π_ref ≤ 1
    ids = prm.outcome.tokenizer("1+2=")["input_ids"]
    with torch.no_grad():
        reference = prm.outcome.reference(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)
        missing = prm.outcome.policy(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)[:3].sum()
    places = [prm.outcome.tokenizer.get_vocab()[text] for text in vocabulary]
    total = sum(float(reference[place]) * ratio for place, (ratio, _) in zip(places, ratios, strict=True))
    assert total + float(missing) == pytest.approx(1.0, abs=1e-9)


def test_rows_without_a_score_say_why():
    prm = prm_of(max_length=9)
    elsewhere, too_long, fine = prm.reasoned(["1+1="] * 3, ["2", "so " * 9, "2"], steps=[["3"], ["so"], ["2"]])
    assert elsewhere.why == "its steps are not in the completion in this order"
    assert "too long" in too_long.why
    assert fine == pytest.approx(prm.outcome.score(["1+1="], ["2"]), abs=1e-9)
    assert prm(prompts=["1+1="] * 2, completions=["2", "2"], steps=[["3"], []]) == [None, []]


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="ImplicitPRM: scale is 'sum', which is not one of"):
        ImplicitPRM(prm_of().outcome, scale="sum")
    with pytest.raises(ValueError, match=r"normalize='tokens', so it is no sum over tokens and has no steps. Pass one"):
        prm_of(normalize="tokens")
    assert prm_of().content_digest() != ImplicitPRM(prm_of().outcome, scale="value").content_digest()


def byte_pairs():
    """A byte-level tokenizer that merges across words and line breaks, with a token at the start."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    texts = ["Ask me.\n\nSo 4.\n\nThanks a lot", "user: assistant: Thanks a lot\n\n"] * 3
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(texts, trainers.BpeTrainer(special_tokens=["<s>", "</s>"], initial_alphabet=alphabet))
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="</s>")


@pytest.mark.parametrize("chat", [False, True])
def test_spans_hold_their_parts_where_tokens_cross_their_borders(chat):
    tok = byte_pairs()
    tok.chat_template = (
        "<s>{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n\n</s>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    encoder = RowEncoder(tok, chat=chat)
    prompt, completion = "Ask me. ", " So 4 ≈ 4.\n\nÄ 🙂.\n\nThanks a lot"
    parts = [" So 4 ≈ 4.", "Ä 🙂.", "Thanks a lot"]
    [row] = encoder.split_rows([prompt], [completion])
    spans = encoder.spans(prompt, completion, row.ids, parts)
    for part, span in zip(parts, spans, strict=True):
        held, less = (tok.decode(row.ids[span.start + k : span.stop - k]) for k in (0, 1))
        assert part.strip() in held
        assert part.strip() not in less  # no token too many on either side
    assert spans[0].start >= row.reads[0]
    assert encoder.spans(prompt, completion, row.ids, parts[::-1]) is None


def test_a_folder_is_no_outcome_reward():
    with pytest.raises(
        TypeError, match=r"ImplicitPRM: outcome is 'folder'. Pass an ImplicitReward; load a folder first"
    ):
        ImplicitPRM("folder")
