"""ChatBackend against a small server of our own on the loopback interface."""

from __future__ import annotations

import asyncio
import builtins
import gc
import gzip
import json
import logging
import pickle
import socket
import threading
import weakref
import zlib

import pytest
from tests.rewards.judges.endpoint import drips, fails, garbage, says

from rewardsmith.rewards import ChatBackend, ReferenceJudge
from rewardsmith.rewards.judges import chat
from rewardsmith.rewards.judges.wire import MOST_BYTES, JudgeError


def question(text="hello"):
    return [{"role": "user", "content": text}]


def refused(backend, text="hello"):
    with pytest.raises(JudgeError) as error:
        backend.complete(question(text))
    return error.value


def judged(backend, n):
    judge = ReferenceJudge(backend)
    return asyncio.run(judge.reasoned(prompts=["q"] * n, completions=[str(i) for i in range(n)], answer=["4"] * n))


def test_it_speaks_the_openai_chat_format(serve, key):
    server, backend = serve(says("YES"))
    assert backend.complete(question()) == "YES"
    assert server.paths == ["/v1/chat/completions"]
    assert server.bodies == [{"model": "tiny", "messages": question(), "temperature": 0.0, "max_tokens": 1024}]
    assert server.headers[0]["Authorization"] == f"Bearer {key}"


def test_an_empty_completion_crosses_the_wire_as_it_is(serve):
    server, backend = serve(says("NO"))
    scores = asyncio.run(ReferenceJudge(backend)(prompts=["q"] * 2, completions=["", " \n"], answer=["4"] * 2))
    assert scores == [0.0, 0.0]
    sent = {body["messages"][1]["content"].partition("<response-")[2].partition(">\n")[2] for body in server.bodies}
    assert {text.rpartition("\n</response-")[0] for text in sent} == {"", " \n"}


def test_half_an_emoji_crosses_the_wire_and_comes_back(serve, tmp_path):
    server, backend = serve((200, b'{"choices": [{"message": {"content": "\\ud83d"}}]}', {}), cache_dir=tmp_path)
    assert [backend.complete(question("\ud83d")) for _ in range(2)] == ["\ud83d"] * 2
    assert server.bodies[0]["messages"] == question("\ud83d")
    assert len(server.bodies) == 1


@pytest.mark.slow
@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_passing_failure_is_tried_again(serve, status):
    server, backend = serve(fails(status), fails(status), says("YES"))
    assert backend.complete(question()) == "YES"
    assert len(server.bodies) == 3


@pytest.mark.slow
def test_retry_after_is_respected(serve, monkeypatch):
    waits, sleep = [], asyncio.sleep
    monkeypatch.setattr(chat.asyncio, "sleep", lambda seconds: waits.append(seconds) or sleep(0))
    _, backend = serve(fails(429, **{"Retry-After": "7.5"}), says("YES"))
    assert backend.complete(question()) == "YES"
    assert [wait for wait in waits if wait] == [7.5]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (503, r", tried 3 times, answered 503\. Check the server\. It said 'no'$"),
        (429, r", tried 3 times, answered 429\. Lower `concurrency`, or check the quota\. It said 'no'$"),
    ],
)
def test_a_lasting_failure_is_given_up_after_the_attempts_allowed(serve, status, words):
    server, backend = serve(fails(status), attempts=3)
    error = refused(backend)
    assert error.reason == "endpoint"
    with pytest.raises(JudgeError, match=words):
        raise error
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, r"answered 401\. Check the key in TEST_JUDGE_KEY\. It said 'no'"),
        (403, r"answered 403\. Check the key in TEST_JUDGE_KEY\."),
        (404, r"answered 404\. Check base_url and the model's name, 'tiny'\."),
        (301, r"answered 301\. Check base_url, model, parameters and quota\."),
    ],
)
def test_a_refusal_is_not_repeated(serve, status, words):
    server, backend = serve(fails(status, Location="/elsewhere"))
    with pytest.raises(JudgeError, match=words) as error:
        backend.complete(question())
    assert error.value.reason == "endpoint"
    assert len(server.bodies) == 1


