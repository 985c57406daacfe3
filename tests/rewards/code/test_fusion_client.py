"""A sandbox_fusion server decides where the programs run; a dead one decides nothing."""

from base64 import b64decode
from functools import partial

import pytest
from tests.rewards.judges.endpoint import FakeServer, drips, fails

from rewardsmith.errors import EndpointError
from rewardsmith.rewards import SandboxFusion, code_reward
from rewardsmith.rewards.code import fusion
from rewardsmith.sandbox import Program, Sandbox
from rewardsmith.scoring import score

ADD = "```python\ndef add(a, b):\n    return a + b\n```"
SUBTRACT = ADD.replace("+", "-")


def finished(stdout="", stderr="", code=0, status="Success", run="Finished"):
    """An answer in the schema of sandbox_fusion's `POST /run_code`."""
    result = {"status": run, "execution_time": 0.02, "return_code": code, "stdout": stdout, "stderr": stderr}
    return 200, {"status": status, "message": "", "compile_result": None, "run_result": result, "files": {}}, {}


class Runs:
    """A server that really runs the programs."""

    def __init__(self):
        self.server = FakeServer(self.answer)

    def answer(self, request):
        body = self.server.bodies[-1]
        files = {name: b64decode(text).decode() for name, text in body["files"].items()}
        with Sandbox(mode="landlock", workers=1) as sandbox:
            (ran,) = sandbox.run([Program(body["code"], body["stdin"], files=files)])
        status = "Failed" if ran.exit_code else "Success"
        return finished(ran.stdout, ran.stderr, ran.exit_code, status, "Error" if ran.exit_code else "Finished")


@pytest.fixture
def serve(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(*script, **options):
        servers.append(FakeServer(*script))
        url = servers[-1].url.removesuffix("/v1")
        return servers[-1], SandboxFusion(url, backoff=0.001, **options)

    yield start
    for server in servers:
        server.close()


def test_programs_run_on_the_server_and_the_expected_output_stays_here(serve):
    server, sandbox = serve(finished("3\n"))
    rewards = code_reward(["```python\nprint(3)\n```"], [{"inputs": ["1 2"], "outputs": ["3"]}], sandbox=sandbox)
    assert rewards == [1.0]
    assert server.paths == ["/run_code"]
    (body,) = server.bodies
    assert (body["code"], body["language"], body["stdin"], body["run_timeout"]) == ("print(3)\n", "python", "1 2", 10.0)
    assert set(body) == {
        *("code", "language", "stdin", "compile_timeout", "run_timeout", "memory_limit_MB", "files", "fetch_files")
    }


@pytest.mark.parametrize("url", ["localhost:8080", "", "ftp://localhost"])
def test_an_address_without_http_is_refused(url):
    with pytest.raises(ValueError, match="Begin it with http"):
        SandboxFusion(url)


@pytest.mark.slow
def test_calls_are_compared_here():
    runs = Runs()
    sandbox = SandboxFusion(runs.server.url.removesuffix("/v1"))
    tests = [["assert add(1, 2) == 3", "assert add((1,), (2,)) == (1, 2)"]] * 2
    assert code_reward([ADD, SUBTRACT], tests, sandbox=sandbox) == [1.0, 0.0]
    assert not any("== 3" in body["code"] or "(1, 2)" in body["code"] for body in runs.server.bodies)
    runs.server.close()


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        (finished("4\n"), 0.0),
        (finished("3\n", code=1, status="Failed", run="Error"), 0.0),
        (finished("3\n", code=None, status="Failed", run="TimeLimitExceeded"), 0.0),
        ((200, {"status": "SandboxError", "message": "no memory", "run_result": None}, {}), None),
        ((200, {"other": "schema"}, {}), None),
        ((200, "not JSON", {}), None),
        (fails(404), None),
    ],
)
def test_what_the_server_says_about_the_program_counts_and_its_own_failures_do_not(serve, answer, reward):
    server, sandbox = serve(answer)
    program = "```python\nprint(3)\n```"
    assert code_reward([program], [{"inputs": [""], "outputs": ["3"]}], sandbox=sandbox) == [reward]
    assert len(server.bodies) == 1


@pytest.mark.slow
def test_a_server_that_recovers_is_asked_again_and_a_dead_one_leaves_the_row_unscored(serve):
    server, sandbox = serve(fails(503), finished("3"))
    row = {"prompt": "?", "completion": "```python\nprint(3)\n```", "tests": {"inputs": ["1"], "outputs": ["3"]}}
    assert code_reward([row["completion"]], [row["tests"]], sandbox=sandbox) == [1.0]
    server.close()
    (reason,) = code_reward.reasoned([row["completion"]], [row["tests"]], sandbox=sandbox)
    assert (reason.reason, "could not be reached" in reason.why) == ("endpoint", True)
    reward = partial(code_reward, sandbox=sandbox)
    with pytest.raises(EndpointError, match="no usable answer from its endpoint"):
        score(reward, [row])


@pytest.mark.slow
def test_a_server_that_never_ends_its_answer_is_given_up(serve, monkeypatch):
    monkeypatch.setattr(fusion, "SPARE", 0.1)
    _, sandbox = serve(drips, attempts=1, run_timeout=0.1)
    tests = {"inputs": [""], "outputs": ["3"]}
    (reason,) = code_reward.reasoned(["```python\nprint(3)\n```"], [tests], sandbox=sandbox)
    assert "did not answer in time" in reason.why


def test_what_needs_a_local_sandbox_says_so(serve):
    _, sandbox = serve(finished())
    for tests in ({"command": ["true"]}, "def test_add():\n    assert add(1, 2) == 3\n    for x in []: pass"):
        (reason,) = code_reward.reasoned([ADD], [tests], sandbox=sandbox)
        assert "local sandbox" in reason.why
