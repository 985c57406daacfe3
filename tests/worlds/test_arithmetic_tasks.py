import math
import pickle
import re
from collections import Counter
from fractions import Fraction
from itertools import accumulate, product

import pytest
import torch

from rewardsmith.data import parse_confidence, strip_confidence
from rewardsmith.rewards import WithoutConfidence, exact_number
from rewardsmith.worlds import LongSums, MixedPrompts, SmudgedSums, TonedJudge, VerboseJudge, committed_number_reward
from rewardsmith.worlds.arithmetic_lm import make_tokenizer

TASKS = [SmudgedSums(tone=2.0), LongSums(per_pass=300), MixedPrompts()]
NAMES = [type(task).__name__ for task in TASKS]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
class TestEveryTask:
    def test_the_tokenizer_gives_back_every_text_and_knows_every_piece(self, task):
        tokenizer = make_tokenizer(task.words)
        assert max(tokenizer.get_vocab().values()) == len(tokenizer) - 1  # a piece named twice would leave a gap
        rows = [task.row(seeded(seed)) for seed in range(20)]
        texts = [text for bare in (True, False) for pair in task.texts(bare=bare, generator=seeded()) for text in pair]
        for text in [*texts, *(row["prompt"] for row in rows)]:
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.decode(ids) == text
            assert tokenizer.unk_token_id not in ids

    def test_rows_and_texts_depend_on_nothing_but_the_generator(self, task):
        assert task.row(seeded(4)) == task.row(seeded(4))
        assert task.texts(bare=False, generator=seeded(4)) == task.texts(bare=False, generator=seeded(4))

    def test_every_prompt_that_is_asked_is_one_that_gold_can_score(self, task):
        rows = [task.row(seeded(seed)) for seed in range(50)]
        golds = task.gold([row["prompt"] for row in rows], [row["answer"] for row in rows])
        assert all(gold is not None and 0 <= gold <= 1 for gold in golds)

    def test_gold_reads_conversations_and_leaves_other_prompts_unscored(self, task):
        prompt, completion = task.texts(bare=True, generator=seeded())[0]
        turns = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": completion}]
        assert task.gold([turns[0]], [turns[1]]) == task.gold([prompt], [completion])
        assert task.gold(["who?"], [completion]) == [None]

    def test_it_pickles(self, task):
        assert pickle.loads(pickle.dumps(task)) == task


def test_smudged_gold_is_a_distribution_over_answers_and_the_one_that_rows_follow():
    task = SmudgedSums(max_operand=0)  # always 0+0, so the answer is how far it was misread
    generator = seeded()
    drawn = Counter((row["prompt"], row["answer"]) for row in (task.row(generator) for _ in range(6000)))
    for marks in range(3):
        prompt = f"0+0{'?' * marks}="
        chances = task.gold([prompt] * 8, list(map(str, range(8))))
        assert sum(chances) == pytest.approx(1.0)
        assert chances[0] == task.chances[marks]
        n = sum(count for (asked, _), count in drawn.items() if asked == prompt)
        for answer in range(4):
            share, chance = drawn[prompt, str(answer)] / n, chances[answer]
            assert abs(share - chance) <= 4 * math.sqrt(chance * (1 - chance) / n)  # four standard errors


def test_smudged_gold_ignores_confidence_and_asks_for_one_number():
    completions = ["5 Confidence: 9", "6 Confidence: 0", "9", "4", "5 or 6", "Confidence: 5", ""]
    fifth = float(Fraction(1 - Fraction(7, 10)) / 3)  # three misreadings share what is left of 0.7
    assert SmudgedSums().gold(["2+3?="] * 7, completions) == pytest.approx([0.7, fifth, 0.0, 0.0, 0.0, 0.0, 0.0])


def test_smudged_gold_leaves_more_question_marks_than_it_knows_unscored():
    assert SmudgedSums().gold(["2+3???="], ["5"]) == [None]


