"""Reward model scoring beside transformers' own pipeline, a plain padded loop, and what the tokens alone would cost.

One small Llama-shaped classifier, float32, one thread, CPU time, arms taking turns. All arms score the same rows of
mixed length; scores are compared, and a difference above 1e-4 ends the run.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.ratios import Ratio, ratio
from rewardsmith.rewards import Batching, GaussianHeads, GaussianReward, SequenceReward
from rewardsmith.worlds.arithmetic_lm import make_tokenizer

N_ROWS, REPEATS = 5000, 5
WIDTH, LAYERS = 64, 2
PIECES = ("so ", "maybe ", "3", "14", "the answer is ", "and ")
Rows = tuple[list[str], list[str]]
Arm = Callable[[], list[float]]


def measure(*, n_rows: int = N_ROWS, repeats: int = REPEATS) -> list[Ratio]:
    """Ratios of CPU time; see the module."""
    threads, level = torch.get_num_threads(), logging.root.manager.disable
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    try:
        return [*_mixed(n_rows, repeats), *_prefix(max(1, n_rows // 1250), repeats), *_heads(n_rows // 2, repeats)]
    finally:
        torch.set_num_threads(threads)
        logging.disable(level)


def make_classifier(tokenizer: Any, *, n_labels: int = 1, width: int = WIDTH) -> Any:
    """An untrained Llama-shaped classifier."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=2048, initializer_range=0.1, pad_token_id=0, eos_token_id=1,
        bos_token_id=None, num_labels=n_labels,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForSequenceClassification(config).eval()


def make_rows(n: int, *, seed: int = 0) -> Rows:
    """Completions whose numbers of pieces are log-normal, median 24: most are short and a few are long."""
    rng = random.Random(seed)
    sizes = [min(480, max(2, round(rng.lognormvariate(math.log(24), 0.9)))) for _ in range(n)]
    return [f"{k}+2=" for k in range(n)], ["".join(rng.choices(PIECES, k=size)) for size in sizes]


def _mixed(n_rows: int, repeats: int) -> list[Ratio]:
    from transformers import pipeline

    tokenizer = make_tokenizer()
    model = make_classifier(tokenizer)
    prompts, completions = make_rows(n_rows)
    texts = [prompt + completion + "<eos>" for prompt, completion in zip(prompts, completions, strict=True)]
    piped = pipeline("text-classification", model=model, tokenizer=tokenizer)
    ours = SequenceReward(model, tokenizer)
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    plan = ours.plan(prompts, completions)
    arms: dict[str, Arm] = {
        "ours": lambda: _numbers(ours.score(prompts, completions)),
        **{f"transformers' pipeline, batches of {size}": partial(_piped, piped, texts, size) for size in (1, 8)},
        "plain padded loop, batches of 8": partial(_loop, model, tokenizer, texts, 8),
        "bound": partial(_bound, model, [[lengths[row] for row in batch] for batch in plan]),
    }
    seconds = _timed(arms, repeats, same=[name for name in arms if name != "bound"])
    filled = sum(lengths) / sum(len(batch) * max(lengths[row] for row in batch) for batch in plan)
    note = f"{n_rows:,} rows, {sum(lengths):,} tokens, {filled:.0%} of ours not padding"
    rows = [
        _ratio(name, "our scoring", seconds[name], seconds["ours"], note)
        for name in arms
        if name not in ("ours", "bound")
    ]
    return [*rows, _ratio("the unpadded tokens alone", "our scoring", seconds["bound"], seconds["ours"], note)]


def _prefix(n_prompts: int, repeats: int) -> list[Ratio]:
    """64 completions per prompt of 512 tokens, of 8 to 64 tokens each."""
    rng = random.Random(1)
    tokenizer = make_tokenizer()
    model = make_classifier(tokenizer, width=2 * WIDTH)
    prompts, completions = [], []
    for _ in range(n_prompts):
        prompt = "".join(rng.choices(("so ", "maybe "), k=256))  # word and blank: 512 tokens
        for _ in range(64):
            prompts.append(prompt)
            completions.append("".join(rng.choices(("so ", "and "), k=rng.randint(4, 32))))
    arms: dict[str, Arm] = {}
    for name, share in (("whole", False), ("shared", True)):
        rm = SequenceReward(model, tokenizer, batching=Batching(share_prompts=share))
        arms[name] = partial(_score, rm, prompts, completions)
    seconds = _timed(arms, repeats, same=list(arms))
    note = f"{n_prompts} prompts of 512 tokens, 64 completions of 8 to 64 tokens each"
    return [_ratio("every row read whole", "each prompt read once", seconds["whole"], seconds["shared"], note)]


