"""TRL's GRPO and RLOO trainers with a reward stage after the gather, and a callback that watches for hacking."""

try:
    import trl as _trl  # noqa: F401
except ImportError as error:
    raise ImportError(
        'rewardsmith.engines.trl: TRL is not installed. Install it with pip install "rewardsmith[trl]".'
    ) from error

from rewardsmith.engines.trl.monitor import HackingMonitor
from rewardsmith.engines.trl.stage import Scored
from rewardsmith.engines.trl.trainers import GRPOTrainer, RLOOTrainer

__all__ = ["GRPOTrainer", "HackingMonitor", "RLOOTrainer", "Scored"]
