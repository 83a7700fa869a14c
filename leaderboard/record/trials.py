"""Records of the trials of a study, and of their trainings with other seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from srnas.leaderboard.record.base import Record, StoredArchitecture
from srnas.leaderboard.record.before import LATENCY_FIELDS, in_names_of_now
from srnas.profiling import Counts, Latency, ModuleCounts, Reconciliation

State = Literal["complete", "stopped", "over_budget", "diverged", "out_of_memory", "timed_out", "failed"]


def _of_before(value: Any) -> Any:
    return in_names_of_now(value, LATENCY_FIELDS)


StoredLatency = Annotated[Latency, BeforeValidator(_of_before)]


class Rung(Record):
    """PSNR-Y on the held-out set in dB, after a number of iterations."""

    iteration: int
    psnr_y_db: float


class Quality(Record):
    """Per-image scores on the held-out set, and their means.

    Attributes:
        images: Names of the photographs.
        psnr_y_db: PSNR-Y of each in dB; infinite where the photograph is reproduced without an error.
        ssim_y: SSIM-Y of each.
        mean_psnr_y_db: Mean over the photographs that count.
        mean_ssim_y: Mean over the same.
        left_out: Names of the photographs that count in no mean: flat ones, which every network reproduces nearly, and
            those of an infinite PSNR, unless no other remains.
    """

    images: tuple[str, ...]
    psnr_y_db: tuple[float, ...]
    ssim_y: tuple[float, ...]
    mean_psnr_y_db: float
    mean_ssim_y: float
    left_out: tuple[str, ...] = ()

    @property
    def counted_psnr_y_db(self) -> list[float]:
        """PSNR-Y of each photograph in dB; not a number where it counts in no mean."""
        scores = zip(self.images, self.psnr_y_db, strict=True)
        return [math.nan if name in self.left_out or math.isinf(psnr) else psnr for name, psnr in scores]

    @classmethod
    def mean_of(cls, qualities: Sequence[Self]) -> Self:
        """Return the mean of scores on the same photographs; what counts in no mean of one counts in none."""
        left_out = {name for one in qualities for name in one.left_out}
        return cls(
            images=qualities[0].images,
            psnr_y_db=tuple(map(statistics.fmean, zip(*(one.psnr_y_db for one in qualities), strict=True))),
            ssim_y=tuple(map(statistics.fmean, zip(*(one.ssim_y for one in qualities), strict=True))),
            mean_psnr_y_db=statistics.fmean(one.mean_psnr_y_db for one in qualities),
            mean_ssim_y=statistics.fmean(one.mean_ssim_y for one in qualities),
            left_out=tuple(name for name in qualities[0].images if name in left_out),
        )


class Sizes(Record):
    """Sizes of the deploy form at ``input_shape``; see the counters for the definitions."""

    input_shape: tuple[int, int, int, int]
    params: int
    macs: int
    other_ops: int
    activations: int
    bytes_moved: int | None = None
    fvcore_macs: int | None = None
    ptflops_macs: int | None = None

    @classmethod
    def from_counts(cls, counts: Counts, counted: Reconciliation | None = None) -> "Sizes":
        """Return the sizes of a count, with the published counters' where they ran."""
        return cls(
            input_shape=counts.input_shape,
            params=counts.params,
            macs=counts.macs,
            other_ops=counts.other_ops,
            activations=counts.activations,
            bytes_moved=counts.bytes_moved,
            fvcore_macs=counted.fvcore_macs if counted else None,
            ptflops_macs=counted.ptflops_macs if counted else None,
        )


class TrialRecord(Record):
    """One candidate: what it is, how large and fast it is, how well it does, or why it was not finished.

    Attributes:
        study: Name of the study.
        number: The trial's number in the study.
        state: How it ended.
        reason: Why, in words, unless it is complete.
        architecture: The candidate.
        design: Name of the human design, if it is one.
        protocol: Hash of everything that the quality depends on.
        validation: Name of the held-out set.
        sizes: Parameters, MACs, activations, once they are counted.
        sizes_by_block: The same by block of each position, and of stem, end, tail and skip.
        latency: The measured distribution, once there is one.
        peak_memory_mib: Peak memory of a forward pass in MiB beyond what was resident, where it is known.
        max_abs_difference: Largest difference of an output value in the runtime to eager float32, where it is finite.
        preflight: State of device and machine before the measurement.
        timed_together_ms: Unix time in milliseconds of the run in which the front was timed together, if the latency
            comes from that; ``None`` of a network that was timed by itself.
        rungs: PSNR-Y during training.
        quality: Scores on the held-out set, once it is trained.
        timed_quality: The same of the network as it is timed, in another data type than float32, where it is near the
            front of its study.
        timed_reason: Why there are none of these, where they were looked for.
        train_s: Seconds spent in training steps.
        spared: Whether a rung would have stopped it, and it went on to measure how often that is wrong.
        halved_batch: Whether memory sufficed only for half of a batch at a time.
        predictions: What was expected of it before it was trained, by predictor.
        reused: Whether the quality comes from an earlier study with the same protocol.
        started_ms: Unix time of its start in milliseconds.
        ended_ms: Unix time of its end in milliseconds.
        host: Name of the machine where it ran.
        pid: Number of the process that judged it, or 0.
    """

    study: str
    number: int
    state: State
    reason: str = ""
    architecture: StoredArchitecture
    design: str = ""
    protocol: str
    validation: str
    sizes: Sizes | None = None
    sizes_by_block: dict[str, ModuleCounts] = Field(default_factory=dict)
    latency: StoredLatency | None = None
    peak_memory_mib: float | None = None
    max_abs_difference: float | None = None
    preflight: dict[str, Any] = Field(default_factory=dict)
    timed_together_ms: int | None = None
    rungs: tuple[Rung, ...] = ()
    quality: Quality | None = None
    timed_quality: Quality | None = None
    timed_reason: str = ""
    train_s: float = 0.0
    spared: bool = False
    halved_batch: bool = False
    predictions: dict[str, float] = Field(default_factory=dict)
    reused: bool = False
    started_ms: int
    ended_ms: int
    host: str = ""
    pid: int = Field(default=0, ge=0)

    @property
    def point(self) -> tuple[float, float] | None:
        """``(PSNR-Y in dB, fastest round in ms)`` of a complete trial, with the PSNR that it was trained to."""
        if self.state != "complete" or self.quality is None or self.latency is None:
            return None
        return self.quality.mean_psnr_y_db, self.latency.fastest_ms


class Replicate(Record):
    """A trained network of a trial, trained again with another seed.

    Attributes:
        number: Number of the trial in its study.
        seed: Seed of initialisation and patches.
        quality: Scores of the network on the held-out set.
        timed_quality: The same in the data type that is timed, where that is not float32.
        train_s: Seconds spent in training steps.
    """

    number: int
    seed: int
    quality: Quality
    timed_quality: Quality | None = None
    train_s: float
