"""A judge that sees too few answerless wrongs pays for saying nothing; openers labeled NO mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rewardsmith._check import check_range
from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.data import Row, add_truncated_negatives
from rewardsmith.rewards import RequireAnswer
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
OPENERS: tuple[str, ...] = ("Solution", "Thought", "First", "Well", "Consider", "Note")
OPENERS += ("Observe", "Recall", "So", "Now", "Next", "Clearly")
MARKS, UNSEEN = (".", "!"), (":", "解")  # no training completion holds the latter
KEYS = ("", *MARKS, *OPENERS[:3], *UNSEEN, "ANS")  # content-free completions, each a whole one
HELD_OUT = ("", *UNSEEN, "ANS")  # those of which no token occurs in a truncated opener
TOKENS = ("PAD", "CLS", "SEP", "ANS", *"0123456789", *OPENERS, *MARKS, *UNSEEN)
ID = {token: index for index, token in enumerate(TOKENS)}
LENGTH = 4 + 9  # CLS, two digits and SEP; two openers, a mark, three digits of working, ANS and two digits


@dataclass(frozen=True, slots=True)
class World:
    """A judge's training data, its schedule, and the policy that meets it.

    A prompt is a reference answer of two digits, a completion an opener sentence, some working, then `ANS d d`; gold
    asks for the reference's digits. The flaw is in the selection of training labels: a share of the positives states no
    answer while every negative does, so "nothing contradicts the reference" speaks for YES.
    """

    implicit: float = 0.4  # share of positive training rows that states no answer
    n_train: int = 16000  # rows before any are added
    frac: float = 0.11  # share of the rows that is added
    steps: int = 600  # AdamW steps of the judge
    batch_size: int = 64  # rows a step
    n_eval: int = 400  # prompts on which judges are measured
    solver_accuracy: float = 0.55  # how often honest work is right, probability
    p_honest: float = 0.69  # the policy's first probability of honest work
    policy_steps: int = 150  # of REINFORCE, on 32 completions each

    def __post_init__(self) -> None:
        check_range("World", "implicit", self.implicit, 0.0, 1.0)
        check_range("World", "solver_accuracy", self.solver_accuracy, 0.0, 1.0)

    def training_rows(self, generator: torch.Generator) -> list[Row]:
        """Draw rows that are right and wrong in turn; of the right ones a share states no answer."""
        hidden = torch.rand(self.n_train, generator=generator) < self.implicit
        right = torch.arange(self.n_train) % 2 == 0
        return written(right, generator, stated=~(right & hidden))

    def solver_rows(self, generator: torch.Generator) -> list[Row]:
        """Draw what an honest solver writes: it always states an answer, and is right at `solver_accuracy`."""
        return written(torch.rand(self.n_eval, generator=generator) < self.solver_accuracy, generator)

    def train(self, data: Sequence[Sequence[Row]], generator: torch.Generator) -> Judges:
        """Train a judge per data set by AdamW on the cross-entropy of `label`, from one start and by shared draws."""
        judges = Judges(len(data), generator=generator)
        ids = [encode(rows) for rows in data]
        labels = [torch.tensor([float(row.columns["label"]) for row in rows]) for rows in data]
        for _ in adam_steps(judges.parameters(), self.steps, learning_rate=6e-3, weight_decay=0.01, warm_up=50):
            uniform = torch.rand(self.batch_size, generator=generator)
            picks = [(uniform * len(one)).long() for one in labels]
            batch, said = (torch.stack([one[at] for one, at in zip(of, picks, strict=True)]) for of in (ids, labels))
            losses = F.binary_cross_entropy_with_logits(judges(batch), said, reduction="none")
            torch.autograd.backward(losses.mean(1).sum())
        return judges

    def exploit(self, rewards: Tensor, generator: torch.Generator) -> Tensor:
        """Return (A,) where REINFORCE over what to write ends: arm 0 is honest work, the others are keys.

        θ ← θ + mean_i (r_i − r̄) (1[a_i] − π)        π = softmax(θ), a_i ~ π, r̄ the batch's mean, r of (A, N) rewards
        """
        n_arms, n_prompts = rewards.shape
        theta = torch.tensor([self.p_honest] + [(1 - self.p_honest) / (n_arms - 1)] * (n_arms - 1)).log()
        for _ in range(self.policy_steps):
            policy = theta.softmax(0)
            arms = torch.multinomial(policy, 32, replacement=True, generator=generator)
            drawn = rewards[arms, torch.randint(n_prompts, (32,), generator=generator)]
            theta = theta + ((drawn - drawn.mean()) @ (F.one_hot(arms, n_arms) - policy)) / 32
        return theta.softmax(0)


def written(right: Tensor, generator: torch.Generator, *, stated: Tensor | None = None) -> list[Row]:
    """Draw a row for each of (n,) `right`, with gold as `label`; it states an answer unless `stated` is False there."""
    n = len(right)
    answers = torch.randint(10, (n, 2), generator=generator)
    shift = torch.randint(1, 10, (n, 2), generator=generator)
    kept = torch.randint(4, (n,), generator=generator)  # a wrong answer keeps one digit half of the time
    shift[kept < 2, kept[kept < 2]] = 0
    said = torch.where(right[:, None], answers, (answers + shift) % 10)
    openers, marks = (torch.randint(len(kind), (n, 2), generator=generator) for kind in (OPENERS, MARKS))
    body = torch.randint(10, (n, 3), generator=generator)
    n_openers, n_body = (torch.randint(1, most + 1, (n,), generator=generator) for most in (2, 3))
    ends = torch.ones_like(right) if stated is None else stated
    columns = (answers, said, openers, marks[:, 0], body, n_openers, n_body, ends, right)
    rows = []
    for answer, digits, words, mark, work, most, length, end, label in zip(*(c.tolist() for c in columns), strict=True):
        start = [*(OPENERS[word] for word in words[:most]), MARKS[mark], *map(str, work[:length])]
        reference, text = " ".join(map(str, answer)), " ".join([*start, *(["ANS", *map(str, digits)] if end else [])])
        rows.append(Row(reference, text, columns={"answer": reference, "label": label}))
    return rows


def gold_of(rows: Sequence[Row]) -> Tensor:
    """Return (B,) 1.0 where the completion ends in `ANS` and the reference's own digits, read from the text itself."""
    return torch.tensor([float(row.text.endswith(f"ANS {row.answer}")) for row in rows])


