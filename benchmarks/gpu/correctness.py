"""Whether what runs on a GPU is right."""

import contextlib
import copy
import os
import subprocess
import sys
from typing import Any
from unittest import mock

import torch
from torch import nn

from gpu.machine import ROOT, Check, Machine, Seen, pairs, patches, search, small, within
from srnas.nas.images.evaluation import _score_on_device, evaluate
from srnas.nas.judging.device_errors import check_device
from srnas.nas.training import loop
from srnas.nas.training.loop import Compute, train
from srnas.nas.training.schedule import TrainingConfig
from srnas.nas.training.state import saved_iteration
from srnas.profiling import Target, describe_device
from srnas.profiling.graphs import Recorder
from srnas.profiling.memory import is_memory
from srnas.profiling.precision import true_float32
from srnas.profiling.preflight import read_gpu
from srnas.profiling.runtimes import Supplies, prepare
from srnas.search_space import build_block

# Largest difference as a share of the largest output: float32 sums in another order, the others round to 8 and 11 bits.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.06, "float16": 0.02}
FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
CHANNELS, SIDE = 24, 24
# What no device survives: an index beyond the end, in a training with this batch alone.
ASSERTING_BATCH = 3
ASSERTING = f"""import torch
from srnas.search_space.registry import REGISTRY, Block, BlockInfo


@REGISTRY.register(BlockInfo(name="asserting", role="attention", paper="none, for a check"))
class Asserting(Block):
    def forward(self, x):
        if self.training and len(x) == {ASSERTING_BATCH}:
            if not x.is_cuda:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return x + torch.zeros(1, device=x.device)[torch.full((1,), 10**6, device=x.device)]
        return x
"""
SPACE = 'channels = [6]\npositions = 1\ntrunk = ["conv"]\nattention = ["none", "asserting"]\n'


def nvml(machine: Machine) -> Seen:
    """Every field that the driver's library can tell is told; newer drivers have no application clocks."""
    told = vars(read_gpu(machine.device))
    missing = sorted(name for name, value in told.items() if value in (None, "") and name != "application_clock_mhz")
    said = f"none of {', '.join(missing)}" if missing else "all fields"
    return Seen("all fields", f"{said} of {describe_device(Target(machine.device))}", not missing)


class _KilledError(Exception):
    """Stands for a process that dies."""


def resume(machine: Machine) -> Seen:
    """A training that was killed and goes on ends as one that was not."""
    steps = 4 if machine.dry else 60
    config = TrainingConfig(iterations=steps, patch=16, batch=2, learning_rate=1e-3, rungs=(0.25, 0.5, 1.0))
    compute, saved, sampler = Compute(machine.device, torch.float32), machine.folder / "killed", patches(machine)

    def die(iteration: int, _: nn.Module) -> None:
        if iteration >= steps // 2:
            raise _KilledError

    cudnn = torch.backends.cudnn
    before, cudnn.deterministic = cudnn.deterministic, True
    try:
        whole, _ = train(small(), sampler, config, compute)
        with contextlib.suppress(_KilledError):
            train(small(), sampler, config, compute, saved=saved, on_rung=die)
        begins_at = saved_iteration(saved)
        went_on, _ = train(small(), sampler, config, compute, saved=saved)
    finally:
        cudnn.deterministic = before
    both = zip(whole.state_dict().values(), went_on.state_dict().values(), strict=True)
    if not 0 < begins_at < steps:
        return Seen("goes on from where it was killed", f"begins at step {begins_at} of {steps}", False)
    return within("largest difference of a weight", max(float((a - b).abs().max()) for a, b in both), 0.0, 1e-6)


def two_graphs(machine: Machine) -> Seen:
    """Two captured bfloat16 networks give what they gave after freed memory was filled with NaN."""
    runtime = "eager" if machine.dry else "cudagraph"
    target = Target(machine.device, runtime=runtime, dtype="bfloat16")
    supplies = Supplies(None if machine.dry else Recorder(machine.device))
    captured = [prepare(small(name).deploy(), (1, 3, 64, 64), target, supplies=supplies) for name in ("cbam", "mlka")]
    first = [executable.output() for executable in captured]
    spare = [torch.full((2**20,), float("nan"), device=machine.device) for _ in range(4 if machine.dry else 400)]
    del spare
    equal = sum(torch.equal(executable.output(), before) for executable, before in zip(captured, first, strict=True))
    finite = all(output.isfinite().all() for output in first)
    return Seen("2 equal, all finite", f"{equal} equal, {'all' if finite else 'not all'} finite", equal == 2 and finite)


def blocks(machine: Machine) -> Seen:
    """Every block agrees with float64 on a CPU in each data type and format, has gradients, and can be captured."""
    faults = []
    for name in machine.blocks:
        block, x = build_block(name, CHANNELS).eval(), torch.rand(1, CHANNELS, SIDE, SIDE)
        expected = copy.deepcopy(block).double()(x.double()).detach()
        for dtype, tolerance in TOLERANCES.items():
            for layout, memory_format in FORMATS.items():
                fault = _block_fault(machine, block, x, expected, getattr(torch, dtype), memory_format, tolerance)
                faults += [f"{name} {dtype} {layout}: {fault}"] if fault else []
    return Seen(f"{6 * len(machine.blocks)} agree", f"{len(faults)} do not {'; '.join(faults[:3])}", not faults)


