"""Encode rows as token ids in the same form as the trainers, so that a model reads what it was trained on."""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.data import text_of
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Message, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.int32]

ENCODED_AT_ONCE = 1024
BEYOND = "is beyond the model's embedding"
LARGEST_LENGTH = 10**9
"""A larger `model_max_length` means that the tokenizer has no limit."""


class Encoded(NamedTuple):
    """One row as a model reads it.

    ids: (T,) token ids, no padding.
    reads: ascending positions whose outputs are needed.
    key: rows with the same key share a prompt, and so probably a prefix.
    types: (T,) segment ids, for models that read pairs.
    """

    ids: Ids
    reads: Sequence[int]
    key: str = ""
    types: Ids | None = None


@dataclass(frozen=True)
class RowEncoder:
    """Encode prompt and completion as token ids.

    Conversational rows use the tokenizer's chat template. Strings are concatenated, and the end-of-sequence token
    follows unless the text ends with it. TRL's trainers do both. The tokenizer then adds its special tokens to a
    string, unless the first token is already the begin-of-text token, which means that a chat template wrote it.

    Args:
        tokenizer: of transformers.
        max_length: the most tokens of a row; longer rows are unscored. None has no limit.
        chat: True uses the chat template for strings too, as public models need; False never uses it.
        eos: end strings with the end-of-sequence token.
        pair: pass prompt and completion as the tokenizer's two texts, as some encoders were trained.
        known: the size of the model's embedding; rows with other tokens are unscored. None has no limit.
        pad_id: the model's padding token: each row is read at its last other token.
    """

    tokenizer: Any
    max_length: int | None = None
    chat: bool | None = None
    eos: bool = True
    pair: bool = False
    known: int | None = None
    pad_id: int | None = None

    def rows(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Encode each row to be read at its last token that is not padding."""
        if self.pair:
            import numpy as np

            first, second = [[_sound(text_of(text)) for text in texts] for texts in (prompts, completions)]
            encoded = self.tokenizer(first, second, verbose=False)
            rows = [np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"]]
            kinds = [None if row is None else np.asarray(row, dtype=np.int32)
                     for row in encoded.get("token_type_ids") or [None] * len(rows)]  # fmt: skip
            return [
                self._checked(ids, self._last(ids), key_of(prompt), types)
                for prompt, ids, types in zip(prompts, rows, kinds, strict=True)
            ]
        texts = [self._text(*row) for row in zip(prompts, completions, strict=True)]
        found = zip(prompts, self._ids(texts), strict=True)
        return [self._checked(ids, self._last(ids), key_of(prompt)) for prompt, ids in found]

    def split_rows(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Encode each row to be read before each token of its completion, where the outputs predict those tokens.

        A completion starts where the tokens of the prompt and of the whole row first differ. All completions of one
        prompt in a call start at the earliest such token, as the two answers of a pair do in TRL's DPOTrainer.
        """
        texts = [self._text(*row) for row in zip(prompts, completions, strict=True)]
        unique = {key_of(prompt): prompt for prompt in prompts}
        asked = [self._text(prompt, None) for prompt in unique.values()]
        heads = dict(zip(unique, self._ids(asked), strict=True))
        found = [(key_of(prompt), ids) for prompt, ids in zip(prompts, self._ids(texts), strict=True)]
        starts: dict[str, int] = {}
        for key, ids in found:
            if start := shared_length([heads[key], ids]):
                starts[key] = min(start, starts.get(key, start))
        return [
            self._checked(ids, range(starts[key] - 1, len(ids) - 1), key)
            if shared_length([heads[key], ids])
            else Unscored("no token stands before the completion, so its first one has no probability")
            for key, ids in found
        ]

    def spans(self, prompt: Text, completion: Completion, ids: Ids, parts: Sequence[str]) -> list[range] | None:
        """Return the tokens that hold each part of the completion, without the white space around it.

        None if the parts are not in the completion in this order. A token of two parts belongs to both.

        Raises:
            NotImplementedError: the tokenizer gives no offsets, as those written in Python.
        """
        text, templated = self._text(prompt, completion)
        asked, found = self._text(prompt, None)[0], list[tuple[int, int]]()
        place = next((k for k, pair in enumerate(zip(asked, text, strict=False)) if pair[0] != pair[1]), len(asked))
        for part in (_sound(part).strip() for part in parts):
            if (begin := text.find(part, place)) < 0:
                return None
            place = begin + len(part)
            found.append((begin, place))
        for special in dict.fromkeys((not templated, False)):
            read = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
            if read["input_ids"][: len(ids)] == ids.tolist():
                break
        starts, ends = [0], [0]
        for first, last in read["offset_mapping"][: len(ids)]:
            starts.append(first if last > first else ends[-1])  # a token without characters stands behind the last one
            ends.append(max(ends[-1], last))
        return [range(bisect_right(ends[1:], begin), bisect_left(starts[1:], stop)) for begin, stop in found]

    def prompt_ids(self, prompt: Text) -> list[int]:
        """Return the token ids of the prompt alone, ready to be continued."""
        [ids] = self._ids([self._text(prompt, None)])
        return [int(token) for token in ids]

    def _checked(self, ids: Ids, reads: Sequence[int], key: str, types: Ids | None = None) -> Encoded | Unscored:
        return unreadable(ids, self.max_length, self.known) or Encoded(ids, reads, key, types)

    def _last(self, ids: Ids) -> tuple[int]:
        return (next((place for place in range(len(ids) - 1, -1, -1) if ids[place] != self.pad_id), 0),)

    def _text(self, prompt: Text, completion: Completion | None) -> tuple[str, bool]:
        """Return the text to tokenize, and whether the chat template wrote it with its own special tokens."""
        spoken = isinstance(prompt, list) or isinstance(completion, list)
        if self.chat or (spoken and self.chat is None):
            if not getattr(self.tokenizer, "chat_template", None):
                raise ValueError(
                    "RowEncoder: the rows are conversations and the tokenizer has no chat template to write them with. "
                    "Set tokenizer.chat_template to the one of the model's training, or pass prompts and completions "
                    "as strings."
                )
            messages = [*_messages(prompt, "user"), *([] if completion is None else _messages(completion, "assistant"))]
            options = {"tokenize": False, "add_generation_prompt": completion is None}
            return _sound(str(self.tokenizer.apply_chat_template(messages, **options))), True
        text = text_of(prompt) + text_of(completion)
        end = self.tokenizer.eos_token if self.eos and completion is not None else None
        return _sound(text if not end or text.endswith(end) else text + end), False

    def _ids(self, texts: Sequence[tuple[str, bool]]) -> list[Ids]:
        import numpy as np

        found: list[Ids] = [np.zeros(0, dtype=np.int32)] * len(texts)
        for templated in (False, True):
            places = [place for place, (_, kind) in enumerate(texts) if kind is templated]
            if places:
                chosen = [texts[place][0] for place in places]
                for place, row in zip(places, _token_ids(self.tokenizer, chosen, not templated), strict=True):
                    found[place] = np.asarray(row, dtype=np.int32)
        begins, ends = (
            {getattr(self.tokenizer, f"{name}_token_id", None) for name in names} - {None}
            for names in (("bos", "cls"), ("eos", "sep"))
        )
        for place, (text, templated) in enumerate(texts):
            ids = found[place]
            if templated or len(ids) < 2:
                continue
            twice_begun = ids[0] == ids[1] and ids[0] in begins
            if twice_begun or (not self.eos and ids[-1] == ids[-2] and ids[-1] in ends):
                [plain] = _token_ids(self.tokenizer, [text], False)  # without the tokenizer's special tokens
                own = np.asarray(plain, dtype=np.int32)
                ended = len(own) < len(ids) and ids[-1 - len(own) : -1].tolist() == plain
                found[place] = own if twice_begun else ids[:-1] if ended else ids
        return found


def _token_ids(tokenizer: Any, texts: list[str], special: bool) -> Iterator[list[int]]:
    """Yield `tokenizer(texts)["input_ids"]`; the usual fast tokenizer skips the unused offsets."""
    from transformers import PreTrainedTokenizerFast

    plain = isinstance(tokenizer, PreTrainedTokenizerFast) and all(  # it has no encoding code of its own
        getattr(type(tokenizer), name, None) is getattr(PreTrainedTokenizerFast, name, None)
        for name in ("__call__", "_encode_plus", "backend_tokenizer")
    )
    if not plain:
        yield from tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
        return
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    for start in range(0, len(texts), ENCODED_AT_ONCE):
        part = texts[start : start + ENCODED_AT_ONCE]
        yield from (encoding.ids for encoding in backend.encode_batch_fast(part, add_special_tokens=special))


def unreadable(ids: Ids, most: int | None, known: int | None) -> Unscored | None:
    """Return why a model with `most` tokens and `known` embeddings cannot score a row; None if it can."""
    if len(ids) == 0:
        return Unscored("the row has no token")
    if most is not None and len(ids) > most:
        return Unscored(f"too long: {len(ids)} tokens; the model takes {most}")
    if known is not None and (highest := int(ids.max())) >= known:
        return Unscored(f"token {highest} {BEYOND}, which has {known}")
    return None


def embedded(*models: Any) -> int | None:
    """Return the smallest number of token embeddings of the models; None where none states one."""
    sizes = []
    for model in models:
        with contextlib.suppress(AttributeError, NotImplementedError):
            sizes.append(int(model.get_input_embeddings().num_embeddings))
    return min(sizes, default=None)


def longest(tokenizer: Any, *models: Any) -> int | None:
    """Return the largest number of tokens that tokenizer and models all accept; None where none states one.

    A position table with a padding row, as RoBERTa's, counts from the row after it.
    """
    from torch import nn

    said = [getattr(tokenizer, "model_max_length", None)]
    for model in models:
        config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
        words, size = None, getattr(config, "max_position_embeddings", None)
        with contextlib.suppress(AttributeError, NotImplementedError):
            words = model.get_input_embeddings().weight
        said.append(size)
        for table in model.modules():
            if isinstance(table, nn.Embedding) and table.num_embeddings == size and table.weight is not words:
                said[-1] = size if table.padding_idx is None else size - table.padding_idx - 1
    return min((int(limit) for limit in said if limit is not None and 0 < limit < LARGEST_LENGTH), default=None)


def key_of(prompt: Text) -> str:
    """Return a text that is equal for equal prompts."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str)


def shared_length(rows: Sequence[Ids]) -> int:
    """Return the number of first tokens that all rows share.

    >>> import numpy as np
    >>> shared_length([np.array([1, 2, 3]), np.array([1, 2, 4, 5])])
    2
    """
    import numpy as np

    width = min(len(row) for row in rows)
    table = np.stack([row[:width] for row in rows])
    differs = (table != table[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else width


def _messages(text: Text, role: str) -> list[Message]:
    return text if isinstance(text, list) else [{"role": role, "content": text}]


def _sound(text: str) -> str:
    """Replace lone surrogates, which tokenizers refuse."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
