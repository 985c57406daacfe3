"""The likelihood of praise less that of complaint ranks answers; a classifier of the same reactions ranks better."""

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
from rewardsmith.objectives import dpo_loss, per_token_logps
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import BatchedGPT
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import PrefixTree, additive_gold, drawn, labeled, mean_gold, mean_kl, of, trained
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("accuracy/difference", over="accuracy/positive", at_least=0.08, p_value=0.01),
    PairedGain("accuracy/difference", over="accuracy/negative", at_least=0.08, p_value=0.01),
    PairedGain("accuracy/difference", over="accuracy/raw_logit", at_least=0.08, p_value=0.01),
    LowerBound("gold/difference", over="gold/start", above=0.5),
    # The simple control: a classifier of praise and complaint, trained on the same dialogues.
    PairedGain("accuracy/classifier", over="accuracy/difference", at_least=0.05, p_value=0.01),
)
TREE = PrefixTree(n_prompts=3, n_tokens=4, length=4)
REACTIONS = (
    *("that helped", "this is right", "well done thanks"),  # praise
    *("that failed", "this is wrong", "not done yet"),  # complaint
    *("that is next", "thanks bye", "this well"),  # neutral
)  # they share words, and most first words
WORDS = sorted(set(" ".join(REACTIONS).split()))
PROMPTS = TREE.n_tokens + torch.arange(TREE.n_prompts).repeat_interleave(len(TREE.responses))
ASKED = torch.cat([PROMPTS[:, None], TREE.responses.repeat(TREE.n_prompts, 1)], dim=1)  # (X · N, 1 + T) tokens
END = TREE.n_tokens + TREE.n_prompts + len(WORDS)
IDS = [[END - len(WORDS) + WORDS.index(word) for word in text.split()] for text in REACTIONS]
BANK = torch.tensor([ids + [END] * (4 - len(ids)) for ids in IDS])  # (9, 4) tokens of reactions
TRAINED = ("difference", "positive", "classifier", "truth")  # arms whose pairs train a policy


