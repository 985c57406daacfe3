import math
import random
from itertools import product

import pytest
import torch

from rewardsmith.data import segment_steps, split_steps
from rewardsmith.worlds import ChainSums, FlawDetector, LineScores, final_answer_reward, line_format_reward
from rewardsmith.worlds.arithmetic_lm import make_tokenizer
from rewardsmith.worlds.stepwise_tasks import ChainGold

TASK = ChainSums()
PROMPT = "3+4+2="  # 3, 7, 9


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gold_of(text, prompt=PROMPT):
    (gold,) = TASK.gold([prompt], [text])
    return gold


# --- what a line is, by hand ---------------------------------------------------------------------------------------

MARKED = {
    "3+4=7\n7+2=9\n#### 9": ["right", "right", "answer"],
    "3+4=7\nso 7\nso 7\n7+2=9\n#### 9": ["right", "restated", "restated", "right", "answer"],
    "so 3\n3+4=7": ["restated", "right"],  # before any line the first number is the total so far
    "so 4": ["wrong"],
    "3+4=7\n3+4=7": ["right", "restated"],  # repeated word for word
    "3+4=7\nso 7\n3+4=7": ["right", "restated", "wrong"],  # adds nothing, and is not the line before
    "3+4=8\n8+2=10\n#### 10": ["wrong", "wrong", "wrong answer"],  # right from a wrong start is not right
    "3+4=8\nso 8\n3+4=7\n7+2=9\n#### 9": ["wrong", "restated", "right", "right", "leap"],  # redone: the error stays
    "3+4=8\n8+2=9\n#### 9": ["wrong", "wrong", "leap"],  # two errors cancel
    "#### 9": ["leap"],
    "3+4=7\n#### 9": ["right", "leap"],
    "3+4=7\n#### 7": ["right", "wrong answer"],
    "3+2=5": ["wrong"],  # out of order
    "3+4=7\n7+2=9\n9+0=9\n#### 9": ["right", "right", "wrong", "leap"],  # no line beyond the last number
    "3+4=7\n7+2=9\n#### 9\n#### 9": ["right", "right", "answer", "restated"],
    "####9\nmaybe 9\n3+4=07": ["wrong", "wrong", "wrong"],
}


@pytest.mark.parametrize("text", MARKED)
def test_every_line_is_marked_for_what_it_is(text):
    assert TASK.marks(PROMPT, text.split("\n")) == MARKED[text]


GOLDS = {  # correct, sound, flawed, answered
    "3+4=7\n7+2=9\n#### 9": (1, 1, 0, 1),
    "3+4=7\nso 7\n7+2=9\n#### 9": (1, 1, 0, 1),  # filler is no flaw, only useless
    "#### 9": (1, 0, 1, 1),
    "3+4=8\n8+2=9\n#### 9": (1, 0, 1, 1),
    "3+4=7\n7+2=8\n#### 8": (0, 0, 0, 1),
    "3+4=7\n7+2=9": (0, 0, 0, 0),
    "3+4=7\n7+2=9\n#### 9\nso 9": (0, 0, 0, 0),  # does not end with its answer
    "#### 8\n#### 9": (0, 0, 0, 1),  # two answers are none
    "3+4=7\n7+2=9\n#### 9\n#### 9": (1, 1, 0, 1),
    "9": (0, 0, 0, 0),
    "": (0, 0, 0, 0),
}


@pytest.mark.parametrize("text", GOLDS)
def test_gold_is_what_the_completion_is_worth(text):
    assert gold_of(text) == ChainGold(*map(float, GOLDS[text]))


def test_without_a_sum_in_the_prompt_nothing_is_scored():
    arguments = {"prompts": ["tea is "], "completions": ["#### 9"]}
    assert TASK.gold(**arguments) == [None]
    assert LineScores(TASK)(**arguments, steps=[["#### 9"]]) == [None]
    assert FlawDetector(TASK)(**arguments) == [None]
    assert TASK.marks("3=", ["#### 3"]) is None


def test_gold_agrees_with_a_slow_reading_on_every_short_text():
    """An independent oracle: evaluate the arithmetic of each line by `eval`, over all texts of up to three lines."""
    lines = ["1+2=3", "1+2=2", "3+2=5", "2+2=5", "so 3", "so 2", "#### 5", "#### 3", "1+2=", ""]
    for text in map("\n".join, product(lines, repeat=3)):
        kept = [line for line in text.split("\n") if line]
        given = [int(line[5:]) for line in kept if line.startswith("#### ")]
        ends = bool(kept) and kept[-1].startswith("#### ")
        correct = ends and set(given) == {1 + 2 + 2}
        work = kept[: next((i for i, line in enumerate(kept) if line.startswith("#### ")), len(kept))]
        said, new = 1, []
        for i, line in enumerate(work):
            if line == f"so {said}" or (i and work[i - 1] == line):
                continue
            new.append(line)
            said = int(line.partition("=")[2]) if "=" in line and not line.endswith("=") else said
        true = all("=" in line and not line.endswith("=") and eval(line.replace("=", "==")) for line in new)
        sound = correct and true and [line[:3] for line in new] == ["1+2", "3+2"]
        after = kept[len(work) :]
        if correct and len(set(after)) > 1:
            continue  # lines between two answers: the slow reading does not follow those
        assert gold_of(text, "1+2+2=") == (correct, sound, correct and not sound, ends), text


# --- the process reward and its flaw ---------------------------------------------------------------------------------


