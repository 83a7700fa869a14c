"""Profiles as figures on hand-made ones: which are drawn, and that each is a whole PNG."""

import dataclasses

import pytest
from PIL import Image
from profiled import DEVICE, place, profiled, timed

from srnas.leaderboard.show.profile_figure import profile_figures
from srnas.profiling import Roofline

ROOFLINE = Roofline(1e11, {2**16: 2e11, 2**20: 1e11, 2**26: 1e10})


def made(name="lia", kind="block", *, channels=8, side=24, latency_ms=0.5, places=()):
    return profiled(
        name,
        kind,
        shape=(1, channels, side, side),
        macs=channels**2 * side**2,
        bytes_moved=8 * channels * side**2,
        latency=timed(0.9 * latency_ms, latency_ms, 0.95 * latency_ms, 1.2 * latency_ms),
        places=places,
    )


def placed(name, labels, side=24):
    places = [place(f"p{i:02d}", label, 0.1 + i) for i, label in enumerate(labels)]
    places.append(place("input", "input", 0.0))
    spent = sum(one.fastest_ms for one in places)
    return made(name, "network", channels=3, side=side, latency_ms=spent, places=places)


CASES = {
    "one": ([made()], ROOFLINE, {"roofline"}),
    "one without a roofline": ([made()], None, set()),
    "two": ([made(), made("cbam", latency_ms=0.7)], ROOFLINE, {"roofline", "macs-against-latency"}),
    "more than there are colours": (
        [made(f"b{n}", latency_ms=n + 1) for n in range(12)],
        None,
        {"macs-against-latency"},
    ),
    "sizes and channels": (
        [made(channels=c, side=s, latency_ms=s * c / 100) for s in (64, 8, 16) for c in (8, 16)],
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
        [placed("mine", ["conv"]), made("mine@compile", "network", channels=3)],
        None,
        {"latency-by-position", "macs-against-latency"},
    ),
    "two of one latency": ([made(), made("cbam")], None, {"macs-against-latency"}),
}


@pytest.mark.parametrize(("profiles", "roofline", "names"), CASES.values(), ids=CASES)
def test_what_profiles_are_enough_for_is_drawn(profiles, roofline, names, tmp_path):
    figures = profile_figures(profiles, roofline)
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
    profiles = [placed(name, [name, "conv"]), placed(f"{name}@compile", ["conv"], side=48)]
    for number, draw in enumerate(profile_figures(profiles, ROOFLINE).values()):
        draw(tmp_path / f"{number}.png")
    assert len(list(tmp_path.iterdir())) == 4


def test_every_device_of_a_figure_is_in_its_title(tmp_path, monkeypatch):
    titles = []

    def keep(self, *_, **__):
        titles.append(self.axes[0].get_title("left"))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep)
    other = dataclasses.replace(made("b"), device=dataclasses.replace(DEVICE, runtime="onnxruntime", threads=2))
    [draw] = profile_figures([made("a"), other, made("c")], None).values()
    draw(tmp_path / "figure.png")
    assert titles == [f"MACs against latency\n{DEVICE}\n{other.device}"]


def test_what_has_no_macs_is_in_no_figure_of_them():
    copies = [made("skip", channels=0), made("copy", channels=0)]
    assert "macs-against-latency" not in profile_figures(copies, None)
