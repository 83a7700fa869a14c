"""Profiles of blocks and networks as rich tables; rows are those of :meth:`srnas.profiling.Profile.to_row`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from srnas.profiling import MACS_DEFINITION

Row = Mapping[str, Any]

_AGREEMENT = "The three agree to the unit, with what the other two are known to add (below)."
_MORE = {
    "device": "device: median without the host's launches; ",
    "cold": "cold: fastest round with overwritten caches; ",
}
_DISAGREEMENT = "Rows that say so do not reconcile to the unit."


def row_name(row: Row) -> str:
    """Return what a row is about."""
    return str(row.get("block") or row["network"])


def sizes_table(rows: Sequence[Row]) -> Table:
    """Return parameters, MACs by three counters, activations, bytes and memory."""
    agree = all(row["counters_agree"] for row in rows)
    table = _table(
        f"Sizes of the deploy form{_shared_input(rows)}",
        f"{MACS_DEFINITION}. {_AGREEMENT if agree else _DISAGREEMENT} acts: elements of all convolution outputs. MB: "
        "bytes read and written if nothing is fused. MiB: peak memory of a pass, as measured.",
        ("params", "MACs M", "fvcore M", "ptflops M", "acts M", "MB", "MiB"),
    )
    for row in rows:
        macs = (digits(row[key] / 1e6) for key in ("macs", "fvcore_macs", "ptflops_macs"))
        memory = row["peak_memory_mib"]
        table.add_row(
            _name(rows, row, "" if row["counters_agree"] else _differences(row)),
            f"{row['params']:,}",
            *macs,
            digits(row["activations"] / 1e6),
            digits(row["bytes_moved"] / 1e6),
            "" if memory is None else digits(memory),
        )
    return table


def reconciliations(rows: Sequence[Row]) -> list[str]:
    """Return, for rows where another counter adds something, both of them as sums."""
    return [
        f"{row_name(row)}: {'; '.join(row['reconciliation'])}"
        for row in rows
        if row["fvcore_extras"] or row["ptflops_extras"] or not row["counters_agree"]
    ]


def latency_table(rows: Sequence[Row]) -> Table:
    """Return latency with its interval, share of the roofline and flags."""
    more = {
        head: key
        for head, key in (("device", "latency_device_ms"), ("cold", "latency_cold_stable_ms"))
        if any(row[key] is not None for row in rows)
    }
    table = _table(
        f"Latency on {rows[0]['device']}{_shared_input(rows)}",
        f"ms: fastest round; median with its 95 % interval; {''.join(_MORE[head] for head in more)}x ref: times the "
        "3x3 convolution of 48 channels at 64x64 that every round times; roof: share of what arithmetic and memory "
        "allow.",
        ("ms", "median", "95 % interval", *more, "x ref", "roof"),
    )
    for row in rows:
        share = row["roofline_share"]
        table.add_row(
            _name(rows, row, ", ".join(row["latency_flags"])),
            digits(row["latency_stable_ms"]),
            digits(row["latency_ms"]),
            f"{digits(row['latency_ms_low'])} to {digits(row['latency_ms_high'])}",
            *(digits(row[key]) for key in more.values()),
            digits(row["latency_reference_ratio"]),
            "" if share is None else f"{share:.0%}",
        )
    return table


def places_table(row: Row) -> Table:
    """Return the sizes and latencies of a network by position."""
    spent = sum(place["latency_ms"] for place in row["places"])
    whole = row["latency_stable_ms"]
    table = Table(
        box=SIMPLE_HEAD,
        title=f"{escape(row_name(row))} by position",
        caption=f"Each part is timed by itself; together they take {digits(spent)} ms, the network {digits(whole)} ms.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("position", no_wrap=True)
    table.add_column("blocks", overflow="fold")
    for head in ("params", "MACs M", "acts M", "ms", "share"):
        table.add_column(head, justify="right", no_wrap=True)
    for place in row["places"]:
        counts, label = place["counts"], place["label"]
        table.add_row(
            place["name"],
            "" if label == place["name"] else escape(label),
            f"{counts['params']:,}",
            digits(counts["macs"] / 1e6),
            digits(counts["activations"] / 1e6),
            digits(place["latency_ms"]),
            f"{place['latency_ms'] / spent:.0%}",
        )
    return table


def digits(value: float | None) -> str:
    """Return a number with three significant digits, four above ten, and all of those before the point."""
    if value is None:
        return ""
    exponent = math.floor(math.log10(abs(float(f"{value:.4g}")))) if value else 3
    return f"{value:,.{max(0, 2 - exponent + (exponent > 0))}f}"


def _shared_input(rows: Sequence[Row]) -> str:
    return f", input {_input(rows[0])}" if len({tuple(row["input_shape"]) for row in rows}) == 1 else ""


def _input(row: Row) -> str:
    _, channels, height, width = row["input_shape"]
    return f"{channels} channels, {width}x{height}" if "block" in row else f"{width}x{height}"


def _name(rows: Sequence[Row], row: Row, note: str) -> str:
    """Return the name of a row, its input where rows differ in it, and a note below."""
    notes = (_input(row) if not _shared_input(rows) else "", note)
    said = ", ".join(text for text in notes if text)
    return escape(row_name(row)) + (f"\n[dim]{escape(said)}[/]" if said else "")


def _differences(row: Row) -> str:
    unknown = [f"unknown {name} x{times}" for name, times in row["unknown_operators"].items()]
    return ", ".join(unknown) or "COUNTERS DIFFER"


def _table(title: str, caption: str, heads: Sequence[str]) -> Table:
    table = Table(title=escape(title), caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table
