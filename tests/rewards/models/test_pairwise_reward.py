"""PairwiseReward against direct calls of the model, one row at a time."""

import math
from dataclasses import replace

import pytest
import torch
from tests.small_models import llama_classifier, tokenizer

from rewardsmith.data import Row
from rewardsmith.rewards import PairwiseReward, load_reward_model
from rewardsmith.scoring import rewards_of, score

pytestmark = [pytest.mark.models, pytest.mark.slow]

PROMPTS = ["3 + 4 =", "12 - 5 =", "3 + 4 ="]
FIRSTS = ["the 7", "so 9", "7"]
SECONDS = ["8", "the 7 the 7", "so the 8"]


def direct(reward, prompt, first, second):
    text = prompt + reward.template.replace("{first}", first).replace("{second}", second) + reward.tokenizer.eos_token
    with torch.no_grad():
        return float(reward.model(**reward.tokenizer(text, return_tensors="pt")).logits[0, 0])


@pytest.fixture
def reward():
    return PairwiseReward(llama_classifier(), tokenizer(), template=" the {first} so {second}")


def test_a_comparison_is_the_model_on_prompt_and_both_answers(reward):
    expected = [1 / (1 + math.exp(-direct(reward, *row))) for row in zip(PROMPTS, FIRSTS, SECONDS, strict=True)]
    assert reward.compare(PROMPTS, FIRSTS, SECONDS) == pytest.approx(expected, abs=1e-9)
    assert any(abs(p - 0.5) > 1e-3 for p in expected)


def test_the_score_is_the_mean_of_both_orders_and_turns_its_sign_with_the_answers(reward):
    rows = list(zip(PROMPTS, FIRSTS, SECONDS, strict=True))
    expected = [(direct(reward, p, a, b) - direct(reward, p, b, a)) / 2 for p, a, b in rows]
    assert reward(PROMPTS, FIRSTS, reference=SECONDS) == pytest.approx(expected, abs=1e-9)
    assert reward(PROMPTS, SECONDS, reference=FIRSTS) == pytest.approx([-value for value in expected], abs=1e-9)


def test_a_place_can_be_asked_for_alone(reward):
    rows = list(zip(PROMPTS, FIRSTS, SECONDS, strict=True))
    found = reward(PROMPTS, FIRSTS, reference=SECONDS, placed=["first", "second", None])
    assert found[0] == pytest.approx(direct(reward, *rows[0]), abs=1e-9)
    assert found[1] == pytest.approx(-direct(reward, PROMPTS[1], SECONDS[1], FIRSTS[1]), abs=1e-9)
    assert found[2] == pytest.approx(reward(PROMPTS, FIRSTS, reference=SECONDS)[2], abs=1e-9)


def test_the_scorer_sends_the_reference_along(reward):
    rows = [Row(p, a, {"reference": b}) for p, a, b in zip(PROMPTS, FIRSTS, SECONDS, strict=True)]
    scored = rewards_of(score(reward, rows, workers=0))
    assert scored == pytest.approx(reward(PROMPTS, FIRSTS, reference=SECONDS), abs=1e-9)


def test_what_is_too_long_is_unscored_in_either_order(reward):
    reward.max_length = 40
    found = reward(PROMPTS, ["7 " * 40, "7", "7"], reference=["8", "8 " * 40, "8"])
    assert found[:2] == [None, None]
    assert found[2] is not None


def test_saved_and_loaded_it_scores_the_same_with_its_template(reward, tmp_path):
    reward.save(tmp_path)
    loaded = load_reward_model(tmp_path)
    assert (type(loaded), loaded.template) == (PairwiseReward, reward.template)
    again = loaded(PROMPTS, FIRSTS, reference=SECONDS)
    assert again == pytest.approx(reward(PROMPTS, FIRSTS, reference=SECONDS), abs=1e-9)
    assert loaded.content_digest() != replace(loaded, template=" so {first} the {second}").content_digest()


def test_a_template_that_loses_an_answer_and_a_head_of_two_are_refused():
    with pytest.raises(ValueError, match=r"must hold \{first\} and \{second\} once each"):
        PairwiseReward(llama_classifier(), tokenizer(), template="{first}")
    with pytest.raises(ValueError, match="gives 2 numbers"):
        PairwiseReward(llama_classifier(2), tokenizer())
