"""The log-ratio of a DPO policy ranks familiar text as well as a reward head does, and paraphrases worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_choice
from rewardsmith.atlas.criteria import All, AtMost, LowerBound, PairedGain, Within
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import parameters
from rewardsmith.measures import accuracy_gap
from rewardsmith.objectives import bt_loss, dpo_loss, implicit_reward, sequence_logps
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import BatchedGPT
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    Within("gap_id/explicit_over_implicit", -0.04, 0.04),
    PairedGain("accuracy_train/implicit", over="accuracy_train/explicit", at_least=-0.02),
    LowerBound("gap_paraphrase/explicit_over_implicit", above=0.05, least_seeds=8),
    LowerBound("gap_mix/explicit_over_implicit", above=0.03, least_seeds=8),
    # What must fail: a head blind to the answer, tests in the words of training (first part), a model against itself.
    Within("accuracy_id/head_on_prompt", 0.45, 0.55),
    AtMost("gap_paraphrase/explicit_over_itself", 0.0),
)
FORMS = {"id": "first", "paraphrase": "second", "mix": "mixed"}  # of the words in each test
BOS, EOS, FIRST_MARKER, FIRST_WORD = 0, 1, 2, 4  # tokens
PROMPT = 2  # tokens before the answer
Scorer = Callable[[Tensor], Tensor]  # (S, n, T) texts to (S, n) rewards


class Language(NamedTuple):
    """Chains of L concepts per answer, and the gold of each concept; form and marker have none.

    transitions: (S, C, C) probabilities of the next concept. value: (S, C) gold of a concept; an answer's is the sum.
    """

    transitions: Tensor
    value: Tensor
    n_concepts: int

    def answers(self, n: int, n_answers: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Draw prompts, (S, n) words of either form, and (S, n, k, L) concepts that the chain draws after them."""
        seed, n_words = torch.arange(len(streams))[:, None, None], self.value.shape[-1]
        concept, form = streams.randint(n_words, n), streams.randint(2, n)
        found = [concept[:, None].expand(-1, n_answers, -1)]  # (S, k, n) each
        for uniform in streams.rand(n_answers, self.n_concepts, n).unbind(2):
            found.append(sample_index(self.transitions[seed, found[-1]], uniform))
        return FIRST_WORD + concept + n_words * form, torch.stack(found[1:], dim=-1).transpose(1, 2)

    def texts(self, prompt_word: Tensor, concepts: Tensor, forms: Tensor) -> Tensor:
        """Return (S, ..., T) tokens of prompt words (S, ...) and concepts (S, ..., L) in forms (S, ..., L), 0 or 1."""
        words = FIRST_WORD + concepts + self.value.shape[-1] * forms
        body = torch.stack([FIRST_MARKER + forms, words], dim=-1).flatten(-2)
        ends = [torch.full_like(prompt_word, token)[..., None] for token in (BOS, EOS)]
        return torch.cat([ends[0], prompt_word[..., None], body, ends[1]], dim=-1)

    def corpus(self, n: int, streams: Streams) -> Tensor:
        """Draw (S, n, T) texts of the language, every marker at random."""
        word, concepts = self.answers(n, 1, streams)
        return self.texts(word, concepts[:, :, 0], streams.randint(2, n, self.n_concepts))

    def pairs(self, n: int, streams: Streams, *, forms: str) -> Tensor:
        """Draw (S, n, 2, T) pairs without label error: two answers to one prompt, the one of more gold first.

        Pairs of equal gold are skipped. Answers are in the first form, the second, or a form drawn per word.
        """
        check_choice("Language.pairs", "forms", forms, tuple(FORMS.values()))
        word, both = self.answers(2 * n + 16, 2, streams)  # (S, m), (S, m, 2, L)
        seed = torch.arange(len(streams))[:, None]
        gold = self.value[seed[..., None, None], both].sum(-1)
        told_apart = (gold[..., 0] - gold[..., 1]).abs() > 1e-5  # the same words in another order differ by rounding
        if int(told_apart.sum(dim=1).min()) < n:
            raise ValueError(
                f"Language.pairs: fewer than {n} of {2 * n + 16} pairs differ in gold. Raise temperature or the length."
            )
        kept = told_apart.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :n]
        order = gold.argsort(dim=-1, descending=True)
        both = both.gather(2, order[..., None].expand_as(both))[seed, kept]  # (S, n, 2, L)
        form = streams.randint(2, *both.shape[1:]) if forms == "mixed" else torch.full_like(both, forms == "second")
        return self.texts(word[seed, kept][..., None].expand(-1, -1, 2), both, form)

    def next_token(self, ids: Tensor) -> Tensor:
        """Return (S, n, T − 1, V) true probabilities of tokens 1…T−1 given the prefix."""
        n_words = self.value.shape[-1]
        target = torch.zeros(*ids.shape[:2], ids.shape[2] - 1, FIRST_WORD + 2 * n_words, dtype=self.value.dtype)
        target[:, :, 0, FIRST_WORD:] = 0.5 / n_words
        target[:, :, 1:-1:2, FIRST_MARKER:FIRST_WORD] = 0.5
        target[:, :, -1, EOS] = 1.0
        previous, marker = (ids[:, :, 1:-2:2] - FIRST_WORD) % n_words, ids[:, :, 2:-1:2] - FIRST_MARKER  # (S, n, L)
        follows = self.transitions[torch.arange(len(ids))[:, None, None], previous]  # (S, n, L, C)
        words = torch.stack([follows * (marker == form)[..., None] for form in (0, 1)], dim=-2).flatten(-2)
        target[:, :, 2:-1:2, FIRST_WORD:] = words
        return target