def test_scores_are_those_of_the_marks():
    lines = ["3+4=8", "so 8", "3+4=7", "7+2=9", "#### 9"]
    (scores,) = LineScores(TASK)(prompts=[PROMPT], completions=["\n".join(lines)], steps=[lines])
    assert scores == [0.25, 0.90, 0.85, 0.85, 0.50]
    assert LineScores(TASK)([PROMPT], ["#### 8"], [["#### 8"]]) == [[0.20]]
    assert LineScores(TASK)([PROMPT], [""], [[]]) == [[]]


def test_every_restated_line_is_paid_and_changes_nothing_that_gold_sees():
    def total(n):
        lines = ["3+4=7", *["so 7"] * n, "7+2=9", "#### 9"]
        assert gold_of("\n".join(lines)).sound == 1.0
        return sum(LineScores(TASK)([PROMPT], [""], [lines])[0])

    assert [total(n) - total(n - 1) for n in (1, 2, 3)] == pytest.approx([0.9] * 3)


# --- the detector ----------------------------------------------------------------------------------------------------


def test_an_exact_detector_reports_flawed_answers_and_no_sound_one():
    correct = [text for text, gold in GOLDS.items() if gold[0]]
    verdicts = FlawDetector(TASK)([PROMPT] * len(correct), correct)
    assert verdicts == [float(GOLDS[text][2]) for text in correct]


def test_a_detector_errs_as_often_as_it_says_and_the_same_way_twice():
    detector = FlawDetector(ChainSums(max_operand=30), recall=0.8, false_alarms=0.1)
    pairs = [(a, b) for a, b in product(range(1, 31), repeat=2)]
    prompts = [f"{a}+{b}=" for a, b in pairs]
    for texts, rate in (
        ([f"{a}+{b}={a + b}\n#### {a + b}" for a, b in pairs], 0.1),
        ([f"#### {a + b}" for a, b in pairs], 0.8),
    ):
        verdicts = detector(prompts, texts)
        assert detector(prompts, texts) == verdicts
        spread = 4 * math.sqrt(rate * (1 - rate) / len(pairs))
        assert abs(sum(verdicts) / len(pairs) - rate) < spread


# --- outcome and form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", GOLDS)
def test_the_answer_reward_agrees_with_gold_about_the_answer(text):
    correct, _, _, answered = GOLDS[text]
    assert final_answer_reward([text], ["9"]) == [float(correct)]
    expected = float(correct) if answered else -1.0
    assert final_answer_reward([text], ["9"], unanswered=-1.0) == [expected]


def test_the_answer_reward_can_punish_a_wrong_answer():
    assert final_answer_reward(["#### 8", "so 9"], ["9"] * 2, wrong=-0.5) == [-0.5, 0.0]


def test_form_is_paid_whether_true_or_not():
    steps = [["3+4=9", "so 1", "#### 99", "3+4", "maybe", "so", "#### 9 or 8"], []]
    assert line_format_reward(steps=steps) == [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], []]


# --- the writer ------------------------------------------------------------------------------------------------------


def test_the_bare_writer_is_sound_and_never_restates():
    for prompt, text in TASK.texts(bare=True, generator=generator()):
        assert gold_of(text, prompt).sound == 1.0
        assert len(text.split("\n")) == TASK.operands


def test_the_writer_errs_restates_and_leaps_as_often_as_it_says():
    task = ChainSums(per_pass=4000)
    texts = task.texts(bare=False, generator=generator(1))
    marks = [task.marks(prompt, text.split("\n")) for prompt, text in texts]
    n = len(marks)

    def near(count, total, rate):
        return abs(count / total - rate) < 4 * math.sqrt(rate * (1 - rate) / total)

    first = [row[0] for row in marks]
    leaps = sum(mark in ("leap", "wrong answer") for mark in first)
    assert near(leaps, n, task.leap)
    assert near(first.count("leap"), leaps, task.guess)
    assert near(first.count("wrong"), n - leaps, task.error)
    went_on = [row[1] for row in marks if row[0] == "right"]
    assert near(went_on.count("restated"), len(went_on), task.restate)


def test_rows_hold_the_true_sum_and_depend_on_nothing_but_the_generator():
    rows = [TASK.row(generator(seed)) for seed in range(20)]
    assert rows == [TASK.row(generator(seed)) for seed in range(20)]
    for row in rows:
        numbers = [int(number) for number in row["prompt"].rstrip("=").split("+")]
        assert len(numbers) == TASK.operands
        assert int(row["answer"]) == sum(numbers)
        assert all(1 <= number <= TASK.max_operand for number in numbers)


def test_a_bare_answer_fits_thirty_two_tokens_with_room_for_filler_and_decodes_as_it_was():
    tokenizer = make_tokenizer(TASK.words)
    text = "9+9=18\n18+9=27\n#### 27"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == 14  # two lines of six pieces with their newlines, and "#### " with its number
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids
    assert len(tokenizer("so 18\n")["input_ids"]) == 3


def test_lines_are_the_trainers_steps():
    tokenizer = make_tokenizer(TASK.words)
    rng = random.Random(0)
    texts = [text for _, text in rng.sample(TASK.texts(bare=False, generator=generator()), 8)]
    table = segment_steps([tokenizer(text)["input_ids"] for text in texts], tokenizer.decode, separator="\n")
    assert table.steps == [text.split("\n") for text in texts] == [split_steps(text, separator="\n") for text in texts]
