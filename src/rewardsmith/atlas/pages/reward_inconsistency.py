"""A reward model that is right on held-out pairs may hardly read the prompt; look-alike prompts show it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain, RankAgreement, Within
from rewardsmith.atlas.figures import plane
from rewardsmith.auditing import contrast_consistency
from rewardsmith.data import PreferenceRow, Row, convex_augment, mine_contrast_pairs
from rewardsmith.objectives import bt_loss
from rewardsmith.rewards import RewardFusion
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.response_pool import best_of_n
from rewardsmith.worlds.training import adam_steps

FUSED = {"fusion": "standard", "hull_fusion": "hull", "fusion_shuffled": "standard"}
USAGE = (0.6, 0.2, 0.1, 0.06, 0.04)  # how often a concept's synonyms are used in the data
N_SYNONYMS, N_ASKED, N_WORDS = len(USAGE), 3, 4  # words of a concept, concepts of an instruction, words of an answer

CRITERION = All(
    PairedGain("iid/standard", over="c_res/standard", at_least=0.2),
    LowerBound("c_res/fusion", over="c_res/standard", above=0.02, least_seeds=6),
    LowerBound("c_res/hull", over="c_res/standard", above=0.03, least_seeds=6),
    RankAgreement("c_res", "best_of_64", ("standard", "one_sided", "hull_once", "hull", "random", "fresh"), 0.6),
    # What must fail: fusion with shuffled neighbors, rewording chosen answers alone, a probe with exchanged prompts.
    PairedGain("c_res/fusion_shuffled", over="c_res/standard", at_most=0.02),
    PairedGain("c_res/one_sided", over="c_res/standard", at_most=0.03),
    Within("c_res/permuted", 0.45, 0.55),
    Within("c_ins/permuted", 0.45, 0.55),
)


@dataclass(frozen=True, slots=True)
class World:
    """Instructions of three concepts, and answers that should cover them; texts are numbers of words, with blanks.

    Word 5c + k is the k-th synonym of concept c; the last ones are junk. Most rejected answers are junk, so that a
    reward model that ignores the instruction is almost right. Tests use all synonyms alike, so it must know rare ones.
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
    def junk(self) -> range:
        """The words that mean nothing, the last ones."""
        return range(N_SYNONYMS * self.n_concepts, N_SYNONYMS * self.n_concepts + self.n_junk)

    def good(self, asked: list[int], generator: random.Random, *, rare: bool = False) -> str:
        """An answer that covers the asked concepts, with one more word of any concept, in random order."""
        concepts = [*asked, generator.randrange(self.n_concepts)]
        generator.shuffle(concepts)
        return spoken(concepts, generator, rare=rare)

    def preference(self, generator: random.Random, *, flip: float = 0.0) -> PreferenceRow:
        """A pair whose rejected answer is junk or a good one to another question; `flip` is the chance to turn it."""
        asked = generator.sample(range(self.n_concepts), N_ASKED)
        chosen, rejected = self.good(asked, generator), " ".join(map(str, generator.choices(self.junk, k=N_WORDS)))
        if generator.random() < self.misplaced:
            rejected = self.good(generator.sample(range(self.n_concepts), N_ASKED), generator)
        if generator.random() < flip:
            chosen, rejected = rejected, chosen
        return PreferenceRow(spoken(asked, generator), chosen, rejected)

    def candidate(self, asked: list[int], generator: random.Random) -> str:
        """An answer of any quality, in words of any rarity: 0.35 of them on an asked concept, 0.15 junk, 0.5 any."""
        right = [N_SYNONYMS * concept + k for concept in asked for k in range(N_SYNONYMS)]
        kinds = generator.choices((right, self.junk, range(self.junk.start)), (0.35, 0.15, 0.5), k=N_WORDS)
        return " ".join(str(generator.choice(kind)) for kind in kinds)

    def reword(self, answer: str, generator: random.Random) -> str:
        """Replace words by any synonym, and junk by junk: the perturbation of `data.convex_augment`."""
        words = list(map(int, answer.split()))
        for k, word in enumerate(words):
            if generator.random() < self.reword_rate:
                first = word - word % N_SYNONYMS
                words[k] = generator.choice(self.junk if word in self.junk else range(first, first + N_SYNONYMS))
        return " ".join(map(str, words))

    def encoder(self, generator: np.random.Generator) -> Callable[[list[str]], Any]:
        """A sentence encoder: the mean of words' directions, one per concept and junk word, with some jitter."""
        meanings = np.eye(self.n_concepts + self.n_junk)
        vectors = np.repeat(meanings, [N_SYNONYMS] * self.n_concepts + [1] * self.n_junk, axis=0)
        vectors += self.jitter * generator.standard_normal(vectors.shape)
        return lambda texts: np.stack([vectors[list(map(int, text.split()))].mean(axis=0) for text in texts])


def spoken(concepts: Sequence[int], generator: random.Random, *, rare: bool = False) -> str:
    """A text that says concepts in words drawn by usage; with `rare`, all synonyms alike."""
    picks = generator.choices(range(N_SYNONYMS), None if rare else USAGE, k=len(concepts))
    return " ".join(str(N_SYNONYMS * concept + k) for concept, k in zip(concepts, picks, strict=True))


