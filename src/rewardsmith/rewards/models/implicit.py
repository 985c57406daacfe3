"""The log-probability ratio of a trained model to its reference: a reward of completions, and of their steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rewardsmith._check import check_choice
from rewardsmith.data import text_of
from rewardsmith.rewards.models.base import Batching, ProcessModelReward, TokenReward, scanner_of
from rewardsmith.rewards.models.encoding import Encoded, RowEncoder, embedded, longest
from rewardsmith.rewards.models.scanning import Output, Scanner
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion, Text

if TYPE_CHECKING:
    from torch import Tensor

MOST_LOGITS = 2**27
"""Numbers in the logits of one forward pass: half a gigabyte in float32."""


@dataclass
class ImplicitReward(TokenReward):
    """The reward that a policy trained by preferences implies.

        r(x, y) = β Σ_{t ∈ y} [ log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t) ]

    Rafailov et al. 2023, arXiv:2305.18290, Eq. 5. Lin et al. 2024, arXiv:2409.03650, find that it ranks answers unlike
    its training data worse than a reward head does: label fresh samples with a reward head or a judge. It ranks
    completions of one prompt, not of two. The sum runs over the completion's tokens with the end-of-sequence token,
    without the prompt. Both models read the same tokens, as TRL's DPOTrainer writes them, without dropout. If a
    completion's first characters join the prompt's last token, all completions of that prompt in a call start there.

    Args:
        policy: any causal language model.
        reference: the model that `policy` was trained against; after several rounds, state which. Scores depend on it.
        tokenizer: of both models.
        beta: the β of the training; it scales scores and does not reorder them.
        normalize: "tokens" divides by the completion's number of tokens. This is another reward, because the spread of
            the sum grows with length: report it separately.
        max_length, chat, batching, name: as in `SequenceReward`.
    """

    policy: Any
    reference: Any
    tokenizer: Any
    _: KW_ONLY
    beta: float = 0.1
    normalize: Literal["tokens"] | None = None
    name: str = "implicit_reward"

    def __post_init__(self) -> None:
        check_choice("ImplicitReward", "normalize", self.normalize, ("tokens", None))
        if not (self.beta > 0 and math.isfinite(self.beta)):
            raise ValueError(f"ImplicitReward: beta={self.beta} must be above 0. Pass that of the policy's training.")
        sizes = [model.config.get_text_config().vocab_size for model in (self.policy, self.reference)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"ImplicitReward: policy and reference have {sizes[0]} and {sizes[1]} tokens, so their probabilities "
                "cannot be compared. Pass the reference that the policy was trained against."
            )
        if self.max_length is None:
            self.max_length = longest(self.tokenizer, self.policy, self.reference)

    def reasoned(self, prompts: list[Text], completions: list[Completion], **columns: Any) -> list[float | Unscored]:
        encoded = self.encoded(prompts, completions)
        rows = [item for item in encoded if not isinstance(item, Unscored)]
        sums = [scanner.run(rows, self.read) for scanner in (self.scanner, self.reference_scanner)]
        ratios = zip(*sums, rows, strict=True)
        found = iter(
            [
                self.beta * (a - b) / (len(row.reads) if self.normalize and len(row.reads) else 1)
                for [a], [b], row in ratios
            ]
        )
        return [item if isinstance(item, Unscored) else next(found) for item in encoded]

    @cached_property
    def scanner(self) -> Scanner:
        """The scanner of the policy."""
        return logit_scanner(self.policy, self.tokenizer, self.batching)

    @cached_property
    def reference_scanner(self) -> Scanner:
        """The scanner of the reference."""
        return logit_scanner(self.reference, self.tokenizer, self.batching)

    def encode(self, prompts: Sequence[Text], completions: Sequence[Completion]) -> list[Encoded | Unscored]:
        """Encode every row, to be read before each token of its completion."""
        known = embedded(self.policy, self.reference)
        return RowEncoder(self.tokenizer, self.max_length, self.chat, known=known).split_rows(prompts, completions)

    def read(self, values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
        """Return each row's Σ_t log p of the tokens after the read positions; 0 for none."""
        return [[float(part.sum())] for part in token_logps(values, rows)]


class ImplicitTokens(NamedTuple):
    """The tokens of one completion, with its end-of-sequence token.

    token_rewards: β log-ratio of each token. prefix_values: q_t, their sums up to each token; the last is the outcome.
    reward_cap: β log 1/π_ref(y|x), which the outcome cannot exceed, because E_ref[exp(r/β)] = 1.
    """

    token_rewards: list[float]
    reward_cap: float

    @property
    def prefix_values(self) -> list[float]:
        return list(accumulate(self.token_rewards))


