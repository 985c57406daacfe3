"""Students of extrapolated logits gain on the DPO model; so does more DPO, and sharpening its logits gains more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import plane
from rewardsmith.atlas.page import rows
from rewardsmith.objectives import dpo_loss, extrapolated_logits, token_kl, tv_strength
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
    LowerBound("gold/student", over="gold/dpo", above=0.15),
    # The simple control, at the student's KL: no reverse model, no student.
    PairedGain("gold/sharpened", over="gold/student", at_least=0.0),
)


@dataclass(frozen=True, slots=True)
class World:
    """Prompts with 256 responses, a reference fitted to fair text, and labeled pairs of its responses."""

    n_prompts: int = 6  # prompts
    length: int = 4  # tokens of a response
    gold_sd: float = 1.5  # standard deviation of gold over responses
    tilt: float = 0.5  # the reference's text is drawn in proportion to exp(tilt · gold)
    n_texts: int = 120  # such texts per prompt
    n_pairs: int = 150  # labeled pairs per prompt
    n_test: int = 400  # fresh pairs per prompt, for the accuracy of rewards
    width: int = 64  # of both hidden layers
    beta: float = 0.5  # β₁ of DPO
    dpo_steps: int = 60  # of Adam, for the DPO model and the reverse one
    longer: int = 210  # of Adam, for the DPO model with the student's steps on top
    learning_rate: float = 1e-3  # of Adam, for DPO; three times that for reference and student
    alpha: float = 1.5  # α of the constant strength, and k of the adaptive one
    steps: int = 75  # of Adam, for students
    n_drawn: int = 10  # responses per prompt and step
    fast_rate: float = 1e-2  # of Adam, for the two arms that are compared after ten steps


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Train DPO models on pairs as labeled and swapped, then students of teachers that extrapolate from them."""
    tree, streams = PrefixTree(world.n_prompts, 4, world.length), Streams(seeds)
    gold = additive_gold(tree, streams, sd=world.gold_sd).sum(dim=-1)
    start, fast = tree.policy(streams, width=world.width), 3 * world.learning_rate
    texts = drawn((world.tilt * gold).log_softmax(dim=-1), world.n_texts, streams)
    reference = supervised(tree, start, texts, steps=120, learning_rate=fast)
    plain = table_of(tree, reference)
    ref = tree.logps(plain)
    pairs = labeled(gold, drawn(ref, world.n_pairs, streams), drawn(ref, world.n_pairs, streams), streams)
    dpo = partial(trained_by_dpo, tree, reference, beta=world.beta, learning_rate=world.learning_rate)
    models = [dpo(*pairs, steps=world.dpo_steps), dpo(*reversed(pairs), steps=world.dpo_steps)]
    z, negative = (table_of(tree, model) for model in (reversed(models) if broken else models))
    even = torch.full_like(z[..., 0], world.alpha)
    settings = {  # the negative model, and α at every prefix
        "student": (negative, even),
        "student_reference": (plain, 2 * even),
        "student_adaptive": (negative, tv_strength(z, negative, k=world.alpha)),
        "student_adaptive_15": (negative, tv_strength(z, negative)),
    }
    teachers = {arm: extrapolated_logits(z, *setting) for arm, setting in settings.items()}
    weights = torch.cat([1 / alpha for _, alpha in settings.values()], dim=1)
    weights = weights / weights.mean(dim=(-2, -1), keepdim=True)
    distill = partial(distillation, tree, streams, world.n_drawn)
    students = trained(
        reference.take([0] * len(settings)),
        partial(distill, torch.cat(list(teachers.values()), dim=1), weights),
        steps=world.steps,
        learning_rate=fast,
    )
    arms = {"reference": plain, "dpo": table_of(tree, models[0])}
    arms |= dict(zip(settings, table_of(tree, students)[:, :, None].unbind(dim=1), strict=True))
    arms["dpo_longer"] = table_of(tree, dpo(*pairs, steps=world.longer))
    arms["decoded"] = teachers["student"].log_softmax(dim=-1)
    arms["sharpened"] = sharpened(tree, arms["dpo"], ref, mean_kl(tree.logps(arms["student"]), ref))
    found: dict[str, dict[str, Tensor]] = {"gold": {}, "kl": {}, "step_10": {}, "accuracy": {}}
    for arm, table in arms.items():
        logps = tree.logps(table)
        found["gold"][arm], found["kl"][arm] = mean_gold(logps, gold)[:, 0], mean_kl(logps, ref)[:, 0]

    positive, ratio = tree.logps(z), world.alpha * (tree.logps(z) - tree.logps(negative))
    quick: dict[str, Callable[[BatchedMLP], Tensor]] = {
        "distillation": partial(distill, teachers["student"], torch.ones_like(even)),
        "reinforce": partial(reinforce, tree, streams, world.n_drawn, ratio + positive),
    }
    for arm, loss in quick.items():
        policy = trained(reference, loss, steps=10, learning_rate=world.fast_rate)
        found["step_10"][arm] = mean_gold(tree.logps(table_of(tree, policy)), gold)[:, 0]
    tests = [drawn(ref, world.n_test, streams) for _ in range(2)]
    better = of(gold, tests[0]) > of(gold, tests[1])
    for arm, over in (("dpo_reward", ref), ("contrastive_reward", tree.logps(negative))):
        ranked = of(positive - over, tests[0]) > of(positive - over, tests[1])
        found["accuracy"][arm] = (ranked == better).double().mean(dim=(1, 2, 3))
    return rows(found)


