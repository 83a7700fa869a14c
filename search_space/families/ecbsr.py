"""ECBSR: plain chains of edge-oriented convolutions; m blocks of c channels.

Reference: Zhang et al., "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices", ACM MM 2021
(https://doi.org/10.1145/3474085.3475291). The published networks (``_y``) enlarge the luma alone. Those without ``_y``
are the same on RGB. The picture that is added, each colour repeated for its sub-pixels, is its nearest enlargement.
"""

from collections.abc import Callable

from srnas.search_space.architecture import Architecture, Colours
from srnas.search_space.blocks.ecb import PAPER
from srnas.search_space.choice import Choice
from srnas.search_space.families.base import PublishedNetwork, choice, of_block, of_trunks
from srnas.search_space.position import Position

_FORMS: tuple[tuple[str, Colours], ...] = (("_y", "y"), ("", "rgb"))
# Blocks and channels.
_SIZES = ((4, 8), (4, 16), (10, 16), (10, 32), (16, 64))


def _ecbsr(depth: int, channels: int, colours: Colours) -> Callable[[int], Architecture]:
    def architecture(scale: int) -> Architecture:
        return Architecture(
            scale=scale,
            channels=channels,
            stem=Choice(name="ecb"),
            positions=(Position(trunk=Choice(name="ecb"), residual=False),) * depth,
            tail=choice("pixelshuffle", convolution="ecb"),
            global_skip="nearest",
            input_range=255,
            colours=colours,
        )

    return architecture


def _names(architecture: Architecture) -> dict[str, str]:
    last = len(architecture.positions) + 1
    names = of_block("backbone.0.", "stem.", "ecb") | of_block(f"backbone.{last}.", "tail.last.", "ecb")
    return names | of_trunks(architecture, lambda depth: f"backbone.{depth + 1}.")


NETWORKS = tuple(
    PublishedNetwork(f"ecbsr_m{depth}c{channels}{suffix}", PAPER, _ecbsr(depth, channels, colours), _names, 427)
    for depth, channels in _SIZES
    for suffix, colours in _FORMS
)
