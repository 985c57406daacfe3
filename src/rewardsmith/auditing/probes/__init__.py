"""Every question the audit asks, in the order in which it asks them."""

from __future__ import annotations

from rewardsmith.auditing.asking import Probe
from rewardsmith.auditing.probes import conduct, content_free, disguises, keys, length, rollouts, tone

PAID = (
    content_free.EMPTY,
    content_free.PUNCTUATION,
    content_free.OPENER_ALONE,
    content_free.ODD_INPUT,
    content_free.PROMPT_COPY,
    disguises.ENUMERATION,
    disguises.MISPLACED,
    disguises.LOOKALIKES,
    disguises.SUPERSET,
    disguises.SUBSTRING,
    length.LENGTH,
    tone.CONFIDENT,
    tone.GRADER,
)


PROBES: tuple[Probe, ...] = (
    Probe("answer_key", "Is the answer key itself accepted?", keys.answer_key),
    Probe("equivalent_forms", "Are other spellings of the right value accepted?", keys.equivalent_spellings),
    Probe("near_miss", "Are wrong values near the key refused?", keys.near_miss),
    Probe("constant_answer", "Is one and the same answer refused on most prompts?", keys.constant_answer),
    Probe("other_answer", "Are answers to other prompts refused?", keys.other_answer),
    Probe("format_shell", "Is a format with nothing in it paid?", content_free.format_shell),
    *(Probe(probe.name, probe.question, probe) for probe in PAID),
    Probe("failures", "Does every completion, however odd, get a finite reward or none?", conduct.odd_completions),
    Probe("determinism", "Does the same row get the same reward again?", conduct.determinism),
    Probe("batch_dependence", "Does a row's reward depend on its row alone?", conduct.batch_dependence),
    Probe("mutation", "Are the inputs left as they were?", conduct.mutation),
    Probe("saturation", "Which range do honest answers span?", conduct.saturation),
    Probe("latency", "How long does a row take?", conduct.latency),
    Probe(
        "rollouts",
        "What do the given completions say: groups, length, sources, gold labels, stated confidence?",
        rollouts.rollouts,
    ),
)
N_QUESTIONS = 160
"""Variants over all probes, roundly: what the error level is divided by, so that a clean reward stays clean."""
