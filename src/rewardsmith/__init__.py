"""Rewards that survive optimization: audit, build, transform, optimize and watch them.

Import from the rooms: `rewardsmith.rewards`, `rewardsmith.transforms`, `rewardsmith.advantages`,
`rewardsmith.worlds`, `rewardsmith.auditing`, `rewardsmith.monitors`, `rewardsmith.engines`, `rewardsmith.atlas`.
"""

from importlib.metadata import version as _version

__version__ = _version("rewardsmith")
