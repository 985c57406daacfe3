"""Votes are cast on canonical answers; a label comes from the other view; win rates cancel a judge's position bias."""

import math
import pickle
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.rewards import math_equal
from rewardsmith.transforms import cross_view_rewards, majority_vote, self_play_winrate
from rewardsmith.transforms.votes import canonical_answers
from rewardsmith.types import traits_of

NAN = math.nan


def test_spellings_of_one_value_are_one_answer():
    answers = ["0.5", r"\frac{1}{2}", "1/2", "2", None, "", "0.50"]
    assert canonical_answers(answers, verifier=math_equal) == ["0.5", "0.5", "0.5", "2", None, None, "0.5"]
    assert canonical_answers(answers) == [*answers[:4], None, None, "0.50"]


def test_the_classes_do_not_depend_on_which_spelling_is_the_key():
    """`math_equal` refuses the unfinished 5+7 for the key 12, and accepts 12 for the key 5+7."""
    assert canonical_answers(["12", "5+7"], verifier=math_equal) == ["12", "12"]
    assert canonical_answers(["5+7", "12"], verifier=math_equal) == ["5+7", "5+7"]


def test_a_vote_over_spellings_differs_from_one_over_texts():
    answers = ["3", "0.5", "1/2", "3", r"\frac{1}{2}"]
    assert majority_vote(answers) == ("3", 0.4)
    assert majority_vote(answers, verifier=math_equal) == ("0.5", 0.6)


def test_missing_answers_cast_no_vote_and_count_in_the_share():
    assert majority_vote([None, "", None, "4"]) == ("4", 0.25)
    assert majority_vote([None, ""]) == (None, 0.0)
    assert majority_vote([]) == (None, 0.0)


def test_weights_decide_a_vote():
    assert majority_vote(["4", "5", "5"], weights=[3.0, 1.0, 1.0]) == ("4", 0.6)


def test_a_tie_has_no_label_or_is_drawn_evenly():
    assert majority_vote(["4", "5", "5", "4"]) == (None, 0.5)
    generator = torch.Generator().manual_seed(0)
    drawn = [majority_vote(["4", "5"], generator=generator).label for _ in range(400)]
    assert 160 <= drawn.count("4") <= 240  # four standard deviations


def batch(*sides, extra=()):
    """One question with views a, b, … of given answers; further (question, view, answer) rows."""
    rows = [("q", "abc"[side], answer) for side, answers in enumerate(sides) for answer in answers]
    rows += extra
    question, view, completion = map(list, zip(*rows, strict=True))
    return torch.zeros(len(rows)), {"completion": completion, "pair_id": question, "view": view}


def test_each_side_is_judged_by_the_mode_of_the_other():
    rewards, columns = batch(["4", "4", "5"], ["5", "5", "4"])
    assert cross_view_rewards(rewards, **columns).tolist() == [0, 0, 1, 0, 0, 1]
    assert cross_view_rewards(rewards, **columns, voters="own").tolist() == [1, 1, 0, 1, 1, 0]
    own, found = batch(["4", "4", "5"], ["4", "5", ""])
    assert cross_view_rewards(own, **found, voters="both").tolist() == [1, 1, 0, 1, 0, 0]


def test_the_soft_reward_is_the_share_of_the_other_side():
    rewards, columns = batch(["4", "4", "5", "9", ""], ["5", "5", "4", ""])
    expected = torch.tensor([1 / 4, 1 / 4, 2 / 4, 0, 0, 1 / 5, 1 / 5, 2 / 5, 0])
    assert_close(cross_view_rewards(rewards, **columns, soft=True), expected)


def test_no_label_means_unscored_and_never_zero():
    rewards, columns = batch(["4", "5"], ["4", "4"], extra=[("alone", "a", "7"), ("alone", "a", "7")])
    found = cross_view_rewards(rewards, **columns)
    assert found[:2].tolist() == [1, 0]
    assert found[2:].isnan().all()  # the first side is tied; the other question has no second view
    weak, columns = batch(["4", "4", "5"], ["4", "5", "6", "4", "7"])
    gated = cross_view_rewards(weak, **columns, least_share=0.5)
    assert gated[:3].isnan().all()  # the mode of the second side has 2 of 5 votes
    assert gated[3:].tolist() == [1, 0, 0, 1, 0]


def test_an_unscored_row_does_not_vote_and_stays_unscored():
    rewards, columns = batch(["4", "5"], ["4", "5", "5"])
    rewards[4] = NAN
    rewards[3] = NAN
    found = cross_view_rewards(rewards, **columns)
    assert found[:2].tolist() == [1, 0]
    assert found[3:].isnan().all()


