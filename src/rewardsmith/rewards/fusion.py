"""RewardFusion: average a reward with its own values on the most similar texts of its training data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import TYPE_CHECKING, Any

from rewardsmith._check import check_range
from rewardsmith.data import completion_text, text_of
from rewardsmith.data.contrast import unit_embeddings
from rewardsmith.scoring.contracts import is_async
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 1024  # queries per block of the similarity matrix


@dataclass(eq=False)
class RewardFusion:
    """Smooth a reward over the most similar texts that it was trained on.

        R̃(q) = ( w R(q) + Σ_i s_i R(q_i) ) / ( w + Σ_i s_i )     i: the k texts nearest to q of s_i = cos ≥ threshold

    Shen et al. 2023, arXiv:2309.16155 (RewardFusion), where w = 1. Equal texts in the index count once, and a query is
    not its own neighbor; the official script counts both twice. Fusion raises consistency on similar prompts and lowers
    the gain of best-of-n. Measure both before you use it in training (`auditing.contrast_consistency`).

    Args:
        reward: a synchronous reward in TRL's contract that needs prompt and completion only, as neighbors have no more.
        texts: (prompt, completion) pairs of its training data, with preferred answers. All are embedded at the first
            call. Each is scored once, when it first becomes a neighbor.
        embed: n texts to (n, d) embeddings; a text is the prompt, a line break and the completion.
        k: the largest number of neighbors; 0 leaves the reward as it is.
        threshold: the least cosine of a neighbor.
        self_weight: w ≥ 0, the weight of the query itself; 0 uses the neighbors alone where there are any.
    """

    reward: Callable[..., Any]
    texts: InitVar[Sequence[tuple[Text, Completion]]]
    embed: Callable[[list[str]], Any]
    _: KW_ONLY
    k: int = 5
    threshold: float = 0.9
    self_weight: float = 1.0
    _units: NDArray[np.float64] | None = field(default=None, init=False, repr=False)
    _known: dict[int, float | None] = field(default_factory=dict, init=False, repr=False)

    __name__ = "reward_fusion"

    def __post_init__(self, texts: Sequence[tuple[Text, Completion]]) -> None:
        check_range("RewardFusion", "k", self.k, 0, float("inf"))
        check_range("RewardFusion", "threshold", self.threshold, -1.0, 1.0)
        check_range("RewardFusion", "self_weight", self.self_weight, 0.0, float("inf"))
        if is_async(self.reward):
            raise TypeError(
                f"RewardFusion: {getattr(self.reward, '__name__', self.reward)!r} is async, which it cannot await. "
                "Pass a function that returns its rewards."
            )
        self._index = {_joined(*pair): pair for pair in texts}

    def __call__(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
        """Return one value per row; None where the reward gives none to the row itself.

        A text without an embedding has no neighbors and keeps its own reward. Neighbors without a reward are left out.
        """
        own = list(self.reward(prompts=prompts, completions=completions, **columns))
        if not own or not self._index or not self.k:
            return own
        near = self._neighbors([_joined(*pair) for pair in zip(prompts, completions, strict=True)])
        unknown = sorted({index for row in near for index, _ in row} - self._known.keys())
        if unknown:
            pairs = list(self._index.values())
            first, second = ([pairs[index][side] for index in unknown] for side in (0, 1))
            self._known.update(zip(unknown, self.reward(prompts=first, completions=second), strict=True))
        for place, neighbors in enumerate(near):
            if own[place] is not None:
                total, weight = self.self_weight * own[place], self.self_weight
                for index, similarity in neighbors:
                    value = self._known[index]
                    if value is not None and similarity > 0:
                        total, weight = total + similarity * value, weight + similarity
                own[place] = total / weight if weight > 0 else own[place]
        return own

    def _neighbors(self, queries: list[str]) -> list[list[tuple[int, float]]]:
        """Return each query's neighbors, nearest first, as (index, similarity)."""
        import numpy as np

        if self._units is None:
            self._units = unit_embeddings("RewardFusion", self.embed, list(self._index))
        place = {text: index for index, text in enumerate(self._index)}
        distinct = list(dict.fromkeys(queries))
        units, found = unit_embeddings("RewardFusion", self.embed, distinct), {}
        for start in range(0, len(distinct), _BLOCK):
            texts = distinct[start : start + _BLOCK]
            similar = np.nan_to_num(units[start : start + _BLOCK] @ self._units.T, nan=-2.0)
            for row, text in enumerate(texts):
                if text in place:
                    similar[row, place[text]] = -2.0  # a text is not its own neighbor
            k = min(self.k, similar.shape[1])
            nearest = np.argpartition(-similar, k - 1, axis=1)[:, :k]
            values = np.take_along_axis(similar, nearest, axis=1)
            for text, indices, cosines in zip(texts, nearest.tolist(), values.tolist(), strict=True):
                kept = [(i, s) for i, s in zip(indices, cosines, strict=True) if s >= self.threshold]
                found[text] = sorted(kept, key=lambda item: (-item[1], item[0]))
        return [found[query] for query in queries]


def _joined(prompt: Text, completion: Completion) -> str:
    return f"{text_of(prompt)}\n{completion_text(completion)}"
