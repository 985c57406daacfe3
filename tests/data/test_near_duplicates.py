"""Near-duplicates against a comparison of every pair, and data cards against counts by hand."""

import json
import random
from itertools import combinations

import pytest

from rewardsmith.data import (
    BenchmarkRow,
    PreferenceRow,
    RatedRow,
    StepRow,
    data_card,
    near_duplicates,
)


def jaccard(a, b, n=5):
    """By the definition, on lists of words."""

    def runs(words):
        return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}

    return len(runs(a) & runs(b)) / len(runs(a) | runs(b))


def corpus(seed, n=120):
    """Texts of which about half are edited copies of earlier ones."""
    rng = random.Random(seed)
    texts = []
    for _ in range(n):
        if texts and rng.random() < 0.5:
            words = list(rng.choice(texts))
            for _ in range(rng.choice([0, 1, 1, 2, 4])):
                words[rng.randrange(len(words))] = f"new{rng.randrange(9)}"
        else:
            words = [f"w{rng.randrange(400)}" for _ in range(rng.randint(40, 90))]
        texts.append(words)
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_near_duplicates_are_those_of_comparing_every_pair(seed):
    texts = corpus(seed)
    expected = {(a, b) for a, b in combinations(range(len(texts)), 2) if jaccard(texts[a], texts[b]) >= 0.8}
    found = near_duplicates([" ".join(words) for words in texts], seed=seed)
    assert {(pair.first, pair.second) for pair in found} <= expected  # verified exactly: never a wrong one
    assert len(found) >= 0.98 * len(expected) > 5  # 1 in 2,800 of those at the threshold may be missed
    for pair in found:
        assert pair.jaccard == pytest.approx(jaccard(texts[pair.first], texts[pair.second]))
    assert [pair.jaccard for pair in found] == sorted((pair.jaccard for pair in found), reverse=True)


def test_against_compares_one_side_with_the_other_only():
    train, test = ["a b c d e f", "a b c d e f", "u v w x y z"], ["q", "A, b c d e f."]
    assert [pair[:2] for pair in near_duplicates(train, against=test)] == [(0, 1), (1, 1)]
    assert near_duplicates(train, against=[]) == []
    assert near_duplicates([]) == []


def test_case_and_punctuation_do_not_count_and_short_texts_are_compared_whole():
    assert [p[:2] for p in near_duplicates(["Hi there!", "hi, there", "hi"])] == [(0, 1)]


def test_a_threshold_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"near_duplicates: threshold is 2, outside \[0.0, 1.0\]. Pass"):
        near_duplicates(["a"], threshold=2)


def pair(chosen, rejected, prompt="p", **fields):
    return PreferenceRow(prompt, chosen, rejected, **fields)


def test_a_card_counts_ties_length_contradictions_and_repetitions():
    rows = [
        pair("one two three", "one"),  # the longer one is chosen
        pair("one", "one two three"),  # the same pair the other way round
        pair("a b", "c d"),  # as long: says nothing of length
        pair("a b", "c d"),
        pair("x", "y z", is_tie=True),
        pair("long answer here", "no", prompt="q", strength=2.0, source="s", ratings={"help": (4.0, 1.0)}),
        pair("no", "long answer here", prompt="q", context="be brief"),  # another context: no contradiction
    ]
    card = data_card(rows)
    assert (card.n_rows, card.n_prompts, card.repeated) == (7, 2, 1)
    assert card.tie_share == pytest.approx(1 / 7)
    assert card.longer_chosen == 2 / 4
    assert card.contradicted == 2
    assert (card.strengths, card.sources, card.ratings) == ({"2": 1}, {"s": 1}, {"help": 2.5})
    assert card.words["chosen"].mean == pytest.approx((3 + 1 + 2 + 2 + 1 + 3 + 1) / 7)
    assert card.words["chosen"].largest == 3
    assert any("labeled both ways" in warning for warning in card.warnings)
    assert any("are repeated" in warning for warning in card.warnings)


def test_a_card_warns_of_length_and_of_what_was_dropped():
    rows = [pair(f"many words {i}", "few", prompt=f"prompt {i} of many others {i}") for i in range(40)]
    card = data_card(rows, n_records=50, dropped={"an empty answer": 10})
    assert card.longer_chosen == 1.0
    assert any("the longer answer is the chosen one in 100% of pairs" in w for w in card.warnings)
    swapped = data_card([pair("few", f"many words {i}", prompt=f"prompt {i} of many others {i}") for i in range(40)])
    assert any("the shorter answer is the chosen one in 100% of pairs" in w for w in swapped.warnings)
    assert any("10 drops from 50 records" in w for w in card.warnings)
    clean = data_card([*rows, *(pair("few", f"many words {i}", prompt=f"{i}") for i in range(40))])
    assert clean.warnings == ()


def test_a_card_counts_near_duplicate_prompts_unless_told_not_to():
    rows = [pair("a", "b", prompt="Name the longest river of the world, please!"),
            pair("a", "b", prompt="name the longest river of the world please")]  # fmt: skip
    assert data_card(rows).near_duplicates == 1
    assert data_card(rows, duplicates=False).near_duplicates is None


def test_cards_of_ratings_steps_and_items():
    rated = data_card([RatedRow("p", "a", {"x": 1.0}), RatedRow("p", "b", {"x": 2.0, "y": 4.0})])
    assert (rated.kind, rated.ratings) == ("rated answers", {"x": 1.5, "y": 4.0})
    steps = data_card([StepRow("p", ["a", "b c"], [1.0, None]), StepRow("p", ["a"], [0.5])])
    assert (steps.kind, steps.labels) == ("solutions in steps", {"0.5": 1, "1": 1, "none": 1})
    assert steps.words["step"].mean == pytest.approx(4 / 3)
    assert steps.tie_share is None
    items = data_card([BenchmarkRow("p", ["a"], ["b", "c d"], "math")])
    assert (items.kind, items.sources) == ("items", {"math": 1})


def test_a_card_is_text_and_json():
    card = data_card([pair("one two", "one")], name="mine", schema="explicit", dropped={"a tie": 2})
    text = card.as_text()
    assert text.startswith("mine: 1 pairs from 1 records (explicit)")
    assert "dropped 2: a tie" in text
    assert "longer answer chosen: 100.0%" in text
    loaded = json.loads(card.as_json())
    assert loaded["n_rows"] == 1
    assert loaded["words"]["chosen"]["median"] == 2
