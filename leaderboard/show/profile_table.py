"""Profiles of blocks and networks as rich tables."""

import math
from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from srnas.profiling import MACS_DEFINITION, Latency, Profile

_AGREEMENT = "The three agree to the unit, with what the other two are known to add (below)."
# Other ways to time, which not every profile has: the heading, what it means, and where it stands.
_WAYS: tuple[tuple[str, str, Callable[[Latency], float | None]], ...] = (
    ("device", "device: median without the host's launches; ", lambda latency: latency.device_median_ms),
    ("cold", "cold: fastest round with overwritten caches; ", lambda latency: latency.cold_fastest_ms),
)
_DISAGREEMENT = "Rows that say so do not reconcile to the unit."


def sizes_table(profiles: Sequence[Profile]) -> Table:
    """Return parameters, MACs by three counters, activations, bytes and memory."""
    agree = all(profile.counted.agrees for profile in profiles)
    table = _table(
        f"Sizes of the deploy form{_shared_input(profiles)}",
        f"{MACS_DEFINITION}. {_AGREEMENT if agree else _DISAGREEMENT} acts: elements of all convolution outputs. MB: "
        "bytes read and written if nothing is fused. MiB: peak memory of a pass, as measured.",
        ("params", "MACs M", "fvcore M", "ptflops M", "acts M", "MB", "MiB"),
    )
    for profile in profiles:
        counted, record = profile.counted, profile.counted.record
        macs = (record.macs, counted.fvcore_macs, counted.ptflops_macs)
        table.add_row(
            _name(profiles, profile, "" if counted.agrees else _differences(profile)),
            f"{record.params:,}",
            *(digits(count / 1e6) for count in (*macs, record.activations, record.bytes_moved)),
            digits(profile.peak_memory_mib),
        )
    return table


def reconciliations(profiles: Sequence[Profile]) -> list[str]:
    """Return, for profiles where another counter adds something, both of them as sums."""
    return [
        f"{profile.name}: {'; '.join(counted.equations)}"
        for profile in profiles
        if (counted := profile.counted).fvcore_extras or counted.ptflops_extras_by_operator or not counted.agrees
    ]


def latency_table(profiles: Sequence[Profile]) -> Table:
    """Return latency with its interval, share of the roofline and flags."""
    ways = [way for way in _WAYS if any(way[2](profile.latency) is not None for profile in profiles)]
    table = _table(
        f"Latency on {profiles[0].device}{_shared_input(profiles)}",
        f"ms: fastest round; median with its 95 % interval; {''.join(said for _, said, _ in ways)}x ref: times the "
        "3x3 convolution of 48 channels at 64x64 that every round times; roof: share of what arithmetic and memory "
        "allow.",
        ("ms", "median", "95 % interval", *(head for head, *_ in ways), "x ref", "roof"),
    )
    for profile in profiles:
        latency, share = profile.latency, profile.roofline_share
        table.add_row(
            _name(profiles, profile, ", ".join(latency.flags)),
            digits(latency.fastest_ms),
            digits(latency.median_ms),
            f"{digits(latency.low_ms)} to {digits(latency.high_ms)}",
            *(digits(read(latency)) for *_, read in ways),
            digits(latency.reference_ratio),
            "" if share is None else f"{share:.0%}",
        )
    return table


def places_table(profile: Profile) -> Table:
    """Return the sizes and latencies of a network by position."""
    spent = sum(place.fastest_ms for place in profile.places)
    whole = profile.latency.fastest_ms
    table = Table(
        box=SIMPLE_HEAD,
        title=f"{escape(profile.name)} by position",
        caption=f"Each part is timed by itself; together they take {digits(spent)} ms, the network {digits(whole)} ms.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("position", no_wrap=True)
    table.add_column("blocks", overflow="fold")
    for head in ("params", "MACs M", "acts M", "ms", "share"):
        table.add_column(head, justify="right", no_wrap=True)
    for place in profile.places:
        table.add_row(
            place.name,
            "" if place.label == place.name else escape(place.label),
            f"{place.counts.params:,}",
            digits(place.counts.macs / 1e6),
            digits(place.counts.activations / 1e6),
            digits(place.fastest_ms),
            f"{place.fastest_ms / spent:.0%}",
        )
    return table


def digits(value: float | None) -> str:
    """Return a number with three significant digits, four above ten, and all of those before the point."""
    if value is None:
        return ""
    exponent = math.floor(math.log10(abs(float(f"{value:.4g}")))) if value else 3
    return f"{value:,.{max(0, 2 - exponent + (exponent > 0))}f}"


def _shared_input(profiles: Sequence[Profile]) -> str:
    shapes = {profile.counted.record.input_shape for profile in profiles}
    return f", input {_input(profiles[0])}" if len(shapes) == 1 else ""


def _input(profile: Profile) -> str:
    _, channels, height, width = profile.counted.record.input_shape
    return f"{channels} channels, {width}x{height}" if profile.kind == "block" else f"{width}x{height}"


def _name(profiles: Sequence[Profile], profile: Profile, note: str) -> str:
    """Return the name of a profile, its input where profiles differ in it, and a note below."""
    notes = (_input(profile) if not _shared_input(profiles) else "", note)
    said = ", ".join(text for text in notes if text)
    return escape(profile.name) + (f"\n[dim]{escape(said)}[/]" if said else "")


def _differences(profile: Profile) -> str:
    unknown = [f"unknown {name} x{times}" for name, times in profile.counted.record.unknown.items()]
    return ", ".join(unknown) or "COUNTERS DIFFER"


def _table(title: str, caption: str, heads: Sequence[str]) -> Table:
    table = Table(title=escape(title), caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table
