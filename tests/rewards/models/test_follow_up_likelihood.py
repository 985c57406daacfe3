"""FollowUpLikelihood against log-probabilities of one forward pass per token."""

from __future__ import annotations

from statistics import fmean

import pytest
from tests.small_models import llama_policy, token_by_token, tokenizer

from rewardsmith.rewards import Batching, FollowUpLikelihood
from rewardsmith.scoring.calling import Unscored

pytestmark = [pytest.mark.models, pytest.mark.slow]

GOOD, BAD = ["so 3", "the answer is 3", "so 3"], ["maybe 9", "or", "9?"]
PROMPTS, COMPLETIONS = ["1+2=", "1+2=", "4+4="], ["3", "maybe 4 or 5", "8\nUser: so 3"]


def reward_of(chat=True, **options):
    return FollowUpLikelihood(llama_policy(1), tokenizer(chat=chat), positive=GOOD, negative=BAD, **options)


def by_hand(reward, before, after, most=None):
    """The reward, given the text before and after a follow-up; a repeated follow-up counts once."""
    tok, banks = reward.tokenizer, []
    for bank in (GOOD[:2], BAD):
        banks.append([])
        for follow_up in bank:
            start, ids = len(tok(before)["input_ids"]), tok(before + follow_up)["input_ids"]
            assert tok(before + follow_up + after)["input_ids"][: len(ids)] == ids
            cut = max(0, len(ids) - most) if most else 0
            logp = token_by_token(reward.scorer, ids[cut:], start - cut)
            banks[-1].append(logp / (len(ids) - start))
    return fmean(banks[0]) - fmean(banks[1])


@pytest.mark.parametrize("budget", [1, 4096])
def test_it_is_the_difference_of_mean_log_probabilities_of_the_users_turn(budget):
    reward = reward_of(batching=Batching(token_budget=budget))
    answers = ["3", "maybe 4 or 5", "8"]  # the turn that the policy wrote for the user is cut off
    want = [by_hand(reward, f"so {p}<eos>the {a}<eos>so ", "<eos>") for p, a in zip(PROMPTS, answers, strict=True)]
    assert reward(PROMPTS, COMPLETIONS) == pytest.approx(want, abs=1e-9)
    chat = [[{"role": "user", "content": p}] for p in PROMPTS]
    said = [[{"role": "assistant", "content": c}] for c in COMPLETIONS]
    assert reward(chat, said) == pytest.approx(want, abs=1e-9)


def test_without_a_chat_template_texts_are_joined():
    reward = reward_of(chat=False, separator="\n= ")
    want = [by_hand(reward, f"{p}{c}\n= ", "") for p, c in zip(PROMPTS[:2], COMPLETIONS[:2], strict=True)]
    assert reward(PROMPTS[:2], COMPLETIONS[:2]) == pytest.approx(want, abs=1e-9)


def test_a_long_conversation_loses_its_beginning_and_never_the_follow_up():
    reward = reward_of(max_length=12)
    [found] = reward(["1+2=" * 20], ["3"])
    assert found == pytest.approx(
        by_hand(reward, "so " + "1+2=" * 20 + "<eos>the 3<eos>so ", "<eos>", most=12), abs=1e-9
    )
    [none] = reward_of(max_length=3).reasoned(["1+2="], ["3"])
    assert isinstance(none, Unscored)
    assert none.why == "a follow-up of 3 tokens leaves no room for the conversation"


def test_swapped_banks_reverse_the_sign_and_a_template_that_changes_the_text_is_told():
    reward, swapped = reward_of(), FollowUpLikelihood(
        llama_policy(1), tokenizer(chat=True), positive=BAD, negative=GOOD
    )  # fmt: skip
    assert swapped(PROMPTS, COMPLETIONS) == pytest.approx([-value for value in reward(PROMPTS, COMPLETIONS)], abs=1e-9)
    assert reward.content_digest() != swapped.content_digest()
    reward.tokenizer.chat_template = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
    [none] = reward.reasoned(["1+2="], ["3"])
    assert none.why == "the chat template does not write the follow-up as it is"
    for bank in ([], ["so", " "]):
        with pytest.raises(ValueError, match="positive and negative each need a follow-up with text"):
            FollowUpLikelihood(reward.scorer, reward.tokenizer, positive=bank, negative=BAD)
