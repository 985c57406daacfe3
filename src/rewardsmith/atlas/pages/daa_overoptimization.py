"""Train DPO, IPO and SLiC on few pairs at a small β: gold rises, then falls as the policy leaves the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import curves
from rewardsmith.atlas.page import rows
from rewardsmith.measures import overoptimization_law
from rewardsmith.objectives import ipo_loss, slic_loss, soft_label_dpo_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import PrefixTree, additive_gold, drawn, mean_gold, mean_kl, of, supervised, trained

CRITERION = All(
    AtLeast("b/dpo", 0.05),
    AtLeast("b/slic", 0.05),
    AtLeast("b/ipo", 0.0),
    AtMost("b/dpo_beta_200", 0.05),
    PairedGain("fall/dpo", over="fall/dpo_beta_200", at_least=0.1),
    PairedGain("gold_160/dpo_beta_50", over="gold_160/dpo", at_least=0.1),
    AtLeast("fall/random_labels", 0.05),
)
CHECKPOINTS = (0, 5, 10, 20, 40, 80, 160)  # steps
EARLY = 10  # steps, where gold of DPO was highest on seeds 0 to 9
ARMS: dict[str, tuple[str, float, str]] = {  # loss, β as a factor of the world's, labels; in the order of losses
    "dpo": ("dpo", 1.0, "noisy"),
    "random_labels": ("dpo", 1.0, "random"),
    "true_labels": ("dpo", 1.0, "true"),
    "dpo_beta_50": ("dpo", 50.0, "noisy"),
    "dpo_beta_200": ("dpo", 200.0, "noisy"),
    "ipo": ("ipo", 1.0, "noisy"),
    "ipo_beta_10": ("ipo", 10.0, "noisy"),
    "slic": ("slic", 1.0, "noisy"),
}


@dataclass(frozen=True, slots=True)
class World:
    """A reference language model and few pairs of its responses, labeled by gold."""

    n_worlds: int = 3  # languages per seed, over which the law is fitted
    n_prompts: int = 4  # prompts
    n_tokens: int = 4  # in the vocabulary
    length: int = 5  # tokens per response
    width: int = 16  # of the policy's two hidden layers
    ref_slope: float = 0.4  # of the reference's log-odds by gold
    ref_noise: float = 0.8  # standard deviation of its log-odds besides
    n_ref: int = 100  # responses per prompt that the reference is fitted to
    ref_steps: int = 150  # of Adam
    n_pairs: int = 12  # per prompt
    beta: float = 0.01  # β
    learning_rate: float = 2e-3  # of Adam


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure gold and KL along the training under each loss, and fit the law of overoptimization."""
    streams = Streams([seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)])
    tree = PrefixTree(world.n_prompts, world.n_tokens, world.length)
    gold = additive_gold(tree, streams).sum(dim=-1)  # (S, 1, X, N)
    written = (world.ref_slope * gold + world.ref_noise * streams.randn(*gold.shape[1:])).log_softmax(dim=-1)
    demonstrations, uniform = drawn(written, world.n_ref, streams), streams.rand(2, world.n_prompts, world.n_pairs)
    world = replace(world, beta=2.0) if broken else world
    blank = tree.policy(streams, width=world.width)
    reference = supervised(tree, blank, demonstrations, steps=world.ref_steps, learning_rate=3e-3)
    with torch.no_grad():
        ref = tree.logps(tree.next_token(reference))
    pairs = drawn(ref, 2 * world.n_pairs, streams)
    first, second = of(gold, pairs).chunk(2, dim=-1)
    signs = {  # 1 where the first response is chosen, −1 where the second is
        "noisy": torch.where(uniform[:, :1] < torch.sigmoid(first - second), 1.0, -1.0),
        "random": torch.where(uniform[:, 1:] < 0.5, 1.0, -1.0),
        "true": (first - second).sign(),
    }
    sign = torch.cat([signs[labels] for *_, labels in ARMS.values()], dim=1).to(ref.dtype)  # (S, M, X, pairs)
    found = trace(tree, reference, gold, pairs, sign, world)
    return summarized(found, len(seeds), world.n_worlds)


