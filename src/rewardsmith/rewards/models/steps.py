"""StepReward: score every step of a completion with a token classifier, in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from rewardsmith._check import check_choice
from rewardsmith.data import encode_steps
from rewardsmith.data.steps import STEP_END
from rewardsmith.rewards.models.base import Batching, ProcessModelReward, scanner_of
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, key_of, longest, unreadable
from rewardsmith.rewards.models.scanning import Output, Scanner
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

Scale = Literal["probability", "log_odds"]


@dataclass
class StepReward(ProcessModelReward):
    """A process reward model: the probability that each step is right, given the prompt and earlier steps.

        r_j = σ(f_1 − f_0) or σ(f) at the last token of `step_end` after step j

    The model that `engines.trl.StepRewardTrainer` trains. A `types.ProcessReward` whose steps are tokenized as in
    training (`data.encode_steps`).

    Args:
        model: a `…ForTokenClassification` with one label, or with two of which the second is "right".
        tokenizer: its own.
        step_end: the text that ended a step in training.
        scale: "log_odds" leaves out the σ.
        max_length: in tokens. A longer row is unscored as a whole: a cut row would lose its last steps.
        batching, name: as in `SequenceReward`.
    """

    model: Any
    tokenizer: Any
    _: KW_ONLY
    step_end: str = STEP_END
    scale: Scale = "probability"
    max_length: int | None = None
    batching: Batching = field(default_factory=Batching)
    name: str = "step_reward"

    def __post_init__(self) -> None:
        check_choice("StepReward", "scale", self.scale, ("probability", "log_odds"))
        if self.model.config.num_labels not in (1, 2):
            raise ValueError(
                f"StepReward: the model has {self.model.config.num_labels} labels, but a step is right or wrong. "
                "Pass a token classifier with two labels, or one."
            )
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.model)

    def reasoned(  # type: ignore[override]
        self, prompts: list[Text], completions: list[Completion], *, steps: list[list[str]], **columns: Any
    ) -> list[list[float] | Unscored]:
        """Return the raw numbers of each row's steps, or the reason why the row has none."""
        encoded = self.encode(prompts, steps)
        rows = [item for item in encoded if not isinstance(item, Unscored) and item.reads]
        found = iter(self.scanner.run(rows, self.read))
        return [item if isinstance(item, Unscored) else next(found) if item.reads else [] for item in encoded]

    @cached_property
    def scanner(self) -> Scanner:
        """The scanner that reads the rows."""
        return scanner_of(self.model, Output(self.model, "logits"), self.tokenizer, self.batching)

    def encode(self, prompts: Sequence[Text], steps: Sequence[Sequence[str]]) -> list[Encoded | Unscored]:
        """Encode each row, to be read at the ends of its steps."""
        import numpy as np

        known, rows = embedded(self.model), list[Encoded | Unscored]()
        for prompt, own in zip(prompts, steps, strict=True):
            text, first = prompt, [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
            if isinstance(text, list):
                text, first = "", RowEncoder(self.tokenizer).prompt_ids(text)
            elif self._tokenize(text)[:1] == first:  # a chat template wrote the begin-of-text token
                first = []
            found = encode_steps(text, own, self._tokenize, step_end=self.step_end, first_ids=first)
            ids = np.asarray(found.ids, dtype=np.int32)
            refused = unreadable(ids, self.max_length, known) if found.ends else None
            rows.append(refused or Encoded(ids, found.ends, key_of(prompt)))
        return rows

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def read(self, values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
        """Turn (R, labels) logits into one number per step of each row."""
        import torch

        wide = values.double().cpu()
        odds = wide[:, 0] if wide.shape[1] == 1 else wide[:, 1] - wide[:, 0]
        numbers = odds.sigmoid() if self.scale == "probability" else odds
        return [part.tolist() for part in torch.split(numbers, [len(row.reads) for row in rows])]
