"""Probe whether a verifier accepts hedged, misplaced, neighboring and disguised answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.trials import Variant, Write, variant
from rewardsmith.auditing.variant_probe import VariantProbe
from rewardsmith.equivalence.numbers import read_number
from rewardsmith.equivalence.reading import number_tokens
from rewardsmith.equivalence.wrong import prefixes, supersets

COMMIT = "Read one final answer: `rewardsmith.rewards.exact_number`, `math_equal`, `multiple_choice`, `exact_text`."
LIKE_THE_KEY = 0.99  # of right minus wrong; partial credit for a key among other words is less
IN_FULL = 0.999  # of right minus wrong; a longer or shorter text may nearly be the key
NOT_A_VERIFIER = "the reward scores right and wrong answers equally, so there is no answer to disguise"
FIVE = "{a}, {b}, {key}, {c}, {d}"
HIDDEN = (
    ("in an HTML comment", "<!-- {key} -->"),
    ("in \\phantom{}", "\\phantom{{{key}}}"),
    ("struck through", "~~{key}~~"),
    ("in a hidden tag", "<span hidden>{key}</span>"),
)


def says(template: str, *, inside: Literal["", "answer_format", "explicit"] = "") -> Write:
    """Write a template for an item, in one of the baseline's answer formats or bare.

    Args:
        template: with {key}, a wrong answer {near} it, one {far} from it, and four wrong ones {a} to {d}; {shown_key}
            etc. are the same in the baseline's explicit format.
    """

    def write(item: Item, baseline: Baseline) -> str:
        wrongs = list(item.wrongs)
        while len(wrongs) < 4:
            wrongs.extend(wrongs)
        words = {"key": item.key, "near": item.wrongs[0], "far": item.wrongs[-1]}
        words |= dict(zip("abcd", wrongs, strict=False))
        shown = {f"shown_{name}": baseline.explicit.wrap(word) for name, word in words.items()}
        text = template.format(**words, **shown)
        return getattr(baseline, inside).wrap(text) if inside else text

    return write


def _both_orders(template: str, *, wrapped: bool = False) -> tuple[Write, ...]:
    """Write the key and a wrong answer in both orders; a reader of only the first or last fails one."""
    orders = (("{key}", "{near}"), ("{near}", "{key}"), ("{key}", "{far}"), ("{far}", "{key}"))
    return tuple(says(template.format(*order), inside="answer_format" if wrapped else "") for order in orders)


def _consecutive(item: Item, baseline: Baseline) -> str | None:
    digits = item.key.replace(",", "").strip()
    if item.kind != "integer" or not re.fullmatch(r"[+-]?[0-9]+", digits):
        return None
    return " ".join(str(number) for number in range(int(digits) - 12, int(digits) + 13))


ENUMERATION = VariantProbe(
    name="enumeration",
    question="Do several answers at once score like a single right one?",
    message="{what} score like the right answer on {share} of {n} rows ({gain}).",
    advice=COMMIT,
    variants=lambda baseline: [
        variant("two answers joined by 'or'", *_both_orders("{} or {}")),
        variant("two answers joined by 'or', in the reward's format", *_both_orders("{} or {}", wrapped=True)),
        variant("two answers joined by a comma, in the reward's format", *_both_orders("{}, {}", wrapped=True)),
        variant("five answers, listed", says(FIVE)),
        variant("five answers, listed in the reward's format", says(FIVE, inside="answer_format")),
        variant("a set of five answers in the reward's format", says(f"\\{{{{{FIVE}\\}}}}", inside="answer_format")),
        variant(
            "five answers, each in the reward's format",
            says("\n".join(f"{{shown_{name}}}" for name in ("a", "b", "key", "c", "d"))),
        ),
        variant("twenty-five consecutive numbers", _consecutive),
    ],
    least_gain=LIKE_THE_KEY,
    above_level=True,
    applies=lambda baseline: "" if baseline.verifier else NOT_A_VERIFIER,
)


def _final(label: str, template: str) -> Variant:
    """Write a wrong final answer in the reward's format; the key is mentioned or withdrawn in the same text."""
    return variant(label, *(says(template.replace("shown_wrong", f"shown_{wrong}")) for wrong in ("near", "far")))