def test_a_key_that_is_missing_or_cannot_be_one_is_named(serve, monkeypatch):
    server, backend = serve(fails(401))
    monkeypatch.delenv("TEST_JUDGE_KEY")
    with pytest.raises(JudgeError, match="Check the key in TEST_JUDGE_KEY, which is not set"):
        backend.complete(question())
    monkeypatch.setenv("TEST_JUDGE_KEY", "sk-“quoted”")
    with pytest.raises(JudgeError, match="was not asked: TEST_JUDGE_KEY holds characters that no key has") as error:
        backend.complete(question())
    assert "quoted" not in str(error.value)
    assert len(server.bodies) == 1


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_question_is_told_from_an_endpoint_that_refuses_all(serve, status):
    server, backend = serve(fails(status, "too long"), says("hello"), fails(status, "too long"))
    for _ in range(2):  # the first asks whether anything is answered, the second knows
        error = refused(backend)
        assert error.reason == "none"
        with pytest.raises(JudgeError, match=rf"refused this question alone \({status}\)\. It said 'too long'"):
            raise error
    assert [body["messages"][0]["content"] for body in server.bodies] == ["hello", "Hello.", "hello"]
    _, backend = serve(fails(status, "unknown parameter"))
    error = refused(backend)
    assert error.reason == "endpoint"
    with pytest.raises(JudgeError, match=rf"answered {status}\. Check base_url, model, parameters and quota"):
        raise error


@pytest.mark.parametrize(
    "body", ["not json", {}, {"choices": []}, {"choices": [{"message": {}}]}, {"choices": [3]}, [], "[" * 100_000]
)
def test_a_reply_of_another_form_is_the_endpoint_s_failure(serve, body):
    _, backend = serve((200, body, {}))
    with pytest.raises(JudgeError, match=r"without choices\[0\]\.message\.content\. Check that .* It said '") as error:
        backend.complete(question())
    assert error.value.reason == "endpoint"


def test_a_reply_that_was_cut_off_or_refused_is_no_verdict_on_this_row(serve):
    _, backend = serve(says("Verdict: YES", finish_reason="length"), says(None, finish_reason="content_filter"))
    cut, empty = refused(backend), refused(backend)
    assert cut.reason == empty.reason == "none"
    with pytest.raises(JudgeError, match=r"cut its reply off at max_tokens\. Raise it in `parameters`.*'Verdict: YES'"):
        raise cut
    with pytest.raises(JudgeError, match=r"answered without a text: 'finish_reason content_filter, refusal None'"):
        raise empty


@pytest.mark.slow
def test_a_text_that_was_filtered_or_broke_off_is_no_reply(serve):
    _, backend = serve(*(says("Verdict: YES", finish_reason=why) for why in ("content_filter", "error")))
    filtered, broken = refused(backend), refused(backend)
    assert (filtered.reason, broken.reason) == ("none", "endpoint")
    with pytest.raises(JudgeError, match=r"broke its reply off\. Check the server\. It said 'Verdict: YES'"):
        raise broken


def test_a_server_that_is_not_there_is_a_failure_with_the_system_s_words(key):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # free again once closed
    backend = ChatBackend("tiny", base_url=f"http://127.0.0.1:{port}/v1", attempts=2, backoff=0.001)
    words = r", tried 2 times, could not be reached \(Connection refused\)\. Check base_url and the server\."
    with pytest.raises(JudgeError, match=words) as error:
        backend.complete(question())
    assert error.value.reason == "endpoint"
    backend.close()


def test_bytes_that_are_no_answer_are_a_failure_without_the_key(serve, key):
    server, backend = serve(garbage, attempts=2)
    with pytest.raises(JudgeError, match=r"could not be reached \(RemoteProtocolError: .*\)\. Check base_url") as error:
        backend.complete(question())
    assert key not in str(error.value)
    assert len(server.bodies) == 2


@pytest.mark.slow
def test_an_answer_that_drips_ends_at_the_deadline_and_the_rows_behind_it_are_scored(serve):
    def drips_for_the_first(request):
        first = server.bodies[-1]["messages"] == server.bodies[0]["messages"]
        return drips(request) if first else says("YES")

    server, backend = serve(drips_for_the_first, timeout=0.5, attempts=3, concurrency=1)
    first, *rest = judged(backend, 3)
    assert rest == [1.0, 1.0]
    assert first.reason == "endpoint"
    assert "gave no complete answer within 0.5 s. Raise `timeout`, or lower `concurrency`." in first.why


