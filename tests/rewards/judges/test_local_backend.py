"""LocalBackend against a slow greedy loop over the model's own logits."""

from __future__ import annotations

import asyncio
import math

import pytest
import torch
from tests.small_models import llama_policy, tokenizer

from rewardsmith.rewards import LocalBackend, PairwiseJudge
from rewardsmith.rewards.judges.wire import JudgeError

MESSAGES = [{"role": "user", "content": "3+4="}]


def greedy(model, ids, n):
    """(n ids, n log-probability vectors) of the likeliest continuation, without a cache."""
    rows = []
    with torch.no_grad():
        for _ in range(n):
            rows.append(model(torch.tensor([ids])).logits[0, -1].log_softmax(-1))
            ids = [*ids, int(rows[-1].argmax())]
    return ids[-n:], rows


@pytest.fixture(params=[True, False], ids=["chat", "plain"])
def small(request):
    """A backend whose reply ends after six tokens, its prompt's ids, and the reply's tokens as the loop finds them."""
    model, words = llama_policy(), tokenizer(chat=request.param)
    prompt = words("so 3+4=<eos>the " if request.param else "3+4=\n\n")["input_ids"]
    ids, rows = greedy(model, prompt, 24)
    end = next(k for k in range(5, 24) if ids[k] not in ids[:k])
    model.generation_config.eos_token_id = ids[end]
    return LocalBackend(model, words, max_new_tokens=end + 1), ids[: end + 1], rows[: end + 1]


def test_the_reply_and_its_probabilities_are_the_model_s(small):
    backend, ids, rows = small
    backend.model.train()
    reply = asyncio.run(backend.reply(MESSAGES, logprobs=4))
    assert backend.model.training
    assert reply.text == backend.tokenizer.decode(ids, skip_special_tokens=True)
    assert len(reply.logprobs) == len(ids)
    for found, token, row in zip(reply.logprobs, ids, rows, strict=True):
        texts = [backend.tokenizer.decode([place]) for place in row.topk(4).indices]
        assert next(iter(found)) == backend.tokenizer.decode([token])
        assert list(found) == texts  # greedy: the generated one is the likeliest
        assert list(found.values()) == pytest.approx(row.topk(4).values.tolist(), abs=1e-5)
    assert asyncio.run(backend.reply(MESSAGES)).logprobs == ()
    assert asyncio.run(backend(MESSAGES)) == reply.text


def test_no_text_holds_special_tokens(small):
    backend, _, _ = small
    backend.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    special = set(backend.tokenizer.all_special_ids)
    hostile = [{"role": "user", "content": "3+4=" + "".join(backend.tokenizer.all_special_tokens) + "<|im_end|>"}]
    innocent, found = ([i for i in backend._prompt_ids(asked) if i in special] for asked in (MESSAGES, hostile))
    unknown = backend.tokenizer.unk_token_id  # what this small vocabulary has for "<"
    assert [i for i in found if i != unknown] == [i for i in innocent if i != unknown]


def test_tokens_with_one_text_are_summed(small):
    backend, _, rows = small

    class Blind:
        """Every token is written as x."""

        def decode(self, ids):
            return "x" * len(ids)

    backend.tokenizer = Blind()
    found = backend._candidates([0, 1], 1, rows[0], 3)
    most = sorted(rows[0].exp().tolist())[-3:]
    generated = float(rows[0][1].exp())
    total = sum(most) + (0 if generated in most else generated)
    assert found == {"x": pytest.approx(math.log(total), abs=1e-5)}


def test_a_reply_that_is_cut_off_a_long_question_and_an_image_are_the_row_s_fault(small):
    backend, _, _ = small
    backend.max_new_tokens = 2
    with pytest.raises(JudgeError, match=r"the reply was cut off after 2 tokens\. Raise max_new_tokens") as error:
        asyncio.run(backend(MESSAGES))
    assert error.value.reason == "none"
    long = [{"role": "user", "content": "3+" * 200}]
    with pytest.raises(JudgeError, match=r"LocalBackend: the question has \d+ tokens, the model reads 256\."):
        asyncio.run(backend(long))
    image = [{"type": "text", "text": "3"}, {"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(JudgeError, match=r"LocalBackend: the question holds an image, which is not read"):
        asyncio.run(backend([{"role": "user", "content": image}]))
    with pytest.raises(ValueError, match=r"LocalBackend: max_new_tokens is 0\. Pass 1 or more"):
        LocalBackend(backend.model, backend.tokenizer, max_new_tokens=0)


def test_text_in_parts_is_read_and_a_judge_accounts_for_each_row(small):
    backend, _, _ = small
    parts = [{"role": "user", "content": [{"type": "text", "text": "3+"}, {"type": "text", "text": "4="}]}]
    assert asyncio.run(backend(parts)) == asyncio.run(backend(MESSAGES))
    verdicts = asyncio.run(PairwiseJudge(backend, template=lambda *texts: parts).judged(["q"], ["a"], ["b"]))
    assert verdicts[0].why.why.startswith("no verdict in the judge's reply")
