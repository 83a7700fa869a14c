"""Pixels in the colours that photographs mean: profiles converted to sRGB, bit depth and alpha."""

import io
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms

# The colours of a profile are those of sRGB if no colour of a grid of them differs by more levels.
_SAME = 2
_STEPS = 9
# An image of these modes has no colours that a profile of RGB could be about.
_GRAY = ("1", "L", "LA", "La")
_LAB = "LAB"


@cache
def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB, the same bytes each time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # The time at which it was made.
    profile[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    return bytes(profile)


def profile_of(path: Path) -> bytes | None:
    """Return the profile that the RGB numbers of a photograph are in, if its file says so."""
    with PillowImage.open(path) as opened:
        profile = opened.info.get("icc_profile")
        return profile if isinstance(profile, bytes) and opened.mode in ("RGB", "RGBA", "P", "PA") else None


def to_srgb(image: PillowImage.Image, *, raw: bool = False) -> tuple[PillowImage.Image, str]:
    """Return an image in sRGB, and a note on its colours, or an empty text.

    Args:
        image: An image of any mode; transparency is kept.
        raw: Whether its numbers are kept, whatever its profile says.
    """
    profile = image.info.get("icc_profile")
    if profile and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == _LAB:
        return _convert(image, ImageCms.createProfile("LAB")), "LAB, converted to sRGB"
    if not profile:
        return image, ""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(given).strip() or "without a name"
        if image.mode != "CMYK" and _is_srgb(given, gray=image.mode in _GRAY):
            return image, ""
        if raw:
            return image, f"used as they are, ignoring their colour profile ({name})"
        return _convert(image, given), f"converted to sRGB from their colour profile ({name})"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, "with a colour profile that cannot be used, taken for sRGB"


def _is_srgb(profile: ImageCms.ImageCmsProfile, *, gray: bool) -> bool:
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, _STEPS, 3)
    colours = PillowImage.fromarray(levels[None] if gray else grid)
    there = np.asarray(_convert(colours, profile).convert("RGB")).astype(int)
    return bool(np.abs(there - np.asarray(colours.convert("RGB"))).max() <= _SAME)


def _convert(image: PillowImage.Image, profile: Any) -> PillowImage.Image:
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    mode = "L" if image.mode in _GRAY else image.mode if image.mode in ("CMYK", _LAB) else "RGB"
    srgb = ImageCms.createProfile("sRGB")
    # Each gray value becomes one gray: a ramp gives the table.
    if mode == "L":
        ramp = PillowImage.fromarray(np.arange(256, dtype=np.uint8)[None])
        table = ImageCms.profileToProfile(ramp, profile, srgb, outputMode="RGB")
        assert table is not None
        converted = image.convert("L").point(np.asarray(table)[0, :, 1].tolist())
    else:
        found = ImageCms.profileToProfile(image.convert(mode), profile, srgb, outputMode="RGB")
        assert found is not None
        converted = found
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def to_8_bit(image: PillowImage.Image) -> PillowImage.Image:
    """Return an image of 16-bit values in 8 bits.

    Raises:
        ValueError: If its values are others.
    """
    values = np.asarray(image).astype(np.float64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"values must lie in 0 to 65535, but they span {values.min():g} to {values.max():g}")
    # 65535 / 257 is 255: both ends of the range are kept.
    return PillowImage.fromarray(np.floor(values / 257 + 0.5).astype(np.uint8))


def flatten(image: PillowImage.Image) -> tuple[PillowImage.Image, bool]:
    """Return an image with alpha laid on black, and whether any of it is transparent."""
    with_alpha = image.convert("RGBA")
    transparent = bool(np.asarray(with_alpha.getchannel("A")).min() < 255)
    black = PillowImage.new("RGBA", image.size, (0, 0, 0, 255))
    return PillowImage.alpha_composite(black, with_alpha).convert("RGB"), transparent
