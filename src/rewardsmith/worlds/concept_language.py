"""Instructions of three concepts, and answers that should cover them, in words of which some are rare.

A text is the numbers of its words, joined by blanks. Word 5c + k is the k-th synonym of concept c; the last ones are
junk. In the preference data a rejected answer is mostly junk, so that a reward model that ignores the instruction is
almost right; the tests use all synonyms alike, so that it must know the rare ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rewardsmith.data import PreferenceRow, Row
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import Streams, sample_index

USAGE = (0.6, 0.2, 0.1, 0.06, 0.04)
"""How often a concept's synonyms are used in the data."""
N_SYNONYMS = len(USAGE)
N_ASKED, N_WORDS = 3, 4  # concepts in an instruction, words in an answer


class WordPairs(NamedTuple):
    """n preferences per seed: instruction (S, n, 3), and answers chosen and rejected (S, n, 4), as words."""

    prompt: Tensor
    chosen: Tensor
    rejected: Tensor

    def rows(self, seed: int) -> list[PreferenceRow]:
        """One seed's preferences as texts."""
        return [
            PreferenceRow(text(prompt), text(chosen), text(rejected), prompt_id=str(k))
            for k, (prompt, chosen, rejected) in enumerate(zip(*(c[seed].tolist() for c in self), strict=True))
        ]


def text(words: Sequence[int | str]) -> str:
    """Words as a text.

    >>> text([5, 81])
    '5 81'
    """
    return " ".join(map(str, words))


