"""The rule of the NTIRE challenge on efficient super-resolution: what is scored, by what weights, and the ranks.

``Score_x = exp(2 x / x_baseline)`` for runtime, FLOPs and parameters; the final score is their weighted sum, and the
lowest wins.

Reference: Ren et al., "The Ninth NTIRE 2024 Efficient Super-Resolution Challenge Report", CVPRW 2024; "The Tenth NTIRE
2025 ...", CVPRW 2025; "The Eleventh NTIRE 2026 ...", https://arxiv.org/abs/2604.03198. Weights and figures of the
baselines are those of the organisers' repositories, https://github.com/Amazingren/NTIRE2026_ESR and those of 2024 and
2025 beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from srnas.search_space import InputError

# What the challenge counts FLOPs and takes runtime of.
SCALE = 4
SIDE = 256
# What an entry of 2024 to 2026 must reach in RGB, in dB. source: "PSNR Threshold and Ranking Eligibility" there.
MIN_PSNR_VALID_DB = 26.90
MIN_PSNR_TEST_DB = 26.99
# Photographs of DIV2K_LSDIR_valid: 100 of each. source: "The Validation datasets" there.
NUM_VALID_IMAGES = 200

# A score beyond is larger than a float holds.
_MAX_RATIO = 350.0


@dataclass(frozen=True)
class Figures:
    """What is scored of a network.

    Attributes:
        runtime_ms: Runtime of one image in milliseconds.
        flops_g: Billions of FLOPs as the challenge says: one multiply-accumulate is one.
        params_m: Millions of parameters.

    Raises:
        InputError: If one of them is not a positive number.
    """

    runtime_ms: float
    flops_g: float
    params_m: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} > 0 must hold for what is scored, but got {name}={value}.")


@dataclass(frozen=True)
class Rule:
    """A year's weights, and its baseline as the organisers measured it.

    Attributes:
        year: Year of the challenge.
        runtime: Weight of the runtime's score.
        flops: Weight of the FLOPs' score.
        params: Weight of the parameters' score.
        baseline: Name of the network that all are divided by.
        figures: Figures of the baseline, on ``gpu`` and at 256x256.
        gpu: What the organisers measure on.
    """

    year: int
    runtime: float
    flops: float
    params: float
    baseline: str
    figures: Figures
    gpu: str


RULES: Mapping[int, Rule] = MappingProxyType(
    {
        2024: Rule(2024, 0.7, 0.15, 0.15, "RLFN", Figures(13.54, 19.70, 0.317), "NVIDIA GeForce RTX 3090"),
        2025: Rule(2025, 0.7, 0.15, 0.15, "EFDN", Figures(16.69, 16.70, 0.276), "NVIDIA RTX A6000"),
        2026: Rule(2026, 0.8, 0.1, 0.1, "SPAN", Figures(5.59, 9.83, 0.151), "NVIDIA RTX A6000"),
    }
)


# The published networks that the years' challenges compare with; those of 2022 and 2023 ranked by other rules.
BASELINES: Mapping[int, str] = MappingProxyType(
    {2022: "rfdn", 2023: "rfdn", 2024: "rlfn_prune", 2025: "efdn", 2026: "span_c28"}
)


def find_rule(year: int) -> Rule:
    """Return the rule of a year.

    Raises:
        InputError: If it is not known.
    """
    if year not in RULES:
        raise InputError(f"year must be one of {', '.join(map(str, RULES))}, but got year={year}.")
    return RULES[year]


@dataclass(frozen=True)
class Score:
    """The three scores of a network and their weighted sum; the baseline has ``exp(2) = 7.389`` in all of them."""

    runtime: float
    flops: float
    params: float
    final: float


def score(rule: Rule, figures: Figures, baseline: Figures) -> Score:
    """Return the scores of a network.

    Raises:
        InputError: If it is so far above the baseline that its score is no number.
    """
    runtime, flops, params = (
        _score(name, value, getattr(baseline, name)) for name, value in vars(figures).items()
    )  # fmt: skip
    final = rule.runtime * runtime + rule.flops * flops + rule.params * params
    return Score(runtime, flops, params, final)


def _score(name: str, value: float, baseline: float) -> float:
    if value / baseline > _MAX_RATIO:
        raise InputError(
            f"{name} must be at most {_MAX_RATIO:g} times that of the baseline, but got {value:.4g} beside "
            f"{baseline:.4g}; name a larger baseline."
        )
    return math.exp(2 * value / baseline)


def ranks(finals: Sequence[float | None]) -> list[int | None]:
    """Return the rank of each final score, the lowest first; equal ones share a rank, and ``None`` has none."""
    ranked = sorted(final for final in finals if final is not None)
    return [None if final is None else ranked.index(final) + 1 for final in finals]
