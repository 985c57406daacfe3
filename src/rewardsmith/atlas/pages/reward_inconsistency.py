"""A reward model that is right on held-out pairs may hardly read the prompt; look-alike prompts show it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain, RankAgreement, Results, Within
from rewardsmith.auditing import contrast_consistency
from rewardsmith.data import PreferenceRow, convex_augment, mine_contrast_pairs
from rewardsmith.data.contrast import ContrastPair, Side
from rewardsmith.objectives import bt_loss
from rewardsmith.rewards import RewardFusion
from rewardsmith.worlds import Streams
from rewardsmith.worlds.concept_language import ConceptLanguage, Encoder, WordModels, WordPairs, WordReward, words_of
from rewardsmith.worlds.response_pool import best_of_n
from rewardsmith.worlds.training import adam_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINED = ("standard", "one_sided", "hull_once", "hull", "random", "fresh")
FUSED = {"fusion": "standard", "hull_fusion": "hull", "fusion_shuffled": "standard"}
Score = Callable[..., Any]  # a reward in TRL's contract
BOTH: tuple[Side, ...] = ("chosen", "rejected")
TESTED = ("standard", "hull", "fusion")  # on held-out pairs, too


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
    """A vocabulary of concepts, synonyms and junk, and preferences for which the instruction hardly matters."""

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


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Accuracy, contrast consistency and best-of-64 of reward models by augmentation, with and without fusion."""
    streams = Streams(seeds, dtype=torch.float32)
    language = ConceptLanguage(n_concepts=world.n_concepts, n_junk=world.n_junk)
    pairs = language.pairs(world.n_pairs, streams, flip=world.flip, misplaced=world.misplaced)
    encoders = [language.encoder(np.random.default_rng(seed), jitter=world.jitter) for seed in seeds]
    tables = [
        augmented(pairs.rows(k), language, encoder, random.Random(seed), world, broken)
        for k, (seed, encoder) in enumerate(zip(seeds, encoders, strict=True))
    ]
    start = WordModels(
        language.n_tokens, lead=(len(seeds), 1), streams=streams, d=world.d, width=world.width, std=world.embedding_std
    )
    models = train(start.copies(len(TRAINED)), tables, language, streams, world)
    tests = language.pairs(world.n_pairs // 3, streams, misplaced=world.misplaced)
    mined = language.test_rows(world.n_test_rows, streams)
    prompts, answers = language.candidates(world.n_prompts, world.n_answers, streams)
    results = []
    for k, (seed, encoder) in enumerate(zip(seeds, encoders, strict=True)):
        rewards: dict[str, Score] = {name: WordReward(models.one(k, m)) for m, name in enumerate(TRAINED)}
        rewards |= fused(rewards, pairs.rows(k), encoder, random.Random(seed), world, broken)
        contrasts = sampled(mine_contrast_pairs(mined[k], encoder, low=0.55, high=0.8), world.n_contrast, seed)
        row = consistency(rewards, contrasts, tests.rows(k))
        results.append(row | best_of(rewards, prompts[k], answers[k], language))
    return results


def augmented(
    rows: list[PreferenceRow],
    language: ConceptLanguage,
    encoder: Encoder,
    generator: random.Random,
    world: World,
    broken: bool,
) -> list[list[PreferenceRow]]:
    """What each of `TRAINED` is trained on, in that order; "fresh" is reworded anew whenever a pair is drawn."""
    change = partial(language.reword, rate=world.reword_rate)
    reworded = partial(convex_augment, rows, change, encoder, generator=generator)
    return [
        rows,
        reworded(sides=BOTH[:1], copies=world.copies),
        reworded(sides=BOTH),
        reworded(sides=BOTH[:1] if broken else BOTH, copies=world.copies),
        reworded(sides=BOTH, copies=world.copies, pick="random"),
        rows,
    ]


def train(
    models: WordModels,
    tables: list[list[list[PreferenceRow]]],
    language: ConceptLanguage,
    streams: Streams,
    world: World,
) -> WordModels:
    """Adam on Bradley-Terry; every arm draws from its own table, by draws that the arms share."""
    texts = [[row for rows in table for row in rows] for table in tables]
    pool = WordPairs(
        *(
            torch.stack([torch.from_numpy(words_of([getattr(row, name) for row in rows])) for rows in texts])
            for name in ("prompt", "chosen", "rejected")
        )
    )
    count = torch.tensor([len(rows) for rows in tables[0]])[:, None]
    first, seed = count.cumsum(0) - count, torch.arange(len(streams))[:, None, None]
    fresh = TRAINED.index("fresh")
    rate, decay = world.learning_rate, world.weight_decay
    for _ in adam_steps(models.parameters(), world.steps, learning_rate=rate, weight_decay=decay):
        uniform = streams.rand(world.batch_size)[:, None]
        picks = first + (uniform * count).long().minimum(count - 1)  # (S, M, b)
        prompt, *answers = (column[seed, picks] for column in pool)
        for answer in answers:
            answer[:, fresh] = language.reworded(answer[:, fresh], streams, rate=world.reword_rate)
        both = models(torch.cat([prompt, prompt], dim=2), torch.cat(answers, dim=2))
        losses = bt_loss(*both.chunk(2, dim=-1))
        torch.autograd.backward(losses.mean(dim=-1).sum())
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
    texts = list(dict.fromkeys(f"{prompt}\n{answer}" for prompt, answer in index))
    known, turn = set(texts), generator.randrange(len(texts))

    def shuffled(asked: list[str]) -> Any:
        return encoder([one if one in known else texts[(crc32(one.encode()) + turn) % len(texts)] for one in asked])

    return {
        name: RewardFusion(
            rewards[of],
            index,
            shuffled if broken or name == "fusion_shuffled" else encoder,
            k=world.neighbors,
            threshold=world.threshold,
        )
        for name, of in FUSED.items()
    }


def sampled(pairs: list[ContrastPair], n: int, seed: int) -> list[ContrastPair]:
    """At most n of the pairs, at random."""
    return pairs if len(pairs) <= n else random.Random(seed).sample(pairs, n)


def consistency(rewards: dict[str, Score], pairs: list[ContrastPair], tests: list[PreferenceRow]) -> dict[str, float]:
    """Both contrasts of every reward, and the standard one's with each pair's prompts replaced by another pair's."""
    others = pairs[1:] + pairs[:1]
    permuted = [
        pair._replace(first_prompt=other.first_prompt, second_prompt=other.second_prompt)
        for pair, other in zip(pairs, others, strict=True)
    ]
    found: dict[str, float] = {}
    for name, reward in [*rewards.items(), ("permuted", rewards["standard"])]:
        asked = permuted if name == "permuted" else pairs
        held_out = tests if name in TESTED else ()
        measured = contrast_consistency(reward, asked, held_out=held_out, workers=0, batch_size=10_000)
        found |= {f"c_res/{name}": measured.c_res, f"c_ins/{name}": measured.c_ins}
        found |= {f"iid/{name}": measured.iid_acc} if name in TESTED else {}
    return found


def best_of(rewards: dict[str, Score], prompt: Tensor, answers: Tensor, language: ConceptLanguage) -> dict[str, float]:
    """Gold of what best-of-64 picks by each reward."""
    gold = language.gold(prompt[:, None], answers).double()
    prompts = [text for text in map(" ".join, prompt.numpy().astype(str)) for _ in range(gold.shape[1])]
    completions = list(map(" ".join, answers.flatten(0, 1).numpy().astype(str)))
    found = {}
    for name, reward in rewards.items():
        scores = torch.tensor(reward(prompts=prompts, completions=completions), dtype=torch.float64).view_as(gold)
        found[f"best_of_64/{name}"] = float(best_of_n(scores, gold, [64]).mean())
    return found


def figure(results: Results, axes: Axes) -> None:
    """Consistency against what best-of-64 picks: training moves up and right, fusion up and left."""
    for arm in (*TRAINED, *FUSED):
        x, y = (float(np.mean(results[f"{metric}/{arm}"])) for metric in ("best_of_64", "c_res"))
        axes.plot([x], [y], "s" if arm in FUSED else "o", label=arm.replace("_", " "))
    axes.axhline(0.5, color="gray", linewidth=0.8, linestyle="--")
    axes.set_xlabel("gold of what best-of-64 picks (0 to 3)")
    axes.set_ylabel("response contrast (chance 0.5)")
    axes.legend(frameon=False, fontsize=8, ncols=2)
