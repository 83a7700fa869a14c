"""An agent on loopback: what it refuses, one measurement at a time, and a client that survives broken networks."""

import contextlib
import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import sys
import threading
import time
import urllib.error

import pytest

from srnas.profiling.agent.server import Agent, make_server
from srnas.profiling.boards.board import Board
from srnas.profiling.boards.client import BoardLostError, BoardRefusedError, Client, MeasurementLostError
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
    assert client.about()["protocol"] == 3
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


@pytest.mark.parametrize("error", ["RuntimeError: bad model", ""])
def test_after_a_death_an_answer_is_an_answer(monkeypatch, error):
    died = {"error": "the process that measures ended with code 3"}
    later = {"error": error} if error else {"seed": 7}
    results = [died, died, later]

    def answer(method, path, *_, **__):
        if path.startswith("/measurements/"):
            return {"rounds": 0, "result": results.pop(0)}
        return {"missing": [], "id": "m"}

    client = Client(Board("pi", "http://pi"), sleep=lambda _: None)
    monkeypatch.setattr(client, "_ask", answer)
    assert client.measure(ASKED, {}, lambda _: None) == later


@contextlib.contextmanager
def answering(answer, slowly_s=0.0):
    """Answer every connection with these bytes, after reading what it sends 128 KiB at a time; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(2**10)
                    head, _, body = head.partition(b"\r\n\r\n")
                    declared = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                    left = int(declared or 0) - len(body)
                    while left > 0:
                        time.sleep(slowly_s)
                        left -= len(connection.recv(2**17))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def answer_of(status, body):
    return f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{",
        answer_of("200 OK", "[1, 2]"),
        answer_of("200 OK", "5"),
        answer_of("200 OK", "a page"),
        answer_of("404 Not Found", '{"detail": "Not Found"}'),
        answer_of("404 Not Found", "5"),
    ],
)
def test_what_does_not_answer_as_an_agent_is_a_lost_board(answer):
    with answering(answer) as port, pytest.raises(BoardLostError):
        client_of(port, []).about()


@pytest.mark.parametrize("address", ["http://pi:abc", "http://host name:1"])
def test_an_address_must_be_one(address):
    with pytest.raises(InputError, match=f"the address of target 'pi' must be one, but got '{address}'"):
        Client(Board("pi", address)).about()


def test_a_file_may_take_longer_than_an_answer():
    with answering(answer_of("201 Created", "{}"), slowly_s=0.01) as port:
        begun = time.monotonic()
        assert client_of(port, [])._ask("PUT", "/arrays/x", bytes(8 * 2**20), timeout_s=0.4) == {}
    assert time.monotonic() - begun > 0.5


def test_why_a_file_cannot_be_kept_is_told_to_who_sends_it(tmp_path):
    content = bytes(8 * 2**20)
    with serving(tmp_path / "files", ANSWERS) as (_, port):
        shutil.rmtree(tmp_path / "files")
        with pytest.raises(InputError, match="the file cannot be kept: No such file or directory"):
            client_of(port, [])._ask("PUT", f"/arrays/{hashlib.sha256(content).hexdigest()}", content)


@pytest.mark.parametrize(("limit", "kind"), [("MAX_MODEL_BYTES", "model"), ("MAX_FILE_BYTES", "input")])
def test_what_is_too_large_for_an_agent_is_not_sent(tmp_path, monkeypatch, limit, kind):
    monkeypatch.setattr(f"srnas.profiling.boards.client.{limit}", 7)
    with serving(tmp_path / "files", ANSWERS) as (_, port):
        model = {"files": {kind: DIGEST}}
        with pytest.raises(InputError, match="a file for target 'pi' must have at most 7 bytes, but one has 8"):
            client_of(port, []).measure({"models": {"net": model}, "reference": model}, {DIGEST: ARRAY}, lambda _: None)
    assert not (tmp_path / "files").exists() or not list((tmp_path / "files").iterdir())


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


@pytest.mark.parametrize(
    ("limit", "most", "message"),
    [
        ("_MAX_FILES", 2, "at most 2 files, but 3 are asked for"),
        ("_MAX_BYTES", 12, "at most 512 files of at most 12 bytes together"),
    ],
)
def test_a_measurement_that_a_board_cannot_hold_is_refused(tmp_path, monkeypatch, limit, most, message):
    monkeypatch.setattr(f"srnas.profiling.agent.files.{limit}", most)
    contents = {hashlib.sha256(content).hexdigest(): content for content in (b"first", b"second", b"third")}
    models = {digest: {"files": {"input": digest}} for digest in contents}
    asked = {"models": models, "reference": MODEL, "seed": 7}
    with serving(tmp_path / "files", ANSWERS) as (_, port), pytest.raises(InputError, match=message):
        client_of(port, []).measure(asked, contents, lambda _: None)


def test_what_was_last_asked_for_stays_for_what_belongs_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("srnas.profiling.agent.files._MAX_FILES", 2)
    contents = {hashlib.sha256(content).hexdigest(): content for content in (b"1", b"2")}
    with serving(tmp_path / "files", ANSWERS) as (agent, port):
        for digest, content in contents.items():
            assert ask(port, "PUT", f"/arrays/{digest}", content)[0] == 201
        first, second = contents
        assert agent.files.missing([first, DIGEST]) == [DIGEST]
        os.utime(tmp_path / "files" / first, (0, 0))
        assert ask(port, "PUT", f"/arrays/{DIGEST}", ARRAY)[0] == 201
        assert agent.files.missing([first, DIGEST]) == []
        # Another client has not asked for these, and needs room as well.
        assert ask(port, "PUT", f"/arrays/{second}", contents[second])[0] == 201
        assert agent.files.missing([second]) == []


def test_files_that_a_board_does_not_keep_are_not_sent_for_ever(monkeypatch):
    sent = []

    def answer(method, path, *_, **__):
        sent.extend([path] * (method == "PUT"))
        return {"missing": [DIGEST]}

    client = Client(Board("pi", "http://pi"), sleep=lambda _: None)
    monkeypatch.setattr(client, "_ask", answer)
    with pytest.raises(InputError, match="target 'pi' must keep the files that it is sent, but it asks for them again"):
        client.measure(ASKED, {DIGEST: ARRAY}, lambda _: None)
    assert len(sent) == 3


def test_what_libraries_say_ends_no_measurement(tmp_path):
    said = 'sys.stderr.buffer.write(b"round robin\\n\\xff\\n")\n'
    with serving(tmp_path / "files", ANSWERS.replace("asked =", f"{said}asked =")) as (_, port):
        rounds = []
        assert client_of(port, []).measure(ASKED, {DIGEST: ARRAY}, rounds.append) == {"seed": 7}
        assert rounds[-1] == 4


@pytest.mark.parametrize(
    ("code", "error"), [(502, BoardLostError), (503, BoardLostError), (507, BoardRefusedError), (422, InputError)]
)
def test_who_is_away_is_lost_and_who_cannot_refuses(code, error):
    answer = urllib.error.HTTPError("http://pi", code, "said so", {}, io.BytesIO(b"<html>"))
    with pytest.raises(error, match="said so"):
        client_of(1, [])._refused(answer)
