"""Decoding under two opposite instructions does as well as training on the token rewards that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import dpo_loss, token_log_ratio, token_reward_regularizer
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import PrefixTree, additive_gold, drawn, labeled, mean_gold, mean_kl, trained

CRITERION = All(
    LowerBound("gold/squared", over="gold/better_prompt", above=0.3),
    LowerBound("correlation/squared", over="correlation/dpo_tuned", above=0.1),
    # The simple control, at the KL of the trained policy: no pairs, no training.
    PairedGain("gold/decoding_at_its_kl", over="gold/squared", at_least=-0.1),
)


@dataclass(frozen=True, slots=True)
class World:
    """A policy whose training text was drawn as it comes, asked to be better, or asked to be worse."""

    n_prompts: int = 6  # prompts
    length: int = 5  # tokens of a response
    gold_sd: float = 1.5  # standard deviation of gold over responses
    tilt: float = 0.1  # training text without an instruction is drawn in proportion to exp(tilt · gold)
    asked_tilt: float = 0.5  # tilt of text asked to be better; minus that, where asked to be worse
    n_texts: int = 120  # such texts per prompt, and half as many for each instruction
    n_pairs: int = 15  # labeled pairs per prompt
    steps: int = 160  # of Adam
    learning_rate: float = 1e-3  # of Adam; three times that for the reference, in 120 steps
    width: int = 64  # of both hidden layers
    beta: float = 0.1  # β
    tuned_beta: float = 0.3  # β of the arms without token rewards that are tuned
    linear: float = 0.1  # α of the linear form
    squared: float = 3.0  # α of the squared form


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Train policies on few pairs with and without token rewards, and decode under both instructions."""
    tree, streams = PrefixTree(world.n_prompts, 4, world.length, n_flags=2), Streams(seeds)
    token_gold = additive_gold(tree, streams, sd=world.gold_sd)
    gold = token_gold.sum(dim=-1)
    texts = []
    for flag, tilt in ((None, world.tilt), (0, world.asked_tilt), (1, -world.asked_tilt)):
        n = world.n_texts if flag is None else world.n_texts // 2
        texts.append(tree.reader(drawn((tilt * gold).log_softmax(dim=-1), n, streams), flag))
    reference = trained(
        tree.policy(streams, width=world.width),
        lambda p: -torch.stack([read(p).sum(dim=-1).mean(dim=(-2, -1)) for read in texts]).sum(dim=0),
        steps=120,
        learning_rate=3 * world.learning_rate,
    )
    with torch.no_grad():
        plain, better, worse = (tree.next_token(reference, flag).double() for flag in (None, 0, 1))
    contrast = token_log_ratio(tree.token_logps(better), tree.token_logps(worse), squash="sigmoid-0.5")
    n, ref = world.n_pairs, tree.logps(plain)
    first, second, good, bad = (drawn(tree.logps(of), n, streams) for of in (plain, plain, better, worse))
    pairs = labeled(gold, first, second, streams)
    index = torch.cat(pairs, dim=-1)
    unit = contrast.flatten(1).std(dim=1) / token_gold.flatten(1).std(dim=1)  # of the token rewards, for their gold
    rewards, known = (v.gather(3, index[..., None].expand(*index.shape, world.length)) for v in (contrast, token_gold))
    shuffled = rewards.gather(-1, streams.rand(*rewards.shape[1:]).argsort(dim=-1))
    rewards = shuffled if broken else rewards
    settings = {  # weight of the preference loss, its β, token rewards, and α of the linear and of the squared form
        "dpo": (1.0, world.beta, rewards, 0.0, 0.0),
        "dpo_tuned": (1.0, world.tuned_beta, rewards, 0.0, 0.0),
        "linear": (1.0, world.beta, rewards, world.linear, 0.0),
        "squared": (1.0, world.beta, rewards, 0.0, world.squared),
        "squared_alone": (0.0, world.beta, rewards, 0.0, world.squared),
        "squared_shuffled": (1.0, world.beta, shuffled, 0.0, world.squared),
        "squared_gold": (1.0, world.beta, known * unit.view(-1, 1, 1, 1, 1), 0.0, world.squared),
    }
    numbers = torch.tensor([(w, b, first, second) for w, b, _, first, second in settings.values()])[..., None, None]
    preferred, beta, linear, squared = numbers.unbind(dim=1)  # (M, 1, 1)
    read, of_arm = tree.reader(index), torch.cat([row[2] for row in settings.values()], dim=1)
    with torch.no_grad():
        before = read(reference).expand_as(of_arm)

    def loss(policies: BatchedMLP) -> Tensor:
        tokens = read(policies)
        regularize = partial(
            token_reward_regularizer, tokens, before, of_arm, torch.ones_like(of_arm, dtype=torch.bool), beta=world.beta
        )
        terms = linear * regularize(form="linear") + squared * regularize(form="squared")
        preference = preferred * pair_loss(tokens.sum(dim=-1), before.sum(dim=-1), beta)
        return preference.mean(dim=(-2, -1)) + 2 * terms.mean(dim=(-2, -1))  # of both responses of a pair

    adam = partial(trained, steps=world.steps, learning_rate=world.learning_rate)
    policies = adam(reference.take([0] * len(settings)), loss)
    both = tree.reader(torch.cat([pairs.chosen, good, pairs.rejected, bad], dim=-1))
    with torch.no_grad():
        known = both(reference).sum(dim=-1)
    more = adam(reference, lambda p: pair_loss(both(p).sum(-1), known, world.tuned_beta).mean(dim=(-2, -1)))
    with torch.no_grad():
        tables = [tree.next_token(one).double() for one in (policies, more)]
    every = torch.cat(tables, dim=1)[:, :, None].unbind(dim=1)
    arms = dict(zip([*settings, "contrast_pairs"], every, strict=True))
    arms |= {"reference": plain, "better_prompt": better}
    arms["decoding_at_its_kl"] = decoded(tree, plain, better - worse, mean_kl(tree.logps(arms["squared"]), ref))
    arms |= {f"decoding_{g}": (plain + g * (better - worse)).log_softmax(dim=-1) for g in (1, 2, 4)}
    found: dict[str, dict[str, Tensor]] = {"gold": {}, "kl": {}, "correlation": {}}
    for arm, table in arms.items():
        logps = tree.logps(table)
        found["gold"][arm], found["kl"][arm] = mean_gold(logps, gold)[:, 0], mean_kl(logps, ref)[:, 0]
        if arm in settings:
            implied = tree.token_logps(table) - tree.token_logps(plain)
            found["correlation"][arm] = correlation(implied, token_gold, ref.exp())
    found["correlation"]["token_rewards"] = correlation(contrast, token_gold, ref.exp())
    return rows(found)


