"""Paired ratios and verdicts, and two real networks in fresh processes."""

import random
from dataclasses import replace

import pytest
import torch

from srnas.profiling import CPU_PROTOCOL, Target
from srnas.profiling.compare import Ratio, Side, combine, compare, paired_ratio
from srnas.search_space import Architecture, InputError

FAST = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.05, burst_ms=1.0, max_time_s=0.0)


def chain(depth):
    return Architecture.from_dict({"scale": 2, "channels": 12, "positions": [{"trunk": "conv"}] * depth})


def test_verdicts():
    assert Ratio(1.1, 1.05, 1.2).verdict == "slower"
    assert Ratio(0.9, 0.8, 0.95).verdict == "faster"
    assert Ratio(1.1, 0.99, 1.2).verdict == "tie"


def test_one_process_that_disagrees_makes_a_tie():
    overall = combine([Ratio(1.1, 1.05, 1.15), Ratio(1.2, 1.1, 1.3), Ratio(0.99, 0.97, 1.01)])
    assert overall == Ratio(1.1, 0.97, 1.3)
    assert overall.verdict == "tie"


def test_the_ratio_is_paired():
    """What both sides of a round share cancels: a swing of 50 % leaves an interval of 1 %."""
    rng = random.Random(0)
    load = [rng.uniform(1.0, 1.5) for _ in range(40)]
    first = [3.0 * factor for factor in load]
    second = [3.09 * factor * rng.lognormvariate(0, 0.01) for factor in load]
    ratio = paired_ratio(first, second, range(40))
    assert ratio.low <= 1.03 <= ratio.high
    assert ratio.high - ratio.low < 0.02
    assert ratio.verdict == "slower"


def test_discarded_rounds_do_not_count():
    assert paired_ratio([1.0] * 8, [9.0, *[2.0] * 7], range(1, 8)) == Ratio(2.0, 2.0, 2.0)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_pools")
def test_a_deeper_network_is_slower_in_every_process():
    done = []
    shape = (1, 3, 32, 32)
    # So much deeper that no other work on the machine makes up for it.
    found = compare(
        Side(chain(1), Target(), shape), Side(chain(40), Target(), shape), processes=2, protocol=FAST,
        on_process=done.append,
    )  # fmt: skip
    assert done == [1, 2]
    assert found.overall.verdict == "slower"
    assert all(ratio.low > 1 for ratio in found.processes)
    assert all(first.median_ms < second.median_ms for first, second in found.latencies)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_pools")
def test_an_error_in_a_process_is_an_error_here():
    shape = (1, 3, 8, 8)
    with pytest.raises(InputError, match="must be on one device, but got cpu, cuda:0"):
        compare(Side(chain(1), Target(), shape), Side(chain(1), Target(torch.device("cuda:0")), shape), processes=1)
