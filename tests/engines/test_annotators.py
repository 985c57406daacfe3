"""Labels of a self-training round against slow counts, Kendall's tau of scipy, and log-probabilities token by token."""

import math
from functools import partial
from pathlib import Path

import pytest
from scipy.stats import kendalltau

from rewardsmith.data import Row, best_worst_pairs
from rewardsmith.engines.annotators import (
    ImplicitScores,
    by_agreement,
    by_rank_consistency,
    by_reward,
    by_vote,
    by_win_rate,
    differences,
    swapped,
)
from rewardsmith.engines.rounds import Round
from rewardsmith.errors import RewardsmithError
from rewardsmith.rewards import math_equal
from tests.small_models import llama_policy, token_by_token, tokenizer

AT = Round(1, Path("now"), Path("before"), Path("base"))
ROWS = [Row("first"), Row("second")]
TEXTS = [["a", "bb", "ccc", "dddd"], ["ccc", "a", "bb"]]
SCORES = {"a": 1.0, "bb": 4.0, "ccc": 2.0, "dddd": 3.0}


def looked_up(table):
    return lambda prompts, completions, **columns: [table.get(text) for text in completions]


def constant(value):
    return lambda at: value


def test_scores_go_to_their_completions_and_columns_to_the_reward():
    rows = [Row("p", columns={"answer": "4"}), Row("q", columns={"answer": "5"})]

    def right(prompts, completions, answer, **columns):
        return [None if text == "?" else float(text == key) for text, key in zip(completions, answer, strict=True)]

    found = by_reward(AT, rows, [["4", "5", "?"], ["4", "5"]], reward=constant(right))
    assert [label.scores for label in found] == [[1.0, 0.0, None], [0.0, 1.0]]


def test_a_soft_label_is_as_strong_as_two_rankings_agree_and_never_below_a_half():
    then = {"a": 1.0, "bb": 2.0, "ccc": 2.5, "dddd": 4.0}
    annotate = partial(by_rank_consistency, reward=constant(looked_up(SCORES)), before=constant(looked_up(then)))
    first, second = annotate(AT, ROWS, TEXTS)
    for label, texts in ((first, TEXTS[0]), (second, TEXTS[1])):
        assert label.scores == [SCORES[text] for text in texts]
        tau = kendalltau([SCORES[t] for t in texts], [then[t] for t in texts]).statistic
        assert label.agreement == pytest.approx((tau + 1) / 2)
        assert label.columns["target"] == pytest.approx(max((tau + 1) / 2, 0.5))
    turned = {text: -score for text, score in SCORES.items()}
    (opposite, _) = by_rank_consistency(
        AT, ROWS, TEXTS, reward=constant(looked_up(SCORES)), before=constant(looked_up(turned))
    )
    assert (opposite.agreement, opposite.columns["target"]) == (0.0, 0.5)


def test_a_prompt_with_fewer_than_three_distinct_scores_is_left_out():
    annotate = partial(by_rank_consistency, reward=constant(looked_up(SCORES)), before=constant(looked_up(SCORES)))
    found = annotate(AT, ROWS, [["a", "a", "bb"], ["a", "bb", "ccc"]])
    assert found[0].scores == [None] * 3
    assert found[1].agreement == 1.0


def by_position(bias):
    """A judge that prefers longer answers, and the first one by `bias`."""

    def compare(prompts, firsts, seconds):
        return [0.5 + bias + 0.1 * (len(a) - len(b)) for a, b in zip(firsts, seconds, strict=True)]

    return compare


@pytest.mark.parametrize("bias", [0.0, 0.15])
def test_win_rates_average_both_orders_and_give_the_regression_target_of_self_play(bias):
    first, second = by_win_rate(AT, ROWS, TEXTS, compare=constant(by_position(bias)))
    means = [
        0.5 - 0.1 * 2,
        0.5 - 0.1 * 2 / 3,
        0.5 + 0.1 * 2 / 3,
        0.5 + 0.1 * 2,
    ]  # mean difference of lengths 1, 2, 3, 4
    assert first.scores == pytest.approx(means)
    assert first.columns["target"] == pytest.approx(1 / (1 + math.exp(-0.4)))
    assert second.scores == pytest.approx([0.65, 0.35, 0.5])
    assert first.preferences[0][3] == pytest.approx(0.2)
    assert first.preferences[0][0] is None
    hard = by_win_rate(AT, ROWS, TEXTS, compare=constant(by_position(bias)), soft=False)
    assert hard[0].columns == {}


def test_a_comparison_without_a_verdict_is_left_out():
    def silent(prompts, firsts, seconds):
        return [None] * len(prompts)

    (label, _) = by_win_rate(AT, ROWS, TEXTS, compare=constant(silent))
    assert label.scores == [None] * 4
    assert label.columns == {}


