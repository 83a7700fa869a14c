"""One measurement on the board, in a process of its own, so that nothing of a model outlives it."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from srnas.profiling.agent import machine
from srnas.profiling.agent.models import RefusedModelError, check_model
from srnas.profiling.agent.runtimes import RUNTIMES
from srnas.profiling.host_clock import HostClock
from srnas.profiling.rounds import REFERENCE, DeviceState, LatencyProtocol, Rounds, Timed, Way, run_rounds


class BoardBench(HostClock):
    """Times callables with the clock of the board.

    Args:
        runs: What is timed; before each call of what is timed cold, the caches are overwritten.
    """

    def __init__(self, runs: Mapping[Timed, Callable[[], None]]) -> None:
        super().__init__(runs)
        self._load = machine.load()
        self._throttle_count = machine.throttle_count()

    def state(self) -> DeviceState:
        """Return whether the clock was held down since the last call or is now, and the load of other processes."""
        before, self._throttle_count = self._throttle_count, machine.throttle_count()
        throttled = self._throttle_count > before or machine.is_throttled()
        return DeviceState(throttled=throttled, other_load=self._load.read())


def measure(asked: Mapping[str, Any], where: Callable[[str], str], on_round: Callable[[int], None]) -> dict[str, Any]:
    """Time models and return everything raw.

    Args:
        asked: ``models`` by name and the ``reference``, each with ``runtime``, ``dtype``, ``threads`` and the hashes of
            its ``files``: what the runtime needs, the ``input`` and the ``expected`` output; the ``protocol``, ``seed``
            and whether it is ``cold``.
        where: Returns where the content of a hash is.
        on_round: Told of the number of rounds that are done.
    """
    before = machine.state()
    runs: dict[Timed, Callable[[], None]] = {}
    first_call_ms, difference = {}, {}
    for name, model in {**asked["models"], None: asked["reference"]}.items():
        files = {kind: where(digest) for kind, digest in model["files"].items()}
        _check_runtime(files["model"], model["runtime"])
        start = time.perf_counter()
        x = _array(files["input"])
        run, output = RUNTIMES[model["runtime"]].bind(files, x, model["threads"], model["dtype"])
        run()
        first_call_ms[name] = (time.perf_counter() - start) * 1e3
        if name is None:
            runs[REFERENCE] = run
            continue
        difference[name] = _difference(output(), _array(files["expected"]))
        runs[Timed(name)] = run
        if asked["cold"]:
            runs[Timed(name, Way.COLD)] = run
    subjects = [subject for subject in runs if subject != REFERENCE]
    protocol = LatencyProtocol(**asked["protocol"])
    rounds = run_rounds(BoardBench(runs), subjects, protocol, random.Random(asked["seed"]), on_round)
    return {
        **plain(rounds),
        "first_call_ms": {name: ms for name, ms in first_call_ms.items() if name is not None},
        "max_abs_difference": difference,
        "versions": {model["runtime"]: RUNTIMES[model["runtime"]].version() for model in asked["models"].values()},
        "before": before,
        "after": machine.state(),
    }


def plain(rounds: Rounds) -> dict[str, Any]:
    """Return rounds as data that JSON holds."""
    return {
        "subjects": [[subject.name, subject.way.value] for subject in rounds.calls_ms],
        "steady": [rounds.steady[subject] for subject in rounds.calls_ms],
        "calls_ms": list(rounds.calls_ms.values()),
        "states": [asdict(state) for state in rounds.states],
    }


def rounds_of(data: Mapping[str, Any]) -> Rounds:
    """Return rounds from plain data."""
    subjects = [Timed(name, Way(way)) for name, way in data["subjects"]]
    return Rounds(
        {subject: data["steady"][number] for number, subject in enumerate(subjects)},
        {subject: [tuple(calls) for calls in data["calls_ms"][number]] for number, subject in enumerate(subjects)},
        [DeviceState(**state) for state in data["states"]],
    )


def _check_runtime(path: str, runtime: str) -> None:
    """Check again what was checked when it came: a file may have come as an array, or as another runtime's model.

    Raises:
        RefusedModelError: If it is not a model of the runtime that it can run.
    """
    with open(path, "rb") as file:
        found = check_model(file.read())
    if found != runtime:
        raise RefusedModelError(f"a model for {runtime} must be one, but got one for {found}")


def _difference(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float | None:
    """Return the largest difference; JSON has no infinity, and what is not a number is as far off."""
    gap = float(np.abs(found.reshape(expected.shape) - expected).max())
    return gap if np.isfinite(gap) else None


def _array(path: str) -> np.ndarray[Any, Any]:
    """Return a float32 array of four dimensions; its header is 32 bytes, so that nothing is parsed."""
    with open(path, "rb") as file:
        content = file.read()
    shape = np.frombuffer(content[:32], dtype="<i8")
    return np.frombuffer(content[32:], dtype="<f4").reshape(shape)


def as_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """Return an array of four dimensions as :func:`measure` reads it."""
    return np.array(array.shape, dtype="<i8").tobytes() + np.ascontiguousarray(array, dtype="<f4").tobytes()


def main(folder: str) -> None:
    """Measure what the standard input asks for; rounds are told on the standard error."""

    def tell(number: int) -> None:
        sys.stderr.write(f"round {number}\n")
        sys.stderr.flush()

    try:
        found = measure(json.load(sys.stdin), lambda digest: f"{folder}/{digest}", tell)
    except Exception as error:
        # Whatever a runtime raises is about the model, and the workstation says so.
        lines = str(error).strip().splitlines()
        found = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"}
    json.dump(found, sys.stdout)
