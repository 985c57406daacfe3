"""Where demonstrations are biased, preferences teach what sharpening cannot, and a judge that may abstain errs less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import conformal_sets, member_uncertainty
from rewardsmith.objectives import bt_loss, preference_margin, soft_label_dpo_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("gold_at_kl/dpo", over="gold_at_kl/demos", at_least=0.1),
    PairedGain("gold_at_kl/dpo", over="gold_at_kl/chosen", at_least=0.05),
    PairedGain("accuracy/decided", over="accuracy/all", at_least=0.03),
)


@dataclass(frozen=True, slots=True)
class World:
    """Contexts with 40 responses, demonstrations with a bias, and labeled pairs from a model of these."""

    n_features: int = 12  # of a context
    n_responses: int = 40  # per context
    utility: float = 1.4  # standard deviation of gold over contexts and responses
    bias: float = 1.0  # size of what demonstrators prefer beside gold, in units of gold
    demo_slope: float = 0.8  # of the demonstrators' log-odds by gold plus bias
    n_demos: int = 2000  # demonstrations
    n_pairs: int = 2000  # labeled pairs, one per prompt
    label_scale: float = 2.0  # of the labels' log-odds by gold
    width: int = 64  # of the hidden layer of policies and reward models
    steps: int = 400  # of Adam, batch 128; twice as many for the first policy
    beta: float = 0.2  # β of DPO
    kl: float = 1.0  # nats from the first policy at which arms are compared
    members: int = 5  # of the ensemble
    n_calibration: int = 4000  # labeled pairs for the conformal threshold
    n_test: int = 8000  # fresh contexts, one pair each
    alpha: float = 0.1  # share of sets that may miss the label


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure gold by DPO and by imitation at DPO's KL, and the accuracy of pairs that are decided."""
    streams, (d, n) = Streams(seeds), (world.n_features, world.n_responses)
    of_gold, of_bias = (streams.randn(1, d, n) * world.utility / d**0.5 for _ in range(2))
    sizes = (d, world.width, n)

    x = streams.randn(1, world.n_demos, d)
    shown = (world.demo_slope * x @ (of_gold + world.bias * of_bias)).softmax(dim=-1)
    demos = sample_index(shown, streams.rand(1, world.n_demos))  # (S, 1, N)
    ref = BatchedMLP(sizes, lead=(len(seeds), 1), streams=streams)
    fit(ref, lambda m, i: -logps(m, at(x, i), at(demos, i)), world.n_demos, streams, 2 * world.steps)

    def labeled(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return contexts, and pairs from the first policy with the better by label first and by gold first or not."""
        context = streams.randn(1, count, d)
        with torch.no_grad():
            drawn = sample_index(
                ref(context).softmax(-1)[..., None, :].expand(-1, -1, -1, 2, -1), streams.rand(1, count, 2)
            )
        margin = (context @ of_gold).gather(-1, drawn) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
        odds = torch.zeros_like(margin) if broken else world.label_scale * margin
        won = streams.rand(1, count) < odds.sigmoid()
        return context, torch.where(won[..., None], drawn, drawn.flip(-1)), torch.where(won, margin, -margin)

    context, pair, _ = labeled(world.n_pairs)
    chosen, rejected = pair.unbind(-1)
    imitator, policy = ref.take([0]), ref.take([0])
    fit(imitator, lambda m, i: -logps(m, at(context, i), at(chosen, i)), world.n_pairs, streams, world.steps)

    def dpo(m: BatchedMLP, i: Tensor) -> Tensor:
        both = [(logps(one, at(context, i), at(side, i))) for one in (m, ref) for side in (chosen, rejected)]
        return soft_label_dpo_loss(
            preference_margin(both[0], both[1], both[2].detach(), both[3].detach(), beta=world.beta), 1.0
        )

    fit(policy, dpo, world.n_pairs, streams, world.steps)
    models = BatchedMLP(sizes, lead=(len(seeds), world.members + 1), streams=streams)
    again = streams.randint(world.n_pairs, world.members, world.n_pairs)  # bootstrap; the last model has all pairs
    again = torch.cat([again, torch.arange(world.n_pairs).expand(len(seeds), 1, -1)], dim=1)

    def preference(m: BatchedMLP, i: Tensor) -> Tensor:
        own = again.gather(-1, i.expand(-1, world.members + 1, -1))
        scores = m(at(context, own))
        return bt_loss(*(scores.gather(-1, at(side, own)[..., None]).squeeze(-1) for side in (chosen, rejected)))

    fit(models, preference, world.n_pairs, streams, world.steps)
    with torch.no_grad():
        x = streams.randn(1, world.n_test, d)
        table = policies((ref, imitator, policy), models(x)[:, -1:], x, x @ of_gold, kl=world.kl)
        margins = []
        for count in (world.n_calibration, world.n_test):
            fresh, pairs, truth = labeled(count)
            scores = models(fresh)
            sides = (scores.gather(-1, pairs[..., k, None].expand(*scores.shape[:-1], 1)).squeeze(-1) for k in (0, 1))
            margins.append((next(sides) - next(sides), truth[:, 0], streams.rand(1, count)[:, 0] < 0.5))
    return rows({**table, **judged(margins, world)})


def fit(models: BatchedMLP, loss: Callable[[BatchedMLP, Tensor], Tensor], n: int, streams: Streams, steps: int) -> None:
    """Take steps of Adam on a loss (S, M, B) of models and of the (S, 1, B) rows that a step draws."""
    for _ in adam_steps(models.parameters(), steps, learning_rate=3e-3):
        loss(models, streams.randint(n, 1, 128)).mean(dim=-1).sum().backward()  # type: ignore[no-untyped-call]


def at(values: Tensor, index: Tensor) -> Tensor:
    """Return rows (S, M, B, ...) of values (S, 1, N, ...) at an index (S, M, B)."""
    values = values.expand(-1, index.shape[1], *values.shape[2:])
    if values.dim() == 3:
        return values.gather(2, index)
    return values.gather(2, index[..., None].expand(*index.shape, values.shape[-1]))


def logps(models: BatchedMLP, x: Tensor, response: Tensor) -> Tensor:
    """Return log-probabilities (S, 1, B) of responses."""
    found: Tensor = models(x).log_softmax(dim=-1)
    return found.gather(-1, response[..., None]).squeeze(-1)


def sharpened(logits: Tensor, slope: Tensor, ref: Tensor, kl: Tensor) -> Tensor:
    """Return log-probabilities of softmax(logits + t · slope) at which the KL from `ref` is (S,) `kl`, by bisection."""
    low, high = torch.zeros_like(kl), torch.full_like(kl, 50.0)
    for _ in range(40):
        middle = (low + high) / 2
        tilted = (logits + middle[:, None, None, None] * slope).log_softmax(dim=-1)
        below = divergence(tilted, ref) < kl
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (logits + low[:, None, None, None] * slope).log_softmax(dim=-1)


def divergence(now: Tensor, ref: Tensor) -> Tensor:
    """Return (S,) mean over contexts of KL(now ‖ ref)."""
    return (now.exp() * (now - ref)).sum(dim=-1).mean(dim=(1, 2))


def policies(
    models: Sequence[BatchedMLP], reward: Tensor, x: Tensor, gold: Tensor, *, kl: float
) -> dict[str, dict[str, Tensor]]:
    """Return gold of each policy as trained, at its best answers alone, and at one KL from the first policy.

    At that KL imitation is sharpened, and the first policy is tilted by a reward model or toward DPO.
    """
    first, copied, dpo = (one(x).log_softmax(dim=-1) for one in models)
    trained = {"demos": first, "chosen": copied, "dpo": dpo}
    slopes = {
        "demos": (first, first),
        "chosen": (copied, copied),
        "dpo": (first, dpo - first),
        "reward": (first, reward),
    }
    equal = {arm: sharpened(*pair, first, torch.full((len(x),), kl).double()) for arm, pair in slopes.items()}
    greedy = {arm: gold.gather(-1, p.argmax(-1, keepdim=True)).mean(dim=(1, 2, 3)) for arm, p in trained.items()}
    tables = {"gold": trained, "gold_at_kl": equal}
    means = {name: {arm: (p.exp() * gold).sum(-1).mean((1, 2)) for arm, p in of.items()} for name, of in tables.items()}
    return means | {"gold_greedy": greedy, "kl": {arm: divergence(p, first) for arm, p in trained.items()}}


def judged(margins: Sequence[tuple[Tensor, Tensor, Tensor]], world: World) -> dict[str, dict[str, list[float]]]:
    """Return coverage, and the accuracy by gold of pairs that conformal sets or one model's confidence decide.

    margins: of calibration and test pairs, models' (S, M, B) margins of the labeled winner, its margin in gold and
        whether to show the pair turned around.
    """
    found: dict[str, dict[str, list[float]]] = {"accuracy": {}, "share": {}}
    for seed in range(len(margins[0][0])):
        sides = []
        for margin, truth, turned in margins:
            sign = 1 - 2 * turned[seed].double()
            sides.append((margin[seed] * sign, truth[seed] * sign, (~turned[seed]).double().numpy()))
        p, test_p = (member_uncertainty(side[0][:-1].T.numpy()).mean for side in sides)
        sets = conformal_sets(test_p, calibration_p=p, calibration_first_won=sides[0][2], alpha=world.alpha)
        margin, truth, won = sides[1]
        right, own = torch.as_tensor(test_p > 0.5) == (truth > 0), (margin[-1] > 0) == (truth > 0)
        decided = torch.as_tensor(sets.decides)
        sure = margin[-1].abs().argsort(descending=True)[: int(decided.sum())]  # one model, as many answers
        row = {
            "accuracy": {"all": right, "decided": right[decided], "one_model": own[sure], "one_model_all": own},
            "share": {"decided": decided, "covered": torch.tensor([sets.coverage(won).value])},
        }
        for metric, arms in row.items():
            for arm, hits in arms.items():
                found[metric].setdefault(arm, []).append(float(hits.double().mean()))
    return found


figure = partial(
    dots,
    series={"at its own temperature": "gold/{}", "at one KL": "gold_at_kl/{}", "best answers alone": "gold_greedy/{}"},
    rows={"demos": "demonstrations", "chosen": "chosen answers", "dpo": "DPO", "reward": "reward model"},
    label="gold reward",
)
