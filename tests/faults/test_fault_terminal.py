"""Tables in 80 and 60 columns and in a pipe, and figures whose labels do not overlap."""

import pytest
from filled import made
from handmade import study
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from srnas.leaderboard.rank.board import rank_records
from srnas.leaderboard.show.figure import write_png
from srnas.leaderboard.show.labels import Label, place_labels
from srnas.leaderboard.show.table import board_table

BODY = ("conv", "dw", "conv", "dw", "conv", "dw")


def board(trials=6):
    return rank_records(study(), [made(i, 30 + 0.3 * i, 1.5 * 1.8**i, *BODY[: i + 1]) for i in range(trials)])


def printed(table, width):
    console = Console(width=width, file=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


@pytest.mark.parametrize(
    ("width", "headings", "lines"),
    [
        (100, ["trial", "architecture", "PSNR-Y", "gain", "P(front)", "ms", "params K"], 1),
        (80, ["trial", "architecture", "PSNR-Y", "gain", "ms"], 1),
        (60, ["trial", "architecture", "PSNR-Y", "ms"], 2),
        (44, ["trial", "architecture", "PSNR-Y", "ms"], 5),
    ],
)
def test_a_front_is_laid_out_for_the_width(width, headings, lines):
    said = printed(board_table(board(), width=width), width)
    assert max(map(len, said)) <= width
    [heads] = [line for line in said if "PSNR-Y ┃" in line]
    assert [head.strip() for head in heads.strip("┃").split("┃") if head.strip()] == headings
    # No column of width 0, and no row of many lines.
    assert all(len(cell) > 2 for cell in heads.strip("┃").split("┃"))
    rows = [line for line in said if line.startswith("│")]
    numbers = [place for place, line in enumerate(rows) if line.startswith("│ *")]
    assert len(numbers) == 6
    assert max(b - a for a, b in zip(numbers, [*numbers[1:], len(rows)], strict=True)) <= lines
    left = " ".join(" ".join(said).split())
    assert ("Left out at" in left) == (width < 100)


def test_what_is_left_out_is_said_by_its_heading():
    said = " ".join(" ".join(printed(board_table(board(), width=80), 80)).split())
    assert "Left out at 80 columns: P(front), params K; --csv and --json have all." in said


def test_a_pipe_gets_what_a_terminal_of_100_columns_gets(run, ws, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    code, out, err = run("leaderboard", "--workspace", "ws")
    assert code == 0, err
    assert "params K" in out
    monkeypatch.setenv("COLUMNS", "60")
    narrow = run("leaderboard", "--workspace", "ws")[1]
    assert max(map(len, narrow.splitlines())) <= 60
    assert "params K ┃" not in narrow


@pytest.mark.parametrize("columns", ["80", "60"])
def test_no_table_has_an_empty_column(run, ws, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    for words in (("studies",), ("pick", "--latency-ms", 1), ("leaderboard", "compare", 0, 1)):
        code, out, err = run(*words, "--workspace", "ws")
        assert code == 0, err
        heads = [line for line in out.splitlines() if line.startswith("┏")]
        assert heads
        assert all(len(cell) > 2 for line in heads for cell in line.strip("┏┓").split("┳"))


def overlapping(boxes):
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


@pytest.mark.parametrize("spread", [0.0, 0.002, 0.02, 1.0])
def test_labels_of_a_figure_never_overlap(spread):
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.5 + spread * (i - 10) / 25, 0.5 + spread * ((7 * i) % 20 - 10) / 25) for i in range(20)]
    labels = [Label(f"design-{i}", x, y, "black") for i, (x, y) in enumerate(points)]
    figure.draw_without_rendering()
    placed = place_labels(axes, labels, points)
    boxes = [text.get_window_extent() for text in placed]
    assert overlapping(boxes) == []
    inside = axes.get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
    # What there is room for is there, the most important first.
    assert placed[0].get_text() == "design-0"
    assert len(placed) == 20 if spread == 1 else 0 < len(placed) <= 20


def test_a_label_covers_no_point(tmp_path, monkeypatch):
    from srnas.leaderboard.show import figure as module

    placed = []

    def kept(axes, labels, points):
        placed.extend(place_labels(axes, labels, points))
        placed.append(axes.transData.transform(points))

    monkeypatch.setattr(module, "place_labels", kept)
    # "EDSR-like" stood over "#17": two members at nearly one place.
    near = [made(i, 30 + 0.001 * i, 1.5 + 0.001 * i, "conv", design="EDSR-like" if i == 3 else "") for i in range(4)]
    write_png(rank_records(study(), [*near, made(9, 33.0, 20.0, "conv", "dw")]), tmp_path / "front.png")
    *texts, points = placed
    boxes = [text.get_window_extent() for text in texts]
    assert overlapping(boxes) == []
    assert {"EDSR-like", "#9"} <= {text.get_text() for text in texts}
    assert not [box for box in boxes for x, y in points if box.contains(x, y)]
