"""TemplatedReward: base of the classifiers with one logit that read a second text beside the completion."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from rewardsmith.rewards.models.base import Batching, ModelReward
from rewardsmith.rewards.models.encoding import longest
from rewardsmith.rewards.models.sequence import SequenceReward


@dataclass
class TemplatedReward(ModelReward):
    """Base: the model with its template, what reads the written texts, and how both are saved."""

    model: Any
    tokenizer: Any
    _: KW_ONLY
    template: str
    max_length: int | None = None
    chat: bool | None = None
    eos: bool = True
    batching: Batching = field(default_factory=Batching)
    name: str
    options_file: ClassVar[str]

    def check(self, places: tuple[str, str], one_number: str) -> None:
        """Raise ValueError unless the template holds both places once and the head gives one number."""
        if any(self.template.count(place) != 1 for place in places):
            raise ValueError(
                f"{type(self).__name__}: template {self.template!r} must hold {' and '.join(places)} once each. "
                "Write it as in training."
            )
        if self.model.config.num_labels != 1:
            raise ValueError(
                f"{type(self).__name__}: the head of {self.name} gives {self.model.config.num_labels} numbers, but "
                f"{one_number}. Train it with num_labels=1."
            )
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.model)

    def save(self, folder: str | Path) -> None:
        """Write model, tokenizer, template and end-token choice for `load_reward_model`."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        options = json.dumps({"template": self.template, "end_token": self.eos}, indent=2)
        (Path(folder) / self.options_file).write_text(options + "\n", encoding="utf-8")

    @cached_property
    def reading(self) -> SequenceReward:
        return SequenceReward(
            self.model, self.tokenizer, max_length=self.max_length, chat=self.chat, eos=self.eos,
            batching=self.batching, name=self.name,
        )  # fmt: skip


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Return the template with each place replaced by its text, whatever braces the texts contain.

    >>> filled("key {a}, said {b}", {"{a}": "4", "{b}": "{a}"})
    'key 4, said {a}'
    """
    return re.sub("|".join(map(re.escape, parts)), lambda place: parts[place[0]], template)
