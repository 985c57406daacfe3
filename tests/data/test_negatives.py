"""Negatives keep the look of an answer and change its number; the filter keeps what two sources agree on."""

import asyncio
import random
import re

import pytest

from rewardsmith.data import Rewriter, agreement_filter, corrupt_number
from rewardsmith.errors import RewardsmithError

NUMBER = r"(\d+(?:\.\d+)?)"


@pytest.mark.parametrize("text", ["So 12 and 12 make 24, which is 24.", "x = 0", "about 3.14 meters", "1, 2, 3."])
def test_only_the_last_number_changes_and_to_another_value(text):
    last = re.findall(NUMBER, text)[-1]
    for seed in range(30):
        made = corrupt_number("q", text, random.Random(seed))
        before, after = re.split(NUMBER, text), re.split(NUMBER, made)
        assert after[::2] == before[::2]
        assert float(after[-2]) != float(last)
        assert after[1::2] == [after[-2] if number == last else number for number in before[1::2]]


def test_a_text_without_a_number_has_no_negative():
    assert corrupt_number("q", "none", random.Random(0)) is None
    assert corrupt_number("q", [{"role": "assistant", "content": "x2 is no number"}], random.Random(0)) is None


def test_the_rewriter_asks_the_backend_and_survives_its_failure():
    replies = iter([" 2 + 2 = 5 ", "", RewardsmithError("down")])

    async def backend(messages):
        assert "2 + 2?" in messages[1]["content"]
        reply = next(replies)
        if isinstance(reply, Exception):
            raise reply
        return reply

    maker = Rewriter(backend)
    found = [asyncio.run(maker("2 + 2?", "It is 4.", random.Random(0))) for _ in range(3)]
    assert found == ["2 + 2 = 5", None, None]


def test_rows_are_kept_where_both_sources_have_the_same_label():
    found = agreement_filter([1, 0, None, 1, 0], [1, 1, 1, None, 0])
    assert found == ([0, 4], [1, 0], [1], [2, 3])
    assert found.rate == pytest.approx(2 / 3)
    assert agreement_filter([None], [1]).rate is None
    with pytest.raises(ValueError, match=r"agreement_filter: got 1 and 2 labels. Give one"):
        agreement_filter([1], [1, 2])