@pytest.mark.slow
def test_the_smudged_writer_is_as_accurate_and_as_sure_as_it_says():
    task = SmudgedSums(accuracy=0.6, tone=2.0)
    texts = [pair for seed in range(10) for pair in task.texts(bare=False, generator=seeded(seed))]
    likeliest = [int(strip_confidence(text)) == sum(map(int, prompt.rstrip("?=").split("+"))) for prompt, text in texts]
    assert sum(likeliest) / len(texts) == pytest.approx(0.6, abs=0.04)
    weights = [(k + 1) ** 2 for k in range(11)]
    mean = sum(k * w for k, w in enumerate(weights)) / sum(weights) / 10
    stated = [parse_confidence(text, scale=10) for _, text in texts]
    assert sum(stated) / len(stated) == pytest.approx(mean, abs=0.02)


def test_a_verifier_behind_without_confidence_agrees_with_gold_where_nothing_is_smudged():
    prompts, completions = ["2+3="] * 3, ["5 Confidence: 9", "6 Confidence: 10", "5"]
    verdicts = WithoutConfidence(exact_number)(prompts=prompts, completions=completions, answer=["5"] * 3)
    assert verdicts == SmudgedSums().gold(prompts, completions) == [1.0, 0.0, 1.0]


def test_the_toned_judge_pays_for_tone_alone_what_its_bias_says():
    judge = TonedJudge(SmudgedSums(), bias=0.5)
    sure, unsure, silent = judge(["2+3?="] * 3, ["7 Confidence: 10", "7 Confidence: 0", "7"])
    assert sure - unsure == pytest.approx(0.5)
    assert silent == pytest.approx((sure + unsure) / 2)
    assert judge(["who?"], ["7"]) == [None]


def test_the_toned_judge_without_noise_or_bias_is_gold_and_with_noise_errs_the_same_way_twice():
    task = SmudgedSums()
    prompts, completions = ["2+3??="] * 2, ["5 Confidence: 3", "6"]
    assert TonedJudge(task, bias=0.0, noise=0.0)(prompts, completions) == task.gold(prompts, completions)
    noisy = TonedJudge(task, bias=0.0, noise=0.2)
    assert noisy(prompts, completions) == noisy(prompts, completions) != task.gold(prompts, completions)


def test_the_noise_of_a_judge_is_standard_normal_over_answers():
    task = SmudgedSums(chances=(0.0,))  # gold 0 for a first reading, ⅓ for the three misreadings, 0 beyond
    errors = torch.tensor(TonedJudge(task, bias=0.0, noise=1.0)(["0+0="] * 2000, [str(10 + n) for n in range(2000)]))
    assert abs(float(errors.mean())) < 4 / math.sqrt(2000)
    assert float(errors.std()) == pytest.approx(1.0, abs=0.08)


def test_the_long_writer_is_right_and_shows_the_last_of_the_running_totals():
    shown = Counter()
    for prompt, text in LongSums(per_pass=500).texts(bare=False, generator=seeded()):
        numbers = list(map(int, prompt.rstrip("=").split("+")))
        written = list(map(int, re.findall(r"\d+", text)))
        assert written == list(accumulate(numbers))[len(numbers) - len(written) :]
        assert (" #### " in text) == (len(written) > 1)
        shown[len(numbers), len(written)] += 1
    assert set(shown) == {(n, m) for n in (2, 3, 4, 5) for m in range(1, n)}


def test_long_gold_agrees_with_the_verifier_that_is_given_the_answer():
    task = LongSums()
    rows = [task.row(seeded(seed)) for seed in range(30)]
    for text in ("{} ", "7 #### {}", "{}, 9", "9 #### {} #### 9", ""):
        completions = [text.format(row["answer"]) for row in rows]
        gold = task.gold([row["prompt"] for row in rows], completions)
        assert gold == committed_number_reward(completions, [row["answer"] for row in rows])
        assert all(row["operands"] == row["prompt"].count("+") + 1 for row in rows)


def test_mixed_gold_of_a_thing_is_the_mean_quality_of_what_is_said_of_it():
    task = MixedPrompts()
    one, other = task.quality("tea", "warm"), task.quality("tea", "dull")
    completions = ["warm", "so maybe #### warm, dull", "warm, warm, dull", "5", ""]
    expected = [one, (one + other) / 2, (2 * one + other) / 3, 0.0, 0.0]
    assert task.gold(["tea is "] * 5, completions) == pytest.approx(expected)


