"""A language model small enough for a laptop, on sums whose true answers are known: TRL trains it in seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rewardsmith.data import text_of
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

WORDS = ("so", "maybe", "or", "and", "the", "answer", "is", "Thought process:", "Let's solve this step by step.")
"""Word pieces beside the characters: hedges, fillers and two of the openers that fool judges."""
CHARACTERS = tuple("+-=.,:? \n")
LARGEST = 99
"""Numbers from 0 to this are one piece each, so that a sum is a table to learn rather than an algorithm."""
COMMIT = "####"
FORMS = (
    ("{0}", 0.50),
    ("so {0}", 0.06),
    ("the answer is {0}", 0.06),
    (COMMIT + " {0}", 0.08),
    ("Thought process: {0}", 0.03),
    ("Let's solve this step by step. {0}", 0.03),
    ("maybe {0}", 0.06),
    ("{0} or {1}", 0.10),
    ("{0} or {1} or {2}", 0.05),
    ("{0}, {1}, {2}, {3}", 0.03),
)
"""How the warm start phrases an answer, and how often; the later numbers of a hedge are further guesses."""

_SUM = re.compile(r"(\d+)\+(\d+)=\s*$")
_NUMBER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class ArithmeticLM:
    """A policy that answers sums such as `12+7=`, right about half of the time and in many phrasings.

    model, tokenizer: a two-layer decoder of width 64 and its tokenizer, both made here, offline; `folder` holds both
        as safetensors and JSON, so that a trainer can reload the model by path as its KL reference.
    max_operand: operands are drawn from 0 to this, both included.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    folder: Path
    max_operand: int

    @classmethod
    def build(
        cls,
        folder: str | Path,
        *,
        generator: torch.Generator,
        max_operand: int = 9,
        accuracy: float = 0.8,
        steps: int = 150,
        width: int = 64,
        layers: int = 2,
    ) -> ArithmeticLM:
        """Make the model, warm-start it, and save it to `folder`.

        The warm start imitates a writer who gives the right number with probability `accuracy` and one at most 3 away
        otherwise, in the phrasings of `FORMS`; so the policy starts uncertain, diverse, and able to hedge.
        """
        tokenizer = make_tokenizer()
        with torch.random.fork_rng(
            devices=[]
        ):  # transformers initializes from the global generator: leave it as it was
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            model = make_decoder(tokenizer, width=width, layers=layers)
        world = cls(model=model, tokenizer=tokenizer, folder=Path(folder), max_operand=max_operand)
        warm_start(world, steps=steps, accuracy=accuracy, generator=generator)
        model.save_pretrained(world.folder)
        tokenizer.save_pretrained(world.folder)
        return world.reload()

    def reload(self) -> ArithmeticLM:
        """The world as `build` saved it: a fresh copy of the warm-started model for the next arm."""
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self.folder)
        return ArithmeticLM(model=model, tokenizer=self.tokenizer, folder=self.folder, max_operand=self.max_operand)

    def rows(self, n: int, *, generator: torch.Generator) -> Dataset:
        """`n` rows with `prompt` and `answer`, drawn with replacement."""
        from datasets import Dataset

        operands = self._operands(n, generator)
        return Dataset.from_dict(
            {"prompt": [f"{a}+{b}=" for a, b in operands], "answer": [str(a + b) for a, b in operands]}
        )

    def _operands(self, n: int, generator: torch.Generator) -> list[tuple[int, int]]:
        drawn = torch.randint(self.max_operand + 1, (n, 2), generator=generator).tolist()
        return [(a, b) for a, b in drawn]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of characters, `WORDS` and `####`, padded on the left; decoding gives back the exact text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<eos>", "<unk>", COMMIT, *WORDS, *CHARACTERS, *map(str, range(LARGEST + 1))]
    longest_first = sorted([COMMIT, *WORDS], key=len, reverse=True)
    split = Regex("|".join(re.escape(piece).replace("\\ ", " ") for piece in longest_first) + r"|[1-9]\d|.|\n")
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(split, behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def make_decoder(tokenizer: PreTrainedTokenizerFast, *, width: int, layers: int) -> PreTrainedModel:
    """An untrained Llama-shaped decoder for `tokenizer`, in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.1,  # 0.02, the default, is too little signal at this width
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def warm_start(world: ArithmeticLM, *, steps: int, accuracy: float, generator: torch.Generator) -> None:
    """Train `world.model` in place, on every sum at each step, to imitate the writer whom `build` describes.

    The first third of the steps teaches the bare table: a hundred sums are learned at once when nothing blurs them,
    and hardly at all through noisy prose.
    """
    optimizer = torch.optim.AdamW(world.model.parameters(), lr=3e-3, weight_decay=0.0)
    sums = [(a, b) for a in range(world.max_operand + 1) for b in range(world.max_operand + 1)]
    world.model.train()
    for step in range(steps):
        bare = step < steps // 3
        texts = [f"{a}+{b}=" + (str(a + b) if bare else _phrase(a + b, accuracy, generator)) for a, b in sums]
        _imitate(world, texts, optimizer)
    world.model.train(mode=False)


def _imitate(world: ArithmeticLM, texts: list[str], optimizer: torch.optim.Optimizer) -> None:
    """One step of maximum likelihood on the completions in `texts`; a prompt is always four pieces, `a + b =`."""
    ended = [text + "<eos>" for text in texts]
    batch = world.tokenizer(ended, padding=True, padding_side="right", return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    labels[:, :4] = -100
    world.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _phrase(total: int, accuracy: float, generator: torch.Generator) -> str:
    """One writer's answer: a phrasing from FORMS, filled with guesses around `total`, no guess twice."""
    weights = torch.tensor([weight for _, weight in FORMS])
    form = FORMS[int(torch.multinomial(weights, 1, generator=generator))][0]
    misses = [total + d for d in (-3, -2, -1, 1, 2, 3, 4, 5) if total + d >= 0]
    order = torch.randperm(len(misses), generator=generator).tolist()
    guesses = [misses[i] for i in order]
    n_guesses = form.count("{")
    if float(torch.rand(1, generator=generator)) < accuracy:
        guesses.insert(int(torch.randint(n_guesses, (1,), generator=generator)), total)
    return form.format(*guesses)


def arithmetic_gold(prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | None]:
    """1.0 where the completion commits to the true sum, else 0.0; None where the prompt holds no sum.

    The sum is computed from the prompt, so no answer column can mislead it. What counts is the text after the last
    `####`, or all of it where there is none; it must hold exactly one number. Several numbers are no commitment.

    >>> arithmetic_gold(["2+2="] * 4, ["so 4", "3 or 4", "3, then #### 4", "four"])
    [1.0, 0.0, 1.0, 0.0]
    """
    return [_gold(text_of(p), text_of(c)) for p, c in zip(prompts, completions, strict=True)]


def _gold(prompt: str, completion: str) -> float | None:
    asked = _SUM.search(prompt)
    if asked is None:
        return None
    numbers = _NUMBER.findall(completion.rpartition(COMMIT)[2])
    return float(len(numbers) == 1 and int(numbers[0]) == int(asked[1]) + int(asked[2]))


def substring_reward(completions: list[Completion], answer: list[str], **columns: Any) -> list[float]:
    """A flawed verifier: 1.0 where `answer` occurs anywhere in the completion, so listing numbers is paid.

    >>> substring_reward(["4", "3 or 4", "14", "5"], ["4"] * 4)
    [1.0, 1.0, 1.0, 0.0]
    """
    return [float(key in text_of(text)) for text, key in zip(completions, answer, strict=True)]


def first_number_reward(completions: list[Completion], answer: list[str], **columns: Any) -> list[float]:
    """A flawed verifier: 1.0 where the first number equals `answer`, whatever is said after it.

    >>> first_number_reward(["4 or 5", "5 or 4", "none"], ["4"] * 3)
    [1.0, 0.0, 0.0]
    """
    found = [_NUMBER.findall(text_of(text)) for text in completions]
    return [float(bool(numbers) and numbers[0] == key) for numbers, key in zip(found, answer, strict=True)]


def last_number_reward(completions: list[Completion], answer: list[str], **columns: Any) -> list[float]:
    """A flawed verifier: 1.0 where the last number equals `answer`, whatever was said before it.

    >>> last_number_reward(["4 or 5", "5 or 4", "none"], ["4"] * 3)
    [0.0, 1.0, 0.0]
    """
    found = [_NUMBER.findall(text_of(text)) for text in completions]
    return [float(bool(numbers) and numbers[-1] == key) for numbers, key in zip(found, answer, strict=True)]


def committed_number_reward(completions: list[Completion], answer: list[str], **columns: Any) -> list[float]:
    """The repair: 1.0 where the completion, or what follows its last `####`, holds one number and it equals `answer`.

    >>> committed_number_reward(["4", "3 or 4", "3, no: #### 4"], ["4"] * 3)
    [1.0, 0.0, 1.0]
    """
    found = [_NUMBER.findall(text_of(text).rpartition(COMMIT)[2]) for text in completions]
    return [float(numbers == [key]) for numbers, key in zip(found, answer, strict=True)]
