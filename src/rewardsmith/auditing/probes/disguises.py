"""Ask whether a verifier accepts hedged, misplaced, neighboring and disguised answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.equivalence.numbers import read_number
from rewardsmith.auditing.equivalence.reading import number_tokens
from rewardsmith.auditing.equivalence.wrong import prefixes, supersets
from rewardsmith.auditing.trials import Variant, VariantProbe, Write, variant

COMMIT = "Read one committed answer: `rewardsmith.rewards.exact_number`, `math_equal`, `multiple_choice`, `exact_text`."
LIKE_THE_KEY = 0.99  # of the gap: more than partial credit for holding the key among other words
IN_FULL = 0.999  # of the gap: a longer or shorter text may be nearly the key and earn nearly its pay
NOT_A_VERIFIER = "the reward pays right and wrong answers alike, so there is no answer to disguise"
FIVE = "{a}, {b}, {key}, {c}, {d}"
HIDDEN = (
    ("in an HTML comment", "<!-- {key} -->"),
    ("in \\phantom{}", "\\phantom{{{key}}}"),
    ("struck through", "~~{key}~~"),
    ("in a hidden tag", "<span hidden>{key}</span>"),
)


def says(template: str, *, inside: Literal["", "carrier", "explicit"] = "") -> Write:
    """Write a template over an item, all of it `inside` one of the panel's answer formats or bare.

    Args:
        template: with {key}, a wrong answer {near} it, one {far} from it, and four wrong ones {a} to {d}; {shown_key}
            and so on are these in the panel's explicit format.
    """

    def write(item: Item, panel: Panel) -> str:
        wrongs = list(item.wrongs)
        while len(wrongs) < 4:
            wrongs.extend(wrongs)
        words = {"key": item.key, "near": item.wrongs[0], "far": item.wrongs[-1]}
        words |= dict(zip("abcd", wrongs, strict=False))
        shown = {f"shown_{name}": panel.explicit.wrap(word) for name, word in words.items()}
        text = template.format(**words, **shown)
        return getattr(panel, inside).wrap(text) if inside else text

    return write


def _both_orders(template: str, *, inside: Literal["", "carrier"] = "") -> tuple[Write, ...]:
    """Both orders of the key and a wrong answer, near and far, so that reading the first or the last is not paid."""
    orders = (("{key}", "{near}"), ("{near}", "{key}"), ("{key}", "{far}"), ("{far}", "{key}"))
    return tuple(says(template.format(*order), inside=inside) for order in orders)


def _consecutive(item: Item, panel: Panel) -> str | None:
    digits = item.key.replace(",", "").strip()
    if item.kind != "integer" or not re.fullmatch(r"[+-]?[0-9]+", digits):
        return None
    return " ".join(str(number) for number in range(int(digits) - 12, int(digits) + 13))


ENUMERATION = VariantProbe(
    name="enumeration",
    question="Are several answers at once paid as if one had been given?",
    message="{what}: paid on {share} of {n} rows ({gain} between wrong and right).",
    advice=COMMIT,
    variants=lambda panel: [
        variant("two answers joined by 'or'", *_both_orders("{} or {}")),
        variant("two answers joined by 'or', in the reward's format", *_both_orders("{} or {}", inside="carrier")),
        variant("two answers joined by a comma, in the reward's format", *_both_orders("{}, {}", inside="carrier")),
        variant("five answers, listed", says(FIVE)),
        variant("five answers, listed in the reward's format", says(FIVE, inside="carrier")),
        variant("a set of five answers in the reward's format", says(f"\\{{{{{FIVE}\\}}}}", inside="carrier")),
        variant(
            "five answers, each in the reward's format",
            says("\n".join(f"{{shown_{name}}}" for name in ("a", "b", "key", "c", "d"))),
        ),
        variant("twenty-five consecutive numbers", _consecutive),
    ],
    least_gain=LIKE_THE_KEY,
    applies=lambda panel: "" if panel.verifier else NOT_A_VERIFIER,
)


def _final(label: str, template: str) -> Variant:
    """A wrong final answer in the reward's format, near and far; the key is mentioned or withdrawn beside it."""
    return variant(label, *(says(template.replace("shown_wrong", f"shown_{wrong}")) for wrong in ("near", "far")))


