"""Answers with a skill for each topic and a style, both seen through one rotation, so that no coordinate is the style.

Gold is the skill that the query asks for. In the data the better answer's style is shifted one way and the other's the
other way, which a reward model learns to like. Answers live in a bank and go by their number as text, so that rows of
`data.PreferenceRow` can be edited and re-asked by the shipped augmentations, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.data import Direction, PreferenceRow
from rewardsmith.types import Text
from rewardsmith.worlds.streams import Streams


class StyledPairs(NamedTuple):
    """n pairs per seed, the better answer first.

    query: (S, n) topic; content: (S, n, 2, topics) skills; style: (S, n, 2, d).
    """

    query: Tensor
    content: Tensor
    style: Tensor

    @property
    def gold(self) -> Tensor:
        """(S, n, 2) the skill that the query asks for."""
        return self.content.gather(-1, self.query[..., None, None].expand(-1, -1, 2, 1)).squeeze(-1)


@dataclass(frozen=True, slots=True, eq=False)
class CausalStyle:
    """How answers look.

    rotation: (S, D, D) orthogonal, D = topics + style dimensions. cue: (S, d) unit vector a, along which style shifts.
    shift: the most that a chosen answer's style is shifted along a, and a rejected one's against it.
    """

    rotation: Tensor
    cue: Tensor
    n_topics: int
    shift: float

    @classmethod
    def sample(cls, streams: Streams, *, n_topics: int = 6, n_style: int = 4, shift: float = 1.2) -> CausalStyle:
        """A world per seed."""
        rotation = torch.linalg.qr(streams.randn(n_topics + n_style, n_topics + n_style)).Q
        return cls(rotation, torch.nn.functional.normalize(streams.randn(n_style), dim=-1), n_topics, shift)

    @property
    def n_inputs(self) -> int:
        """Length of what a reward model sees: the query, the answer, and every product of the two."""
        return self.n_topics + (1 + self.n_topics) * self.rotation.shape[-1]

    def features(self, query: Tensor, content: Tensor, style: Tensor) -> Tensor:
        """(S, ..., n_inputs) [one-hot q, e, q ⊗ e] with e = R [c, s], of queries (S, ...) and answers likewise."""
        both = torch.cat([content, style], dim=-1)
        seen = torch.bmm(both.flatten(1, -2), self.rotation).view(both.shape)
        asked = torch.nn.functional.one_hot(query, self.n_topics).to(seen.dtype)
        crossed = (asked[..., :, None] * seen[..., None, :]).flatten(-2)
        return torch.cat([asked, seen, crossed], dim=-1)

    def pairs(self, n: int, streams: Streams, *, rho: float = 1.0) -> StyledPairs:
        """n pairs ranked by gold; style moves by ±rho·shift·u·a, u uniform per answer.

        Args:
            rho: 1 as in the training data, 0 for a style that tells nothing, −1 for the cue reversed.
        """
        query, content = streams.randint(self.n_topics, n), streams.randn(n, 2, self.n_topics)
        style, strength = streams.randn(n, 2, self.cue.shape[-1]), streams.rand(n, 2)
        gold = StyledPairs(query, content, style).gold
        order = torch.where((gold[..., 0] > gold[..., 1])[..., None], torch.tensor([0, 1]), torch.tensor([1, 0]))
        content = content.gather(2, order[..., None].expand_as(content))
        sign = rho * self.shift * torch.tensor([1.0, -1.0], dtype=style.dtype)
        return StyledPairs(query, content, style + (sign * strength)[..., None] * self.cue[:, None, None])


@dataclass(frozen=True, slots=True, eq=False)
class AnswerBank:
    """A seed's answers by number: 2n of the data, then each of them with its asked skill lowered, then raised.

    query: (n,); content: (6n, topics); style: (6n, d). Answer 2k is the chosen one of pair k, 2k + 1 the rejected one.
    """

    query: Tensor
    content: Tensor
    style: Tensor

    @classmethod
    def of(
        cls, pairs: StyledPairs, streams: Streams, *, edit: tuple[float, float] = (1.0, 2.0), drift: float = 0.3
    ) -> list[AnswerBank]:
        """A bank per seed. An edit moves the skill by an amount in `edit`, and style by N(0, drift²)."""
        n_seeds, n, _, n_topics = pairs.content.shape
        low, high = edit
        amount = low + (high - low) * streams.rand(2, 2 * n)
        content, style = pairs.content.flatten(1, 2), pairs.style.flatten(1, 2)
        asked = torch.nn.functional.one_hot(pairs.query.repeat_interleave(2, dim=1), n_topics).to(content.dtype)
        moved = [content + sign * amount[:, k, :, None] * asked for k, sign in ((0, -1), (1, 1))]
        drifted = [style + drift * streams.randn(*style.shape[1:]) for _ in range(2)]
        contents, styles = torch.cat([content, *moved], dim=1), torch.cat([style, *drifted], dim=1)
        return [cls(pairs.query[s], contents[s], styles[s]) for s in range(n_seeds)]

    @property
    def rows(self) -> list[PreferenceRow]:
        """The data: prompts are topics, answers are numbers of the bank."""
        return [
            PreferenceRow(str(topic), str(2 * k), str(2 * k + 1), prompt_id=str(k))
            for k, topic in enumerate(self.query.tolist())
        ]

    def edited(self, prompt: Text, answer: Text, attribute: str, direction: Direction) -> str:
        """An editor for `data.causal_augment`: the answer's version with the asked skill lowered or raised."""
        originals = len(self.content) // 3
        return str(int(str(answer)) + originals * (1 if direction == "degrade" else 2))

    def looked_up(self, rows: Sequence[PreferenceRow], *, irrelevant: float = -2.0) -> StyledPairs:
        """(1, n) pairs of these rows.

        Args:
            irrelevant: both answers' skill for the prompt of a row of kind "neutral", which they do not answer.
        """
        query = torch.tensor([int(str(row.prompt)) for row in rows])
        numbers = torch.tensor([[int(str(row.chosen)), int(str(row.rejected))] for row in rows])
        content = self.content[numbers]
        neutral = torch.tensor([row.columns.get("kind") == "neutral" for row in rows])
        asked = torch.nn.functional.one_hot(query, content.shape[-1]).bool() & neutral[:, None]
        content = content.masked_fill(asked[:, None], irrelevant)
        return StyledPairs(query[None], content[None], self.style[numbers][None])
