"""Profiles with whatever sizes, latency and places a test needs."""

from srnas.profiling import Counts, DeviceProfile, Latency, ModuleCounts, Profile, Reconciliation
from srnas.profiling.profiles import Place

DEVICE = DeviceProfile(
    device="cpu",
    name="a processor",
    driver="",
    torch_version="2",
    dtype="float32",
    memory_format="nchw",
    runtime="eager",
    threads=1,
)


def counted(shape, params, macs, activations, bytes_moved, unknown, fvcore_extras, ptflops_extras, unexplained):
    """Return sizes by three counters that reconcile but for what is unexplained."""
    record = Counts(
        input_shape=shape,
        params=params,
        macs=macs,
        other_ops=0,
        activations=activations,
        macs_by_operator={},
        other_by_operator={},
        bias_adds=0,
        unknown=unknown,
        bytes_moved=bytes_moved,
        operators=1,
        dtype="float32",
        by_module={},
    )
    return Reconciliation(
        record=record,
        fvcore_macs=macs + sum(fvcore_extras.values()) + unexplained,
        fvcore_extras=fvcore_extras,
        fvcore_unsupported={},
        fvcore_uncalled=(),
        ptflops_macs=macs + sum(ptflops_extras.values()),
        ptflops_extras_by_operator=ptflops_extras,
    )


def timed(fastest_ms, median_ms, low_ms, high_ms, reference_ratio=0.789, flags=(), **ways):
    return Latency(
        median_ms=median_ms,
        low_ms=low_ms,
        high_ms=high_ms,
        fastest_ms=fastest_ms,
        reference_ratio=reference_ratio,
        first_call_ms=1.0,
        rounds_ms=(fastest_ms, median_ms, high_ms),
        reference_rounds_ms=(1.0, 1.0, 1.0),
        flags=flags,
        **ways,
    )


def profiled(
    name="lia",
    kind="block",
    *,
    shape=(1, 8, 24, 32),
    params=1234,
    macs=2_500_000,
    activations=98_765,
    bytes_moved=5_000_000,
    unknown=None,
    fvcore_extras=None,
    ptflops_extras=None,
    unexplained=0,
    latency=None,
    peak_memory_mib=1.5,
    roofline_share=0.237,
    device=DEVICE,
    places=(),
):
    latency = latency or timed(0.456, 0.512, 0.498, 0.534)
    sizes = (shape, params, macs, activations, bytes_moved, unknown or {})
    return Profile(
        kind=kind,
        name=name,
        counted=counted(*sizes, fvcore_extras or {}, ptflops_extras or {}, unexplained),
        latency=latency,
        peak_memory_mib=peak_memory_mib,
        max_abs_difference=0.0,
        bound_ms=None if roofline_share is None else roofline_share * latency.fastest_ms,
        device=device,
        preflight={},
        places=tuple(places),
    )


def place(name, label, fastest_ms, params=10):
    return Place(name, label, ModuleCounts(params=params, macs=3_000_000, activations=40_000), fastest_ms)
