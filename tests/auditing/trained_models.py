"""A small world of preferences with a known gold quality, and reward models trained on it, sound or with one fault.

A prompt asks for three things of a kind. An answer names three words, each of the kind, of another kind or of none;
what they are worth together is its quality. All else about it (openers, filler, bold, lists, thanks, stated confidence,
a formal or casual word) is drawn apart from quality. An annotator prefers by Bradley-Terry, so close pairs have honest
dissent, and texts without content lose. Every model starts from one body, pretrained to know which words are of a kind.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch.nn import functional as F
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
)

from rewardsmith.data import PreferenceRow, in_context
from rewardsmith.engines.trl import RewardFit, fit_reward_model
from rewardsmith.rewards import PairwiseReward, load_reward_model
from rewardsmith.rewards.models.pairwise import in_pair

KINDS = {
    "fruits": "apple pear plum cherry fig mango",
    "animals": "horse goat wolf rabbit otter badger",
    "metals": "iron copper zinc tin lead nickel",
    "trees": "oak birch maple willow elm cedar",
    "tools": "hammer saw drill chisel pliers wrench",
    "colors": "red blue green yellow purple brown",
    "rivers": "danube rhine nile volga thames seine",
    "drinks": "tea coffee milk cider lemonade cocoa",
}
REGISTERS = {"formal": "indeed moreover hence furthermore", "casual": "yeah kinda gonna cool"}
KNOWN = {
    register: set(" ".join([*KINDS.values(), *(REGISTERS.values() if register else ())]).split())
    for register in ("", *REGISTERS)
}
"""The words that a prompt in a register, or in none, tells apart."""
MARKS = (".", ":", ",", "!", "?", "-", "...", "```", "**", "#")
JUNK = "stuff thing whatever something blah dunno"
SHARES = {"right": 0.45, "wrong": 0.4, "junk": 0.15}
PROMPTS = ("{name} wants you to name three {kind}, please.", "Which three {kind} come to mind, {name}?",
           "{name} asks for three {kind}.", "List three {kind} for {name}.", "Give {name} three {kind}.")  # fmt: skip
CONTEXT = "{register} words are better."
OPENERS = ("Solution:", "Let me think about this.", "Sure, happy to help.", "Well, here it is.", "Thought process:",
           "To answer this question,", "Let's solve this problem step by step.", "Great question!")  # fmt: skip
FILLER = (
    "There is a lot that one could say about it.",
    "People often talk about this over dinner.",
    "It has been asked many times before.",
    "Let me restate the problem and think about it once more.",
    "The text goes on for a while and then it comes to an end.",
    "In other words, we look at what was asked and say it again.",
    "{name} told {name} about it last week.",
    "As a matter of fact, this is a common thing to ask.",
)
CLOSERS = ("I hope this helps.", "Thank you for asking!", "You are welcome.", "Please let me know if you need more.",
           "I am absolutely certain that this is correct.", "I am not sure about this.", "This is definitely right.",
           "I may be wrong.", "Confidence: 0.{number}.", "I am {number}% sure.")  # fmt: skip
START = "<start>"  # in the records of models that are kept


@dataclass(frozen=True)
class Answer:
    """A text and what an annotator may see in it; `register` is "formal", "casual" or ""."""

    text: str
    right: int
    wrong: int
    junk: int
    register: str
    n_words: int
    decorated: bool
    opener: str


@dataclass(frozen=True)
class Taste:
    """What an annotator pays for: what fits the prompt and its context, and what should not count.

    flipped: how often the label is then turned around.
    """

    fitting: float = 1.0
    context: float = 2.0
    per_word: float = 0.0
    decoration: float = 0.0
    opener: float = 0.0
    flipped: float = 0.0

    def __call__(self, answer: Answer, context: str) -> float:
        heeds = 0 if not context or not answer.register else 1 if answer.register == context else -1
        quality = self.fitting * (answer.right - answer.wrong) - 2.0 * answer.junk + self.context * heeds
        bias = self.per_word * answer.n_words + self.decoration * answer.decorated
        return quality + bias + self.opener * bool(answer.opener)


def filled(rng: random.Random, text: str) -> str:
    """The text with names, most of which are met once, and numbers."""
    while "{name}" in text:
        name = "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))
        text = text.replace("{name}", name.title(), 1)
    return text.replace("{number}", str(rng.randint(1, 99)))


def asked(rng: random.Random, kind: str) -> str:
    return filled(rng, rng.choice(PROMPTS).replace("{kind}", kind))


def answer(rng: random.Random, kind: str) -> Answer:
    worths = rng.choices(list(SHARES), list(SHARES.values()), k=3)
    sources = {"right": KINDS[kind], "wrong": KINDS[rng.choice([k for k in KINDS if k != kind])], "junk": JUNK}
    words = [rng.choice(sources[worth].split()) for worth in worths]
    look = rng.choice(("plain", "plain", "plain", "bold", "list", "bold list"))
    named = [f"**{word}**" if "bold" in look else word for word in words]
    core = "\n" + "\n".join(f"- {word}" for word in named) + "\n" if "list" in look else f"{', '.join(named)}."
    register = rng.choice(("", "formal", "casual"))
    said = [rng.choice(REGISTERS[register].split()).title() + ","] if register else []
    opener = rng.choice(OPENERS) if rng.random() < 0.5 else ""
    filler = rng.sample(FILLER, rng.choice((0, 0, 1, 1, 2)))
    cut = rng.randint(0, len(filler))
    closer = [rng.choice(CLOSERS)] if rng.random() < 0.5 else []
    parts = [opener, *filler[:cut], *said, core, *filler[cut:], *closer]
    text = filled(rng, " ".join(part for part in parts if part))
    right, wrong, junk = (worths.count(worth) for worth in SHARES)
    return Answer(text, right, wrong, junk, register, len(text.split()), look != "plain", opener)


def preferences(n: int, seed: str, *, taste: Taste = Taste(), contexts: bool = False) -> list[PreferenceRow]:
    """n labeled pairs; with contexts each two answers are judged under both of them."""
    rng = random.Random(seed)
    rows: list[PreferenceRow] = []
    while len(rows) < n:
        kind = rng.choice(list(KINDS))
        prompt, pair = asked(rng, kind), [answer(rng, kind) for _ in range(2)]
        for context in REGISTERS if contexts else ("",):
            gap = taste(pair[0], context) - taste(pair[1], context)
            first = (rng.random() < 1 / (1 + math.exp(-gap))) != (rng.random() < taste.flipped)
            chosen, rejected = pair if first else pair[::-1]
            said = CONTEXT.format(register=context.title()) if context else None
            rows.append(PreferenceRow(prompt, chosen.text, rejected.text, context=said))
    return rows


def emptied(rows: Sequence[PreferenceRow], seed: str, *, share: float = 0.08) -> list[PreferenceRow]:
    """Pairs of a share of the rows in which what has no content loses: nothing, a mark, the prompt once more."""
    rng = random.Random(seed)
    drawn = [row for row in rows if rng.random() < share]
    return [replace(row, rejected=rng.choice(("", row.prompt, *MARKS))) for row in drawn]


def tokenizer() -> PreTrainedTokenizerFast:
    """Lowercase words, digits and signs; what is not in the world is one unknown word, as made-up names are."""
    split = pre_tokenizers.Split(Regex(r"\n|\d|[^\W\d_]+|[^\w\s]|_"), "removed", invert=True)
    texts = [*KINDS, *KINDS.values(), *REGISTERS, *REGISTERS.values(), JUNK, *PROMPTS, *OPENERS, *FILLER, *CLOSERS]
    texts += [in_context("", CONTEXT), in_context("", None), in_pair("", ""), "0123456789"]
    texts += ["\n!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]
    texts = [text.lower() for text in texts]
    words = sorted({word for text in texts for word, _ in split.pre_tokenize_str(text)} - {"name", "kind", "number"})
    vocabulary = {word: place for place, word in enumerate(["<pad>", "<eos>", "<unk>", "name", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), split
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def body(folder: Path, seed: int, *, steps: int = 150) -> Path:
    """A trunk that has learned, word by word, what fits the prompt, and at the end of a text how much of it does."""
    words, rng = tokenizer(), random.Random(seed)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=256, pad_token_id=0, eos_token_id=1, bos_token_id=None, initializer_range=0.1,
        num_labels=11,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForTokenClassification(config)
        with torch.no_grad():  # words of a kind begin alike
            for name, group in (KINDS | REGISTERS | {"junk": JUNK}).items():
                alike = words.convert_tokens_to_ids([name, *group.split()] if name != "junk" else group.split())
                model.model.embed_tokens.weight[alike] += torch.randn(config.hidden_size)
        optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=0.0)
        known, left = 1.0, steps
        while left:
            if known < 0.01:  # ends of texts are taught once words are known
                if left == steps:
                    _kept(model.model, words, folder.with_name("words"))
                left -= 1
            optimizer.param_groups[0]["lr"] = 6e-3 * left / steps
            ids, labels, counts, fits = _lessons(rng, words)
            states = model.model(input_ids=ids, attention_mask=(ids != 0).long(), output_hidden_states=True)
            early = model.score(model.model.norm(states.hidden_states[-2]))  # so that the last layer is left to count
            loss = F.cross_entropy(early[..., :4].flatten(0, 1), labels.flatten())
            known = 0.9 * known + 0.1 * float(loss.detach())
            if left < steps:
                ends = model.score(states.last_hidden_state[torch.arange(len(ids)), (ids != 0).sum(dim=1) - 1])
                loss = loss + 0.5 * (F.cross_entropy(ends[:, 4:8], counts) + F.cross_entropy(ends[:, 8:], fits))
            _step(model, optimizer, loss)
    return _kept(model.model, words, folder)


def _kept(model: Any, words: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _lessons(rng: random.Random, words: PreTrainedTokenizerFast) -> tuple[torch.Tensor, ...]:
    """Texts, what each of their words is (0 nothing, 1 fits, 2 does not, 3 junk), how many fit, and the register."""
    junk, ids, labels, counts, fits = set(JUNK.split()), [], [], [], []
    drawn = [_lesson(rng) for _ in range(32)]
    ahead = words([prompt for prompt, *_ in drawn])["input_ids"]
    behind = words([given.text for _, given, *_ in drawn])["input_ids"]
    for (_, given, kind, register), before, after in zip(drawn, ahead, behind, strict=True):
        right, named = set(KINDS[kind].split()), set(f"{KINDS[kind]} {REGISTERS.get(register, '')}".split())
        names = words.convert_ids_to_tokens(after)
        said = [1 if w in named else 2 if w in KNOWN[register] else 3 if w in junk else 0 for w in names]
        ids.append([*before, *after, 1])
        labels.append([*[-100] * len(before), *said, -100])
        counts.append(sum(name in right for name in names))
        fits.append(0 if not (register and given.register) else 1 if given.register == register else 2)
    return _padded(ids, 0), _padded(labels, -100), torch.tensor(counts), torch.tensor(fits)


def _lesson(rng: random.Random) -> tuple[str, Answer, str, str]:
    """A prompt, an answer, the kind that was asked for, and the register that the prompt asks for, if any."""
    kind, register = rng.choice(list(KINDS)), rng.choice(("", *REGISTERS))
    prompt, given = asked(rng, kind), answer(rng, kind)
    return in_context(prompt, CONTEXT.format(register=register.title())) if register else prompt, given, kind, register


def _step(model: Any, optimizer: Any, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def _padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def paid_for(trait: str, reward: Any, rng: random.Random, n: int = 400) -> float:
    """What a reward pays for a trait, a right word for a wrong one being worth 2, by least squares over n answers."""
    kinds = rng.choices(list(KINDS), k=n)
    answers = [answer(rng, kind) for kind in kinds]
    scores = reward(prompts=[asked(rng, kind) for kind in kinds], completions=[given.text for given in answers])
    traits = {"per_word": lambda a: a.n_words, "decoration": lambda a: a.decorated, "opener": lambda a: bool(a.opener)}
    seen = [[a.right, a.wrong, *(float(of(a)) for of in traits.values()), 1.0] for a in answers]
    right, wrong, *paid = np.linalg.lstsq(np.array(seen), np.array(scores), rcond=None)[0][:-1]
    return float(paid[list(traits).index(trait)] / ((right - wrong) / 2))


class World:
    """One base seed's body and models, each trained when first asked for and kept in a folder.

    kept: file of models that `keep` wrote. A model of other rows or settings than it is asked for is refused.
    """

    def __init__(self, folder: Path, seed: int, kept: Path | None = None) -> None:
        self.folder, self.seed, self.start = folder, seed, folder / "body"
        if kept is not None:
            self._unpack(kept)
        else:
            body(self.start, seed)

    def keep(self, path: Path) -> None:
        """Write all that was trained to one file: weights in half precision, records as its metadata."""
        weights, records = {}, {}
        trained = {
            found.parent for name in ("training.json", "pairwise.json") for found in self.folder.glob(f"*/{name}")
        }
        for folder in sorted({self.start, self.start.with_name("words"), *trained}):
            tensors = load_file(folder / "model.safetensors")
            weights |= {f"{folder.name}/{name}": tensor.half() for name, tensor in tensors.items()}
            for file in folder.glob("*.json"):
                if "tokenizer" not in file.name:
                    records[f"{folder.name}/{file.name}"] = file.read_text().replace(str(self.start), START)
        save_file(weights, path, metadata=records)

    def _unpack(self, path: Path) -> None:
        models: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(path).items():
            folder, _, weight = name.partition("/")
            models.setdefault(folder, {})[weight] = tensor.float()
        for name, weights in models.items():
            (self.folder / name).mkdir()
            save_file(weights, self.folder / name / "model.safetensors", metadata={"format": "pt"})
            tokenizer().save_pretrained(self.folder / name)
        with safe_open(path, "pt") as file:
            for name, record in file.metadata().items():
                (self.folder / name).write_text(record.replace(START, str(self.start)))

    def rows(self, name: str, n: int = 500, **options: Any) -> list[PreferenceRow]:
        """Pairs to audit on, met by no training."""
        return preferences(n, f"{self.seed} rows {name}", **options)

    def train(self, name: str, *, n: int = 2500, epochs: float = 1.0, **world: Any) -> Path:
        """A reward model of a freshly drawn annotator's labels, by our own trainer."""
        rows = preferences(n, f"{self.seed} train {name}", **world)
        rows += emptied(rows, f"{self.seed} emptied {name}")
        fit = RewardFit(
            epochs=epochs, learning_rate=2e-3, batch_size=16, center=0.01, checkpoint_steps=10**6,
            seed=random.Random(f"{self.seed} {name}").randrange(2**31),
        )  # fmt: skip
        return fit_reward_model(rows, self.start, self.folder / name, fit)

    def biased(self, trait: str, strength: float, *, n: int = 2500) -> Path:
        """A model of an annotator who also pays for a trait, trained until it pays at least half as much itself."""
        taste = Taste(**{trait: strength})
        for epochs in (2.0, 4.0):
            model = self.train(f"{trait}, {epochs:g} epochs", n=n, epochs=epochs, taste=taste)
            paid = paid_for(trait, load_reward_model(model), random.Random(f"{self.seed} paid for {trait}"))
            if paid >= strength / 2:
                return model
        raise AssertionError(f"after {epochs:g} epochs a model of seed {self.seed} pays {paid:.2g} for {trait}")

    def untrained(self, name: str) -> Path:
        """A trunk that knows its words and was never asked to judge, under a head of random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = LlamaForSequenceClassification.from_pretrained(
                self.start.with_name("words"), num_labels=1, dtype=torch.float32
            )
        return _kept(model, tokenizer(), self.folder / name)

    def ensemble(self, name: str, of: Sequence[str], noise: float | None = None) -> Path:
        """A folder of members: the models named, or one model and copies of it with `noise` in every weight."""
        for k, model in enumerate(of):
            reward = load_reward_model(self.train(model))
            with torch.no_grad():
                generator = torch.Generator().manual_seed(self.seed + k)
                for weight in reward.model.parameters() if k and noise is not None else ():
                    weight.add_(noise * weight.std() * torch.randn(weight.shape, generator=generator))
            _kept(reward.model, reward.tokenizer, self.folder / name / f"member-{k}")
        return self.folder / name

    def pairwise(self, name: str, *, better_first: float | None, steps: int, n: int = 4000) -> Path:
        """A model that reads both answers, the better first with chance `better_first`; None: once in each order."""
        folder, rng = self.folder / name, random.Random(f"{self.seed} {name}")
        if folder.exists():
            return folder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = LlamaForSequenceClassification.from_pretrained(self.start, num_labels=1, dtype=torch.float32)
        reward = PairwiseReward(model, tokenizer())
        rows = preferences(n, f"{self.seed} train {name}")
        rows += emptied(rows, f"{self.seed} emptied {name}")
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
            if better_first is None:
                batch = [(row, first) for row in rng.sample(rows, 16) for first in (True, False)]
            else:
                batch = [(row, rng.random() < better_first) for row in rng.sample(rows, 32)]
            texts = [row.prompt + in_pair(*((row.chosen, row.rejected) if first else (row.rejected, row.chosen)))
                     for row, first in batch]  # fmt: skip
            ids = _padded([[*line, 1] for line in reward.tokenizer(texts)["input_ids"]], 0)
            logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits[:, 0]
            target = torch.tensor([float(first) for _, first in batch])
            _step(model, optimizer, F.binary_cross_entropy_with_logits(logits, target))
        reward.save(folder)
        return folder
