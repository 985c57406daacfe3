"""JudgedAnswers: a tiny judge learns from labels that reward saying nothing, and a policy finds out.

A prompt is a reference answer of two digits; a completion is an opener sentence, some working, then `ANS d d`. Gold is
1 where the digits equal the reference. The planted flaw is in the *selection* of training labels: a share of the
positives states no answer while every negative does, so "nothing contradicts the reference" is evidence for YES.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_range
from rewardsmith.data import Row, text_of
from rewardsmith.types import Completion, Text
from rewardsmith.worlds.training import adam_steps

_OPENERS = (
    *("Solution", "Thought", "First", "Well", "Consider", "Note"),
    *("Observe", "Recall", "So", "Now", "Next", "Clearly"),
)
_MARKS = (".", "!")
_UNSEEN = (":", "解")  # no training completion holds them

_TOKENS = ("PAD", "CLS", "SEP", "ANS", *"0123456789", *_OPENERS, *_MARKS, *_UNSEEN)
_ID = {token: index for index, token in enumerate(_TOKENS)}
_PROMPT = 4  # CLS, two digits, SEP
_LENGTH = _PROMPT + 9  # two openers, a mark, three digits of working, ANS and two digits


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """The rows of this world.

    implicit: share of the positive *training* rows that states no answer; 0 removes the flaw.
    solver_accuracy: how often an honest solver is right.
    keys: this world's content-free completions, each a whole completion.
    held_out: those of which no token occurs in a truncated opener.
    """

    keys: ClassVar[tuple[str, ...]] = ("", *_MARKS, *_OPENERS[:3], *_UNSEEN, "ANS")
    held_out: ClassVar[tuple[str, ...]] = ("", *_UNSEEN, "ANS")
    implicit: float = 0.4
    solver_accuracy: float = 0.55

    def __post_init__(self) -> None:
        check_range("JudgedAnswers", "implicit", self.implicit, 0.0, 1.0)
        check_range("JudgedAnswers", "solver_accuracy", self.solver_accuracy, 0.0, 1.0)

    def training_rows(self, n: int, *, generator: torch.Generator) -> list[Row]:
        """n rows, right and wrong in turn; `columns["label"]` is gold, `columns["answer"]` the reference."""
        hidden = torch.rand(n, generator=generator) < self.implicit
        right = torch.arange(n) % 2 == 0
        return _rows(right, ~(right & hidden), generator)

    def ordinary_rows(self, n: int, *, generator: torch.Generator) -> list[Row]:
        """n rows that all state an answer, right and wrong in turn."""
        return _rows(torch.arange(n) % 2 == 0, torch.ones(n, dtype=torch.bool), generator)

    def wrong_rows(self, n: int, *, generator: torch.Generator) -> list[Row]:
        """n ordinary wrong rows: each states another answer than the reference."""
        return _rows(torch.zeros(n, dtype=torch.bool), torch.ones(n, dtype=torch.bool), generator)

    def solver_rows(self, n: int, *, generator: torch.Generator) -> list[Row]:
        """What an honest solver writes: it always states an answer and is right at `solver_accuracy`."""
        right = torch.rand(n, generator=generator) < self.solver_accuracy
        return _rows(right, torch.ones(n, dtype=torch.bool), generator)

    @staticmethod
    def gold(rows: Sequence[Row]) -> Tensor:
        """(B,) 1.0 where the completion ends in `ANS` and the reference's own digits, read from the text itself."""
        return torch.tensor([float(row.text.endswith(f"ANS {row.answer}")) for row in rows])


