"""Let a reward model set β for each preference pair, and let it write a critique before it scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import bt_loss, centering_loss, dpo_loss, dynamic_beta, margin_weight, normalized_weights
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import BatchedGPT
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import PreferenceWorld, margins, pair_accuracy, train_pairs
from rewardsmith.worlds.response_pool import expected, policy_at_kl
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    LowerBound("gold/mm_dpo", over="gold/dpo", above=0.1),
    PairedGain("gold/shuffled", over="gold/dpo", at_most=0.0),
    PairedGain("gold/negative_scale", over="gold/dpo", at_most=0.0),
    LowerBound("accuracy/self_critique", over="accuracy/scalar", above=0.05),
    PairedGain("accuracy/oracle_critique", over="accuracy/self_critique", at_least=0.0),
    # What must fail: critiques whose verdicts are in random order. Blank ones, not taught, are the scalar itself.
    PairedGain("accuracy/shuffled_critique", over="accuracy/self_critique", at_most=0.0),
)
DIGITS, LENGTH = 10, 4  # of the second part: digits, and how many an answer has
BAD, GOOD, READ = 20, 21, 22  # tokens behind an answer's digits and a prompt's: two verdicts, and where scores are read


@dataclass(frozen=True, slots=True)
class World:
    """Noisy preference pairs of a policy, cleaner ones of a reward model; and digit answers with critiques."""

    n_features: int = 16  # of a response
    n_pairs: int = 800  # of the policy
    flip: float = 0.2  # share of their labels turned around
    n_model_pairs: int = 1500  # of the reward model
    model_flip: float = 0.05  # share of their labels turned around
    slope: float = 3.0  # log-odds of a label per standard deviation of gold
    width: int = 64  # of the hidden layer of policy and reward model
    steps: int = 250  # of Adam
    batch_size: int = 64  # pairs
    learning_rate: float = 5e-3  # of the policy
    beta: float = 0.3  # β₀
    scale: float = 0.5  # w
    rate: float = 0.5  # k, per nat of the reward model's log-odds
    n_pool: int = 2000  # responses of the policy
    target_kl: float = 2.0  # nats, from the uniform policy
    n_worlds: int = 6  # worlds averaged per seed
    n_critiqued: int = 500  # answer pairs with critiques
    critic_steps: int = 400  # of Adam
    critic_batch: int = 8  # answer pairs
    critic_learning_rate: float = 6e-3  # of Adam
    critic_width: int = 40  # of the decoder
    n_critic_test: int = 400  # answer pairs


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure policies' gold at one KL under each β, then pair accuracy of decoders with and without critiques."""
    streams = Streams([seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)])
    truth = PreferenceWorld.sample(streams, d=world.n_features)
    pairs = truth.pairs(world.n_pairs, streams=streams, slope=world.slope, flip=world.flip)
    others = truth.pairs(world.n_model_pairs, streams=streams, slope=world.slope, flip=world.model_flip)
    model = BatchedMLP((world.n_features, world.width, 1), lead=(len(streams), 1), streams=streams)
    train_pairs(model, others, streams=streams, steps=world.steps)
    margin = margins(model, pairs)[:, 0]
    if broken:
        margin = margin.gather(-1, streams.randperm(world.n_pairs))
    even, gold = torch.full_like(margin, world.beta), pairs.chosen_gold - pairs.rejected_gold
    unit, known = (value / value.std(dim=-1, keepdim=True) for value in (margin, gold))
    shuffled = margin.gather(-1, streams.randperm(world.n_pairs))
    dynamic = partial(dynamic_beta, beta=world.beta, scale=world.scale, rate=world.rate)
    betas = {  # (S, n) each; the reference is uniform, so that log π/π_ref of two responses differs as their logits do
        "dpo": even,
        "mm_dpo": dynamic(margin),
        "mm_dpo_k2": dynamic(margin, rate=4 * world.rate),
        "clip_margin": dynamic(margin, on_disagree="clip_margin"),
        "drop": dynamic(margin, on_disagree="drop"),
        "unit_margin": dynamic(unit),
        "oracle_margin": dynamic(known),
        "fixed_beta_125": 1.25 * even,
        "shuffled": dynamic(shuffled),
        "negative_scale": dynamic(margin, scale=-world.scale),
        "loss_weight": even,
    }
    beta, arms = torch.stack(list(betas.values()), dim=1), list(betas)  # (S, M, n)
    weight, by_margin = torch.ones_like(beta), margin_weight(margin, scale=world.scale, rate=world.rate)
    weight[:, arms.index("loss_weight")] = torch.stack([normalized_weights(row) for row in by_margin])
    start = BatchedMLP((world.n_features, world.width, 1), lead=(len(streams), 1), streams=streams)
    policies = start.take([0] * len(arms))
    seed = torch.arange(len(streams))[:, None]
    for _ in adam_steps(policies.parameters(), world.steps, learning_rate=world.learning_rate):
        picks = streams.randint(world.n_pairs, world.batch_size)
        both = torch.cat([pairs.chosen[seed, picks], pairs.rejected[seed, picks]], dim=1)
        chosen, rejected = policies(both[:, None]).chunk(2, dim=-1)  # (S, M, batch)
        at, zero = picks[:, None].expand(-1, len(arms), -1), torch.zeros_like(chosen)
        losses = weight.gather(-1, at) * dpo_loss(chosen, rejected, zero, zero, beta=beta.gather(-1, at))
        torch.autograd.backward(losses.mean(dim=-1).sum())
    test = truth.pairs(world.n_pool, streams=streams, slope=float("inf"))
    pool = streams.randn(world.n_pool, world.n_features)
    with torch.no_grad():
        logits = policies(pool[:, None])
    policy = policy_at_kl(logits[:, :, None], world.target_kl)  # (S, M, 1, pool)
    disagrees = (margin < 0).to(streams.dtype).mean(dim=-1, keepdim=True)
    found = {
        "gold": (arms, expected(policy, truth.gold(pool)[:, None, None])[..., 0]),
        "accuracy": (arms, pair_accuracy(policies, test)),
        "disagrees": (("margin",), disagrees),
        "model_accuracy": (("margin",), pair_accuracy(model, test)),
    }
    by_seed = (len(seeds), world.n_worlds, -1)
    table = {
        name: dict(zip(own, torch.stack([v.mean(dim=0) for v in value.view(by_seed)]).unbind(1), strict=True))
        for name, (own, value) in found.items()
    }
    return [row | critics(seed, world, broken) for row, seed in zip(rows(table), seeds, strict=True)]


