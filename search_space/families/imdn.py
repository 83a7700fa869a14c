"""IMDN and IMDN-RTC: chains of information multi-distillation.

Reference: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation Network", ACM MM 2019
(https://arxiv.org/abs/1909.11856).
"""

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.imdb import PAPER
from srnas.search_space.choice import Choice
from srnas.search_space.families.base import PublishedNetwork, of_trunks
from srnas.search_space.position import Position

# Official files were written by a network that was wrapped for several GPUs.
_WRAPPER = "module."


def _imdn_rtc(scale: int) -> Architecture:
    return Architecture(
        scale=scale,
        channels=12,
        positions=(Position(trunk=Choice(name="imdb_speed")),) * 5,
        end="point",
        long_skip=True,
        global_skip="none",
    )


def _imdn_rtc_names(architecture: Architecture) -> dict[str, str]:
    end = f"model.1.sub.{len(architecture.positions)}"
    names = {"model.0": "stem", end: "end", "model.2": "tail.last"}
    return names | of_trunks(architecture, lambda depth: f"model.1.sub.{depth}.")


def _imdn(scale: int) -> Architecture:
    return Architecture(
        scale=scale,
        channels=64,
        positions=(Position(trunk=Choice(name="imdb")),) * 6,
        end="conv",
        long_skip=True,
        gather="positions",
        global_skip="none",
    )


def _imdn_names(architecture: Architecture) -> dict[str, str]:
    names = {"fea_conv": "stem", "c.0": "gather.reduce", "LR_conv": "end", "upsampler.0": "tail.last"}
    names |= of_trunks(architecture, lambda depth: f"IMDB{depth + 1}.")
    return names | {f"{_WRAPPER}{official}": ours for official, ours in names.items()}


NETWORKS = (
    PublishedNetwork("imdn_rtc", PAPER, _imdn_rtc, _imdn_rtc_names, x3_width=427),
    PublishedNetwork("imdn", PAPER, _imdn, _imdn_names, x3_width=427),
)
