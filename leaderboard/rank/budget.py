"""Whether a network meets a latency budget: one rule for the search, the leaderboard, the page and the pick.

The fastest round decides: it repeats best on a shared machine, and a search ranks by it.
"""

import math
from collections.abc import Sequence


def meets(fastest_ms: float | None, budget_ms: float) -> bool:
    """Return whether a network's fastest round is within a budget; what was not timed meets none."""
    return fastest_ms is not None and fastest_ms <= budget_ms


def within_probability(rounds_ms: Sequence[float], budget_ms: float) -> float:
    """Return how likely the fastest of as many rounds, drawn again with replacement, is within a budget.

    With j of n rounds within it that is ``1 - (1 - j / n) ** n``; not a number without rounds.
    """
    number = len(rounds_ms)
    if not number:
        return math.nan
    within = sum(round_ms <= budget_ms for round_ms in rounds_ms)
    return 1 - (1 - within / number) ** number
