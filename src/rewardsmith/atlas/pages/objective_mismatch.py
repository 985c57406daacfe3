"""Read annotators' labels where they go against the style that annotators like: plain accuracy hides a shared bias."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtMost, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import objective_mismatch_report
from rewardsmith.measures.associations import correlation
from rewardsmith.measures.downstream import optimized_gold
from rewardsmith.worlds import Streams
from rewardsmith.worlds.reward_zoo import Responses, RewardZoo, recipes, scored

CRITERION = All(
    AtMost("r/annotators", 0.25),
    PairedGain("r/gold_labels", over="r/annotators", at_least=0.5),
    PairedGain("r/against_the_bias", over="r/annotators", at_least=0.4),
)
Array = NDArray[np.float64]
LINK = "reward model → evaluation"


@dataclass(frozen=True, slots=True)
class World:
    """Reward models trained and validated on labels of annotators who like a style, and policies that optimize them."""

    n_models: int = 30  # reward models
    least_pairs: float = 1.8  # log10 of their training pairs, at least
    most_pairs: float = 3.3  # at most
    least_style: float = 0.0  # weight of style in their training labels, at least
    most_style: float = 2.0  # at most
    style_weight: float = 1.5  # of the annotators of the validation pairs
    n_validation: int = 1000  # pairs
    n_prompts: int = 200  # of the policy
    n_candidates: int = 64  # per prompt
    kl: float = 1.0  # nats, of the tilted policy


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Correlate several accuracies of the models with the gold that their policies reach."""
    streams = Streams([seed])
    zoo = RewardZoo(streams)
    own = recipes(streams, world.n_models, log_pairs=(world.least_pairs, world.most_pairs), flips=(0.0,), style_sd=0.0)
    weight = world.least_style + (world.most_style - world.least_style) * streams.rand(world.n_models)[0]
    models = zoo.trained(own._replace(style_weight=0 * weight if broken else weight))
    pool = zoo.responses(world.n_prompts, world.n_candidates)
    scores = scored(models, pool)
    pairs = zoo.responses(world.n_validation, 2)
    first = zoo.labels(pairs, torch.tensor([0.0 if broken else world.style_weight]).double())[0]
    found = accuracies(pairs, first, scored(models, pairs)) | {"training_pairs": own.n_pairs.log().numpy()}
    on_policy = scores[..., :2].diff(dim=-1) < 0  # of the first two samples of each prompt
    found["on_policy_gold"] = (on_policy == (pool.gold[:, :2].diff(dim=-1) < 0)).double().mean(dim=(1, 2)).numpy()
    gold = optimized_gold(scores.numpy(), pool.gold.numpy(), kl=world.kl).tilted
    standard = (scores - scores.mean(dim=(1, 2), keepdim=True)) / scores.std(dim=(1, 2), keepdim=True)
    proxy = np.array([optimized_gold(own[None], own, kl=world.kl).tilted[0] for own in standard.numpy()])
    names = {"annotators": "rm_val_acc", "gold_labels": "rm_gold_acc", "on_policy_gold": "rm_onpolicy_acc"}
    columns = {names.get(arm, arm): values for arm, values in found.items()} | {"proxy_gain": proxy, "gold_gain": gold}
    systems = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    report = objective_mismatch_report(systems)
    results = {arm: [report.links[LINK][f"{name} → gold_gain"].pearson.value] for arm, name in names.items()}
    others = {arm: [float(correlation(values, gold))] for arm, values in found.items() if arm not in names}
    reached = report.links["policy → evaluation"]["proxy_gain → gold_gain"].pearson.value
    picked = {arm: [float(gold[values.argmax()])] for arm, values in found.items()}
    found |= {"proxy_reached": proxy}
    spread = {"least": [float(gold.min())], "mean": [float(gold.mean())], "most": [float(gold.max())]}
    level = {arm: [float(values.mean())] for arm, values in found.items()}
    correlations = {"r": results | others | {"proxy_reached": [reached]}}
    return rows(correlations | {"picked": picked, "gold": spread, "level": level})[0]


def accuracies(pairs: Responses, first: Tensor, scores: Tensor) -> dict[str, Array]:
    """Return (M,) accuracies on pairs (n, 2) by annotators' labels and by gold, and one minus the lean to a style.

    Args:
        first: (n,) whether the annotators prefer the first response.
        scores: (M, n, 2) of the models.
    """
    margin, style = scores[..., 0] - scores[..., 1], pairs.style[:, 0] - pairs.style[:, 1]
    hits, against, matched = ((margin > 0) == first).double(), (style < 0) == first, style.abs() < 0.5
    both = torch.stack([hits[:, against].mean(dim=1), hits[:, ~against].mean(dim=1)])
    found = {
        "annotators": hits.mean(dim=1),
        "gold_labels": ((margin > 0) == (pairs.gold[:, 0] > pairs.gold[:, 1])).double().mean(dim=1),
        "against_the_bias": both[0],
        "matched_in_style": hits[:, matched].mean(dim=1),
        "both_sides": both.mean(dim=0),
    }
    lean = np.abs(correlation(margin.numpy(), style[None].numpy()))
    return {arm: values.numpy() for arm, values in found.items()} | {"style_probe": 1 - lean}


figure = partial(
    dots,
    series={"r": "r/{}"},
    rows={
        "annotators": "annotators' labels",
        "against_the_bias": "… against the style",
        "both_sides": "… mean of both sides",
        "matched_in_style": "… of one style",
        "style_probe": "1 − r with style",
        "gold_labels": "gold labels",
        "on_policy_gold": "… of the policy's pairs",
        "proxy_reached": "reward reached",
    },
    label="r with gold after optimization, over 30 reward models",
)
