"""Read what the answers of a panel are written with: their tokens, forms, and the phrases that many of them share."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.data import split_sentences, text_of

SHARED = 0.03  # of the prompts have a phrase in an answer that counts as shared, and at least
FEWEST_SHARING = 5  # prompts
MOST_PHRASES = 8
LONGEST_OPENER = 8  # words
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


class Phrases:
    """The answers' own language: text that a reward trained on such answers has met.

    A small model is moved at random by tokens it never saw, which says nothing of what it was taught to like.
    """

    def __init__(self, panel: PairPanel) -> None:
        self.answers = [(row.key, text_of(text)) for row in panel.rows for text in (row.chosen, row.rejected)]
        self.tokens = {token for _, text in self.answers for token in _TOKEN.findall(text)} | {" "}
        self.longest = max((len(text.split()) for _, text in self.answers), default=0)
        self.least = max(FEWEST_SHARING, SHARED * len({key for key, _ in self.answers}))

    def holds(self, text: str) -> bool:
        """Whether every token of `text` stands in some answer."""
        return all(token in self.tokens for token in _TOKEN.findall(text))

    def has(self, form: str) -> bool:
        """Whether the regular expression is found in answers to enough prompts."""
        pattern = re.compile(form, re.MULTILINE)
        return len({key for key, text in self.answers if pattern.search(text)}) >= self.least

    def sentences(self) -> list[str]:
        """The sentences of three words or more that answers to most prompts share, most frequent first.

        None with a digit: it may be what another prompt asks for.
        """
        shared = self._shared(split_sentences)
        return [text for text in shared if len(text.split()) > 2 and not re.search(r"\d", text)][:MOST_PHRASES]

    def openers(self) -> list[str]:
        """What answers to many prompts begin with and then go on from in many ways, most frequent first.

        A beginning is whole where at least three words follow it in the data, none in more than half of the answers:
        "Let me think about this." is, "Let me" is not.
        """

        def beginnings(text: str) -> list[str]:
            words = text.split()
            return [" ".join(words[:n]) for n in range(1, min(len(words), LONGEST_OPENER + 1))]

        answers, whole = [text.split() for _, text in self.answers], []
        for opener in self._shared(beginnings):
            own = opener.split()
            follows = [words[len(own)] for words in answers if len(words) > len(own) and words[: len(own)] == own]
            counts = Counter(follows)
            if len(counts) >= 3 and max(counts.values()) <= len(follows) / 2:
                whole.append(opener)
        return [text for text in whole if not re.search(r"\d", text)][:MOST_PHRASES]

    def _shared(self, pieces: Callable[[str], Iterable[str]]) -> list[str]:
        prompts: dict[str, set[str]] = defaultdict(set)
        for key, text in self.answers:
            for piece in pieces(text):
                prompts[piece].add(key)
        known = [piece for piece, keys in prompts.items() if len(keys) >= self.least]
        return sorted(known, key=lambda piece: (-len(prompts[piece]), piece))