def test_answers_are_extracted_and_compared_by_value():
    rewards, columns = batch(["so 0.5", "so 2"], ["so 1/2", "so 3", r"so \frac12"])
    options = {"extract": lambda text: text[3:]}
    assert cross_view_rewards(rewards, **columns, **options, verifier=math_equal)[:2].tolist() == [1, 0]
    assert cross_view_rewards(rewards, **columns, **options)[:2].isnan().all()  # as texts all three tie


def test_columns_of_numbers_arrive_as_tensors_from_a_trainer():
    rewards, columns = batch(["4", "4", "5"], ["5", "5", "4"])
    numbers = {"pair_id": torch.tensor([7.0] * 6), "view": torch.tensor([0, 0, 0, 1, 1, 1])}
    assert cross_view_rewards(rewards, completion=columns["completion"], **numbers).tolist() == [0, 0, 1, 0, 0, 1]


def test_permuting_the_batch_permutes_the_rewards_and_a_partial_pickles():
    rewards, columns = batch(
        ["4", "4", "5"], ["5", "5", "4"], extra=[("r", s, a) for s, a in zip("aab", "112", strict=True)]
    )
    order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(0)).tolist()
    permuted = {name: [values[i] for i in order] for name, values in columns.items()}
    transform = pickle.loads(pickle.dumps(partial(cross_view_rewards, verifier=math_equal, soft=True)))
    assert_close(transform(rewards[order], **permuted), transform(rewards, **columns)[order], equal_nan=True)
    assert traits_of(transform).scope == "batch"


@pytest.mark.parametrize("self_weight", [0.0, 1.0])
def test_a_win_rate_is_a_mean_over_opponents_and_both_orders(self_weight):
    generator = torch.Generator().manual_seed(0)
    preferences = torch.rand(3, 4, 4, generator=generator, dtype=torch.float64)
    preferences[0, 1, 2] = NAN  # one order is known
    preferences[1, 0, 3] = preferences[1, 3, 0] = NAN  # not compared
    got = self_play_winrate(preferences, self_weight=self_weight)
    for b in range(3):
        for i in range(4):
            won = []
            for j in range(4):
                orders = [preferences[b, i, j].item(), 1 - preferences[b, j, i].item()]
                known = [p for p in orders if not math.isnan(p)]
                if i != j and known:
                    won.append(sum(known) / len(known))
            expected = (sum(won) + self_weight / 2) / (len(won) + self_weight)
            assert got[b, i].item() == pytest.approx(expected)


def test_a_judge_that_always_prefers_the_first_answer_gives_everyone_a_half():
    assert_close(self_play_winrate(torch.ones(2, 3, 3)), torch.full((2, 3), 0.5))


def test_a_masked_completion_is_no_opponent_and_has_no_rate():
    preferences = torch.tensor([[[0.5, 1.0, 0.0], [0.0, 0.5, 0.0], [1.0, 1.0, 0.5]]])
    got = self_play_winrate(preferences, mask=torch.tensor([[True, True, False]]))
    assert got[0, :2].tolist() == [1.0, 0.0]
    assert got[0, 2].isnan()
    alone = self_play_winrate(preferences, mask=torch.tensor([[True, False, False]]))
    assert alone.isnan().all()


def test_win_rates_sum_to_half_of_the_group():
    preferences = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(1))
    assert_close(self_play_winrate(preferences).sum(dim=1), torch.full((5,), 3.0))  # p + pᵀ = 1


@pytest.mark.parametrize("weights", [[1.0], [1.0, math.nan], [1.0, -1.0]])
def test_weights_that_are_no_weights_of_these_answers_are_refused(weights):
    with pytest.raises(ValueError, match=r"majority_vote: (1 weights for 2 answers|a weight is (nan|-1.0), outside)"):
        majority_vote(["4", "5"], weights=weights)


@pytest.mark.parametrize("name", ["pair_id", "view"])
@pytest.mark.parametrize("n", [3, 5])
def test_a_question_or_view_that_is_not_one_per_completion_is_refused(name, n):
    columns = {"completion": ["4"] * 4, "pair_id": [7] * 4, "view": ["a", "a", "b", "b"]} | {name: [7] * n}
    with pytest.raises(ValueError, match=f"cross_view_rewards: {name} has {n} values for 4 completions"):
        cross_view_rewards(torch.zeros(4), **columns)


def test_a_number_is_an_answer_and_zero_too():
    assert majority_vote([0, 0, 2]) == (0, 2 / 3)
    assert canonical_answers([0, "", None, 1]) == [0, None, None, 1]


def test_preferences_that_are_no_probabilities_are_refused_and_those_not_read_are_not():
    with pytest.raises(ValueError, match=r"self_play_winrate: 2 preferences lie outside \[0, 1\], such as 1.5. Pass"):
        self_play_winrate(torch.tensor([[[9.0, 1.5], [-0.5, 9.0]]]))
    assert_close(self_play_winrate(torch.tensor([[[9.0, 1.0], [0.0, 9.0]]])), torch.tensor([[1.0, 0.0]]))
