"""Timing networks on a board: exported here, run there by the same rules, and judged here."""

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch
from torch import nn

from srnas.profiling.agent.measuring import as_bytes, rounds_of
from srnas.profiling.boards.client import BoardRefusedError, Client, digest_of
from srnas.profiling.counting import InputShape
from srnas.profiling.device import Target
from srnas.profiling.memory import is_memory
from srnas.profiling.rounds import LatencyProtocol, Rounds
from srnas.profiling.runtimes import RUNTIMES, MissingExtraError, RuntimeFailedError, Supplies
from srnas.profiling.runtimes.culprits import culprits
from srnas.profiling.runtimes.prepare import draw_batches, first_cause, missing_packages, quiet
from srnas.search_space import InputError

# What the reference network runs in, where a board has it and it can be exported here.
_USUAL = "onnxruntime"


def check_board(target: Target) -> None:
    """Check that a target's board can run what the target asks for.

    Raises:
        InputError: If it cannot.
    """
    board = target.board
    assert board
    known = {runtime.name: runtime for runtime in board.runtimes}
    if target.runtime not in known:
        raise InputError(
            f"runtime must be one of target '{board.name}' ({', '.join(known) or 'it has none'}), but got "
            f"runtime={target.runtime}."
        )
    if missing := missing_packages(RUNTIMES[target.runtime]):
        raise MissingExtraError.of(target.runtime, " and ".join(missing), RUNTIMES[target.runtime].extra)
    dtypes = known[target.runtime].dtypes
    if target.dtype not in dtypes or target.memory_format != "nchw":
        raise InputError(
            f"dtype must be {' or '.join(dtypes)} and memory_format nchw in {target.runtime} on target '{board.name}', "
            f"but got dtype={target.dtype}, memory_format={target.memory_format}."
        )
    if not 1 <= target.threads <= board.cores:
        raise InputError(
            f"1 <= threads <= {board.cores} (the cores of target '{board.name}') must hold, but got "
            f"threads={target.threads}."
        )


class OnBoard(NamedTuple):
    """What a board has found.

    Attributes:
        rounds: The rounds, raw.
        first_call_ms: What loading and the first call of each network took, by name.
        max_abs_difference: Largest difference of an output value to eager float32 here, by name; infinite where an
            output is not finite.
        states: What the board told of itself before and after.
    """

    rounds: Rounds
    first_call_ms: dict[str, float]
    max_abs_difference: dict[str, float]
    states: dict[str, Any]


class Order:
    """What a board is asked for, with the contents that it needs.

    Args:
        target: The board, and the threads of the reference.
        protocol: The rules.
        cold: Whether each network is timed with overwritten caches as well.
        seed: Seed of the random order within the rounds.
    """

    def __init__(self, target: Target, protocol: LatencyProtocol, *, cold: bool, seed: int) -> None:
        assert target.board
        self._board = target.board
        self._contents: dict[str, bytes] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._target = target
        rules = {"protocol": asdict(protocol), "seed": seed, "cold": cold}
        self._asked: dict[str, Any] = {**rules, "models": self._models}

    def set_reference(self, network: nn.Module, shape: InputShape, runtime: str) -> None:
        """Export what every round times beside the networks.

        Args:
            network: The reference.
            shape: Of its input.
            runtime: What a network of the order runs in.
        """
        is_usual = self._board.version(_USUAL) and not missing_packages(RUNTIMES[_USUAL])
        target = replace(self._target, runtime=_USUAL if is_usual else runtime)
        self._asked["reference"] = self._export(network, shape, target)

    def add(self, name: str, network: nn.Module, shape: InputShape, target: Target) -> None:
        """Export a network with its input and what it gives eagerly.

        Raises:
            InputError: If the board cannot do what the target asks for.
            RuntimeFailedError: If the network cannot be exported.
        """
        check_board(target)
        self._models[name] = self._export(network, shape, target)

    def take(self, on_round: Callable[[int], None], on_note: Callable[[str], None]) -> OnBoard:
        """Let the board measure.

        Raises:
            RuntimeFailedError: If its runtime cannot run a network.
            BoardRefusedError: If the board does not know the token, or has another runtime than it had.
            InputError: If it refuses what it is asked for.
        """
        board = self._board
        found = Client(board, on_note).measure(self._asked, self._contents, on_round)
        if "error" in found:
            raise RuntimeFailedError(
                f"target '{board.name}' must be able to run the networks, but got {found['error']}."
            )
        for runtime, version in found["versions"].items():
            if version != board.version(runtime):
                raise BoardRefusedError(
                    f"target '{board.name}' must have the runtime that it had ({board.version(runtime)}), but it has "
                    f"{version}; begin anew."
                )
        gaps = {name: math.inf if gap is None else float(gap) for name, gap in found["max_abs_difference"].items()}
        return OnBoard(rounds_of(found), found["first_call_ms"], gaps, {key: found[key] for key in ("before", "after")})

    def _export(self, network: nn.Module, shape: InputShape, target: Target) -> dict[str, Any]:
        own = copy.deepcopy(network).eval().float().requires_grad_(False)
        with torch.inference_mode(False), torch.no_grad(), quiet():
            batches = draw_batches(shape, None, target, Supplies())
            expected = own(batches[0])
            export = RUNTIMES[target.runtime].export
            try:
                exported = export(own, batches, target)
            except Exception as error:  # Any error of a third party is raised under our own name.
                if is_memory(error):
                    raise
                blame = target.dtype == "float32"
                blocks = culprits(own, batches[0], lambda part, given: export(part, given, target)) if blame else ""
                raise RuntimeFailedError(
                    f"a network must be exportable to {target.runtime} to be timed on target '{self._board.name}', but "
                    f"got {first_cause(error).rstrip('.')}.{blocks}"
                ) from error
        files = {**exported, "input": as_bytes(batches[0].numpy()), "expected": as_bytes(expected.numpy())}
        self._contents |= {digest_of(content): content for content in files.values()}
        digests = {kind: digest_of(content) for kind, content in files.items()}
        return {"runtime": target.runtime, "dtype": target.dtype, "threads": target.threads, "files": digests}
