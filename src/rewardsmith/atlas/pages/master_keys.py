"""A judge that sees too few answerless wrongs pays for saying nothing; openers labeled NO mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith._check import check_range
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.page import parameters
from rewardsmith.data import Row, add_truncated_negatives, text_of
from rewardsmith.rewards import RequireAnswer
from rewardsmith.types import Completion, Text
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    AtLeast("accuracy/base", 0.9),
    AtLeast("fpr/base", 0.5),
    AtMost("fpr/augmented", 0.05),
    AtMost("fpr_held_out/augmented", 0.1),
    PairedGain("accuracy/augmented", over="accuracy/base", at_least=-0.08),
    AtLeast("fpr/ordinary", 0.5),
    AtMost("fpr/unflawed", 0.2),
    AtMost("gold/base", 0.1),
    AtLeast("gold/augmented", 0.4),
    AtLeast("gold/guarded", 0.4),
)
ARMS = ("base", "ordinary", "augmented", "unflawed")
OPENERS = (
    *("Solution", "Thought", "First", "Well", "Consider", "Note"),
    *("Observe", "Recall", "So", "Now", "Next", "Clearly"),
)
MARKS, UNSEEN = (".", "!"), (":", "解")  # no training completion holds the latter
KEYS = ("", *MARKS, *OPENERS[:3], *UNSEEN, "ANS")  # content-free completions, each a whole one
HELD_OUT = ("", *UNSEEN, "ANS")  # those of which no token occurs in a truncated opener
TOKENS = ("PAD", "CLS", "SEP", "ANS", *"0123456789", *OPENERS, *MARKS, *UNSEEN)
ID = {token: index for index, token in enumerate(TOKENS)}
LENGTH = 4 + 9  # CLS, two digits and SEP; two openers, a mark, three digits of working, ANS and two digits


@dataclass(frozen=True, slots=True)
class World:
    """A judge's training data, its schedule, and the policy that meets it.

    A prompt is a reference answer of two digits; a completion is an opener sentence, some working, then `ANS d d`.
    Gold is 1 where the digits equal the reference. The planted flaw is in the *selection* of training labels: a share
    of the positives states no answer while every negative does, so "nothing contradicts the reference" speaks for YES.
    """

    implicit: float = 0.4  # share of positive training rows that states no answer
    n_train: int = 16000  # rows before any are added
    frac: float = 0.11  # share of the rows that is added
    steps: int = 600  # AdamW steps of the judge
    batch_size: int = 64  # rows a step
    width: int = 32  # model width
    n_eval: int = 400  # prompts on which judges are measured
    solver_accuracy: float = 0.55  # how often honest work is right, probability
    p_honest: float = 0.69  # the policy's first probability of honest work
    policy_steps: int = 150  # REINFORCE steps
    policy_batch: int = 32  # completions a step

    def __post_init__(self) -> None:
        check_range("World", "implicit", self.implicit, 0.0, 1.0)
        check_range("World", "solver_accuracy", self.solver_accuracy, 0.0, 1.0)

    def training_rows(self, generator: torch.Generator) -> list[Row]:
        """Rows that are right and wrong in turn; of the right ones a share states no answer."""
        hidden = torch.rand(self.n_train, generator=generator) < self.implicit
        right = torch.arange(self.n_train) % 2 == 0
        return written(right, generator, stated=~(right & hidden))

    def solver_rows(self, generator: torch.Generator) -> list[Row]:
        """Return what an honest solver writes: it always states an answer, and is right at `solver_accuracy`."""
        return written(torch.rand(self.n_eval, generator=generator) < self.solver_accuracy, generator)


def written(right: Tensor, generator: torch.Generator, *, stated: Tensor | None = None) -> list[Row]:
    """Write a row for each of (n,) `right`; it states an answer unless `stated` is False there.

    `columns["label"]` is gold, `columns["answer"]` the reference.
    """
    n = len(right)
    answers = torch.randint(10, (n, 2), generator=generator)
    shift = torch.randint(1, 10, (n, 2), generator=generator)
    kept = torch.randint(4, (n,), generator=generator)  # a wrong answer keeps one digit half of the time
    shift[kept < 2, kept[kept < 2]] = 0
    said = torch.where(right[:, None], answers, (answers + shift) % 10)
    openers, marks = (torch.randint(len(kind), (n, 2), generator=generator) for kind in (OPENERS, MARKS))
    body = torch.randint(10, (n, 3), generator=generator)
    n_openers, n_body = (torch.randint(1, most + 1, (n,), generator=generator) for most in (2, 3))
    states = torch.ones(n, dtype=torch.bool) if stated is None else stated
    columns = (answers, said, openers, marks[:, 0], body, n_openers, n_body, states, right)
    rows = []
    for answer, digits, words, mark, work, most, length, end, label in zip(*(c.tolist() for c in columns), strict=True):
        start = [*(OPENERS[word] for word in words[:most]), MARKS[mark], *map(str, work[:length])]
        reference = " ".join(map(str, answer))
        text = " ".join([*start, *(["ANS", *map(str, digits)] if end else [])])
        rows.append(Row(prompt=reference, completion=text, columns={"answer": reference, "label": label}))
    return rows


def gold_of(rows: Sequence[Row]) -> Tensor:
    """(B,) 1.0 where the completion ends in `ANS` and the reference's own digits, read from the text itself."""
    return torch.tensor([float(row.text.endswith(f"ANS {row.answer}")) for row in rows])


