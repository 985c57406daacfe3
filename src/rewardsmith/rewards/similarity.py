"""EmbeddingSimilarity: a reward for open answers from a reference answer instead of preferences."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from rewardsmith._check import check_range
from rewardsmith.data import completion_text
from rewardsmith.data.contrast import Embed, unit_embeddings
from rewardsmith.data.keys import read_key
from rewardsmith.types import Completion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class EmbeddingSimilarity:
    """Cosine similarity of the completion to the reference answer in an embedding, scaled to [0, 1].

        r = clip( (cos(e(y), e(a*)) − floor) / (ceiling − floor), 0, 1 ) · min( 1, ρ·|a*| / |y| )

    Gulhane & Indurthi 2025, arXiv:2510.05283, who name the surrogate and not its formula. Ours caps it and can penalize
    length. Above the ceiling, where honest paraphrases lie (`paraphrase_ceiling`), more similarity adds nothing, so
    copying the reference's words is not rewarded.

    Args:
        embed: n texts to (n, d) embeddings that `numpy.asarray` accepts; called once per batch. The reward pickles if
            `embed` does.
        floor: the cosine that scores 0, such as that of unrelated answers.
        ceiling: the cosine that scores 1.
        length_ratio: ρ, the largest ratio of completion words to reference words without a penalty; None never
            penalizes length. |·| counts words.

    Raises:
        ValueError: not −1 ≤ floor < ceiling ≤ 1, or length_ratio not above 0.
    """

    embed: Embed
    _: KW_ONLY
    floor: float = 0.0
    ceiling: float = 1.0
    length_ratio: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("floor", self.floor), ("ceiling", self.ceiling)):
            check_range("EmbeddingSimilarity", name, value, -1.0, 1.0)
        if self.floor >= self.ceiling:
            raise ValueError(
                f"EmbeddingSimilarity: floor={self.floor} is not below ceiling={self.ceiling}, so all answers would "
                "get equal scores. Measure both on held-out pairs with `paraphrase_ceiling`."
            )
        if self.length_ratio is not None and not self.length_ratio > 0:
            raise ValueError(
                f"EmbeddingSimilarity: length_ratio={self.length_ratio} must be above 0. Use None for no penalty."
            )

    @property
    def __name__(self) -> str:
        return "embedding_similarity"

    def __call__(self, completions: list[Completion], answer: list[Any], **columns: Any) -> list[float | None]:
        """Return one value per row; None where `answer` is missing or an embedding is zero or not finite.

        A completion without text scores 0 and is not embedded.
        """
        texts = [completion_text(completion) for completion in completions]
        keys = [read_key(key).text or "" for key in answer]
        pairs = [(text, key) for text, key in zip(texts, keys, strict=True) if text.strip() and key.strip()]
        known = dict(zip(pairs, _cosines(self.embed, pairs), strict=True))
        rewards: list[float | None] = []
        for text, key in zip(texts, keys, strict=True):
            cosine = known.get((text, key), self.floor)  # a text without words gets 0
            if not key.strip() or math.isnan(cosine):
                rewards.append(None)
                continue
            share = min(max((cosine - self.floor) / (self.ceiling - self.floor), 0.0), 1.0)
            if self.length_ratio is not None:
                # Words, at least 1; a run of text in a script without spaces counts as one.
                key_words, words = (max(1, len(re.findall(r"\S+", part))) for part in (key, text))
                share *= min(1.0, self.length_ratio * key_words / words)
            rewards.append(share)
        return rewards


def paraphrase_ceiling(
    embed: Embed, texts: Sequence[str], paraphrases: Sequence[str], *, quantile: float = 0.5
) -> float:
    """Return the `quantile` of cosines over held-out paraphrase pairs, to use as `ceiling`.

    Pairs of unrelated texts give a floor in the same way.

    Raises:
        ValueError: no pair has two embeddings that can be compared.
    """
    import numpy as np

    check_range("paraphrase_ceiling", "quantile", quantile, 0.0, 1.0)
    cosines = _cosines(embed, list(zip(texts, paraphrases, strict=True)))
    if not len(cosines) or np.isnan(cosines).all():
        raise ValueError(
            f"paraphrase_ceiling: none of the {len(cosines)} pairs has two embeddings other than 0. Give pairs of "
            "texts that the encoder knows."
        )
    return float(np.nanquantile(cosines, quantile))


def _cosines(embed: Embed, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """Return the (n,) cosine of each pair, NaN where an embedding is zero or not finite; each text is embedded once."""
    import numpy as np

    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    units = unit_embeddings("EmbeddingSimilarity", embed, texts)
    row = {text: index for index, text in enumerate(texts)}
    left, right = ([row[pair[side]] for pair in pairs] for side in (0, 1))
    return np.asarray((units[left] * units[right]).sum(axis=1).clip(-1, 1))
