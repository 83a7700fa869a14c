"""What figures share: a canvas and axes without a display, and logarithmic scales."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Return a figure of this size in inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def open_axes(axes: "Axes") -> None:
    """Leave only what is read: two spines, and a light grid behind what is drawn."""
    axes.grid(alpha=0.25, which="both")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def new_axes(number: int = 1, size: tuple[float, float] = (9, 5.6)) -> "tuple[Figure, list[Axes]]":
    """Return a figure and its open axes.

    Args:
        number: Of axes beside each other, which share the ordinate.
        size: Width and height in inches.
    """
    figure = new_figure(*size)
    every = list(figure.subplots(1, number, sharey=True, squeeze=False)[0])
    for axes in every:
        open_axes(axes)
    return figure, every


def log_scale(axes: "Axes", which: str) -> None:
    """Make axes logarithmic, with ticks at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name in which:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