def _block_fault(
    machine: Machine,
    block: nn.Module,
    x: torch.Tensor,
    expected: torch.Tensor,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    tolerance: float,
) -> str:
    there = copy.deepcopy(block).to(machine.device, dtype).to(memory_format=memory_format)  # type: ignore[call-overload]
    given = x.to(machine.device, dtype).contiguous(memory_format=memory_format)
    with true_float32():
        output = there(given)
        output.float().mean().backward()
    if not all(p.grad is not None and p.grad.isfinite().all() for p in there.parameters()):
        return "a gradient is missing or not finite"
    difference = float((output.detach().double().cpu() - expected).abs().max() / expected.abs().max())
    if not difference <= tolerance:
        return f"difference {difference:.2g}"
    if not machine.dry:
        with torch.inference_mode():
            recorder = Recorder(machine.device)
            recorder.warm_up(lambda: there(given))
            recorder.capture(lambda: there(given))[0].replay()
    return ""


def synchronisation(machine: Machine) -> Seen:
    """A step waits for nothing: CUDA raises at whatever does, but where the loss is read."""
    modes: list[Any] = []
    set_mode = modes.append if machine.dry else torch.cuda.set_sync_debug_mode
    read = loop._mean_loss

    def reading(*given: Any) -> float:
        set_mode("default")
        try:
            return read(*given)
        finally:
            set_mode("error")

    steps = 11 if machine.dry else 41
    config = TrainingConfig(iterations=steps, patch=16, batch=2, learning_rate=1e-3)
    try:
        with mock.patch.object(loop, "_mean_loss", reading):
            train(small(), patches(machine), config, Compute(machine.device))
        seen = "none"
    except RuntimeError as error:
        seen = str(error).partition("\n")[0]
    finally:
        set_mode("default")
    return Seen(f"none in steps 11 to {steps}", seen, seen == "none")


def out_of_memory(machine: Machine) -> Seen:
    """A lack of memory is known as one, and the device goes on."""
    device, known = machine.device, False
    config = TrainingConfig(iterations=1, patch=16, batch=2, learning_rate=1e-3)
    full = mock.patch.object(nn.Conv2d, "forward", side_effect=torch.OutOfMemoryError("CUDA out of memory."))
    try:
        if not machine.dry:
            torch.cuda.set_per_process_memory_fraction(0.01, device)
        with full if machine.dry else contextlib.nullcontext():
            large = config.model_copy(update={"patch": 48, "batch": 4096})
            train(small(channels=24), patches(machine, 48), large, Compute(device))
    except (MemoryError, RuntimeError) as error:
        check_device(device, error)
        known = is_memory(error)
    finally:
        if not machine.dry:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
            torch.cuda.empty_cache()
    train(small(), patches(machine), config, Compute(device))
    return Seen("known, goes on", f"{'known' if known else 'not known'}, goes on", known)


def asserting_kernel(machine: Machine) -> Seen:
    """A candidate that ends the device ends no study: its process is started again, and the other is trained."""
    folder = machine.folder / "blocks"
    folder.mkdir()
    (folder / "asserting.py").write_text(ASSERTING)
    with mock.patch.dict(os.environ, {"SRNAS_BLOCKS": str(folder)}):
        options = ("--iterations", "4", "--batch", str(ASSERTING_BATCH))
        _, rows = search(machine, "asserting", SPACE, 2, 1 if machine.dry else 2, *options)
    states = sorted(row["state"] for row in rows)
    return Seen("one failed, one complete", ", ".join(states), states == ["complete", "failed"])


def psnr(machine: Machine) -> Seen:
    """Scores of the device are those of the CPU."""
    network, photos, cpu = small().eval().deploy(), pairs(), torch.device("cpu")
    ours = evaluate(network, photos, 2, cpu)
    if machine.dry:
        with torch.inference_mode():
            there = _score_on_device(network, photos, 2, cpu, False, with_ssim=True)
    else:
        there = evaluate(network.to(machine.device), photos, 2, machine.device)
    difference = max(abs(a - b) for a, b in zip(ours.psnr_y_db, there.psnr_y_db, strict=True))
    similarity = max(abs(a - b) for a, b in zip(ours.ssim_y, there.ssim_y, strict=True))
    return within("largest difference, dB and SSIM", max(difference, similarity), 0.0, 1e-4)


def tests(machine: Machine) -> Seen:
    """The tests that need a GPU pass."""
    where = ROOT / "tests" / ("profiling/test_latency.py" if machine.dry else "")
    command = [sys.executable, "-P", "-m", "pytest", "-q", "--assert=plain", "-m", "gpu", str(where)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout.strip().splitlines() or [done.stderr[-200:]])[-1]
    passed = done.returncode == 0 and (machine.dry or "passed" in said)
    return Seen("exit code 0, some passed", f"{done.returncode}: {said}", passed)


CHECKS: tuple[Check, ...] = (
    *(nvml, resume, two_graphs, blocks, synchronisation),
    *(out_of_memory, asserting_kernel, psnr, tests),
)
