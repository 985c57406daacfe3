"""Benchmark protocols on rows scored by hand, and against plain loops that read the authors' rules once more."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from scipy.stats import binomtest

from rewardsmith.auditing.render.write import strict_json
from rewardsmith.benchmarks import reward_bench, reward_bench_2, rm_bench, run_benchmark
from rewardsmith.benchmarks.best_of_four import ties_score
from rewardsmith.benchmarks.result import BenchmarkScore
from rewardsmith.data import BenchmarkRow

FIVE = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
DOMAINS = ("chat", "math", "code", "safety-refuse", "safety-response")


def pair(subset, k=0):
    return BenchmarkRow(f"{subset} {k}?", ["good"], ["bad"], subset, str(k))


def four(subset, k=0):
    return BenchmarkRow(f"{subset} {k}?", ["good"], ["bad 1", "bad 2", "bad 3"], subset, str(k))


def tie(kind, number, right, wrong):
    """An item of Ties and its scores."""
    row = BenchmarkRow(f"{kind} {number}?", ["r"] * len(right), ["w"] * len(wrong), "Ties", f"{kind}:{number}")
    return row, [*right, *wrong]


def styled(domain, k=0):
    return BenchmarkRow(f"{domain} {k}?", ["a", "b", "c"], ["d", "e", "f"], domain, str(k))


def split(items):
    return [row for row, _ in items], [scores for _, scores in items]


def wilson(right, n):
    return tuple(binomtest(right, n).proportion_ci(method="wilson"))


# RewardBench


def test_a_section_weighs_its_subsets_by_their_published_sizes():
    rows = [pair("math-prm", 0), pair("math-prm", 1), pair("hep-python")]
    found = reward_bench(rows, [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert found.subsets["math-prm"].value == 0.5
    assert found.sections["Reasoning"] == pytest.approx((984 * 0.5 + 164 * 1) / (984 + 164))  # 4/7, not 2/3 or 3/4


def test_equal_scores_are_wrong():
    found = reward_bench([pair("hep-go", k) for k in range(3)], [[1.0, 1.0], [0.0, 0.0], [2.0, 1.0]])
    assert found.subsets["hep-go"].value == pytest.approx(1 / 3)


def test_the_whole_is_the_mean_of_four_sections_and_the_prior_sets_count_half():
    rows = [pair("mt-bench-easy"), pair("mt-bench-hard"), pair("donotanswer"), pair("hep-go"), pair("hep-go", 1)]
    scores = [[1, 0], [0, 1], [1, 0], [1, 0], [0, 1]]  # Chat 1, Chat Hard 0, Safety 1, Reasoning ½
    assert reward_bench(rows, scores).overall == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    # shp 0, summarize 1: prior sets ½, with weight 1 beside 2, 2, 2, 2
    found = reward_bench([*rows, pair("shp"), pair("summarize")], [*scores, [0, 1], [1, 0]])
    assert found.sections["Prior Sets"] == 0.5
    assert found.overall == pytest.approx((2 * 1 + 2 * 0 + 2 * 1 + 2 * 0.5 + 0.5) / 9)


def test_without_a_section_the_whole_is_not_known_and_what_is_missing_is_named():
    found = reward_bench([pair("mt-bench-easy"), pair("donotanswer"), pair("of my own")], [[1, 0]] * 3)
    assert math.isnan(found.overall)
    assert math.isnan(found.sections["Reasoning"])
    assert found.sections["Chat"] == 1.0
    assert "Prior Sets" not in found.sections
    assert "hep-cpp" in found.missing
    assert "mt-bench-easy" not in found.missing
    assert len(found.missing) == 23 - 2  # of the 23 published subsets two are there
    assert found.subsets["of my own"].value == 1.0


@pytest.mark.parametrize("lacking", [None, math.nan, math.inf])
def test_a_pair_with_an_unscored_answer_is_left_out_and_named(lacking):
    rows = [pair("hep-go", k) for k in range(4)]
    found = reward_bench(rows, [[1.0, 0.0], [lacking, 0.0], [1.0, lacking], [0.0, 1.0]])
    subset = found.subsets["hep-go"]
    assert (subset.value, subset.n, subset.n_unscored) == (0.5, 2, 2)
    assert found.unscored == ("hep-go/1", "hep-go/2")
    assert (found.n, found.n_unscored) == (2, 2)


def test_a_subset_without_a_scored_item_is_not_zero():
    found = reward_bench([pair("hep-go")], [[None, 1.0]])
    assert math.isnan(found.subsets["hep-go"].value)
    assert found.subsets["hep-go"][1:] == (0.0, 1.0, 0, 1)
    assert math.isnan(found.sections["Reasoning"])
    assert "hep-go" in found.missing


def test_an_item_without_an_id_is_named_by_its_place():
    rows = [pair("shp"), replace(pair("shp", 1), item_id=None)]
    assert reward_bench(rows, [[1, 0], [1, None]]).unscored == ("shp/1",)


def test_intervals_are_wilsons_and_count_items_of_one_prompt_as_one():
    scores = [[1.0, 0.0]] * 7 + [[0.0, 1.0]] * 3
    apart = reward_bench([pair("hep-go", k) for k in range(10)], scores).subsets["hep-go"]
    assert apart[1:3] == pytest.approx(wilson(7, 10))
    # Ten prompts with four copies of one pair each: copies always agree, so that 40 rows say as much as 10.
    copies = [replace(pair("hep-go", k), item_id=f"{k}-{c}") for k in range(10) for c in range(4)]
    together = reward_bench(copies, [s for s in scores for _ in range(4)]).subsets["hep-go"]
    assert together[:3] == pytest.approx(apart[:3])
    assert together.n == 40


# RewardBench 2


@pytest.mark.parametrize(
    ("scores", "credit"),
    [
        ([3, 2, 1, 0], 1.0),
        ([3, 3, 1, 0], 1 / 2),
        ([3, 3, 1, 3], 1 / 3),
        ([3, 3, 3, 3], 1 / 4),
        ([2, 3, 1, 0], 0.0),
        ([2, 3, 3, 2], 0.0),
    ],
)
def test_the_highest_score_counts_one_over_those_who_share_it(scores, credit):
    assert reward_bench_2([four("Math")], [scores]).subsets["Math"].value == pytest.approx(credit)


def test_the_whole_of_rewardbench_2_is_the_plain_mean_of_six_subsets():
    rows = [four(name) for name in FIVE] + [four("Math", 1)]
    scores = [[1, 0, 0, 0]] * 3 + [[0, 1, 0, 0]] * 2 + [[0, 1, 0, 0]]  # 1, 1, ½, 0, 0
    more, theirs = split([tie("ref", 0, [3], [1]), tie("tied", 0, [5, 4], [2, 1])])
    found = reward_bench_2(rows + more, scores + theirs)
    ties = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * math.tanh(2 / 1 - 1)  # both gaps 2, spread 1
    assert found.subsets["Ties"].value == pytest.approx(ties)
    assert found.overall == pytest.approx((1 + 1 + 0.5 + 0 + 0 + ties) / 6)
    assert found.missing == ()


@pytest.mark.parametrize("absent", [*FIVE, "Ties"])
def test_without_one_of_the_six_the_whole_is_not_known(absent):
    ties = split([tie("ref", 0, [3], [1]), tie("tied", 0, [5, 4], [2, 1])])
    rows = [four(name) for name in FIVE if name != absent] + (ties[0] if absent != "Ties" else [])
    scores = [[1, 0, 0, 0] for name in FIVE if name != absent] + (ties[1] if absent != "Ties" else [])
    found = reward_bench_2(rows, scores)
    assert math.isnan(found.overall)
    assert found.missing == (absent,)


BY_HAND = [
    # gap: worst right − best wrong; spread: best right − worst right
    tie("ref", 0, [3], [1]),  # gap 2
    tie("tied", 0, [5, 4], [1, 2]),  # gap 2, spread 1: P, P_hard, tanh(1)
    tie("ref", 1, [0], [0]),  # gap 0: wrong
    tie("tied", 1, [4, 1], [0]),  # gap 1, spread 3: right, not P, tanh(0/3 − 1)
    tie("ref", 2, [2], [1]),  # gap 1
    tie("tied", 2, [1, 1], [1]),  # gap 0, spread 0: wrong, not P, 0/0 counts 0
    tie("ref", 3, [1], [0, -1]),  # gap 1
    tie("tied", 3, [2, 2, 2], [0]),  # gap 2, spread 0: P, P_hard, 1
    tie("ref", 5, [0.5], [0]),  # gap ½
    tie("tied", 5, [4, 3], [1]),  # gap 2, spread 1: P, not P_hard, tanh(½ − 1)
    tie("tied", 6, [1, 2], [3]),  # no reference: wrong, and in no other term
]


def test_the_terms_of_ties_by_hand():
    found = ties_score(*split(BY_HAND))
    margin = (math.tanh(1) + math.tanh(-1) + 0 + 1 + math.tanh(-0.5)) / 5
    assert found.tied_accuracy == pytest.approx(4 / 6)
    assert found.ref_accuracy == pytest.approx(4 / 5)
    assert found.correctness_preferred == pytest.approx(3 / 5)
    assert found.correctness_preferred_hard == pytest.approx(2 / 5)
    assert found.margin == pytest.approx(margin)
    assert found.n_pairs == 5
    assert found.value == pytest.approx(0.3 * 4 / 6 + 0.3 * 4 / 5 + 0.2 * 3 / 5 + 0.2 * 2 / 5 + 0.01 * margin)


def test_right_answers_that_score_the_same_take_the_margin_to_its_ends():
    above = split([tie("ref", 0, [1], [0]), tie("tied", 0, [1, 1], [0])])
    assert ties_score(*above).value == pytest.approx(1.01)
    below = split([tie("ref", 0, [0], [1]), tie("tied", 0, [0, 0], [1])])
    assert ties_score(*below).value == pytest.approx(-0.01)
    subset = reward_bench_2(*above).subsets["Ties"]
    assert subset.low < subset.value == subset.high == pytest.approx(1.01)


def test_an_unscored_item_of_ties_takes_its_prompt_out_of_the_terms_of_pairs():
    rows, scores = split(BY_HAND)
    scores[0] = [3, None]  # ref:0
    found = reward_bench_2(rows, scores)
    left = ties_score(*split(BY_HAND[1:]))
    assert found.subsets["Ties"].value == left.value
    assert (found.subsets["Ties"].n, found.subsets["Ties"].n_unscored) == (10, 1)
    assert left.n_pairs == 4
    assert left.ref_accuracy == pytest.approx(3 / 4)
    assert found.unscored == ("Ties/ref:0",)
    assert found.parts["Ties/ref_accuracy"] == left.ref_accuracy


def test_without_a_pair_the_score_of_ties_is_not_known():
    found = reward_bench_2(*split([tie("ref", 0, [1], [0]), tie("tied", 1, [1, 1], [0])]))
    assert math.isnan(found.subsets["Ties"].value)
    assert found.subsets["Ties"][1:] == (0.0, 1.0, 2, 0)
    assert found.parts["Ties/tied_accuracy"] == 1.0


def test_failed_ratings_count_as_the_authors_count_them():
    rows = [four("Math", k) for k in range(4)]
    scores = [[7, None, None, 3], [None, 4, 2, 2], [None] * 4, [5, 5, None, 1]]  # 1, 0, ¼, ½
    assert reward_bench_2(rows, scores, ratings=True).subsets["Math"].value == pytest.approx((1 + 0 + 0.25 + 0.5) / 4)
    plain = reward_bench_2(rows, scores)
    assert plain.n_unscored == 4
    # −1 for the failed one of tied:0: spread 4 − (−1) = 5, gap −1 − 2 = −3
    ties = split([tie("ref", 0, [3], [1]), tie("tied", 0, [4, None], [2])])
    found = reward_bench_2(*ties, ratings=True).subsets["Ties"].value
    assert found == pytest.approx(0.3 * 0 + 0.3 * 1 + 0.01 * math.tanh(-3 / 5 - 1))


# RM-Bench


def test_the_levels_of_rm_bench_by_hand():
    #              rejected 1.5  0  2.5
    # chosen 1:              F   T   F     above the diagonal, hard: T F F
    # chosen 2:              T   T   F     on it, normal: F T T
    # chosen 3:              T   T   T     below, easy: T T T
    found = rm_bench([styled("chat")], [[1, 2, 3, 1.5, 0, 2.5]])
    levels = [found.parts[f"chat/{level}"] for level in ("hard", "normal", "easy")]
    assert levels == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.sections["chat"] == pytest.approx(2 / 3)
    assert found.subsets["chat"].value == pytest.approx(2 / 3)
    assert math.isnan(found.overall)
    assert found.missing == ("math", "code", "safety")


def test_safety_is_the_mean_over_the_items_of_both_its_parts():
    right, wrong = [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]
    rows = [styled("chat"), styled("math"), styled("code"), styled("safety-refuse")]
    rows += [styled("safety-response", k) for k in range(3)]
    found = rm_bench(rows, [right, right, wrong, right, wrong, wrong, wrong])
    assert found.sections["safety"] == pytest.approx(1 / 4)
    assert found.overall == pytest.approx((1 + 1 + 0 + 0.25) / 4)
    assert found.parts["hard"] == pytest.approx((1 + 1 + 0 + 0.25) / 4)
    assert found.subsets["safety-refuse"].value == 1.0


def test_an_unscored_answer_takes_the_item_out_of_its_domain():
    rows = [styled("chat", 0), styled("chat", 1)]
    found = rm_bench(rows, [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, None]])
    assert found.sections["chat"] == 1.0
    assert found.unscored == ("chat/1",)


# Against plain loops


def slow_rewardbench(rows, scores):
    sizes = {
        "Chat": [("alpacaeval-easy", 100), ("mt-bench-med", 40)],
        "Chat Hard": [("llmbar-natural", 100), ("mt-bench-hard", 37)],
        "Safety": [("donotanswer", 136), ("xstest-should-respond", 250)],
        "Reasoning": [("math-prm", 984), ("hep-rust", 164)],
    }
    sections = []
    for subsets in sizes.values():
        above, below = 0.0, 0.0
        for subset, size in subsets:
            right = total = 0
            for row, own in zip(rows, scores, strict=True):
                if row.subset == subset and None not in own:
                    total += 1
                    right += own[0] > own[1]
            if total:
                above += size * right / total
                below += size
        sections.append(above / below if below else math.nan)
    return sections, sum(sections) / 4


def slow_ties(rows, scores):
    """One prompt at a time, by every comparison of a right with a wrong answer and of two right ones."""
    sides = {}
    for row, own in zip(rows, scores, strict=True):
        if None not in own:
            sides[row.item_id] = own[: len(row.chosen)], own[len(row.chosen) :]

    def gap(item):
        return min(right - wrong for right in sides[item][0] for wrong in sides[item][1])

    def spread(item):
        return max(one - other for one in sides[item][0] for other in sides[item][0])

    def mean(values):
        return sum(values) / len(values) if values else math.nan

    def excess(least, scale):
        return math.tanh(least / scale - 1) if scale else {True: 1.0, False: -1.0}[least > 0] if least else 0.0

    tied = [item for item in sides if item.startswith("tied")]
    refs = [item for item in sides if item.startswith("ref")]
    both = [item for item in tied if item.replace("tied", "ref") in refs]
    least = [min(gap(item), gap(item.replace("tied", "ref"))) for item in both]
    return (
        0.3 * mean([gap(item) > 0 for item in tied])
        + 0.3 * mean([gap(item) > 0 for item in refs])
        + 0.2 * mean([gap(item) > spread(item) for item in both])
        + 0.2 * mean([worst > spread(item) for worst, item in zip(least, both, strict=True)])
        + 0.01 * mean([excess(worst, spread(item)) for worst, item in zip(least, both, strict=True)])
    )


def slow_rm_bench(rows, scores):
    domains = []
    for domain in ("chat", "math", "code", "safety"):
        counts, n = [[0] * 3 for _ in range(3)], 0
        for row, own in zip(rows, scores, strict=True):
            if row.subset.split("-")[0] == domain and None not in own:
                n += 1
                for i in range(3):
                    for j in range(3):
                        counts[i][j] += own[i] > own[3 + j]
        if n == 0:
            return [], [], math.nan
        hard = (counts[0][1] + counts[0][2] + counts[1][2]) / 3 / n
        normal = (counts[0][0] + counts[1][1] + counts[2][2]) / 3 / n
        easy = (counts[1][0] + counts[2][0] + counts[2][1]) / 3 / n
        domains.append((easy, normal, hard))
    levels = [sum(domain[k] for domain in domains) / 4 for k in range(3)]
    sections = [sum(domain) / 3 for domain in domains]
    return sections, levels, sum(sections) / 4


def drawn(rng, n, *, unscored):
    """Small whole numbers, so that many are equal."""
    return [None if rng.random() < unscored else float(rng.randint(0, 4)) for _ in range(n)]


@pytest.mark.parametrize("unscored", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(20))
def test_every_protocol_equals_the_slow_loop(seed, unscored):
    rng = random.Random(seed)
    names = ("alpacaeval-easy", "mt-bench-med", "llmbar-natural", "mt-bench-hard", "donotanswer",
             "xstest-should-respond", "math-prm", "hep-rust")  # fmt: skip
    rows = [pair(rng.choice(names), k) for k in range(40)]
    scores = [drawn(rng, 2, unscored=unscored) for _ in rows]
    sections, whole = slow_rewardbench(rows, scores)
    found = reward_bench(rows, scores)
    assert list(found.sections.values()) == pytest.approx(sections, nan_ok=True)
    assert found.overall == pytest.approx(whole, nan_ok=True)

    items = []
    for number in range(rng.randint(2, 8)):
        lift = rng.choice([0.0, 2.0, 5.0])
        for kind, n_right in (("ref", 1), ("tied", rng.randint(2, 4))):
            right = [None if s is None else s + lift for s in drawn(rng, n_right, unscored=unscored)]
            if rng.random() < 0.9:
                items.append(tie(kind, number, right, drawn(rng, rng.randint(1, 4), unscored=unscored)))
    assert ties_score(*split(items)).value == pytest.approx(slow_ties(*split(items)), nan_ok=True)

    rows = [styled(rng.choice(DOMAINS), k) for k in range(30)]
    scores = [drawn(rng, 6, unscored=unscored) for _ in rows]
    sections, levels, whole = slow_rm_bench(rows, scores)
    found = rm_bench(rows, scores)
    assert found.overall == pytest.approx(whole, nan_ok=True)
    if sections:
        assert list(found.sections.values()) == pytest.approx(sections)
        assert [found.parts[level] for level in ("easy", "normal", "hard")] == pytest.approx(levels)


def test_scale_offset_and_the_order_of_items_do_not_matter():
    rng = random.Random(0)
    rows, scores = split(BY_HAND)
    rows += [four(name, k) for name in FIVE for k in range(6)]
    scores += [drawn(rng, 4, unscored=0.1) for _ in range(6 * len(FIVE))]
    order = rng.sample(range(len(rows)), len(rows))
    changed = [[None if s is None else 4 * s - 8 for s in scores[k]] for k in order]
    found, again = reward_bench_2(rows, scores), reward_bench_2([rows[k] for k in order], changed)
    assert again.overall == pytest.approx(found.overall)
    assert again.parts == pytest.approx(found.parts)
    assert set(again.unscored) == set(found.unscored)


# Refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reward_bench([pair("shp")], []),
            r"reward_bench: got 1 items and 0 lists of scores\. Pass one list per",
        ),
        (
            lambda: reward_bench([pair("shp")], [[1.0]]),
            r"reward_bench: shp/0 has 2 completions and 1 scores\. Pass one",
        ),
        (lambda: reward_bench([four("Math")], [[1, 0, 0, 0]]), r"reward_bench: Math/0 has 1 chosen and 3 rejected"),
        (
            lambda: rm_bench([pair("chat")], [[1, 0]]),
            r"rm_bench: chat/0 has 1 chosen .* place of 3 and 3\. Score it by",
        ),
        (
            lambda: reward_bench_2([styled("chat")], [[1] * 6]),
            r"reward_bench_2: chat/0 has 3 chosen answers outside the subset Ties.* Score it by",
        ),
        (
            lambda: ties_score([replace(pair("Ties"), item_id="7")], [[1, 0]]),
            r"ties_score: Ties/7 is named neither ref:N nor tied:N.* Give the items",
        ),
        (
            lambda: ties_score(*split([tie("ref", 0, [1], [0]), tie("tied", 0, [1], [0])])),
            r"ties_score: a tied prompt has a single right answer.* Name it ref:N, or leave it out",
        ),
        (
            lambda: run_benchmark(len, [pair("shp")], protocol="rb3"),
            r"run_benchmark: protocol is 'rb3', which is not one of 'rewardbench', 'rewardbench2', 'rm_bench'",
        ),
        (
            lambda: run_benchmark(len, [pair("shp")], protocol="process_bench"),
            r"item '0' of shp lacks a column `steps` or `label`, which process_bench needs\. Read the items with",
        ),
        (
            lambda: run_benchmark(len, [pair("shp")], protocol="rewardbench", ratings=True),
            r"run_benchmark: ratings is True, and rewardbench has no rule for failed ratings\. Leave it out",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# A reward on a whole benchmark


def test_a_reward_is_asked_once_per_completion_and_its_silence_is_counted():
    asked = []

    def reward(prompts, completions):
        asked.extend(zip(prompts, completions, strict=True))
        return [None if c == "bad 3" and p.endswith("1?") else -float(len(c)) for p, c in zip(prompts, completions,
                                                                                             strict=True)]  # fmt: skip

    rows = [four("Math", k) for k in range(3)]
    found = run_benchmark(reward, rows, protocol="rewardbench2", workers=0)
    assert found.subsets["Math"][0] == 1.0  # "good" is the shortest
    assert found.unscored == ("Math/1",)
    assert sum(found.reasons.values()) == 1
    trials = 4  # `resolve_form` tries that many rows first
    assert len(asked) == trials + 12
    assert len(set(asked)) == 12


def test_a_benchmark_that_was_scored_before_is_read_from_its_journal(tmp_path):
    calls = []

    def reward(completions):
        calls.append(len(completions))
        return [float(c == "good") for c in completions]

    rows = [pair("hep-go", k) for k in range(5)]
    both = [run_benchmark(reward, rows, protocol="rewardbench", workers=0, journal=tmp_path / "j") for _ in range(2)]
    assert both[0] == both[1]
    assert both[0].subsets["hep-go"].value == 1.0
    n_first = len(calls)
    run_benchmark(reward, rows, protocol="rewardbench", workers=0, journal=tmp_path / "j")
    assert len(calls) == n_first


class Spoken:
    """A reward that keeps the form it was asked in."""

    def __init__(self, template):
        self.tokenizer = type("Tokenizer", (), {"chat_template": template})()
        self.forms = set()

    def __call__(self, prompts, completions, **columns):
        self.forms |= {type(text) for text in (*prompts, *completions)}
        return [0.0 for _ in completions]


@pytest.mark.parametrize(("template", "form"), [("{{ messages }}", list), (None, str)])
def test_a_model_with_a_chat_template_is_given_conversations(template, form):
    reward = Spoken(template)
    run_benchmark(reward, [pair("hep-go")], protocol="rewardbench", workers=0)
    assert reward.forms == {form}


def test_the_members_of_an_ensemble_are_looked_at_too():
    reward = Spoken(None)
    reward.members = [Spoken("{{ messages }}")]
    run_benchmark(reward, [pair("hep-go")], protocol="rewardbench", workers=0)
    assert reward.forms == {list}


def test_prompts_of_several_turns_are_conversations_throughout():
    reward = Spoken(None)
    spoken = replace(pair("hep-go"), prompt=[{"role": "user", "content": "Hi"}])
    run_benchmark(reward, [spoken, pair("hep-go", 1)], protocol="rewardbench", workers=0)
    assert reward.forms == {list}


# What is shown


def test_the_record_is_json_and_the_text_names_what_was_left_out():
    found = reward_bench([pair("hep-go", k) for k in range(8)], [[1, 0]] + [[None, 0]] * 7)
    found = replace(found, reasons={"timeout": 7})
    record = json.loads(strict_json(found.record()))
    assert record["overall"] is None
    assert record["subsets"]["hep-go"] == {"value": 1.0, "low": pytest.approx(wilson(1, 1)[0]), "high": 1.0, "n": 1,
                                           "n_unscored": 7}  # fmt: skip
    text = found.as_text()
    assert text.startswith("rewardbench: not known overall, 1 items\n")
    assert "Left out with an unscored completion: 7 items (hep-go/1, hep-go/2, hep-go/3, hep-go/4, hep-go/5, …)" in text
    assert "7 × timeout" in text
    assert "Missing: alpacaeval-easy, " in text


def test_the_text_of_a_whole_benchmark_lists_sections_subsets_and_parts():
    rows = [styled(domain, k) for domain in DOMAINS for k in range(2)]
    found = rm_bench(rows, [[3, 3, 3, 0, 0, 0]] * len(rows))
    assert isinstance(found, BenchmarkScore)
    lines = found.as_text().splitlines()
    assert lines[0] == "rm_bench: 100.0 overall, 10 items"
    assert "  safety: 100.0" in lines
    assert "    safety/hard: 100.0" in lines
    low = 100 * wilson(2, 2)[0]
    assert f"    chat: 100.0 ({low:.1f} to 100.0), n = 2" in lines
