"""What happens when MLflow does not answer: one error, soon, and a growing pause before the next request."""

import contextlib
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException

from mlflow import MlflowException
from sqlalchemy.exc import SQLAlchemyError

_RETRIES, _TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
# Before a server that did not answer is asked again, in seconds: a search must not wait for it at every trial.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 600.0


class StoreLostError(RuntimeError):
    """MLflow does not answer, or refuses what it is given."""


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Turn whatever may go wrong between here and MLflow into one error.

    Raises:
        StoreLostError: If anything does.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise StoreLostError(str(error).strip().partition("\n")[0]) from error


def ask_briefly(*, retries: int = 0, timeout_s: int = 5) -> None:
    """Let MLflow's client give up soon, unless the user has said when it shall.

    Args:
        retries: How often a request is sent again.
        timeout_s: Seconds that a server may be silent.
    """
    for name, value in ((_RETRIES, retries), (_TIMEOUT, timeout_s)):
        os.environ.setdefault(name, str(value))


class Sounding:
    """Asks in the background whether a tracking server answers, so that nobody waits for one that is silent.

    Args:
        server: URI of the server; what is not reached by HTTP answers at once.
        timeout_s: Seconds after which a server is silent.
    """

    def __init__(self, server: str, timeout_s: float = 5.0) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._thread: threading.Thread | None = None
        self.answers: bool | None = True
        self.ask()

    def ask(self) -> None:
        """Begin to ask, unless it is being asked; ``answers`` is ``None`` until it is known whether the server does."""
        if self._server.startswith("http") and not (self._thread and self._thread.is_alive()):
            self.answers = None
            self._thread = threading.Thread(target=self._ask, daemon=True)
            self._thread.start()

    def wait(self) -> bool | None:
        """Return whether the server answers, when that is known."""
        if self._thread:
            self._thread.join()
        return self.answers

    def _ask(self) -> None:
        try:
            urllib.request.urlopen(f"{self._server.rstrip('/')}/health", timeout=self._timeout_s).close()
        except (OSError, HTTPException) as error:
            # Whatever is said, a refusal or a certificate that is not known here, is an answer: MLflow says the rest.
            reason = getattr(error, "reason", error)
            self.answers = not isinstance(reason, TimeoutError | ConnectionError | socket.gaierror)
        else:
            self.answers = True


class Pause:
    """When a store that did not answer is asked again: each time it does not, after twice as long.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._length_s = 0.0
        self._ends_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is time to ask."""
        return self._clock() >= self._ends_s

    def lengthen(self) -> None:
        """Begin a pause; the store did not answer."""
        self._length_s = min(_LONGEST_PAUSE_S, 2 * self._length_s or _FIRST_PAUSE_S)
        self._ends_s = self._clock() + self._length_s

    def end(self) -> None:
        """End it; the store has answered."""
        self._length_s = self._ends_s = 0.0