def trace(
    tree: PrefixTree, reference: BatchedMLP, gold: Tensor, pairs: Tensor, sign: Tensor, world: World
) -> dict[str, dict[str, Tensor]]:
    """Train all arms on pairs (S, 1, X, 2n) with signs (S, M, X, n); return (S, K) of metrics at K checkpoints."""
    kinds = [kind for kind, *_ in ARMS.values()]
    beta = world.beta * torch.tensor([factor for _, factor, _ in ARMS.values()], dtype=sign.dtype)[:, None, None]
    with torch.no_grad():
        ref = tree.logps(tree.next_token(reference))
    read, before = tree.reader(pairs), of(ref, pairs)
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "dpo": lambda ratio, beta: soft_label_dpo_loss(beta * ratio, 1.0),
        "ipo": lambda ratio, beta: ipo_loss(ratio, beta=beta.expand_as(ratio)),
        "slic": lambda ratio, beta: slic_loss(beta * ratio),
    }

    def ratios(logps: Tensor) -> Tensor:
        first, second = (logps - before).chunk(2, dim=-1)
        return sign * (first - second)

    def loss(learner: BatchedMLP) -> Tensor:
        ratio, parts, start = ratios(read(learner).sum(dim=-1)), [], 0
        for kind in dict.fromkeys(kinds):
            own = slice(start, start + kinds.count(kind))
            parts.append(losses[kind](ratio[:, own], beta[own]).mean(dim=(2, 3)))
            start = own.stop
        return torch.cat(parts, dim=1)

    found: dict[str, list[Tensor]] = {"gold": [], "kl": [], "accuracy": [], "chosen": []}

    def measure(step: int, learner: BatchedMLP) -> None:
        if step in CHECKPOINTS:
            logps = tree.logps(tree.next_token(learner))
            found["gold"].append(mean_gold(logps, gold))
            found["kl"].append(mean_kl(logps, ref.expand_as(logps)).clamp_min(0.0))
            found["accuracy"].append((ratios(of(logps, pairs)) > 0).to(ref.dtype).mean(dim=(2, 3)))
            first, second = (of(logps, pairs) - before).chunk(2, dim=-1)
            found["chosen"].append(torch.where(sign > 0, first, second).mean(dim=(2, 3)))

    start = reference.take([0] * len(ARMS))
    trained(start, loss, steps=CHECKPOINTS[-1], learning_rate=world.learning_rate, every=measure)
    curve = {metric: torch.stack(values, dim=-1).unbind(1) for metric, values in found.items()}
    return {metric: dict(zip(ARMS, values, strict=True)) for metric, values in curve.items()}


def summarized(found: dict[str, dict[str, Tensor]], n_seeds: int, n_worlds: int) -> list[dict[str, float]]:
    """Return rows of curves (S, K), averaged over a seed's languages, with the fall from EARLY and the law's b."""
    table: dict[str, dict[str, Tensor]] = {"fall": {}, "kl_end": {}, "b": {}, "chosen": {}}
    for arm in found["gold"]:
        by_seed = {metric: values[arm].view(n_seeds, n_worlds, -1) for metric, values in found.items()}
        for place, step in enumerate(CHECKPOINTS):
            table.setdefault(f"gold_{step}", {})[arm] = by_seed["gold"][..., place].mean(dim=1)
            table.setdefault(f"accuracy_{step}", {})[arm] = by_seed["accuracy"][..., place].mean(dim=1)
        early = by_seed["gold"][..., CHECKPOINTS.index(EARLY)]
        table["fall"][arm] = (early - by_seed["gold"][..., -1]).mean(dim=1)
        table["kl_end"][arm], table["chosen"][arm] = (by_seed[name][..., -1].mean(dim=1) for name in ("kl", "chosen"))
        laws = [
            overoptimization_law(kl.sqrt(), values - values[:, :1])
            for kl, values in zip(by_seed["kl"], by_seed["gold"], strict=True)
        ]
        table["b"][arm] = torch.tensor([law.coefficients[1] for law in laws])
    return rows(table)


figure = partial(
    curves,
    at={str(step): str(step) for step in CHECKPOINTS},
    lines={
        "DPO, β of .01": "gold_{0}/dpo",
        "IPO, β of .01": "gold_{0}/ipo",
        "SLiC, β of .01": "gold_{0}/slic",
        "DPO, β of 2": "gold_{0}/dpo_beta_200",
        "DPO, random labels": "gold_{0}/random_labels",
    },
    label=("steps", "gold reward"),
)
