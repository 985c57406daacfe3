"""Gradients of a score with respect to its input embeddings, and the gain that they predict for other tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.rewards.models.batching import cut
from rewardsmith.rewards.models.encoding import Encoded
from rewardsmith.rewards.models.scanning import Scanner
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

Columns = Mapping[str, Sequence[Any]]
Encode = Callable[[Sequence[Text], Sequence[Completion], Columns], Sequence[Encoded | Unscored]]

CHUNK = 8192  # tokens whose embeddings are looked up at once


class GradientSource(NamedTuple):
    """The parts of a scoring model that a gradient needs; the score is heads(outputs) · weights.

    scanner: its forward pass. encode: rows with their columns to token ids.
    heads: (R, d) outputs at the rows' read positions to (R, K). weights: K numbers.
    """

    scanner: Scanner
    encode: Encode
    heads: Callable[[Tensor], Tensor]
    weights: tuple[float, ...]
    tokenizer: Any

    @property
    def embedding(self) -> Any:
        """The module that maps token ids to the model's input vectors."""
        return self.scanner.model.get_input_embeddings()


def token_gradients(source: GradientSource, rows: Sequence[Encoded], spans: Sequence[range]) -> tuple[Tensor, Tensor]:
    """Return each row's score and its gradient with respect to the embeddings of T of its tokens.

    Args:
        rows: B encoded rows. spans: B ranges of T positions, those of row b in `rows[b].ids`.

    Returns:
        (B,) scores of the rows and (B, T, d) gradients, ∂ score / ∂ embedding of each row's chosen tokens.
    """
    import torch

    scanner = source.scanner
    scores, gradients = [], []
    scanner.settle(rows, lambda values, _: source.heads(values).tolist())
    with torch.inference_mode(False), torch.enable_grad(), scanner.reading():
        for start, stop in cut([len(row.ids) for row in rows], budget=scanner.budget, most_rows=scanner.max_rows):
            with _watched(source.embedding) as seen:
                values = source.heads(scanner.outputs(rows[start:stop]))
            score = values @ values.new_tensor(source.weights)
            (slopes,) = torch.autograd.grad(score.sum(), seen[:1])
            width = slopes.shape[1]
            for line, row, span in zip(slopes, rows[start:stop], spans[start:stop], strict=True):
                shift = width - len(row.ids) if scanner.side == "left" else 0
                gradients.append(line[span.start + shift : span.stop + shift])
            scores.append(score.detach())
    return torch.cat(scores), torch.stack(gradients)


def swap_gains(embedding: Any, gradients: Tensor, ids: Sequence[int]) -> Tensor:
    """Return the first-order gain in mean score from each swap of one trigger token.

        gain[t, v] = ( E[v] − E[ids_t] ) · 1/B Σ_b g[b, t]

    Ebrahimi et al. 2018, arXiv:1712.06751 (HotFlip), on embeddings instead of one-hot vectors, and averaged over the
    rows that share a trigger: Wallace et al. 2019, arXiv:1908.07125, Eq. 2.

    Args:
        gradients: (B, T, d) from `token_gradients`. ids: the T tokens of the trigger.

    Returns:
        (T, V), for position t and new token v.
    """
    import torch

    with torch.no_grad():
        slope = gradients.to(torch.promote_types(gradients.dtype, torch.float32)).mean(dim=0)
        size, device = embedding.weight.shape[0], embedding.weight.device
        chunks = [torch.arange(first, min(first + CHUNK, size), device=device) for first in range(0, size, CHUNK)]
        along = torch.cat([slope @ embedding(chunk).to(slope.dtype).T for chunk in chunks], dim=1)  # (T, V)
        return along - along.gather(1, torch.tensor(ids, device=device)[:, None])


@contextlib.contextmanager
def _watched(embedding: Any) -> Iterator[list[Tensor]]:
    """Collect the module's outputs inside the `with` block, as leaves for gradients."""
    seen: list[Tensor] = []

    def watch(module: Any, inputs: Any, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    handle = embedding.register_forward_hook(watch)
    try:
        yield seen
    finally:
        handle.remove()