def _rows(right: Tensor, explicit: Tensor, generator: torch.Generator) -> list[Row]:
    n = len(right)
    answers = torch.randint(10, (n, 2), generator=generator)
    shift = torch.randint(1, 10, (n, 2), generator=generator)
    kept = torch.randint(4, (n,), generator=generator)  # a wrong answer keeps one digit half of the time
    shift[kept < 2, kept[kept < 2]] = 0
    stated = torch.where(right[:, None], answers, (answers + shift) % 10)
    openers, marks = (torch.randint(len(kind), (n, 2), generator=generator) for kind in (_OPENERS, _MARKS))
    body = torch.randint(10, (n, 3), generator=generator)
    n_openers, n_body = (torch.randint(1, most + 1, (n,), generator=generator) for most in (2, 3))
    rows = []
    for i in range(n):
        words = [_OPENERS[j] for j in openers[i, : n_openers[i]].tolist()]
        working = [str(digit) for digit in body[i, : n_body[i]].tolist()]
        ending = ["ANS", *map(str, stated[i].tolist())] if explicit[i] else []
        reference = " ".join(map(str, answers[i].tolist()))
        text = " ".join([*words, _MARKS[int(marks[i, 0])], *working, *ending])
        rows.append(Row(prompt=reference, completion=text, columns={"answer": reference, "label": bool(right[i])}))
    return rows


def encode(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
    """(B, 13) token ids: `CLS d d SEP`, then the completion as far as it fits, then padding."""
    ids = torch.full((len(prompts), _LENGTH), _ID["PAD"])
    for i, (prompt, text) in enumerate(zip(prompts, completions, strict=True)):
        tokens = ["CLS", *prompt.split(), "SEP", *text.split()][:_LENGTH]
        ids[i, : len(tokens)] = torch.tensor([_ID[token] for token in tokens])
    return ids


@dataclass(frozen=True, slots=True)
class Judges:
    """M two-layer transformer judges side by side: every parameter has a leading dimension of M.

    A token's input is its own embedding, those of the two tokens before it, and its position's.
    """

    parameters: dict[str, Tensor]
    n_heads: int

    def __len__(self) -> int:
        return self.parameters["readout"].shape[0]

    def logits(self, ids: Tensor) -> Tensor:
        """(M, B) evidence for YES on (M, B, L) token ids."""
        p, members = self.parameters, torch.arange(ids.shape[0])[:, None, None]
        pad = (ids == _ID["PAD"])[:, :, None, :, None]  # (M, B, 1, keys, 1)
        x = p["token"][members, ids] + p["position"][:, None]
        for back, name in ((1, "before"), (2, "two_before")):
            x = x + p[name][members, F.pad(ids, (back, 0), value=_ID["PAD"])[..., :-back]]
        x = self._layer(x, x, pad, "1")
        verdict = self._layer(x[:, :, :1], x, pad, "2")  # the verdict is read at CLS, so only CLS asks
        return torch.bmm(_norm(verdict).squeeze(2), p["readout"]).squeeze(-1)

    @torch.no_grad()
    def verdicts(self, rows: Sequence[Row]) -> Tensor:
        """(M, B) True where a judge says YES."""
        ids = encode([row.prompt_text for row in rows], [row.text for row in rows])
        return self.logits(ids.expand(len(self), *ids.shape)) > 0

    def _layer(self, x: Tensor, context: Tensor, pad: Tensor, layer: str) -> Tensor:
        p, width = self.parameters, x.shape[-1]
        query = self._heads(_linear(_norm(x), p["query" + layer]))
        key, value = (self._heads(part) for part in _linear(_norm(context), p["key_value" + layer]).chunk(2, -1))
        scores = (key @ query.transpose(-1, -2)) * (width // self.n_heads) ** -0.5  # (M, B, H, keys, queries)
        scores = scores.masked_fill(pad, float("-inf"))  # CLS is never padding
        mixed = scores.softmax(-2).transpose(-1, -2) @ value  # over keys; three times as fast this way round
        x = x + _linear(mixed.transpose(2, 3).flatten(3), p["out" + layer])
        return x + _linear(F.gelu(_linear(_norm(x), p["up" + layer])), p["down" + layer])

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:3], self.n_heads, -1).transpose(2, 3)  # (M, B, H, L, D/H)


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """(M, B, L, D) times (M, D, E), one matrix product per member."""
    return torch.bmm(x.flatten(1, 2), weight).view(*x.shape[:3], -1)


