"""The parts of R³ on texts whose words can be counted."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from rewardsmith.rewards import EmbeddingRelevance, hashed_words, length_incentive, ngram_uniqueness
from rewardsmith.rewards.relevance import own_turn

WORDS = ("red", "green", "blue")


def counts(texts):
    return [[text.split().count(word) for word in WORDS] for text in texts]


@pytest.mark.parametrize(
    "tail", ["\nUser: red red", "\n\n  Human : thanks", "<|im_end|>\n<|im_start|>user", "### Instruction", "</s> red"]
)
def test_no_part_reads_a_turn_that_the_policy_writes_for_another(tail):
    assert own_turn("red green" + tail) == "red green"
    said = [{"role": "assistant", "content": "red green" + tail}]
    for reward in (length_incentive, ngram_uniqueness, EmbeddingRelevance(counts)):
        rows = {"prompts": ["red"] * 3, "completions": ["red green", "red green" + tail, said]}
        values = reward(**rows)
        assert values[0] == values[1] == values[2]


def test_length_and_variety_count_words_and_marks():
    assert length_incentive(["Well, it is 4.", ""]) == [0.06, 0.0]  # well , it is 4 .
    assert length_incentive(["a " * 30], most=12) == [0.12]
    assert ngram_uniqueness(["a b c a b c", "A b c", "a b", "a a a a"]) == [3 / 4, 1.0, 1.0, 1 / 2]
    assert ngram_uniqueness(["a b a b"], n=2) == [2 / 3]


def test_relevance_is_the_similarity_to_the_prompt_or_the_reference():
    rows = {"prompts": ["red red", "green"], "completions": ["red blue", "green"], "answer": ["blue", "red green"]}
    dots = EmbeddingRelevance(counts, metric="dot")
    assert dots(**rows) == [2.0, 1.0]
    assert EmbeddingRelevance(counts, metric="dot", to="answer")(**rows) == [1.0, 1.0]
    want = [1 - cosine(*counts(pair)) for pair in (("red red", "red blue"), ("green", "green"))]
    assert EmbeddingRelevance(counts)(**rows) == pytest.approx(want)
    assert EmbeddingRelevance(to="answer").__name__ == "answer_relevance"
    assert pickle.loads(pickle.dumps(EmbeddingRelevance()))(**rows) == pytest.approx([0.5**0.5, 1.0])


def test_a_missing_reference_is_unscored_and_an_empty_answer_is_irrelevant():
    rows = {"prompts": ["red"] * 4, "completions": ["red", "", "red", "pink"], "answer": [None, "red", " ", "red"]}
    assert EmbeddingRelevance(counts, to="answer")(**rows) == [None, 0.0, None, None]  # "pink" has no direction
    assert EmbeddingRelevance(counts, to="answer", metric="dot")(**rows) == [None, 0.0, None, 0.0]


def test_the_encoder_of_last_resort_counts_words_in_any_process():
    table = hashed_words(["Red, red!", "red"])
    assert table.shape == (2, 2048)
    assert table.sum(axis=1).tolist() == [4, 1]
    [place] = np.flatnonzero(hashed_words(["123456789"])[0])
    assert place == 0xCBF43926 % 2048  # the check value of CRC-32
    with pytest.raises(ValueError, match="EmbeddingRelevance: to is 'question', which is not one of"):
        EmbeddingRelevance(to="question")
    with pytest.raises(ValueError, match="EmbeddingRelevance: metric is 'l2', which is not one of"):
        EmbeddingRelevance(metric="l2")


def test_rows_without_reference_answers_are_refused():
    with pytest.raises(ValueError, match=r"EmbeddingRelevance: the rows have no column answer. Add the reference"):
        EmbeddingRelevance(to="answer")(["?"], ["a"])
