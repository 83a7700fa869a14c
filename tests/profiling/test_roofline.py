"""Bounds by hand, and the roofline of this machine."""

import pytest
from torch import nn

from srnas.profiling import Roofline, Target, count, measure_roofline


def test_the_bound_is_the_slower_of_arithmetic_and_memory():
    counts = count(nn.Conv2d(8, 8, 3, padding=1, bias=False), (1, 8, 16, 16))
    pixels = 16 * 16
    assert counts.macs == 8 * 8 * 9 * pixels
    # Input, output and weights.
    assert counts.bytes_moved == 4 * (2 * 8 * pixels + 8 * 8 * 9)
    assert counts.operators == 1
    arithmetic = Roofline(macs_per_s=1e9, bytes_per_s={2**30: 1e15})
    assert arithmetic.bound_ms(counts) == pytest.approx(counts.macs / 1e6)
    memory = Roofline(macs_per_s=1e15, bytes_per_s={2**30: 1e9})
    assert memory.bound_ms(counts) == pytest.approx(counts.bytes_moved / 1e6)


def test_the_cache_that_holds_the_data_decides():
    roofline = Roofline(macs_per_s=1.0, bytes_per_s={1000: 30.0, 2000: 20.0, 3000: 10.0})
    assert [roofline.bandwidth(size) for size in (1, 1000, 1001, 3000, 10**9)] == [30.0, 30.0, 20.0, 10.0, 10.0]


def test_this_machine():
    roofline = measure_roofline(Target())
    # No processor of today is below a billion per second, and none above a petaFLOP with one thread.
    assert 1e9 < roofline.macs_per_s < 1e15
    assert all(1e8 < rate < 1e14 for rate in roofline.bytes_per_s.values())
    assert measure_roofline(Target(dtype="int8")) is None
