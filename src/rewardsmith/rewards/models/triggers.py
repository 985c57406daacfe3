"""Triggers: a few tokens that, written into any completion, raise its score; proposed by the score's own gradient."""

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

DRAWN = 32  # random tokens tried for one that survives being written as text
SPARE = 4  # candidates looked at for each that is wanted, as many do not survive


@dataclass(frozen=True)
class Differentiable:
    """A score whose gradient can be taken: the sum of its sources, which share one vocabulary.

    The gradient proposes and forward passes decide, as in the greedy coordinate gradient of Zou et al. 2023,
    arXiv:2307.15043, Algorithm 1.
    """

    sources: tuple[GradientSource, ...]

    def suggest(self, scene: Scene, trigger: str, *, n: int, rng: Random) -> list[str]:
        """At most n triggers, best first by the linearized mean score over the rows: one token swapped, or one more.

        Each survives being written: in its place in the first row, its text is read as just the tokens it was made of.
        """
        placed = scene.placed(self.sources[0], trigger) if trigger else None
        ids = placed.ids if placed else ()
        found = self._ranked(scene, ids, range(len(ids)), SPARE * n) if ids else {}
        drawn = rng.sample(self._vocabulary, min(DRAWN, len(self._vocabulary)))
        behind = [(*ids, token) for token in drawn]  # a random one, to be swapped
        for _, longer in self._surviving(scene, behind, 1):
            found |= self._ranked(scene, longer, range(len(ids), len(longer)), SPARE * n)
        ordered = sorted(found, key=lambda ids: -found[ids])
        return [text for text, _ in self._surviving(scene, ordered, n + 1) if text != trigger][:n]

    def draw(self, scene: Scene, trigger: str, *, n: int, rng: Random) -> list[str]:
        """At most n random triggers of as many tokens as this one, to compare it with; they survive being written."""
        placed = scene.placed(self.sources[0], trigger)
        length = len(placed.ids) if placed else 0
        drawn = [tuple(rng.choices(self._vocabulary, k=length)) for _ in range(DRAWN * n)]
        return [text for text, _ in self._surviving(scene, drawn, n)]

    @cached_property
    def _vocabulary(self) -> list[int]:
        """Tokens that text may hold: no special ones, and none without an embedding."""
        tokenizer = self.sources[0].tokenizer
        special = set(tokenizer.all_special_ids)
        special |= {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        size = min(len(tokenizer), *(source.embedding.weight.shape[0] for source in self.sources))
        return [token for token in range(size) if token not in special]

    def _ranked(self, scene: Scene, ids: Tokens, places: range, most: int) -> dict[Tokens, float]:
        """The `most` best swaps at each place, with the mean score that they promise."""
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
        """Tokens as text."""
        return str(self.sources[0].tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def _surviving(self, scene: Scene, candidates: Sequence[Tokens], n: int) -> list[tuple[str, Tokens]]:
        """The first n of the candidates that, written as text into the first row, are read as the same tokens."""
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
    """A trigger's tokens, and the rows, with where in each of them, that read them so."""

    ids: Tokens
    rows: list[Encoded]
    spans: list[range]


@dataclass(frozen=True)
class Scene:
    """The rows that a trigger is written into.

    write: a trigger's text to the rows' completions with it in its place; "" leaves the place empty.
    columns: what else the rows have, one list a column.
    """

    prompts: Sequence[Text]
    write: Callable[[str], Sequence[Completion]]
    columns: Columns = field(default_factory=dict)

    def placed(self, source: GradientSource, trigger: str) -> _Placed | None:
        """The trigger as most rows read it."""
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
    """Where a row differs from the one without a trigger: the trigger's tokens."""
    start = shared_length([without.ids, row.ids])
    end = shared_length([without.ids[start:][::-1], row.ids[start:][::-1]])
    return range(start, len(row.ids) - end)


def mean_of(members: Sequence[Any], stds: Sequence[float] | None) -> Differentiable | None:
    """The mean over all heads of all members, each divided by its deviation; None unless all are of one vocabulary."""
    found = [member.differentiable() if hasattr(member, "differentiable") else None for member in members]
    sources = [source for member in found if member is not None for source in member.sources]
    vocabularies = [source.tokenizer.get_vocab() for source in sources]
    if None in found or any(vocabulary != vocabularies[0] for vocabulary in vocabularies):
        return None
    heads = sum(len(source.weights) for source in sources)
    shares = iter([1 / (heads * std) for std in stds or [1.0] * heads])
    return Differentiable(tuple(s._replace(weights=tuple(next(shares) for _ in s.weights)) for s in sources))


def differentiable(reward: Any, weights: Sequence[float]) -> Differentiable | None:
    """The score numbers(outputs) · weights of a `TokenReward`; None where its model names no embeddings."""
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