def answered(n: int, image: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
    """Draw (n, 2, 2, L) digits of n pairs of answers, each behind its prompt's, and (n, 2, L) which of them are right.

    The answer of more right digits is first; half of all digits are right. A digit is right where it is the prompt's
    image (10,) at its place. Of two answers with equally many, the second gets one more, or one less if all are right.
    """
    prompts = streams.randint(DIGITS, n, LENGTH)[0][:, None]  # (n, 1, L)
    right = streams.rand(n, 2, LENGTH)[0] < 0.5
    tied, every = right[:, 0].sum(-1) == right[:, 1].sum(-1), right[:, 1].all(-1)
    at = (right[:, 1].to(torch.int8) - every[:, None].to(torch.int8)).argmin(dim=-1)  # a wrong one; the first if none
    right[:, 1] ^= F.one_hot(at, LENGTH).bool() & tied[:, None]
    wrong = (image[prompts] + 1 + streams.randint(DIGITS - 1, n, 2, LENGTH)[0]) % DIGITS
    answers = torch.where(right, image[prompts], wrong)
    order = right.sum(-1).argsort(dim=-1, descending=True)[..., None].expand_as(right)
    return torch.stack([prompts.expand_as(answers), answers.gather(1, order)], dim=2), right.gather(1, order)


def read(models: BatchedGPT, answers: Tensor, critiques: Tensor) -> Tensor:
    """Return (M, B, L + k + 1, V) logits on answers (B, 2, L) behind prompts and the first k tokens of their critiques.

    Each token of an answer carries the prompt's digit at its place. The score is the last place's logit of READ.
    """
    asked, given = answers.expand(len(models), -1, -1, -1).unbind(dim=2)
    ids = torch.cat([given, critiques, torch.full_like(given[..., :1], READ)], dim=-1)
    return models.logits(models.hidden(ids, asked + DIGITS))


def train_critics(
    models: BatchedGPT, answers: Tensor, critiques: Tensor, world: World, streams: Streams, weight: Tensor
) -> None:
    """Score the better answer higher after its critique, and write that critique; in place.

        ℓ = −log σ(r⁺ − r⁻) + 0.01 (r⁺ + r⁻)² + w (NLL of the critiques, per token)

    `critiques` (M, n, 2, L) in BAD and GOOD are what each model is shown and taught, `weight` (M,) its w.
    """
    for _ in adam_steps(models.parameters(), world.critic_steps, learning_rate=world.critic_learning_rate):
        picks = streams.randint(len(answers), world.critic_batch)[0]
        critique = critiques[:, picks].flatten(1, 2)  # (M, 2·batch, L)
        logits = read(models, answers[picks].flatten(0, 1), critique)
        chosen, rejected = logits[:, :, -1, READ].view(len(weight), -1, 2).unbind(dim=-1)
        spoken = logits[:, :, LENGTH - 1 : 2 * LENGTH - 1].flatten(1, 2)  # each predicts the next verdict
        critic = F.cross_entropy(spoken.transpose(1, 2), critique.flatten(1), reduction="none").mean(dim=1)  # (M,)
        losses = (bt_loss(chosen, rejected) + centering_loss(chosen, rejected, coef=0.01)).mean(dim=1) + weight * critic
        torch.autograd.backward(losses.sum())


@torch.no_grad()
def written_critiques(models: BatchedGPT, answers: Tensor) -> Tensor:
    """Write (M, n, L) critiques of answers (n, 2, L), the likelier verdict at each place."""
    written = torch.empty(len(models), len(answers), 0, dtype=torch.int64)
    for _ in range(LENGTH):
        last = read(models, answers, written)[:, :, -2]  # at the token before READ
        written = torch.cat([written, torch.where(last[..., GOOD] > last[..., BAD], GOOD, BAD)[..., None]], dim=-1)
    return written


def critics(seed: int, world: World, broken: bool) -> dict[str, float]:
    """Measure three decoders' pair accuracy: taught true critiques, critiques in random order, and no critique.

    One seed at a time, in single precision, where the order of sums may depend on what runs beside.
    """
    streams = Streams([seed], dtype=torch.float32)
    image = streams.randperm(DIGITS)[0]
    (pairs, right), (test, known) = (answered(n, image, streams) for n in (world.n_critiqued, world.n_critic_test))
    true, key = (torch.where(which, GOOD, BAD) for which in (right, known))
    shuffled = true.gather(-1, streams.rand(*true.shape)[0].argsort(dim=-1))
    critiques = torch.stack([shuffled if broken else true, shuffled, torch.full_like(true, READ)])
    start = BatchedGPT(READ + 1, 2 * LENGTH + 1, streams=streams, width=world.critic_width, embedding_std=1.0)
    models = start.take([0] * len(critiques))
    train_critics(models, pairs, critiques, world, streams, torch.tensor([1.0, 1.0, 0.0]))
    own = torch.stack([written_critiques(models, test[:, k]) for k in (0, 1)], dim=2)
    own[2] = READ  # the third writes nothing: it is shown as many blank tokens as the others have verdicts
    ranked = []  # (M,) shares of the pairs in which the better answer scores more, after own critiques and true ones
    with torch.no_grad():
        for critique in (own, key.expand_as(own)):
            better, worse = (read(models, test[:, k], critique[:, :, k])[:, :, -1, READ] for k in (0, 1))
            ranked.append((better > worse).double().mean(dim=-1).tolist())
    return {
        "accuracy/self_critique": ranked[0][0],
        "accuracy/oracle_critique": ranked[1][0],
        "accuracy/shuffled_critique": ranked[0][1],
        "accuracy/scalar": ranked[0][2],
        "verdicts/self_critique": float((own[0] == key).float().mean()),
    }


SHOWN = ("dpo", "mm_dpo", "clip_margin", "drop", "unit_margin", "oracle_margin", "fixed_beta_125", "loss_weight")
LABEL = "gold of each β at a KL of 2 nats (standard deviations)"
figure = partial(dots, series={"gold": "gold/{}"}, rows=SHOWN, label=LABEL)
