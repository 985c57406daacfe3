"""A reward model that is right on held-out pairs may hardly read the prompt; look-alike prompts show it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain, RankAgreement, Within
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import parameters
from rewardsmith.auditing import contrast_consistency
from rewardsmith.data import PreferenceRow, convex_augment, mine_contrast_pairs
from rewardsmith.rewards import RewardFusion
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs, train_pairs
from rewardsmith.worlds.response_pool import best_of_n
from rewardsmith.worlds.streams import sample_index

CRITERION = All(
    PairedGain("iid/standard", over="c_res/standard", at_least=0.2),
    LowerBound("c_res/fusion", over="c_res/standard", above=0.02, least_seeds=6),
    LowerBound("c_res/hull", over="c_res/standard", above=0.03, least_seeds=6),
    RankAgreement("c_res", "best_of_64", ("standard", "one_sided", "hull_once", "hull", "random", "fresh"), 0.6),
    # What must fail: shuffled neighbors in fusion, rewording of chosen answers alone, exchanged prompts in the probe.
    PairedGain("c_res/fusion_shuffled", over="c_res/standard", at_most=0.02),
    PairedGain("c_res/one_sided", over="c_res/standard", at_most=0.03),
    Within("c_res/permuted", 0.45, 0.55),
    Within("c_ins/permuted", 0.45, 0.55),
)
USAGE = (0.6, 0.2, 0.1, 0.06, 0.04)  # how often a concept's synonyms are used in the data
N_CONCEPTS, N_SYNONYMS, JUNK = 16, len(USAGE), range(80, 90)  # words 5c to 5c + 4 mean concept c; junk means nothing
N_ASKED, N_WORDS = 3, 4  # concepts of an instruction, words of an answer


@dataclass(frozen=True, slots=True)
class World:
    """Instructions of three concepts, and answers that should cover them, in words of which some are rare.

    A text is its words' numbers, joined by blanks. Most rejected answers in the preference data are junk, so that a
    reward model that ignores the instruction is almost right; the tests use all synonyms alike, so it must know them.
    """

    n_pairs: int = 1200  # preferences
    flip: float = 0.05  # chance that a label is wrong
    misplaced: float = 0.25  # share of rejected answers that are good ones to another question
    embedding_std: float = 0.7  # of the reward model's embeddings before training
    steps: int = 600  # updates
    batch_size: int = 32  # pairs per update
    learning_rate: float = 1e-2  # of AdamW
    reword_rate: float = 0.75  # chance that a rewording replaces a word by any of its synonyms
    copies: int = 5  # picks from a pair's rewordings, of which one is met whenever the pair is drawn
    jitter: float = 0.02  # spread of synonyms in the sentence encoder
    n_contrast: int = 800  # contrast pairs, at most
    n_prompts: int = 64  # instructions of best-of-n
    n_answers: int = 128  # candidates for each

    def gold(self, prompt: Tensor, answer: Tensor) -> Tensor:
        """Count (...) the instruction's concepts (..., 3) that the answer (..., 4) covers, in any word."""
        covered = (prompt // N_SYNONYMS)[..., :, None] == (answer // N_SYNONYMS)[..., None, :]
        return covered.any(dim=-1).sum(dim=-1)

    def asked(self, n: int, streams: Streams) -> Tensor:
        """Draw (S, n, 3) different concepts of n instructions."""
        return streams.rand(n, N_CONCEPTS).argsort(dim=-1)[..., :N_ASKED]

    def spoken(self, concepts: Tensor, streams: Streams, *, rare: bool = False) -> Tensor:
        """Draw words for concepts (S, ...), by usage; with `rare`, all synonyms alike."""
        uniform = streams.rand(*concepts.shape[1:])
        usage = torch.tensor([1 / N_SYNONYMS] * N_SYNONYMS if rare else USAGE, dtype=uniform.dtype)
        return N_SYNONYMS * concepts + sample_index(usage, uniform)

    def good(self, concepts: Tensor, streams: Streams, *, rare: bool = False) -> Tensor:
        """Draw answers (S, n, 4) to concepts (S, n, 3): a word of each and one of any concept, in random order."""
        other = streams.randint(N_CONCEPTS, concepts.shape[1], 1)
        words = self.spoken(torch.cat([concepts, other], dim=-1), streams, rare=rare)
        return words.gather(-1, streams.rand(*words.shape[1:]).argsort(dim=-1))

    def pairs(self, n: int, streams: Streams, *, flip: float = 0.0, rare: bool = False) -> list[PreferenceRow]:
        """Draw n instructions, each with a good answer and a worse one, exchanged at `flip`; `streams` has one seed."""
        asked = self.asked(n, streams)
        junk = JUNK.start + streams.randint(len(JUNK), n, N_WORDS)
        elsewhere = self.good(self.asked(n, streams), streams)
        worse = torch.where((streams.rand(n) < self.misplaced)[..., None], elsewhere, junk)
        prompt, better = self.spoken(asked, streams), self.good(asked, streams, rare=rare)
        turned = (streams.rand(n) < flip)[..., None]
        answers = torch.where(turned, worse, better), torch.where(turned, better, worse)
        return [PreferenceRow(*of) for of in zip(*map(texts, (prompt, *answers)), strict=True)]

    def candidates(self, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw instructions (S, P, 1, 3) and answers (S, P, A, 4) of every quality to each, in words of any rarity."""
        asked, shape = self.asked(self.n_prompts, streams)[:, :, None], (self.n_prompts, self.n_answers, N_WORDS)
        kind, which = streams.rand(*shape), streams.randint(N_ASKED, *shape)
        on_topic = asked.expand(-1, -1, self.n_answers, -1).gather(-1, which)
        concepts = torch.where(kind < 0.35, on_topic, streams.randint(N_CONCEPTS, *shape))
        junk = JUNK.start + streams.randint(len(JUNK), *shape)
        words = torch.where(kind > 0.85, junk, self.spoken(concepts, streams, rare=True))
        return self.spoken(asked, streams), words

    def reword(self, answer: str, generator: random.Random) -> str:
        """Replace each word, at `reword_rate`, by any synonym, and junk by junk: for `data.convex_augment`."""
        words = list(map(int, answer.split()))
        for k, word in enumerate(words):
            if generator.random() < self.reword_rate:
                first = word - word % N_SYNONYMS
                words[k] = generator.choice(range(first, first + N_SYNONYMS) if word < JUNK.start else JUNK)
        return " ".join(map(str, words))

    def encoder(self, generator: np.random.Generator) -> Any:
        """Return a sentence encoder that knows meanings: the mean of a text's words, synonyms being nearly equal."""
        words = np.arange(JUNK.stop)
        meaning = np.where(words < JUNK.start, words // N_SYNONYMS, words - JUNK.start + N_CONCEPTS)
        vectors = np.eye(meaning[-1] + 1)[meaning]
        vectors += self.jitter * generator.standard_normal(vectors.shape)
        return lambda texts: vectors[words_of(texts)].mean(axis=1)


def texts(words: Tensor) -> list[str]:
    """Write words (..., n) as texts."""
    return [" ".join(map(str, one)) for one in words.flatten(0, -2).tolist()]


def words_of(texts: list[str]) -> Tensor:
    """Read the words (n, words) of n texts of one length."""
    return torch.tensor([[int(word) for word in one.split()] for one in texts])


class WordModels(BatchedMLP):
    """Reward models with mean embeddings i, r of instruction and answer, and a perceptron over [i, r, i·r, |i − r|]."""

    def __init__(self, world: World, streams: Streams) -> None:
        super().__init__((64, 64, 1), lead=(len(streams), 1), streams=streams)
        self.embedding = nn.Parameter(streams.randn(1, JUNK.stop, 16) * world.embedding_std)

    def forward(self, words: Tensor) -> Tensor:
        """Return (S, M, B) rewards of words (S, M, B, 3 + 4), an instruction's and its answer's."""
        seed, model = (torch.arange(n).view(-1, *[1] * k) for n, k in zip(self.lead, (3, 2), strict=True))
        parts = torch.split(words, [N_ASKED, N_WORDS], dim=-1)
        i, r = (self.embedding[seed, model, part].mean(dim=-2) for part in parts)
        return super().forward(torch.cat([i, r, i * r, (i - r).abs()], dim=-1))


@torch.no_grad()
def word_reward(*, prompts: list[str], completions: list[str], model: BatchedMLP, **columns: object) -> list[float]:
    """Score texts by a model alone."""
    rewards: Tensor = model(torch.cat([words_of(prompts), words_of(completions)], dim=-1)[None, None])
    return rewards[0, 0].tolist()


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure accuracy, contrast consistency and best-of-64 of reward models by augmentation, some with fusion."""
    streams = Streams([seed], dtype=torch.float32)
    own = world.pairs(world.n_pairs, streams, flip=world.flip)
    encoder = world.encoder(np.random.default_rng(seed))
    reworded = partial(convex_augment, own, world.reword, encoder, generator=random.Random(seed), copies=world.copies)
    tables = {
        "standard": own,
        "one_sided": reworded(sides=("chosen",)),
        "hull_once": reworded(copies=1),
        "hull": reworded(sides=("chosen",)) if broken else reworded(),
        "random": reworded(pick="random"),
        "fresh": reworded(pick="all", n=16, copies=1),  # a pair is drawn 16 times
    }
    rows = [row for table in tables.values() for row in table]
    chosen = words_of([f"{row.prompt} {row.chosen}" for row in rows])[None]
    rejected = words_of([f"{row.prompt} {row.rejected}" for row in rows])[None]
    pairs = Pairs(chosen, rejected, *torch.zeros(3, 1, len(rows)))  # training does not read gold
    arm = torch.arange(len(tables))
    mask = arm[:, None] == arm.repeat_interleave(torch.tensor(list(map(len, tables.values()))))  # (M, rows)
    models = WordModels(world, streams).take([0] * len(tables))
    train_pairs(models, pairs, streams=streams, mask=mask, weight_decay=0.01, **parameters(world, train_pairs))
    rewards: dict[str, Any] = {name: partial(word_reward, model=models.take([m])) for m, name in enumerate(tables)}
    index = {f"{row.prompt}\n{row.chosen}": (row.prompt, row.chosen) for row in own}
    stored = list(index)

    def shuffled(queries: list[str]) -> Any:  # gives each query the neighbors of some stored text
        return encoder([q if q in index else random.Random(q).choice(stored) for q in queries])

    for name, of in {"fusion": "standard", "hull_fusion": "hull", "fusion_shuffled": "standard"}.items():
        encode = shuffled if broken or name == "fusion_shuffled" else encoder
        rewards[name] = RewardFusion(rewards[of], [*index.values()], encode)

    held_out = world.pairs(world.n_pairs // 3, streams)
    mined = mine_contrast_pairs(world.pairs(250, streams, rare=True), encoder, low=0.55, high=0.8)
    contrasts = random.Random(seed).sample(mined, min(len(mined), world.n_contrast))
    prompts, answers = world.candidates(streams)
    gold = world.gold(prompts, answers)[0].double()  # (P, A)
    asked, written = texts(prompts.expand(-1, -1, world.n_answers, -1)), texts(answers)
    found: dict[str, float] = {}
    for name, reward in rewards.items():
        measured = contrast_consistency(reward, contrasts, held_out=held_out, workers=0, batch_size=10_000)
        found |= {f"c_res/{name}": measured.c_res, f"c_ins/{name}": measured.c_ins, f"iid/{name}": measured.iid_acc}
        given = torch.tensor(reward(prompts=asked, completions=written), dtype=torch.float64).view_as(gold)
        found[f"best_of_64/{name}"] = float(best_of_n(given, gold, [64]).mean())
    others = contrasts[1:] + contrasts[:1]  # whose prompts each pair gets
    permuted = [a._replace(first_prompt=b[0], second_prompt=b[2]) for a, b in zip(contrasts, others, strict=True)]
    measured = contrast_consistency(rewards["standard"], permuted, workers=0, batch_size=10_000)
    return found | {"c_res/permuted": measured.c_res, "c_ins/permuted": measured.c_ins}


figure = partial(plane, x=("best_of_64", "gold of what best-of-64 picks (0 to 3)"), y=("c_res", "response contrast"))
