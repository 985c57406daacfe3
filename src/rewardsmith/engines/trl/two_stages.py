"""Two-stage training of a reward model, first on ratings, then on preferences, as in HelpSteer2-Preference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from transformers import AutoModelForSequenceClassification

from rewardsmith.data import PreferenceRow, RatedRow
from rewardsmith.engines.trl.fit import RewardFit, fit_reward_model
from rewardsmith.engines.trl.rating_trainer import merge_attributes
from rewardsmith.engines.trl.reading import ready


def fit_two_stages(
    ratings: Sequence[RatedRow],
    pairs: Sequence[PreferenceRow],
    model: str | Path,
    out: str | Path,
    *,
    weights: Mapping[str, float] | None = None,
    first: RewardFit | None = None,
    second: RewardFit | None = None,
) -> Path:
    """Train by regression on ratings, continue by scaled Bradley-Terry on pairs, and save to `out`.

    Wang et al. 2024, arXiv:2410.01257. The same call resumes an interrupted training. `out/regression` keeps the first
    stage, which `rewards.extrapolate` (ExPO) needs. After the second, scores are no longer in the unit of ratings.

    Args:
        weights: attribute → weight in the head that the second stage starts from; helpfulness alone if None, which is
            the paper's best. Only these are fit.
        first: settings of the regression.
        second: settings on pairs; by default the first's at half the learning rate, weighted by strength.

    Raises:
        ValueError: no row has a rating of these attributes, or a folder holds another model.
    """
    weights = {"helpfulness": 1.0} if weights is None else weights
    first, out = first or RewardFit(), Path(out)
    second = second or replace(first, strength="weight", learning_rate=first.learning_rate / 2)
    rated = [replace(row, ratings={a: r for a, r in row.ratings.items() if a in weights}) for row in ratings]
    rated = [row for row in rated if row.ratings]
    if not rated:
        raise ValueError(f"fit_two_stages: no row has a rating of {', '.join(weights)}. Pass weights of others.")
    regression = fit_reward_model(rated, model, out / "regression", first)
    if list(weights.values()) == [1.0]:
        return fit_reward_model(pairs, regression, out, second)
    start, trust = out / "start", first.trust_remote_code
    regressor, tokenizer = ready(str(regression), None, AutoModelForSequenceClassification, trust_remote_code=trust)
    merge_attributes(regressor, weights).save_pretrained(start)
    tokenizer.save_pretrained(start)
    return fit_reward_model(pairs, start, out, second)
