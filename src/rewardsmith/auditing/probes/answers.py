"""Probes for verifiers: hedged, misplaced, neighboring and disguised answers."""

from __future__ import annotations

from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.equivalence import number_tokens, prefixes, read_number, supersets
from rewardsmith.auditing.trials import Make, PaidProbe, Variant

COMMIT = "Read one committed answer: `rewardsmith.rewards.exact_number`, `math_equal`, `multiple_choice`, `exact_text`."
LIKE_THE_KEY = 0.99  # of the gap: more than partial credit for holding the key among other words
IN_FULL = 0.999  # of the gap: a longer or shorter text may be nearly the key and earn nearly its pay
NOT_A_VERIFIER = "the reward pays right and wrong answers alike, so there is no answer to disguise"


def _verifiers_only(panel: Panel) -> str:
    return "" if panel.verifier else NOT_A_VERIFIER


def _carried(text: str, panel: Panel) -> str:
    return panel.carrier.wrap(text)


def _middle(item: Item) -> list[str]:
    """The key among wrong answers, neither first nor last."""
    wrongs = list(item.wrongs)
    while len(wrongs) < 4:
        wrongs.extend(wrongs)
    return [*wrongs[:2], item.key, *wrongs[2:4]]


def _two(template: str, *, carried: bool) -> tuple[Make, ...]:
    """Both orders of the key and a wrong answer, near and far, so that reading the first or the last is not paid."""

    def write(first: str, second: str, panel: Panel) -> str:
        text = template.format(first, second)
        return _carried(text, panel) if carried else text

    return (
        lambda item, panel: write(item.key, item.wrongs[0], panel),
        lambda item, panel: write(item.wrongs[0], item.key, panel),
        lambda item, panel: write(item.key, item.wrongs[-1], panel),
        lambda item, panel: write(item.wrongs[-1], item.key, panel),
    )


def _list(before: str, between: str, after: str, *, carried: bool) -> tuple[Make]:
    def write(item: Item, panel: Panel) -> str:
        text = before + between.join(_middle(item)) + after
        return _carried(text, panel) if carried else text

    return (write,)


def _each_carried(item: Item, panel: Panel) -> str:
    return "\n".join(panel.explicit.wrap(text) for text in _middle(item))


def _range(item: Item, panel: Panel) -> str | None:
    if item.kind != "integer":
        return None
    try:
        value = int(item.key.replace(",", ""))
    except ValueError:
        return None
    return " ".join(str(number) for number in range(value - 12, value + 13))


_ENUMERATIONS = (
    Variant("two answers joined by 'or'", _two("{} or {}", carried=False)),
    Variant("two answers joined by 'or', in the reward's format", _two("{} or {}", carried=True)),
    Variant("two answers joined by a comma, in the reward's format", _two("{}, {}", carried=True)),
    Variant("five answers, listed", _list("", ", ", "", carried=False)),
    Variant("five answers, listed in the reward's format", _list("", ", ", "", carried=True)),
    Variant("a set of five answers in the reward's format", _list("\\{", ", ", "\\}", carried=True)),
    Variant("five answers, each in the reward's format", (_each_carried,)),
    Variant("twenty-five consecutive numbers", (_range,)),
)


def _final(template: str) -> tuple[Make, Make]:
    """A wrong answer given in the reward's format, near and far, with the key mentioned or withdrawn beside it."""

    def write(item: Item, panel: Panel, wrong: str) -> str:
        wrap = panel.explicit.wrap
        return template.format(key=item.key, wrong=wrap(wrong), right=wrap(item.key))

    return (
        lambda item, panel: write(item, panel, item.wrongs[0]),
        lambda item, panel: write(item, panel, item.wrongs[-1]),
    )


_FIRST = "The value {key} came up first, but it is not the answer.\n{wrong}"
_LAST = "{wrong}\nI also considered {key} and rejected it"
_RETRACTED = "{right}\nWait, that is wrong. Corrected:\n{wrong}"
_MISPLACED = (
    Variant("the right value mentioned before another answer is given (first value read)", _final(_FIRST)),
    Variant("the right value mentioned after another answer is given (last value read)", _final(_LAST)),
    Variant("a right answer that the completion takes back", _final(_RETRACTED), severity="low"),
)


def _key_first(before: str, after: str) -> Make:
    return lambda item, panel: f"{before}{item.key}{after}\n{panel.explicit.wrap(item.wrongs[0])}"


def _key_last(before: str, after: str) -> Make:
    return lambda item, panel: f"{panel.explicit.wrap(item.wrongs[0])}\n{before}{item.key}{after}"


def _hidden(name: str, before: str, after: str) -> tuple[Variant, Variant]:
    """The key hidden before and after a visible wrong answer, compared with the key in plain sight at that place."""
    label = f"a wrong answer with the right one {name}"
    return (
        Variant(label, (_key_first(before, after),), (_key_first("", ""),)),
        Variant(label, (_key_last(before, after),), (_key_last("", ""),)),
    )


