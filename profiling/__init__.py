"""Sizes and latencies of networks, with the device they belong to."""

from srnas.profiling.agent.machine import cores as usable_cores
from srnas.profiling.boards.client import BoardRefusedError
from srnas.profiling.counters import Reconciliation, reconcile
from srnas.profiling.counting import MACS_DEFINITION, Counts, InputShape, ModuleCounts, count
from srnas.profiling.device import (
    DeviceProfile,
    Target,
    cpu_threads,
    describe_device,
    resolve_device,
    resolve_threads,
)
from srnas.profiling.latency import default_protocol, measure_latency
from srnas.profiling.lease import DeviceBusyError, device_lease, device_share
from srnas.profiling.measurement import Latency, MeasuredNetwork, Measurement
from srnas.profiling.positions import by_block, by_position
from srnas.profiling.preflight import gpu_uuid
from srnas.profiling.profiles import Profile, profile
from srnas.profiling.roofline import Roofline, measure_roofline
from srnas.profiling.rounds import CPU_PROTOCOL, CUDA_PROTOCOL, LatencyProtocol
from srnas.profiling.table import BlockTable, build_table

__all__ = [
    "CPU_PROTOCOL",
    "CUDA_PROTOCOL",
    "MACS_DEFINITION",
    "BlockTable",
    "BoardRefusedError",
    "Counts",
    "DeviceBusyError",
    "DeviceProfile",
    "InputShape",
    "Latency",
    "LatencyProtocol",
    "MeasuredNetwork",
    "Measurement",
    "ModuleCounts",
    "Profile",
    "Reconciliation",
    "Roofline",
    "Target",
    "build_table",
    "by_block",
    "by_position",
    "count",
    "cpu_threads",
    "default_protocol",
    "describe_device",
    "device_lease",
    "device_share",
    "gpu_uuid",
    "measure_latency",
    "measure_roofline",
    "profile",
    "reconcile",
    "resolve_device",
    "resolve_threads",
    "usable_cores",
]
