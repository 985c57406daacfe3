"""Similar prompts that need different answers, to test a reward model, and light rewrites to train one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from rewardsmith._check import check_choice, check_range
from rewardsmith.data.preferences import PreferenceRow
from rewardsmith.data.rows import Row, text_of
from rewardsmith.types import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed = Callable[[list[str]], Any]
"""n texts to (n, d) embeddings that `numpy.asarray` accepts; called once for many texts."""
Perturb = Callable[[str, random.Random], str]
"""A text to a slightly changed one of the same meaning: a typo or a synonym in at most 5 % of its words."""
Pick = Literal["hull", "random", "all"]
Side = Literal["chosen", "rejected"]
_BLOCK = 1024  # rows per block of the similarity matrix


class ContrastPair(NamedTuple):
    """Two similar prompts, each with a good answer that does not answer the other."""

    first_prompt: Text
    first_completion: Text
    second_prompt: Text
    second_completion: Text
    similarity: float


def embeddings(caller: str, embed: Embed, texts: list[str]) -> NDArray[np.float64]:
    import numpy as np

    found = np.asarray(embed(texts), dtype=np.float64) if texts else np.zeros((0, 1))
    if found.ndim != 2 or len(found) != len(texts):
        raise ValueError(
            f"{caller}: embed returned shape {found.shape} for {len(texts)} texts, not ({len(texts)}, d). "
            "Return one vector per text."
        )
    return found


def unit_embeddings(caller: str, embed: Embed, texts: list[str]) -> NDArray[np.float64]:
    """Return (n, d) embeddings of length 1; a zero or infinite one becomes NaN, which is similar to none."""
    import numpy as np

    found = embeddings(caller, embed, texts)
    largest = np.abs(found).max(axis=1, initial=0.0)
    scaled = found / np.where(np.isfinite(largest) & (largest > 0), largest, np.nan)[:, None]  # squares could overflow
    units: NDArray[np.float64] = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return units


def mine_contrast_pairs(
    rows: Sequence[Row | PreferenceRow], embed: Embed, *, low: float = 0.75, high: float = 0.9
) -> list[ContrastPair]:
    """Find all pairs of rows with similar but different prompts and different good answers.

        low ≤ cos(e(I₁), e(I₂)) ≤ high,    r₁ ≠ r₂

    Shen et al. 2023, arXiv:2309.16155 (Contrast Instructions; the band is that of their released files).

    Args:
        rows: prompts with a good answer each, a row's completion or a preference's chosen; the first row of a prompt
            counts.
        embed: see `Embed`; any sentence encoder.
        low, high: the range of similarity; prompts above it may well mean the same.

    Returns:
        Pairs, most similar first.

    >>> rows = [Row("sum 2 3", "5"), Row("sum 2 4", "6"), Row("hello", "hi")]
    >>> words = ["sum", "2", "3", "4", "hello"]
    >>> count = lambda texts: [[text.split().count(word) for word in words] for text in texts]
    >>> [(pair.first_completion, pair.second_completion) for pair in mine_contrast_pairs(rows, count, low=0.6)]
    [('5', '6')]
    """
    import numpy as np

    check_range("mine_contrast_pairs", "high", high, -1.0, 1.0)
    check_range("mine_contrast_pairs", "low", low, -1.0, high)
    by_prompt: dict[str, tuple[Text, Text]] = {}
    for row in rows:
        answer = row.chosen if isinstance(row, PreferenceRow) else row.completion
        if answer is not None and text_of(answer).strip():
            by_prompt.setdefault(text_of(row.prompt), (row.prompt, answer))
    items = list(by_prompt.values())
    units = unit_embeddings("mine_contrast_pairs", embed, list(by_prompt))
    found = []
    for start in range(0, len(items), _BLOCK):
        similar = units[start : start + _BLOCK] @ units.T
        for i, j in np.argwhere((similar >= low) & (similar <= high)):  # NaN is never in the range
            first, second = items[start + i], items[j]
            if start + i < j and text_of(first[1]) != text_of(second[1]):
                found.append(ContrastPair(first[0], first[1], second[0], second[1], float(similar[i, j])))
    return sorted(found, key=lambda pair: -pair.similarity)


def cross_prompt_negatives(pairs: Sequence[ContrastPair]) -> list[PreferenceRow]:
    """Make two preferences of each contrast pair: a prompt's own answer over the similar prompt's answer.

    >>> pair = ContrastPair("sum 2 3", "5", "sum 2 4", "6", 0.8)
    >>> [(row.prompt, row.chosen, row.rejected) for row in cross_prompt_negatives([pair])]
    [('sum 2 3', '5', '6'), ('sum 2 4', '6', '5')]
    """
    made = []
    for one, answer, other, other_answer, _ in pairs:
        made.append(PreferenceRow(one, answer, other_answer, columns={"kind": "cross_prompt"}))
        made.append(PreferenceRow(other, other_answer, answer, columns={"kind": "cross_prompt"}))
    return made


def convex_augment(
    pairs: Sequence[PreferenceRow],
    perturb: Perturb,
    embed: Embed,
    *,
    generator: random.Random,
    n: int = 5,
    sides: Sequence[Side] = ("chosen", "rejected"),
    pick: Pick = "hull",
    copies: int = 1,
) -> list[PreferenceRow]:
    """Replace each answer by a light rewrite, on both sides of a pair.

    Shen et al. 2023, arXiv:2309.16155 (ConvexDA): of n rewrites, use a vertex of the convex hull of their embeddings in
    the plane of the first two principal components. The number of pairs does not change.

    Differs: both sides by default. The official code rewrites only the chosen answer. A rewrite is then a cue for the
    chosen answer, which undoes the benefit. In our measurements pick="hull" was no better than pick="random".

    Args:
        pairs: preferences; prompts and columns stay.
        perturb: see `Perturb`.
        embed: see `Embed`; used for pick="hull" only, once for all rewrites.
        n: rewrites per answer, drawn with `generator`; equal ones count once.
        sides: which answers are rewritten.
        pick: "hull" for a vertex, "random" for any rewrite, or "all": n rows per pair, with repeats and no embedding.
        copies: rows per pair, each with its own pick from the same rewrites, in a row; 1 with "all".

    If there are fewer than three rewrites, or their embeddings lie on a line, all count as vertices.
    """
    check_choice("convex_augment", "pick", pick, get_args(Pick))
    check_range("convex_augment", "n", n, 1, float("inf"))
    check_range("convex_augment", "copies", copies, 1, 1 if pick == "all" else float("inf"))
    unknown = [side for side in sides if side not in get_args(Side)]
    if unknown or not sides:
        raise ValueError(f"convex_augment: sides are {tuple(sides)}. Give 'chosen', 'rejected' or both.")
    drawn: list[list[list[str]]] = []  # per pair and side, the rewrites
    for row in pairs:
        answers = [getattr(row, side) for side in sides]
        tails = [answer if isinstance(answer, str) else text_of(answer[-1:]) for answer in answers]
        drawn.append([[perturb(tail, generator) for _ in range(n)] for tail in tails])
    if pick == "all":
        picked = [list(zip(*of_sides, strict=True)) for of_sides in drawn]
    else:
        drawn = [[list(dict.fromkeys(variants)) for variants in of_sides] for of_sides in drawn]
        if pick == "hull":
            texts = list(dict.fromkeys(text for of_sides in drawn for variants in of_sides for text in variants))
            points = embeddings("convex_augment", embed, texts)
            place = {text: index for index, text in enumerate(texts)}
            for of_sides in drawn:
                for variants in of_sides:
                    corners = hull_vertices(points[[place[text] for text in variants]])
                    variants[:] = [variants[k] for k in corners]
        picked = [[tuple(map(generator.choice, of_sides)) for _ in range(copies)] for of_sides in drawn]
    found = []
    for row, copies_of_row in zip(pairs, picked, strict=True):
        for rewritten in copies_of_row:
            changes: dict[str, Any] = {}
            for side, text in zip(sides, rewritten, strict=True):
                answer = getattr(row, side)
                changes[side] = text if isinstance(answer, str) else [*answer[:-1], {**answer[-1], "content": text}]
            found.append(replace(row, **changes))
    return found


def hull_vertices(points: NDArray[np.float64]) -> list[int]:
    """Return the vertices of the convex hull of (n, d) points in the plane of two principal components.

    All points if there are fewer than three, or if they lie on a line.

    >>> import numpy as np
    >>> hull_vertices(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.5, 0.5]]))
    [0, 1, 2]
    """
    import numpy as np
    from scipy.spatial import ConvexHull, QhullError

    everything = list(range(len(points)))
    centered = points - points.mean(axis=0)
    if len(points) <= 3 or not np.isfinite(centered).all():
        return everything
    left, spread, _ = np.linalg.svd(centered, full_matrices=False)
    if len(spread) < 2 or spread[1] <= 1e-9 * max(spread[0], 1e-300):
        return everything
    try:
        vertices: list[int] = ConvexHull(left[:, :2] * spread[:2]).vertices.tolist()  # type: ignore[assignment]
        return sorted(vertices)
    except QhullError:
        return everything
