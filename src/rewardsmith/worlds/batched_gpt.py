"""Tiny language models in one batch: S transformers of one shape, each trained as it would be alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewardsmith._check import check_shape
from rewardsmith.worlds.streams import Streams

N_LAYERS = N_HEADS = 2


def attended(x: Tensor, qkv: Tensor, n_rows: int) -> Tensor:
    """Return causal self-attention of the normalized states (M, B·T, d) of M models over B rows, before its readout."""
    (n_models, _, width), heads = x.shape, torch.bmm(F.layer_norm(x, x.shape[-1:]), qkv)
    heads = heads.view(n_models * n_rows, -1, 3, N_HEADS, width // N_HEADS)
    query, key, value = heads.permute(2, 0, 3, 1, 4)  # (M·B, heads, T, d_head)
    return F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).reshape(x.shape)


class BatchedGPT(nn.Module):
    """S decoder-only transformers with pre-norm blocks, no dropout and a readout of its own (no weight tying).

        h₀ = E[ids] + P,   h ← h + Attn(LN h),   h ← h + W₂ relu(W₁ LN h + b₁),   logits = U LN h

    LN has no gain and no shift, which the next linear map can express. Weights of a seed come from its own stream.

    Args:
        n_tokens: size of the vocabulary V.
        n_positions: the longest sequence.
        streams: one per model; their dtype is the weights'.
        width: d of the transformer, whose W₁ has 2d rows.
        embedding_std: of E and P at the start. Small values let tokens with the same use get similar embeddings.
        readout_std: of U at the start, in units of 1/√width. Large values keep their readouts different.
    """

    def __init__(
        self,
        n_tokens: int,
        n_positions: int,
        *,
        streams: Streams,
        width: int = 40,
        embedding_std: float = 0.02,
        readout_std: float = 3.0,
    ) -> None:
        super().__init__()
        if width % N_HEADS:
            raise ValueError(f"BatchedGPT: width {width} does not divide into {N_HEADS} heads. Make it a multiple.")

        def drawn(rows: int, columns: int, std: float) -> Tensor:
            return streams.randn(rows, columns) * std

        inner, fan, deep = 2 * width, width**-0.5, (2 * N_LAYERS) ** -0.5
        self.tokens = nn.Parameter(drawn(n_tokens, width, embedding_std))
        self.positions = nn.Parameter(drawn(n_positions, width, embedding_std))
        self.qkv = nn.ParameterList([drawn(width, 3 * width, fan) for _ in range(N_LAYERS)])
        self.merge = nn.ParameterList([drawn(width, width, fan * deep) for _ in range(N_LAYERS)])
        self.up = nn.ParameterList([drawn(width, inner, fan) for _ in range(N_LAYERS)])
        self.bias = nn.ParameterList([torch.zeros_like(w[:, :1]) for w in self.up])
        self.down = nn.ParameterList([drawn(inner, width, inner**-0.5 * deep) for _ in range(N_LAYERS)])
        self.readout = nn.Parameter(drawn(width, n_tokens, readout_std * fan))

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, index: Sequence[int]) -> BatchedGPT:
        """Copy the models at these indices, repeated as given, to train them separately."""
        chosen = copy.deepcopy(self)
        for parameter in chosen.parameters():
            parameter.data = parameter.data[list(index)]
        return chosen

    def hidden(self, ids: Tensor, also: Tensor | None = None) -> Tensor:
        """Map (S, B, T) tokens to (S, B, T, d) normalized last hidden states; a position sees those up to itself.

        The embeddings of tokens `also` (S, B, k ≤ T) are added at the first k positions.
        """
        check_shape("BatchedGPT.hidden", "ids", ids, len(self), None, None)
        n_models, n_rows, n_positions = ids.shape
        model = torch.arange(n_models)[:, None, None]
        states = self.tokens[model, ids] + self.positions[:, None, :n_positions]
        if also is not None:
            states = states + F.pad(self.tokens[model, also], (0, 0, 0, n_positions - also.shape[-1]))
        width = states.shape[-1]
        x = states.flatten(1, 2)  # (S, B·T, d)
        for layer in range(N_LAYERS):
            x = torch.baddbmm(x, attended(x, self.qkv[layer], n_rows), self.merge[layer])
            inner = torch.baddbmm(self.bias[layer], F.layer_norm(x, (width,)), self.up[layer]).relu()
            x = torch.baddbmm(x, inner, self.down[layer])
        return F.layer_norm(x, (width,)).view(n_models, n_rows, n_positions, width)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map (S, B, T, d) hidden states to (S, B, T, V) logits of the next token."""
        return torch.bmm(hidden.flatten(1, 2), self.readout).view(*hidden.shape[:3], -1)

    def forward(self, ids: Tensor) -> Tensor:
        """Map (S, B, T) tokens to (S, B, T, V) logits; those at t predict token t + 1."""
        return self.logits(self.hidden(ids))
