"""What a latency belongs to: the device profile, and the context in which it is measured."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch

from srnas.profiling.agent import machine
from srnas.profiling.boards.board import Board
from srnas.profiling.precision import true_float32
from srnas.profiling.preflight import read_gpu
from srnas.search_space import InputError, unknown_name

DTYPES = ("float32", "bfloat16", "float16", "int8")
MEMORY_FORMATS = ("nchw", "channels_last")
_CPU = torch.device("cpu")
# What a driver's library tells on one day and not on another, or in one container and not in the next.
_TOLD = ("driver_version", "power_limit_w", "max_clock_mhz", "application_clock_mhz")
# In hashes of before, where no GPU has ever been, these were unknown.
_UNKNOWN = {"power_limit_w": None, "max_clock_mhz": None}


@dataclass(frozen=True)
class Target:
    """What a network is deployed on: the part of a device profile that a user chooses.

    Attributes:
        device: A CPU or a CUDA device.
        runtime: What executes the network; see :mod:`srnas.profiling.runtimes`.
        dtype: Data type of weights and input.
        memory_format: ``nchw`` or ``channels_last``.
        threads: CPU threads; 1 is the comparable figure, all cores the practical one.
        board: Another machine whose CPU runs it, by its agent; ``None``: this machine.

    Raises:
        InputError: If the data type or the memory format is unknown.
    """

    device: torch.device = _CPU
    runtime: str = "eager"
    dtype: str = "float32"
    memory_format: str = "nchw"
    threads: int = 1
    board: Board | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.memory_format not in MEMORY_FORMATS:
            raise unknown_name("memory format", self.memory_format, MEMORY_FORMATS)


@dataclass(frozen=True)
class DeviceProfile:
    """Everything that a latency is valid for.

    Attributes:
        device: ``cpu`` or ``cuda:N``.
        name: The processor's or GPU's name.
        driver: Versions of CUDA and cuDNN; empty on a CPU.
        torch_version: Version of torch; empty on a board, which has none.
        dtype: Data type of weights and input.
        memory_format: ``nchw`` or ``channels_last``.
        runtime: What executes the network.
        threads: CPU threads; 0 on a GPU.
        runtime_version: Name and version of the runtime's library, where it is not torch.
        power_limit_w: Power limit of a GPU in watts, where it is known.
        max_clock_mhz: Highest clock of a GPU in MHz, where it is known.
        driver_version: Version of a GPU's driver, where it is known.
        application_clock_mhz: Clock that a GPU is set to in MHz, where it is known.
        host: Name of the processor that launches on a GPU.
    """

    device: str
    name: str
    driver: str
    torch_version: str
    dtype: str = "float32"
    memory_format: str = "nchw"
    runtime: str = "eager"
    threads: int = 0
    runtime_version: str = ""
    power_limit_w: float | None = None
    max_clock_mhz: float | None = None
    driver_version: str = ""
    application_clock_mhz: float | None = None
    host: str = ""

    @property
    def key(self) -> str:
        """A short hash that changes with every field but those that only a driver's library tells.

        Equal devices of a machine differ in their number only, which is left out too.
        """
        fields = {name: value for name, value in asdict(self).items() if name not in _TOLD}
        fields |= _UNKNOWN | {"device": self.device.partition(":")[0]}
        if not self.host:
            del fields["host"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        runtime = self.runtime_version or self.runtime
        return f"{self.name} ({self.device}), {self.dtype} {self.memory_format}, {runtime}{threads}"


def resolve_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda[:N]``.

    Raises:
        InputError: If the name is none of these, or the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device must be auto, cpu or cuda[:N], but got '{name}'.")
    if device.type == "cpu":
        return torch.device("cpu")
    available = torch.cuda.device_count()
    index = device.index or 0
    if index >= available:
        raise InputError(f"device '{name}' must exist, but this machine has {available} CUDA devices; use cpu.")
    return torch.device("cuda", index)


def resolve_threads(threads: int) -> int:
    """Return ``threads``, checked against the machine.

    Raises:
        InputError: If there are not that many cores.
    """
    cores = machine.cores()
    if not 1 <= threads <= cores:
        raise InputError(f"1 <= threads <= {cores} (the cores of this machine) must hold, but got threads={threads}.")
    return threads


def describe_device(target: Target, runtime_version: str = "") -> DeviceProfile:
    """Return the profile that latencies on ``target`` belong to."""
    device, board = target.device, target.board
    if board:
        return DeviceProfile(
            device="cpu",
            name=board.machine,
            driver="",
            torch_version="",
            dtype=target.dtype,
            runtime=target.runtime,
            threads=target.threads,
            runtime_version=board.version(target.runtime),
        )
    on_cpu = DeviceProfile(
        device=str(device),
        name=machine.name(),
        driver="",
        torch_version=torch.__version__,
        dtype=target.dtype,
        memory_format=target.memory_format,
        runtime=target.runtime,
        threads=target.threads,
        runtime_version=runtime_version,
    )
    if device.type != "cuda":
        return on_cpu
    gpu = read_gpu(device)
    return replace(
        on_cpu,
        name=torch.cuda.get_device_name(device),
        driver=f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
        threads=0,
        power_limit_w=gpu.power_limit_w,
        max_clock_mhz=gpu.max_clock_mhz,
        driver_version=gpu.driver,
        application_clock_mhz=gpu.application_clock_mhz,
        host=machine.name(),
    )


@contextlib.contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Let torch use a number of CPU threads, and restore the number before.

    One thread per process is the default everywhere: two on two cores gain little on small networks, and lose a factor
    of 30 to 100 when another process competes, since each operator waits for the slower thread.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def measuring_context(target: Target) -> Iterator[None]:
    """Set threads and precision for measuring, and put them back.

    On CUDA convolutions and matrix products both run in true float32, with autotuned convolution kernels.
    """
    on_cuda, cudnn = target.device.type == "cuda", torch.backends.cudnn
    benchmark = cudnn.benchmark
    try:
        if on_cuda:
            cudnn.benchmark = True
        current = torch.cuda.device(target.device) if on_cuda else contextlib.nullcontext()
        with current, true_float32(), torch.inference_mode(), cpu_threads(target.threads):
            yield
    finally:
        cudnn.benchmark = benchmark
