"""SPAN and its descendants of NTIRE 2025 and 2026.

Reference: Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2311.12770). The paper's SPAN has 52 channels and its SPAN-S 48; 28 and 26 channels are those of
NTIRE 2024. Of SPAN-F and SPANV2 the deploy form alone was published: they are trained as they are.
"""

from collections.abc import Callable

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.conv3xc import PAPER
from srnas.search_space.blocks.spabv2 import PAPER as SPANV2_PAPER
from srnas.search_space.choice import Choice
from srnas.search_space.families.base import PublishedNetwork, choice, of_block, of_trunks
from srnas.search_space.position import Position

_SPANF_PAPER = "Ren et al., NTIRE 2025 report (SPAN-F), CVPRW 2025, https://github.com/Amazingren/NTIRE2025_ESR"
_WIDTHS = (26, 28, 48, 52)


def _span(channels: int) -> Callable[[int], Architecture]:
    def architecture(scale: int) -> Architecture:
        return Architecture(
            scale=scale,
            channels=channels,
            stem=Choice(name="conv3xc"),
            positions=(Position(trunk=Choice(name="spab"), residual=False),) * 6,
            end="conv3xc",
            gather="stem+body+first+inner",
            global_skip="none",
            input_range=255,
            mean_shift="div2k_in",
        )

    return architecture


def _span_names(architecture: Architecture) -> dict[str, str]:
    names = {"conv_cat": "gather.reduce", "upsampler.0": "tail.last"}
    names |= of_block("conv_1.", "stem.", "conv3xc") | of_block("conv_2.", "end.", "conv3xc")
    return names | of_trunks(architecture, lambda depth: f"block_{depth + 1}.")


def _spanf(scale: int) -> Architecture:
    block = choice("spab", convolution="conv")
    return Architecture(
        scale=scale,
        channels=32,
        stem=block,
        positions=(Position(trunk=block, residual=False),) * 4,
        gather="picture+body+stem",
        global_skip="none",
    )


def _spanf_names(architecture: Architecture) -> dict[str, str]:
    names = {"conv_near": "picture", "conv_cat": "gather.reduce", "conv_2.eval_conv": "tail.last"}
    names |= of_block("block_1.", "stem.", "spab")
    return names | of_trunks(architecture, lambda depth: f"block_{depth + 2}.")


def _spanv2(scale: int) -> Architecture:
    return Architecture(
        scale=scale,
        channels=32,
        stem=Choice(name="spabv2"),
        positions=(Position(trunk=Choice(name="spabv2")),) * 4,
        gather="picture+body",
        tail=choice("pixelshuffle", convolution="separable"),
        global_skip="none",
    )


def _spanv2_names(architecture: Architecture) -> dict[str, str]:
    names = {"conv_near": "picture", "depthwise_conv": "tail.last.0", "pointwise_conv": "tail.last.1"}
    names |= of_block("block_1.", "stem.", "spabv2")
    return names | of_trunks(architecture, lambda depth: f"block_{depth + 2}.")


NETWORKS = (
    *(PublishedNetwork(f"span_c{width}", PAPER, _span(width), _span_names, x3_width=427) for width in _WIDTHS),
    PublishedNetwork("spanf", _SPANF_PAPER, _spanf, _spanf_names, x3_width=427),
    PublishedNetwork("spanv2", SPANV2_PAPER, _spanv2, _spanv2_names, x3_width=427),
)