@dataclass(frozen=True, slots=True)
class World:
    """A language in which every concept has two words, and models that have met preferences in one of them."""

    n_words: int = 16  # concepts
    n_concepts: int = 4  # concepts in an answer
    temperature: float = 0.6  # of the chain over concepts; lower is more predictable
    width: int = 40  # of the transformer
    embedding_std: float = 0.005  # of its embeddings before training
    readout_std: float = 3.0  # of its readout before training, times √width
    pretrain_steps: int = 500  # updates of the base
    pretrain_batch: int = 12  # texts per update
    n_pairs: int = 300  # preferences, all in the first form
    steps: int = 150  # updates of either reward
    batch_size: int = 32  # pairs per update
    policy_rate: float = 5e-4  # AdamW's, of DPO
    trunk_rate: float = 1e-4  # AdamW's, of the explicit model below its head
    head_rate: float = 2e-3  # AdamW's, of its head
    beta: float = 0.1  # β of DPO
    n_tests: int = 300  # pairs per test and draw
    n_draws: int = 2  # of language, base, preferences and tests per seed, whose pairs are pooled

    def language(self, streams: Streams) -> Language:
        """Draw a random chain over concepts, and their values, per seed."""
        transitions = (streams.randn(self.n_words, self.n_words) / self.temperature).softmax(dim=-1)
        return Language(transitions, streams.randn(self.n_words), self.n_concepts)


