"""Collect the tokens, patterns and shared phrases of a baseline's answers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.data import split_sentences, text_of

SHARED = 0.03  # share of prompts from which a phrase counts as shared
FEWEST_SHARING = 5  # prompts, likewise
MOST_PHRASES = 8
LONGEST_OPENER = 8  # words
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


class Phrases:
    """Tokens and phrases of the rows' answers, which a reward trained on such answers has seen.

    Unseen tokens move a small model at random, which is no evidence of a learned bias.
    """

    def __init__(self, baseline: PairBaseline) -> None:
        self.answers = [(row.key, text_of(text)) for row in baseline.rows for text in (row.chosen, row.rejected)]
        self.tokens = {token for _, text in self.answers for token in _TOKEN.findall(text)} | {" "}
        self.longest = max((len(text.split()) for _, text in self.answers), default=0)
        self.least = max(FEWEST_SHARING, SHARED * len({key for key, _ in self.answers}))

    def holds(self, text: str) -> bool:
        """Return whether every token of `text` occurs in some answer."""
        return all(token in self.tokens for token in _TOKEN.findall(text))

    def has(self, form: str) -> bool:
        """Return whether a regular expression matches answers to enough prompts."""
        pattern = re.compile(form, re.MULTILINE)
        return len({key for key, text in self.answers if pattern.search(text)}) >= self.least

    def sentences(self) -> list[str]:
        """Return sentences of three words or more that answers to many prompts share, most frequent first.

        Sentences with a digit are left out, as they may answer another prompt.
        """
        shared = self._shared(split_sentences)
        return [text for text in shared if len(text.split()) > 2 and not re.search(r"\d", text)][:MOST_PHRASES]

    def openers(self) -> list[str]:
        """Return beginnings shared by answers to many prompts and continued in many ways, most frequent first.

        At least three different words must follow it, none in more than half of the answers. So "Let me think about
        this." counts, and "Let me" does not.
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
