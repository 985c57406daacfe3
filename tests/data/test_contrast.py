"""Mined pairs against a double loop, hull vertices against linear programs, and rewrites by their bookkeeping."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.distance import cosine

from rewardsmith.data import PreferenceRow, Row, convex_augment, cross_prompt_negatives, mine_contrast_pairs
from rewardsmith.data.contrast import hull_vertices


def letters(texts):
    return [[text.count(letter) for letter in "abcd"] for text in texts]


PROMPTS = ["".join(random.Random(k).choices("abcd", k=5)) for k in range(40)]


def test_mined_pairs_are_those_of_a_double_loop():
    rows = [Row(prompt, f"answer {k % 7}") for k, prompt in enumerate(PROMPTS)]
    first = {row.prompt: row.completion for row in reversed(rows)}  # the first row of a prompt speaks for it
    names, expected = list(dict.fromkeys(PROMPTS)), set()
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if 0.75 <= 1 - cosine(*letters([a, b])) <= 0.9 and first[a] != first[b]:
                expected.add((a, first[a], b, first[b]))
    found = mine_contrast_pairs(rows, letters)
    assert {pair[:4] for pair in found} == expected
    assert len(found) == len(expected) > 10
    assert [pair.similarity for pair in found] == sorted((pair.similarity for pair in found), reverse=True)


def test_blocks_of_the_similarity_matrix_change_nothing(monkeypatch):
    rows = [Row(prompt, str(k)) for k, prompt in enumerate(PROMPTS)]
    whole = mine_contrast_pairs(rows, letters)
    monkeypatch.setattr("rewardsmith.data.contrast._BLOCK", 3)
    assert mine_contrast_pairs(rows, letters) == whole


def test_preferences_are_mined_by_their_chosen_answer_and_what_has_none_is_passed_over():
    rows = [PreferenceRow("aab", "yes", "no"), PreferenceRow("abb", "so", "no"), Row("aabb", None), Row("abab", " ")]
    (pair,) = mine_contrast_pairs(rows, letters)  # (2·1 + 1·2)/5 = 0.8
    assert pair == ("aab", "yes", "abb", "so", pytest.approx(0.8))
    assert mine_contrast_pairs([Row("zzz", "1"), Row("yyy", "2")], letters, low=-1.0, high=1.0) == []
    assert mine_contrast_pairs([], letters) == []
    negatives = cross_prompt_negatives([pair])
    assert [(row.prompt, row.chosen, row.rejected) for row in negatives] == [("aab", "yes", "so"), ("abb", "so", "yes")]


def test_a_band_or_an_embedding_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"mine_contrast_pairs: low is 0.9, outside \[-1.0, 0.5\]"):
        mine_contrast_pairs([], letters, low=0.9, high=0.5)
    with pytest.raises(ValueError, match=r"mine_contrast_pairs: embed returned shape \(2,\) for 2 texts.*Return one"):
        mine_contrast_pairs([Row("a", "1"), Row("b", "2")], lambda texts: [1.0] * len(texts))


def is_vertex(points, k):
    """Whether no convex combination of the others makes point k."""
    others = np.delete(points, k, axis=0)
    a = np.vstack([others.T, np.ones(len(others))])
    return linprog(np.zeros(len(others)), A_eq=a, b_eq=[*points[k], 1.0], bounds=(0, None)).status == 2


@pytest.mark.slow
@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_hull_vertices_are_the_points_that_no_others_make(seed):
    points = np.random.default_rng(seed).normal(size=(7, 2))
    assert hull_vertices(points) == [k for k in range(7) if is_vertex(points, k)]


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((5, 3)),
        np.outer(np.arange(6), [1.0, 2.0, 3.0]),
        np.eye(3)[:2],
        np.ones((4, 1)),
        np.full((5, 2), np.nan),
    ],
    ids=["equal", "on a line", "two", "one dimension", "nan"],
)
def test_where_there_is_no_hull_every_point_counts(points):
    assert hull_vertices(points) == list(range(len(points)))


def test_the_plane_is_that_of_the_largest_spread():
    """Four corners wide apart in two directions, and a point off the plane in a third, in their middle."""
    corners = np.array([[5, 5, 0], [5, -5, 0], [-5, 5, 0], [-5, -5, 0], [0, 0, 1]], dtype=float)
    assert hull_vertices(corners) == [0, 1, 2, 3]


def swap(text, generator):
    """One word is doubled."""
    words = text.split()
    k = generator.randrange(len(words))
    return " ".join([*words[:k], words[k] * 2, *words[k:][1:]])


PAIRS = [PreferenceRow("?", "a b c d", "d c b", columns={"k": 1}), PreferenceRow("!", "b b", "c", margin=2.0)]


def test_each_answer_is_replaced_by_one_of_its_rewrites_and_the_rest_stays():
    for pick in ("hull", "random"):
        made = convex_augment(PAIRS, swap, letters, generator=random.Random(0), pick=pick)
        assert [(row.prompt, row.columns, row.margin) for row in made] == [("?", {"k": 1}, None), ("!", {}, 2.0)]
        assert made[0].chosen in {"aa b c d", "a bb c d", "a b cc d", "a b c dd"}
        assert made[0].rejected in {"dd c b", "d cc b", "d c bb"}
        assert (made[1].chosen in {"bb b", "b bb"}, made[1].rejected) == (True, "cc")


def test_the_hull_s_inner_points_are_never_picked():
    """Rewrites "0"…"4": the corners of a square and its middle."""
    square = {"0": [0, 0], "1": [2, 0], "2": [0, 2], "3": [2, 2], "4": [1, 1]}
    pairs = [PreferenceRow("?", "x", "y")] * 200
    made = convex_augment(
        pairs,
        lambda text, generator: str(generator.randrange(5)),
        lambda texts: [square[text] for text in texts],
        generator=random.Random(0),
        n=60,
    )
    assert {row.chosen for row in made} == {row.rejected for row in made} == {"0", "1", "2", "3"}


def test_one_side_leaves_the_other_and_all_gives_every_rewrite():
    one = convex_augment(PAIRS, swap, letters, generator=random.Random(0), sides=["chosen"], pick="random")
    assert [row.rejected for row in one] == [row.rejected for row in PAIRS]
    assert all(row.chosen != pair.chosen for row, pair in zip(one, PAIRS, strict=True))
    every = convex_augment(PAIRS, swap, None, generator=random.Random(0), n=3, pick="all")
    assert [row.prompt for row in every] == ["?"] * 3 + ["!"] * 3
    assert all(len(row.chosen) == 8 for row in every[:3])  # "a b c d" with one word doubled


def test_copies_pick_again_among_the_same_rewrites():
    made = convex_augment(PAIRS, swap, letters, generator=random.Random(0), n=2, copies=40, pick="random")
    assert [row.prompt for row in made] == ["?"] * 40 + ["!"] * 40
    assert len({row.chosen for row in made[:40]}) <= 2  # of the four that could be drawn
    with pytest.raises(ValueError, match=r"convex_augment: copies is 2, outside \[1, 1\]"):
        convex_augment(PAIRS, swap, letters, generator=random.Random(0), copies=2, pick="all")


def test_of_messages_the_last_one_is_rewritten_and_nothing_is_mutated():
    chat = [{"role": "user", "content": "so"}, {"role": "assistant", "content": "a b"}]
    row = PreferenceRow([{"role": "user", "content": "?"}], chat, chat)
    (made,) = convex_augment([row], lambda text, generator: text + "!", letters, generator=random.Random(0), n=1)
    assert made.chosen == [chat[0], {"role": "assistant", "content": "a b!"}]
    assert chat[1]["content"] == "a b"


def test_convex_augment_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"convex_augment: sides are \('both',\). Give 'chosen', 'rejected' or both"):
        convex_augment(PAIRS, swap, letters, generator=random.Random(0), sides=["both"])
    with pytest.raises(ValueError, match=r"convex_augment: pick is 'best', which is not one of"):
        convex_augment(PAIRS, swap, letters, generator=random.Random(0), pick="best")
    with pytest.raises(ValueError, match=r"convex_augment: n is 0, outside \[1, inf\]"):
        convex_augment(PAIRS, swap, letters, generator=random.Random(0), n=0)
    with pytest.raises(ValueError, match=r"convex_augment: embed returned shape \(1, 2\).* Return one vector per text"):
        convex_augment(PAIRS, swap, lambda texts: [[1.0, 2.0]], generator=random.Random(0))
