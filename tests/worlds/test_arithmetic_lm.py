import re

import pytest
import torch

from rewardsmith.worlds import ArithmeticLM, arithmetic_gold, committed_number_reward, substring_reward
from rewardsmith.worlds.arithmetic_lm import (
    COMMIT,
    FORMS,
    WORDS,
    make_tokenizer,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    return ArithmeticLM.build(tmp_path_factory.mktemp("world"), generator=torch.Generator().manual_seed(3))


def sample(world, n, seed=0):
    rows = world.rows(n, generator=torch.Generator().manual_seed(seed))
    prompts = list(rows["prompt"])
    batch = world.tokenizer(prompts, padding=True, return_tensors="pt")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ids = world.model.generate(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], do_sample=True, max_new_tokens=16
        )
    texts = world.tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return prompts, texts, list(rows["answer"])


def test_every_prompt_has_the_sum_as_its_answer(world):
    rows = world.rows(50, generator=torch.Generator().manual_seed(1))
    for prompt, answer in zip(rows["prompt"], rows["answer"], strict=True):
        a, b = re.fullmatch(r"(\d)\+(\d)=", prompt).groups()
        assert int(answer) == int(a) + int(b)


def test_rows_depend_on_nothing_but_the_generator(world):
    one, again = (world.rows(20, generator=torch.Generator().manual_seed(9))["prompt"] for _ in range(2))
    assert list(one) == list(again)


@pytest.mark.parametrize(
    "text",
    ["12+7=", "18 or 19 or 20", f"so {COMMIT} 19", *WORDS, *(form.format(1, 22, 3, 10) for form, _ in FORMS), "1\n2?"],
)
def test_the_tokenizer_gives_back_every_text_it_was_given(text):
    tokenizer = make_tokenizer()
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids


def test_a_prompt_is_four_pieces_which_is_what_the_warm_start_leaves_unlearned():
    assert len(make_tokenizer()("12+7=")["input_ids"]) == 4


def test_the_phrasings_are_a_distribution():
    assert sum(weight for _, weight in FORMS) == pytest.approx(1.0)


def test_the_warm_start_is_right_about_half_of_the_time_and_says_it_in_many_ways(world):
    prompts, texts, _ = sample(world, 512)
    assert 0.4 <= sum(arithmetic_gold(prompts, texts)) / 512 <= 0.7
    assert len(set(texts)) > 60
    assert any(" or " in text for text in texts)
    assert any(text.startswith("Thought process:") for text in texts)


def test_building_leaves_the_global_generator_alone(tmp_path):
    before = torch.random.get_rng_state()
    ArithmeticLM.build(tmp_path, generator=torch.Generator().manual_seed(0), steps=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_one_generator_seed_builds_one_model(tmp_path):
    one, two = (
        ArithmeticLM.build(tmp_path / name, generator=torch.Generator().manual_seed(7), steps=3) for name in "ab"
    )
    for mine, other in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_trainer_finds_the_warm_start_again_by_its_path(world):
    copy = world.reload().model
    assert copy.name_or_path == str(world.folder)
    assert (world.folder / "model.safetensors").is_file()
    for mine, other in zip(world.model.parameters(), copy.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize(
    ("completion", "gold", "substring", "committed"),
    [
        ("12", 1, 1, 1),
        ("so 12", 1, 1, 1),
        ("13", 0, 0, 0),
        ("", 0, 0, 0),
        ("Thought process:", 0, 0, 0),
        ("11 or 12", 0, 1, 0),
        ("12 or 11", 0, 1, 0),
        ("112", 0, 1, 0),
        ("9, 10, 11, 12, 13", 0, 1, 0),
        ("11? #### 12", 1, 1, 1),
        ("#### 12 #### 13", 0, 1, 0),
    ],
)
def test_each_proxy_has_its_flaw_and_gold_has_none(completion, gold, substring, committed):
    """Read off by hand: 5 + 7 is 12, and only one number may be left standing."""
    assert arithmetic_gold(["5+7="], [completion]) == [gold]
    assert substring_reward([completion], ["12"]) == [substring]
    assert committed_number_reward([completion], ["12"]) == [committed]


def test_gold_ignores_a_wrong_answer_column_and_leaves_prompts_without_a_sum_unscored():
    assert arithmetic_gold(["5+7=", "Who?"], ["12", "12"], answer=["99", "12"]) == [1.0, None]


def test_gold_reads_conversations():
    prompt = [{"role": "user", "content": "5+7="}]
    assert arithmetic_gold([prompt], [[{"role": "assistant", "content": "so 12"}]]) == [1.0]
