"""An agent on loopback: what it refuses, one measurement at a time, and a client that survives broken networks."""

import contextlib
import hashlib
import http.client
import json
import socket
import sys
import threading

import pytest

from srnas.profiling.agent.server import Agent, make_server
from srnas.profiling.boards.board import Board
from srnas.profiling.boards.client import BoardLostError, Client, MeasurementLostError
from srnas.search_space import InputError

TOKEN = "s3cret"
# Programs in place of the one that measures.
ANSWERS = """
import json, sys
asked = json.load(sys.stdin)
print("round 4", file=sys.stderr)
print(json.dumps({"seed": asked["seed"]}))
"""
HANGS = "import sys; sys.stdin.read(); import time; time.sleep(600)"
DIES = "import os; os._exit(3)"
ARRAY = b"an array"
DIGEST = hashlib.sha256(ARRAY).hexdigest()
MODEL = {"files": {"input": DIGEST}}
ASKED = {"models": {"net": MODEL}, "reference": MODEL, "seed": 7}


@contextlib.contextmanager
def serving(folder, program, token="", port=0):
    """Serve from a folder; yield the agent and the port."""
    folder.mkdir(exist_ok=True)
    agent = Agent(str(folder), token, [sys.executable, "-S", "-c", program])
    server = make_server("127.0.0.1", port, agent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield agent, server.server_port
    finally:
        agent.stop()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path / "files", ANSWERS, TOKEN) as (_, port):
        yield port


