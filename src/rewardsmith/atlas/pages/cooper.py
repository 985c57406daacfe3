"""Retrain the reward model on verified answers of the policy itself, and a loophole closes before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import bt_loss, entailment_bce
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("gold/cooper_bce", over="gold/frozen", at_least=0.25),
    AtMost("score_on_wrong/cooper_bce", 0.3),
    AtLeast("score_on_wrong/frozen", 0.7),
    PairedGain("gold/cooper_bce", over="gold/offline_pairs", at_least=-0.05, at_most=0.05),
)


class Arm(NamedTuple):
    """The reward, what updates the reward model, the data that it starts from, and the factor of the KL penalty."""

    reward: str = "model"
    update: str = "none"
    offline: str = "plain"
    beta: float = 0.0


ARMS = {
    "rule": Arm("rule"),
    "frozen": Arm(),
    "cooper_pairwise": Arm(update="pairwise"),
    "cooper_bce": Arm(update="bce"),
    "offline_pairs": Arm(offline="pairs"),
    "rule_labels": Arm(update="labels"),
    "mean": Arm("mean"),
    "max": Arm("max"),
    "kl": Arm(beta=0.3),
}
ROWS = list(ARMS.values())
N_ANSWERS, N_STYLES, FORMATS = 10, 12, 2
PARTS = [N_ANSWERS, FORMATS, N_STYLES, N_STYLES]
"""A response: an answer, a format (0 is the one that the rule reads), and two tokens of style."""


@dataclass(frozen=True, slots=True)
class World:
    """Questions with one right answer, a rule that reads one of two formats, and a reward model that learned style.

    In the offline data style says nearly always whether an answer is right, and `unseen` styles never occur.
    """

    n_questions: int = 60  # each with an answer in 0 to 9
    blind: float = 0.0  # share of questions on which the format that the rule reads cannot be written
    unseen: int = 4  # styles of 12 that the offline data lacks
    n_offline: int = 500  # labeled answers
    predictive: float = 0.97  # how often a token of style fits the label there
    width: int = 48  # of the hidden layer of reward model and policy
    solver: float = 0.45  # share of right answers that the policy starts from
    batch: int = 24  # questions per step
    group_size: int = 8  # answers per question
    steps: int = 300  # of training
    learning_rate: float = 1e-3  # of the policy's Adam
    update_rate: float = 3e-2  # of the reward model's Adam


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure exact gold after training, and the mean score of wrong answers in its last tenth."""
    streams = Streams(seeds)
    keys = streams.randint(N_ANSWERS, world.n_questions)
    readable = streams.rand(world.n_questions) >= world.blind
    models = pretrained(keys, world, streams).take([arm.offline == "pairs" for arm in ROWS])
    policy, start = warm_started(keys, readable, world, streams)
    policy = policy.take([0] * len(ARMS))
    beta = torch.tensor([arm.beta for arm in ROWS], dtype=torch.float64)[:, None]
    updates = adam_steps(models.parameters(), world.steps, learning_rate=world.update_rate, fused=False)
    scores: list[Tensor] = []
    for step in adam_steps(policy.parameters(), world.steps, learning_rate=world.learning_rate, fused=False):
        asked = streams.randperm(world.n_questions)[:, : world.batch]
        parts = spoken(policy, asked, readable)
        drawn = sampled(parts, streams.rand(len(PARTS), 1, world.batch, world.group_size))  # (S, A, P, G, 4)
        key = keys.gather(1, asked)[:, None, :, None]
        right = drawn[..., 0] == key
        rule = right & (drawn[..., 1] == 0)
        with torch.no_grad():
            score = models(features(key.expand(right.shape), drawn).flatten(2, 3)).view(right.shape).sigmoid()
        by_arm = zip(ROWS, score.unbind(1), rule.double().unbind(1), strict=True)
        rewards = torch.stack([paid(arm.reward, said, ruled) for arm, said, ruled in by_arm], dim=1)
        credit = group_zscore(rewards.flatten(), group_size=world.group_size).view_as(rewards)
        logps = torch.stack([part.gather(-1, drawn[..., i]) for i, part in enumerate(parts)]).sum(dim=0)
        old = [part.gather(2, asked[:, None, :, None].expand(-1, 1, -1, part.shape[-1])) for part in start]
        kl = torch.stack([(p.exp() * (p - q)).sum(-1) for p, q in zip(parts, old, strict=True)]).sum(dim=0)
        torch.autograd.backward((beta * kl - (credit * logps).mean(dim=-1)).mean(dim=-1).sum())
        if step >= 0.9 * world.steps:
            scores.append(torch.where(right, torch.nan, score).flatten(2).nanmean(dim=-1))
        next(updates)
        update(models, key, drawn, rule, streams, broken)
    next(updates, None)
    with torch.no_grad():
        answers = spoken(policy, torch.arange(world.n_questions).expand_as(keys), readable)[0].exp()
    gold = answers.gather(-1, keys[:, None, :, None].expand(-1, len(ARMS), -1, 1)).squeeze(-1).mean(dim=-1)
    tables = {"gold": gold, "score_on_wrong": torch.stack(scores).nanmean(dim=0)}
    return rows({name: dict(zip(ARMS, values.unbind(1), strict=True)) for name, values in tables.items()})


