"""ChatBackend against a small server of our own on the loopback interface."""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
import pickle
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rewardsmith.rewards import ChatBackend, JudgeError, ReferenceJudge

KEY = "sk-very-secret"


class FakeServer:
    """Answers from a script of (status, body, headers), the last entry for ever; keeps requests and the peak load."""

    def __init__(self, *script, delay=0.0):
        self.script, self.delay = list(script), delay
        self.bodies, self.headers, self.paths = [], [], []
        self.busy = self.peak = 0
        self.lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                owner.handle(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle(self, request):
        raw = request.rfile.read(int(request.headers["Content-Length"]))
        with self.lock:
            self.busy += 1
            self.peak = max(self.peak, self.busy)
            self.bodies.append(json.loads(raw))
            self.headers.append(dict(request.headers))
            self.paths.append(request.path)
            status, body, headers = self.script[min(len(self.bodies), len(self.script)) - 1]
        time.sleep(self.delay)
        with self.lock:
            self.busy -= 1
        payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(payload))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(payload)


def says(text, finish_reason="stop"):
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": finish_reason}]}, {}


def fails(status, body="no", **headers):
    return status, body, headers


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)


@pytest.fixture
def serve():
    servers, backends = [], []

    def start(*script, delay=0.0, **options):
        server = FakeServer(*script, delay=delay)
        options = {"backoff": 0.001, "api_key_env": "TEST_JUDGE_KEY", **options}
        backend = ChatBackend("tiny", base_url=server.url, **options)
        servers.append(server)
        backends.append(backend)
        return server, backend

    yield start
    for backend in backends:
        backend.close()
    for server in servers:
        server.server.shutdown()
        server.server.server_close()


def question(text="hello"):
    return [{"role": "user", "content": text}]


def test_it_speaks_the_openai_chat_format(serve):
    server, backend = serve(says("YES"))
    assert backend.complete(question()) == "YES"
    assert server.paths == ["/v1/chat/completions"]
    assert server.bodies == [{"model": "tiny", "messages": question(), "temperature": 0.0, "max_tokens": 1024}]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_an_empty_completion_crosses_the_wire_as_it_is(serve):
    server, backend = serve(says("NO"))
    scores = asyncio.run(ReferenceJudge(backend)(prompts=["q"] * 2, completions=["", " \n"], answer=["4"] * 2))
    assert scores == [0.0, 0.0]
    sent = {body["messages"][1]["content"].partition("<response-")[2].partition(">\n")[2] for body in server.bodies}
    assert {text.rpartition("\n</response-")[0] for text in sent} == {"", " \n"}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_passing_failure_is_tried_again(serve, status):
    server, backend = serve(fails(status), fails(status), says("YES"))
    assert backend.complete(question()) == "YES"
    assert len(server.bodies) == 3


def test_retry_after_is_respected(serve):
    _, backend = serve(fails(429, **{"Retry-After": "0.3"}), says("YES"))
    start = time.monotonic()
    assert backend.complete(question()) == "YES"
    assert time.monotonic() - start >= 0.3


def test_a_lasting_failure_is_given_up_after_the_attempts_allowed(serve):
    server, backend = serve(fails(503), attempts=3)
    with pytest.raises(JudgeError, match=r"answered 503: 'no'\. Check model, key and quota"):
        backend.complete(question())
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 404])
def test_a_refusal_is_not_repeated(serve, status):
    server, backend = serve(fails(status, Location="/elsewhere"))
    with pytest.raises(JudgeError, match=str(status)):
        backend.complete(question())
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "body", ["not json", {}, {"choices": []}, {"choices": [{"message": {"content": None}}]}, {"choices": [3]}, []]
)
def test_a_reply_without_text_is_a_failure_never_a_verdict(serve, body):
    _, backend = serve((200, body, {}))
    with pytest.raises(JudgeError, match=r"without choices\[0\]\.message\.content"):
        backend.complete(question())


def test_a_reply_that_was_cut_off_is_a_failure(serve):
    _, backend = serve(says("Verdict: YES", finish_reason="length"))
    with pytest.raises(JudgeError, match=r"cut off at max_tokens\. Raise it in `parameters`"):
        backend.complete(question())


def test_a_server_that_is_not_there_is_a_failure():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port  # free again once closed
    backend = ChatBackend("tiny", base_url=f"http://127.0.0.1:{port}/v1", attempts=2, backoff=0.001)
    with pytest.raises(JudgeError, match=r"could not be reached \(ConnectError\). Check base_url and the server"):
        backend.complete(question())


def test_no_more_requests_run_at_once_than_allowed(serve):
    server, backend = serve(says("YES"), delay=0.03, concurrency=3)
    judge = ReferenceJudge(backend)
    scores = asyncio.run(judge(prompts=["q"] * 12, completions=[str(i) for i in range(12)], answer=["4"] * 12))
    assert scores == [1.0] * 12
    assert 2 <= server.peak <= 3


def test_a_cached_reply_is_not_asked_for_again_not_even_by_another_backend(serve, tmp_path):
    server, backend = serve(says("first"), says("second"), cache_dir=tmp_path)
    again = ChatBackend("tiny", base_url=server.url, api_key_env="TEST_JUDGE_KEY", cache_dir=tmp_path)
    assert [backend.complete(question()), backend.complete(question()), again.complete(question())] == ["first"] * 3
    assert backend.complete(question(" hello")) == "second"  # one space more is another question
    assert len(server.bodies) == 2
    again.close()


def test_a_failure_is_not_cached(serve, tmp_path):
    _, backend = serve(fails(400), says("YES"), cache_dir=tmp_path)
    with pytest.raises(JudgeError):
        backend.complete(question())
    assert backend.complete(question()) == "YES"


def test_the_key_appears_in_no_log_error_repr_pickle_or_cache(serve, tmp_path, caplog):
    _, backend = serve(fails(401, f"bad key {KEY}"), says("YES"), cache_dir=tmp_path)
    with caplog.at_level(logging.DEBUG), pytest.raises(JudgeError) as error:
        backend.complete(question())
    backend.complete(question())
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (str(error.value), caplog.text, repr(backend), repr(pickle.dumps(backend)), repr(kept)):
        assert KEY not in text


def test_without_a_key_none_is_sent(serve, monkeypatch):
    monkeypatch.delenv("TEST_JUDGE_KEY")
    server, backend = serve(says("YES"))
    backend.complete(question())
    assert "Authorization" not in server.headers[0]


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


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"attempts": 0}])
def test_limits_below_one_are_refused(options):
    with pytest.raises(ValueError, match="must both be at least 1"):
        ChatBackend("tiny", **options)