def gold(prompt: str, answer: str) -> int:
    """How many of the instruction's concepts the answer covers, in any word."""
    asked, covered = ({int(word) // N_SYNONYMS for word in text.split()} for text in (prompt, answer))
    return len(asked & covered)


def scores(texts: Sequence[Sequence[tuple[Any, Any]]], embedding: Tensor, top: BatchedMLP) -> Tensor:
    """(M, B) rewards by M models of B instructions and answers each, from the mean embeddings i and r of their words.

    A perceptron of `top`, (1, M), reads [i, r, i·r, |i − r|]. embedding: (M, words, d).
    """
    words = torch.tensor([[list(map(int, " ".join(text).split())) for text in of] for of in texts])  # (M, B, 3 + 4)
    vectors = embedding[torch.arange(len(words))[:, None, None], words]
    i, r = vectors[..., :N_ASKED, :].mean(dim=-2), vectors[..., N_ASKED:, :].mean(dim=-2)
    return top(torch.cat([i, r, i * r, (i - r).abs()], dim=-1)[None])[0]  # type: ignore[no-any-return]


def reward(prompts: list[str], completions: list[str], embedding: Tensor, top: BatchedMLP, **_: Any) -> list[float]:
    """One model's rewards, in TRL's contract."""
    found: list[float] = scores([list(zip(prompts, completions, strict=True))], embedding, top)[0].tolist()
    return found


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Accuracy, contrast consistency and best-of-64 of reward models by augmentation, with and without fusion."""
    generator, streams = random.Random(seed), Streams([seed], dtype=torch.float32)
    encode = world.encoder(np.random.default_rng(seed))
    rows = [world.preference(generator, flip=world.flip) for _ in range(world.n_pairs)]
    reword = partial(convex_augment, perturb=world.reword, embed=encode, generator=generator)
    one_sided = reword(rows, sides=("chosen",), copies=world.copies)
    tables = {"standard": rows, "one_sided": one_sided, "hull_once": reword(rows)}
    tables["hull"] = one_sided if broken else reword(rows, copies=world.copies)
    tables |= {"random": reword(rows, copies=world.copies, pick="random"), "fresh": rows}

    embedding = world.embedding_std * streams.randn(world.junk.stop, world.d).repeat(len(tables), 1, 1)
    top = BatchedMLP((4 * world.d, world.width, 1), lead=(1, 1), streams=streams).take([0] * len(tables))
    weights, rate = [embedding.requires_grad_(), *top.parameters()], world.learning_rate
    for _ in adam_steps(weights, world.steps, learning_rate=rate, weight_decay=world.weight_decay):
        shared = [generator.random() for _ in range(world.batch_size)]  # every arm draws from its own table by these
        drawn = {name: [table[int(u * len(table))] for u in shared] for name, table in tables.items()}
        drawn["fresh"] = reword(drawn["fresh"], n=1, pick="all")
        sides = ("chosen", "rejected")
        texts = ([[(row.prompt, getattr(row, side)) for row in of] for of in drawn.values()] for side in sides)
        losses = bt_loss(*(scores(of, embedding, top) for of in texts))
        torch.autograd.backward(losses.mean(dim=-1).sum())

    rewards: dict[str, Callable[..., Any]] = {}
    for k, name in enumerate(tables):
        rewards[name] = partial(reward, embedding=embedding.detach()[[k]], top=top.take([k]).requires_grad_(False))
    shuffle = np.random.default_rng(seed)  # gives every text the neighbors of another
    fusion = partial(RewardFusion, texts=[(row.prompt, row.chosen) for row in rows], k=world.neighbors)
    for name, of in FUSED.items():
        embed = (lambda texts: shuffle.permutation(encode(texts))) if broken or name == "fusion_shuffled" else encode
        rewards[name] = fusion(rewards[of], embed=embed, threshold=world.threshold)

    tests = [world.preference(generator) for _ in range(world.n_pairs // 3)]
    needs = [generator.sample(range(world.n_concepts), N_ASKED) for _ in range(world.n_test_rows)]
    mined = [Row(spoken(asked, generator), world.good(asked, generator, rare=True)) for asked in needs]
    pairs = mine_contrast_pairs(mined, encode, low=0.55, high=0.8)
    pairs = generator.sample(pairs, min(len(pairs), world.n_contrast))
    permuted = [
        pair._replace(first_prompt=other.first_prompt, second_prompt=other.second_prompt)
        for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    found: dict[str, float] = {}
    for name, judge in [*rewards.items(), ("permuted", rewards["standard"])]:
        probed = permuted if name == "permuted" else pairs
        measured = contrast_consistency(judge, probed, held_out=tests, workers=0, batch_size=10_000)
        found |= {f"c_res/{name}": measured.c_res, f"c_ins/{name}": measured.c_ins, f"iid/{name}": measured.iid_acc}

    prompts, answers = list[str](), list[str]()
    for asked in [generator.sample(range(world.n_concepts), N_ASKED) for _ in range(world.n_prompts)]:
        prompts += [spoken(asked, generator)] * world.n_answers
        answers += [world.candidate(asked, generator) for _ in range(world.n_answers)]
    worth = torch.tensor(list(map(gold, prompts, answers)), dtype=torch.float64).view(world.n_prompts, -1)
    for name, judge in rewards.items():
        paid = judge(prompts=prompts, completions=answers)
        picked = best_of_n(torch.tensor(paid, dtype=torch.float64).view_as(worth), worth, [64])
        found[f"best_of_64/{name}"] = float(picked.mean())
    return found


figure = partial(  # training moves up and right, fusion up and left
    plane, x=("best_of_64", "gold of best-of-64 (0 to 3)"), y=("c_res", "response contrast"), squares=FUSED
)
