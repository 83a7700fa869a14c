"""The processes of one training: ``torchrun`` starts them, each computes its share of every batch."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from srnas.nas.errors import LeaderFailedError
from srnas.profiling import gpu_uuid, resolve_device
from srnas.search_space import InputError

# The others wait so long for what the first does alone, such as validating on many photographs.
_PATIENCE = timedelta(hours=2)
# What torchrun sets, and what it means where it is not set.
_VARIABLES = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


@dataclass(frozen=True)
class Team:
    """The processes of a training, as one of them sees it; alone unless stated.

    Attributes:
        rank: Number of this process; the first leads: it validates, saves and logs.
        size: Number of processes.
        local_rank: Number of this process on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> "Team":
        """Return the team that ``torchrun`` has started this process in."""
        return cls(*(int(os.environ.get(name, least)) for name, least in _VARIABLES))

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Return the device of this process for ``auto``, ``cpu`` or ``cuda[:N]``.

        Raises:
            InputError: If there is no such device, or one device is named for several processes.
        """
        if self.size == 1:
            return resolve_device(name)
        if name.startswith("cuda:"):
            raise InputError(f"--device must be auto, cpu or cuda with {self.size} processes, but got '{name}'.")
        device = resolve_device(name)
        # Slurm shows each process the one GPU that is its own.
        if device.type == "cpu" or torch.cuda.device_count() == 1:
            return device
        return resolve_device(f"cuda:{self.local_rank}")

    def share(self, batch: int) -> slice:
        """Return which patches of a batch are this process's.

        Raises:
            InputError: If the batch cannot be shared equally.
        """
        # Gradients are averaged over processes with equal weights, so their shares must be equal.
        if batch % self.size:
            raise InputError(
                f"the batch must be a multiple of the number of processes, but got batch={batch} and {self.size} "
                f"processes; give --batch {self.size * max(1, round(batch / self.size))}."
            )
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    @contextlib.contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Meet the other processes; part at the end, or when an error ends this one.

        Raises:
            InputError: If two processes have one GPU.
        """
        if self.size == 1:
            yield
            return
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        # What processes agree on lies on the CPU, where NCCL moves nothing.
        backend, bound = ("cpu:gloo,cuda:nccl", device) if on_gpu else ("gloo", None)
        distributed.init_process_group(backend, timeout=_PATIENCE, device_id=bound)
        try:
            if on_gpu:
                self._check_apart(gpu_uuid(device))
            with warnings.catch_warnings():
                # The warning is about 1x1 kernels, for which both layouts are the same.
                warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
                yield
        finally:
            distributed.destroy_process_group()

    def _check_apart(self, gpu: str) -> None:
        """See that each process has a GPU of its own: NCCL would say no more than that something is invalid."""
        gpus: list[str] = [""] * self.size
        distributed.all_gather_object(gpus, gpu)
        if len(set(gpus)) < self.size:
            raise InputError(
                f"each of the {self.size} processes must have a GPU of its own, but they have {len(set(gpus))}; start "
                "fewer with --nproc-per-node."
            )

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return what computes the network's output, and averages gradients over the team as they are computed.

        The statistics of a batch norm in training are those of a process's share.
        """
        return network if self.size == 1 else DistributedDataParallel(network)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a value over the team."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value / self.size

    def agreed(self, opinion: bool) -> bool:
        """Return the opinion of the first process."""
        if self.size == 1:
            return opinion
        said = torch.tensor(opinion)
        distributed.broadcast(said, 0)
        return bool(said)

    def lead(self, action: Callable[[], None]) -> None:
        """Do something in the first process, while the others wait.

        Raises:
            LeaderFailedError: In the others, if it fails there.
        """
        failure: BaseException | None = None
        try:
            if self.leads:
                action()
        # Raised after the others know: they would wait for this process for hours.
        except BaseException as error:
            failure = error
        failed = self.agreed(failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise LeaderFailedError("the first process must go on, but it ended; its message says why.")

    def await_leader(self) -> None:
        """Wait until the first process has ended, so that nobody stops it while it writes what happened."""
        if not self.leads:
            # The first process ends without answering, which closes the connection: that is what is waited for.
            with contextlib.suppress(RuntimeError):
                self.agreed(True)

    def lost(self, error: Exception) -> bool:
        """Return whether an error is that another process is gone."""
        if self.size == 1 or not isinstance(error, RuntimeError):
            return False
        # Gloo alone has no class of error for it: only the text tells.
        return isinstance(error, distributed.DistError) or "connection" in str(error).lower()
