"""The target by the name that a user gives: a device of this machine, or a board."""

from srnas.profiling.boards.registry import find
from srnas.profiling.device import DeviceProfile, Target, describe_device, resolve_device, resolve_threads
from srnas.profiling.remote import check_board
from srnas.profiling.runtimes import find_runtime, runtime_version

_DEVICES = ("auto", "cpu", "cuda")


def is_device(name: str) -> bool:
    """Return whether a name is that of a device of this machine."""
    return name.partition(":")[0] in _DEVICES


def resolve_target(name: str, runtime: str, dtype: str, memory_format: str, threads: int) -> Target:
    """Return the target of a name: ``auto``, ``cpu``, ``cuda[:N]``, or one of ``srnas target list``.

    Raises:
        InputError: If there is no such device or target, it does not answer, or it has not what is asked for.
    """
    if is_device(name):
        target = Target(resolve_device(name), runtime, dtype, memory_format, resolve_threads(threads))
        find_runtime(target)
        return target
    target = Target(runtime=runtime, dtype=dtype, memory_format=memory_format, threads=threads, board=find(name))
    check_board(target)
    return target


def describe(target: Target) -> DeviceProfile:
    """Return the profile that latencies on a target belong to, with the version of its runtime."""
    return describe_device(target, "" if target.board else runtime_version(target.runtime))