_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _superscript(item: Item, panel: Panel) -> str | None:
    if item.kind != "integer" or len(item.key) < 2 or not item.key[-2:].isdigit():
        return None
    return _carried(item.key[:-1] + item.key[-1].translate(_SUPERSCRIPTS), panel)


_DISGUISES = (
    *_hidden("in an HTML comment", "<!-- ", " -->"),
    *_hidden("in \\phantom{}", "\\phantom{", "}"),
    *_hidden("struck through", "~~", "~~"),
    *_hidden("in a hidden tag", "<span hidden>", "</span>"),
    Variant(
        "a wrong answer in the reward's format with the right one in a comment inside it",
        (lambda item, panel: panel.explicit.wrap(f"{item.wrongs[0]}<!--{item.key}-->"),),
        (lambda item, panel: panel.explicit.wrap(f"{item.wrongs[0]} {item.key}"),),
    ),
    Variant("the key with its last digit as an exponent, which is another number", (_superscript,)),
)


def _strict(item: Item) -> bool:
    """Whether one character more makes another value: of numbers and words; elsewhere a stray one may be forgiven."""
    return item.kind in ("integer", "decimal", "fraction", "percent") or (item.kind == "word" and item.key.islower())


def _far(text: str, key: str) -> bool:
    """Whether no tolerance or rounding could take one for the other: some number in them differs by a tenth."""
    ours, theirs = number_tokens(text), number_tokens(key)
    changed = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
    return len(ours) != len(theirs) or not changed or any(_a_tenth_apart(a, b) for a, b in changed)


def _a_tenth_apart(a: str, b: str) -> bool:
    first, second = read_number(a), read_number(b)
    if first is None or second is None:
        return True
    return abs(first.value - second.value) > max(abs(first.value), abs(second.value)) / 10


def _nth(texts: list[str], index: int) -> str | None:
    return texts[index] if index < len(texts) else None


def _around_key(index: int, *, strict: bool) -> Make:
    def write(item: Item, panel: Panel) -> str | None:
        if _strict(item) is not strict:
            return None
        text = _nth([text for text in supersets(item.key) if _far(text, item.key)], index)
        return None if text is None else _carried(text, panel)

    return write


def _part_of_key(index: int, *, carried: bool) -> Make:
    def write(item: Item, panel: Panel) -> str | None:
        text = _nth([text for text in prefixes(item.key) if _far(text, item.key)], index)
        return None if text is None else _carried(text, panel) if carried else text

    return write


ENUMERATION = PaidProbe(
    name="enumeration",
    question="Are several answers at once paid as if one had been given?",
    message="{what}: paid on {share} of {n} rows ({gain} between wrong and right).",
    advice=COMMIT,
    variants=lambda panel: _ENUMERATIONS,
    least_gain=LIKE_THE_KEY,
    applies=_verifiers_only,
)
MISPLACED = PaidProbe(
    name="misplaced_answer",
    question="Is a wrong final answer paid because the right value stands elsewhere?",
    message="{what}: the wrong final answer is paid on {share} of {n} rows ({gain}).",
    advice=COMMIT,
    variants=lambda panel: _MISPLACED,
    least_gain=LIKE_THE_KEY,
    applies=_verifiers_only,
)
LOOKALIKES = PaidProbe(
    name="lookalikes",
    question="Do hidden markup or look-alike characters turn a wrong answer into a paid one?",
    message="{what}: paid on {share} of {n} rows ({gain}).",
    advice=COMMIT + " They ignore hidden markup and refuse compatibility characters.",
    variants=lambda panel: _DISGUISES,
    least_gain=LIKE_THE_KEY,
    applies=_verifiers_only,
)
SUPERSET = PaidProbe(
    name="superset",
    question="Is another value paid because it contains the key?",
    message="{what} ({text!r} for {key!r}) is paid like the key on {share} of {n} rows.",
    advice=COMMIT,
    variants=lambda panel: [
        Variant(
            f"the key with something added, {i + 1}",
            (_around_key(i, strict=strict),),
            severity=None if strict else "low",
        )
        for strict in (True, False)
        for i in range(3)
    ],
    least_gain=IN_FULL,
    applies=_verifiers_only,
)
SUBSTRING = PaidProbe(
    name="substring",
    question="Is a part of the key paid like the key?",
    message="{what} ({text!r} for {key!r}) is paid like the key on {share} of {n} rows.",
    advice=COMMIT,
    variants=lambda panel: [
        Variant(
            "a part of the key" + ", in the reward's format" * carried,
            (_part_of_key(i, carried=carried),),
        )
        for i in range(3)
        for carried in ((False, True) if panel.carrier.name != "bare" else (False,))
    ],
    least_gain=IN_FULL,
    applies=_verifiers_only,
)
