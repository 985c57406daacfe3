"""Give closed questions a reward of their own: that decides. A sum of the open features nearly equals their product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.atlas.criteria import All, AtLeast, AtMost, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import proxy_gold_monotonicity
from rewardsmith.transforms import product
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("gold/r3", over="gold/no_branch", at_least=0.3, p_value=0.01),
    AtMost("gold_closed/no_branch", 0.0),
    AtLeast("monotone/r3", 0.4),
    AtMost("monotone/length", -0.4),
    PairedGain("gold/r3", over="gold/relevance", at_least=0.2, p_value=0.01),
    PairedGain("gold/r3", over="gold/relevance_length", at_least=0.2, p_value=0.01),
    PairedGain("gold/r3", over="gold/sum", at_most=0.12),
    PairedGain("gold/saturated", over="gold/r3", at_least=-0.05),
    PairedGain("gold/r3", over="gold/confused", at_least=0.3, p_value=0.01),
)
_R3 = ("length", "relevance", "uniqueness", "branch")
ARMS: dict[str, tuple[str, ...]] = {
    "r3": _R3,
    **{f"no_{part}": tuple(name for name in _R3 if name != part) for part in _R3},
    "sum": (*_R3, "sum"),
    "saturated": ("saturated", *_R3[1:]),
    "confused": (*_R3[:3], "confused"),
    "relevance_length": ("length", "relevance"),
    **{alone: (alone,) for alone in ("relevance", "length", "gold")},
}


class Prompts(NamedTuple):
    """Of B prompts: closed (B,); suitable and reference words (S, B, V); similarities of words to both (S, B, V)."""

    closed: Tensor
    suitable: Tensor
    reference: Tensor
    to_prompt: Tensor
    to_reference: Tensor

    def repeated(self, n: int) -> Prompts:
        """Return n prompts in turn."""
        index = torch.arange(n) % len(self.closed)
        return Prompts(self.closed[index], *(table[:, index] for table in self[1:]))


@dataclass(frozen=True, slots=True)
class World:
    """Open prompts with words that suit them, and as many closed ones that ask for two words; text is bags of words.

    Gold of an open prompt: the share of its suitable words that are named, − .15 per unsuitable word and − .05 per
    repetition. Of a closed one: the share of the reference's words, − .15 per further word.
    """

    n_prompts: int = 6  # open and closed in turn
    n_words: int = 16  # V
    n_suitable: int = 5  # words per prompt; the first two are a closed prompt's reference
    longest: int = 10  # L, words of a response
    near: float = 0.75  # similarity of a suitable word, for the retriever
    far: float = 0.15  # of any other word
    noise: float = 0.12  # standard deviation of similarities
    width: int = 48  # of the policy
    warm_steps: int = 150  # updates on text of random length, half of it suitable
    updates: int = 120  # of the policy gradient
    batch: int = 96  # responses per update
    kl: float = 0.02  # weight of log π/π₀ in the reward
    saturation: int = 5  # words at which the saturated length stops to rise
    learning_rate: float = 3e-3  # of Adam

    def prompts(self, streams: Streams) -> Prompts:
        """Draw the prompts' words and the retriever's similarities."""
        order = torch.stack([streams.randperm(self.n_words) for _ in range(self.n_prompts)], dim=1)
        none = torch.zeros(order.shape, dtype=torch.bool)
        suitable = none.scatter(2, order[..., : self.n_suitable], True)
        reference = none.scatter(2, order[..., :2], True)
        noise = self.noise * streams.randn(2, self.n_prompts, self.n_words)
        similar = [
            torch.where(which, self.near, self.far) + noise[:, k] for k, which in enumerate((suitable, reference))
        ]
        return Prompts(torch.arange(self.n_prompts) % 2 == 1, suitable, reference, *similar)

    def gold(self, words: Tensor, own: Prompts) -> Tensor:
        """Return (S, A, B) gold of words (S, A, B, L); V stands after the end."""
        counts = counted(words, self.n_words)
        named, off = counts > 0, (counts * ~own.suitable[:, None]).sum(-1)
        repeated = (counts - 1).clamp_min(0).sum(-1)
        suits = (named & own.suitable[:, None]).sum(-1) / self.n_suitable - 0.15 * off - 0.05 * repeated
        covered = (named & own.reference[:, None]).sum(-1)
        return torch.where(own.closed, covered / 2 - 0.15 * (counts.sum(-1) - covered), suits)

    def rewards(self, words: Tensor, own: Prompts, *, broken: bool = False) -> Tensor:
        """Return (S, A, B) rewards, each arm by its features.

        Open: length · relevance · uniqueness. Closed: relevance to the reference, to the scale of length, · uniqueness.
        """
        counts = counted(words, self.n_words)
        n = counts.sum(-1)
        near = [(counts * s[:, None]).sum(-1).clamp_min(0) / n.clamp_min(1) for s in (own.to_prompt, own.to_reference)]
        parts = {
            "length": n / self.longest,
            "saturated": n.clamp_max(self.saturation) / self.saturation,
            "relevance": near[0],
            "uniqueness": uniqueness(words, self.n_words),
            "gold": self.gold(words, own),
        }
        found = []
        for arm, names in enumerate(ARMS.values()):
            used = torch.stack([parts[name][:, arm] for name in names if name in parts])
            for_open = used.mean(0) if "sum" in names else product(used.flatten(1).T).view_as(used[0])
            unique = parts["uniqueness"][:, arm] if "uniqueness" in names else 1.0
            for_closed = near[1][:, arm] / self.near * unique
            branch = "branch" in names and not (broken and arm == 0)
            asked = own.closed if branch else ~own.closed if "confused" in names else torch.zeros_like(own.closed)
            found.append(torch.where(asked, for_closed, for_open))
        return torch.stack(found, 1)

    def inputs(self, words: Tensor) -> Tensor:
        """Return (S, A, B, L, d) inputs of the policy: prompt, word before, words so far, place."""
        v, shape = self.n_words, words.shape
        one = F.one_hot(F.pad(words[..., :-1], (1, 0), value=v), v + 1)
        prompt = F.one_hot(torch.arange(shape[2]) % self.n_prompts, self.n_prompts)[:, None].expand(*shape, -1)
        place = torch.eye(shape[-1], dtype=torch.int64).expand(*shape, -1)
        return torch.cat(
            [prompt, one, one[..., :v].cumsum(-2), F.pad(place, (0, self.longest - shape[-1]))], -1
        ).double()

    def logps(self, policy: BatchedMLP, words: Tensor) -> Tensor:
        """Return (S, A, B) log-probabilities of responses with their end."""
        logits: Tensor = policy(self.inputs(words).flatten(2, 3))
        chosen = logits.log_softmax(-1).view(*words.shape, -1).gather(-1, words[..., None])[..., 0]
        before = F.pad(words[..., :-1], (1, 0), value=0)
        return (chosen * (before != self.n_words)).sum(-1)

    def sample(self, policy: BatchedMLP, streams: Streams, n: int) -> Tensor:
        """Draw (S, A, n, L) responses to the prompts in turn."""
        words = torch.full((*policy.lead, n, 0), 0)
        for _ in range(self.longest):
            x = self.inputs(F.pad(words, (0, 1)))[..., -1, :]
            p = policy(x).softmax(-1)
            word = sample_index(p, streams.rand(1, n).expand(p.shape[:-1]))
            ended = (words == self.n_words).any(-1)
            words = torch.cat([words, word.masked_fill(ended, self.n_words)[..., None]], -1)
        return words

    def demonstrations(self, own: Prompts, streams: Streams) -> Tensor:
        """Draw (S, 1, B, L) texts of random length, each word suitable or any with equal chance."""
        suitable = own.suitable.double()
        p = 0.5 * suitable / self.n_suitable + 0.5 / self.n_words
        words = sample_index(p[:, :, None], streams.rand(len(own.closed), self.longest))
        ends = 1 + streams.randint(self.longest, len(own.closed), 1)
        return words.masked_fill(torch.arange(self.longest) >= ends, self.n_words)[:, None]


def counted(words: Tensor, n_words: int) -> Tensor:
    """Return (S, A, B, V) how often each word is said."""
    return F.one_hot(words, n_words + 1)[..., :n_words].sum(-2).double()


def uniqueness(words: Tensor, end: int) -> Tensor:
    """Return (S, A, B) distinct trigrams over trigrams, 1 where there is none."""
    grams = words.unfold(-1, 3, 1)
    code = (grams * torch.tensor([1, end, end**2])).sum(-1)
    code = torch.where((grams != end).all(-1), code, -1 - torch.arange(code.shape[-1]))  # no trigram equals these
    code = code.sort(-1).values
    first = F.pad(code[..., 1:] != code[..., :-1], (1, 0), value=True) & (code >= 0)
    return first.sum(-1).clamp_min(1) / (code >= 0).sum(-1).clamp_min(1)


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure gold after training on each arm's reward, on both kinds of prompt, and how proxy and gold move."""
    streams = Streams(seeds)
    prompts = world.prompts(streams)
    own, tests = prompts.repeated(world.batch), prompts.repeated(10 * world.batch)
    width = world.n_prompts + 2 * world.n_words + 1 + world.longest
    start = BatchedMLP((width, world.width, world.n_words + 1), lead=(len(streams), 1), streams=streams)
    for _ in adam_steps(start.parameters(), world.warm_steps, learning_rate=1e-2):
        torch.autograd.backward(-world.logps(start, world.demonstrations(own, streams)).mean(-1).sum())
    base, policy = start.take([0] * len(ARMS)).requires_grad_(False), start.take([0] * len(ARMS))
    seen = []
    for step in adam_steps(policy.parameters(), world.updates, learning_rate=world.learning_rate):
        with torch.no_grad():
            words = world.sample(policy, streams, world.batch)
        rewards, logps = world.rewards(words, own, broken=broken), world.logps(policy, words)
        if step % 10 == 0:
            both = torch.stack([rewards, world.gold(words, own)])
            seen.append(both.view(*both.shape[:3], -1, world.n_prompts).mean(-2))
        credit = rewards - world.kl * (logps.detach() - world.logps(base, words))
        credit = (credit - credit.mean(-1, keepdim=True)) / credit.std(-1, keepdim=True).clamp_min(1e-6)
        torch.autograd.backward(-(credit * logps).mean(-1).sum())
    with torch.no_grad():
        words = world.sample(policy, streams, 10 * world.batch)
    gold = world.gold(words, tests)
    curves = torch.stack(seen).numpy()  # (C, 2, S, A, X)
    rho = [[proxy_gold_monotonicity(*arm).rho.value for arm in one] for one in curves.transpose(2, 3, 1, 0, 4)]
    measured = {
        "gold": gold.mean(-1), "gold_open": gold[..., ~tests.closed].mean(-1),
        "gold_closed": gold[..., tests.closed].mean(-1), "monotone": torch.tensor(rho),
        "words_open": counted(words, world.n_words).sum(-1)[..., ~tests.closed].mean(-1),
    }  # fmt: skip
    return rows({metric: dict(zip(ARMS, values.unbind(1), strict=True)) for metric, values in measured.items()})


figure = partial(
    dots, series={"open prompts": "gold_open/{}", "closed prompts": "gold_closed/{}"}, label="gold after training"
)
