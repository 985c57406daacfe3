"""Rewards that survive optimization: audit, build, transform, optimize and watch them.

`import rewardsmith as rs` offers the names of a first day. Each loads its room on first use, so the import alone loads
neither torch nor numpy. All other names are in the rooms: `rewardsmith.data`, `measures`, `sandbox`, `scoring`,
`rewards`, `transforms`, `advantages`, `objectives`, `recipes`, `auditing`, `benchmarks`, `monitors`, `engines`,
`atlas`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewardsmith.auditing import audit, write_report
    from rewardsmith.data import read_preferences, read_rows
    from rewardsmith.engines.trl import GRPOTrainer, RLOOTrainer, fit_reward_model, watch
    from rewardsmith.recipes import Recipe, column, source
    from rewardsmith.rewards import exact_number, load_reward_model, math_equal
    from rewardsmith.scoring import load_reward, score, score_file

    __version__: str

__all__ = [
    "GRPOTrainer",
    "RLOOTrainer",
    "Recipe",
    "audit",
    "column",
    "exact_number",
    "fit_reward_model",
    "load_reward",
    "load_reward_model",
    "math_equal",
    "read_preferences",
    "read_rows",
    "score",
    "score_file",
    "source",
    "watch",
    "write_report",
]
_ROOMS = {
    "auditing": ("audit", "write_report"),
    "data": ("read_preferences", "read_rows"),
    "engines.trl": ("GRPOTrainer", "RLOOTrainer", "fit_reward_model", "watch"),
    "recipes": ("Recipe", "column", "source"),
    "rewards": ("exact_number", "load_reward_model", "math_equal"),
    "scoring": ("load_reward", "score", "score_file"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rewardsmith")
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"rewardsmith.{room}"), name)
    raise AttributeError(f"module 'rewardsmith' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
