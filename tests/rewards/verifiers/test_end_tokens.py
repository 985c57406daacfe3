"""Special tokens that end a turn are no part of the answer, and nothing else is taken for one."""

import pytest

from rewardsmith.data.rows import without_end_tokens
from rewardsmith.rewards import exact_number, exact_text, math_equal, multiple_choice
from rewardsmith.scoring import to_openrlhf

TOKENS = [
    "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<|end|>", "<|return|>", "</s>",
    "<eos>", "<pad>", "<end_of_turn>", "<end_of_utterance>", "<｜end▁of▁sentence｜>", "</s></s>", " <|im_end|>\n",
    "<|im_end|>\n<|endoftext|>", "<|endoftext|>" * 500,
]  # fmt: skip
SAID = ["The answer is 7", "The answer is 7.", "So it is \\boxed{7}", "Adding gives\n#### 7", "7", "<answer>7</answer>"]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: repr(token)[:24])
@pytest.mark.parametrize("verifier", [math_equal, exact_number, exact_text])
def test_a_right_answer_before_an_end_token_is_right_and_a_wrong_one_wrong(verifier, token):
    assert verifier([said + token for said in SAID], ["7"] * len(SAID)) == [1.0] * len(SAID)
    assert verifier([said + token for said in SAID], ["8"] * len(SAID)) == [0.0] * len(SAID)


def test_the_letter_and_the_key_may_end_so_too():
    assert multiple_choice(["The answer is (B).<|eot_id|>"], ["B"]) == [1.0]
    assert exact_number(["7", "8"], ["7<|im_end|>"] * 2) == [1.0, 0.0]


@pytest.mark.parametrize("verifier", [math_equal, exact_number])
@pytest.mark.parametrize(
    "text",
    ["7<|im_end|>8", "7<|8|>", "7<8>", "7</sup>", "7<|im_end|> or 8", "<|im_end|>", "7</s>8</s>", "\\boxed{8}7</s>"],
)
def test_what_is_no_end_token_or_not_at_the_end_stays(verifier, text):
    assert verifier([text], ["7"]) == [0.0]


@pytest.mark.slow
def test_a_text_of_nothing_else_stays_as_it_is_and_long_ones_cost_nothing():
    assert exact_text(["</s>", "The end token is </s>"], ["</s>"] * 2) == [1.0, 0.0]
    assert without_end_tokens("") == ""
    assert without_end_tokens("a </s> b") == "a </s> b"
    assert without_end_tokens("7" + "</s>" * 200_000 + " " * 200_000) == "7"


def test_openrlhf_hands_over_what_was_decoded_with_special_tokens():
    prompt = "<|im_start|>user\nWhat is 2+5?<|im_end|>\n<|im_start|>assistant\n"
    answers = ["The answer is 7<|im_end|>", "So it is \\boxed{7}<|im_end|>", "Adding gives\n#### 7<|im_end|>"]
    found = to_openrlhf(math_equal, unscored=0.0)([prompt + a for a in answers], [prompt] * 3, ["7"] * 3)
    assert found["rewards"].tolist() == [1.0, 1.0, 1.0]
    seen = []

    def keeps(completions, **columns):
        seen.extend(completions)
        return [1.0] * len(completions)

    to_openrlhf(keeps, unscored=0.0, end_tokens=["[END]"])(["q4[END]", "q4</s>", "q4"], ["q"] * 3, ["4"] * 3)
    assert seen == ["4", "4", "4"]
