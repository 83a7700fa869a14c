"""Checks what CUDA does with srnas on one GPU, and measures what is promised of it; sized for 11 minutes, never run.

Each check says what was expected and what was seen; one that fails ends nothing, and the exit code is 1 then. Where
there is no GPU, ``--dry-run`` runs the logic of every check on doubles: on the CPU, and on a device with a virtual
clock. Figures of a dry run mean nothing.

    python benchmarks/gpu_check.py [--json FILE] [--only resume,cold] [--dry-run]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from srnas.nas.cli.boundary import told_errors
from srnas.profiling import Target, describe_device

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from gpu import correctness, measurement
from gpu.machine import Machine, Seen

CHECKS = {check.__name__: check for check in (*correctness.CHECKS, *measurement.CHECKS)}


def nvml_double() -> SimpleNamespace:
    """Return a driver's library that tells everything."""
    told = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByUUID": None,
        "nvmlSystemGetDriverVersion": "double",
        "nvmlDeviceGetComputeRunningProcesses": [],
    }
    numbers = ("ClockInfo", "MaxClockInfo", "ApplicationsClock", "EnforcedPowerLimit", "Temperature")
    told |= {f"nvmlDeviceGet{name}": 1 for name in (*numbers, "CurrentClocksThrottleReasons")}
    functions = {name: (lambda *_, value=value: value) for name, value in told.items()}
    return SimpleNamespace(NVMLError=OSError, NVML_CLOCK_SM=1, NVML_TEMPERATURE_GPU=0, **functions)


def run(machine: Machine, names: list[str]) -> Iterator[tuple[str, Seen, float]]:
    """Yield what each check saw, and its seconds."""
    for name in names:
        started = time.perf_counter()
        try:
            seen = CHECKS[name](machine)
        # Of any kind: the checks after it are run whatever happens in this one.
        except Exception as error:
            seen = Seen("no error", f"{type(error).__name__}: {str(error)[:300]}", False)
        yield name, seen, time.perf_counter() - started


def main() -> None:
    """Run the checks and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file that the results are written to")
    parser.add_argument("--only", default="", help=f"some of {', '.join(CHECKS)}")
    parser.add_argument("--dry-run", action="store_true", help="run on doubles, without a GPU")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(CHECKS)
    if unknown := set(names) - CHECKS.keys():
        parser.error(f"--only must name checks, but got {', '.join(sorted(unknown))}")
    if not given.dry_run and not torch.cuda.is_available():
        parser.error("a GPU must be there, but torch sees none; give --dry-run to try the script")
    device = torch.device("cpu") if given.dry_run else torch.device("cuda", 0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if given.dry_run:
            # By hand: patch.dict forgets at its end what was imported meanwhile.
            sys.modules["pynvml"] = nvml_double()
            stack.callback(sys.modules.pop, "pynvml")
            named = mock.patch.object(torch.cuda, "get_device_properties", return_value=SimpleNamespace(uuid="0"))
            stack.enter_context(named)
        machine, found = Machine(device, given.dry_run, folder), []
        for name, seen, seconds in run(machine, names):
            found.append({"check": name, **asdict(seen), "seconds": round(seconds, 1)})
            print(f"{name}: {'passed' if seen.passed else 'FAILED'} in {seconds:.1f} s", file=sys.stderr, flush=True)
        title = "On doubles: figures mean nothing" if given.dry_run else str(describe_device(Target(device)))
    table = Table("check", "expected", "seen", "", title=title)
    for one in found:
        passed = "passed" if one["passed"] else "FAILED"
        table.add_row(*map(escape, (str(one["check"]), str(one["expected"]), str(one["seen"]), passed)))
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps({"device": title, "dry_run": given.dry_run, "checks": found}, indent=2))
    failed = sum(not one["passed"] for one in found)
    print(f"{len(found) - failed} of {len(found)} checks passed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    with told_errors("gpu_check.py"):
        main()
