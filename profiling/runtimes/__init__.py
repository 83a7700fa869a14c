"""What executes a network: torch in its forms, and the runtimes that networks are exported to."""

from srnas.profiling.runtimes.base import Executable, MissingExtraError, Run, Runtime, RuntimeFailedError, Supplies
from srnas.profiling.runtimes.prepare import (
    RUNTIMES,
    check_any_size,
    find_runtime,
    prepare,
    prepare_any,
    runtime_version,
)

__all__ = [
    "RUNTIMES",
    "Executable",
    "MissingExtraError",
    "Run",
    "Runtime",
    "RuntimeFailedError",
    "Supplies",
    "check_any_size",
    "find_runtime",
    "prepare",
    "prepare_any",
    "runtime_version",
]
