"""The two wire formats of chat backends, and the log-probabilities of replies."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.rewards.judges.endpoint import Scripted, fails, says

from rewardsmith.rewards import AnthropicBackend, ChatBackend, Reply
from rewardsmith.rewards.judges.asking import replied
from rewardsmith.rewards.judges.wire import JudgeError

QUESTION = [{"role": "user", "content": "hello"}]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def token(text, logprob, *top):
    return {"token": text, "logprob": logprob, "top_logprobs": [{"token": t, "logprob": p} for t, p in top]}


def with_logprobs(text, *tokens):
    status, body, headers = says(text)
    body["choices"][0]["logprobs"] = {"content": list(tokens)}
    return status, body, headers


def writes(*content, stop_reason="end_turn", **more):
    blocks = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    return 200, {"type": "message", "role": "assistant", "content": blocks, "stop_reason": stop_reason, **more}, {}


@pytest.fixture
def claude(endpoint):
    """A function that starts a server with a script and an `AnthropicBackend` with options."""
    backends = []

    def start(*script, **options):
        server = endpoint(*script)
        options = {"backoff": 0.001, "api_key_env": "TEST_JUDGE_KEY", **options}
        backends.append(AnthropicBackend("small", base_url=server.url, **options))
        return server, backends[-1]

    yield start
    for backend in backends:
        backend.close()


def refused(backend):
    with pytest.raises(JudgeError) as error:
        backend.complete(QUESTION)
    return error.value


def test_log_probabilities_are_asked_for_read_and_kept(serve, tmp_path):
    yes = token("Yes", -0.1, ("Yes", -0.1), (" yes", -2.5))
    end = token(".", -0.5, ("!", -0.2), (".", -0.5))  # not the likeliest; it still comes first
    server, backend = serve(with_logprobs("Yes.", yes, end), says("Yes."), cache_dir=tmp_path)
    wanted = Reply("Yes.", ({"Yes": -0.1, " yes": -2.5}, {".": -0.5, "!": -0.2}))
    for _ in range(2):
        reply = asyncio.run(backend.reply(QUESTION, logprobs=3))
        assert reply == wanted
        assert list(reply.logprobs[1]) == [".", "!"]
    assert server.bodies[0]["logprobs"] is True
    assert server.bodies[0]["top_logprobs"] == 3
    assert asyncio.run(backend.reply(QUESTION)) == Reply("Yes.")  # another question to the cache
    assert "logprobs" not in server.bodies[1]
    assert len(server.bodies) == 2


@pytest.mark.parametrize("given", [None, [], {"content": None}, {"content": [{"token": "Yes"}]}, {"content": [3]}])
def test_log_probabilities_that_are_missing_or_damaged_are_none(serve, given):
    answer = says("Yes")
    answer[1]["choices"][0]["logprobs"] = given
    _, backend = serve(answer)
    assert asyncio.run(backend.reply(QUESTION, logprobs=2)) == Reply("Yes")


def test_a_backend_that_is_a_function_gives_no_log_probabilities():
    assert asyncio.run(replied(Scripted("Yes"), QUESTION, logprobs=5)) == Reply("Yes")


@pytest.mark.slow
def test_it_speaks_the_messages_format_of_anthropic(claude, key):
    usage = {"input_tokens": 20, "cache_read_input_tokens": 10, "cache_creation_input_tokens": None, "output_tokens": 2}
    thinking = {"type": "thinking", "thinking": "NO?", "signature": "x"}
    server, backend = claude(writes(thinking, "YES", " it is", usage=usage))
    system = [{"role": "system", "content": "Be strict."}, {"role": "system", "content": "Be brief."}]
    assert backend.complete([*system, *QUESTION]) == "YES it is"
    assert server.paths == ["/v1/messages"]
    sent = {"model": "small", "messages": QUESTION, "system": "Be strict.\nBe brief.", "temperature": 0.0}
    assert server.bodies == [sent | {"max_tokens": 1024}]
    headers = {name.lower(): value for name, value in server.headers[0].items()}
    assert (headers["x-api-key"], headers["anthropic-version"]) == (key, "2023-06-01")
    assert "authorization" not in headers
    assert backend.usage == (1, 0, 0, 30, 2)
    assert repr(backend).startswith("AnthropicBackend('small', url='http://127.0.0.1:")
    assert asyncio.run(backend.reply(QUESTION, logprobs=5)).logprobs == ()
    assert "logprobs" not in server.bodies[1]


def test_images_are_translated_for_anthropic_and_passed_on_to_others(claude, serve):
    parts = [
        {"type": "text", "text": "Which?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image_url", "image_url": "https://example.org/cat.png"},
    ]
    messages = [{"role": "user", "content": parts}]
    for start, wanted in (
        (serve, parts),
        (
            claude,
            [
                parts[0],
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/cat.png"}},
            ],
        ),
    ):
        server, backend = start(fails(404))
        with pytest.raises(JudgeError):
            backend.complete(messages)
        assert server.bodies[0]["messages"][0]["content"] == wanted


@pytest.mark.parametrize(
    ("answer", "words", "reason"),
    [
        (writes("YES", stop_reason="max_tokens"), r"cut its reply off at max_tokens.*'YES'", "none"),
        (writes("YES", stop_reason="refusal"), "without a text: 'finish_reason refusal, refusal None'", "none"),
        (writes(stop_reason="end_turn"), "without a text: 'finish_reason end_turn", "none"),
        (says("YES"), "without content blocks. Check that the endpoint speaks Anthropic's Messages", "endpoint"),
        ((200, "not json", {}), "without content blocks", "endpoint"),
        ((200, {"content": "YES"}, {}), "without content blocks", "endpoint"),
        ((200, {"content": [{"type": "text"}]}, {}), "without content blocks", "endpoint"),
        (fails(401), "AnthropicBackend: .*answered 401. Check the key in TEST_JUDGE_KEY", "endpoint"),
        (fails(307, Location="/elsewhere"), "answered 307", "endpoint"),
        (fails(529), "tried 2 times, answered 529", "endpoint"),
    ],
)
def test_no_reply_of_anthropic_s_format_has_its_reason(claude, answer, words, reason):
    _, backend = claude(answer, attempts=2)
    error = refused(backend)
    assert error.reason == reason
    with pytest.raises(JudgeError, match=words):
        raise error


def test_another_format_is_named_by_the_chat_backend_too(serve):
    _, backend = serve(writes("YES"))
    assert refused(backend).reason == "endpoint"
    with pytest.raises(JudgeError, match=r"Check that the endpoint speaks the OpenAI chat format"):
        backend.complete(QUESTION)


def test_a_key_of_anthropic_s_that_is_echoed_is_not_shown(claude, key):
    _, backend = claude(fails(401, f"bad key {key}"))
    assert key[:6] not in str(refused(backend))


def test_the_same_question_asked_twice_at_once_is_paid_once_where_replies_are_kept(serve, tmp_path):
    gate = threading.Event()

    def slow(request):
        gate.wait(30)
        return says("YES")

    async def ask(backend, n):
        asking = [asyncio.create_task(backend(QUESTION)) for _ in range(n)]
        await asyncio.to_thread(server.wait_for, lambda: server.bodies)
        gate.set()
        return await asyncio.gather(*asking)

    server, backend = serve(slow, cache_dir=tmp_path)
    assert asyncio.run(ask(backend, 5)) == ["YES"] * 5
    assert (backend.usage.requests, backend.usage.cached) == (1, 4)
    server, backend = serve(slow)  # without a cache each is a sample of its own
    assert asyncio.run(ask(backend, 5)) == ["YES"] * 5
    assert backend.usage.requests == 5


def test_the_failure_of_a_question_is_not_that_of_the_same_one_behind_it(serve, tmp_path):
    _, backend = serve(fails(404), says("YES"), cache_dir=tmp_path)

    async def ask():
        return await asyncio.gather(backend(QUESTION), backend(QUESTION), return_exceptions=True)

    first, second = asyncio.run(ask())
    assert isinstance(first, JudgeError)
    assert second == "YES"


def test_defaults_are_those_of_the_provider(key):
    backend = AnthropicBackend("small")
    assert backend.url == "https://api.anthropic.com/v1/messages"
    assert backend.api_key_env == "ANTHROPIC_API_KEY"
    assert ChatBackend("small").api_key_env == "OPENAI_API_KEY"
    with pytest.raises(ValueError, match="AnthropicBackend: base_url='x' is no address"):
        AnthropicBackend("small", base_url="x")
