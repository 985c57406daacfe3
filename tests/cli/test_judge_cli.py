"""`rewardsmith score` and `audit` with a judge from a file, at endpoints that answer and at those that do not."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from tests.rewards.judges.endpoint import FakeServer, drips, fails, garbage, says
from typer.testing import CliRunner

from rewardsmith.cli import app

KEY = "sk-very-secret"
JUDGE = """
from rewardsmith.rewards import ChatBackend, ReferenceJudge

options = {{"api_key_env": "TEST_JUDGE_KEY", "backoff": 0.001, **{options!r}}}
judge = ReferenceJudge(ChatBackend("tiny", base_url={url!r}, **options))
"""


def echoes(request):
    return fails(401, f"bad key {request.headers['Authorization']}")


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """A function that runs `score` or `audit` of 24 rows with a judge at an endpoint with this script, or none."""
    servers = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    rows = [{"prompt": f"{i} + 1?", "completion": f"{i + 1}", "answer": f"{i + 1}"} for i in range(24)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(command, script, *, workers=0, **options):
        if script is None:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"  # nobody listens once it is closed
        else:
            servers.append(FakeServer(*script))
            url = servers[-1].url
        (tmp_path / "judge.py").write_text(JUDGE.format(url=url, options=options))
        given = {
            "score": ["rows.jsonl", "--reward", "judge.py:judge", "--out", "out.jsonl"],
            "audit": ["judge.py:judge", "rows.jsonl", "--budget", "200"],
        }
        result = CliRunner().invoke(app, [command, *given[command], "--workers", str(workers)])
        assert KEY not in result.output
        kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]  # output, parts, journals
        assert not any(KEY.encode() in content for content in kept)
        return result.exit_code, " ".join(result.output.split()), servers[-1] if servers else None

    yield run
    for server in servers:
        server.close()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["score", "audit"])
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([echoes], "answered 401. Check the key in TEST_JUDGE_KEY. It said 'bad key Bearer ***'"),
        (None, "tried 2 times, could not be reached (Connection refused). Check base_url and the server."),
        ([garbage], "tried 2 times, could not be reached (RemoteProtocolError"),
        ([drips], "tried 2 times, gave no complete answer within 0.3 s. Raise `timeout`, or lower `concurrency`."),
        ([(200, {"error": "no such model"}, {})], """It said '{"error": "no such model"}'"""),
    ],
)
def test_a_dead_endpoint_is_exit_2_with_its_words_and_never_a_finding(shell, command, script, words):
    code, said, _ = shell(command, script, attempts=2, timeout=0.3 if script == [drips] else 60.0)
    assert code == 2
    assert words in said
    assert "finding" not in said


@pytest.mark.slow
def test_a_dead_endpoint_ends_a_job_in_a_worker_and_the_same_command_asks_again(shell, tmp_path):
    code, said, _ = shell("score", [echoes], workers=1)
    assert code == 2
    assert "answered 401" in said
    assert not (tmp_path / "out.jsonl").exists()
    code, said, server = shell("score", [says("YES")], workers=1)
    assert (code, len(server.bodies)) == (0, 24)


@pytest.mark.slow
def test_a_reply_without_a_verdict_is_unscored_with_what_it_said(shell, tmp_path):
    code, _, server = shell("score", [says("YES"), says("I cannot say.")])
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert code == 0
    assert sorted(row["reason"] or "" for row in rows) == [
        "",
        *["none: no verdict in the judge's reply 'I cannot say.'"] * 23,
    ]
    assert len(server.bodies) == 24
    code, said, _ = shell("audit", [says("I cannot say.")])
    assert code == 3
    assert """first "no verdict in the judge's reply 'I cannot say.'\"""" in said


@pytest.mark.slow
def test_every_row_is_asked_once_through_all_slots_and_none_times_out_in_the_queue(shell):
    together = threading.Barrier(8, timeout=60)  # an answer comes when eight are waited for, so 24 rows are 3 waves

    def in_waves(request):
        together.wait()
        return says("YES")

    code, said, server = shell("score", [in_waves], workers=1, concurrency=8)
    assert (code, len(server.bodies), server.peak) == (0, 24, 8)
    assert "24 of 24 rows scored" in said
