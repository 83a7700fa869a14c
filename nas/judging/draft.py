"""A candidate's record while it is being judged: every stage fills in its part."""

from dataclasses import dataclass, field
from typing import Any

from srnas.leaderboard.record.trials import Quality, Rung, Sizes
from srnas.profiling import Latency, MeasuredNetwork, ModuleCounts


@dataclass
class Draft:
    """The part of a :class:`TrialRecord` that judging finds out; the fields are those of the record.

    Attributes:
        predictions: What was expected of the candidate before it was trained, by predictor.
        sizes: Sizes of the candidate; ``None`` until it is counted.
        sizes_by_block: Sizes of the block of each position, and of stem, end, tail and skip.
        latency: Distribution of the latency; ``None`` until the candidate is timed.
        peak_memory_mib: Peak memory of a forward pass in MiB beyond what was resident, where it is known.
        max_abs_difference: Largest difference of an output value to eager float32, where it is finite.
        preflight: State of device and machine before the measurement.
        rungs: PSNR at the rungs that the training has reached.
        quality: Quality of each held-out photograph; ``None`` until the candidate is trained.
        train_s: Seconds spent in training steps.
        spared: Whether a rung would have stopped it, and it went on to measure how often that is wrong.
        halved_batch: Whether memory sufficed only for half of a batch at a time.
        reused: Whether the quality comes from an earlier study with the same protocol.
    """

    predictions: dict[str, float] = field(default_factory=dict)
    sizes: Sizes | None = None
    sizes_by_block: dict[str, ModuleCounts] = field(default_factory=dict)
    latency: Latency | None = None
    peak_memory_mib: float | None = None
    max_abs_difference: float | None = None
    preflight: dict[str, Any] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    quality: Quality | None = None
    train_s: float = 0.0
    spared: bool = False
    halved_batch: bool = False
    reused: bool = False

    def take(self, measured: MeasuredNetwork) -> None:
        """Take over what was measured of the candidate."""
        self.latency = measured.latency
        self.peak_memory_mib = measured.peak_memory_mib
        self.max_abs_difference = measured.max_abs_difference
        self.preflight = measured.preflight
