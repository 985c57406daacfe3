"""A reward model that is right on held-out pairs may hardly read the prompt; look-alike prompts show it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain, RankAgreement, Within
from rewardsmith.atlas.figures import plane
from rewardsmith.auditing import contrast_consistency
from rewardsmith.data import PreferenceRow, Row, convex_augment, mine_contrast_pairs
from rewardsmith.data.contrast import ContrastPair, Side
from rewardsmith.objectives import bt_loss
from rewardsmith.rewards import RewardFusion
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.response_pool import best_of_n
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

TRAINED = ("standard", "one_sided", "hull_once", "hull", "random", "fresh")
FUSED = {"fusion": "standard", "hull_fusion": "hull", "fusion_shuffled": "standard"}
TESTED = ("standard", "hull", "fusion")  # on held-out pairs, too
USAGE = (0.6, 0.2, 0.1, 0.06, 0.04)  # how often a concept's synonyms are used in the data
N_SYNONYMS, N_ASKED, N_WORDS = len(USAGE), 3, 4  # words of a concept, concepts of an instruction, words of an answer
Score = Callable[..., Any]  # a reward in TRL's contract
Encoder = Callable[[list[str]], NDArray[np.float64]]
Words = tuple[Tensor, Tensor, Tensor]
BOTH: tuple[Side, ...] = ("chosen", "rejected")

CRITERION = All(
    PairedGain("iid/standard", over="c_res/standard", at_least=0.2),
    LowerBound("c_res/fusion", over="c_res/standard", above=0.02, least_seeds=6),
    LowerBound("c_res/hull", over="c_res/standard", above=0.03, least_seeds=6),
    RankAgreement("c_res", "best_of_64", ("standard", "one_sided", "hull_once", "hull", "random", "fresh"), 0.6),
    # What must fail: fusion with shuffled neighbors, rewording the chosen answers alone, a probe whose prompts are
    # exchanged.
    PairedGain("c_res/fusion_shuffled", over="c_res/standard", at_most=0.02),
    PairedGain("c_res/one_sided", over="c_res/standard", at_most=0.03),
    Within("c_res/permuted", 0.45, 0.55),
    Within("c_ins/permuted", 0.45, 0.55),
)


@dataclass(frozen=True, slots=True)
class World:
    """Instructions of three concepts, and answers that should cover them, in words of which some are rare.

    A text is the numbers of its words, joined by blanks. Word 5c + k is the k-th synonym of concept c; the last ones
    are junk. In the preference data a rejected answer is mostly junk, so that a reward model that ignores the
    instruction is almost right; the tests use all synonyms alike, so that it must know the rare ones.
    """

    n_concepts: int = 16  # of five synonyms each
    n_junk: int = 10  # words that mean nothing
    n_pairs: int = 1200  # preferences
    flip: float = 0.05  # chance that a label is wrong
    misplaced: float = 0.25  # share of rejected answers that are good ones to another question
    d: int = 16  # dimensions of the reward model's embeddings
    embedding_std: float = 0.7  # of the embeddings before training
    width: int = 64  # of its hidden layer
    steps: int = 600  # updates
    batch_size: int = 32  # pairs per update
    learning_rate: float = 1e-2  # of AdamW
    weight_decay: float = 0.01  # of AdamW
    reword_rate: float = 0.75  # chance that a rewording replaces a word by any of its synonyms
    copies: int = 5  # picks from a pair's rewordings, of which one is met whenever the pair is drawn
    jitter: float = 0.02  # spread of synonyms in the sentence encoder
    n_test_rows: int = 250  # instructions to mine contrast pairs from
    n_contrast: int = 800  # contrast pairs
    n_prompts: int = 64  # instructions of best-of-n
    n_answers: int = 128  # candidates for each
    neighbors: int = 5  # k of fusion
    threshold: float = 0.9  # least cosine of a neighbor

    @property
    def first_junk(self) -> int:
        """How many words mean something; junk comes after them."""
        return N_SYNONYMS * self.n_concepts

    def concept(self, words: Tensor) -> Tensor:
        """Concept of each word; junk has numbers from n_concepts up, one per word."""
        junk = words - self.first_junk
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

    def pairs(self, n: int, streams: Streams, *, flip: float = 0.0) -> Words:
        """n preferences per seed: instruction (S, n, 3), and answers chosen and rejected (S, n, 4), as words.

        A share `misplaced` of the rejected answers are good ones to another question; the others are junk.

        Args:
            flip: chance that a label is turned around.
        """
        asked = self.asked(n, streams)
        junk = self.first_junk + streams.randint(self.n_junk, n, N_WORDS)
        elsewhere = self.good(self.asked(n, streams), streams)
        rejected = torch.where((streams.rand(n) < self.misplaced)[..., None], elsewhere, junk)
        prompt, chosen = self.spoken(asked, streams), self.good(asked, streams)
        turned = (streams.rand(n) < flip)[..., None]
        return prompt, torch.where(turned, rejected, chosen), torch.where(turned, chosen, rejected)

    def test_rows(self, n: int, streams: Streams) -> list[list[Row]]:
        """Per seed n instructions with a good answer in words of any rarity, to mine contrast pairs from."""
        asked = self.asked(n, streams)
        prompts, answers = self.spoken(asked, streams), self.good(asked, streams, rare=True)
        return [
            [Row(prompt, answer) for prompt, answer in zip(texts(of), texts(to), strict=True)]
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
        empty = self.first_junk + streams.randint(self.n_junk, *shape)
        return self.spoken(asked, streams), torch.where(kind > 1 - junk, empty, words)

    def reworded(self, words: Tensor, streams: Streams) -> Tensor:
        """(S, n, 4) the same answers; each word may be replaced by any synonym, junk by junk."""
        replaced = streams.rand(*words.shape[1:]) < self.reword_rate
        synonym, junk = streams.randint(N_SYNONYMS, *words.shape[1:]), streams.randint(self.n_junk, *words.shape[1:])
        other = torch.where(words < self.first_junk, words - words % N_SYNONYMS + synonym, self.first_junk + junk)
        return torch.where(replaced, other, words)

    def reword(self, answer: str, generator: random.Random) -> str:
        """`reworded` for one text: the perturbation of `data.convex_augment`."""
        words = list(map(int, answer.split()))
        for k, word in enumerate(words):
            if generator.random() < self.reword_rate:
                meant = word < self.first_junk
                first, n = (word - word % N_SYNONYMS, N_SYNONYMS) if meant else (self.first_junk, self.n_junk)
                words[k] = first + generator.randrange(n)
        return " ".join(map(str, words))

    def encoder(self, generator: np.random.Generator) -> Encoder:
        """A sentence encoder that knows what words mean: one direction per concept and junk word, with some jitter.

        A text, in which line breaks are blanks, becomes the mean of its words' vectors.
        """
        n_meanings = self.n_concepts + self.n_junk
        meaning = self.concept(torch.arange(self.first_junk + self.n_junk)).numpy()
        vectors = np.eye(n_meanings)[meaning] + self.jitter * generator.standard_normal((len(meaning), n_meanings))

        def encode(texts: list[str]) -> NDArray[np.float64]:
            split = [one.split() for one in texts]
            counts = np.array([len(words) for words in split])
            flat = np.array([word for words in split for word in words], dtype=np.int64)
            sums = np.add.reduceat(vectors[flat], np.cumsum(counts) - counts, axis=0)
            return np.asarray(sums / counts[:, None])

        return encode


def texts(words: Tensor) -> list[str]:
    """The texts of words (n, words)."""
    return [" ".join(map(str, one)) for one in words.tolist()]


def words_of(texts: Sequence[str]) -> Tensor:
    """(n, words) of n texts of one length."""
    return torch.tensor([[int(word) for word in one.split()] for one in texts])


def preferences(pairs: Words, seed: int) -> list[PreferenceRow]:
    """One seed's preferences as texts."""
    every = enumerate(zip(*(texts(column[seed]) for column in pairs), strict=True))
    return [PreferenceRow(prompt, chosen, other, prompt_id=str(k)) for k, (prompt, chosen, other) in every]


