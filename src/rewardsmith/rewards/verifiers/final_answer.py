"""Find the answer that a completion commits to: one rule for all verifiers of a reference answer."""

from __future__ import annotations

import re

from rewardsmith.data.rows import without_end_tokens
from rewardsmith.rewards.thinking import after_thinking
from rewardsmith.rewards.verifiers.numerals import read_quantity, same_quantity
from rewardsmith.rewards.verifiers.spelling import closing

HIDDEN = "\ufffc"
"""Replaces hidden text, so that the text before and after it stays separate."""
MAX_WHOLE = 500
"""A longer completion is not "only the answer"."""
MAX_SHOWN = 200_000
"""A longer text after the thinking holds no answer."""

_HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)|~~.*?(?:~~|\Z)|\\iffalse.*?(?:\\fi(?![a-z])|\Z)|\\begin\{comment\}.*?(?:\\end\{comment\}|\Z)"
    r"|<(?P<tag>s|del|strike|script|style|template)\b[^<>]{0,80}>.*?(?:</(?P=tag)>|\Z)"
    r"|<(?P<any>[a-z]{1,10})\b[^<>]{0,80}(?:hidden|display\s*:\s*none|opacity\s*:\s*0|font-size\s*:\s*0)[^<>]{0,80}>"
    r".*?(?:</(?P=any)>|\Z)|^[ \t]*%[^\n]*",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_STRUCK = re.compile(r"\\(?:[hv]?phantom|[bx]?cancel|sout|st|xout|smash|llap|rlap)(?![a-zA-Z])\s{0,4}\{")
_INVISIBLE_INK = re.compile(
    r"\\(?:text|page)?color\s*(?:\[[^\]]{0,20}\])?\s*\{?\s*(?:white|transparent|#?f{3,6})\b", re.I
)
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])[ \t]{0,4}")
_CHANGED_BEFORE = re.compile(r"(?:[-+−/^0-9]|\^\{|\\(?:sqrt|[dt]?frac|times|cdot|div) ?\{?)\Z")
_CHANGED_AFTER = re.compile(
    r"[!/^{0-9]|_[{\w]|[ ~]?\\?%|\s?\\(?:times|cdot|div)(?![a-z])|[ ~](?:thousand|million|billion|trillion|percent)\b"
)
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_HASHES = re.compile(r"^[ \t]{0,3}####(?!#)[ \t]*([^\n]*)$", re.MULTILINE)
_BARE_BOX = re.compile(r"[ \t]{0,4}(-?\$?[0-9](?:[0-9.,/]{0,40}[0-9])?|[A-Za-z](?![A-Za-z]))")
_IN_LATIN = (
    r"(?:(?:so|thus|therefore|hence|por lo tanto|entonces|así que|donc|ainsi|also|somit|daher|portanto|logo|assim"
    r"|итак|таким образом)[, ] ?)?"
    r"(?:(?:(?:the|my|our) )?(?:(?:(?:final|correct|best|right) )?answer|(?:correct|best|right) (?:option|choice))"
    r" ?(?:\*\*|__)?(?: is\b ?:?|[:=])"
    r"|(?:la )?respuesta(?: final| correcta)?(?:\*\*)?(?: es\b ?:?| ?[:=])"
    r"|(?:la )?réponse(?: finale| correcte)?(?:\*\*)?(?: est\b ?:?|[ \u00a0]?[:=])"
    r"|(?:die )?(?:endgültige |richtige )?(?:antwort|lösung)(?:\*\*)?(?: (?:ist|lautet)\b ?:?| ?[:=])"
    r"|(?:a )?resposta(?: final| correta)?(?:\*\*)?(?: é\b ?:?| ?[:=])"
    r"|(?:la )?risposta(?: finale| corretta)?(?:\*\*)?(?: è\b ?:?| ?[:=])"
    r"|(?:đáp án|câu trả lời)(?: đúng)?(?:\*\*)?(?: là\b ?:?| ?[:=])"
    r"|(?:правильный |окончательный )?ответ(?:\*\*)?(?: ?[:=—–]))"
)
_IN_CHINESE = (
    r"(?:所以|因此|故|于是|综上所述|综上)?[，, ]?(?:最终|最后|正确)?的?答案\*{0,2}"
    r"(?:(?:是|为|為|就是)\*{0,2}[ ：:]?|[ ]?[：:])"
    r"|(?:したがって|よって|ゆえに)?[、，, ]?(?:最終的な|最終|正しい)?の?(?:答え|解答|答)(?:は、?|[ ]?[：:])"
    r"|(?:따라서|그러므로)?[, ]?(?:정답|답)(?:은|[ ]?[：:])"
)
_WORDS = rf"(?:{_IN_LATIN}|{_IN_CHINESE})(?:(?:\*\*|__)(?=[ \t\n]|$))?[ \t]{{0,4}}"
_PHRASE = re.compile(
    rf"(?:^[ \t*_#>-]{{0,8}}|(?<=[.!?] )(?:\*\*)?){_WORDS}"
    rf"|^[ \t]{{0,3}}#{{1,4}} (?:final )?answer[ \t]*$|(?<=[。！？；，])(?:{_IN_CHINESE})[ \t]{{0,4}}",
    re.IGNORECASE | re.MULTILINE,
)
_LEADING_PHRASE = re.compile(rf"[*_ ]{{0,4}}{_WORDS}", re.IGNORECASE)
_VERB = r"(?:is|are|equals|gives|yields|gets?|has|have|obtain|find|makes?|costs?|leaves|becomes|totals|=)"
_SENTENCE = re.compile(
    rf"[*_>\s-]{{0,8}}(?P<subject>[A-Za-z][^\n]{{0,240}}?[\s,)$])??(?P<verb>{_VERB})\s{{1,4}}"
    r"(?:exactly |equal to |a total of )?(?P<value>\$[^$\n]{1,80}\$|[-+−$€£]{0,2}[0-9.\\][^\n*]{0,60}?)"
    r"(?: in total| in all| altogether)?[.!]?\s*",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:not|never|no|if|unless|or|either|neither|maybe|perhaps|possibly|probably|might|may|could|would|should|cannot"
    r"|doubt|guess|think|believe|assume|suppose|suspect|approximately|about|around|roughly|nearly|almost|between|instead"
    r"|(?:at|more|less|greater|fewer|other|rather) (?:least|most|than)|wrong|incorrect|mistake|actually|wait|but"
    r"|however|likely|unsure|false|say|says|said|claims?|let|try|check|step|first|next|second|remains|given|previous"
    r"|another|find (?:x|the)|denominator|numerator|factor)\b|n't|[?]",
    re.IGNORECASE,
)
_LEFT = re.compile(r"(?:^|(?:so|[a-z]{3,})[,:]?\s)\s*\$?([a-z]|[0-9 +\-−–×*·/().^]*[0-9)])\s*$", re.IGNORECASE)
_STATED = re.compile(rf"(?<![A-Za-z]){_VERB}\s{{1,4}}[*$\\(]{{0,3}}[-−]?[0-9]", re.IGNORECASE)
_FONT = re.compile(r"\\(?:boxed|fbox|text|textbf|textit|mathrm|mathbf|mbox|displaystyle)[ \t]{0,4}(?=\{)")
_FENCES = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("__", "__"), ("`", "`"), ("*", "*"))
_BEFORE_BOX = re.compile(r"[$*\s]*(?:[A-Za-z]\w{0,3} ?= ?)?[$*\s]*(?:\\\(|\\\[)?\s*\\(?:boxed|fbox)(?![a-zA-Z])")