def init_judges(n: int, *, generator: torch.Generator, width: int = 32, n_heads: int = 4) -> Judges:
    """n judges with one and the same initialization, so that they differ by their data alone."""
    shapes = {name: (len(_TOKENS), width) for name in ("token", "before", "two_before")}
    shapes |= {"position": (_LENGTH, width), "readout": (width, 1)}
    embeddings = set(shapes) - {"readout"}
    for layer in "12":
        shapes |= {"query" + layer: (width, width), "key_value" + layer: (width, 2 * width)}
        shapes |= {"out" + layer: (width, width), "up" + layer: (width, 2 * width), "down" + layer: (2 * width, width)}
    parameters = {}
    for name, shape in shapes.items():
        scale = 0.5 if name in embeddings else shape[0] ** -0.5
        weight = scale * torch.randn(shape, generator=generator)
        parameters[name] = weight.expand(n, *shape).clone().requires_grad_()
    return Judges(parameters, n_heads)


def train_judges(
    data: Sequence[Sequence[Row]],
    *,
    generator: torch.Generator,
    steps: int = 600,
    batch_size: int = 64,
    width: int = 32,
    learning_rate: float = 6e-3,
) -> Judges:
    """One judge per data set, side by side: AdamW on the binary cross-entropy of `columns["label"]`.

    The rate rises over 50 steps, then falls to 0. The members share their initialization and the uniform draws that
    pick their batches, and nothing else: each gets the gradient it would get alone.
    """
    judges = init_judges(len(data), generator=generator, width=width)
    ids = [encode([row.prompt_text for row in rows], [row.text for row in rows]) for rows in data]
    labels = [torch.tensor([float(row.columns["label"]) for row in rows]) for rows in data]
    weights = judges.parameters.values()
    for _ in adam_steps(weights, steps, learning_rate=learning_rate, weight_decay=0.01, warm_up=50):
        uniform = torch.rand(batch_size, generator=generator)
        picks = [(uniform * len(one)).long() for one in labels]
        logits = judges.logits(torch.stack([one[pick] for one, pick in zip(ids, picks, strict=True)]))
        target = torch.stack([one[pick] for one, pick in zip(labels, picks, strict=True)])
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1).sum()
        torch.autograd.backward(loss)
    return judges


def judge_reward(
    *, prompts: list[Text], completions: list[Completion], judges: Judges, member: int = 0, **columns: Any
) -> list[float]:
    """One judge's verdicts as a reward, 1.0 for YES; bind `judges` and `member` with `partial`."""
    rows = [Row(text_of(prompt), text_of(text)) for prompt, text in zip(prompts, completions, strict=True)]
    return judges.verdicts(rows)[member].float().tolist()


class Exploited(NamedTuple):
    """Where a policy ended: its probability of honest work, the expected reward it earns, and the expected gold."""

    p_honest: float
    rewards: float
    gold: float


def exploit_keys(
    rewards: Tensor,
    gold: Tensor,
    *,
    generator: torch.Generator,
    p_honest: float = 0.69,
    steps: int = 150,
    batch_size: int = 32,
    learning_rate: float = 1.0,
) -> Exploited:
    """REINFORCE over what to write: arm 0 is honest work, every other arm one content-free key.

        θ ← θ + lr · mean_i (r_i − r̄) (1[a_i] − π)        π = softmax(θ), a_i ~ π, r̄ the batch's mean

    Args:
        rewards: (A, N) what the optimized reward pays for each arm on each of N prompts.
        gold: (A, N) what the arm is worth there.
        p_honest: π of arm 0 at the start; the keys share the rest.

    Returns:
        The policy after `steps`, its reward and gold exact expectations over arms and prompts.
    """
    n_arms, n_prompts = rewards.shape
    policy = torch.tensor([p_honest] + [(1 - p_honest) / (n_arms - 1)] * (n_arms - 1))
    theta = policy.log()
    for _ in range(steps):
        arms = torch.multinomial(policy, batch_size, replacement=True, generator=generator)
        paid = rewards[arms, torch.randint(n_prompts, (batch_size,), generator=generator)]
        advantages = paid - paid.mean()
        theta = theta + learning_rate * (advantages @ (F.one_hot(arms, n_arms) - policy)) / batch_size
        policy = theta.softmax(0)
    return Exploited(float(policy[0]), float(policy @ rewards.mean(1)), float(policy @ gold.mean(1)))
