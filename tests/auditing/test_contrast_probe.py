"""contrast_consistency on rewards whose consistency is known, and against a loop."""

import random

import numpy as np
import pytest

from rewardsmith.auditing import contrast_consistency
from rewardsmith.data import PreferenceRow
from rewardsmith.data.contrast import ContrastPair

PAIRS = [ContrastPair(f"prompt {k}", f"answer {k}", f"prompt {k + 100}", f"answer {k + 100}", 0.8) for k in range(40)]


def reads(prompt, completion):
    return float(prompt.split()[1] == completion.split()[1])


def ignores_the_prompt(prompt, completion):
    return float(len(completion)) + int(completion.split()[1]) / 1000


def constant(prompt, completion):
    return 1.0


def noise(prompt, completion):
    return random.Random(prompt + completion).random()


def test_a_reward_that_reads_the_prompt_is_consistent_and_one_that_does_not_is_at_chance():
    held_out = [PreferenceRow("prompt 1", "answer 99", "answer 3")]
    right = contrast_consistency(reads, PAIRS, workers=0)
    assert (right.c_res, right.c_ins, right.n) == (1.0, 1.0, 40)
    assert np.isnan(right.iid_acc)
    blind = contrast_consistency(ignores_the_prompt, PAIRS, held_out=held_out, workers=0)
    # it prefers one of the two answers under both prompts, and its reward of an answer is the same under both
    assert (blind.c_res, blind.c_ins, blind.iid_acc) == (0.5, 0.5, 1.0)
    ties = contrast_consistency(constant, PAIRS, held_out=held_out, workers=0)
    assert (ties.c_res, ties.c_ins, ties.iid_acc) == (0.5, 0.5, 0.5)


def test_it_is_the_mean_over_both_directions_of_every_pair():
    found = contrast_consistency(noise, PAIRS, workers=0)
    c_res, c_ins = [], []
    for p, r, q, s, _ in PAIRS:
        c_res += [noise(p, r) > noise(p, s), noise(q, s) > noise(q, r)]
        c_ins += [noise(p, r) > noise(q, r), noise(q, s) > noise(p, s)]
    assert (found.c_res, found.c_ins) == pytest.approx((np.mean(c_res), np.mean(c_ins)))
    low, high = found.intervals["c_res"]
    assert low < found.c_res < high


@pytest.mark.slow
def test_the_interval_covers_under_resampled_pairs():
    """Outcomes of the two directions alike (the worst case): a pair is one Bernoulli draw."""
    covered, generator = 0, np.random.default_rng(0)
    for _ in range(200):
        right = {pair.first_prompt: generator.random() < 0.7 for pair in PAIRS}

        def reward(prompts, completions, right=right):
            return [
                reads(p, c) * (1 if right[f"prompt {int(p.split()[1]) % 100}"] else -1)
                for p, c in zip(prompts, completions, strict=True)
            ]

        low, high = contrast_consistency(reward, PAIRS, workers=0).intervals["c_res"]
        covered += low <= 0.7 <= high
    assert covered >= 180  # 95 % of 200 less three standard errors


def test_a_pair_with_an_unscored_text_is_left_out():
    def partial(prompt, completion):
        return None if prompt == "prompt 3" else reads(prompt, completion)

    assert contrast_consistency(partial, PAIRS, workers=0).n == 39
    empty = contrast_consistency(reads, [], workers=0)
    assert empty.n == 0
    assert np.isnan(empty.c_res)
    assert empty.intervals["c_res"] == (0.0, 1.0)