def words_of(texts: Sequence[str]) -> NDArray[np.int64]:
    """(n, words) of n texts of one length."""
    return np.array([one.split() for one in texts], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ConceptLanguage:
    """The vocabulary: n_concepts concepts of five synonyms each, then n_junk words that mean nothing."""

    n_concepts: int = 16
    n_junk: int = 10

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return N_SYNONYMS * self.n_concepts + self.n_junk

    def concept(self, words: Tensor) -> Tensor:
        """Concept of each word; junk has numbers from n_concepts up, one per word."""
        junk = words - N_SYNONYMS * self.n_concepts
        return torch.where(junk >= 0, junk + self.n_concepts, words // N_SYNONYMS)

    def gold(self, prompt: Tensor, answer: Tensor) -> Tensor:
        """(...) how many of the instruction's (..., 3) concepts the answer (..., 4) covers, in any word."""
        covered = self.concept(prompt)[..., :, None] == self.concept(answer)[..., None, :]
        return covered.any(dim=-1).sum(dim=-1)

    def spoken(self, concepts: Tensor, streams: Streams, *, rare: bool = False) -> Tensor:
        """Words for concepts (S, ...), by usage; with `rare`, all synonyms alike."""
        usage = torch.full((N_SYNONYMS,), 1 / N_SYNONYMS) if rare else torch.tensor(USAGE)
        uniform = streams.rand(*concepts.shape[1:])
        return N_SYNONYMS * concepts + sample_index(usage.to(uniform.dtype), uniform)

    def asked(self, n: int, streams: Streams) -> Tensor:
        """(S, n, 3) different concepts of n instructions."""
        return streams.rand(n, self.n_concepts).argsort(dim=-1)[..., :N_ASKED]

    def good(self, concepts: Tensor, streams: Streams, *, rare: bool = False) -> Tensor:
        """(S, n, 4) answers that cover concepts (S, n, 3), and one more word of any concept, in random order."""
        other = streams.randint(self.n_concepts, concepts.shape[1], 1)
        words = self.spoken(torch.cat([concepts, other], dim=-1), streams, rare=rare)
        return words.gather(-1, streams.rand(*words.shape[1:]).argsort(dim=-1))

    def pairs(self, n: int, streams: Streams, *, flip: float = 0.0, misplaced: float = 0.25) -> WordPairs:
        """n preferences per seed.

        Args:
            flip: chance that a label is turned around.
            misplaced: share of rejected answers that are good ones to another question; the others are junk.
        """
        asked = self.asked(n, streams)
        junk = N_SYNONYMS * self.n_concepts + streams.randint(self.n_junk, n, N_WORDS)
        elsewhere = self.good(self.asked(n, streams), streams)
        rejected = torch.where((streams.rand(n) < misplaced)[..., None], elsewhere, junk)
        prompt, chosen = self.spoken(asked, streams), self.good(asked, streams)
        turned = (streams.rand(n) < flip)[..., None]
        return WordPairs(prompt, torch.where(turned, rejected, chosen), torch.where(turned, chosen, rejected))

    def test_rows(self, n: int, streams: Streams) -> list[list[Row]]:
        """Per seed n instructions with a good answer in words of any rarity, to mine contrast pairs from."""
        asked = self.asked(n, streams)
        prompts, answers = self.spoken(asked, streams), self.good(asked, streams, rare=True)
        return [
            [Row(text(p), text(a)) for p, a in zip(of.tolist(), to.tolist(), strict=True)]
            for of, to in zip(prompts, answers, strict=True)
        ]

    def candidates(
        self, n_prompts: int, n_answers: int, streams: Streams, *, on_topic: float = 0.35, junk: float = 0.15
    ) -> tuple[Tensor, Tensor]:
        """Instructions (S, P, 3) and for each answers (S, P, A, 4) of every quality, in words of any rarity.

        Args:
            on_topic, junk: chances that a word is of an asked concept, and that it is junk; else it is of any concept.
        """
        asked = self.asked(n_prompts, streams)
        shape = (n_prompts, n_answers, N_WORDS)
        kind, which = streams.rand(*shape), streams.randint(N_ASKED, *shape)
        concepts = torch.where(
            kind < on_topic,
            asked[:, :, None].expand(-1, -1, n_answers, -1).gather(-1, which),
            streams.randint(self.n_concepts, *shape),
        )
        words = self.spoken(concepts, streams, rare=True)
        empty = N_SYNONYMS * self.n_concepts + streams.randint(self.n_junk, *shape)
        return self.spoken(asked, streams), torch.where(kind > 1 - junk, empty, words)

    def reworded(self, words: Tensor, streams: Streams, *, rate: float = 0.5) -> Tensor:
        """(S, n, 4) the same answers; each word is replaced with chance `rate` by any synonym, junk by junk."""
        replaced = streams.rand(*words.shape[1:]) < rate
        synonym, junk = streams.randint(N_SYNONYMS, *words.shape[1:]), streams.randint(self.n_junk, *words.shape[1:])
        first = N_SYNONYMS * self.n_concepts
        other = torch.where(words < first, words - words % N_SYNONYMS + synonym, first + junk)
        return torch.where(replaced, other, words)

    def reword(self, answer: str, generator: random.Random, *, rate: float = 0.5) -> str:
        """`reworded` for one text: the perturbation of `data.convex_augment`."""
        return text(
            [self._other(int(word), generator) if generator.random() < rate else word for word in answer.split()]
        )

    def _other(self, word: int, generator: random.Random) -> int:
        first = N_SYNONYMS * self.n_concepts
        if word < first:
            return word - word % N_SYNONYMS + generator.randrange(N_SYNONYMS)
        return first + generator.randrange(self.n_junk)

    def encoder(self, generator: np.random.Generator, *, jitter: float = 0.1) -> Encoder:
        """A sentence encoder that knows what words mean: one direction per concept and junk word, with some jitter."""
        n_meanings = self.n_concepts + self.n_junk
        meaning = self.concept(torch.arange(self.n_tokens)).numpy()
        return Encoder(np.eye(n_meanings)[meaning] + jitter * generator.standard_normal((len(meaning), n_meanings)))


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Texts to the mean of their words' vectors; line breaks are blanks."""

    vectors: NDArray[np.float64]

    def __call__(self, texts: list[str]) -> NDArray[np.float64]:
        split = [one.split() for one in texts]
        counts = np.array([len(words) for words in split])
        flat = np.array([word for words in split for word in words], dtype=np.int64)
        sums = np.add.reduceat(self.vectors[flat], np.cumsum(counts) - counts, axis=0)
        means: NDArray[np.float64] = sums / counts[:, None]
        return means


class WordModels(nn.Module):
    """S·M reward models of word lists: mean embeddings i and r, and a perceptron over [i, r, i·r, |i − r|]."""

    def __init__(
        self, n_tokens: int, *, lead: tuple[int, int], streams: Streams, d: int = 16, width: int = 64, std: float = 1.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(streams.randn(lead[1], n_tokens, d) * std)
        self.top = BatchedMLP((4 * d, width, 1), lead=lead, streams=streams)

    def forward(self, prompt: Tensor, answer: Tensor) -> Tensor:
        """(S, M, B) rewards of instructions (S, M, B, 3) and answers (S, M, B, 4)."""
        i, r = self._mean(prompt), self._mean(answer)
        scores: Tensor = self.top(torch.cat([i, r, i * r, (i - r).abs()], dim=-1))
        return scores

    def _mean(self, words: Tensor) -> Tensor:
        seed, model = torch.arange(len(words))[:, None, None, None], torch.arange(words.shape[1])[:, None, None]
        return self.embedding[seed, model, words].mean(dim=-2)

    def copies(self, n: int) -> WordModels:
        """n copies of each seed's one model, to be trained apart."""
        made = object.__new__(WordModels)
        nn.Module.__init__(made)
        made.embedding = nn.Parameter(self.embedding.detach()[:, [0] * n])
        made.top = self.top.take([0] * n)
        return made

    def one(self, seed: int, model: int) -> WordModels:
        """One model apart, (1, 1)."""
        made = object.__new__(WordModels)
        nn.Module.__init__(made)
        made.embedding = nn.Parameter(self.embedding.detach()[[seed]][:, [model]])
        made.top = self.top.take([model])
        for parameter in made.top.parameters():
            parameter.data = parameter.data[[seed]]
        return made


class WordReward:
    """One model as a reward in TRL's contract, on texts."""

    __name__ = "word_reward"

    def __init__(self, model: WordModels) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, prompts: list[str], completions: list[str], **columns: object) -> list[float]:
        prompt, answer = (torch.from_numpy(words_of(texts))[None, None] for texts in (prompts, completions))
        rewards: list[float] = self.model(prompt, answer)[0, 0].tolist()
        return rewards
