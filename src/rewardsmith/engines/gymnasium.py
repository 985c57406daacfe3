"""Text worlds as Gymnasium environments."""

from __future__ import annotations

import math
from typing import Any, Protocol

from rewardsmith.errors import missing_extra

try:
    import gymnasium
except ImportError as error:
    raise missing_extra("rewardsmith.engines.gymnasium", "gymnasium", error) from error

PRINTABLE = frozenset(map(chr, range(32, 127))) | {"\n"}


class TextWorld(Protocol):
    """A world of texts, such as `worlds.TamperWorld`."""

    def reset(self, seed: int) -> str:
        """Begin an episode that the seed decides, and return the first observation."""
        ...

    def step(self, action: str) -> Any:
        """Return the next observation, the reward or None, whether it ended, was cut off, and information."""
        ...


class TextEnv(gymnasium.Env):
    """A text world as a `gymnasium.Env`, whose actions and observations are texts.

    A reward of None becomes NaN, as nothing was scored; `info` says why. Characters outside ASCII are shown as
    escapes, and an observation is cut at `max_length`, with "..." at its end.

    Args:
        world: what is wrapped. Its episodes are drawn from the environment's own random numbers.
        max_length: characters of an action and of an observation at most.

    Example:
        env = TextEnv(TamperWorld("rubric_nudged"))
        observation, info = env.reset(seed=0)
        observation, reward, terminated, truncated, info = env.step("read rubric.txt")
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, world: TextWorld, *, max_length: int = 4000) -> None:
        if max_length < 4:
            raise ValueError(f"TextEnv: max_length is {max_length}, too short for any text. Give at least 4.")
        self.world, self.max_length = world, max_length
        self.action_space = gymnasium.spaces.Text(max_length, charset=PRINTABLE)
        self.observation_space = gymnasium.spaces.Text(max_length, min_length=0, charset=PRINTABLE)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode; the seed starts the random numbers from which its words are drawn."""
        super().reset(seed=seed, options=options)
        return self._shown(self.world.reset(int(self.np_random.integers(2**31)))), {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Apply an action."""
        observation, reward, terminated, truncated, info = self.world.step(action)
        return self._shown(observation), math.nan if reward is None else float(reward), terminated, truncated, info

    def _shown(self, text: str) -> str:
        plain = "".join(one if one in PRINTABLE else ascii(one)[1:-1] for one in text)
        return plain if len(plain) <= self.max_length else f"{plain[: self.max_length - 3]}..."