@dataclass(frozen=True, slots=True)
class World:
    """Dialogues in which some users react, and praise more often where gold is higher.

    A user reacts with probability σ(offset + u), where u depends on prompt and response as gold does, but is no part
    of it. The reaction is praise with probability σ(gold), else complaint. The others make a neutral remark.
    """

    correlation: float = 0.0  # of u with gold
    offset: float = 0.0  # of the chance to react; at 0 half of the users do
    shared: float = 0.8  # share of the variance of gold, and of u, that the prompts have in common
    n_dialogues: int = 8000  # about 10 per prompt and response
    width: int = 32  # of the language model
    steps: int = 1600  # of Adam, for the language model
    batch_size: int = 16  # dialogues per step
    learning_rate: float = 4e-3  # of Adam, for the language model
    classifier_steps: int = 60  # of Adam, for the classifier
    ridge: float = 0.01  # of the Bradley-Terry model on the true features
    n_groups: int = 64  # groups of 8 responses per prompt, whose best and worst are a pair
    policy_steps: int = 30  # of Adam, for the policies
    beta: float = 1.0  # of DPO


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Rank responses by the likelihood of reactions and by simple controls, and train policies on mined pairs."""
    streams = Streams(seeds, dtype=torch.float32)
    gold, other = (additive_gold(TREE, streams, shared=world.shared).sum(dim=-1) for _ in range(2))  # (S, 1, X, N)
    propensity = world.offset + world.correlation * gold + (1 - world.correlation**2) ** 0.5 * other
    cell = streams.randint(len(ASKED), world.n_dialogues)
    reacts, praises = (
        streams.rand(world.n_dialogues) < torch.sigmoid(value.flatten(1).gather(1, cell))
        for value in (propensity, gold)
    )
    reaction = 3 * torch.where(reacts, 1 - praises.long(), 2) + streams.randint(3, world.n_dialogues)
    if broken:
        reaction = reaction.gather(1, streams.randperm(world.n_dialogues))
    scores = followup_scores(language_model(cell, reaction, world, streams))

    seen = torch.zeros(len(seeds), len(ASKED) * len(BANK))
    seen = seen.scatter_add(1, cell * len(BANK) + reaction, torch.ones(cell.shape)).view(len(seeds), 1, -1, len(BANK))
    every, one = ((seen[..., :n].sum(dim=-1), seen[..., 3 : 3 + n].sum(dim=-1)) for n in (3, 1))  # praise, complaint
    praise, complaint = (torch.cat(both, dim=1) for both in zip(every, one, strict=True))  # (S, 2, X · N)
    scores["classifier"], scores["classifier_one_pair"] = classified(praise, complaint, world, streams).unbind(1)
    scores["counts"] = ((every[0] + 0.5) / (every[1] + 0.5)).log()
    first, second = (streams.randint(len(TREE.responses), 1, TREE.n_prompts, 500) for _ in range(2))
    labels = labeled(gold, first, second, streams)
    for n in (33, 133, 500):
        scores[f"bradley_terry_{3 * n}"] = bradley_terry(labels.chosen[..., :n], labels.rejected[..., :n], world.ridge)
    scores = {arm: score.view_as(gold) for arm, score in scores.items()}

    first, second = (streams.randint(len(TREE.responses), 1, TREE.n_prompts, 2000) for _ in range(2))
    better = (of(gold, first) - of(gold, second)).sign()
    agreed = {arm: better * (of(score, first) - of(score, second)).sign() for arm, score in scores.items()}
    asked = (better != 0).sum(dim=(1, 2, 3))
    accuracy = {arm: 0.5 + 0.5 * sign.sum(dim=(1, 2, 3)) / asked for arm, sign in agreed.items()}  # a tie is half right
    return rows({"accuracy": accuracy, **policies(scores | {"truth": gold}, gold, world, streams)})


def language_model(cell: Tensor, reaction: Tensor, world: World, streams: Streams) -> BatchedGPT:
    """Train (S,) models on the reactions of dialogues, given by (S, n) cells and (S, n) reactions."""
    model = BatchedGPT(END + 1, ASKED.shape[1] + BANK.shape[1], streams=streams, width=world.width, embedding_std=0.3)
    seed = torch.arange(len(streams))[:, None]
    for _ in adam_steps(model.parameters(), world.steps, learning_rate=world.learning_rate, warm_up=40):
        picked = seed, streams.randint(world.n_dialogues, world.batch_size)
        answers = BANK[reaction[picked]]
        logits = model(torch.cat([ASKED[cell[picked]], answers[..., :-1]], dim=-1))[:, :, ASKED.shape[1] - 1 :]
        loss = F.cross_entropy(logits.flatten(0, 2), answers.flatten(), reduction="none")
        torch.autograd.backward(loss.view(len(streams), -1).mean(dim=1).sum())
    return model


@torch.no_grad()
def followup_scores(model: BatchedGPT) -> dict[str, Tensor]:
    """Return rewards (S, X · N) by the mean log-probability of reactions' words, and by less.

    The published script reads no likelihood. Of the last m rows of logits it keeps the first, that of the follow-up's
    second word here, and averages the raw logits of all m words there.
    """
    n_cells, n_asked = ASKED.shape
    ids = torch.cat([ASKED[:, None].expand(-1, len(BANK), -1), BANK.expand(n_cells, -1, -1)], dim=-1).flatten(0, 1)
    counted = (ids != END) & (torch.arange(ids.shape[1]) >= n_asked)
    means, sums, raws = list[Tensor](), list[Tensor](), list[Tensor]()
    for seed in range(len(model)):
        logits = model.take([seed])(ids[None])[0]
        logps = per_token_logps(logits, ids, counted).sum(dim=-1)
        raw = logits[:, n_asked + 1].gather(-1, ids[:, n_asked:]) * counted[:, n_asked:]
        lengths = counted.sum(dim=-1)
        for found, values in ((means, logps / lengths), (sums, logps), (raws, raw.sum(dim=-1) / lengths)):
            found.append(values.view(n_cells, -1, 3))  # (X · N, praise | complaint | neutral, 3)
    mean, total, raw = (torch.stack(found).unbind(dim=2) for found in (means, sums, raws))
    return {
        "difference": mean[0].mean(dim=-1) - mean[1].mean(dim=-1),
        "one_pair": mean[0][..., 0] - mean[1][..., 0],
        "summed": total[0].logsumexp(dim=-1) - total[1].logsumexp(dim=-1),
        "positive": mean[0].mean(dim=-1),
        "negative": -mean[1].mean(dim=-1),
        "against_neutral": mean[2].mean(dim=-1) - mean[1].mean(dim=-1),
        "raw_logit": raw[0].mean(dim=-1) - raw[1].mean(dim=-1),
    }


def classified(praise: Tensor, complaint: Tensor, world: World, streams: Streams) -> Tensor:
    """Return (S, M, X · N) log-odds of praise by perceptrons that were trained on counts (S, M, X · N) of reactions."""
    prompt, tokens = F.one_hot(ASKED[:, 0] - TREE.n_tokens), F.one_hot(ASKED[:, 1:])
    inputs = torch.cat([prompt, tokens.flatten(1)], dim=1).float().expand(len(streams), 1, -1, -1)
    network = BatchedMLP((inputs.shape[-1], 64, 64, 1), lead=(len(streams), praise.shape[1]), streams=streams)
    for _ in adam_steps(network.parameters(), world.classifier_steps, learning_rate=5e-3):
        logits = network(inputs)
        losses = praise * F.softplus(-logits) + complaint * F.softplus(logits)
        torch.autograd.backward((losses.sum(dim=-1) / (praise + complaint).sum(dim=-1)).sum())
    with torch.no_grad():
        log_odds: Tensor = network(inputs)
    return log_odds


def bradley_terry(chosen: Tensor, rejected: Tensor, ridge: float) -> Tensor:
    """Fit rewards (S, X · N) to labeled pairs (S, 1, X, n), linear in the bigrams that gold is made of.

    Each bigram has a weight that the prompts share and one of each prompt's own.
    """
    table = F.one_hot(TREE.bigrams).sum(dim=1).float()  # (N, d)
    difference = table[chosen[:, 0]] - table[rejected[:, 0]]  # (S, X, n, d)
    weight = torch.zeros(len(chosen), 1 + TREE.n_prompts, table.shape[1], 1, requires_grad=True)
    for _ in adam_steps([weight], 100, learning_rate=0.05):
        losses = F.softplus(-difference @ (weight[:, 1:] + weight[:, :1]))
        torch.autograd.backward(losses.mean(dim=(1, 2, 3)).sum() + ridge * weight.square().sum())
    with torch.no_grad():
        return (table @ (weight[:, 1:] + weight[:, :1])).flatten(1)


def policies(scores: dict[str, Tensor], gold: Tensor, world: World, streams: Streams) -> dict[str, dict[str, Tensor]]:
    """Return gold and KL of policies that DPO trains on the best and worst of 8 responses, by arm of `TRAINED`."""
    reference = TREE.policy(streams, width=32)
    with torch.no_grad():
        ref_logps = TREE.logps(TREE.next_token(reference))
    index = drawn(ref_logps, 8 * world.n_groups, streams)
    groups = index.view(*index.shape[:3], -1, 8)  # (S, 1, X, n, 8)
    ranked = torch.cat([of(scores[arm], index) for arm in TRAINED], dim=1).view(len(streams), -1, *groups.shape[2:])
    mined = [
        groups.expand_as(ranked).gather(-1, end(dim=-1, keepdim=True))[..., 0] for end in (ranked.argmax, ranked.argmin)
    ]
    (read, before), (read_worse, before_worse) = ((TREE.reader(pick), of(ref_logps, pick)) for pick in mined)

    def loss(policy: BatchedMLP) -> Tensor:
        logps = read(policy).sum(dim=-1), read_worse(policy).sum(dim=-1)
        return dpo_loss(*logps, before, before_worse, beta=world.beta).mean(dim=(-2, -1))

    learner = trained(reference.take([0] * len(TRAINED)), loss, steps=world.policy_steps, learning_rate=3e-3)
    with torch.no_grad():
        logps = torch.cat([ref_logps, TREE.logps(TREE.next_token(learner))], dim=1)
    measured = {"gold": mean_gold(logps, gold), "kl": mean_kl(logps, ref_logps)}
    return {name: dict(zip(("start", *TRAINED), value.unbind(1), strict=True)) for name, value in measured.items()}


figure = partial(
    dots,
    series={"pair accuracy": "accuracy/{}"},
    rows={
        "difference": "praise less complaint", "summed": "… by sums", "one_pair": "… one text each",
        "positive": "praise alone", "negative": "complaint alone", "against_neutral": "neutral less complaint",
        "raw_logit": "raw logits (published script)", "classifier": "classifier of reactions",
        "classifier_one_pair": "… one text each", "counts": "counts of reactions",
        "bradley_terry_99": "99 labeled pairs", "bradley_terry_399": "399 labeled pairs",
        "bradley_terry_1500": "1,500 labeled pairs",
    },
    label="share of pairs ranked as gold ranks them",
)  # fmt: skip