def pair_loss(logps: Tensor, before: Tensor, beta: float | Tensor) -> Tensor:
    """Return (S, M, X, n) losses of direct preference optimization, from the chosen and the rejected, 2n."""
    (chosen, rejected), (ref_chosen, ref_rejected) = (one.chunk(2, dim=-1) for one in (logps, before))
    strength = torch.as_tensor(beta).expand_as(chosen)
    return dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=strength)


def decoded(tree: PrefixTree, plain: Tensor, contrast: Tensor, kl: Tensor) -> Tensor:
    """Return log-softmax(plain + γ · contrast), with the γ per seed at which its KL from `plain` is `kl` (S, 1)."""
    low, high = torch.zeros_like(kl), torch.full_like(kl, 20.0)
    for _ in range(40):
        middle = (low + high) / 2
        table = (plain + middle[..., None, None, None] * contrast).log_softmax(dim=-1)
        too_far = mean_kl(tree.logps(table), tree.logps(plain)) > kl
        low, high = torch.where(too_far, low, middle), torch.where(too_far, middle, high)
    return table


def correlation(values: Tensor, token_gold: Tensor, policy: Tensor) -> Tensor:
    """Return (S,) Pearson's correlation over tokens (S, 1, X, N, T) of responses drawn by a policy (S, 1, X, N)."""
    weight = (policy / policy.sum(dim=-1, keepdim=True))[..., None].expand_as(values)
    a, b, w = (one.flatten(1) for one in (values, token_gold, weight / weight.flatten(1).sum(1).view(-1, 1, 1, 1, 1)))
    a, b = (x - (w * x).sum(dim=1, keepdim=True) for x in (a, b))
    return (w * a * b).sum(dim=1) / ((w * a * a).sum(dim=1) * (w * b * b).sum(dim=1)).sqrt()


figure = partial(
    dots,
    series={"gold": "gold/{}"},
    rows={
        "reference": "reference",
        "better_prompt": "the better instruction",
        "dpo": "DPO, β of .1",
        "dpo_tuned": "DPO, its best β",
        "contrast_pairs": "DPO, pairs by instruction too",
        "linear": "linear form",
        "squared": "squared form",
        "squared_alone": "squared form without DPO",
        "squared_shuffled": "squared form, shuffled",
        "squared_gold": "squared form, gold tokens",
        "decoding_at_its_kl": "decoding, same KL",
        "decoding_2": "decoding, γ of 2",
    },
    label="gold",
)
