"""Sizes and latencies of networks, with the device that they belong to."""

from srnas.profiling.counters import Reconciliation, reconcile
from srnas.profiling.counting import MACS_DEFINITION, Counts, InputShape, count
from srnas.profiling.device import DeviceProfile, cpu_threads, describe_device, resolve_device, resolve_threads
from srnas.profiling.latency import CPU_PROTOCOL, CUDA_PROTOCOL, Latency, LatencyProtocol, measure_latency
from srnas.profiling.lease import DeviceBusyError, device_lease

__all__ = [
    "CPU_PROTOCOL",
    "CUDA_PROTOCOL",
    "MACS_DEFINITION",
    "Counts",
    "DeviceBusyError",
    "DeviceProfile",
    "InputShape",
    "Latency",
    "LatencyProtocol",
    "Reconciliation",
    "count",
    "cpu_threads",
    "describe_device",
    "device_lease",
    "measure_latency",
    "reconcile",
    "resolve_device",
    "resolve_threads",
]
