"""Tiny decoders that may write a critique before they score an answer, trained from nothing; several side by side.

An answer to four digits is four digits, each right where it is the digit's image under a fixed permutation. The
critique says so place by place. A sequence is the answer, each of whose tokens carries the prompt's digit at its place,
the critique, and a last token at which the score is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewardsmith.objectives import bt_loss, centering_loss
from rewardsmith.worlds.streams import Streams

DIGITS = 10
BAD, GOOD, READ = DIGITS, DIGITS + 1, DIGITS + 2
"""Token ids of a critique's two verdicts, and of the token at which the score is read."""
VOCABULARY = DIGITS + 3


class DigitPairs(NamedTuple):
    """n pairs of one seed, the better answer first: prompts (n, L) and answers (n, 2, L) in digits, right (n, 2, L)."""

    prompts: Tensor
    answers: Tensor
    right: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class DigitTask:
    """What the digits are to be replaced by, in one seed: image (10,) a permutation; length L."""

    image: Tensor
    length: int

    @classmethod
    def sample(cls, streams: Streams, *, length: int = 4) -> DigitTask:
        """A task of the streams' first seed."""
        return cls(streams.randperm(DIGITS)[0], length)

    def pairs(self, n: int, streams: Streams) -> DigitPairs:
        """n pairs whose answers have different numbers of right digits; a digit is right half of the time.

        Where two answers are alike right, one digit of the second is set right, or wrong if all are right.
        """
        prompts = streams.randint(DIGITS, n, self.length)[0]
        truth = self.image[prompts][:, None]  # (n, 1, L)
        right = streams.rand(n, 2, self.length)[0] < 0.5
        tied = right[:, 0].sum(-1) == right[:, 1].sum(-1)
        every = right[:, 1].all(-1)
        at = (right[:, 1].to(torch.int8) - every[:, None].to(torch.int8)).argmin(
            dim=-1
        )  # a wrong one; the first if none
        turned = F.one_hot(at, self.length).bool() & tied[:, None]
        right = torch.stack([right[:, 0], right[:, 1] ^ turned], dim=1)
        wrong = (truth + 1 + streams.randint(DIGITS - 1, n, 2, self.length)[0]) % DIGITS
        answers = torch.where(right, truth, wrong)
        order = right.sum(-1).argsort(dim=-1, descending=True)[..., None].expand_as(right)
        return DigitPairs(prompts, answers.gather(1, order), right.gather(1, order))


