"""Token rewards of preference pairs from one model under two instructions, on the tokens that TRL trains on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl.data_utils import common_prefix_length

from rewardsmith.engines.trl.preference_trainer import SIDES
from rewardsmith.engines.trl.reading import row_ids
from rewardsmith.objectives import per_token_logps, token_log_ratio
from rewardsmith.types import Text


def with_contrast_rewards(
    dataset: Any,
    model: Any,
    tokenizer: Any,
    *,
    better: Callable[[Text], Text],
    worse: Callable[[Text], Text],
    batch_size: int = 4,
) -> Any:
    """Add the token rewards of a model that is asked for a better and for a worse answer, for `TokenRegularizer`.

        r_t = σ( log π(y_t | x⁺, y_<t) − log π(y_t | x⁻, y_<t) ) − ½

    Zhou et al. 2024, arXiv:2412.02685 (T-REG). First see that samples under x⁺ are better than under x⁻: a model that
    does not follow the instruction gives noise.

    Args:
        dataset: `datasets.Dataset` of `prompt`, `chosen` and `rejected`, strings or messages.
        model: π, a causal language model in evaluation mode, such as the reference, with its `tokenizer`.
        better, worse: functions that put an instruction into a prompt, giving x⁺ and x⁻.
        batch_size: pairs at a time; the logits of four texts each are held.

    Returns:
        The data set with `chosen_token_rewards` and `rejected_token_rewards`.
    """
    columns: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    for first in range(0, len(dataset), batch_size):
        rows = [dataset[i] for i in range(first, min(first + batch_size, len(dataset)))]
        texts = [text for row in rows for text in _texts(row, tokenizer, (better, worse))]
        found = iter(_logps(model, texts))
        for _, side in product(rows, SIDES):
            ratio = token_log_ratio(next(found), next(found), squash="sigmoid-0.5")
            columns[side].append(ratio.tolist())
    for side, values in columns.items():
        dataset = dataset.add_column(f"{side}_token_rewards", values)
    return dataset


def _texts(row: Any, tokenizer: Any, instructions: tuple[Callable[[Text], Text], ...]) -> list[tuple[list[int], int]]:
    """Return ids, and where the completion starts, of each side under each instruction."""
    whole = {side: row_ids(tokenizer, row["prompt"], row[side]) for side in SIDES}
    plain = _prompt_ids(tokenizer, row["prompt"])
    start = min(common_prefix_length(plain, ids) for ids in whole.values())
    texts = []
    for side, instruct in product(SIDES, instructions):
        prompt = _prompt_ids(tokenizer, instruct(row["prompt"]))
        prompt = prompt[: len(prompt) - (len(plain) - start)]  # tokens that the completion's first ones replace
        texts.append((prompt + whole[side][start:], len(prompt)))
    return texts


def _prompt_ids(tokenizer: Any, prompt: Any) -> list[int]:
    if isinstance(prompt, str):
        ids: list[int] = tokenizer(prompt)["input_ids"]
        return ids
    chat: list[int] = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
    return chat


def _logps(model: Any, texts: list[tuple[list[int], int]]) -> list[Tensor]:
    """Return the log-probabilities of each completion's tokens, as many as it has."""
    ids = pad_sequence([torch.tensor(tokens) for tokens, _ in texts], batch_first=True).to(model.device)
    places = torch.arange(ids.shape[1], device=ids.device)
    ends = torch.tensor([[len(tokens)] for tokens, _ in texts], device=ids.device)
    starts = torch.tensor([[start] for _, start in texts], device=ids.device)
    mask = (places >= starts) & (places < ends)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=(places < ends).long(), use_cache=False).logits
    return [row[kept] for row, kept in zip(per_token_logps(logits, ids, mask), mask, strict=True)]
