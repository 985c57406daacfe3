"""Triggers: a few tokens that raise a score when added to any completion, found by the score's own gradient."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.rewards.models.encoding import Encoded, shared_length
from rewardsmith.rewards.models.gradients import Columns, GradientSource, swap_gains, token_gradients
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

Tokens = tuple[int, ...]

DRAWN = 32  # random tokens tried per token that survives decoding and encoding
SPARE = 4  # candidates tried per wanted one, because many do not survive


@dataclass(frozen=True)
class Differentiable:
    """A score with a gradient: the sum of its sources, which share one vocabulary.

    The gradient proposes candidates and forward passes choose, as in the greedy coordinate gradient of Zou et al. 2023,
    arXiv:2307.15043, Algorithm 1.
    """

    sources: tuple[GradientSource, ...]

    def suggest(self, scene: Scene, trigger: str, *, n: int, rng: Random) -> list[str]:
        """Propose at most n triggers, best first by the linearized mean score: one token swapped or added.

        Each one survives as text: in the first row, its text is tokenized to exactly its tokens.
        """
        placed = scene.placed(self.sources[0], trigger) if trigger else None
        ids = placed.ids if placed else ()
        found = self._ranked(scene, ids, range(len(ids)), SPARE * n) if ids else {}
        drawn = rng.sample(self._vocabulary, min(DRAWN, len(self._vocabulary)))
        behind = [(*ids, token) for token in drawn]  # a random last token, to be swapped
        for _, longer in self._surviving(scene, behind, 1):
            found |= self._ranked(scene, longer, range(len(ids), len(longer)), SPARE * n)
        ordered = sorted(found, key=lambda ids: -found[ids])
        return [text for text, _ in self._surviving(scene, ordered, n + 1) if text != trigger][:n]

    def draw(self, scene: Scene, trigger: str, *, n: int, rng: Random) -> list[str]:
        """Draw at most n random triggers of equal length as controls; each survives as text."""
        placed = scene.placed(self.sources[0], trigger)
        length = len(placed.ids) if placed else 0
        drawn = [tuple(rng.choices(self._vocabulary, k=length)) for _ in range(DRAWN * n)]
        return [text for text, _ in self._surviving(scene, drawn, n)]

    @cached_property
    def _vocabulary(self) -> list[int]:
        """Return the tokens that a text may hold: no special tokens, and only those with an embedding."""
        tokenizer = self.sources[0].tokenizer
        special = set(tokenizer.all_special_ids)
        special |= {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        size = min(len(tokenizer), *(source.embedding.weight.shape[0] for source in self.sources))
        return [token for token in range(size) if token not in special]

    def _ranked(self, scene: Scene, ids: Tokens, places: range, most: int) -> dict[Tokens, float]:
        """Return the `most` best swaps at each place, with their predicted mean score."""
        import torch

        vocabulary = torch.tensor(self._vocabulary)
        promised: list[Tensor] = []
        for source in self.sources:
            placed = scene.placed(source, self._text(ids))
            if placed is None or placed.ids != ids:
                return {}
            scores, gradients = token_gradients(source, placed.rows, placed.spans)
            gains = swap_gains(source.embedding, gradients, ids).double().cpu()
            promised.append(gains[:, vocabulary] + scores.double().mean().cpu())
        top = torch.stack(promised).sum(dim=0).topk(min(most, len(vocabulary)), dim=1)
        return {
            (*ids[:place], int(vocabulary[column]), *ids[place + 1 :]): float(value)
            for place in places
            for value, column in zip(top.values[place], top.indices[place], strict=True)
        }

    def _text(self, ids: Sequence[int]) -> str:
        """Return the tokens' text."""
        return str(self.sources[0].tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def _surviving(self, scene: Scene, candidates: Sequence[Tokens], n: int) -> list[tuple[str, Tokens]]:
        """Return the first n candidates whose text in the first row is tokenized to the same tokens."""
        bare = self.sources[0].encode(scene.prompts, scene.write(""), scene.columns)
        readable = [(place, row) for place, row in enumerate(bare) if not isinstance(row, Unscored)]
        found: list[tuple[str, Tokens]] = []
        for start in range(0, len(candidates) if readable else 0, SPARE * n):
            part = candidates[start : start + SPARE * n]
            texts, (first, without) = [self._text(ids) for ids in part], readable[0]
            rows = self.sources[0].encode(
                [scene.prompts[first]] * len(texts),
                [scene.write(text)[first] for text in texts],
                {name: [values[first]] * len(texts) for name, values in scene.columns.items()},
            )
            for text, ids, row in zip(texts, part, rows, strict=True):
                if text.strip() and not isinstance(row, Unscored) and _within(row, span_of(without, row)) == ids:
                    found.append((text, ids))
            if len(found) >= n:
                break
        return found[:n]


class _Placed(NamedTuple):
    """A trigger's tokens, with the rows that read them so and the position in each row."""

    ids: Tokens
    rows: list[Encoded]
    spans: list[range]


@dataclass(frozen=True)
class Scene:
    """The rows into which a trigger is written.

    write: a trigger's text to the rows' completions that contain it; "" leaves it out.
    columns: the rows' other columns, as lists.
    """

    prompts: Sequence[Text]
    write: Callable[[str], Sequence[Completion]]
    columns: Columns = field(default_factory=dict)

    def placed(self, source: GradientSource, trigger: str) -> _Placed | None:
        """Return the trigger's tokens as most rows read them."""
        without, with_it = (source.encode(self.prompts, self.write(text), self.columns) for text in ("", trigger))
        found = [
            (row, span_of(bare, row))
            for bare, row in zip(without, with_it, strict=True)
            if not isinstance(bare, Unscored) and not isinstance(row, Unscored)
        ]
        read = Counter(_within(row, span) for row, span in found)
        ids = read.most_common(1)[0][0] if read else ()
        same = [(row, span) for row, span in found if _within(row, span) == ids]
        return _Placed(ids, [row for row, _ in same], [span for _, span in same]) if ids else None


def span_of(without: Encoded, row: Encoded) -> range:
    """Return the positions where a row differs from itself without the trigger."""
    start = shared_length([without.ids, row.ids])
    end = shared_length([without.ids[start:][::-1], row.ids[start:][::-1]])
    return range(start, len(row.ids) - end)


def mean_of(members: Sequence[Any], stds: Sequence[float] | None) -> Differentiable | None:
    """Return the mean of all members' heads, each divided by its deviation; None unless they share a vocabulary."""
    found = [member.differentiable() if hasattr(member, "differentiable") else None for member in members]
    sources = [source for member in found if member is not None for source in member.sources]
    vocabularies = [source.tokenizer.get_vocab() for source in sources]
    if None in found or any(vocabulary != vocabularies[0] for vocabulary in vocabularies):
        return None
    heads = sum(len(source.weights) for source in sources)
    shares = iter([1 / (heads * std) for std in stds or [1.0] * heads])
    return Differentiable(tuple(s._replace(weights=tuple(next(shares) for _ in s.weights)) for s in sources))


def differentiable(reward: Any, weights: Sequence[float]) -> Differentiable | None:
    """Return the score numbers(outputs) · weights of a `TokenReward`; None if its model has no embeddings."""
    source = GradientSource(
        reward.scanner,
        lambda prompts, completions, columns: reward.encode(prompts, completions),
        reward.numbers,
        tuple(weights),
        reward.tokenizer,
    )
    with contextlib.suppress(AttributeError, NotImplementedError):
        return Differentiable((source,)) if source.embedding is not None else None
    return None


def _within(row: Encoded, span: range) -> Tokens:
    return tuple(int(token) for token in row.ids[span.start : span.stop])