def features(key: Tensor, response: Tensor) -> Tensor:
    """Return (..., 47) what the reward model reads: key and response one-hot, and a weak sign that they match."""
    parts = [F.one_hot(response[..., i], n) for i, n in enumerate(PARTS)]
    match = 0.2 * (key == response[..., 0])[..., None]
    return torch.cat([F.one_hot(key, N_ANSWERS), *parts, match], dim=-1).double()


def pretrained(keys: Tensor, world: World, streams: Streams) -> BatchedMLP:
    """Return two reward models: on the offline items, and with a right and a wrong version of each added."""
    n, seen = world.n_offline, N_STYLES - world.unseen
    key = keys.gather(1, streams.randint(world.n_questions, n))
    label = streams.randint(2, n)
    other = (key + 1 + streams.randint(N_ANSWERS - 1, n)) % N_ANSWERS
    fits = streams.rand(n, 2) < world.predictive
    half = torch.where(fits, label[..., None], 1 - label[..., None]) * (seen // 2)
    style = half + streams.randint(seen // 2, n, 2)
    tail = torch.cat([streams.randint(FORMATS, n)[..., None], style], dim=-1)
    versions = [torch.where(label == 1, key, other), key, other]
    items = torch.cat([features(key, torch.cat([said[..., None], tail], dim=-1)) for said in versions], dim=1)
    labels = torch.cat([label, torch.ones_like(label), torch.zeros_like(label)], dim=1).double()
    counted = torch.ones(1, 2, 3 * n, dtype=torch.float64)
    counted[:, 0, n:] = 0.0
    model = BatchedMLP((items.shape[-1], world.width, 1), lead=(len(streams), 1), streams=streams).take([0, 0])
    for _ in adam_steps(model.parameters(), 60, learning_rate=1e-2, fused=False):
        z = model(items[:, None])
        losses = entailment_bce(z, 0.0, labels[:, None].expand_as(z))
        torch.autograd.backward(((losses * counted).sum(-1) / counted.sum(-1)).sum())
    return model


def warm_started(keys: Tensor, readable: Tensor, world: World, streams: Streams) -> tuple[BatchedMLP, list[Tensor]]:
    """Return a policy that imitates a solver of moderate skill, and its log-probabilities on all questions."""
    policy = BatchedMLP((world.n_questions, world.width, sum(PARTS)), lead=(len(streams), 1), streams=streams)
    answers = torch.full((*keys.shape, N_ANSWERS), (1 - world.solver) / (N_ANSWERS - 1), dtype=torch.float64)
    answers.scatter_(-1, keys[..., None], world.solver)
    written = torch.stack([0.5 * readable, 1 - 0.5 * readable], dim=-1)
    style = torch.full((*keys.shape, N_STYLES), 1 / N_STYLES, dtype=torch.float64)
    target = torch.cat([answers, written, style, style], dim=-1)[:, None]
    every = torch.arange(world.n_questions).expand_as(keys)
    for _ in adam_steps(policy.parameters(), 150, learning_rate=1e-2, fused=False):
        logps = torch.cat(spoken(policy, every, readable), dim=-1)
        torch.autograd.backward(-(target * logps).sum(-1).mean(-1).sum())
    with torch.no_grad():
        return policy, spoken(policy, every, readable)


def spoken(policy: BatchedMLP, asked: Tensor, readable: Tensor) -> list[Tensor]:
    """Return (S, A, P, n) log-probabilities of each part; where the rule is blind, its format is impossible."""
    logits: Tensor = policy(F.one_hot(asked, readable.shape[1]).double()[:, None])
    blind = F.one_hot(torch.tensor(N_ANSWERS), sum(PARTS)).bool() & ~readable.gather(1, asked)[:, None, :, None]
    return [part.log_softmax(dim=-1) for part in torch.split(logits.masked_fill(blind, -30.0), PARTS, dim=-1)]


def sampled(parts: list[Tensor], uniform: Tensor) -> Tensor:
    """Draw (S, A, P, G, 4) responses with uniform numbers (S, 4, 1, P, G)."""
    drawn = [sample_index(part.detach().exp()[..., None, :], uniform[:, i]) for i, part in enumerate(parts)]
    return torch.stack(drawn, dim=-1)


def paid(reward: str, score: Tensor, rule: Tensor) -> Tensor:
    """Return the rewards of an arm from the model's score and the rule."""
    rewards = {"model": score, "rule": rule, "mean": (score + rule) / 2, "max": torch.maximum(score, rule)}
    return rewards[reward]


def update(models: BatchedMLP, key: Tensor, drawn: Tensor, rule: Tensor, streams: Streams, broken: bool) -> None:
    """Leave the gradient of each arm's update in the reward models; as many rows in each, two per question."""
    place = rule.double().argmax(dim=-1, keepdim=True)  # the first that the rule accepts
    right = drawn.gather(3, place[..., None].expand(-1, -1, -1, 1, len(PARTS))).squeeze(3)
    other = (right[..., 0] + 1 + streams.randint(N_ANSWERS - 1, 1, rule.shape[2])) % N_ANSWERS
    wrong = torch.cat([other[..., None], right[..., 1:]], dim=-1)
    swapped = (streams.rand(1, rule.shape[2]) < 0.5) & broken
    pair = [torch.where(swapped[..., None], b, a) for a, b in ((right, wrong), (wrong, right))]
    by_rule = torch.tensor([arm.update == "labels" for arm in ROWS])[:, None, None, None]
    given = torch.where(by_rule, drawn[..., :2, :], torch.stack(pair, dim=3))  # (S, A, P, 2, 4)
    z = models(features(key.expand(given.shape[:-1]), given).flatten(2, 3)).view(given.shape[:-1])
    verified = torch.tensor([1.0, 0.0], dtype=torch.float64).expand_as(z)
    losses = entailment_bce(z, 0.0, torch.where(by_rule[..., 0], rule[..., :2].double(), verified)).sum(dim=-1)
    pairwise = torch.tensor([arm.update == "pairwise" for arm in ROWS])[:, None]
    losses = torch.where(pairwise, bt_loss(z[..., 0], z[..., 1]), losses)
    counts = torch.where(by_rule[..., 0, 0], 1.0, rule.any(dim=-1).double())
    counts = counts * torch.tensor([arm.update != "none" for arm in ROWS])[:, None]
    torch.autograd.backward(((losses * counts).sum(-1) / (counts.sum(-1) + 1e-6)).sum())


figure = partial(
    plane,
    x=("gold", "answers that are right in any format"),
    y=("score_on_wrong", "mean score of wrong answers"),
    arms={
        "frozen": "frozen model", "cooper_pairwise": "Cooper, pairwise", "cooper_bce": "Cooper, both anchored",
        "offline_pairs": "frozen, pairs in its data", "rule": "rule", "kl": "frozen, KL penalty",
    },
    level=None,
)  # fmt: skip
