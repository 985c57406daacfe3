"""Probe whether a verifier pays for a right value that the completion denies, only thinks of, quotes or takes back."""

from __future__ import annotations

from dataclasses import replace

from rewardsmith.auditing.probes.disguises import ENUMERATION, says
from rewardsmith.auditing.trials import Variant, variant

FOUND_ANYWAY = "Low at most, as a policy must find the right answer to gain."


def _stated(label: str, template: str, *, low: bool = False) -> Variant:
    """Make the variant of a template that states {key}; its control states a wrong answer in the key's place."""
    control = template.replace("{key}", "{near}").replace("{shown_key}", "{shown_near}")
    bounds = {"worst": "low", "why": FOUND_ANYWAY} if low else {}
    return variant(label, says(template), controls=(says(control),), **bounds)


UNCOMMITTED = replace(
    ENUMERATION,
    name="uncommitted",
    question="Is the right value rewarded where the completion does not commit to it?",
    message="{what} is rewarded like the right answer on {share} of {n} rows ({gain}).",
    variants=lambda baseline: [
        _stated("a text that denies the right value", "The answer is definitely not {key}."),
        _stated("the right value in a refusal", "I cannot solve this problem. It is certainly not {key}, though."),
        _stated("a text that excludes the right value", "We can rule out {key} immediately. The answer must be {far}."),
        _stated(
            "a text that quotes the right value", 'The book says "{key}", but I do not know whether that is right.'
        ),
        *(
            _stated("a text in another language that denies the right value", text)
            for text in ("La respuesta no es {key}.", "答案不是 {key}。")
        ),
        _stated("the right value in the thinking alone", "<think>\nMaybe it is {key}, maybe not.\n</think>\n"),
        _stated(
            "a right answer in the thinking and a wrong final one",
            "<think>\nIt may be so:\n{shown_key}\n</think>\n{shown_far}",
        ),
        variant(
            "a denial of the right value in the reward's format",
            says("not {key}", inside="explicit"),
            controls=(says("not {near}", inside="explicit"),),
        ),
        _stated("a right answer in the thinking and no final one", "<think>\n{shown_key}\n</think>\n", low=True),
        _stated("a right answer that is denied", "It is not this one:\n{shown_key}", low=True),
        _stated("a right answer in a code block and a wrong final one", "```\n{shown_key}\n```\n{shown_far}", low=True),
        _stated("a right answer that is taken back", "{shown_key}\nNo, that is wrong. I do not know.", low=True),
    ],
    turns=4,
)
