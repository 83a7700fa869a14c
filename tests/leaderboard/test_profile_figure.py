"""Profiles as figures on hand-made rows: which are drawn, and that each is a whole PNG."""

import pytest
from PIL import Image

from srnas.leaderboard import profile_figures
from srnas.profiling import Roofline

ROOFLINE = Roofline(1e11, {2**16: 2e11, 2**20: 1e11, 2**26: 1e10})


def row(name="lia", kind="block", *, channels=8, side=24, latency_ms=0.5, **fields):
    return {
        kind: name,
        "input_shape": [1, channels, side, side],
        "macs": channels**2 * side**2,
        "bytes_moved": 8 * channels * side**2,
        "latency_stable_ms": 0.9 * latency_ms,
        "latency_ms": latency_ms,
        "latency_ms_low": 0.95 * latency_ms,
        "latency_ms_high": 1.2 * latency_ms,
        "device": "a processor (cpu)",
        **fields,
    }


def placed(name, labels):
    places = [{"name": f"p{i:02d}", "label": label, "latency_ms": 0.1 + i} for i, label in enumerate(labels)]
    places.append({"name": "input", "label": "input", "latency_ms": 0.0})
    return row(name, "network", channels=3, latency_ms=sum(p["latency_ms"] for p in places), places=places)


CASES = {
    "one": ([row()], ROOFLINE, {"roofline"}),
    "one without a roofline": ([row()], None, set()),
    "two": ([row(), row("cbam", latency_ms=0.7)], ROOFLINE, {"roofline", "macs-against-latency"}),
    "more than there are colours": (
        [row(f"b{n}", latency_ms=n + 1) for n in range(12)],
        None,
        {"macs-against-latency"},
    ),
    "sizes and channels": (
        [row(channels=c, side=s, latency_ms=s * c / 100) for s in (64, 8, 16) for c in (8, 16)],
        ROOFLINE,
        {"latency-against-size", "macs-against-latency", "roofline"},
    ),
    "a network": ([placed("mine", ["conv", "conv", "lia"])], None, {"latency-by-position"}),
    "networks of many blocks": (
        [placed("mine", ["conv", "lia"]), placed("other", [f"block {n}" for n in range(12)])],
        None,
        {"latency-by-position", "macs-against-latency"},
    ),
    "one that has no places beside one that has": (
        [placed("mine", ["conv"]), row("mine@compile", "network", channels=3)],
        None,
        {"latency-by-position", "macs-against-latency"},
    ),
    "two of one latency": ([row(), row("cbam")], None, {"macs-against-latency"}),
}


@pytest.mark.parametrize(("rows", "roofline", "names"), CASES.values(), ids=CASES)
def test_what_rows_are_enough_for_is_drawn(rows, roofline, names, tmp_path):
    figures = profile_figures(rows, roofline)
    assert figures.keys() == names
    for name, draw in figures.items():
        path = tmp_path / f".{name}.aside"  # Written aside, under a name that says nothing of its format.
        draw(path)
        with Image.open(path) as image:
            assert image.format == "PNG"
            image.load()
            assert image.getcolors(maxcolors=2) is None


@pytest.mark.parametrize("name", ["[red]x[/red]", "<img src=x>", "%s {0}", f"/{'a folder/' * 30}mine.json"])
def test_names_are_drawn_as_they_are(name, tmp_path):
    rows = [placed(name, [name, "conv"]), placed(f"{name}@compile", ["conv"])]
    rows[1]["input_shape"] = [1, 3, 48, 48]
    for number, draw in enumerate(profile_figures(rows, ROOFLINE).values()):
        draw(tmp_path / f"{number}.png")
    assert len(list(tmp_path.iterdir())) == 4
