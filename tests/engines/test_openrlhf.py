"""OpenRLHF's own executor loads a file with our exported reward, generates with a scripted engine, and asks it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from rewardsmith.worlds.arithmetic_lm import make_tokenizer
from tests.installed import part_of

agent = part_of("openrlhf", "openrlhf.utils.agent")

END = "<|im_end|>"
PROMPT = f"<|im_start|>user\n2+5={END}\n<|im_start|>assistant\n"
FILE = """
from rewardsmith.rewards import {reward}
from rewardsmith.scoring import to_openrlhf

reward_func = to_openrlhf({reward}, unscored=-1.0)
"""


class Scripted:
    """Generates what it is told, as vLLM hands it over: token ids, an end token included."""

    def __init__(self, tokenizer, text):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        self.output = SimpleNamespace(token_ids=ids, text=text, finish_reason="stop", logprobs=None)

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data=None):
        return SimpleNamespace(outputs=[self.output])


@pytest.fixture(scope="module")
def tokenizer():
    marks = ("<|im_start|>", END, "user", "assistant", "Adding gives", "The answer is", "\\boxed", "{", "}")
    made = make_tokenizer(marks)
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", END]})
    return made


def executed(folder, tokenizer, reward, completion, label):
    file = folder / "reward_file.py"
    file.write_text(FILE.format(reward=reward))
    executor = agent.SingleTurnAgentExecutor(str(file))
    sampling = SimpleNamespace(max_tokens=16, logprobs=None)
    return asyncio.run(executor.execute(PROMPT, label, sampling, 256, tokenizer, Scripted(tokenizer, completion + END)))


@pytest.mark.parametrize("reward", ["exact_number", "math_equal"])
@pytest.mark.parametrize(
    ("completion", "expected"),
    [("7", 1.0), ("The answer is 7", 1.0), ("Adding gives\n#### 7", 1.0), ("\\boxed{7}", 1.0), ("8", 0.0)],
)
def test_the_executor_gets_the_reward_of_the_completion(tmp_path, tokenizer, reward, completion, expected):
    found = executed(tmp_path, tokenizer, reward, completion, "7")
    assert tokenizer.decode(found["observation_tokens"]) == PROMPT + completion + END
    assert found["reward"].tolist() == [expected]
    assert found["scores"].tolist() == [expected]
    assert found["extra_logs"]["scored"].tolist() == [1.0]


def test_a_row_that_cannot_be_scored_is_paid_what_was_asked_for_and_says_so(tmp_path, tokenizer):
    found = executed(tmp_path, tokenizer, "exact_number", "7", "no number")
    assert found["reward"].tolist() == [-1.0]
    assert found["extra_logs"]["scored"].tolist() == [0.0]
