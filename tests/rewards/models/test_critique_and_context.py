"""CritiqueReward and ContextualReward: what text the model behind them is shown, and what becomes of its numbers."""

from __future__ import annotations

import asyncio
import inspect

import pytest
import torch
from tests.small_models import llama_classifier, llama_policy, tokenizer

from rewardsmith.data import Row
from rewardsmith.rewards import AskedCritiques, ContextualReward, CritiqueReward, GeneratedCritiques, SequenceReward
from rewardsmith.rewards.judges.wire import JudgeError
from rewardsmith.scoring import rewards_of, score
from rewardsmith.scoring.calling import Unscored

pytestmark = pytest.mark.slow


class Lengths:
    """A reward that notes what it is shown and pays the characters of the completion."""

    def __init__(self):
        self.shown = []

    def __call__(self, prompts, completions, **columns):
        self.shown += list(zip(prompts, completions, strict=True))
        return [float(len(c if isinstance(c, str) else c[-1]["content"])) for c in completions]


def test_a_critique_stands_behind_its_completion():
    model = Lengths()
    rm = CritiqueReward(model, lambda prompts, completions: ["3 {is} wrong"] * len(completions))
    assert rm(["1+1="], ["3"]) == [float(len("3\n\nCritique: 3 {is} wrong"))]
    conversation = [{"role": "user", "content": "1+1="}], [{"role": "assistant", "content": "3"}]
    rm([conversation[0]], [conversation[1]])
    assert model.shown[-1][1] == [{"role": "assistant", "content": "3\n\nCritique: 3 {is} wrong"}]
    assert conversation[1] == [{"role": "assistant", "content": "3"}]  # not changed in place


def test_several_critiques_are_averaged_over_those_that_exist():
    drafts = iter([["a", None, None], ["bbb", "c", None]])
    rm = CritiqueReward(
        Lengths(), lambda prompts, completions: next(drafts), template="{completion}{critique}", n_critiques=2
    )
    found = rm.reasoned(["p"] * 3, ["xx", "y", "z"])
    assert found == [(3 + 5) / 2, 2.0, Unscored("there is no critique")]


def test_a_column_of_critiques_is_used_in_place_of_writing():
    def never(prompts, completions):
        raise AssertionError("the writer is asked")

    rm = CritiqueReward(Lengths(), never, template="{completion}{critique}")
    rows = [Row("p", "xx", {"critique": "abc"}), Row("p", "y", {"critique": None})]
    assert rewards_of(score(rm, rows, workers=0)) == [5.0, None]
    with pytest.raises(ValueError, match="neither a writer nor a column `critique`"):
        CritiqueReward(Lengths()).score(["p"], ["x"])


def test_an_endpoint_writes_async_and_a_failure_is_silence():
    asked = []

    async def backend(messages):
        asked.append(messages)
        if "bad" in messages[1]["content"]:
            raise JudgeError("gone")
        return "fine"

    rm = CritiqueReward(Lengths(), AskedCritiques(backend), template="{completion}{critique}")
    assert inspect.iscoroutinefunction(rm.__call__)
    assert asyncio.run(rm(["p", "p"], ["xx", "bad"])) == [6.0, None]
    assert rm.score(["p"], ["xx"]) == [6.0]
    assert rewards_of(score(rm, [Row("p", "xx"), Row("p", "bad")], workers=0)) == [6.0, None]
    assert "xx" in asked[0][1]["content"]


def test_a_language_model_writes_what_greedy_decoding_gives():
    policy, tok = llama_policy(), tokenizer()
    writer = GeneratedCritiques(policy, tok, template=lambda p, c: p + c, max_new_tokens=4, batch_size=2)
    prompts, completions = ["1+1=", "the answer is ", "2"], ["2", "so so so so", "3"]
    found = writer(prompts, completions)
    for prompt, completion, text in zip(prompts, completions, found, strict=True):
        ids = tok(prompt + completion, return_tensors="pt")["input_ids"]
        for _ in range(4):
            step = policy(input_ids=ids).logits[0, -1].argmax()
            if int(step) == tok.eos_token_id:
                break
            ids = torch.cat([ids, step.reshape(1, 1)], dim=1)
        assert text == tok.decode(ids[0], skip_special_tokens=True)[len(prompt + completion) :]
    sampled = GeneratedCritiques(policy, tok, template=lambda p, c: p + c, max_new_tokens=8, temperature=1.0)
    assert sampled(prompts, completions) != sampled(prompts, completions)


def test_critiques_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"template '\{completion\}' must hold"):
        CritiqueReward(Lengths(), None, template="{completion}")
    with pytest.raises(ValueError, match="n_critiques=0 must be at least 1"):
        CritiqueReward(Lengths(), None, n_critiques=0)


def test_the_context_is_written_into_the_prompt_and_no_context_says_so():
    model = Lengths()
    rm = ContextualReward(model, template="{prompt} [{context}]")
    rm(["p", "q"], ["x", "y"], context=["short", None], other=[1, 2])
    rm(["p"], ["x"])
    assert model.shown == [("p [short]", "x"), ("q [none given]", "y"), ("p [none given]", "x")]
    rm([[{"role": "user", "content": "p"}]], [[{"role": "assistant", "content": "x"}]], context=["kind"])
    assert model.shown[-1][0] == [{"role": "user", "content": "p [kind]"}]
    named = ContextualReward(model, column="criterion", template="{prompt} [{context}]")
    named(["p"], ["x"], criterion=["brief"], context=["other"])
    assert model.shown[-1][0] == "p [brief]"


def test_a_contextual_score_is_the_models_own_of_the_longer_prompt():
    model, tok = llama_classifier(), tokenizer()
    plain = SequenceReward(model, tok)
    rm = ContextualReward(plain, template="{context} {prompt}")
    rows = [Row("1+1=", "2", {"context": "so"}), Row("2+2=", "4", {"context": None}), Row("3+3=", "6", {})]
    want = plain.score(["so 1+1=", "none given 2+2=", "none given 3+3="], ["2", "4", "6"])
    assert rewards_of(score(rm, rows, workers=0)) == pytest.approx(want, abs=1e-9)
    assert rm.score_under(["1+1="], ["2"], ["so", None]) == [
        pytest.approx(plain.score(["so 1+1=", "none given 1+1="], ["2", "2"]), abs=1e-9)
    ]


def test_a_prompt_without_a_place_for_the_context_is_unscored():
    rm = ContextualReward(Lengths())
    found = rm.reasoned([[{"role": "system", "content": "s"}], "p"], ["x", "yy"], context=["a", "b"])
    assert isinstance(found[0], Unscored)
    assert found[1] == 2.0
    with pytest.raises(ValueError, match=r"must hold \{prompt\} and \{context\}"):
        ContextualReward(Lengths(), template="{prompt}")

    async def waiting(prompts, completions, **columns):
        return [1.0]

    with pytest.raises(ValueError, match="waiting is async"):
        ContextualReward(waiting)
