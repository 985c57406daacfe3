"""The log-ratio of a DPO-trained policy ranks its own kind of text as well as a reward head, and paraphrases worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtMost, LowerBound, PairedGain, Results, Within
from rewardsmith.auditing import accuracy_gap
from rewardsmith.objectives import bt_loss, dpo_loss, implicit_reward, sequence_logps
from rewardsmith.worlds import BatchedGPT, FormPairs, Forms, Streams, TwoForms, pretrain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CRITERION = All(
    Within("gap_id/explicit_over_implicit", -0.04, 0.04),
    PairedGain("accuracy_train/implicit", over="accuracy_train/explicit", at_least=-0.02),
    LowerBound("gap_paraphrase/explicit_over_implicit", above=0.05, least_seeds=8),
    LowerBound("gap_mix/explicit_over_implicit", above=0.03, least_seeds=8),
    # What must fail: a head that has not read the answer, tests in the words of training (the first part), and a
    # model against itself.
    Within("accuracy_id/head_on_prompt", 0.45, 0.55),
    AtMost("gap_paraphrase/explicit_over_itself", 0.0),
)
SPLITS = ("train", "id", "paraphrase", "mix")
FORMS: tuple[Forms, ...] = ("first", "second", "mixed")  # of the three tests
PROMPT_END = 1  # position of the last token before the answer
CHUNK = 250  # texts per seed that are read at once
Scorer = Callable[[Tensor], Tensor]  # (S, n, T) texts to (S, n) rewards


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
    pretrain_batch: int = 48  # texts per update
    n_pairs: int = 300  # preferences, all in the first form
    steps: int = 150  # updates of either reward
    batch_size: int = 32  # pairs per update
    policy_rate: float = 5e-4  # AdamW's, of DPO
    trunk_rate: float = 1e-4  # AdamW's, of the explicit model below its head
    head_rate: float = 2e-3  # AdamW's, of its head
    beta: float = 0.1  # β of DPO
    n_tests: int = 1500  # pairs per test


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Accuracy of an explicit and an implicit reward on pairs in the words of training, in the others, and in both."""
    streams = Streams(seeds, dtype=torch.float32)
    language = TwoForms.sample(
        streams, n_words=world.n_words, n_concepts=world.n_concepts, temperature=world.temperature
    )
    base = BatchedGPT(
        language.n_tokens,
        language.n_positions,
        streams=streams,
        width=world.width,
        embedding_std=world.embedding_std,
        readout_std=world.readout_std,
    )
    pretrain(base, language, streams=streams, steps=world.pretrain_steps, batch_size=world.pretrain_batch)
    data = language.pairs(world.n_pairs, streams, forms="first")
    order = [streams.randint(world.n_pairs, world.batch_size) for _ in range(world.steps)]
    last = PROMPT_END if broken else language.n_positions - 1
    rewards = {
        "explicit": explicit(base.copies(1), data, order, last, world),
        "head_on_prompt": explicit(base.copies(1), data, order, PROMPT_END, world),
        "implicit": implicit(base, data, order, world),
    }
    tests = [data, *(language.pairs(world.n_tests, streams, forms=forms) for forms in FORMS)]
    rows: list[dict[str, float]] = [{} for _ in seeds]
    for split, pairs in zip(SPLITS, tests, strict=True):
        margins = {name: (score(pairs.chosen) - score(pairs.rejected)).numpy() for name, score in rewards.items()}
        for row, explicit_, blind, implicit_ in zip(rows, *margins.values(), strict=True):
            gap = accuracy_gap(explicit_, implicit_, n_resamples=1)
            row[f"accuracy_{split}/explicit"], row[f"accuracy_{split}/implicit"] = gap[:2]
            row[f"accuracy_{split}/head_on_prompt"] = accuracy_gap(blind, implicit_, n_resamples=1).accuracy_a
            row[f"gap_{split}/explicit_over_implicit"] = gap.gap
            row[f"gap_{split}/explicit_over_itself"] = accuracy_gap(explicit_, explicit_, n_resamples=1).gap
    return rows


def explicit(models: BatchedGPT, data: FormPairs, order: list[Tensor], position: int, world: World) -> Scorer:
    """A linear head on the hidden state at `position`, trained with all that is below it."""
    head = torch.zeros(len(models), 1, world.width, requires_grad=True)

    def score(ids: Tensor) -> Tensor:
        return (models.hidden(ids[..., : position + 1])[:, :, -1] * head).sum(dim=-1)

    groups = [{"params": list(models.parameters()), "lr": world.trunk_rate}, {"params": [head], "lr": world.head_rate}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    for picks in order:
        chosen, rejected = score(batch(data, picks)).chunk(2, dim=1)
        update(optimizer, bt_loss(chosen, rejected))
    return in_chunks(score)


def implicit(base: BatchedGPT, data: FormPairs, order: list[Tensor], world: World) -> Scorer:
    """β log π/π_ref of a copy of the base that DPO has trained."""
    policy = base.copies(1)

    def logps(models: BatchedGPT, ids: Tensor) -> Tensor:
        answer = torch.arange(ids.shape[-1]) > PROMPT_END
        return sequence_logps(models(ids), ids, answer.expand_as(ids))

    def score(ids: Tensor) -> Tensor:
        return implicit_reward(logps(policy, ids), logps(base, ids), beta=world.beta)

    reference = in_chunks(lambda ids: logps(base, ids))
    known = torch.stack([reference(data.chosen), reference(data.rejected)], dim=1)  # (S, 2, n)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=world.policy_rate, fused=True)
    for picks in order:
        chosen, rejected = logps(policy, batch(data, picks)).chunk(2, dim=1)
        of_base = [known[:, k].gather(1, picks) for k in (0, 1)]
        update(optimizer, dpo_loss(chosen, rejected, *of_base, beta=world.beta))
    return in_chunks(score)


def batch(data: FormPairs, picks: Tensor) -> Tensor:
    """(S, 2·b, T) the picked pairs, all chosen answers first."""
    seed = torch.arange(len(picks))[:, None]
    return torch.cat([data.chosen[seed, picks], data.rejected[seed, picks]], dim=1)


def update(optimizer: torch.optim.Optimizer, losses: Tensor) -> None:
    """One step on (S, b) losses; no seed sees another's gradient."""
    optimizer.zero_grad()
    torch.autograd.backward(losses.mean(dim=1).sum())
    optimizer.step()


def in_chunks(score: Scorer) -> Scorer:
    """The same without gradients, on few texts at a time."""

    @torch.no_grad()
    def scored(ids: Tensor) -> Tensor:
        return torch.cat([score(part) for part in torch.split(ids, CHUNK, dim=1)], dim=1)

    return scored


def figure(results: Results, axes: Axes) -> None:
    """Accuracy of both rewards, from the training pairs to the same kind of pair in other words."""
    names = {"train": "training pairs", "id": "same words", "mix": "either word", "paraphrase": "other words"}
    for arm, offset, label in (("explicit", -0.19, "reward head"), ("implicit", 0.19, "DPO's log-ratio")):
        runs = [np.asarray(results[f"accuracy_{split}/{arm}"]) for split in names]
        places = np.arange(len(names)) + offset
        axes.bar(places, [run.mean() for run in runs], 0.36, yerr=[run.std() for run in runs], label=label)
    axes.axhline(0.5, color="gray", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(names)), list(names.values()))
    axes.set_ylim(0.4, 1.05)
    axes.set_ylabel("accuracy (bars: std over seeds)")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