def ask(port, method, path, body=b"", token=TOKEN, **headers):
    """Return status and content of an answer; the body is sent only if it is not refused before."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, body or None, {**authorization, **headers})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


@pytest.mark.parametrize("token", ["", "wrong", "s3cre", "s3cret2"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/about"), ("PUT", f"/arrays/{DIGEST}"), ("POST", "/missing"), ("DELETE", "/x")]
)
def test_without_the_token_nothing_is_answered(served, method, path, token):
    assert ask(served, method, path, ARRAY, token) == (401, {"error": "the token must be shown"})


def test_a_body_that_is_too_large_is_refused_unread(served):
    declared = {"Content-Length": str(5 * 2**30)}
    assert ask(served, "PUT", f"/arrays/{DIGEST}", **declared)[0] == 413
    assert ask(served, "POST", "/missing", **declared)[0] == 413
    assert ask(served, "PUT", f"/models/{DIGEST}", **{"Content-Length": str(2**27)})[0] == 413
    assert ask(served, "PUT", f"/arrays/{DIGEST}", **{"Content-Length": "many"})[0] == 411


def test_a_file_must_be_what_it_is_called(served):
    assert ask(served, "PUT", f"/arrays/{DIGEST}", b"another") == (
        422,
        {"error": "the file must have the hash that it is called by"},
    )
    for name in ("../../etc/passwd", "x", DIGEST.upper()):
        assert ask(served, "PUT", f"/arrays/{name}", ARRAY)[0] == 422
    assert ask(served, "PUT", f"/else/{DIGEST}", ARRAY)[0] == 404
    status, said = ask(served, "PUT", f"/models/{DIGEST}", ARRAY)
    assert (status, said["error"]) == (422, "a model must be a whole ONNX file")
    assert ask(served, "POST", "/missing", json.dumps({"digests": [DIGEST]}).encode())[1] == {"missing": [DIGEST]}
    assert ask(served, "PUT", f"/arrays/{DIGEST}", ARRAY)[0] == 201
    assert ask(served, "POST", "/missing", json.dumps({"digests": [DIGEST]}).encode())[1] == {"missing": []}


def test_a_file_that_ends_early_is_not_kept(served):
    with socket.create_connection(("127.0.0.1", served), timeout=5) as connection:
        head = f"PUT /arrays/{DIGEST} HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + ARRAY)
        connection.shutdown(socket.SHUT_WR)
        assert b"422" in connection.recv(1000)
    assert ask(served, "POST", "/missing", json.dumps({"digests": [DIGEST]}).encode())[1] == {"missing": [DIGEST]}


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"models": 1}', b'{"models": {}, "reference": 3}'])
def test_a_request_must_be_one(served, body):
    headers = {} if body else {"Content-Length": "0"}
    assert ask(served, "POST", "/measurements", body, **headers)[0] == 400


def test_connections_that_send_nothing_do_not_stop_it(served):
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(socket.create_connection(("127.0.0.1", served), timeout=5))
        assert ask(served, "GET", "/about")[0] == 200


def client_of(port, notes, token=""):
    return Client(Board("pi", f"http://127.0.0.1:{port}", token), notes.append, sleep=lambda _: None)


def test_a_measurement_is_sent_and_comes_back(served):
    notes, rounds = [], []
    client = client_of(served, notes, TOKEN)
    assert client.about()["protocol"] == 2
    for _ in range(2):
        assert client.measure(ASKED, {DIGEST: ARRAY}, rounds.append) == {"seed": 7}
    assert rounds[-1] == 4
    assert notes == []
    with pytest.raises(InputError, match="target 'pi' must take the request, but the token must be shown; give its"):
        client_of(served, notes).about()


def test_a_second_client_waits_and_is_told(tmp_path):
    with serving(tmp_path / "files", HANGS) as (agent, port):
        assert ask(port, "PUT", f"/arrays/{DIGEST}", ARRAY)[0] == 201
        first = agent.begin(ASKED)
        assert ask(port, "POST", "/measurements", json.dumps(ASKED).encode())[0] == 409
        notes = []
        # While it waits the first measurement is ended.
        client = Client(
            Board("pi", f"http://127.0.0.1:{port}"), notes.append, sleep=lambda _: ended.append(first.stop())
        )
        ended = []
        agent._child[-1] = ANSWERS
        assert client.measure(ASKED, {DIGEST: ARRAY}, lambda _: None) == {"seed": 7}
        assert len(ended) >= 1
        assert notes == ["target 'pi' is measuring for another; waiting for it"]


def test_a_measurement_goes_on_when_the_agent_was_started_again(tmp_path, monkeypatch):
    with contextlib.ExitStack() as agents:
        agent, port = agents.enter_context(serving(tmp_path / "first", HANGS))
        begin = agent.begin

        def restart():
            agents.close()
            # Nothing is on the board any more: neither files nor measurements.
            agents.enter_context(serving(tmp_path / "second", ANSWERS, port=port))

        def begun(asked):
            job = begin(asked)
            threading.Thread(target=restart).start()
            return job

        monkeypatch.setattr(agent, "begin", begun)
        assert client_of(port, []).measure(ASKED, {DIGEST: ARRAY}, lambda _: None) == {"seed": 7}


@pytest.mark.parametrize(
    ("lost", "measurements"), [([BoardLostError("gone")] * 2, 1), ([MeasurementLostError("gone")], 2)]
)
def test_a_measurement_is_taken_once_however_often_the_link_breaks(monkeypatch, lost, measurements):
    waits = [*lost, {"rounds": 5, "result": {"seed": 7}}]
    asked, notes, pauses = [], [], []

    def answer(method, path, *_, **__):
        asked.append((method, path.partition("?")[0]))
        if path == "/missing":
            return {"missing": []}
        if path == "/measurements":
            return {"id": f"m{asked.count((method, path))}"}
        found = waits.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    client = Client(Board("pi", "http://pi"), notes.append, sleep=pauses.append)
    monkeypatch.setattr(client, "_ask", answer)
    assert client.measure(ASKED, {}, lambda _: None) == {"seed": 7}
    assert asked.count(("POST", "/measurements")) == measurements
    assert asked[-1] == ("GET", f"/measurements/m{measurements}")
    assert notes == ["target 'pi' does not answer (gone); waiting for it", "target 'pi' answers again"]
    assert pauses == [0.5, 1.0][: len(lost)]


def test_a_process_that_dies_is_started_again_a_few_times(tmp_path):
    with serving(tmp_path / "files", DIES) as (_, port):
        said = client_of(port, []).measure(ASKED, {DIGEST: ARRAY}, lambda _: None)
    assert said["error"].startswith("the process that measures ended with code 3")


def test_a_board_that_is_not_there_is_lost():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(BoardLostError, match="refused"):
        client_of(port, []).about()


def test_files_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("srnas.profiling.agent.files._MAX_FILES", 2)
    with serving(tmp_path / "files", ANSWERS) as (agent, port):
        for content in (b"1", b"2", b"3"):
            assert ask(port, "PUT", f"/arrays/{hashlib.sha256(content).hexdigest()}", content)[0] == 201
        assert len(list((tmp_path / "files").iterdir())) == 2
        assert agent.files.missing([hashlib.sha256(b"3").hexdigest()]) == []
