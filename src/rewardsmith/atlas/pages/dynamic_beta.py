"""Let a reward model say how hard a preference pair may pull, and let it write down why before it scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import bt_loss, centering_loss, dpo_loss, dynamic_beta, margin_weight, normalized_weights
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import attended
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
BAD, GOOD, READ = DIGITS, DIGITS + 1, DIGITS + 2  # tokens: a critique's two verdicts, and where the score is read
VOCABULARY = DIGITS + 3


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
    """Gold at one KL of policies under each β, then pair accuracy of decoders with and without critiques."""
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


class Answers(NamedTuple):
    """n pairs of one seed, the better answer first: prompts (n, L) and answers (n, 2, L) in digits, right (n, 2, L)."""

    prompts: Tensor
    answers: Tensor
    right: Tensor


def answered(n: int, image: Tensor, streams: Streams) -> Answers:
    """n pairs whose answers have different numbers of right digits; a digit is right half of the time.

    A digit is right where it is the prompt's image (10,) at its place. Where two answers are alike right, one digit of
    the second is set right, or wrong if all are right.
    """
    prompts = streams.randint(DIGITS, n, LENGTH)[0]
    truth = image[prompts][:, None]  # (n, 1, L)
    right = streams.rand(n, 2, LENGTH)[0] < 0.5
    tied = right[:, 0].sum(-1) == right[:, 1].sum(-1)
    every = right[:, 1].all(-1)
    at = (right[:, 1].to(torch.int8) - every[:, None].to(torch.int8)).argmin(dim=-1)  # a wrong one; the first if none
    turned = F.one_hot(at, LENGTH).bool() & tied[:, None]
    right = torch.stack([right[:, 0], right[:, 1] ^ turned], dim=1)
    wrong = (truth + 1 + streams.randint(DIGITS - 1, n, 2, LENGTH)[0]) % DIGITS
    answers = torch.where(right, truth, wrong)
    order = right.sum(-1).argsort(dim=-1, descending=True)[..., None].expand_as(right)
    return Answers(prompts, answers.gather(1, order), right.gather(1, order))


class CriticGPT(nn.Module):
    """M decoders, alike at the start, with a head that predicts the next token and one that scores.

    A sequence is the answer, each of whose tokens carries the prompt's digit at its place, the critique, and a last
    token at which the score is read.
    """

    def __init__(self, n_models: int, streams: Streams, *, width: int, n_heads: int = 4, n_layers: int = 2) -> None:
        super().__init__()
        self.n_heads = n_heads

        def drawn(*shape: int) -> Tensor:
            """One draw, of which every model has a copy, scaled by the width of the inputs."""
            start = streams.randn(*shape)[0] / math.sqrt(shape[-2])
            return start.expand(n_models, *shape).clone()

        def weights(n: int, *shape: int) -> nn.ParameterList:
            return nn.ParameterList([drawn(*shape) for _ in range(n)])

        self.token, self.asked, self.place = (
            nn.Parameter(math.sqrt(n) * drawn(n, width)) for n in (VOCABULARY, DIGITS, 2 * LENGTH + 1)
        )
        self.mix = weights(n_layers, width, 3 * width)
        self.out, self.up = weights(n_layers, width, width), weights(n_layers, width, 4 * width)
        self.down = weights(n_layers, 4 * width, width)
        self.next_token, self.score = nn.Parameter(drawn(width, VOCABULARY)), nn.Parameter(drawn(width, 1))

    def forward(self, prompts: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(M, B, T, V) logits of the next token and (M, B, T) scores, at each place of sequences ids (M, B, T).

        Prompts (M, B, L) are added to the first L places.
        """
        n_models, n_rows, n_places = ids.shape
        model = torch.arange(n_models)[:, None, None]
        asked = F.pad(self.asked[model, prompts], (0, 0, 0, n_places - prompts.shape[-1]))
        x = (self.token[model, ids] + self.place[:, None, :n_places] + asked).flatten(1, 2)  # (M, B·T, d)
        for mix, out, up, down in zip(self.mix, self.out, self.up, self.down, strict=True):
            x = x + torch.bmm(attended(x, mix, n_rows, self.n_heads), out)
            x = x + torch.bmm(F.gelu(torch.bmm(F.layer_norm(x, x.shape[-1:]), up)), down)
        x = F.layer_norm(x, x.shape[-1:])
        logits = torch.bmm(x, self.next_token).view(n_models, n_rows, n_places, -1)
        return logits, torch.bmm(x, self.score).view(n_models, n_rows, n_places)


def sequences(answers: Tensor, critiques: Tensor) -> Tensor:
    """(..., 2L + 1) token ids of answers and critiques (..., L), and the token to be read."""
    return torch.cat([answers, critiques, torch.full_like(answers[..., :1], READ)], dim=-1)


