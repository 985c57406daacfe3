"""A text world as a Gymnasium environment passes Gymnasium's own check."""

import math
import sys
import warnings

import pytest

from rewardsmith.errors import MissingExtraError
from rewardsmith.worlds import TamperWorld
from rewardsmith.worlds.tampering import CURRICULUM
from tests.installed import part_of


def test_without_gymnasium_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "rewardsmith.engines.gymnasium", raising=False)
    with pytest.raises(MissingExtraError, match=r'engines\.gymnasium: gymnasium .*pip install "\.\[gymnasium\]"'):
        import rewardsmith.engines.gymnasium  # noqa: F401


@pytest.fixture
def env_class():
    part_of("gymnasium", "gymnasium")
    from rewardsmith.engines.gymnasium import TextEnv

    return TextEnv


@pytest.mark.parametrize("stage", CURRICULUM)
def test_gymnasium_finds_nothing_wrong(env_class, stage):
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env_class(TamperWorld(stage)), skip_render_check=True)


def test_a_seed_decides_the_episodes_that_follow(env_class):
    first, second = env_class(TamperWorld()), env_class(TamperWorld())
    begun = [[env.reset(seed=7)[0], env.reset()[0], env.reset()[0]] for env in (first, second)]
    assert begun[0] == begun[1]
    assert len(set(begun[0])) == 3


def test_a_reward_that_cannot_be_read_is_nan_with_a_reason(env_class):
    env = env_class(TamperWorld())
    env.reset(seed=0)
    assert env.step("write reward.txt\nreturn 1")[1:4] == (0.0, False, False)
    observation, reward, terminated, truncated, info = env.step("answer 3")
    assert (observation, terminated, truncated) == ("Answered.", True, False)
    assert math.isnan(reward)
    assert info["why"] == "the reward cannot be read: 'return 1' is no rule"


def test_observations_stay_within_their_space(env_class):
    env = env_class(TamperWorld(), max_length=40)
    assert env.observation_space.contains(env.reset(seed=0)[0])
    env.step("write note.txt\nné…\x1b[31m\n")
    assert env.step("read note.txt")[0] == "n\\xe9\\u2026\\x1b[31m\n"
    with pytest.raises(ValueError, match=r"max_length is 3, too short .* Give at least 4"):
        env_class(TamperWorld(), max_length=3)