class CriticGPT(nn.Module):
    """M decoders, alike at the start, with a head that predicts the next token and one that scores.

    Args:
        n_models: M.
        length: L, digits of a prompt.
        width, n_heads, n_layers: of each.
    """

    def __init__(
        self, n_models: int, streams: Streams, *, length: int = 4, width: int = 40, n_heads: int = 4, n_layers: int = 2
    ) -> None:
        super().__init__()
        self.n_heads = n_heads

        def drawn(*shape: int) -> Tensor:
            """One draw, of which every model has a copy, scaled by the width of the inputs."""
            start = streams.randn(*shape)[0] / math.sqrt(shape[-2])
            return start.expand(n_models, *shape).clone()

        def weights(n: int, *shape: int) -> nn.ParameterList:
            return nn.ParameterList([drawn(*shape) for _ in range(n)])

        self.token, self.asked, self.place = (
            nn.Parameter(math.sqrt(n) * drawn(n, width)) for n in (VOCABULARY, DIGITS, 2 * length + 1)
        )
        self.mix = weights(n_layers, width, 3 * width)
        self.out, self.up = weights(n_layers, width, width), weights(n_layers, width, 4 * width)
        self.down = weights(n_layers, 4 * width, width)
        self.next_token, self.score = nn.Parameter(drawn(width, VOCABULARY)), nn.Parameter(drawn(width, 1))

    def forward(self, prompts: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(M, B, T, V) logits of the next token and (M, B, T) scores, at each place of sequences ids (M, B, T).

        Prompts (M, B, L) are added to the first L places.
        """
        n_models, n_rows, n_places = ids.shape
        model = torch.arange(n_models)[:, None, None]
        asked = F.pad(self.asked[model, prompts], (0, 0, 0, n_places - prompts.shape[-1]))
        x = (self.token[model, ids] + self.place[:, None, :n_places] + asked).flatten(1, 2)  # (M, B·T, d)
        for mix, out, up, down in zip(self.mix, self.out, self.up, self.down, strict=True):
            x = x + torch.bmm(self._attended(torch.bmm(_normed(x), mix), n_rows), out)
            x = x + torch.bmm(F.gelu(torch.bmm(_normed(x), up)), down)
        x = _normed(x)
        logits = torch.bmm(x, self.next_token).view(n_models, n_rows, n_places, -1)
        return logits, torch.bmm(x, self.score).view(n_models, n_rows, n_places)

    def _attended(self, mixed: Tensor, n_rows: int) -> Tensor:
        n_models, _, width = mixed.shape
        heads = mixed.view(n_models, n_rows, -1, 3, self.n_heads, width // (3 * self.n_heads))
        query, key, value = heads.permute(3, 0, 1, 4, 2, 5).flatten(1, 2)  # (3, M·B, heads, T, d_head)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return seen.transpose(1, 2).reshape(n_models, -1, width // 3)


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _sequences(answers: Tensor, critiques: Tensor) -> Tensor:
    """(..., 2L + 1) token ids of answers and critiques (..., L), and the token to be read."""
    return torch.cat([answers, critiques, torch.full_like(answers[..., :1], READ)], dim=-1)


def train_critics(
    models: CriticGPT,
    pairs: DigitPairs,
    critiques: Tensor,
    *,
    critic_weight: Sequence[float],
    streams: Streams,
    steps: int = 400,
    batch_size: int = 8,
    learning_rate: float = 6e-3,
    center: float = 0.01,
) -> None:
    """Score the better answer higher after its critique, and write that critique; in place.

        ℓ = −log σ(r⁺ − r⁻) + c (r⁺ + r⁻)² + w (NLL of the critiques, per token)

    Args:
        critiques: (M, n, 2, L) in BAD and GOOD, what each model is shown and taught.
        critic_weight: M numbers w.
    """
    n_models, n, _, length = critiques.shape
    model = torch.arange(n_models)[:, None]
    weight = torch.tensor(list(critic_weight))
    optimizer = torch.optim.Adam(models.parameters(), lr=learning_rate, fused=True)
    for _ in range(steps):
        picks = streams.randint(n, batch_size)[0]
        said = critiques[model, picks].flatten(1, 2)  # (M, 2·batch, L)
        prompts = pairs.prompts[picks][:, None].expand(-1, 2, -1).flatten(0, 1).expand(n_models, -1, -1)
        answers = pairs.answers[picks].flatten(0, 1).expand(n_models, -1, -1)
        logits, scores = models(prompts, _sequences(answers, said))
        chosen, rejected = scores[..., -1].unflatten(1, (-1, 2)).unbind(dim=-1)
        spoken = logits[:, :, length - 1 : 2 * length - 1].flatten(1, 2)  # each predicts the next verdict
        critic = F.cross_entropy(spoken.transpose(1, 2), said.flatten(1), reduction="none").mean(dim=1)  # (M,)
        losses = bt_loss(chosen, rejected) + centering_loss(chosen, rejected, coef=center)
        losses = losses.mean(dim=1) + weight * critic
        optimizer.zero_grad()
        torch.autograd.backward(losses.sum())
        optimizer.step()


@torch.no_grad()
def written_critiques(models: CriticGPT, prompts: Tensor, answers: Tensor) -> Tensor:
    """(M, n, L) what each model itself says of answers (n, L), the likelier verdict at each place."""
    asked, ids = (given.expand(len(models.token), -1, -1) for given in (prompts, answers))
    for _ in range(prompts.shape[-1]):
        logits, _ = models(asked, ids)
        verdict = torch.where(logits[:, :, -1, GOOD] > logits[:, :, -1, BAD], GOOD, BAD)
        ids = torch.cat([ids, verdict[..., None]], dim=-1)
    return ids[..., prompts.shape[-1] :]


@torch.no_grad()
def critic_scores(models: CriticGPT, prompts: Tensor, answers: Tensor, critiques: Tensor) -> Tensor:
    """(M, n) scores of answers (n, L) after critiques (M, n, L)."""
    asked, given = (digits.expand(len(critiques), -1, -1) for digits in (prompts, answers))
    scores: Tensor = models(asked, _sequences(given, critiques))[1]
    return scores[..., -1]