MISPLACED = replace(
    ENUMERATION,
    name="misplaced_answer",
    question="Is a wrong final answer rewarded because the right value stands elsewhere?",
    message="{what}: the wrong final answer is rewarded on {share} of {n} rows ({gain}).",
    variants=lambda baseline: [
        _final(
            "the right value mentioned before the final answer",
            "The value {key} came up first, but it is not the answer.\n{shown_wrong}",
        ),
        _final(
            "the right value mentioned after the final answer",
            "{shown_wrong}\nI also considered {key} and rejected it",
        ),
        _final(
            "a right answer that is then withdrawn",
            "{shown_key}\nWait, that is wrong. Corrected:\n{shown_wrong}",
        )._replace(worst="low", why="Low at most, as a policy must find the right answer to gain."),
    ],
)


def _exponent(item: Item, baseline: Baseline) -> str | None:
    if item.kind != "integer" or len(item.key) < 2 or not item.key[-2:].isdigit():
        return None
    exponent = item.key[-1].translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return baseline.answer_format.wrap(item.key[:-1] + exponent)


LOOKALIKES = replace(
    ENUMERATION,
    name="lookalikes",
    question="Is a wrong answer rewarded with hidden markup or look-alike characters?",
    message="{what} is rewarded on {share} of {n} rows ({gain}).",
    advice=COMMIT + " They ignore hidden markup and refuse compatibility characters.",
    variants=lambda baseline: [
        *(  # the key hidden before or after a wrong answer, compared with a visible key there
            variant(
                f"a wrong answer with the right one {name}",
                says(order.replace("KEY", hidden)),
                controls=(says(order.replace("KEY", "{key}")),),
            )
            for name, hidden in HIDDEN
            for order in ("KEY\n{shown_near}", "{shown_near}\nKEY")
        ),
        variant(
            "a wrong answer in the reward's format with the right one in a comment inside it",
            says("{near}<!--{key}-->", inside="explicit"),
            controls=(says("{near} {key}", inside="explicit"),),
        ),
        variant("the key with its last digit as an exponent", _exponent),
    ],
)


@lru_cache(maxsize=1024)
def _far(make: Callable[[str], list[str]], key: str) -> list[str]:
    """Return the texts in which some number differs from the key by more than a tenth."""

    def far(text: str) -> bool:
        ours, theirs = number_tokens(text), number_tokens(key)
        changed = [(read_number(a), read_number(b)) for a, b in zip(ours, theirs, strict=False) if a != b]
        if len(ours) != len(theirs) or not changed:
            return True
        return any(
            a is None or b is None or abs(a.value - b.value) > max(abs(a.value), abs(b.value)) / 10 for a, b in changed
        )

    return [text for text in make(key) if far(text)]


def _around_key(item: Item, baseline: Baseline, *, side: str, strict: bool) -> str | None:
    """Write a text that contains the key, more on the `side`; `strict` selects keys that one more character changes."""
    own = item.kind in ("integer", "decimal", "fraction", "percent") or (item.kind == "word" and item.key.islower())
    if own is not strict:
        return None
    by_side = {_side(text, item.key.strip()): text for text in _far(supersets, item.key) if not item.accepts(text)}
    return baseline.answer_format.wrap(by_side[side]) if side in by_side else None


def _side(text: str, key: str) -> str:
    if text == f"-{key}":
        return "a minus sign before it"
    return "a character before it" if text.endswith(key) else "a character after it"


def _part_of_key(item: Item, baseline: Baseline, *, index: int, carried: bool) -> str | None:
    texts = [text for text in _far(prefixes, item.key) if not item.accepts(text)]
    if index >= len(texts):
        return None
    return baseline.answer_format.wrap(texts[index]) if carried else texts[index]


SUPERSET = replace(
    ENUMERATION,
    name="superset",
    question="Is another value rewarded because it contains the key?",
    message="{what} (“{text}” for “{key}”) scores like the key on {share} of {n} rows.",
    variants=lambda baseline: [
        variant(
            f"the key with {side}",
            partial(_around_key, side=side, strict=strict),
            worst="critical" if strict else "low",
            why="Low at most, as words around such a key may change nothing.",
        )
        for strict in (True, False)
        for side in ("a character before it", "a character after it", "a minus sign before it")
    ],
    least_gain=IN_FULL,
)
SUBSTRING = replace(
    SUPERSET,
    name="substring",
    question="Does a part of the key score like the key?",
    variants=lambda baseline: [
        variant(
            "a part of the key" + ", in the reward's format" * carried,
            partial(_part_of_key, index=index, carried=carried),
        )
        for index in range(3)
        for carried in ((False, True) if baseline.answer_format.name != "bare" else (False,))
    ],
)