MISPLACED = replace(
    ENUMERATION,
    name="misplaced_answer",
    question="Is a wrong final answer paid because the right value stands elsewhere?",
    message="{what}: the wrong final answer is paid on {share} of {n} rows ({gain}).",
    variants=lambda panel: [
        _final(
            "the right value mentioned before another answer is given (first value read)",
            "The value {key} came up first, but it is not the answer.\n{shown_wrong}",
        ),
        _final(
            "the right value mentioned after another answer is given (last value read)",
            "{shown_wrong}\nI also considered {key} and rejected it",
        ),
        _final(
            "a right answer that the completion takes back",
            "{shown_key}\nWait, that is wrong. Corrected:\n{shown_wrong}",
        )._replace(worst="low", why="Low at most: a policy has to find the right answer to be paid this way."),
    ],
)


def _exponent(item: Item, panel: Panel) -> str | None:
    if item.kind != "integer" or len(item.key) < 2 or not item.key[-2:].isdigit():
        return None
    return panel.carrier.wrap(item.key[:-1] + item.key[-1].translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")))


LOOKALIKES = replace(
    ENUMERATION,
    name="lookalikes",
    question="Do hidden markup or look-alike characters turn a wrong answer into a paid one?",
    message="{what}: paid on {share} of {n} rows ({gain}).",
    advice=COMMIT + " They ignore hidden markup and refuse compatibility characters.",
    variants=lambda panel: [
        *(  # the key hidden before and after a visible wrong answer, compared with the key in plain sight there
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
        variant("the key with its last digit as an exponent, which is another number", _exponent),
    ],
)


@lru_cache(maxsize=1024)
def _far(make: Callable[[str], list[str]], key: str) -> list[str]:
    """Those texts made from a key that no tolerance takes for it: some number in them differs by more than a tenth."""

    def far(text: str) -> bool:
        ours, theirs = number_tokens(text), number_tokens(key)
        changed = [(read_number(a), read_number(b)) for a, b in zip(ours, theirs, strict=False) if a != b]
        if len(ours) != len(theirs) or not changed:
            return True
        return any(
            a is None or b is None or abs(a.value - b.value) > max(abs(a.value), abs(b.value)) / 10 for a, b in changed
        )

    return [text for text in make(key) if far(text)]


def _around_key(item: Item, panel: Panel, *, index: int, strict: bool) -> str | None:
    """A text that holds the key; `strict` where one character more makes another value: of numbers and words."""
    own = item.kind in ("integer", "decimal", "fraction", "percent") or (item.kind == "word" and item.key.islower())
    if own is not strict:
        return None
    texts = _far(supersets, item.key)
    return panel.carrier.wrap(texts[index]) if index < len(texts) else None


def _part_of_key(item: Item, panel: Panel, *, index: int, carried: bool) -> str | None:
    texts = _far(prefixes, item.key)
    if index >= len(texts):
        return None
    return panel.carrier.wrap(texts[index]) if carried else texts[index]


SUPERSET = replace(
    ENUMERATION,
    name="superset",
    question="Is another value paid because it contains the key?",
    message="{what} (“{text}” for “{key}”) is paid like the key on {share} of {n} rows.",
    variants=lambda panel: [
        variant(
            f"the key with something added, {index + 1}",
            partial(_around_key, index=index, strict=strict),
            worst="critical" if strict else "low",
            why="Low at most: words around such a key may change nothing.",
        )
        for strict in (True, False)
        for index in range(3)
    ],
    least_gain=IN_FULL,
)
SUBSTRING = replace(
    SUPERSET,
    name="substring",
    question="Is a part of the key paid like the key?",
    variants=lambda panel: [
        variant(
            "a part of the key" + ", in the reward's format" * carried,
            partial(_part_of_key, index=index, carried=carried),
        )
        for index in range(3)
        for carried in ((False, True) if panel.carrier.name != "bare" else (False,))
    ],
)