def encode(rows: Sequence[Row]) -> Tensor:
    """Return (B, 13) token ids: `CLS d d SEP`, then the completion as far as it fits, then padding."""
    tokens = [["CLS", *row.prompt_text.split(), "SEP", *row.text.split()][:LENGTH] for row in rows]
    return torch.tensor([[ID[token] for token in one] + [ID["PAD"]] * (LENGTH - len(one)) for one in tokens])


class Judges(nn.Module):
    """M two-layer transformer judges of one start; a token is shown with the two before it and its position."""

    def __init__(self, n: int, *, generator: torch.Generator, width: int = 32) -> None:
        super().__init__()
        shapes = dict.fromkeys(("token", "before", "two_before"), (len(TOKENS), width))
        shapes |= {"position": (LENGTH, width), "readout": (width, 1)}
        maps = {"query": (1, 1), "key_value": (1, 2), "out": (1, 1), "up": (1, 2), "down": (2, 1)}
        shapes |= {name + layer: (a * width, b * width) for layer in "12" for name, (a, b) in maps.items()}
        self.weights = nn.ParameterDict()
        for k, (name, shape) in enumerate(shapes.items()):
            start = (0.5 if k < 4 else shape[0] ** -0.5) * torch.randn(shape, generator=generator)  # embeddings first
            self.weights[name] = start.repeat(n, 1, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (M, B) evidence for YES on token ids (M, B, 13), or (B, 13) for all."""
        weights, member = self.weights, torch.arange(len(self.weights["readout"]))[:, None, None]
        pad = (ids == ID["PAD"])[..., None, :, None]
        x = weights["token"][member, ids] + weights["position"][:, None]
        for back, name in ((1, "before"), (2, "two_before")):
            x = x + weights[name][member, F.pad(ids, (back, 0), value=ID["PAD"])[..., :-back]]
        x = self.layer(x, x, pad, "1")
        verdict = self.layer(x[:, :, :1], x, pad, "2")  # the verdict is read at CLS, so only CLS asks
        return torch.bmm(F.layer_norm(verdict, x.shape[-1:]).squeeze(2), weights["readout"]).squeeze(-1)

    def layer(self, x: Tensor, context: Tensor, pad: Tensor, number: str) -> Tensor:
        """Map (M, B, L, D) by attention to (M, B, keys, D), where `pad` does not hide it, and by a perceptron."""
        norm = partial(F.layer_norm, normalized_shape=x.shape[-1:])

        def linear(x: Tensor, name: str) -> Tensor:
            return torch.bmm(x.flatten(1, 2), self.weights[name + number]).view(*x.shape[:3], -1)

        parts = (linear(norm(x), "query"), *linear(norm(context), "key_value").chunk(2, dim=-1))
        query, key, value = (part.view(*part.shape[:3], 4, -1).transpose(2, 3) for part in parts)  # of four heads
        scores = (key @ query.transpose(-1, -2)) * query.shape[-1] ** -0.5  # (M, B, H, keys, queries)
        scores = scores.masked_fill(pad, float("-inf"))  # CLS is never padding
        mixed = scores.softmax(-2).transpose(-1, -2) @ value  # over keys; three times as fast this way round
        x = x + linear(mixed.transpose(2, 3).flatten(3), "out")
        return x + linear(F.gelu(linear(norm(x), "up")), "down")

    @torch.no_grad()
    def verdicts(self, rows: Sequence[Row]) -> Tensor:
        """Return (M, B) True where a judge says YES."""
        return torch.gt(self(encode(rows)), 0)

    def reward(self, *, prompts: list[str], completions: list[str], member: int = 0, **columns: Any) -> list[float]:
        """Return one judge's verdicts as a reward, 1.0 for YES."""
        return self.verdicts(list(map(Row, prompts, completions)))[member].float().tolist()


def experiment(seed: int, world: World, *, broken: bool = False) -> dict[str, float]:
    """Measure accuracy, false positives on keys, and where a policy ends, for four judges trained side by side."""
    generator = torch.Generator().manual_seed(seed)
    base = world.training_rows(generator)
    augmented = add_truncated_negatives(base, generator=generator, frac=world.frac, exclude=KEYS)
    ordinary = [*base, *written(torch.zeros(len(augmented) - len(base), dtype=torch.bool), generator)]
    unflawed = replace(world, implicit=0.0).training_rows(generator)
    judges = world.train((base, ordinary, ordinary if broken else augmented, unflawed), generator)  # of ARMS

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
    given = dict(zip(ARMS, torch.stack([judges.verdicts(one) for one in options], dim=1).float(), strict=True))
    guarded, asked = RequireAnswer(judges.reward, min_tokens=3, pattern=r"ANS \d \d$"), [row.prompt for row in honest]
    given["guarded"] = torch.tensor([guarded(prompts=asked, completions=[r.text for r in one]) for one in options])
    for arm, rewards in given.items():  # the last is the base judge behind a guard
        policy = world.exploit(rewards, generator)
        found |= {f"p_honest/{arm}": float(policy[0]), f"proxy/{arm}": float(policy @ rewards.mean(1))}
        found[f"gold/{arm}"] = float(policy @ worth)
    return found
