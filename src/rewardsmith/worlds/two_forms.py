"""A language in which every concept has two words, and markers announce which of them comes: paraphrase made exact.

A text is BOS, a prompt word, L times a marker and a concept's word in the marker's form, EOS. After a word both forms
have the same future, so what a model holds after reading them is alike; but they are written in different contexts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rewardsmith._check import check_choice
from rewardsmith.worlds.batched_gpt import BatchedGPT
from rewardsmith.worlds.streams import Streams, sample_index
from rewardsmith.worlds.training import adam_steps

BOS, EOS, FIRST_MARKER, FIRST_WORD = 0, 1, 2, 4
Forms = Literal["first", "second", "mixed"]


class FormPairs(NamedTuple):
    """n pairs of answers to one prompt each, the better first, both in the same kind of forms.

    chosen, rejected: (S, n, T) tokens of prompt and answer; chosen_gold, rejected_gold: (S, n).
    """

    chosen: Tensor
    rejected: Tensor
    chosen_gold: Tensor
    rejected_gold: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TwoForms:
    """How concepts follow each other, and what each is worth; form and marker are worth nothing.

    transitions: (S, C, C) probabilities of the next concept. value: (S, C) gold of a concept; an answer's is the sum.
    n_concepts: L, concepts in an answer.
    """

    transitions: Tensor
    value: Tensor
    n_concepts: int = 4

    @classmethod
    def sample(cls, streams: Streams, *, n_words: int = 16, n_concepts: int = 4, temperature: float = 0.5) -> TwoForms:
        """A language per seed: a random chain over concepts, the more predictable the lower `temperature`."""
        transitions = (streams.randn(n_words, n_words) / temperature).softmax(dim=-1)
        return cls(transitions, streams.randn(n_words), n_concepts)

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary: BOS, EOS, two markers, two words per concept."""
        return FIRST_WORD + 2 * self.value.shape[-1]

    @property
    def n_positions(self) -> int:
        """T, tokens of a text."""
        return 3 + 2 * self.n_concepts

    def answers(self, prompt: Tensor, streams: Streams) -> Tensor:
        """(S, n, L) concepts that the chain draws after the prompt's (S, n)."""
        seed = torch.arange(len(streams))[:, None]
        found = [prompt]
        for uniform in streams.rand(self.n_concepts, prompt.shape[1]).unbind(1):
            found.append(sample_index(self.transitions[seed, found[-1]], uniform))
        return torch.stack(found[1:], dim=-1)

    def texts(self, prompt_word: Tensor, concepts: Tensor, forms: Tensor) -> Tensor:
        """(S, n, T) tokens: prompt words (S, n), and concepts (S, n, L) written in forms (S, n, L) of 0 and 1."""
        words = FIRST_WORD + concepts + self.value.shape[-1] * forms
        body = torch.stack([FIRST_MARKER + forms, words], dim=-1).flatten(-2)
        ends = [torch.full_like(prompt_word, token)[..., None] for token in (BOS, EOS)]
        return torch.cat([ends[0], prompt_word[..., None], body, ends[1]], dim=-1)

    def prompts(self, n: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """(S, n) concepts and the words, of either form, that prompts are."""
        concept, form = streams.randint(self.value.shape[-1], n), streams.randint(2, n)
        return concept, FIRST_WORD + concept + self.value.shape[-1] * form

    def corpus(self, n: int, streams: Streams) -> Tensor:
        """(S, n, T) texts as the language has them, every marker by chance."""
        concept, word = self.prompts(n, streams)
        return self.texts(word, self.answers(concept, streams), streams.randint(2, n, self.n_concepts))

    def pairs(self, n: int, streams: Streams, *, forms: Forms) -> FormPairs:
        """n pairs without a label error: two answers drawn for one prompt, the one of more gold chosen.

        Answers of equal gold are passed over. Answers are in the first form, the second, or each word's is drawn.
        """
        check_choice("TwoForms.pairs", "forms", forms, ("first", "second", "mixed"))
        drawn = 2 * n + 16
        concept, word = self.prompts(drawn, streams)
        both = torch.stack([self.answers(concept, streams) for _ in range(2)], dim=2)  # (S, m, 2, L)
        seed = torch.arange(len(streams))[:, None]
        gold = self.value[seed[..., None, None], both].sum(-1)
        gap = gold[..., 0] - gold[..., 1]
        told_apart = gap.abs() > 1e-5  # equal multisets in another order differ by rounding alone
        if int(told_apart.sum(dim=1).min()) < n:
            raise ValueError(
                f"TwoForms.pairs: fewer than {n} of {drawn} pairs differ in gold. Raise temperature or the length."
            )
        kept = told_apart.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :n]
        order = torch.where(gap[..., None] > 0, torch.tensor([0, 1]), torch.tensor([1, 0]))
        both = both.gather(2, order[..., None].expand_as(both))[seed, kept]  # (S, n, 2, L)
        gold = gold.gather(2, order)[seed, kept]
        form = streams.randint(2, *both.shape[1:]) if forms == "mixed" else torch.full_like(both, forms == "second")
        chosen, rejected = (self.texts(word[seed, kept], both[:, :, k], form[:, :, k]) for k in (0, 1))
        return FormPairs(chosen, rejected, gold[..., 0], gold[..., 1])

    def next_token(self, ids: Tensor) -> Tensor:
        """(S, n, T − 1, V) the true probabilities of tokens 1…T−1 given those before."""
        n_words = self.value.shape[-1]
        target = torch.zeros(*ids.shape[:2], ids.shape[2] - 1, self.n_tokens, dtype=self.value.dtype)
        target[:, :, 0, FIRST_WORD:] = 0.5 / n_words
        target[:, :, 1:-1:2, FIRST_MARKER:FIRST_WORD] = 0.5
        target[:, :, -1, EOS] = 1.0
        previous, marker = (ids[:, :, 1:-2:2] - FIRST_WORD) % n_words, ids[:, :, 2:-1:2] - FIRST_MARKER  # (S, n, L)
        follows = self.transitions[torch.arange(len(ids))[:, None, None], previous]  # (S, n, L, C)
        words = torch.stack([follows * (marker == form)[..., None] for form in (0, 1)], dim=-2).flatten(-2)
        target[:, :, 2:-1:2, FIRST_WORD:] = words
        return target


def pretrain(
    models: BatchedGPT,
    language: TwoForms,
    *,
    streams: Streams,
    steps: int = 500,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
) -> BatchedGPT:
    """AdamW on the cross-entropy to the true next-token probabilities of fresh texts, in place.

    As drawing the next tokens does on average, without the noise of the draw.
    """
    steps_ = adam_steps(
        models.parameters(), steps, learning_rate=learning_rate, weight_decay=0.01, betas=(0.9, 0.95), warm_up=20
    )
    for _ in steps_:
        ids = language.corpus(batch_size, streams)
        losses = -(language.next_token(ids) * models(ids[..., :-1]).log_softmax(dim=-1)).sum(dim=-1)
        torch.autograd.backward(losses.mean(dim=(1, 2)).sum())
    return models
