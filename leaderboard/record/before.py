"""Names that earlier versions wrote, from before fastest and median latency had different names.

Then a bare latency was the median, and the fastest round was called stable.
"""

from collections.abc import Mapping
from typing import Any

# Each table gives the name of now by the one of before.
LATENCY_FIELDS = {
    "latency_ms": "median_ms",
    "stable_ms": "fastest_ms",
    "device_ms": "device_median_ms",
    "cold_ms": "cold_median_ms",
    "cold_stable_ms": "cold_fastest_ms",
}
STUDY_FIELDS = {"reference_latency_ms": "reference_fastest_ms"}
PLACE_FIELDS = {"latency_ms": "fastest_ms"}
METRICS = {
    "latency_ms": "latency_median_ms",
    "latency_ms.low": "latency_median_low_ms",
    "latency_ms.high": "latency_median_high_ms",
    "latency_stable_ms": "latency_fastest_ms",
}


def in_names_of_now(data: Any, names: Mapping[str, str]) -> Any:
    """Return fields under their present names; without old names they are returned unchanged."""
    if not isinstance(data, Mapping) or not data.keys() & names.keys():
        return data
    return {names.get(name, name): value for name, value in data.items()}
