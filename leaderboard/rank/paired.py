"""Means over photographs with their intervals; the difference in PSNR of two networks, and when it is a tie."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scipy.stats import t as student

from srnas.search_space import InputError

Verdict = Literal["better", "worse", "tie", "undecided"]

_LEVEL = 0.95
# Half the 95 % interval of close networks on the embedded held-out photographs after a short schedule is 0.04 dB.
# source: docs/measurements.md, "The held-out photographs".
TIE_DB = 0.05


class MeanInterval(NamedTuple):
    """The mean of values that were drawn at random.

    Attributes:
        mean: The mean.
        se: Its standard error; ``None`` of one value.
        low: Lower end of its 95 % interval by Student's t; minus infinity of one value.
        high: Upper end of that interval.
    """

    mean: float
    se: float | None
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return the mean of one or more values with its interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return MeanInterval(mean, None, -math.inf, math.inf)
    error = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(student.ppf((1 + _LEVEL) / 2, len(values) - 1)) * error
    return MeanInterval(mean, error, mean - reach, mean + reach)


@dataclass(frozen=True)
class PairedDifference:
    """A difference in PSNR-Y, paired by photograph.

    The interval is over photographs. It does not include that another training would give other weights.

    Attributes:
        mean_db: By how many dB the first is better, mean over photographs.
        se_db: Standard error of the mean over photographs in dB; ``None`` of one photograph or none.
        low_db: Lower end in dB of the 95 % interval by Student's t; minus infinity of one photograph or none.
        high_db: Upper end of that interval in dB.
    """

    mean_db: float
    se_db: float | None
    low_db: float
    high_db: float

    @property
    def verdict(self) -> Verdict:
        """The verdict on the first network.

        It is ``better`` or ``worse`` if the interval does not hold 0. Otherwise the two are not told apart: a ``tie``
        if the mean is small too (at most 0.05 dB either way), else ``undecided``, since a wide interval is no proof
        that two networks are equal.
        """
        if self.low_db > 0:
            return "better"
        if self.high_db < 0:
            return "worse"
        return "tie" if abs(self.mean_db) <= TIE_DB else "undecided"


def paired_difference(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    """Return ``a - b``, image by image; an image that is not finite in both counts for nothing.

    Where none counts, the difference is 0 and its interval without bounds.

    Raises:
        InputError: If there is no image, or not the same number.
    """
    if len(a) != len(b) or not a:
        raise InputError(f"a and b must hold the same one or more images, but got {len(a)} and {len(b)}.")
    differences = [x - y for x, y in zip(a, b, strict=True) if math.isfinite(x) and math.isfinite(y)]
    return PairedDifference(*mean_interval(differences or [0.0]))
