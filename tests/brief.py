"""Latency that is measured as always, but for a shorter time; also in processes that tests start."""

from dataclasses import replace

# What a program is preceded by.
CODE = "import brief; brief.shorten(setattr); "


def shorten(change):
    """Shorten by a function like ``setattr``."""
    from srnas.nas.run import exhibits
    from srnas.profiling import latency, roofline

    brief = {"warmup_min_s": 0.0, "warmup_cap_s": 0.01, "burst_ms": 0.1, "max_time_s": 0.0}
    change(latency, "CPU_PROTOCOL", replace(latency.CPU_PROTOCOL, **brief))
    change(exhibits, "_ROUNDS", 3)
    change(roofline, "_TIME_S", 0.0)
    change(roofline, "_MATRIX_SIDES", (32, 64))
    change(roofline, "_BEYOND_CACHE", 1)
