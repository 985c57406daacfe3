"""EmbeddingSimilarity against cosines by hand and by scipy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine

from rewardsmith.rewards import EmbeddingSimilarity
from rewardsmith.rewards.similarity import paraphrase_ceiling

CALLS: list[list[str]] = []


def encode(texts):
    """Counts of three words: "none of them" has no direction."""
    CALLS.append(texts)
    return [[text.split().count(word) for word in ("red", "green", "blue")] for text in texts]


def broken(texts):
    return [[float("inf"), 0.0, 1.0] if text == "red" else [1.0, 0.0, 0.0] for text in texts]


def tiny(texts):
    return np.asarray(encode(texts)) * 1e-300


def huge(texts):
    return np.asarray(encode(texts)) * 1e300


def flat(texts):
    return [1.0 for _ in texts]


def test_cosines_by_hand_rescaled_and_capped():
    reward = EmbeddingSimilarity(encode, floor=0.2, ceiling=0.8)
    texts = ["red", "green", "red green", "red red green"]
    # cosines 1, 0, 1/√2, 2/√5 = 0.894
    expected = [1.0, 0.0, (0.5**0.5 - 0.2) / 0.6, 1.0]
    assert reward(completions=texts, answer=["red"] * 4) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [encode, tiny, huge])
@given(st.lists(st.sampled_from(["red", "green", "blue"]), min_size=1, max_size=6))
def test_it_agrees_with_scipy_at_any_scale(encoder, words):
    reward = EmbeddingSimilarity(encoder, floor=-1.0, ceiling=1.0)
    (score,) = reward(completions=[" ".join(words)], answer=["red green"])
    slow = 1 - cosine([words.count(word) for word in ("red", "green", "blue")], [1, 1, 0])
    assert score == pytest.approx((slow + 1) / 2)


def test_the_unscorable_is_none_and_an_empty_completion_is_worth_nothing():
    reward = EmbeddingSimilarity(encode)
    texts = ["red", "red", "red", "other words", "", " \n", ""]
    answers = [None, " ", "none of them", "red", "red", "red", None]
    assert reward(completions=texts, answer=answers) == [None, None, None, None, 0.0, 0.0, None]
    assert EmbeddingSimilarity(broken)(completions=["red", "x"], answer=["x", "x"]) == [None, 1.0]


def test_every_text_is_encoded_once_in_one_call_and_none_for_nothing():
    CALLS.clear()
    EmbeddingSimilarity(encode)(completions=["red", "green", "", "red"], answer=["blue", "blue", "green", "blue"])
    assert [sorted(call) for call in CALLS] == [["blue", "green", "red"]]
    CALLS.clear()
    assert EmbeddingSimilarity(encode)(completions=["red"], answer=[None]) == [None]
    assert CALLS == []


def test_length_beyond_the_ratio_costs_its_share():
    reward = EmbeddingSimilarity(encode, length_ratio=2.0)
    padded = ["red", "red and", "red and so on"]
    assert reward(completions=padded, answer=["red"] * 3) == pytest.approx([1.0, 1.0, 2.0 / 4])
    assert EmbeddingSimilarity(encode)(completions=padded, answer=["red"] * 3) == pytest.approx([1.0] * 3)


def test_conversational_completions_and_numbers_as_answers_are_read():
    chat = [[{"role": "assistant", "content": "red"}]]
    assert EmbeddingSimilarity(encode)(completions=chat, answer=["red"], prompts=["q"]) == pytest.approx([1.0])
    assert EmbeddingSimilarity(broken)(completions=["4"], answer=[4]) == pytest.approx([1.0])


def test_the_ceiling_is_a_quantile_of_paraphrase_cosines():
    texts, paraphrases = ["red", "red", "red", "no colors"], ["red", "red green", "green", "red"]
    cosines = [1.0, 0.5**0.5, 0.0]  # the last pair cannot be compared
    for quantile in (0.0, 0.3, 0.5, 1.0):
        measured = paraphrase_ceiling(encode, texts, paraphrases, quantile=quantile)
        assert measured == pytest.approx(float(np.quantile(cosines, quantile)))


def test_it_pickles_under_its_name():
    reward = pickle.loads(pickle.dumps(EmbeddingSimilarity(encode, floor=0.1, ceiling=0.9)))
    assert reward(completions=["red"], answer=["red"]) == [1.0]
    assert reward.__name__ == "embedding_similarity"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"floor": 0.8, "ceiling": 0.8}, "floor=0.8 is not below ceiling=0.8, so all answers would get equal scores"),
        ({"ceiling": 1.5}, r"ceiling is 1.5, outside \[-1.0, 1.0\]"),
        ({"floor": float("nan")}, "floor is nan, outside"),
        ({"length_ratio": 0.0}, "length_ratio=0.0 must be above 0. Use None"),
    ],
)
def test_a_scale_without_a_rise_is_refused(options, message):
    with pytest.raises(ValueError, match=f"EmbeddingSimilarity: {message}"):
        EmbeddingSimilarity(encode, **options)


def test_an_encoder_of_the_wrong_shape_and_pairs_without_direction_are_refused():
    with pytest.raises(ValueError, match=r"embed returned shape \(2,\) for 2 texts, not \(2, d\). Return one vector"):
        EmbeddingSimilarity(flat)(completions=["a"], answer=["b"])
    with pytest.raises(ValueError, match=r"none of the 1 pairs has two embeddings other than 0. Give pairs"):
        paraphrase_ceiling(encode, ["no colors"], ["red"])
