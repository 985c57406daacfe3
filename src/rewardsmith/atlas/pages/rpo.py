"""Anchor direct preference optimization on the chosen responses, and a small β no longer ruins the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import anchor_nll, dpo_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import (
    PrefixTree,
    additive_gold,
    drawn,
    labeled,
    mean_gold,
    mean_kl,
    of,
    supervised,
    trained,
)

CRITERION = All(
    LowerBound("gold/rpo_strong", over="gold/dpo", above=0.3),
    PairedGain("gold/rpo_strong", over="gold/dpo_tuned_beta", at_least=0.05),
    PairedGain("gold/anchor_uniform", over="gold/rpo_strong", at_most=-0.2),
)
ARMS: dict[str, tuple[float | None, float | None, str]] = {  # β, or None for the world's; η, or None for no DPO; anchor
    "dpo": (None, 0.0, "chosen"),
    "rpo": (None, 0.05, "chosen"),
    "rpo_strong": (None, 0.5, "chosen"),
    "rpo_negative": (None, -0.05, "chosen"),
    "anchor_rejected": (None, 0.5, "rejected"),
    "anchor_uniform": (None, 0.5, "uniform"),
    "supervised": (None, None, "chosen"),
    "dpo_tuned_beta": (1.0, 0.0, "chosen"),
    "rpo_tuned_beta": (0.1, 0.05, "chosen"),
}


@dataclass(frozen=True, slots=True)
class World:
    """A reference language model and few pairs of its responses, labeled by gold."""

    n_worlds: int = 4  # languages averaged per seed
    n_prompts: int = 4  # prompts
    n_tokens: int = 4  # in the vocabulary
    length: int = 5  # tokens per response
    width: int = 32  # of the policy's two hidden layers
    ref_slope: float = 0.4  # of the reference's log-odds by gold
    ref_noise: float = 0.8  # standard deviation of its log-odds besides
    n_ref: int = 100  # responses per prompt that the reference is fitted to
    ref_steps: int = 150  # of Adam
    n_pairs: int = 12  # per prompt
    beta: float = 0.01  # β
    steps: int = 150  # of Adam
    early: int = 10  # steps of the arm that stops early
    learning_rate: float = 2e-3  # of Adam


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure gold, KL and what the chosen responses gain in log-probability, under each loss."""
    streams = Streams([seed * world.n_worlds + k for seed in seeds for k in range(world.n_worlds)])
    tree = PrefixTree(world.n_prompts, world.n_tokens, world.length)
    gold = additive_gold(tree, streams).sum(dim=-1)  # (S, 1, X, N)
    written = (world.ref_slope * gold + world.ref_noise * streams.randn(*gold.shape[1:])).log_softmax(dim=-1)
    blank = tree.policy(streams, width=world.width)
    reference = supervised(tree, blank, drawn(written, world.n_ref, streams), steps=world.ref_steps, learning_rate=3e-3)
    with torch.no_grad():
        ref = tree.logps(tree.next_token(reference)).expand(-1, len(ARMS), -1, -1)
    first, second = drawn(ref[:, :1], 2 * world.n_pairs, streams).chunk(2, dim=-1)
    chosen, rejected = labeled(gold, first, second, streams)
    uniform = streams.randint(len(tree.responses), 1, world.n_prompts, world.n_pairs)
    index = torch.cat([chosen, rejected, uniform], dim=-1)
    read, own, logps_of_ref = tree.reader(index), torch.arange(len(ARMS)), of(ref, index).view(*ref.shape[:3], 3, -1)
    betas, etas, anchors = zip(*ARMS.values(), strict=True)
    beta = torch.tensor([world.beta if value is None else value for value in betas], dtype=ref.dtype)[:, None, None]
    coef = beta * torch.tensor([1.0 if eta is None else eta for eta in etas], dtype=ref.dtype)[:, None, None]
    preference = torch.tensor([eta is not None for eta in etas], dtype=ref.dtype)[:, None, None]
    moved = {"rpo", "rpo_strong"} if broken else set()
    names = ["uniform" if arm in moved else anchor for arm, anchor in zip(ARMS, anchors, strict=True)]
    source = torch.tensor([("chosen", "rejected", "uniform").index(name) for name in names])

    def loss(learner: BatchedMLP) -> Tensor:
        logps = read(learner).sum(dim=-1).view_as(logps_of_ref)  # (S, M, X, 3, pairs)
        pairs = [part[..., k, :] for part in (logps, logps_of_ref) for k in (0, 1)]
        anchor = logps[:, own, :, source].transpose(0, 1)  # (S, M, X, pairs)
        terms = coef * anchor_nll(anchor, torch.full_like(anchor, world.length), coef=1.0, reduction="sum")
        return (preference * dpo_loss(*pairs, beta=beta.expand_as(anchor)) + terms).mean(dim=(-2, -1))

    found: dict[str, dict[str, Tensor]] = {"gold": {"reference": mean_gold(ref, gold)[:, 0]}, "kl": {}, "chosen": {}}

    def measure(step: int, learner: BatchedMLP) -> None:
        if step in (world.early, world.steps):
            logps = tree.logps(tree.next_token(learner))
            gains = (of(logps, chosen) - of(ref, chosen)).mean(dim=(2, 3))
            values = (mean_gold(logps, gold), mean_kl(logps, ref), gains)
            arms = list(ARMS) if step == world.steps else ["dpo_early"]
            for metric, value in zip(found, values, strict=True):
                found[metric] |= dict(zip(arms, value.unbind(1), strict=False))

    trained(reference.take([0] * len(ARMS)), loss, steps=world.steps, learning_rate=world.learning_rate, every=measure)
    by_seed = (len(seeds), world.n_worlds)
    return rows({name: {arm: v.view(by_seed).mean(dim=1) for arm, v in table.items()} for name, table in found.items()})


figure = partial(
    plane,
    x=("kl", "KL to the reference (nats)"),
    y=("gold", "gold reward"),
    arms={
        "dpo": "DPO",
        "dpo_early": "DPO, stopped early",
        "dpo_tuned_beta": "DPO, β of 1",
        "rpo": "RPO, η of .05",
        "rpo_strong": "RPO, η of .5",
        "supervised": "supervision on chosen",
        "anchor_rejected": "anchored on rejected",
        "anchor_uniform": "anchored on random responses",
    },
    level=("reference", "gold/reference"),
)
