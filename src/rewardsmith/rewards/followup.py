"""FollowUpLikelihood: score a completion by what the user would probably say next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rewardsmith.data import text_of
from rewardsmith.data.rows import as_messages
from rewardsmith.rewards.models.base import Batching, ModelReward
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, key_of, longest, unreadable
from rewardsmith.rewards.models.implicit import logit_scanner, token_logps
from rewardsmith.rewards.models.scanning import Scanner
from rewardsmith.rewards.relevance import own_turn
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class FollowUpLikelihood(ModelReward):
    """How much likelier a satisfied next message of the user is than a complaint.

        r(c, y) = mean_{f ∈ F⁺} l(f) − mean_{f ∈ F⁻} l(f)        l(f) = 1/|f| Σ_k log p(f_k | c, y, f_<k)

    Zhang et al. 2024, arXiv:2409.13948, step 3. The difference cancels how likely any remark is after y. The follow-up
    is the user's turn in the tokenizer's chat template, and its tokens are found by characters, so that neither the
    template nor a leading space counts. Without a template, texts are joined by `separator`. Differs: the published
    script averages the raw logits of all tokens at one position, which is no likelihood and ranks worse.

    Text that provokes praise raises the reward. A turn of another role at the completion's end is cut off; for the
    rest, audit with completions that end in thanks.

    Args:
        scorer: a causal language model that knows dialogues. tokenizer: its own.
        positive, negative: the follow-ups F⁺ and F⁻; one that occurs twice counts once. One instance per facet gives
            the facets for a log.
        separator: what stands before a follow-up where there is no chat template.
        max_length: in tokens; what is longer loses the beginning of the conversation.
    """

    scorer: Any
    tokenizer: Any
    _: KW_ONLY
    positive: Sequence[str]
    negative: Sequence[str]
    separator: str = "\n"
    max_length: int | None = None
    batching: Batching = field(default_factory=Batching)
    name: str = "follow_up_likelihood"

    def __post_init__(self) -> None:
        if not (self.positive and self.negative and all(f.strip() for f in (*self.positive, *self.negative))):
            raise ValueError(
                "FollowUpLikelihood: positive and negative each need a follow-up with text, because the reward is "
                "their difference. Add some."
            )
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.scorer)

    @cached_property
    def scanner(self) -> Scanner:
        """The scanner of the scorer."""
        return logit_scanner(self.scorer, self.tokenizer, self.batching)

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        """Return the values of `score`, with the reason in place of None."""
        banks = [list(dict.fromkeys(bank)) for bank in (self.positive, self.negative)]
        encoded = [self.encode(*row, banks[0] + banks[1]) for row in zip(prompts, completions, strict=True)]
        rows = [item for own in encoded if not isinstance(own, Unscored) for item in own]
        found = iter(self.scanner.run(rows, _means))
        values: list[float | Unscored] = []
        for own in encoded:
            if isinstance(own, Unscored):
                values.append(own)
                continue
            logps = [next(found)[0] for _ in own]
            values.append(fmean(logps[: len(banks[0])]) - fmean(logps[len(banks[0]) :]))
        return values

    def encode(self, prompt: Text, completion: Completion, follow_ups: Sequence[str]) -> list[Encoded] | Unscored:
        """Return the conversation with each follow-up, to be read before each token of it."""
        answer, chat = own_turn(completion), bool(getattr(self.tokenizer, "chat_template", None))
        encoder = RowEncoder(self.tokenizer, chat=chat, eos=False)
        before: Text = text_of(prompt) + answer + self.separator
        if chat:
            before = [*as_messages(prompt, "user"), {"role": "assistant", "content": answer}]
        turns: list[Completion] = [[{"role": "user", "content": f}] if chat else f for f in follow_ups]
        rows, known = list[Encoded](), embedded(self.scorer)
        for turn, follow_up, row in zip(turns, follow_ups, encoder.rows([before] * len(turns), turns), strict=True):
            if isinstance(row, Unscored):
                return row
            spans = encoder.spans(before, turn, row.ids, [follow_up])
            if spans is None:
                return Unscored("the chat template does not write the follow-up as it is")
            cut = max(0, spans[0].stop - (self.max_length or spans[0].stop))
            ids = row.ids[cut : spans[0].stop]
            if refused := unreadable(ids, None, known):
                return refused
            if spans[0].start <= cut:
                return Unscored(f"a follow-up of {len(spans[0])} tokens leaves no room for the conversation")
            rows.append(Encoded(ids, range(spans[0].start - cut - 1, len(ids) - 1), key_of(before)))
        return rows


def _means(values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
    """Return each row's mean log-probability of its read tokens."""
    return [[float(part.mean())] for part in token_logps(values, rows)]
