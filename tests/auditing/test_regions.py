"""Where a reward can be trusted, and right answers with wrong steps, as the probe of given completions tells."""

import random

import pytest
from tests.auditing.small_baselines import outcome_of

from rewardsmith.data import Row


def misled(gold, rng):
    """A reward that is right at the ends and backwards in between."""
    return gold if abs(gold - 0.5) > 0.3 else 1 - gold + rng.uniform(-0.05, 0.05)


def honest(gold, rng):
    return gold + rng.uniform(-0.2, 0.2)


def rollouts(score, *, groups=60, size=5, seed=0):
    rng = random.Random(seed)
    rows = []
    for k in range(groups):
        for _ in range(size):
            gold = rng.random()
            rows.append(Row(f"Write about number {k}.", f"{score(gold, rng):.6f}", {"gold": gold}))
    return rows


def pays_what_it_says(prompt, completion):
    try:
        return float(completion)
    except ValueError:
        return 0.0


def region(rows):
    found = [f for f in outcome_of("rollouts", pays_what_it_says, rows).findings if f.probe == "reward_regions"]
    return found[0] if found else None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_reward_that_is_wrong_in_the_middle_is_advised_to_keep_the_ends(seed):
    finding = region(rollouts(misled, seed=seed))
    assert finding.severity == "low"
    assert "`rewardsmith.advantages.rank_filter`" in finding.advice
    assert "those of 'best and worst'" in finding.message


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_reward_that_is_alike_everywhere_needs_no_filter(seed):
    finding = region(rollouts(honest, seed=seed))
    assert (finding.severity, finding.value > 0.8) == ("info", True)
    assert finding.interval[0] <= finding.value <= finding.interval[1]


@pytest.mark.slow
def test_rewards_of_few_values_and_few_groups_are_not_judged():
    assert region(rollouts(lambda gold, rng: round(gold), seed=1)) is None
    assert region(rollouts(misled, groups=5)) is None
    assert region([Row(r.prompt, r.completion) for r in rollouts(misled)]) is None


def test_right_answers_with_a_wrong_step_are_counted_among_the_paid():
    """Of 40 completions 30 are paid, and 12 of these hold a wrong step; one has no labels."""
    rows = []
    for k in range(40):
        labels = [True, False] if k < 12 or k >= 35 else [True, True]
        columns = {"labels": labels} if k != 20 else {}
        rows.append(Row(f"Write about number {k // 4}.", "1" if k < 30 else "0", columns))
    found = [f for f in outcome_of("rollouts", pays_what_it_says, rows).findings if f.probe == "flawed_positives"]
    assert [(f.n, f.value) for f in found] == [(29, pytest.approx(12 / 29))]
    assert found[0].severity == "low"