@torch.no_grad()
def table_of(tree: PrefixTree, policy: BatchedMLP) -> Tensor:
    """Return (S, M, X, K, V) log-probabilities of next tokens, in double precision."""
    return tree.next_token(policy).double()


def trained_by_dpo(
    tree: PrefixTree,
    reference: BatchedMLP,
    chosen: Tensor,
    rejected: Tensor,
    *,
    beta: float,
    steps: int,
    learning_rate: float,
) -> BatchedMLP:
    """Train a copy of the reference by direct preference optimization on pairs (S, 1, X, n)."""
    read = tree.reader(torch.cat([chosen, rejected], dim=-1))
    with torch.no_grad():
        before = read(reference).sum(dim=-1).chunk(2, dim=-1)

    def loss(policy: BatchedMLP) -> Tensor:
        return dpo_loss(*read(policy).sum(dim=-1).chunk(2, dim=-1), *before, beta=beta).mean(dim=(-2, -1))

    return trained(reference, loss, steps=steps, learning_rate=learning_rate)


def distillation(
    tree: PrefixTree, streams: Streams, n: int, teacher: Tensor, weight: Tensor, policy: BatchedMLP
) -> Tensor:
    """Return (S, M) mean KL of students to the teacher's logits (S, M, X, K, V) at prefixes of their own responses.

    weight: (S, M, X, K).
    """
    table = tree.next_token(policy)
    with torch.no_grad():
        index = drawn(tree.logps(table), n, streams)
    at = tree.prefixes[index].flatten(3)  # (S, M, X, n · T)
    cells = at[..., None].expand(*at.shape, tree.n_tokens)
    student, target = (one.gather(3, cells) for one in (table, teacher))
    return token_kl(student, target, torch.ones_like(at, dtype=torch.bool), weight=weight.gather(3, at)).mean(dim=-1)


def reinforce(tree: PrefixTree, streams: Streams, n: int, scores: Tensor, policy: BatchedMLP) -> Tensor:
    """Return (S, M) losses of REINFORCE on score − log π, per token, with the mean of a prompt as baseline.

    scores: (S, M, X, N) log-probabilities of the DPO model plus α times its log-ratio.
    """
    logps = tree.logps(tree.next_token(policy))
    with torch.no_grad():
        index = drawn(logps, n, streams)
        rewards = of(scores - logps, index)
    return -((rewards - rewards.mean(dim=-1, keepdim=True)) * of(logps, index)).mean(dim=(-2, -1)) / tree.length


def sharpened(tree: PrefixTree, table: Tensor, ref: Tensor, kl: Tensor) -> Tensor:
    """Return log-softmax(k · log-probabilities), with the k ≥ 1 per seed at which the KL from `ref` is `kl` (S, 1)."""
    low, high = torch.ones_like(kl), torch.full_like(kl, 50.0)
    for _ in range(40):
        middle = (low + high) / 2
        found = (middle[..., None, None, None] * table).log_softmax(dim=-1)
        too_far = mean_kl(tree.logps(found), ref) > kl
        low, high = torch.where(too_far, low, middle), torch.where(too_far, middle, high)
    return found


figure = partial(
    plane,
    x=("kl", "KL from the reference (nats)"),
    y=("gold", "gold"),
    arms={
        "reference": "reference",
        "dpo": "DPO",
        "student": "student",
        "student_reference": "student, no reverse model",
        "student_adaptive": "student, α by token, k = 1.5",
        "student_adaptive_15": "student, α by token, k = 15",
        "dpo_longer": "DPO, more steps",
        "decoded": "the teacher's logits",
        "sharpened": "DPO, lower temperature",
    },
    level=None,
)