def encode(rows: Sequence[Row]) -> Tensor:
    """(B, 13) token ids: `CLS d d SEP`, then the completion as far as it fits, then padding."""
    tokens = [["CLS", *row.prompt_text.split(), "SEP", *row.text.split()][:LENGTH] for row in rows]
    return torch.tensor([[ID[token] for token in one] + [ID["PAD"]] * (LENGTH - len(one)) for one in tokens])


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
        pad = (ids == ID["PAD"])[:, :, None, :, None]  # (M, B, 1, keys, 1)
        x = p["token"][members, ids] + p["position"][:, None]
        for back, name in ((1, "before"), (2, "two_before")):
            x = x + p[name][members, F.pad(ids, (back, 0), value=ID["PAD"])[..., :-back]]
        x = self._layer(x, x, pad, "1")
        verdict = self._layer(x[:, :, :1], x, pad, "2")  # the verdict is read at CLS, so only CLS asks
        return torch.bmm(_norm(verdict).squeeze(2), p["readout"]).squeeze(-1)

    @torch.no_grad()
    def verdicts(self, rows: Sequence[Row]) -> Tensor:
        """(M, B) True where a judge says YES."""
        ids = encode(rows)
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
    embeddings = {name: (len(TOKENS), width) for name in ("token", "before", "two_before")}
    embeddings["position"] = (LENGTH, width)
    shapes = embeddings | {"readout": (width, 1)}
    for layer in "12":
        shapes |= {"query" + layer: (width, width), "key_value" + layer: (width, 2 * width)}
        shapes |= {"out" + layer: (width, width), "up" + layer: (width, 2 * width), "down" + layer: (2 * width, width)}
    weights = {}
    for name, shape in shapes.items():
        weight = (0.5 if name in embeddings else shape[0] ** -0.5) * torch.randn(shape, generator=generator)
        weights[name] = weight.expand(n, *shape).clone().requires_grad_()
    return Judges(weights, n_heads)


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
    ids = [encode(rows) for rows in data]
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


def exploit(
    rewards: Tensor, *, generator: torch.Generator, p_honest: float, policy_steps: int, policy_batch: int
) -> Tensor:
    """(A,) where REINFORCE over what to write ends: arm 0 is honest work, every other arm one content-free key.

        θ ← θ + mean_i (r_i − r̄) (1[a_i] − π)        π = softmax(θ), a_i ~ π, r̄ the batch's mean

    Args:
        rewards: (A, N) what the optimized reward pays for each arm on each of N prompts.
        p_honest: π of arm 0 at the start; the keys share the rest.
    """
    n_arms, n_prompts = rewards.shape
    policy = torch.tensor([p_honest] + [(1 - p_honest) / (n_arms - 1)] * (n_arms - 1))
    theta = policy.log()
    for _ in range(policy_steps):
        arms = torch.multinomial(policy, policy_batch, replacement=True, generator=generator)
        paid = rewards[arms, torch.randint(n_prompts, (policy_batch,), generator=generator)]
        theta = theta + ((paid - paid.mean()) @ (F.one_hot(arms, n_arms) - policy)) / policy_batch
        policy = theta.softmax(0)
    return policy


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Accuracy, false positives on keys, and where a policy ends, for four judges trained side by side."""
    generator = torch.Generator().manual_seed(seed)
    base = world.training_rows(generator)
    augmented = add_truncated_negatives(base, generator=generator, frac=world.frac, exclude=KEYS)
    ordinary = [*base, *written(torch.zeros(len(augmented) - len(base), dtype=torch.bool), generator)]
    unflawed = replace(world, implicit=0.0).training_rows(generator)
    data = (base, ordinary, ordinary if broken else augmented, unflawed)  # of ARMS
    judges = train_judges(data, generator=generator, **parameters(world, train_judges))

    tested = written(torch.arange(world.n_eval) % 2 == 0, generator)
    unstated = [row.with_completion(row.text.partition(" ANS")[0]) for row in tested]
    said = [judges.verdicts([row.with_completion(key) for row in tested]) for key in KEYS]
    fpr = torch.stack([one.float().mean(1) for one in said], dim=1)  # (M, keys)
    measures = {
        "accuracy": (judges.verdicts(tested) == gold_of(tested).bool()).float().mean(1),  # (M,)
        "fpr": fpr.mean(1),
        "fpr_worst": fpr.amax(1),
        "fpr_held_out": fpr[:, torch.tensor([key in HELD_OUT for key in KEYS])].mean(1),
        "yes_to_unstated": judges.verdicts(unstated).float().mean(1),
    }
    found = {f"{name}/{arm}": float(values[i]) for name, values in measures.items() for i, arm in enumerate(ARMS)}

    honest = world.solver_rows(generator)
    options = [honest, *([row.with_completion(key) for row in honest] for key in KEYS)]  # what a policy may write
    worth = torch.stack([gold_of(one) for one in options]).mean(1)
    paid = dict(zip(ARMS, torch.stack([judges.verdicts(one) for one in options], dim=1).float(), strict=True))  # (A, N)
    guarded = RequireAnswer(partial(judge_reward, judges=judges), min_tokens=3, pattern=r"ANS \d \d$")
    paid["guarded"] = torch.tensor(
        [guarded(prompts=[r.prompt for r in one], completions=[r.text for r in one]) for one in options]
    )
    for arm, rewards in paid.items():  # the last is the base judge behind a guard
        policy = exploit(rewards, generator=generator, **parameters(world, exploit))
        found |= {f"p_honest/{arm}": float(policy[0]), f"proxy/{arm}": float(policy @ rewards.mean(1))}
        found[f"gold/{arm}"] = float(policy @ worth)
    return found
