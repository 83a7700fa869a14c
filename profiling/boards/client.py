"""The workstation's side of an agent: sends models, waits for measurements, and continues after lost connections."""

import contextlib
import hashlib
import http.client
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import IO, Any

from srnas.profiling.agent.files import MAX_FILE_BYTES, MAX_MODEL_BYTES
from srnas.profiling.boards.board import Board
from srnas.search_space import InputError

# The protocol of the agent that this version speaks to.
_PROTOCOL = 3
_ANSWER_S = 10.0
# A measurement is asked for again after so long, which is within the time that the agent waits.
_WAIT_S = 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _BUSY_PAUSE_S = 0.5, 20.0, 2.0
# A process that measures and dies is started so often, and files that do not stay are sent so often.
_TRIES = 3
# What a connection that breaks raises, and the answer of what is no agent.
_BROKEN = (OSError, ValueError, http.client.HTTPException)


class BoardLostError(RuntimeError):
    """A board does not answer."""


class BoardRefusedError(InputError):
    """A board takes nothing more from this study, whichever network it is."""


class MeasurementLostError(BoardLostError):
    """A board's agent was started again, and knows nothing of a measurement."""


class Client:
    """Speaks to the agent of a board.

    Args:
        board: The board.
        on_note: Told when the board does not answer or is busy, and when it answers again.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        board: Board,
        on_note: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._board = board
        self._on_note = on_note
        self._sleep = sleep

    def about(self) -> dict[str, Any]:
        """Return what the machine is.

        Raises:
            BoardLostError: If it does not answer.
            InputError: If it refuses, or is no agent of this version.
        """
        told = self._ask("GET", "/about")
        if told.get("protocol") != _PROTOCOL:
            raise InputError(
                f"the agent on target '{self._board.name}' must be that of this version, but it answers by protocol "
                f"{told.get('protocol')} and not {_PROTOCOL}; write it again with 'srnas target script'."
            )
        return told

    def measure(
        self, asked: Mapping[str, Any], contents: Mapping[str, bytes], on_round: Callable[[int], None]
    ) -> dict[str, Any]:
        """Return the result of a measurement, taken once, however often the network breaks.

        Args:
            asked: What :func:`srnas.profiling.agent.measuring.measure` is to do.
            contents: What it needs, by hash.
            on_round: Told of the number of rounds that are done.

        Raises:
            BoardRefusedError: If the board does not know the token, or keeps no files.
            InputError: If it refuses what it is asked for, or cannot hold it.
        """
        number, pause_s, waited_s, died = "", _FIRST_PAUSE_S, 0.0, 0
        while True:
            try:
                number = number or self._begin(asked, contents)
                answer = self._ask("GET", f"/measurements/{number}?wait={_WAIT_S}", timeout_s=_ANSWER_S + _WAIT_S)
                if waited_s:
                    self._on_note(f"target '{self._board.name}' answers again")
                    pause_s, waited_s = _FIRST_PAUSE_S, 0.0
                on_round(answer["rounds"])
                result: dict[str, Any] | None = answer["result"]
                if result is None:
                    continue
                is_dead = result.get("error", "").startswith("the process that measures ended")
                died += is_dead
                if not is_dead or died >= _TRIES:
                    return result
                number = ""
            except BoardLostError as error:
                if isinstance(error, MeasurementLostError):
                    number = ""
                if not waited_s:
                    self._on_note(f"target '{self._board.name}' does not answer ({error}); waiting for it")
                self._sleep(pause_s)
                waited_s += pause_s
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except KeyboardInterrupt:
                with contextlib.suppress(BoardLostError, InputError):
                    self._ask("DELETE", f"/measurements/{number}")
                raise

    def _begin(self, asked: Mapping[str, Any], contents: Mapping[str, bytes]) -> str:
        """Send what is missing, begin the measurement when no other is running, and return its id."""
        models = {model["files"].get("model") for model in [*asked["models"].values(), asked["reference"]]}
        for digest, content in contents.items():
            self._check_size(content, MAX_MODEL_BYTES if digest in models else MAX_FILE_BYTES)
        missing = self._ask("POST", "/missing", {"digests": list(contents)})["missing"]
        sent, told = 0, False
        while True:
            for digest in missing:
                kind = "models" if digest in models else "arrays"
                self._ask("PUT", f"/{kind}/{digest}", contents[digest])
            sent += bool(missing)
            answer = self._ask("POST", "/measurements", asked)
            if "id" in answer:
                return str(answer["id"])
            missing = answer.get("missing", [])
            if missing and sent >= _TRIES:
                raise BoardRefusedError(
                    f"target '{self._board.name}' must keep the files that it is sent, but it asks for them again; "
                    "wait until no other client uses it, or start its agent again."
                )
            if "busy_s" in answer:
                if not told:
                    self._on_note(f"target '{self._board.name}' is measuring for another; waiting for it")
                told = True
                self._sleep(_BUSY_PAUSE_S)

    def _check_size(self, content: bytes, most: int) -> None:
        if len(content) > most:
            raise InputError(
                f"a file for target '{self._board.name}' must have at most {most} bytes, but one has {len(content)}; "
                "time a smaller input or network."
            )

    def _ask(
        self, method: str, path: str, content: Mapping[str, Any] | bytes | None = None, timeout_s: float = _ANSWER_S
    ) -> dict[str, Any]:
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        # As a stream it is sent in blocks, each with its own timeout.
        stream = None if body is None else io.BytesIO(body)
        request = urllib.request.Request(self._board.url.rstrip("/") + path, stream, method=method)
        if body is not None:
            request.add_header("Content-Length", str(len(body)))
        if self._board.token:
            request.add_header("Authorization", f"Bearer {self._board.token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return _read(answer)
        except urllib.error.HTTPError as error:
            return self._refused(error)
        except http.client.InvalidURL as error:
            raise InputError(
                f"the address of target '{self._board.name}' must be one, but got '{self._board.url}' ({error})."
            ) from None
        except _BROKEN as error:
            raise BoardLostError(str(getattr(error, "reason", "") or error) or type(error).__name__) from None

    def _refused(self, error: urllib.error.HTTPError) -> dict[str, Any]:
        """Return the content of an unsuccessful answer that the caller handles."""
        try:
            said = _read(error)
        except _BROKEN:
            said = {}
        if error.code in (409, 424):
            return said
        reason = said.get("error", str(error))
        if error.code == 404:
            raise MeasurementLostError(reason)
        # A proxy before the agent says so while the agent is away; 507 is the agent's own: its disk is full.
        if error.code >= 500 and error.code != 507:
            raise BoardLostError(reason)
        refusal = f"target '{self._board.name}' must take the request, but {reason}"
        if error.code == 401:
            raise BoardRefusedError(f"{refusal}; give its token by 'srnas target add --token-file'.")
        raise (BoardRefusedError if error.code == 507 else InputError)(f"{refusal}.")


def _read(answer: IO[bytes]) -> dict[str, Any]:
    """Return the content of an answer.

    Raises:
        ValueError: If it is no object of JSON.
    """
    said = json.load(answer)
    if not isinstance(said, dict):
        raise ValueError("what answers is no agent")
    return said


def digest_of(content: bytes) -> str:
    """Return the name of a content."""
    return hashlib.sha256(content).hexdigest()
