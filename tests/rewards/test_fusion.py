"""RewardFusion against a loop over neighbors by scipy's cosine."""

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from rewardsmith.rewards import RewardFusion

CALLS: list[list[str]] = []


def embed(texts):
    return [[text.count(letter) for letter in "abc"] for text in texts]


def length(prompts, completions, **columns):
    CALLS.append(list(completions))
    return [None if "!" in text else float(len(text)) + 10 * text.count("b") for text in completions]


INDEX = [("a", "ab"), ("a", "abc"), ("b", "aabc"), ("c", "cc"), ("a", "ab"), ("b", "bbbc"), ("a", "abb!")]


def slow(prompt, text, *, k, threshold, weight):
    own = length([prompt], [text])[0]
    near = []
    for p, c in dict.fromkeys(INDEX):
        if (p, c) != (prompt, text):
            similarity = 1 - cosine(*embed([prompt + text, p + c]))
            if similarity >= threshold:
                near.append((similarity, length([p], [c])[0]))
    near = [(s, r) for s, r in sorted(near, key=lambda item: -item[0])[:k] if r is not None]
    total = weight + sum(s for s, _ in near)
    return (weight * own + sum(s * r for s, r in near)) / total if total else own


@pytest.mark.parametrize("weight", [1.0, 0.3, 0.0])
@pytest.mark.parametrize(("k", "threshold"), [(5, 0.9), (1, 0.5), (20, 0.0)])
def test_it_is_the_weighted_mean_over_the_nearest_training_texts(k, threshold, weight):
    fused = RewardFusion(length, INDEX, embed, k=k, threshold=threshold, self_weight=weight)
    queries = [("a", "abb"), ("b", "abc"), ("c", "ccc"), ("a", "ab"), ("a", "abc")]
    found = fused(prompts=[p for p, _ in queries], completions=[c for _, c in queries])
    expected = [slow(p, c, k=k, threshold=threshold, weight=weight) for p, c in queries]
    assert found == pytest.approx(expected)


def test_a_query_of_the_index_is_not_its_own_neighbor_and_equal_texts_count_once():
    twice = RewardFusion(length, [("a", "ab")] * 3 + [("a", "aab")], embed, threshold=-1.0)
    (value,) = twice(prompts=["a"], completions=["ab"])
    s = 1 - cosine([2, 1, 0], [3, 1, 0])
    assert value == pytest.approx((12 + s * 13) / (1 + s))  # lengths 2 and 3, one b each


def test_neighbors_are_asked_once_and_in_one_call():
    CALLS.clear()
    fused = RewardFusion(length, INDEX, embed, threshold=0.5)
    fused(prompts=["a", "a"], completions=["abb", "abb"])
    assert len(CALLS) == 2
    fused(prompts=["a"], completions=["abb"])
    assert CALLS[2:] == [["abb"]]


def test_unscored_stays_unscored_and_without_neighbors_the_reward_is_its_own():
    fused = RewardFusion(length, INDEX, embed)
    assert fused(prompts=["a", "zz"], completions=["b!", "yy"]) == [None, 2.0]
    assert RewardFusion(length, INDEX, embed, k=0)(prompts=["a"], completions=["ab"]) == [12.0]
    assert RewardFusion(length, [], embed)(prompts=["a"], completions=["ab"]) == [12.0]
    assert fused(prompts=[], completions=[]) == []


def test_columns_reach_the_reward_and_chats_are_read_as_text():
    def keyed(prompts, completions, answer=None, **columns):
        return [1.0 if answer is None else float(a == "4") for a in answer or prompts]

    fused = RewardFusion(keyed, [("a", "ab")], embed, threshold=0.5)
    chat = [{"role": "assistant", "content": "aab"}]
    assert fused(prompts=["a"], completions=[chat], answer=["5"]) == pytest.approx(
        [np.sqrt(0.98) / (1 + np.sqrt(0.98))], abs=0.02
    )


def test_it_plugs_into_scoring_and_refuses_what_it_cannot_use():
    async def slow_reward(prompts, completions, **columns):
        return [0.0]

    with pytest.raises(TypeError, match=r"RewardFusion: 'slow_reward' is async.* Pass a function that returns"):
        RewardFusion(slow_reward, INDEX, embed)
    with pytest.raises(ValueError, match=r"RewardFusion: threshold is 2.0, outside \[-1.0, 1.0\]"):
        RewardFusion(length, INDEX, embed, threshold=2.0)
    with pytest.raises(ValueError, match=r"RewardFusion: embed returned shape \(6,\) for 6 texts"):
        RewardFusion(length, INDEX, lambda texts: [1.0] * len(texts))(prompts=["a"], completions=["a"])
