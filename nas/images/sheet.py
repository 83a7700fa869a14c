"""A sheet that compares bicubic upscaling, a network's output and the photograph side by side, with the error map."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from srnas.nas.images.assessment import ImageScores
from srnas.nas.images.imresize import imresize
from srnas.nas.images.metrics import Image, luma
from srnas.nas.images.pairs import Pair

# Error of Y at which the colours of the error map end.
ERROR_RANGE = 32
# Sides of a panel: a larger photograph is cut, a smaller one enlarged by a whole factor.
LARGEST, _SMALLEST = 512, 400
_MARGIN, _GAP, _TITLE, _CAPTION, _BAR = 24, 16, 52, 44, 14
_INK, _DIM, _MARK, _PAPER = "#1c2430", "#5f6b76", "#d1495b", "white"


def draw_sheet(
    pair: Pair, sr: Image, scale: int, label: str, scores: ImageScores, largest: int = LARGEST
) -> PillowImage.Image:
    """Return the sheet of one photograph.

    Args:
        pair: The photograph.
        sr: The network's 8-bit output.
        scale: Upscaling factor.
        label: What the network is called.
        scores: Scores of the whole photograph.
        largest: Side of a panel in pixels of the photograph: a larger photograph is cut.
    """
    bicubic = imresize(pair.lr, scale).astype(np.uint8, copy=False)
    error = np.abs(luma(sr, pair.gray) - luma(pair.hr, pair.gray))
    top, left, height, width = _most_telling(np.abs(luma(bicubic, pair.gray) - luma(pair.hr, pair.gray)), largest)
    images = (bicubic, sr, pair.hr, _coloured(error))
    panels = [_enlarged(image[top : top + height, left : left + width]) for image in images]
    captions = [
        ("bicubic", f"{scores.bicubic_psnr_y_db:.2f} dB, SSIM {scores.bicubic_ssim_y:.4f}"),
        (label, f"{scores.psnr_y_db:.2f} dB ({scores.gain_db:+.2f}), SSIM {scores.ssim_y:.4f}"),
        ("HR", "the photograph"),
        (f"|{label} - HR|", "error of Y in levels of 255"),
    ]
    cut = (height, width) != pair.hr.shape[:2]
    if cut:
        panels.append(_overview(pair.hr, (left, top, left + width, top + height), panels[0].height))
        captions.append(("whole", f"{pair.hr.shape[1]}x{pair.hr.shape[0]}, the frame is shown"))
    said = f"{pair.name}   x{scale}   PSNR and SSIM of Y" + (", of the whole photograph" if cut else "")
    return _arranged(panels, captions, said)


def _most_telling(error: NDArray[np.float64], largest: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the window in which bicubic upscaling errs most."""
    height, width = (min(side, largest) for side in error.shape)
    # A table of sums from the corner on gives the error of every possible cut at once.
    summed = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = summed[height:, width:] - summed[:-height, width:] - summed[height:, :-width] + summed[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left), height, width


def _coloured(error: NDArray[np.float64]) -> Image:
    from matplotlib import colormaps

    coloured: Image = colormaps["inferno"](np.clip(error / ERROR_RANGE, 0, 1), bytes=True)[..., :3]
    return coloured


def _enlarged(image: Image) -> PillowImage.Image:
    factor = max(1, -(-_SMALLEST // max(image.shape[:2])))
    panel = PillowImage.fromarray(np.ascontiguousarray(image))
    return panel.resize((panel.width * factor, panel.height * factor), PillowImage.Resampling.NEAREST)


def _overview(image: Image, box: tuple[int, int, int, int], height: int) -> PillowImage.Image:
    """Return the whole photograph within the panel's size, with the cut framed."""
    panel = PillowImage.fromarray(image)
    factor = min(height / panel.height, LARGEST / panel.width)
    panel = panel.resize((max(1, round(panel.width * factor)), max(1, round(panel.height * factor))))
    frame = [round(edge * factor) for edge in box]
    frame[2:] = [min(edge, side) - 1 for edge, side in zip(frame[2:], panel.size, strict=True)]
    ImageDraw.Draw(panel).rectangle(frame, outline=_MARK, width=3)
    return panel


def _arranged(panels: list[PillowImage.Image], captions: list[tuple[str, str]], said: str) -> PillowImage.Image:
    texts = [max(_font(17, True).getlength(name), _font(15).getlength(text)) for name, text in captions]
    widths = [max(panel.width, int(text) + 1) for panel, text in zip(panels, texts, strict=True)]
    width = max(sum(widths) + _GAP * (len(panels) - 1), int(_font(20, True).getlength(said)) + 1) + 2 * _MARGIN
    tallest = max(panel.height for panel in panels)
    sheet = PillowImage.new("RGB", (width, _TITLE + tallest + _CAPTION + _BAR + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 4), said, _INK, _font(20, True))
    lefts = [_MARGIN + sum(widths[:i]) + _GAP * i for i in range(len(panels))]
    for left, panel, (name, text) in zip(lefts, panels, captions, strict=True):
        sheet.paste(panel, (left, _TITLE))
        draw.text((left, _TITLE + tallest + 8), name, _INK, _font(17, True))
        draw.text((left, _TITLE + tallest + 32), text, _DIM, _font(15))
    _draw_bar(sheet, lefts[3], _TITLE + tallest + 60, panels[3].width)
    return sheet


def _draw_bar(sheet: PillowImage.Image, left: int, top: int, width: int) -> None:
    """Draw the scale of the error map, its ends labelled."""
    draw, font = ImageDraw.Draw(sheet), _font(13)
    start, end = "0", f"{ERROR_RANGE}+"
    first, last = (int(font.getlength(text)) + 8 for text in (start, end))
    length = max(1, width - first - last)
    ramp = np.linspace(0, ERROR_RANGE, length)[None].repeat(_BAR, 0)
    sheet.paste(PillowImage.fromarray(_coloured(ramp)), (left + first, top))
    for x, text in ((left, start), (left + first + length + 8, end)):
        draw.text((x, top - 2), text, _DIM, font)


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font that comes with matplotlib."""
    import matplotlib

    # The fonts of matplotlib are there wherever this package is.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