def test_only_the_pair_on_which_all_views_agree_is_kept():
    judge = by_position(0.15)
    scores = looked_up({"a": 0.0, "bb": -3.0, "ccc": 1.0, "dddd": 2.0})

    def views(at):
        return [judge, swapped(judge), differences(scores)]

    rows, texts = [Row("p"), Row("q"), Row("r")], [["a", "ccc"], ["a", "bb"], ["a", "dddd"]]
    agreed, opposed, sure = by_agreement(AT, rows, texts, views=views)
    # a against ccc: .45, .15 and σ(−1); a against bb: .55, .25 and σ(3)
    mean = (0.45 + 0.15 + 1 / (1 + math.e)) / 3
    assert agreed.scores == pytest.approx([mean, 1 - mean])
    assert (agreed.agreement, opposed.agreement) == (1.0, 0.0)
    assert opposed.scores == [None, None]
    (soft, *_) = by_agreement(AT, rows, texts, views=views, soft=True)
    assert soft.columns["target"] == pytest.approx(1 - mean)
    (_, every, _) = by_agreement(AT, rows, texts, views=views, threshold=None)
    assert every.scores == pytest.approx([(m := (0.55 + 0.25 + 1 / (1 + math.exp(-3))) / 3), 1 - m])
    unsure = by_agreement(AT, rows, texts, views=views, least_confidence=0.15)
    assert [label.agreement for label in unsure] == [0.0, 0.0, 1.0]
    pairs = best_worst_pairs(
        [
            {"prompt": row.prompt, "completion": text, "score": score}
            for row, own, label in zip(rows, texts, (agreed, opposed, sure), strict=True)
            for text, score in zip(own, label.scores, strict=True)
        ],
        least_distinct=2,
    )
    assert [(pair.prompt, pair.chosen) for pair in pairs] == [("p", "ccc"), ("r", "dddd")]


def test_a_judge_of_positions_agrees_with_itself_in_no_pair():
    """The consistency of both orders cannot be bought by always preferring the first answer."""

    def first(prompts, firsts, seconds):
        return [0.9] * len(prompts)

    found = by_agreement(AT, ROWS, [["a", "bb"], ["a", "ccc"]], views=lambda at: [first, swapped(first)])
    assert [label.agreement for label in found] == [0.0, 0.0]


def test_of_many_comparisons_the_surest_agreed_one_is_kept():
    found, _ = by_agreement(AT, ROWS, TEXTS, views=lambda at: [by_position(0.0)])
    assert [score is not None for score in found.scores] == [True, False, False, True]  # lengths 1 and 4
    assert found.agreement == 1.0


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_reward_or_a_comparer_of_another_length_is_refused(extra):
    def numbers(prompts, *answers, completions=()):
        return [0.5] * (len(prompts) + extra)

    with pytest.raises(RewardsmithError, match=rf"the reward returned {7 + extra} results for 7 completions"):
        by_reward(AT, ROWS, TEXTS, reward=constant(numbers))
    with pytest.raises(RewardsmithError, match=rf"the comparer returned {18 + extra} results for 18 comparisons"):
        by_win_rate(AT, ROWS, TEXTS, compare=constant(numbers))


def test_a_comparer_that_gives_differences_of_scores_is_refused():
    with pytest.raises(RewardsmithError, match=r"the comparer returned -2.5 .* outside \[0, 1\]"):
        by_win_rate(AT, ROWS, TEXTS, compare=constant(lambda prompts, firsts, seconds: [-2.5] * len(prompts)))


def test_votes_of_the_other_view_score_completions():
    rows = [Row("2+3=", columns={"pair_id": 1, "view": "a"}), Row("3 plus 2", columns={"pair_id": 1, "view": "b"})]
    found = by_vote(AT, rows, [["5", "5.0", "6"], ["6", "5", "5"]], verifier=math_equal)
    assert [label.scores for label in found] == [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    assert found[0].agreement == pytest.approx(2 / 3)
    alone = by_vote(AT, ROWS, [["5", "5", "6"], ["6", "7", "6"]], voters="own")
    assert [label.scores for label in alone] == [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]


@pytest.mark.slow
def test_implicit_scores_are_log_ratios_to_the_base_and_before_the_first_round_its_mean_likelihood():
    models = {name: llama_policy(seed) for seed, name in enumerate(("base", "before", "now"))}
    tok = tokenizer()
    rows, texts = [Row("1+2="), Row("3+4=")], [["3", "so 3"], ["7"]]

    def summed(name):
        found = []
        for row, own in zip(rows, texts, strict=True):
            start = len(tok(row.prompt)["input_ids"])
            ids = [tok(row.prompt + text + "<eos>")["input_ids"] for text in own]
            found.append([(token_by_token(models[name], one, start), len(one) - start) for one in ids])
        return found

    def load(folder):
        return models[folder.name]

    def scores(of, at):
        return [label.scores for label in by_reward(at, rows, texts, reward=ImplicitScores(load, tok, of=of))]

    sums = {name: summed(name) for name in models}
    for of, name in (("policy", "now"), ("previous", "before")):
        for got, one, base in zip(scores(of, AT), sums[name], sums["base"], strict=True):
            assert got == pytest.approx([a - b for (a, _), (b, _) in zip(one, base, strict=True)])
    first = AT._replace(previous=AT.base)
    for got, base in zip(scores("previous", first), sums["base"], strict=True):
        assert got == pytest.approx([total / n for total, n in base])
    with pytest.raises(RewardsmithError, match="the policy is the base, so every implicit reward is 0"):
        scores("policy", AT._replace(policy=AT.base))
