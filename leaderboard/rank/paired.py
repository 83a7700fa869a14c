"""The difference in PSNR of two networks, paired by photograph, and when it is a tie."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import t as student

from srnas.search_space import InputError

Verdict = Literal["better", "worse", "tie", "undecided"]

LEVEL = 0.95
# Half the 95 % interval of close networks on the embedded held-out photographs after a short schedule is 0.04 dB.
# source: docs/measurements.md, "The held-out photographs".
TIE_DB = 0.05


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
    mean = statistics.fmean(differences or [0.0])
    if len(differences) < 2:
        return PairedDifference(mean, None, -math.inf, math.inf)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    reach = float(student.ppf((1 + LEVEL) / 2, len(differences) - 1)) * error
    return PairedDifference(mean, error, mean - reach, mean + reach)