def train_critics(
    models: CriticGPT,
    pairs: Answers,
    critiques: Tensor,
    world: World,
    streams: Streams,
    *,
    critic_weight: Sequence[float],
) -> None:
    """Score the better answer higher after its critique, and write that critique; in place.

        ℓ = −log σ(r⁺ − r⁻) + 0.01 (r⁺ + r⁻)² + w (NLL of the critiques, per token)

    `critiques` (M, n, 2, L) in BAD and GOOD are what each model is shown and taught, `critic_weight` its w.
    """
    n_models, n, _, length = critiques.shape
    model, weight = torch.arange(n_models)[:, None], torch.tensor(list(critic_weight))
    for _ in adam_steps(models.parameters(), world.critic_steps, learning_rate=world.critic_learning_rate):
        picks = streams.randint(n, world.critic_batch)[0]
        said = critiques[model, picks].flatten(1, 2)  # (M, 2·batch, L)
        prompts = pairs.prompts[picks][:, None].expand(-1, 2, -1).flatten(0, 1).expand(n_models, -1, -1)
        answers = pairs.answers[picks].flatten(0, 1).expand(n_models, -1, -1)
        logits, scores = models(prompts, sequences(answers, said))
        chosen, rejected = scores[..., -1].unflatten(1, (-1, 2)).unbind(dim=-1)
        spoken = logits[:, :, length - 1 : 2 * length - 1].flatten(1, 2)  # each predicts the next verdict
        critic = F.cross_entropy(spoken.transpose(1, 2), said.flatten(1), reduction="none").mean(dim=1)  # (M,)
        losses = (bt_loss(chosen, rejected) + centering_loss(chosen, rejected, coef=0.01)).mean(dim=1) + weight * critic
        torch.autograd.backward(losses.sum())


@torch.no_grad()
def written_critiques(models: CriticGPT, prompts: Tensor, answers: Tensor) -> Tensor:
    """(M, n, L) what each model itself says of answers (n, L), the likelier verdict at each place."""
    asked, ids = (given.expand(len(models.token), -1, -1) for given in (prompts, answers))
    for _ in range(prompts.shape[-1]):
        logits, _ = models(asked, ids)
        verdict = torch.where(logits[:, :, -1, GOOD] > logits[:, :, -1, BAD], GOOD, BAD)
        ids = torch.cat([ids, verdict[..., None]], dim=-1)
    return ids[..., prompts.shape[-1] :]


@torch.no_grad()
def critic_scores(models: CriticGPT, prompts: Tensor, answers: Tensor, critiques: Tensor) -> Tensor:
    """(M, n) scores of answers (n, L) after critiques (M, n, L)."""
    asked, given = (digits.expand(len(critiques), -1, -1) for digits in (prompts, answers))
    scores: Tensor = models(asked, sequences(given, critiques))[1]
    return scores[..., -1]


def critics(seed: int, world: World, broken: bool) -> dict[str, float]:
    """Pair accuracy of three decoders: taught true critiques, critiques in random order, and no critique.

    One seed at a time, in single precision, where the order of sums may depend on what runs beside.
    """
    streams = Streams([seed], dtype=torch.float32)
    image = streams.randperm(DIGITS)[0]
    pairs, test = (answered(n, image, streams) for n in (world.n_critiqued, world.n_critic_test))
    true, answer_key = (torch.where(data.right, GOOD, BAD) for data in (pairs, test))
    shuffled = true.gather(-1, streams.rand(*true.shape)[0].argsort(dim=-1))
    critiques = torch.stack([shuffled if broken else true, shuffled, torch.full_like(true, READ)])
    models = CriticGPT(len(critiques), streams, width=world.critic_width)
    train_critics(models, pairs, critiques, world, streams, critic_weight=(1.0, 1.0, 0.0))
    own = torch.stack([written_critiques(models, test.prompts, test.answers[:, k]) for k in (0, 1)], dim=2)
    own[2] = READ  # the third writes nothing: it is shown as many blank tokens as the others have verdicts
    ranked = []  # (M,) shares of the pairs in which the better answer scores more, after own critiques and true ones
    for said in (own, answer_key.expand_as(own)):
        better, worse = (critic_scores(models, test.prompts, test.answers[:, k], said[:, :, k]) for k in (0, 1))
        ranked.append((better > worse).double().mean(dim=-1).tolist())
    return {
        "accuracy/self_critique": ranked[0][0],
        "accuracy/oracle_critique": ranked[1][0],
        "accuracy/shuffled_critique": ranked[0][1],
        "accuracy/scalar": ranked[0][2],
        "verdicts/self_critique": float((own[0] == answer_key).float().mean()),
    }


figure = partial(
    dots,
    series={"gold": "gold/{}"},
    rows=("dpo", "mm_dpo", "mm_dpo_k2", "clip_margin", "drop", "unit_margin", "oracle_margin", "fixed_beta_125",
          "shuffled", "loss_weight"),
    label="gold of each β at a KL of 2 nats (standard deviations)",
)  # fmt: skip