@dataclass
class ImplicitPRM(ProcessModelReward):
    """The process reward that is part of an outcome reward, if that is the log-ratio of two language models.

        q_t = β Σ_{i≤t} log π(y_i|x, y_<i) / π_ref(y_i|x, y_<i) = β log E_ref[ exp(r(x, y)/β) | y_≤t ]
        p_k = q at the end of step k − q at the end of step k − 1

    Yuan et al. 2024, arXiv:2412.01981: q_t is a soft value of the prefix, for any training loss of r. So step rewards
    need outcome labels alone (`engines.trl.OutcomeTrainer`). Since E_ref[exp(r/β)] = 1, right completions of reference
    probability p get at most β log 1/p (their soft mean). So σ(r) is no probability of being right, and 0 is no
    threshold: compare completions of one prompt.

    A `types.ProcessReward` for GRPO's `process_rewards`; `outcome` is the reward of whole completions, for best-of-n
    and, as σ(outcome), for `weighted_vote`. A step ends with the token that holds its last character, and the last step
    with the completion, its end-of-sequence token included. So the steps of a whole completion sum to its outcome.

    Args:
        outcome: the outcome reward, not normalized by length. Its reference has to be that of its training.
        scale: "increment" p_k, or "value" q at the end of each step.
    """

    outcome: ImplicitReward
    _: KW_ONLY
    scale: Literal["increment", "value"] = "increment"
    name: str = "implicit_prm"

    def __post_init__(self) -> None:
        check_choice("ImplicitPRM", "scale", self.scale, ("increment", "value"))
        if not isinstance(self.outcome, ImplicitReward):
            raise TypeError(
                f"ImplicitPRM: outcome is {self.outcome!r:.80}. Pass an ImplicitReward; load a folder first, by "
                "rewardsmith.rewards.load_reward_model."
            )
        if self.outcome.normalize is not None:
            raise ValueError(
                f"ImplicitPRM: the outcome reward has normalize={self.outcome.normalize!r}, so it is no sum over "
                "tokens and has no steps. Pass one with normalize=None."
            )

    def tokens(self, prompts: list[Text], completions: list[Completion]) -> list[ImplicitTokens | Unscored]:
        """Return the rewards of each completion's tokens, or the reason why there are none."""
        encoded = self.outcome.encoded(prompts, completions)
        found = iter(self._tokens([item for item in encoded if not isinstance(item, Unscored)]))
        return [item if isinstance(item, Unscored) else next(found) for item in encoded]

    def _tokens(self, rows: Sequence[Encoded]) -> list[ImplicitTokens]:
        def read(values: Tensor, rows: Sequence[Encoded]) -> list[list[float]]:
            return [part.tolist() for part in token_logps(values, rows)]

        beta, scanners = self.outcome.beta, (self.outcome.scanner, self.outcome.reference_scanner)
        return [
            ImplicitTokens([beta * (a - b) for a, b in zip(own, ref, strict=True)], -beta * math.fsum(ref))
            for own, ref in zip(*(scanner.run(rows, read) for scanner in scanners), strict=True)
        ]

    def reasoned(  # type: ignore[override]
        self, prompts: list[Text], completions: list[Completion], *, steps: list[list[str]], **columns: Any
    ) -> list[list[float] | Unscored]:
        """Return the numbers of each row's steps, or the reason why the row has none."""
        encoder, found = RowEncoder(self.outcome.tokenizer, chat=self.outcome.chat), list[list[float] | Unscored]()
        encoded = self.outcome.encoded(prompts, completions)
        tokens = iter(self._tokens([item for item in encoded if not isinstance(item, Unscored)]))
        for prompt, completion, parts, item in zip(prompts, completions, steps, encoded, strict=True):
            if isinstance(item, Unscored):
                found.append(item)
                continue
            rewards, spans = next(tokens).token_rewards, encoder.spans(prompt, completion, item.ids, parts)
            if spans is None:
                found.append(Unscored("its steps are not in the completion in this order"))
                continue
            first = len(item.ids) - len(rewards)
            ends = [max(0, span.stop - first) for span in spans]
            if parts and text_of(completion).rstrip().endswith(parts[-1].strip()):
                ends[-1] = len(rewards)
            starts = [0, *ends[:-1]] if self.scale == "increment" else [0] * len(ends)
            found.append([math.fsum(rewards[start:end]) for start, end in zip(starts, ends, strict=False)])
        return found


def logit_scanner(model: Any, tokenizer: Any, batching: Batching) -> Scanner:
    """Build a scanner of a causal model's logits, with passes of at most `MOST_LOGITS` numbers."""
    scanner = scanner_of(model, Output(model, "logits"), tokenizer, batching)
    scanner.budget = max(1, min(scanner.budget, MOST_LOGITS // model.config.get_text_config().vocab_size))
    return scanner


def token_logps(values: Tensor, rows: Sequence[Encoded]) -> Sequence[Tensor]:
    """Return each row's log p of the tokens after the read positions, computed in float32 at least, as float64."""
    import numpy as np
    import torch

    chosen = [row.ids[np.asarray(row.reads, dtype=np.int64) + 1] for row in rows]
    targets = torch.from_numpy(np.concatenate(chosen).astype(np.int64)).to(values.device)
    wide = values if values.dtype.itemsize >= 4 else values.float()
    logps = wide.gather(-1, targets[:, None]).squeeze(-1) - wide.logsumexp(dim=-1)
    parts: Sequence[Tensor] = torch.split(logps.double().cpu(), [len(row.reads) for row in rows])
    return parts
