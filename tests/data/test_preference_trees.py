"""Trees of responses: what is grown, what is shared, and which pairs are drawn, against enumeration."""

import random
from collections import Counter
from itertools import combinations

import pytest

from rewardsmith.data import grow_tree, sample_tree_pairs, split_clauses
from rewardsmith.data import split_sentences as sentences
from rewardsmith.data.preference_trees import leaf_paths, shared_prefix


def numbered(prefixes, n):
    return [[f" {len(prefix)}.{k}" for k in range(n)] for prefix in prefixes]


def test_leaves_share_exactly_what_their_paths_share():
    asked = []

    def extend(prefixes, n):
        asked.append((len(prefixes), n))
        return [[f"<{prefix[-1]}{k}>" for k in range(n)] for prefix in prefixes]

    leaves, n_segments = grow_tree("Q", extend)
    assert asked == [(1, 2), (2, 2), (4, 2)]
    assert n_segments == 14
    assert [leaf.path for leaf in leaves] == leaf_paths()
    for a, b in combinations(leaves, 2):
        pieces = [leaf.text.split("<")[1:] for leaf in (a, b)]
        assert next(k for k in range(3) if pieces[0][k] != pieces[1][k]) == shared_prefix(a.path, b.path)
    assert not any(leaf.text.startswith("Q") for leaf in leaves)


def test_the_prompt_and_what_was_said_are_the_prefix():
    seen = []

    def extend(prefixes, n):
        seen.extend(prefixes)
        return numbered(prefixes, n)

    grow_tree("Q", extend, depth=2, branching=1)
    assert seen == ["Q", "Q 1.0"]


def test_equal_children_are_asked_for_again_and_then_dropped():
    offers = iter([["a", " a "], ["b", "a"]])
    leaves, n_segments = grow_tree("Q", lambda prefixes, n: [next(offers)[:n]], depth=1)
    assert [leaf.text for leaf in leaves] == ["a", "b"]
    assert n_segments == 3  # two, of which one was double, and one more
    stubborn, n_segments = grow_tree("Q", lambda prefixes, n: [["same"] * n for _ in prefixes], depth=2, attempts=2)
    assert [leaf.text for leaf in stubborn] == ["samesame"]
    assert n_segments == 6
    assert grow_tree("Q", lambda prefixes, n: [[" "] * n for _ in prefixes], depth=1)[0] == []


def test_the_shares_of_prefixes_are_those_of_all_pairs():
    every = sample_tree_pairs(leaf_paths(), 28, generator=random.Random(0))
    assert Counter(pair.shared for pair in every) == {0: 16, 1: 8, 2: 4}  # 4/7, 2/7, 1/7 of 28
    assert len({frozenset(pair[:2]) for pair in every}) == 28
    ternary = sample_tree_pairs(leaf_paths(depth=2, branching=3), 36, generator=random.Random(0))
    assert Counter(pair.shared for pair in ternary) == {0: 27, 1: 9}


def test_uniform_depth_gives_every_depth_as_many_pairs():
    counts = Counter()
    for seed in range(400):
        pairs = sample_tree_pairs(leaf_paths(), 3, lca="uniform_depth", generator=random.Random(seed))
        counts.update(pair.shared for pair in pairs)
        assert len({frozenset(pair[:2]) for pair in pairs}) == 3
    for depth in (0, 1, 2):
        assert abs(counts[depth] / 1200 - 1 / 3) < 4 * (2 / 9 / 1200) ** 0.5
    assert len(sample_tree_pairs(leaf_paths(), 28, lca="uniform_depth", generator=random.Random(0))) == 28


def test_neither_side_of_a_pair_is_favored():
    pairs = [p for seed in range(100) for p in sample_tree_pairs(leaf_paths(), 8, generator=random.Random(seed))]
    first = sum(pair.first < pair.second for pair in pairs)
    assert abs(first / 800 - 0.5) < 4 * (0.25 / 800) ** 0.5


def test_sentences_and_clauses_are_the_text_again_without_blanks():
    text = 'First, "yes." Then: no; 3.5 of it!\nA line – with a dash. e.g. this'
    assert sentences(text) == ['First, "yes."', "Then: no; 3.5 of it!", "A line – with a dash. e.g. this"]
    assert split_clauses(text) == [
        "First,",
        '"yes."',
        "Then:",
        "no;",
        "3.5 of it!",
        "A line –",
        "with a dash. e.g. this",
    ]
    for split in (sentences, split_clauses):
        assert "".join("".join(split(text)).split()) == "".join(text.split())
        assert split(" \n ") == []


def test_refusals():
    with pytest.raises(ValueError, match=r"extend returned \[1\] segments for 1 prefixes, but each needed 2"):
        grow_tree("Q", lambda prefixes, n: [["a"]], depth=1)
    with pytest.raises(ValueError, match=r"grow_tree: branching is 0, outside"):
        grow_tree("Q", numbered, branching=0)
    with pytest.raises(ValueError, match=r"sample_tree_pairs: two leaves have one path"):
        sample_tree_pairs([(0,), (0,)], 1, generator=random.Random(0))
    with pytest.raises(ValueError, match=r"sample_tree_pairs: n is 29, outside"):
        sample_tree_pairs(leaf_paths(), 29, generator=random.Random(0))
    with pytest.raises(ValueError, match=r"sample_tree_pairs: lca is 'deep', which is not one of"):
        sample_tree_pairs(leaf_paths(), 1, lca="deep", generator=random.Random(0))
