"""Stated confidence: parse it, remove it from a text, and write it into preference pairs.

A statement is `<confidence>0.8</confidence>` or `Confidence: 0.8`, in any case, also in brackets or bold. On a scale of
10 the same is `8` or `8/10`, on a scale of 100 `80` or `80%`. `Confidence level: 8`, `Confidence (0-10): 8` and
`Confidence: 0.8 (80%)` are read too. `Confidence: eight`, `about 80%`, `70 to 80%` and `very high` are statements
without a readable number: they count as unusable, and are removed like the others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from rewardsmith._check import check_choice
from rewardsmith.types import Message, Text

if TYPE_CHECKING:
    import torch

ConfidenceScale = Literal[1, 10, 100, "stated"]
"""The number for certainty: 1, 10 or 100; or "stated", where 9/10 and 90% state it themselves and 0.9 is out of 1."""

CONFIDENCE_TEMPLATES = (
    "\n\nConfidence: {k}",
    "\nConfidence: {k}/10",
    " Confidence: {k}.",
    " (Confidence: {k} out of 10)",
    "\n\n**Confidence:** {k}",
    "\n[confidence: {k}/10]",
    "\nCONFIDENCE: {k}",
    "\n<confidence>{k}</confidence>",
)
"""Phrasings of a confidence k on the scale of 10, to append to a text."""


_UNIT = r"(?: \s*(?:/|out\ of)\s*(?:\d[\d.]*|ten|a\ hundred|one\ hundred) | \s*(?:[%％]|percent\b|per\ cent\b) )?"
_NUMBER = rf"(?: [-+]?\.?\d | [-+]?(?:nan|inf)\b ) [^\s<>()\[\]*（）]* {_UNIT}"
_SPELLED = r"""(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve
    |(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|point)"""
_WORDS = rf"{_SPELLED} (?: [\s-]+ {_SPELLED} ){{0,8}} (?![\w-]) {_UNIT}"
_LEVEL = r"""(?: (?:very|extremely|quite|fairly|somewhat|rather|pretty|moderately|absolutely)[\s-]+ ){0,2}
    (?:high|low|medium|moderate|middling|certain|uncertain|sure|unsure|confident|strong|weak|full|complete|absolute|total
    |none) (?![\w-])"""
_ROUGHLY = r"(?: (?: ~ | ≈ | about\ | around\ | approximately\ | roughly\ | over\ | at\ least\ ) \s* )?"
_AMOUNT = rf"(?: {_ROUGHLY} (?: {_NUMBER} (?: \s*(?:-|–|to)\s* {_NUMBER} )? | {_WORDS} ) | {_LEVEL} )"


def _phrase(group: str) -> str:
    """Return a pattern for `Confidence: 8`, bold or not; the group is its value, readable as a number or not."""
    return rf"""(?<![\w-]) \*{{0,3}}confidence (?: \s+(?:level|score|rating|estimate) )? \*{{0,3}}
        (?: \s*[(\[（] [^()\[\]（）\n]{{0,20}} [\d%] [^()\[\]（）\n]{{0,20}} [)\]）] \*{{0,3}} )?
        \s*[:=：＝]\*{{0,3}} \s*\*{{0,3}}
        (?P<{group}> {_AMOUNT} )
        \*{{0,3}} (?: \s*[(\[（]\s* {_AMOUNT} \s*[)\]）] )? \*{{0,3}} [.,;:!?。]?"""


_TAG = r"<confidence> (?P<inside> (?: (?!</?confidence>) . )* ) </confidence>"
_UNCLOSED = r"<confidence> (?: \s*[-+]?[0-9.]+%? )?"
_STATEMENT = re.compile(
    rf"{_TAG} | {_UNCLOSED} | [(\[（]\s* {_phrase('bracketed')} \s*[)\]）] | {_phrase('plain')}",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_VALUE = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:\s*(?:(?P<percent>%)|(?:/|out of)\s*(?P<top>[0-9]{1,4})))?[.,;:!?]*",
    re.IGNORECASE,
)


def parse_confidence(text: str, *, scale: ConfidenceScale = 1) -> float | None:
    """Return the confidence that `text` states, in [0, 1]; None if there is none that can be read.

    The last statement decides, even if it is unusable: out of range, no number, an unclosed tag, or a unit that `scale`
    does not allow. Damani et al. 2025, arXiv:2507.16806 (scale 1); Leng et al. 2024, arXiv:2410.09724 (scale 10).

    Differs: the code of Leng et al. takes the first match and clips it.

    >>> parse_confidence("<confidence>0.2</confidence> No: <confidence>0.9</confidence>")
    0.9
    >>> [parse_confidence(text) for text in ("Confidence: 8", "Confidence: 80%", "Confidence: 9/10")]
    [None, None, None]
    >>> parse_confidence("It is 4. Confidence: 8", scale=10), parse_confidence("Confidence: 80%", scale="stated")
    (0.8, 0.8)
    """
    check_choice("parse_confidence", "scale", scale, get_args(ConfidenceScale))
    last = None
    for last in _STATEMENT.finditer(text):  # noqa: B007
        pass
    said = last and (last["inside"] or last["bracketed"] or last["plain"])
    value = _VALUE.fullmatch(said.strip()) if said else None
    if value is None:
        return None
    own = 100 if value["percent"] else int(value["top"]) if value["top"] else None
    if scale != "stated" and own is not None and own != scale:
        return None
    top = (own if own is not None else 1) if scale == "stated" else scale
    number = float(value["number"])
    return number / top if 0 <= number <= top and top else None


@overload
def strip_confidence(text: str) -> str: ...
@overload
def strip_confidence(text: list[Message]) -> list[Message]: ...
def strip_confidence(text: Text) -> Text:
    """Remove all statements of confidence from `text`, with the blanks around each.

    Between two remaining parts, the blanks before the statement (else those after it) are kept. A text without a
    statement is unchanged. If a removal creates a new statement, it is removed too. In a list of messages, those of the
    user and the system stay as they are.

    >>> strip_confidence("It is 4.\\n\\nConfidence: 8"), strip_confidence("It is 4. (confidence: 0.8) Done. ")
    ('It is 4.', 'It is 4. Done. ')
    """
    if isinstance(text, str):
        before = None
        while text != before:
            before, kept, end = text, [], 0
            for match in _STATEMENT.finditer(text):
                kept.append(text[end : match.start()])
                end = match.end()
            rest = [*kept[1:], text[end:]] if kept else []
            text = kept[0] if kept else text
            for part in rest:
                left, right = text.rstrip(), part.lstrip()
                blanks = text[len(left) :] or part[: len(part) - len(right)]
                text = left + blanks + right if left and right else left + right
        return text
    return [
        message if message.get("role") in ("user", "system") else {**message, "content": _content(message["content"])}
        for message in text
    ]


def _content(content: Any) -> Any:
    """Return a message's content without statements: a string, or the text parts of a multimodal list."""
    if isinstance(content, str):
        return strip_confidence(content)
    if not isinstance(content, list):
        return content
    return [{**part, "text": strip_confidence(part["text"])} if "text" in part else part for part in content]


@dataclass(frozen=True)
class ConfidenceAugment:
    """Preference pairs that teach a reward model to prefer confidence on good answers only.

        chosen + high ≻ chosen + low,    rejected + low ≻ rejected + high,    and the unchanged chosen ≻ rejected

    Leng et al. 2024, arXiv:2410.09724 (PPO-M; CDPO is DPO on the same pairs). Call it on records with `chosen` and
    `rejected`, strings or lists of messages as in TRL, and pass the result to `trl.RewardTrainer` (PPO-M) or
    `trl.DPOTrainer` (CDPO with coefficient 1; repeat records for other weights). Both texts of a pair share their
    phrasing, so a confidence pair differs in its number only; each record draws a new phrasing.

    Differs: `plain` is on. The paper's default loss has no chosen-against-rejected term, so the model forgets quality.

    high, low: closed ranges of k, on the scale of 10.
    templates: phrasings, each with `{k}`, that `strip_confidence` can remove again.
    plain: whether to keep the pair itself, without any confidence.
    cross: whether to add chosen + high ≻ rejected + low.
    """

    high: tuple[int, int] = (7, 10)
    low: tuple[int, int] = (0, 3)
    templates: Sequence[str] = CONFIDENCE_TEMPLATES
    plain: bool = True
    cross: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low[0] <= self.low[1] < self.high[0] <= self.high[1] <= 10:
            raise ValueError(
                f"ConfidenceAugment: low={self.low} and high={self.high} must be ranges within 0 to 10, with low "
                "below high. Pass them as (least, most)."
            )
        readable = [t for t in self.templates if parse_confidence(t.replace("{k}", "7"), scale=10) == 0.7]
        unread = [
            t for t in self.templates if t not in readable or strip_confidence("a" + t.replace("{k}", "7")) != "a"
        ]
        if unread or not self.templates:
            raise ValueError(
                f"ConfidenceAugment: templates {unread} are not read as confidence {{k}}, or not removed completely. "
                "Give at least one, such as ' Confidence: {k}'."
            )

    def __call__(
        self, records: Iterable[Mapping[str, Any]], *, generator: random.Random | torch.Generator
    ) -> list[dict[str, Any]]:
        """Return two to four records per record, in the order of the equation, with every other column kept.

        >>> one = ConfidenceAugment(high=(9, 9), low=(1, 1), templates=(" Confidence: {k}",))
        >>> one([{"chosen": "4", "rejected": "5"}], generator=random.Random(0))[1]
        {'chosen': '5 Confidence: 1', 'rejected': '5 Confidence: 9'}
        """
        expanded = []
        for record in records:
            chosen, rejected = strip_confidence(record["chosen"]), strip_confidence(record["rejected"])
            template = self.templates[_draw(generator, 0, len(self.templates) - 1)]
            chosen_high, chosen_low, rejected_high, rejected_low = (
                _appended(text, template.replace("{k}", str(_draw(generator, *levels))))
                for text in (chosen, rejected)
                for levels in (self.high, self.low)
            )
            pairs = [(chosen_high, chosen_low), (rejected_low, rejected_high)]
            pairs += [(chosen, rejected)] if self.plain else []
            pairs += [(chosen_high, rejected_low)] if self.cross else []
            expanded += [{**record, "chosen": better, "rejected": worse} for better, worse in pairs]
        return expanded


def _draw(generator: random.Random | torch.Generator, low: int, high: int) -> int:
    """Draw a whole number from low to high, both included."""
    if isinstance(generator, random.Random):
        return generator.randint(low, high)
    from rewardsmith._torch import torch

    return int(torch.randint(low, high + 1, (), generator=generator))


def _appended(text: Text, statement: str) -> Text:
    """Append the statement to `text`; in a list of messages, to the last one."""
    if isinstance(text, str):
        return text + statement
    *earlier, last = text
    content = last["content"]
    if isinstance(content, list):
        return [*earlier, {**last, "content": [*content, {"type": "text", "text": statement}]}]
    return [*earlier, {**last, "content": f"{content}{statement}"}]