def pretrain(
    models: BatchedGPT, language: Language, streams: Streams, *, steps: int, batch_size: int, rate: float = 3e-3
) -> BatchedGPT:
    """Train by AdamW on the cross-entropy to true next-token probabilities of fresh texts, not to drawn tokens."""
    for _ in adam_steps(
        models.parameters(), steps, learning_rate=rate, weight_decay=0.01, betas=(0.9, 0.95), warm_up=20
    ):
        ids = language.corpus(batch_size, streams)
        losses = -(language.next_token(ids) * models(ids[..., :-1]).log_softmax(dim=-1)).sum(dim=-1)
        torch.autograd.backward(losses.mean(dim=(1, 2)).sum())
    return models


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure an explicit and an implicit reward on pairs in the words of training, in the others, and in both."""
    streams = Streams([world.n_draws * seed + k for seed in seeds for k in range(world.n_draws)], dtype=torch.float32)
    language = world.language(streams)
    sizes = FIRST_WORD + 2 * world.n_words, PROMPT + 2 * world.n_concepts + 1  # of the vocabulary, and of a text
    base = BatchedGPT(*sizes, streams=streams, **parameters(world, BatchedGPT))
    pretrain(base, language, streams, steps=world.pretrain_steps, batch_size=world.pretrain_batch)
    data = language.pairs(world.n_pairs, streams, forms="first")
    order = [streams.randint(world.n_pairs, world.batch_size) for _ in range(world.steps)]
    draw = torch.arange(len(streams))[:, None]
    batches = [data[draw, picks].transpose(1, 2).flatten(1, 2) for picks in order]  # all chosen answers first
    heads = [explicit(base, batches, read, world) for read in (PROMPT if broken else None, PROMPT)]
    rewards = (*heads, implicit(base, batches, data, order, world))
    fresh = {split: language.pairs(world.n_tests, streams, forms=forms) for split, forms in FORMS.items()}
    rows: list[dict[str, float]] = [{} for _ in seeds]
    for split, pairs in ({"train": data} | fresh).items():
        margins = [in_chunks(score, pairs[:, :, 0]) - in_chunks(score, pairs[:, :, 1]) for score in rewards]
        of_seeds = [margin.view(len(seeds), -1).numpy() for margin in margins]  # (S, draws · n)
        for row, explicit_, blind, implicit_ in zip(rows, *of_seeds, strict=True):
            gap = accuracy_gap(explicit_, implicit_, n_resamples=1)
            row[f"accuracy_{split}/explicit"], row[f"accuracy_{split}/implicit"] = gap[:2]
            row[f"accuracy_{split}/head_on_prompt"] = accuracy_gap(blind, implicit_, n_resamples=1).accuracy_a
            row[f"gap_{split}/explicit_over_implicit"] = gap.gap
            row[f"gap_{split}/explicit_over_itself"] = accuracy_gap(explicit_, explicit_, n_resamples=1).gap
    return rows


def explicit(base: BatchedGPT, batches: list[Tensor], read: int | None, world: World) -> Scorer:
    """Train a linear head on the last hidden state of `read` tokens, all if None, with a copy of all below it."""
    models, head = base.take(range(len(base))), torch.zeros(len(base), 1, world.width, requires_grad=True)

    def score(ids: Tensor) -> Tensor:
        return (models.hidden(ids[..., :read])[:, :, -1] * head).sum(dim=-1)

    trunk: dict[str, Any] = {"params": list(models.parameters()), "lr": world.trunk_rate}
    for step in adam_steps([trunk, {"params": [head]}], len(batches), learning_rate=world.head_rate, weight_decay=0.01):
        torch.autograd.backward(bt_loss(*score(batches[step]).chunk(2, dim=1)).mean(dim=1).sum())
    return score


def implicit(base: BatchedGPT, batches: list[Tensor], data: Tensor, order: list[Tensor], world: World) -> Scorer:
    """Train a copy of the base by DPO; return β log π/π_ref."""
    policy = base.take(range(len(base)))

    def logps(models: BatchedGPT, ids: Tensor) -> Tensor:
        return sequence_logps(models(ids), ids, (torch.arange(ids.shape[-1]) >= PROMPT).expand_as(ids))

    known = [in_chunks(partial(logps, base), data[:, :, k]) for k in (0, 1)]  # (S, n) each
    for step in adam_steps(policy.parameters(), len(order), learning_rate=world.policy_rate, weight_decay=0.01):
        of_base = [reference.gather(1, order[step]) for reference in known]
        losses = dpo_loss(*logps(policy, batches[step]).chunk(2, dim=1), *of_base, beta=world.beta)
        torch.autograd.backward(losses.mean(dim=1).sum())
    return lambda ids: implicit_reward(logps(policy, ids), logps(base, ids), beta=world.beta)


@torch.no_grad()
def in_chunks(score: Scorer, ids: Tensor) -> Tensor:
    """Score texts (S, n, T), 250 per seed at a time, as (S, n)."""
    return torch.cat([score(part) for part in torch.split(ids, 250, dim=1)], dim=1)


figure = partial(
    dots,
    series={"reward head": "accuracy_{}/explicit", "DPO's log-ratio": "accuracy_{}/implicit"},
    rows={"train": "training pairs", "id": "same words", "mix": "either word", "paraphrase": "other words"},
    label="accuracy",
)
