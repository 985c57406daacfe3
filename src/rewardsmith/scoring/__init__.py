"""Score rows with a reward: the accepted signatures, the one scoring path, its workers, journals and files.

Importing this package loads neither torch nor a verifier's libraries, because every worker process imports it.
"""

from rewardsmith.scoring.blocks import LocalEngine
from rewardsmith.scoring.called import from_openrlhf, from_plain, from_verl
from rewardsmith.scoring.contracts import contract_of
from rewardsmith.scoring.exports import to_openrlhf, to_trl, to_verl
from rewardsmith.scoring.files import score_file
from rewardsmith.scoring.loading import load_reward, load_target
from rewardsmith.scoring.process import steps_of, with_steps
from rewardsmith.scoring.score_rows import rewards_of, score
from rewardsmith.scoring.scorer import Scorer
from rewardsmith.scoring.targets import SourceSet, Target, as_sources, as_target

__all__ = [
    "LocalEngine",
    "Scorer",
    "SourceSet",
    "Target",
    "as_sources",
    "as_target",
    "contract_of",
    "from_openrlhf",
    "from_plain",
    "from_verl",
    "load_reward",
    "load_target",
    "rewards_of",
    "score",
    "score_file",
    "steps_of",
    "to_openrlhf",
    "to_trl",
    "to_verl",
    "with_steps",
]
