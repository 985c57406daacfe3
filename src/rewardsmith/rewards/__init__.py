"""Scores a completion or a transition: the one scoring path, the contracts rewards come in, and rewards of our own.

Importing this room loads neither torch nor a verifier's libraries, because every worker process does it.
"""

from rewardsmith.rewards.contracts import (
    Contract,
    contract_of,
    from_openrlhf,
    from_plain,
    from_verl,
)
from rewardsmith.rewards.exports import to_openrlhf, to_trl, to_verl
from rewardsmith.rewards.guards import AsyncRequireAnswer, RequireAnswer, require_answer
from rewardsmith.rewards.judges import ChatBackend, JudgeError, ReferenceJudge, reference_messages, verdict
from rewardsmith.rewards.scoring import Scorer, rewards_of, score
from rewardsmith.rewards.targets import Formed, Target, as_target, load_target, resolve_form, target_rows
from rewardsmith.rewards.verifiers import (
    exact_number,
    exact_text,
    final_answer,
    json_schema,
    matches_format,
    math_equal,
    multiple_choice,
    plain_text,
    think_format,
)
from rewardsmith.rewards.work import Scored

__all__ = [
    "AsyncRequireAnswer",
    "ChatBackend",
    "Contract",
    "Formed",
    "JudgeError",
    "ReferenceJudge",
    "RequireAnswer",
    "Scored",
    "Scorer",
    "Target",
    "as_target",
    "contract_of",
    "exact_number",
    "exact_text",
    "final_answer",
    "from_openrlhf",
    "from_plain",
    "from_verl",
    "json_schema",
    "load_target",
    "matches_format",
    "math_equal",
    "multiple_choice",
    "plain_text",
    "reference_messages",
    "require_answer",
    "resolve_form",
    "rewards_of",
    "score",
    "target_rows",
    "think_format",
    "to_openrlhf",
    "to_trl",
    "to_verl",
    "verdict",
]