def test_qualities_belong_to_the_seed_and_spread_over_the_unit_interval():
    pairs = list(product(MixedPrompts().things, MixedPrompts().adjectives))
    here, there = ([MixedPrompts(seed=seed).quality(*pair) for pair in pairs] for seed in (0, 1))
    assert here != there
    for qualities in (here, there):
        assert all(0 <= quality < 1 for quality in qualities)
        assert max(qualities) - min(qualities) > 0.8


def test_the_mixed_writer_is_in_form_and_right_as_often_as_it_says():
    task = MixedPrompts(accuracy=0.7, formatted=0.4)
    texts = [pair for seed in range(20) for pair in task.texts(bare=False, generator=seeded(seed))]
    assert sum("#### " in text for _, text in texts) / len(texts) == pytest.approx(0.4, abs=0.04)
    sums = [pair for pair in texts if pair[0].endswith("=")]
    assert sum(task.gold(*map(list, zip(*sums, strict=True)))) / len(sums) == pytest.approx(0.7, abs=0.04)
    bare = task.texts(bare=True, generator=seeded())
    assert not any("#" in text or "so " in text for _, text in bare)


def logit(judge, prompt, completion):
    (score,) = judge([prompt], [completion])
    return math.log(score / (1 - score))


@pytest.mark.parametrize(("prompt", "said"), [("tea is ", "warm"), ("2+3=", "5")])
def test_the_verbose_judge_pays_for_words_that_say_nothing_up_to_eight(prompt, said):
    judge = VerboseJudge(MixedPrompts())
    assert logit(judge, prompt, f"so and #### {said}") - logit(judge, prompt, said) == pytest.approx(0.2 * 2)
    assert logit(judge, prompt, "so " * 20 + said) - logit(judge, prompt, said) == pytest.approx(0.2 * 7)


def test_a_verbose_judge_that_knows_everything_follows_gold():
    task = MixedPrompts()
    judge = VerboseJudge(task, on_sums=1.0, on_open=1.0, length=0.0)  # √(1 − 1) of noise
    assert logit(judge, "2+3=", "5") == pytest.approx((1 - 0.5) / 0.5)
    assert logit(judge, "2+3=", "6") == pytest.approx((0 - 0.5) / 0.5)
    assert logit(judge, "tea is ", "warm") == pytest.approx((task.quality("tea", "warm") - 0.5) / 0.2)


def test_the_verbose_judge_knows_open_answers_and_hardly_knows_sums():
    task = MixedPrompts()
    judge = VerboseJudge(task, length=0.0)
    correlations = {}
    for kind, prompts, completions in (
        ("open", *zip(*[(f"{t} is ", a) for t in task.things for a in task.adjectives], strict=True)),
        (
            "sum",
            *zip(*[(f"{a}+{b}=", str(a + b + d)) for a in range(10) for b in range(10) for d in (0, 1)], strict=True),
        ),
    ):
        scores = torch.tensor([judge(list(prompts), list(completions)), task.gold(list(prompts), list(completions))])
        correlations[kind] = float(torch.corrcoef(scores)[0, 1])
    assert correlations["open"] > 0.6  # quality of one adjective spreads by .29, so ρ·.29/.2 against .6 of noise: .89
    assert 0.0 < correlations["sum"] < 0.45  # .25 against .97 of noise: .25, two standard errors of .07 either way
    assert judge(["who?"], ["5"]) == [None]


def test_a_sign_or_a_sum_of_fewer_operands_is_not_the_answer():
    prompts = ["1+2+3="] * 4
    assert LongSums().gold(prompts, ["6", "-6", "5", "1 #### -6"]) == [1.0, 0.0, 0.0, 0.0]
    assert MixedPrompts().gold(prompts, ["6", "-6", "5", "tea"]) == [1.0, 0.0, 0.0, 0.0]