def final_answer(text: str, *, sentences: bool = False) -> str | None:  # noqa: PLR0911
    """Return the one answer that `text` commits to, unwrapped, or None where it commits to none.

    Only the text after the thinking counts (`thinking.after_thinking`), without what a reader cannot see (comments,
    struck or white text) and without tokens that end the turn, such as `<|im_end|>`. A commitment is the content of
    `\\boxed{…}`, of `<answer>…</answer>`, of a line `#### …`, or the rest of the last line after "the (final) answer
    is" or "answer:". Cues in Chinese, Japanese, Spanish, French, German, Portuguese and Russian count like the English
    ones. Without any of these, and if `sentences`, the number or formula at the end of a plain last sentence such as
    "So we get 42." counts; a sentence that doubts, denies or states another number is none. Last, a completion of one
    line is itself the answer. Other values in the text do not count.

    Two different commitments are no answer, whichever comes last: a reader could not know which is meant, and a policy
    would learn to list its guesses. The same answer twice is fine. The content is not interpreted here: "12 or 13" is
    returned as it is, and a verifier of one number refuses it.

    >>> final_answer("<think>11?</think> The answer is $12$."), final_answer(r"\\boxed{12} or \\boxed{13}")
    ('12', None)
    """
    shown = section(text)
    if shown is None:
        return None
    slots, position = [], 0
    while match := _BOX.search(shown, position):
        end = closing(shown, match.end())
        if end is None:
            bare = _BARE_BOX.match(shown, match.end())
            if bare is None:  # it is malformed, as a tag may be
                return None
            slots.append(bare[1])
            position = bare.end()
            continue
        if _CHANGED_BEFORE.search(shown, max(0, match.start() - 12), match.start()) or _CHANGED_AFTER.match(
            shown, end + 1
        ):
            return None  # a reader sees -15 or 15%, and not what is in the box
        slots.append(shown[match.end() + 1 : end])
        position = end
    opened = None
    for tag in _TAG.finditer(shown):
        if bool(tag[1]) != (opened is not None):
            return None
        if opened is not None:
            slots.append(shown[opened : tag.start()])
        opened = None if tag[1] else tag.end()
    if opened is not None:
        return None
    slots += _lines(shown)
    if not slots:
        whole = shown.strip()
        stated = _stated(whole) if sentences else None
        if stated is not None:
            return stated
        return unwrap(whole) or None if len(whole) <= MAX_WHOLE and "\n" not in whole else None
    answers = [unwrap(slot) for slot in slots]
    return answers[-1] if all(_same(answers[0], other) for other in answers) and answers[-1] else None


