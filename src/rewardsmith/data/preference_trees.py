"""Grow responses as a tree of segments, whose leaves share prefixes, and sample pairs of leaves to label."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Literal, NamedTuple, get_args

from rewardsmith._check import check_choice, check_range

Lca = Literal["uniform_pairs", "uniform_depth"]
Extend = Callable[[list[str], int], list[list[str]]]
"""Prefixes and a number n, to n continuations by one segment for each prefix."""


class Leaf(NamedTuple):
    """A full response: its text, and the child taken at each level; paths with a common start share segments."""

    text: str
    path: tuple[int, ...]


class TreePair(NamedTuple):
    """Two leaves to compare, by index, and the number of segments that they share."""

    first: int
    second: int
    shared: int


def leaf_paths(*, depth: int = 3, branching: int = 2) -> list[tuple[int, ...]]:
    """Return the paths of a full tree's leaves.

    >>> leaf_paths(depth=2)
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    return list(product(range(branching), repeat=depth))


def grow_tree(
    prompt: str, extend: Extend, *, depth: int = 3, branching: int = 2, attempts: int = 3
) -> tuple[list[Leaf], int]:
    """Grow a tree of responses: continue each node of a level by `branching` different segments.

    Qiu et al. 2024, arXiv:2402.10184 (depth 3, branching 2). Branch at the ends of sentences. Children that differ only
    in blanks are generated again, up to `attempts` times in total. Remaining duplicates are dropped, because a pair of
    equal texts costs a label and adds nothing. So a tree may have fewer leaves than branching ** depth.

    Args:
        extend: the policy: prefixes (the prompt and the response so far) and n, to n next segments per prefix. A level
            is one call, so that an engine with a prefix cache reads each prefix once.

    Returns:
        the leaves, whose texts exclude the prompt, and the number of generated segments.

    >>> leaves, n_segments = grow_tree("?", lambda prefixes, n: [["a", "b"][:n] for _ in prefixes], depth=2)
    >>> [leaf.text for leaf in leaves], n_segments
    (['aa', 'ab', 'ba', 'bb'], 6)
    """
    for name, value in (("depth", depth), ("branching", branching), ("attempts", attempts)):
        check_range("grow_tree", name, value, 1, float("inf"))
    level, generated = [Leaf("", ())], 0
    for _ in range(depth):
        children: list[list[str]] = [[] for _ in level]
        for _ in range(attempts):
            short = [index for index, own in enumerate(children) if len(own) < branching]
            if not short:
                break
            most = max(branching - len(children[index]) for index in short)
            segments = extend([prompt + level[index].text for index in short], most)
            sizes = [len(offered) for offered in segments]
            if sizes != [most] * len(short):
                raise ValueError(
                    f"grow_tree: extend returned {sizes} segments for {len(short)} prefixes, but each needed "
                    f"{most}. Return n continuations for every prefix, in their order."
                )
            generated += most * len(short)
            for index, offered in zip(short, segments, strict=True):
                distinct: dict[str, str] = {}  # blanks do not count; an empty segment is left out
                for segment in [*children[index], *offered]:
                    distinct.setdefault(" ".join(segment.split()), segment)
                children[index] = [segment for bare, segment in distinct.items() if bare][:branching]
        level = [
            Leaf(leaf.text + segment, (*leaf.path, child))
            for leaf, own in zip(level, children, strict=True)
            for child, segment in enumerate(own)
        ]
    return level, generated


def sample_tree_pairs(
    paths: Sequence[tuple[int, ...]], n: int, *, lca: Lca = "uniform_pairs", generator: random.Random
) -> list[TreePair]:
    """Draw pairs of leaves to label, no pair twice, in random order within each pair.

    Qiu et al. 2024, arXiv:2402.10184. Of the pairs of a full binary tree of depth 3, 4/7 share nothing, 2/7 one segment
    and 1/7 two. Leaves recur, so give the pairs of one tree one `prompt_id` before a split (`held_out`).

    Args:
        paths: the leaves' paths (`Leaf.path`, `leaf_paths`).
        n: pairs to draw, at most all of them.
        lca: "uniform_pairs" draws from all pairs. "uniform_depth" first draws the number of shared segments, among the
            numbers with pairs left, so that near-identical responses get more labels.

    Returns:
        n pairs.

    >>> pairs = sample_tree_pairs(leaf_paths(), 28, generator=random.Random(0))
    >>> [sum(pair.shared == depth for pair in pairs) for depth in range(3)]
    [16, 8, 4]
    """
    check_choice("sample_tree_pairs", "lca", lca, get_args(Lca))
    if len(set(paths)) < len(paths):
        raise ValueError("sample_tree_pairs: two leaves have one path, so they are the same response. Drop one.")
    every = [TreePair(i, j, shared_prefix(paths[i], paths[j])) for i, j in combinations(range(len(paths)), 2)]
    check_range("sample_tree_pairs", "n", n, 0, len(every))
    if lca == "uniform_pairs":
        chosen = generator.sample(every, n)
    else:
        left: dict[int, list[TreePair]] = defaultdict(list)
        for pair in generator.sample(every, len(every)):
            left[pair.shared].append(pair)
        chosen = []
        for _ in range(n):
            depth = generator.choice(sorted(depth for depth, own in left.items() if own))
            chosen.append(left[depth].pop())
    return [TreePair(j, i, shared) if generator.random() < 0.5 else TreePair(i, j, shared) for i, j, shared in chosen]


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the number of leading entries that two paths share.

    >>> shared_prefix((0, 1, 1), (0, 1, 0))
    2
    """
    same = [a == b for a, b in zip(first, second, strict=False)]
    return next((depth for depth, equal in enumerate(same) if not equal), len(same))