@pytest.mark.slow
def test_the_deadline_of_a_try_begins_when_it_has_a_slot(serve, monkeypatch):
    limits, running, most = [], set(), []
    real = asyncio.timeout

    class Watched:
        def __init__(self, limit):
            limits.append(limit)
            self.limit = real(limit)

        async def __aenter__(self):
            running.add(self)
            most.append(len(running))
            return await self.limit.__aenter__()

        async def __aexit__(self, *exception):
            running.discard(self)
            return await self.limit.__aexit__(*exception)

    monkeypatch.setattr(chat.asyncio, "timeout", Watched)
    server, backend = serve(says("YES"), concurrency=3, timeout=30.0)
    assert judged(backend, 40) == [1.0] * 40
    assert limits == [30.0] * 40  # one deadline a question, and 37 of them wait without one
    assert max(most) <= 3
    assert len(server.bodies) == 40


@pytest.mark.slow
def test_all_slots_are_used_and_no_more(serve):
    def with_neighbors(request):
        assert server.wait_for(lambda: server.busy == 4 or len(server.bodies) > 20)
        return says("YES")

    server, backend = serve(with_neighbors, concurrency=4)
    assert judged(backend, 24) == [1.0] * 24
    assert server.peak == 4
    assert len(server.bodies) == 24


