from __future__ import annotations

import pytest
from tests.rewards.judges.endpoint import FakeServer

from rewardsmith.rewards import ChatBackend

KEY = "sk-very-secret/of+course"


@pytest.fixture
def key(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    return KEY


@pytest.fixture
def endpoint(key):
    """A function that starts a `FakeServer` with a script."""
    servers = []

    def start(*script):
        servers.append(FakeServer(*script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def serve(endpoint):
    """A function that starts a server with a script and a backend with options."""
    backends = []

    def start(*script, **options):
        server = endpoint(*script)
        options = {"backoff": 0.001, "api_key_env": "TEST_JUDGE_KEY", **options}
        backends.append(ChatBackend("tiny", base_url=server.url, **options))
        return server, backends[-1]

    yield start
    for backend in backends:
        backend.close()
