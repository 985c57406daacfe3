"""Rewards without preferences: length, variety, and relevance to the question or to a reference (R³).

Kim & Seo 2024, arXiv:2402.03469: length · relevance · variety for open questions, and closeness to the reference ·
variety for closed ones. `transforms.product` and `transforms.branched` combine them. One alone is exploited: length by
filler, relevance by an echo of the question, both by a repeated phrase.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith._check import check_choice
from rewardsmith.data import completion_text, text_of
from rewardsmith.data.contrast import Embed, embeddings, unit_embeddings
from rewardsmith.data.keys import read_key
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STOP = r"<\|[^|<>]*\|>|</s>|\n\s*(?:Human|User|Assistant|System)\s*:|###\s*(?:Human|User|Instruction|Assistant)"
"""A regular expression of what begins another turn, which a policy writes to seem longer or to be praised."""
HASHED = 2048


def own_turn(completion: Completion, stop: str = STOP) -> str:
    """Return the completion's text up to the first marker of another turn.

    >>> own_turn("So 4.\\nUser: Thanks!")
    'So 4.'
    """
    return re.split(stop, completion_text(completion), maxsplit=1)[0]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())


def length_incentive(
    completions: list[Completion], *, unit: float = 100.0, most: int | None = None, **columns: Any
) -> list[float]:
    """Return each completion's words and punctuation marks, divided by `unit`.

    Without `most`, the number of words from which length adds nothing, a policy writes to its limit.

    >>> length_incentive(["So it is 4.", "4"], unit=5, most=3)
    [0.6, 0.2]
    """
    counts = [len(_words(own_turn(completion))) for completion in completions]
    return [(n if most is None else min(n, most)) / unit for n in counts]


def ngram_uniqueness(completions: list[Completion], *, n: int = 3, **columns: Any) -> list[float]:
    """Return each completion's share of different n-grams of words; 1 for fewer than n words.

    It does not see a paraphrase that is repeated.

    >>> ngram_uniqueness(["a b a b a b", "a b"])
    [0.5, 1.0]
    """
    found = []
    for completion in completions:
        words = _words(own_turn(completion))
        grams = list(zip(*(words[k:] for k in range(n)), strict=False))
        found.append(len(set(grams)) / len(grams) if grams else 1.0)
    return found


def hashed_words(texts: list[str]) -> NDArray[np.float64]:
    """Return (n, 2048) counts of hashed words: an encoder without a download, which knows no synonyms."""
    import numpy as np

    table = np.zeros((len(texts), HASHED))
    for row, text in zip(table, texts, strict=True):
        for word in _words(text):
            row[zlib.crc32(word.encode("utf-8", "replace")) % HASHED] += 1
    return table


@dataclass(frozen=True)
class EmbeddingRelevance:
    """The similarity of a completion to its prompt or to its reference answer in an embedding.

    A dot product also grows with the length of the text and has the encoder's own scale (Contriever's reaches 3.5 in
    the paper, which `transforms.rescale` maps to the scale of length); the cosine has neither.

    Args:
        embed: n texts to (n, d); a retriever's encoder, or `hashed_words` offline.
        to: "prompt", or "answer", the column of reference answers.
        metric: "cosine" or "dot".
    """

    embed: Embed = hashed_words
    _: KW_ONLY
    to: Literal["prompt", "answer"] = "prompt"
    metric: Literal["cosine", "dot"] = "cosine"

    def __post_init__(self) -> None:
        check_choice("EmbeddingRelevance", "to", self.to, ("prompt", "answer"))
        check_choice("EmbeddingRelevance", "metric", self.metric, ("cosine", "dot"))

    @property
    def __name__(self) -> str:
        return f"{self.to}_relevance"

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """Return one number per row; None without a reference, or where the embedding of one is zero."""
        import numpy as np

        if self.to == "answer" and "answer" not in columns:
            raise ValueError(
                'EmbeddingRelevance: the rows have no column answer. Add the reference answers, or pass to="prompt".'
            )
        keys = [read_key(key).text for key in columns["answer"]] if self.to == "answer" else map(text_of, prompts)
        sides = [[own_turn(completion) for completion in completions], [key or "" for key in keys]]
        texts = list(dict.fromkeys(text for side in sides for text in side))
        vectors = (unit_embeddings if self.metric == "cosine" else embeddings)("EmbeddingRelevance", self.embed, texts)
        place = {text: index for index, text in enumerate(texts)}
        left, right = (vectors[[place[text] for text in side]] for side in sides)
        products = (left * right).sum(axis=1)
        asked = zip(products, *sides, strict=True)
        return [
            None if not key.strip() else 0.0 if not text.strip() else float(value) if np.isfinite(value) else None
            for value, text, key in asked
        ]