@pytest.mark.slow
def test_one_limit_holds_for_all_threads_and_loops(serve):
    gate = threading.Barrier(2, timeout=30)

    def in_pairs(request):
        gate.wait()
        return says("YES")

    server, backend = serve(in_pairs, concurrency=2)
    found = []
    threads = [threading.Thread(target=lambda: found.extend(judged(backend, 4))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [1.0] * 12
    assert server.peak == 2


def test_a_canceled_question_ends_its_request_and_frees_its_slot(serve):
    left = threading.Event()

    def held(request):
        assert request.rfile.read(1) == b""  # nothing more comes: the other side has gone
        left.set()

    server, backend = serve(held, says("YES"), concurrency=1)

    async def run():
        first = asyncio.create_task(backend(question("first")))
        await asyncio.to_thread(server.wait_for, lambda: server.bodies)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await backend(question("second"))

    assert asyncio.run(run()) == "YES"
    assert left.wait(30)
    assert backend.usage.requests == 2


def test_closing_cancels_what_is_under_way_and_ends_the_thread(serve):
    def held(request):
        request.rfile.read(1)

    server, backend = serve(held, says("YES"))
    caught = []

    def ask():
        try:
            backend.complete(question())
        except BaseException as error:
            caught.append(type(error).__name__)

    asking = threading.Thread(target=ask)
    asking.start()
    server.wait_for(lambda: server.bodies)
    thread = backend._line._thread
    backend.close()
    asking.join(30)
    assert caught == ["CancelledError"]
    assert not thread.is_alive()
    assert backend.complete(question()) == "YES"  # opened again


@pytest.mark.slow
def test_a_forgotten_backend_leaves_no_thread_behind(endpoint):
    server = endpoint(says("YES"))
    backend = ChatBackend("tiny", base_url=server.url)
    backend.complete(question())
    thread, gone = backend._line._thread, weakref.ref(backend)
    del backend
    gc.collect()
    assert gone() is None
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_answer_is_read_up_to_a_limit(serve, encoding):
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    honest = pack(json.dumps(says("YES")[1]).encode())
    bomb = pack(b"[" + b" " * (2 * MOST_BYTES))
    headers = {"Content-Encoding": encoding}
    server, backend = serve((200, honest, headers), (200, bomb, headers), (200, b"no", headers))
    assert backend.complete(question()) == "YES"
    assert server.headers[0]["Accept-Encoding"] == "identity"
    with pytest.raises(JudgeError, match=r"sent more than 10 MB for one question\. Check what answers there"):
        backend.complete(question())
    with pytest.raises(JudgeError, match=f"answered with damaged {encoding}"):
        backend.complete(question())


def test_an_endless_answer_and_a_foreign_packing_are_refused(serve):
    def endless(request):
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b" " * 1_000_000)

    _, backend = serve(endless, (200, b"?", {"Content-Encoding": "br"}))
    with pytest.raises(JudgeError, match="sent more than 10 MB"):
        backend.complete(question())
    with pytest.raises(JudgeError, match="answered in Content-Encoding 'br', which was not requested"):
        backend.complete(question())


@pytest.mark.slow
def test_a_cached_reply_is_not_asked_for_again_not_even_by_another_backend(serve, tmp_path):
    server, backend = serve(says("first"), says("second"), cache_dir=tmp_path)
    again = ChatBackend("tiny", base_url=server.url, api_key_env="TEST_JUDGE_KEY", cache_dir=tmp_path)
    assert [backend.complete(question()), backend.complete(question()), again.complete(question())] == ["first"] * 3
    assert backend.complete(question(" hello")) == "second"  # one space more is another question
    assert len(server.bodies) == 2
    assert (backend.usage.requests, backend.usage.cached, again.usage.cached) == (2, 1, 1)
    again.close()


@pytest.mark.slow
def test_a_failure_is_not_cached(serve, tmp_path):
    _, backend = serve(fails(404), says("YES"), cache_dir=tmp_path)
    refused(backend)
    assert backend.complete(question()) == "YES"


@pytest.mark.slow
def test_what_was_asked_for_is_counted(serve):
    counts = {"usage": {"prompt_tokens": 30, "completion_tokens": 2}}
    odd = {"usage": {"prompt_tokens": -1, "completion_tokens": True}}
    _, backend = serve(fails(500), says("YES", **counts), says("N", "length", **counts), says("NO", **odd))
    backend.complete(question())
    refused(backend)
    backend.complete(question())
    assert backend.usage == (4, 1, 0, 60, 4)  # a reply that was cut off is paid for too
    assert pickle.loads(pickle.dumps(backend)).usage == (0, 0, 0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "echo",
    [
        lambda key: fails(401, f"bad key {key}"),
        lambda key: fails(401, "x" * 190 + key),  # cut in its middle, half of it would be shown
        lambda key: fails(401, json.dumps({"error": key}).replace("/", "\\/").replace("v", "\\u0076")),
        lambda key: (200, {"error": f"key {key}"}, {}),
        lambda key: says(f"The key is {key}", finish_reason="length"),
    ],
)
def test_a_key_that_is_echoed_is_shown_nowhere(serve, key, echo, tmp_path, caplog):
    _, backend = serve(echo(key), says(f"YES {key}"), cache_dir=tmp_path)
    with caplog.at_level(logging.DEBUG):
        error = refused(backend)
        assert backend.complete(question()) == "YES ***"
    backend.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (str(error), caplog.text, repr(backend), repr(pickle.dumps(backend)), repr(kept)):
        assert key[:6] not in text
    assert "*" in str(error)


def test_without_a_key_none_is_sent(serve, monkeypatch):
    monkeypatch.delenv("TEST_JUDGE_KEY")
    server, backend = serve(says("YES"))
    backend.complete(question())
    assert "Authorization" not in server.headers[0]


def test_a_password_in_the_address_is_not_shown(key):
    backend = ChatBackend("tiny", base_url="http://user:geheim@127.0.0.1:1/v1", attempts=1)
    error = refused(backend)
    backend.close()
    assert "geheim" not in str(error) + repr(backend)
    assert "http://***@127.0.0.1:1/v1" in str(error)


@pytest.mark.slow
def test_it_works_in_one_event_loop_after_another_and_after_pickling(serve):
    _, backend = serve(says("YES"))
    assert [asyncio.run(backend(question())) for _ in range(2)] == ["YES", "YES"]
    backend.complete(question())
    copy = pickle.loads(pickle.dumps(backend))
    assert copy.complete(question()) == "YES"
    copy.close()


def test_a_missing_extra_says_how_to_install_it(monkeypatch):
    found = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "httpx":
            raise ModuleNotFoundError("No module named 'httpx'", name="httpx")
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r'ChatBackend: httpx cannot be imported .*pip install "\.\[judge\]"'):
        ChatBackend("tiny")


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"attempts": 0}, {"timeout": 0.0}])
def test_limits_below_their_least_are_refused(options):
    with pytest.raises(ValueError, match=r"must both be at least 1, and timeout=.* above 0\. Raise them"):
        ChatBackend("tiny", **options)


@pytest.mark.parametrize(
    "address", ["localhost:8000/v1", "", "ftp://here/v1", "http:///v1", "http://a/v1?version=2", " http://a/v1"]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match=r"is no address\. Begin it with http:// or https://"):
        ChatBackend("tiny", base_url=address)


@pytest.mark.parametrize("field", ["messages", "model", "n", "stream"])
def test_a_field_of_the_backend_s_own_is_no_parameter(field):
    with pytest.raises(ValueError, match=f"parameters has {field}, which the backend sets itself .* Leave it out"):
        ChatBackend("tiny", base_url="http://localhost", parameters={field: 2})
