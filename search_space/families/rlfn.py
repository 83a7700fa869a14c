"""RLFN: chains of residual local features.

Reference: Kong et al., "Residual Local Feature Network for Efficient Super-Resolution", CVPRW 2022
(https://arxiv.org/abs/2205.07514). ``rlfn_prune`` won NTIRE 2022 and is the baseline of NTIRE 2024.
"""

from collections.abc import Callable

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.esa import PAPER
from srnas.search_space.families.base import PublishedNetwork, choice, of_trunks
from srnas.search_space.position import Position


def _rlfn(channels: int, depth: int, middle: int | None = None) -> Callable[[int], Architecture]:
    def architecture(scale: int) -> Architecture:
        return Architecture(
            scale=scale,
            channels=channels,
            positions=(Position(trunk=choice("rlfb", middle=middle), residual=False),) * depth,
            end="conv",
            long_skip=True,
            global_skip="none",
            input_range=255,
        )

    return architecture


def _names(architecture: Architecture) -> dict[str, str]:
    names = {"conv_1": "stem", "conv_2": "end", "upsampler.0": "tail.last"}
    return names | of_trunks(architecture, lambda depth: f"block_{depth + 1}.")


NETWORKS = (
    PublishedNetwork("rlfn_prune", f"{PAPER} (NTIRE 2022)", _rlfn(46, 4, 48), _names, x3_width=427),
    PublishedNetwork("rlfn_s", PAPER, _rlfn(48, 6), _names, x3_width=427),
    PublishedNetwork("rlfn", PAPER, _rlfn(52, 6), _names, x3_width=427),
)
