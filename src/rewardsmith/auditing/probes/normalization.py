"""Probe whether a verifier accepts wrong values that lie one step of normalization from the key."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.probes.disguises import ENUMERATION, IN_FULL
from rewardsmith.auditing.trials import variant
from rewardsmith.equivalence.wrong import STEPS, slips

_slips = lru_cache(maxsize=1024)(slips)
OPEN_CASE = "Low at most, as the case of a variable may have no meaning."


def _slip(item: Item, baseline: Baseline, *, step: str) -> str | None:
    text = _slips(item.key).get(step)
    return None if text is None or item.accepts(text) else baseline.answer_format.wrap(text)


NORMALIZATION = replace(
    ENUMERATION,
    name="normalization",
    question="Are wrong values refused that lie one step of normalization from the key?",
    message="{what} (“{text}” for “{key}”) scores like the key on {share} of {n} rows.",
    variants=lambda baseline: [
        variant(
            f"the key {step}",
            partial(_slip, step=step),
            worst="low" if "case" in step else "critical",
            why=OPEN_CASE if "case" in step else "",
        )
        for step in STEPS
    ],
    least_gain=IN_FULL,
    turns=4,
)