class WordModels(nn.Module):
    """S·M reward models of word lists: mean embeddings i and r, and a perceptron over [i, r, i·r, |i − r|].

    embedding: (S, M, tokens, d). top: the perceptrons.
    """

    def __init__(self, embedding: Tensor, top: BatchedMLP) -> None:
        super().__init__()
        self.embedding, self.top = nn.Parameter(embedding.detach()), top

    def forward(self, prompt: Tensor, answer: Tensor) -> Tensor:
        """(S, M, B) rewards of instructions (S, M, B, 3) and answers (S, M, B, 4)."""
        seed, model = torch.arange(len(prompt))[:, None, None, None], torch.arange(prompt.shape[1])[:, None, None]
        i, r = (self.embedding[seed, model, words].mean(dim=-2) for words in (prompt, answer))
        scores: Tensor = self.top(torch.cat([i, r, i * r, (i - r).abs()], dim=-1))
        return scores

    def copies(self, n: int) -> WordModels:
        """n copies of each seed's one model, to be trained apart."""
        return WordModels(self.embedding[:, [0] * n], self.top.take([0] * n))

    def one(self, seed: int, model: int) -> WordModels:
        """One model apart, (1, 1)."""
        top = self.top.take([model])
        for parameter in top.parameters():
            parameter.data = parameter.data[[seed]]
        return WordModels(self.embedding[[seed]][:, [model]], top)


