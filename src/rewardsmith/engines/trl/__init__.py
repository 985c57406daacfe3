"""TRL's GRPO and RLOO trainers with a reward stage after the gather, and a callback that watches for hacking."""

try:
    from trl import GRPOConfig, RLOOConfig  # type: ignore[attr-defined]
except ImportError as error:
    raise ImportError(
        'rewardsmith.engines.trl: TRL is not installed. Install it with pip install "rewardsmith[trl]".'
    ) from error

from rewardsmith.engines.trl.monitor import HackingMonitor
from rewardsmith.engines.trl.stage import ScoredBatch
from rewardsmith.engines.trl.trainers import GRPOTrainer, RLOOTrainer

__all__ = ["GRPOConfig", "GRPOTrainer", "HackingMonitor", "RLOOConfig", "RLOOTrainer", "ScoredBatch"]
