"""A judge that writes running sums before its verdict learns what a direct one does not; reward mends its traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.rewards import verdict_reward
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import BatchedGPT
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("greedy/clean", over="greedy/direct", at_least=0.3),
    PairedGain("greedy/clean", over="greedy/auxiliary", at_least=0.3),  # a simple control: its labels without a trace
    PairedGain("sampled/rlvr", over="sampled/noisy", at_least=0.08),
    LowerBound("sampled/rlvr", over="sampled/noisy", above=0.0),
    LowerBound("sampled/rlvr", over="sampled/filtered", above=0.05),  # simple controls: traces chosen by their verdict
    LowerBound("sampled/rlvr", over="sampled/rejection", above=0.0),
    PairedGain("greedy/noisy", over="sampled/rlvr", at_least=-0.03),  # a simple control: the first judge, read greedily
)
TRACED, SHORT, GROUP = ("clean", "noisy"), ("direct", "auxiliary"), 8
TEMPERATURES = {"sampled": 1.0, "cool": 0.5, "greedy": 1e-6}


@dataclass(frozen=True, slots=True)
class World:
    """Pairs of answers to a sum of digits modulo a small number, one of them right, and a judge that reads both."""

    modulus: int = 4  # of digits, running sums and answers
    length: int = 4  # digits
    held_out: float = 0.25  # share of the strings of digits that are kept for the test
    n_items: int = 2000  # labeled pairs with traces
    corrupted: float = 0.25  # share of the traces that are wrong from a random step on
    right: float = 1.0  # share of them that end in the right verdict nevertheless
    width: int = 24  # of the transformer
    batch_size: int = 32  # items per step
    steps: int = 550  # of Adam, on traces
    direct_steps: int = 300  # of Adam, without traces
    learning_rate: float = 8e-3  # of Adam, with and without traces
    updates: int = 70  # by reward
    n_prompts: int = 16  # per update, with 8 traces each
    rl_rate: float = 2e-3  # of Adam, by reward
    more_steps: int = 100  # of the noisy judge on traces with the right verdict, given or its own
    n_test: int = 100  # prompts with new digits


class Items(NamedTuple):
    """Prompts (M, n, N + 2), digits and two answers; sums (M, n, N); label (M, n), 0 where the first is right."""

    prompt: Tensor
    sums: Tensor
    label: Tensor

    def take(self, index: Tensor) -> Items:
        """Return the items at (M, k) of each model."""
        return Items(*(part[torch.arange(len(index))[:, None], index] for part in self))

    def repeat(self, n: int, dim: int) -> Items:
        """Return each item, or each seed's items, n times."""
        return Items(*(part.repeat_interleave(n, dim=dim) for part in self))


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure how often judges are right about new digits, read by sampling, cooler, greedily and by votes."""
    streams, n = Streams(seeds), world.length + 1
    known, test = split(world, streams)
    items = known.take(streams.randint(known.label.shape[1], world.n_items))
    given = corrupted(items, world, streams)
    blank = BatchedGPT(world.modulus + 2, 2 * n, streams=streams, width=world.width, embedding_std=0.3)
    pair = [place for place in range(len(seeds)) for _ in range(2)]
    short = without_traces(blank.take(pair), items, world, streams)
    both = Items(*(torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(items, given, strict=True)))
    traced = distilled(blank.take(pair), both, torch.ones_like(both.label), world, world.steps, streams)
    models = {arm: traced.take(range(k, len(traced), 2)) for k, arm in enumerate(TRACED)}
    own = sampled(models["noisy"], items.prompt, n, 1.0, streams)
    traces = {"filtered": given, "rejection": Items(items.prompt, own[..., :-1], own[..., -1] - world.modulus)}
    for arm, some in traces.items():
        models[arm] = distilled(models["noisy"], some, some.label == items.label, world, world.more_steps, streams)
    labels = items.label.gather(1, streams.randperm(world.n_items)) if broken else items.label
    models["rlvr"] = reinforced(models["noisy"], items._replace(label=labels), world, streams)

    found: dict[str, dict[str, Tensor]] = {name: {} for name in (*TEMPERATURES, "vote", "sums", "seen")}
    for arm, model in models.items():
        for name, temperature in TEMPERATURES.items():
            asked = test if name == "greedy" else test.repeat(GROUP, dim=1)
            tokens = sampled(model, asked.prompt, n, temperature, streams)
            hits = (tokens[..., -1] - world.modulus == asked.label).to(torch.float64)
            found[name][arm] = hits.mean(dim=1)
            if name == "sampled":
                found["sums"][arm] = (tokens[..., -2] == asked.sums[..., -1]).double().mean(dim=1)
                lead = hits.view(len(seeds), -1, GROUP).mean(dim=-1) - 0.5
                found["vote"][arm] = (0.5 + 0.5 * lead.sign()).mean(dim=1)
    for k, arm in enumerate(SHORT):
        model = short.take(range(k, len(short), 2))
        for name, asked in {"greedy": test, "seen": items}.items():
            ends = sampled(model, asked.prompt, 1, TEMPERATURES["greedy"], streams)[..., 0]
            found[name][arm] = (ends - world.modulus == asked.label).double().mean(dim=1)
    return rows(found)


def split(world: World, streams: Streams) -> tuple[Items, Items]:
    """Return all prompts of the digits to train on, and some prompts of other digits."""
    digits = torch.cartesian_prod(*[torch.arange(world.modulus)] * world.length)
    sums = digits.cumsum(dim=-1) % world.modulus
    far, place = torch.cartesian_prod(torch.arange(1, world.modulus), torch.arange(2)).T  # of the wrong answer
    wrong, right = (sums[:, -1:] + far) % world.modulus, sums[:, -1:].expand(-1, len(far))
    answers = torch.where(
        place[:, None] == torch.arange(2), wrong[..., None], right[..., None]
    )  # (strings, options, 2)
    prompt = torch.cat([digits[:, None].expand(-1, len(far), -1), answers], dim=-1)
    label = (1 - place).expand(len(digits), -1)
    order, n_known = streams.randperm(len(digits)), round(len(digits) * (1 - world.held_out))
    known, new = (
        Items(prompt[part].flatten(1, 2), sums[part].repeat_interleave(len(far), dim=1), label[part].flatten(1))
        for part in (order[:, :n_known], order[:, n_known:])
    )
    return known, new.take(streams.randperm(new.label.shape[1])[:, : world.n_test])


def corrupted(items: Items, world: World, streams: Streams) -> Items:
    """Return the items with traces of which some are wrong from a random step on, and some of those in the verdict."""
    n = items.label.shape[1]
    wrong, ends_right = streams.rand(n) < world.corrupted, streams.rand(n) < world.right
    start, shift = streams.randint(world.length, n), 1 + streams.randint(world.modulus - 1, n)
    later = torch.arange(world.length) >= start[..., None]
    sums = (items.sums + later * (wrong * shift)[..., None]) % world.modulus
    return Items(items.prompt, sums, torch.where(wrong & ~ends_right, 1 - items.label, items.label))


def distilled(model: BatchedGPT, items: Items, kept: Tensor, world: World, steps: int, streams: Streams) -> BatchedGPT:
    """Train a copy of the judges on the likelihood of the traces and verdicts that are kept."""
    learner, n_arms = model.take(range(len(model))), len(model) // len(streams)
    for _ in adam_steps(learner.parameters(), steps, learning_rate=world.learning_rate, warm_up=20):
        index = streams.randint(items.label.shape[1], world.batch_size).repeat_interleave(n_arms, dim=0)
        one, use = items.take(index), kept.gather(1, index)
        tokens = torch.cat([one.sums, (one.label + world.modulus)[..., None]], dim=-1)
        logps = trace_logps(learner, one.prompt, tokens).mean(dim=-1)
        torch.autograd.backward(-((use * logps).sum(dim=1) / use.sum(dim=1).clamp_min(1)).sum())
    return learner


def trace_logps(model: BatchedGPT, prompt: Tensor, tokens: Tensor) -> Tensor:
    """Return (M, B, n) log-probabilities of tokens after prompts."""
    logits: Tensor = model(torch.cat([prompt, tokens[..., :-1]], dim=-1))[:, :, prompt.shape[-1] - 1 :]
    return logits.log_softmax(dim=-1).gather(-1, tokens[..., None]).squeeze(-1)


def without_traces(model: BatchedGPT, items: Items, world: World, streams: Streams) -> BatchedGPT:
    """Train judges in pairs on verdicts alone; the second also learns to predict the running sums at the digits."""
    weight = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(len(streams))
    for _ in adam_steps(model.parameters(), world.direct_steps, learning_rate=world.learning_rate, warm_up=20):
        one = items.take(streams.randint(items.label.shape[1], world.batch_size)).repeat(2, dim=0)
        logps = model(one.prompt).log_softmax(dim=-1)
        verdict = logps[:, :, -1].gather(-1, (one.label + world.modulus)[..., None]).mean(dim=(1, 2))
        sums = logps[:, :, : world.length].gather(-1, one.sums[..., None]).sum(dim=(2, 3)).mean(dim=1)
        torch.autograd.backward(-(verdict + weight * sums).sum())
    return model


@torch.no_grad()
def sampled(model: BatchedGPT, prompt: Tensor, n: int, temperature: float, streams: Streams) -> Tensor:
    """Return (S, B, n) tokens that judges write after prompts (S, B, T)."""
    ids, uniform = prompt, streams.rand(prompt.shape[1], n)
    for k in range(n):
        p = (model(ids)[:, :, -1] / temperature).softmax(dim=-1)
        ids = torch.cat([ids, sample_index(p, uniform[..., k])[..., None]], dim=-1)
    return ids[..., prompt.shape[-1] :]


def prices() -> Tensor:
    """Return the (2, 3) reward of a trace: by the label, and by the verdict that it ends on, the last being none."""
    texts = [f"<answer>{mark}</answer>" for mark in ("[[A]]", "[[B]]", "")]
    return torch.tensor([verdict_reward(list(texts), [label] * 3) for label in (0, 1)], dtype=torch.float64)


def reinforced(model: BatchedGPT, items: Items, world: World, streams: Streams) -> BatchedGPT:
    """Train a copy of the judges by the reward of their verdicts, with z-scores in groups."""
    learner, paid = model.take(range(len(model))), prices()
    for _ in adam_steps(learner.parameters(), world.updates, learning_rate=world.rl_rate):
        asked = items.take(streams.randint(world.n_items, world.n_prompts)).repeat(GROUP, dim=1)
        tokens = sampled(learner, asked.prompt, world.length + 1, 1.0, streams)
        end = tokens[..., -1] - world.modulus
        rewards = paid[asked.label, torch.where(end < 0, 2, end)]
        credit = group_zscore(rewards.flatten(), group_size=GROUP).view_as(rewards)
        logps = trace_logps(learner, asked.prompt, tokens).mean(dim=-1)
        torch.autograd.backward(-(credit * logps).mean(dim=1).sum())
    return learner


figure = partial(
    dots,
    series={"sampled": "sampled/{}", "temperature of ½": "cool/{}", "greedy": "greedy/{}", "vote of 8": "vote/{}"},
    rows=("direct", "auxiliary", "clean", "noisy", "filtered", "rejection", "rlvr"),
    label="share of pairs judged right, on new digits",
)