@torch.no_grad()
def word_reward(*, prompts: list[str], completions: list[str], model: WordModels, **columns: object) -> list[float]:
    """One model as a reward in TRL's contract, on texts."""
    prompt, answer = (words_of(texts)[None, None] for texts in (prompts, completions))
    rewards: list[float] = model(prompt, answer)[0, 0].tolist()
    return rewards


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Accuracy, contrast consistency and best-of-64 of reward models by augmentation, with and without fusion."""
    streams = Streams(seeds, dtype=torch.float32)
    pairs = world.pairs(world.n_pairs, streams, flip=world.flip)
    rows = [preferences(pairs, k) for k in range(len(seeds))]
    encoders = [world.encoder(np.random.default_rng(seed)) for seed in seeds]
    tables = []  # per seed, what each of TRAINED is trained on; "fresh" is reworded anew whenever a pair is drawn
    for own, encoder, seed in zip(rows, encoders, seeds, strict=True):
        reworded = partial(convex_augment, own, world.reword, encoder, generator=random.Random(seed))
        one_sided = reworded(sides=("chosen",), copies=world.copies)
        once = reworded(sides=BOTH)
        hull = reworded(sides=("chosen",) if broken else BOTH, copies=world.copies)
        tables.append([own, one_sided, once, hull, reworded(sides=BOTH, copies=world.copies, pick="random"), own])
    embedding = streams.randn(1, world.first_junk + world.n_junk, world.d) * world.embedding_std
    top = BatchedMLP((4 * world.d, world.width, 1), lead=(len(seeds), 1), streams=streams)
    models = train(WordModels(embedding, top).copies(len(TRAINED)), tables, streams, world)
    tests = world.pairs(world.n_pairs // 3, streams)
    mined = world.test_rows(world.n_test_rows, streams)
    prompts, answers = world.candidates(world.n_prompts, world.n_answers, streams)
    results = []
    for k, (seed, encoder) in enumerate(zip(seeds, encoders, strict=True)):
        rewards: dict[str, Score] = {
            name: partial(word_reward, model=models.one(k, m)) for m, name in enumerate(TRAINED)
        }
        rewards |= fused(rewards, rows[k], encoder, random.Random(seed), world, broken)
        contrasts = mine_contrast_pairs(mined[k], encoder, low=0.55, high=0.8)
        if len(contrasts) > world.n_contrast:
            contrasts = random.Random(seed).sample(contrasts, world.n_contrast)
        row = consistency(rewards, contrasts, preferences(tests, k))
        gold = world.gold(prompts[k][:, None], answers[k]).double()
        asked = [prompt for prompt in texts(prompts[k]) for _ in range(world.n_answers)]
        written = texts(answers[k].flatten(0, 1))
        for name, reward in rewards.items():
            scores = torch.tensor(reward(prompts=asked, completions=written), dtype=torch.float64).view_as(gold)
            row[f"best_of_64/{name}"] = float(best_of_n(scores, gold, [64]).mean())
        results.append(row)
    return results


def train(models: WordModels, tables: list[list[list[PreferenceRow]]], streams: Streams, world: World) -> WordModels:
    """Adam on Bradley-Terry; every arm draws from its own table, by draws that the arms share."""
    pooled = [[row for own in table for row in own] for table in tables]
    columns = ([[getattr(row, name) for row in own] for own in pooled] for name in ("prompt", "chosen", "rejected"))
    pool = [torch.stack([words_of(own) for own in column]) for column in columns]
    count = torch.tensor([len(own) for own in tables[0]])[:, None]
    first, seed = count.cumsum(0) - count, torch.arange(len(streams))[:, None, None]
    fresh = TRAINED.index("fresh")
    rate, decay = world.learning_rate, world.weight_decay
    for _ in adam_steps(models.parameters(), world.steps, learning_rate=rate, weight_decay=decay):
        uniform = streams.rand(world.batch_size)[:, None]
        picks = first + (uniform * count).long().minimum(count - 1)  # (S, M, b)
        prompt, *answers = (column[seed, picks] for column in pool)
        for answer in answers:
            answer[:, fresh] = world.reworded(answer[:, fresh], streams)
        both = models(torch.cat([prompt, prompt], dim=2), torch.cat(answers, dim=2))
        torch.autograd.backward(bt_loss(*both.chunk(2, dim=-1)).mean(dim=-1).sum())
    return models


def fused(
    rewards: dict[str, Score],
    rows: list[PreferenceRow],
    encoder: Encoder,
    generator: random.Random,
    world: World,
    broken: bool,
) -> dict[str, Score]:
    """The fused rewards; of "fusion_shuffled", and of all if broken, a query has the neighbors of some other text."""
    index = [(row.prompt, row.chosen) for row in rows]
    stored = list(dict.fromkeys(f"{prompt}\n{answer}" for prompt, answer in index))
    known, turn = set(stored), generator.randrange(len(stored))

    def shuffled(asked: list[str]) -> Any:
        return encoder([one if one in known else stored[(crc32(one.encode()) + turn) % len(stored)] for one in asked])

    fusion = partial(RewardFusion, k=world.neighbors, threshold=world.threshold)
    turned = {name: broken or name == "fusion_shuffled" for name in FUSED}
    return {name: fusion(rewards[of], index, shuffled if turned[name] else encoder) for name, of in FUSED.items()}


def consistency(rewards: dict[str, Score], pairs: list[ContrastPair], tests: list[PreferenceRow]) -> dict[str, float]:
    """Both contrasts of every reward, and the standard one's with each pair's prompts replaced by another pair's."""
    permuted = [
        pair._replace(first_prompt=other.first_prompt, second_prompt=other.second_prompt)
        for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    found: dict[str, float] = {}
    for name, reward in [*rewards.items(), ("permuted", rewards["standard"])]:
        asked, held_out = permuted if name == "permuted" else pairs, tests if name in TESTED else ()
        measured = contrast_consistency(reward, asked, held_out=held_out, workers=0, batch_size=10_000)
        found |= {f"c_res/{name}": measured.c_res, f"c_ins/{name}": measured.c_ins}
        found |= {f"iid/{name}": measured.iid_acc} if name in TESTED else {}
    return found


figure = partial(  # training moves up and right, fusion up and left
    plane,
    x=("best_of_64", "gold of what best-of-64 picks (0 to 3)"),
    y=("c_res", "response contrast"),
)
