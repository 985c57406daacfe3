"""ReferenceReward against direct calls of the model, one row at a time."""

import math
import pickle

import pytest
import torch
from tests.small_models import llama_classifier, tokenizer

from rewardsmith.data import Row
from rewardsmith.rewards import ReferenceReward, load_reward_model
from rewardsmith.scoring import rewards_of, score
from rewardsmith.scoring.calling import Unscored

pytestmark = [pytest.mark.models, pytest.mark.slow]

PROMPTS = ["3 + 4 =", "12 - 5 =", "3 + 4 ="]
COMPLETIONS = ["the 7", "so 9", "7"]
ANSWERS = ["7", 7, "8"]


def direct(reward, prompt, completion, answer):
    text = prompt + f" the {answer} so {completion}" + reward.tokenizer.eos_token
    with torch.no_grad():
        return 1 / (1 + math.exp(-float(reward.model(**reward.tokenizer(text, return_tensors="pt")).logits[0, 0])))


@pytest.fixture
def reward():
    return ReferenceReward(llama_classifier(), tokenizer(), template=" the {reference} so {response}")


def test_a_score_is_sigma_of_the_model_on_question_key_and_completion(reward):
    expected = [direct(reward, *row) for row in zip(PROMPTS, COMPLETIONS, ANSWERS, strict=True)]
    assert reward(PROMPTS, COMPLETIONS, answer=ANSWERS) == pytest.approx(expected, abs=1e-9)
    assert any(abs(p - 0.5) > 1e-3 for p in expected)
    rows = [Row(p, y, {"answer": a}) for p, y, a in zip(PROMPTS, COMPLETIONS, ANSWERS, strict=True)]
    assert rewards_of(score(reward, rows, workers=0)) == pytest.approx(expected, abs=1e-9)
    assert pickle.loads(pickle.dumps(reward))(PROMPTS, COMPLETIONS, answer=ANSWERS) == pytest.approx(expected, abs=1e-9)


def test_a_row_without_a_key_or_too_long_is_unscored_with_its_reason(reward):
    reward.max_length = 40
    found = reward.reasoned(PROMPTS, ["7", "7 " * 40, "7"], answer=[" ", "7", "7"])
    assert found[0] == Unscored("the row has no key")
    assert "tokens" in found[1].why
    assert 0 < found[2] < 1


def test_saved_and_loaded_it_scores_the_same_with_its_template(reward, tmp_path):
    reward.save(tmp_path)
    loaded = load_reward_model(tmp_path)
    assert (type(loaded), loaded.template) == (ReferenceReward, reward.template)
    expected = reward(PROMPTS, COMPLETIONS, answer=ANSWERS)
    assert loaded(PROMPTS, COMPLETIONS, answer=ANSWERS) == pytest.approx(expected, abs=1e-6)


def test_what_it_cannot_read_is_refused(reward):
    with pytest.raises(
        ValueError, match=r"ReferenceReward: template 'x' must hold \{reference\} and \{response\} once"
    ):
        ReferenceReward(reward.model, reward.tokenizer, template="x")
    with pytest.raises(
        ValueError, match=r"ReferenceReward: the head of reference_reward gives 2 numbers.*num_labels=1"
    ):
        ReferenceReward(llama_classifier(n_labels=2), reward.tokenizer)