def _heads(n_rows: int, repeats: int) -> list[Ratio]:
    """K = 5 heads on one trunk beside a model with one."""
    tokenizer = make_tokenizer()
    one = make_classifier(tokenizer)
    rows = make_rows(n_rows, seed=2)
    heads = GaussianHeads(WIDTH, 5, generator=torch.Generator().manual_seed(0))
    deep = GaussianHeads(WIDTH, 5, depth=1, generator=torch.Generator().manual_seed(0))
    arms: dict[str, Arm] = {
        "one": partial(_score, SequenceReward(one, tokenizer), *rows),
        "5 heads": partial(
            _score, SequenceReward(make_classifier(tokenizer, n_labels=5), tokenizer, weights=[0.2] * 5), *rows
        ),
        "5 Gaussian heads": partial(_score, GaussianReward(one, heads, tokenizer), *rows),
        "5 Gaussian heads with a layer each": partial(_score, GaussianReward(one, deep, tokenizer), *rows),
    }
    seconds = _timed(arms, repeats, same=[])
    return [
        _ratio(f"{name} on one trunk", "one model", seconds[name], seconds["one"], f"{n_rows:,} rows")
        for name in arms
        if name != "one"
    ]


def _timed(arms: dict[str, Arm], repeats: int, *, same: Sequence[str]) -> dict[str, list[float]]:
    """CPU seconds per arm and repeat; the order turns round each time."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    found: dict[str, list[float]] = {}
    for repeat in range(repeats):
        for name in list(arms)[:: 1 if repeat % 2 else -1]:
            start = time.process_time()
            found[name] = arms[name]()
            seconds[name].append(time.process_time() - start)
    for left, right in itertools.pairwise(same):
        far = max(abs(a - b) for a, b in zip(found[left], found[right], strict=True))
        if far > 1e-4:
            raise RuntimeError(f"reward_scoring: scores of {left} and {right} differ by {far}. One of them is wrong.")
    return seconds


def _ratio(what: str, over: str, above: Sequence[float], below: Sequence[float], note: str) -> Ratio:
    return ratio(what, over, [a / b for a, b in zip(above, below, strict=True)], note=note)


def _score(model: Any, prompts: list[str], completions: list[str]) -> list[float]:
    return _numbers(model.score(prompts, completions))


def _numbers(values: Sequence[float | None]) -> list[float]:
    assert None not in values
    return [float(value) for value in values if value is not None]


def _piped(pipe: Any, texts: list[str], batch_size: int) -> list[float]:
    found = pipe(texts, batch_size=batch_size, function_to_apply="none", padding=True)
    return [float(item["score"]) for item in found]


def _loop(model: Any, tokenizer: Any, texts: list[str], batch_size: int) -> list[float]:
    found: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            given = tokenizer(
                texts[start : start + batch_size], padding=True, padding_side="right", return_tensors="pt",
                return_token_type_ids=False,
            )  # fmt: skip
            logits: Tensor = model(**given).logits
            found += logits[:, 0].tolist()
    return found


def _bound(model: Any, batches: Sequence[Sequence[int]]) -> list[float]:
    """As many tokens in as many passes, every batch a full rectangle: no padding, no text, no order."""
    found: list[float] = []
    with torch.inference_mode():
        for lengths in batches:
            ids = torch.ones(len(lengths), max(1, round(sum(lengths) / len(lengths))), dtype=torch.long)
            states = model.model(input_ids=ids, use_cache=False).last_hidden_state
            found += model.score(states[:, -1])[:, 0].tolist()
    return found
