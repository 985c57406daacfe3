"""ImplicitReward against log-probabilities summed token by token, one forward pass each."""

from __future__ import annotations

import pytest
import torch
from tests.small_models import llama_policy, mixed_rows, token_by_token, tokenizer

from rewardsmith.rewards import Batching, ImplicitReward

pytestmark = [pytest.mark.models, pytest.mark.slow]


def by_hand(policy, reference, tok, prompt, completion, beta=0.1):
    """(β Σ log ratio, number of the completion's tokens, the end-of-sequence token included)."""
    asked = tok(prompt)["input_ids"]
    ids = tok(prompt + completion + "<eos>")["input_ids"]
    assert ids[: len(asked)] == asked
    ratio = token_by_token(policy, ids, len(asked)) - token_by_token(reference, ids, len(asked))
    return beta * ratio, len(ids) - len(asked)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("budget", [1, 64, 4096])
def test_it_is_the_log_ratio_of_the_completions_tokens(budget, share):
    policy, reference, tok = llama_policy(1), llama_policy(2), tokenizer()
    prompts, completions = mixed_rows(per_prompt=3)
    prompts[-1] = "1"  # a row needs a token before its completion
    batching = Batching(token_budget=budget, share_prompts=share)
    rm = ImplicitReward(policy, reference, tok, beta=0.3, batching=batching)
    want = [by_hand(policy, reference, tok, *row, beta=0.3) for row in zip(prompts, completions, strict=True)]
    assert rm.score(prompts, completions) == pytest.approx([value for value, _ in want], abs=1e-9)
    assert rm.scanner.share is share
    per_token = ImplicitReward(policy, reference, tok, beta=0.3, batching=batching, normalize="tokens")
    assert per_token.score(prompts, completions) == pytest.approx([value / n for value, n in want], abs=1e-9)


def test_equal_models_imply_nothing_and_an_empty_completion_is_its_end():
    policy, reference, tok = llama_policy(1), llama_policy(2), tokenizer()
    assert ImplicitReward(policy, policy, tok).score(["1+1="], ["2"]) == [0.0]
    [found] = ImplicitReward(policy, reference, tok).score(["1+1="], [""])
    assert found == pytest.approx(by_hand(policy, reference, tok, "1+1=", "")[0], abs=1e-9)


def test_conversations_start_where_the_template_asks():
    policy, reference, tok = llama_policy(1), llama_policy(2), tokenizer(chat=True)
    rm = ImplicitReward(policy, reference, tok)
    found = rm.score([[{"role": "user", "content": "1+1="}]], [[{"role": "assistant", "content": "2"}]])
    want, _ = by_hand(policy, reference, tok, "so 1+1=<eos>the ", "2")
    assert found == pytest.approx([want], abs=1e-9)


def test_what_cannot_be_read_says_why():
    policy, reference, tok = llama_policy(1), llama_policy(2), tokenizer()
    rm = ImplicitReward(policy, reference, tok, max_length=6)
    no_prompt, too_long, fine = rm.reasoned(["", "1+1=", "1+1="], ["2", "so " * 9, "2"])
    assert "no token stands before the completion" in no_prompt.why
    assert too_long.why == "too long: 23 tokens; the model takes 6"
    assert fine == pytest.approx(by_hand(policy, reference, tok, "1+1=", "2")[0], abs=1e-9)
    with torch.no_grad():
        policy.lm_head.weight[5] = float("nan")
    assert rm.score(["1+1="], ["2"]) == [None]


def test_wrong_arguments_are_refused():
    policy, tok = llama_policy(), tokenizer()
    with pytest.raises(ValueError, match="beta=0 must be above 0"):
        ImplicitReward(policy, policy, tok, beta=0)
    with pytest.raises(ValueError, match="normalize is 'length'"):
        ImplicitReward(policy, policy, tok, normalize="length")
    other = llama_policy()
    other.config.vocab_size = 7
    with pytest.raises(ValueError, match="have 122 and 7 tokens"):
        ImplicitReward(policy, other, tok)
