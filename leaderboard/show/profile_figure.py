"""Profiles as figures: latency against size, MACs against latency, the roofline, a network's latency by position."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnas.leaderboard.show.axes import log_scale, new_axes
from srnas.profiling import Profile, Roofline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (
    "#0b5fa5", "#d1495b", "#2a9d8f", "#e9a23b", "#6a4c93", "#7a8b99", "#9c6644", "#1b998b", "#c8553d", "#3d5a80",
)  # fmt: skip
_MARKS = "os^Dv<>P*X"
_LONGEST_NAME = 40


def profile_figures(profiles: Sequence[Profile], roofline: Roofline | None) -> dict[str, Callable[[Path], None]]:
    """Return, by name, what draws each figure that these profiles are enough for."""
    figures: dict[str, Callable[[Path], None]] = {}
    if len({profile.counted.record.input_shape for profile in profiles}) > 1:
        figures["latency-against-size"] = lambda path: _save(_draw_sizes, profiles, path)
    # What copies or pools has none, and no place on a logarithmic axis.
    if len(counted := [profile for profile in profiles if profile.counted.record.macs]) > 1:
        figures["macs-against-latency"] = lambda path: _save(_draw_macs, counted, path)
    if roofline is not None:
        figures["roofline"] = lambda path: _save(
            lambda axes, drawn: _draw_roofline(axes, drawn, roofline), profiles, path
        )
    if placed := [profile for profile in profiles if profile.places]:
        figures["latency-by-position"] = lambda path: _save(_draw_places, placed, path)
    return figures


def _save(draw: "Callable[[Axes, Sequence[Profile]], None]", profiles: Sequence[Profile], path: Path) -> None:
    figure, (axes,) = new_axes()
    draw(axes, profiles)
    devices = dict.fromkeys(str(profile.device) for profile in profiles)
    axes.set_title("\n".join((axes.get_title(), *devices)), fontsize=10, loc="left")
    axes.set_title("", loc="center")
    figure.savefig(path, dpi=150, format="png")


def _by_name(profiles: Sequence[Profile]) -> dict[str, list[Profile]]:
    found: defaultdict[str, list[Profile]] = defaultdict(list)
    for profile in profiles:
        found[profile.name].append(profile)
    return dict(found)


def _legend_name(name: str) -> str:
    """Return a name as text that is no formula, that a legend does not leave out, and that leaves room for axes."""
    shown = name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
    shown = shown.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _style(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKS[number % len(_MARKS)]}


def _draw_sizes(axes: "Axes", profiles: Sequence[Profile]) -> None:
    """One line per subject and number of channels over the pixels of the input, with intervals as bars."""
    lines: defaultdict[tuple[str, int], list[Profile]] = defaultdict(list)
    for profile in profiles:
        lines[profile.name, profile.counted.record.input_shape[1]].append(profile)
    several = len({channels for _, channels in lines}) > 1
    for number, ((name, channels), found) in enumerate(lines.items()):
        label = f"{_legend_name(name)}, {channels} channels" if several else _legend_name(name)
        found.sort(key=_pixels)
        latencies = [profile.latency for profile in found]
        middle = [latency.median_ms for latency in latencies]
        below = [latency.median_ms - latency.low_ms for latency in latencies]
        above = [latency.high_ms - latency.median_ms for latency in latencies]
        axes.errorbar(
            [_pixels(profile) for profile in found], middle, yerr=[below, above], label=label, capsize=3, linewidth=1.2,
            **_style(number),
        )  # fmt: skip
    log_scale(axes, "xy")
    axes.set_xlabel("pixels of the input")
    axes.set_ylabel("latency in ms (median, 95 % interval)")
    axes.set_title("Latency against size")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _pixels(profile: Profile) -> int:
    _, _, height, width = profile.counted.record.input_shape
    return height * width


def _draw_macs(axes: "Axes", profiles: Sequence[Profile]) -> None:
    """One mark per profile, over lines of equal rate."""
    for number, (name, found) in enumerate(_by_name(profiles).items()):
        axes.scatter(
            [p.latency.fastest_ms for p in found], [p.counted.record.macs / 1e6 for p in found], s=50,
            label=_legend_name(name), zorder=3, **_style(number),
        )  # fmt: skip
    log_scale(axes, "xy")
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for rate in (10.0**power for power in range(-3, 6)):
        axes.plot([left, right], [rate * left, rate * right], "--", color="#b8c0c8", linewidth=0.8, zorder=1)
        if bottom < rate * right:
            x, y = (right, rate * right) if rate * right < top else (top / rate, top)
            if left < x:
                axes.annotate(f"{rate:g} GMAC/s", (x, y), fontsize=7, color="#5f6b76", ha="right", va="top")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("latency in ms (fastest round)")
    axes.set_ylabel("MACs in millions")
    axes.set_title("MACs against latency")
    axes.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)


def _draw_roofline(axes: "Axes", profiles: Sequence[Profile], roofline: Roofline) -> None:
    """Arithmetic rate over intensity, below the roof of this device for data in its inner cache and in memory."""
    intensities = [_intensity(profile) for profile in profiles]
    left, right = min(*intensities, 0.1) / 2, max(*intensities, 10.0) * 4
    peak = roofline.macs_per_s / 1e9
    for size, style in ((min(roofline.bytes_per_s), "--"), (max(roofline.bytes_per_s), "-")):
        rate = roofline.bytes_per_s[size] / 1e9
        corner = peak / rate
        axes.plot(
            [left, min(corner, right), right], [left * rate, min(peak, right * rate), peak], style, color="#5f6b76",
            linewidth=1.2, label=f"{peak:,.0f} GMAC/s, {rate:,.0f} GB/s copying {_bytes(size)}",
        )  # fmt: skip
    for number, (name, found) in enumerate(_by_name(profiles).items()):
        axes.scatter(
            [_intensity(profile) for profile in found],
            [p.counted.record.macs / p.latency.fastest_ms / 1e6 for p in found], s=50, label=_legend_name(name),
            zorder=3, **_style(number),
        )  # fmt: skip
    log_scale(axes, "xy")
    axes.set_xlabel("MACs per byte read or written, nothing fused")
    axes.set_ylabel("GMAC/s")
    axes.set_title("Roofline")
    axes.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)


def _intensity(profile: Profile) -> float:
    return profile.counted.record.macs / profile.counted.record.bytes_moved


def _bytes(size: int) -> str:
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size // 2**10} KiB"


def _draw_places(axes: "Axes", profiles: Sequence[Profile]) -> None:
    """One bar per network, stacked by position; equal blocks have one colour, and a line marks the whole network."""
    labels = list(dict.fromkeys(place.label for profile in profiles for place in profile.places if place.fastest_ms))
    for height, profile in enumerate(profiles):
        left = 0.0
        for place in profile.places:
            number = labels.index(place.label) if place.fastest_ms else 0
            axes.barh(
                height, place.fastest_ms, left=left, color=_COLOURS[number % len(_COLOURS)], edgecolor="white",
                linewidth=0.8, hatch="" if number < len(_COLOURS) else "//",
            )  # fmt: skip
            left += place.fastest_ms
        axes.plot([profile.latency.fastest_ms] * 2, [height - 0.45, height + 0.45], color="black", linewidth=2)
    for number, label in enumerate(labels):
        axes.barh(
            0,
            0,
            color=_COLOURS[number % len(_COLOURS)],
            hatch="" if number < len(_COLOURS) else "//",
            label=_legend_name(label),
        )
    axes.plot([], [], color="black", linewidth=2, label="the whole network")
    axes.set_yticks(range(len(profiles)), [_legend_name(profile.name) for profile in profiles])
    axes.invert_yaxis()
    axes.set_xlabel("latency in ms (fastest rounds; each part timed by itself)")
    axes.set_title("Latency by position")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