def section(text: str) -> str | None:
    """Return the text that a reader sees after the thinking and before the tokens that end the turn.

    None where the thinking never ends or white text is used.
    """
    shown = after_thinking(without_end_tokens(text))
    if shown is None or len(shown) > MAX_SHOWN:
        return None
    shown = _HIDDEN.sub(HIDDEN, shown)
    parts, position = [], 0
    while match := _STRUCK.search(shown, position):
        end = closing(shown, match.end() - 1)
        parts += [shown[position : match.start()], HIDDEN]
        position = len(shown) if end is None else end + 1
    shown = "".join([*parts, shown[position:]])
    return None if _INVISIBLE_INK.search(shown) else shown


def unwrap(slot: str) -> str:
    """Strip what only surrounds an answer from `slot`: math and bold marks, `\\boxed`, `\\text`, a phrase, a period."""
    for _ in range(8):
        before, slot = slot, _unwrap_once(slot.strip())
        if slot == before:
            break
    return slot


def _unwrap_once(slot: str) -> str:
    lead = _LEADING_PHRASE.match(slot)
    if lead:
        return slot[lead.end() :]
    for left, right in _FENCES:
        inner = slot[len(left) : -len(right)]
        bare = inner.replace(r"\$", "")
        if slot.startswith(left) and slot.endswith(right) and bare and left not in bare and right not in bare:
            return inner
    font = _FONT.match(slot)
    if font and closing(slot, font.end()) == len(slot) - 1:
        return slot[font.end() + 1 : -1]
    tags = list(_TAG.finditer(slot))
    if len(tags) == 2 and tags[0].start() == 0 and tags[1].end() == len(slot):
        return slot[tags[0].end() : tags[1].start()]
    if slot.endswith("**") and slot.count("**") == 1:  # the end of a bold line, without its phrase
        return slot[:-2]
    slot = re.sub(r"\s*I hope it is correct\.?$", "", slot)
    slot = slot.removesuffix("。").removesuffix("です").removesuffix("입니다").removesuffix("，")
    return slot[:-1] if slot.endswith((".", ",")) and not slot.endswith(("..", "\\,")) else slot


def _stated(shown: str) -> str | None:
    """Return the value that the last sentence states as the result, or None."""
    line = shown.rpartition("\n")[2].strip()
    if len(line) > MAX_WHOLE:
        return None
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z*$\\])", line)[-1]
    sentence = re.sub(r"(?<![\w)])\*\*([^*\n]{1,60})\*\*(?!\w)", r"\1", sentence)
    match = _SENTENCE.fullmatch(re.sub(r"\\\(\s?|\s?\\\)", "$", sentence))
    if match is None or _HEDGE.search(sentence) or len(_STATED.findall(sentence)) > 1:
        return None
    value = unwrap(match["value"])
    plain = match["value"][0] not in "$\\"
    if not value or (plain and read_quantity(value) is None):
        return None
    if match["verb"] != "=":
        return value
    left = _LEFT.search(match["subject"] or "")  # a variable, or numbers; x + y = 12 sets none
    return f"{left[1]} = {value}" if left else None


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    quantity, second = read_quantity(one), read_quantity(other)
    return quantity is not None and second is not None and same_quantity(quantity, second)


def _lines(shown: str) -> list[str]:
    """Return the commitments of hash lines and answer phrases; those above the last line must look like a value."""
    last = len(shown.rstrip().rpartition("\n")[0])
    slots = [m[1] for m in _HASHES.finditer(shown) if m.end() > last or _looks_like_a_value(m[1], words=False)]
    phrases = list(_PHRASE.finditer(shown))
    ends = [*(phrase.start() for phrase in phrases), len(shown)][1:]
    for phrase, following in zip(phrases, ends, strict=True):
        newline = shown.find("\n", phrase.end())
        end = len(shown) if newline < 0 else newline
        clause = shown[phrase.end() : min(end, following)]
        if not clause.strip("*_ \t"):  # "Answer:" above its value
            rest = shown[end:].strip()
            below = shown[end:following].strip().partition("\n")[0]
            if end > last or (rest and "\n" not in rest):
                slots.append(rest)
            elif _looks_like_a_value(below, words=False):
                slots.append(below)
        elif not _BEFORE_BOX.match(clause) and (end > last or _looks_like_a_value(clause, words=True)):
            slots.append(clause)
    return slots


def _looks_like_a_value(clause: str, *, words: bool) -> bool:
    tokens = unwrap(clause).split()
    if not tokens or len(tokens) > 3:
        return False
    return tokens[0][0] in "0123456789+-−.$\\(" or (len(tokens) == 1 and (words or len(tokens[0]) == 1))
