"""The agent: takes models over HTTP, times one measurement at a time, and says what the machine is."""

from __future__ import annotations

import argparse
import contextlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from srnas.profiling.agent import machine, measuring
from srnas.profiling.agent.files import MAX_FILE_BYTES, MAX_MODEL_BYTES, Files, RefusedFileError
from srnas.profiling.agent.models import RefusedModelError
from srnas.profiling.agent.runtimes import installed

PORT = 7788
# Raised when an agent and a workstation of before would misread each other.
PROTOCOL = 3
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TOKEN_VARIABLE = "SRNAS_TARGET_TOKEN"
_MAX_JSON_BYTES = 4 * 2**20
# A request's head must come within this time, its body within the other between two reads.
_HEAD_S, _BODY_S = 0.8, 20.0
_MAX_CONNECTIONS = 256
# A client asks again after so long, and a measurement that takes longer is ended.
_LONGEST_WAIT_S, _LONGEST_MEASUREMENT_S = 30.0, 3600.0


class Job:
    """A measurement in a process of its own.

    Args:
        asked: What :func:`~srnas.profiling.agent.measuring.measure` is to do.
        folder: Where the files are.
        child: The command that measures.
    """

    def __init__(self, asked: dict[str, Any], folder: str, child: list[str]) -> None:
        self.id = uuid.uuid4().hex
        self.begun_s = time.time()
        self.rounds = 0
        self.result: dict[str, Any] | None = None
        self._moved = threading.Condition()
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self._process = subprocess.Popen([*child, "--measure", folder], **pipes, text=True, errors="replace")  # type: ignore[call-overload]
        self._timer = threading.Timer(_LONGEST_MEASUREMENT_S, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        threading.Thread(target=self._follow, args=(json.dumps(asked),), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait until there is a result, but not longer."""
        with self._moved:
            self._moved.wait_for(lambda: self.result is not None, seconds)

    def stop(self) -> None:
        """End the measurement."""
        self._process.kill()

    def _follow(self, asked: str) -> None:
        said: list[str] = []
        last = "it said nothing"
        with self._process as process:
            reader = threading.Thread(target=lambda: said.append(process.stdout.read()), daemon=True)
            reader.start()
            with contextlib.suppress(OSError):
                process.stdin.write(asked)
                process.stdin.close()
            for line in process.stderr:
                # Libraries say what they like beside it.
                told = re.fullmatch(r"round (\d+)\s*", line)
                if told:
                    self.rounds = int(told[1])
                else:
                    last = line.strip() or last
            reader.join()
        self._timer.cancel()
        try:
            result = json.loads("".join(said))
        except ValueError:
            result = {"error": f"the process that measures ended with code {process.returncode}: {last}"}
        with self._moved:
            self.result = result
            self._moved.notify_all()


class Agent:
    """What all connections share.

    Args:
        folder: An empty folder for files.
        token: What a client must show; empty: nothing.
        child: The command that measures.
    """

    def __init__(self, folder: str, token: str, child: list[str]) -> None:
        self.files = Files(folder)
        self.token = token.encode()
        self.room = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._child = child
        self._lock = threading.Lock()
        self._job: Job | None = None

    def about(self) -> dict[str, Any]:
        """Return what this machine and its software are."""
        return {
            "protocol": PROTOCOL,
            "runtimes": installed(),
            "numpy": np.__version__,
            **machine.about(),
        }

    def begin(self, asked: dict[str, Any]) -> Job | None:
        """Begin a measurement, unless one is running."""
        with self._lock:
            if self._job and self._job.result is None:
                return None
            self._job = Job(asked, self.files.folder, self._child)
            return self._job

    def job(self, number: str) -> Job | None:
        """Return the last measurement, if this is its id."""
        with self._lock:
            return self._job if self._job and self._job.id == number else None

    def running_s(self) -> float | None:
        """Return for how many seconds a measurement has been running."""
        with self._lock:
            return time.time() - self._job.begun_s if self._job and self._job.result is None else None

    def stop(self) -> None:
        """End what is running."""
        with self._lock:
            if self._job:
                self._job.stop()


class Server(ThreadingHTTPServer):
    """One thread for each connection, of which there are not too many."""

    daemon_threads = True
    # Those that have not been accepted yet: with the five that are usual, a burst waits for seconds.
    request_queue_size = 128
    agent: Agent

    def process_request(self, request: Any, client_address: Any) -> None:
        """Close a connection too many at once."""
        if self.agent.room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the room back when the connection ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.agent.room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line that a connection broke; the next is served."""
        sys.stderr.write(f"{client_address[0]}: {sys.exc_info()[1]!r}\n")


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = _HEAD_S
    server: Server

    def do_GET(self) -> None:
        """Answer what the machine is, or how far a measurement is."""
        if not self._is_allowed():
            return
        place, _, query = self.path.partition("?")
        if place == "/about":
            self._answer(200, self.server.agent.about())
        elif place.startswith("/measurements/"):
            self._answer_job(place.rpartition("/")[2], query)
        else:
            self._answer(404, {"error": "there is no such place"})

    def do_PUT(self) -> None:
        """Take a file."""
        kind, _, digest = self.path.strip("/").partition("/")
        size = self._body_size(MAX_MODEL_BYTES if kind == "models" else MAX_FILE_BYTES)
        if size is None:
            return
        if kind not in ("models", "arrays"):
            self._answer(404, {"error": "there is no such place"})
            return
        try:
            self.server.agent.files.receive(digest, self.rfile, size, is_model=kind == "models")
        except (RefusedFileError, RefusedModelError) as error:
            self._answer(422, {"error": str(error)})
        except OSError as error:
            self._answer(507, {"error": f"the file cannot be kept: {error.strerror or error}"})
        else:
            self._answer(201, {})

    def do_POST(self) -> None:
        """Say which files are missing, or begin a measurement."""
        size = self._body_size(_MAX_JSON_BYTES)
        if size is None:
            return
        try:
            asked = json.loads(self.rfile.read(size))
            if self.path == "/missing":
                self._answer(200, {"missing": self.server.agent.files.missing(asked["digests"])})
                return
            if self.path != "/measurements":
                self._answer(404, {"error": "there is no such place"})
                return
            models = [*asked["models"].values(), asked["reference"]]
            wanted = [digest for model in models for digest in model["files"].values()]
            missing = self.server.agent.files.missing(wanted)
        except RefusedFileError as error:
            self._answer(422, {"error": str(error)})
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            self._answer(400, {"error": "the request must be JSON as a workstation of this version sends it"})
            return
        if missing:
            self._answer(424, {"missing": missing})
            return
        job = self.server.agent.begin(asked)
        if job is None:
            self._answer(409, {"busy_s": self.server.agent.running_s()})
        else:
            self._answer(202, {"id": job.id})

    def do_DELETE(self) -> None:
        """End a measurement."""
        if not self._is_allowed():
            return
        job = self.server.agent.job(self.path.rpartition("/")[2])
        if job:
            job.stop()
        self._answer(200, {})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say what was asked, without any header."""
        sys.stderr.write(f"{self.address_string()} {format % arguments}\n")

    def _answer_job(self, number: str, query: str) -> None:
        job = self.server.agent.job(number)
        if job is None:
            self._answer(404, {"error": "there is no such measurement; the agent was started again"})
            return
        name, _, seconds = query.partition("=")
        if name == "wait" and seconds.isdigit():
            job.wait(min(float(seconds), _LONGEST_WAIT_S))
        self._answer(200, {"rounds": job.rounds, "result": job.result})

    def _is_allowed(self) -> bool:
        """Return whether the client has shown the token; if not, it is told so."""
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        token = self.server.agent.token
        if token and not hmac.compare_digest(given, b"Bearer " + token):
            self._answer(401, {"error": "the token must be shown"})
            return False
        self.connection.settimeout(_BODY_S)
        return True

    def _body_size(self, most: int) -> int | None:
        """Return the size of the body; ``None`` if the request is refused for it or for its token."""
        if not self._is_allowed():
            return None
        declared = self.headers.get("Content-Length", "")
        if not declared.isdigit():
            self._answer(411, {"error": "the size of the body must be said"})
        elif int(declared) > most:
            self._answer(413, {"error": f"a body must have at most {most} bytes, but {declared} are declared"})
        else:
            return int(declared)
        return None

    def _answer(self, code: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def make_server(host: str, port: int, agent: Agent) -> Server:
    """Return a server that listens; ``serve_forever`` answers."""
    server = Server((host, port), Handler)
    server.agent = agent
    return server


def _token(path: str | None) -> str:
    if path is None:
        return os.environ.get(_TOKEN_VARIABLE, "").strip()
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def main(child: list[str]) -> None:
    """Serve until the process is told to end.

    Args:
        child: The command that is this program.
    """
    parser = argparse.ArgumentParser(description="Times networks for srnas on this machine.")
    parser.add_argument("--host", default=_LOOPBACK[0], help="address to listen on; any but loopback needs a token")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--token-file", help=f"file that holds the token (default: ${_TOKEN_VARIABLE})")
    parser.add_argument("--measure", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measuring.main(given.measure)
        return
    try:
        token = _token(given.token_file)
    except OSError as error:
        parser.error(f"the token file must be readable, but {error}")
    if given.host not in _LOOPBACK and not token:
        parser.error(
            f"a token must be given to listen on {given.host}: write one to a file of mode 600 and give it by "
            f"--token-file, or set {_TOKEN_VARIABLE}; or listen on loopback and come through SSH"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="srnas-agent-") as folder:
        agent = Agent(folder, token, child)
        try:
            server = make_server(given.host, given.port, agent)
        except OSError as error:
            parser.error(f"{given.host}:{given.port} must be free, but {error}")
        runtimes = ", ".join(runtime["version"] for runtime in installed().values()) or "no runtime"
        what = f"{runtimes}, {machine.cores()} cores, {machine.name()}"
        sys.stderr.write(f"srnas agent on http://{given.host}:{server.server_port} ({what}); Ctrl-C ends it\n")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            agent.stop()
            server.server_close()
