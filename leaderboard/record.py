"""What is recorded of a study and of each of its trials: plain, complete, JSON both ways."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from srnas.profiling import Counts, DeviceProfile, Latency, ModuleCounts, Reconciliation
from srnas.search_space import Architecture

SCHEMA = 1

# Relative difference of one set's bicubic PSNR between machines.
_SAME = 1e-6

State = Literal["complete", "stopped", "over_budget", "diverged", "out_of_memory", "timed_out", "failed"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StudyRecord(_Record):
    """A study as its trials need it.

    Attributes:
        name: The study's name.
        scale: Upscaling factor.
        config: All settings, by dotted name.
        validation: Name of the held-out set.
        bicubic_psnr_y_db: PSNR of bicubic upscaling on the held-out set.
        bicubic_ssim_y: SSIM of it.
        device: The device profile of every latency.
        reference_psnr_y_db: PSNR of the hypervolume's reference point: bicubic's.
        reference_latency_ms: Latency of it: the budget, or the slowest human design.
        retimed_from: Name of the study whose trained networks these are, timed again on another device profile.
    """

    name: str
    scale: int
    config: dict[str, Any]
    validation: str
    bicubic_psnr_y_db: float
    bicubic_ssim_y: float
    device: DeviceProfile
    reference_psnr_y_db: float
    reference_latency_ms: float
    retimed_from: str = ""

    @property
    def task(self) -> str:
        """Its upscaling, such as ``x2``."""
        return f"x{self.scale}"

    @property
    def experiment(self) -> str:
        """The MLflow experiment that holds the study."""
        return f"sr-{self.task}/search"


class Rung(_Record):
    """PSNR on the held-out set at an iteration."""

    iteration: int
    psnr_y_db: float


class Quality(_Record):
    """Per-image scores on the held-out set."""

    images: tuple[str, ...]
    psnr_y_db: tuple[float, ...]
    ssim_y: tuple[float, ...]
    mean_psnr_y_db: float
    mean_ssim_y: float


class Sizes(_Record):
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


class TrialRecord(_Record):
    """One candidate: what it is, how large and fast it is, how well it does, or why it was not finished.

    Attributes:
        study: Name of the study.
        number: The trial's number in the study.
        state: How it ended.
        reason: Why, in words, unless it is complete.
        architecture: The architecture as plain data.
        design: Name of the human design, if it is one.
        protocol: Hash of everything that the quality depends on.
        validation: Name of the held-out set.
        sizes: Once counted.
        sizes_by_block: The same by block of each position, and of stem, end, tail and skip.
        latency: Once measured.
        peak_memory_mib: Of a forward pass beyond what was resident, where it is known.
        max_abs_difference: Of an output value in the runtime to eager float32, where it is finite.
        preflight: State of device and machine before the measurement.
        rungs: PSNR during training.
        quality: Once trained.
        train_s: Seconds spent in training steps.
        spared: Whether a rung would have stopped it, and it went on to measure how often that is wrong.
        halved_batch: Whether memory sufficed only for half of a batch at a time.
        predictions: What was expected of it before it was trained, by predictor.
        reused: Whether the quality comes from an earlier study with the same protocol.
        started_ms: Unix time in milliseconds.
        ended_ms: Unix time in milliseconds.
        host: Where it ran.
        pid: In which process.
    """

    study: str
    number: int
    state: State
    reason: str = ""
    architecture: dict[str, Any]
    design: str = ""
    protocol: str
    validation: str
    sizes: Sizes | None = None
    sizes_by_block: dict[str, ModuleCounts] = Field(default_factory=dict)
    latency: Latency | None = None
    peak_memory_mib: float | None = None
    max_abs_difference: float | None = None
    preflight: dict[str, Any] = Field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    quality: Quality | None = None
    train_s: float = 0.0
    spared: bool = False
    halved_batch: bool = False
    predictions: dict[str, float] = Field(default_factory=dict)
    reused: bool = False
    started_ms: int = 0
    ended_ms: int = 0
    host: str = ""
    pid: int = Field(default=0, ge=0)

    @property
    def genotype(self) -> Architecture:
        """The architecture as a value."""
        return Architecture.from_dict(self.architecture)

    @property
    def point(self) -> tuple[float, float] | None:
        """``(PSNR in dB, latency in ms)`` of a complete trial, as the front ranks it."""
        if self.state != "complete" or self.quality is None or self.latency is None:
            return None
        return self.quality.mean_psnr_y_db, self.latency.stable_ms


class Replicate(_Record):
    """A trained network of a trial, trained again with another seed.

    Attributes:
        number: Of the trial.
        seed: Of initialisation and patches.
        quality: Of the network.
        train_s: Seconds spent in training steps.
    """

    number: int
    seed: int
    quality: Quality
    train_s: float


class FinalRecord(_Record):
    """A training of a chosen architecture on the long schedule, before it starts.

    Attributes:
        architecture: The architecture as plain data.
        protocol: Hash of everything that the weights depend on.
        config: Schedule, data, seed, precision, by name.
        bicubic: Scores of bicubic upscaling, by name of the set.
        study: Name of the newest study that judged the architecture, if one did.
        trial: Its number there.
    """

    architecture: dict[str, Any]
    protocol: str
    config: dict[str, Any]
    bicubic: dict[str, Quality]
    study: str = ""
    trial: int | None = None

    @property
    def genotype(self) -> Architecture:
        """The architecture as a value."""
        return Architecture.from_dict(self.architecture)

    @property
    def experiment(self) -> str:
        """The MLflow experiment that holds the training."""
        return f"sr-x{self.genotype.scale}/final"


class FinalResult(_Record):
    """What a training on the long schedule gave.

    Attributes:
        record: Of the training.
        quality: Of the network, by name of the validation set.
        train_s: Seconds spent in training steps.
    """

    record: FinalRecord
    quality: dict[str, Quality]
    train_s: float

    def outdone_by(self, study: StudyRecord, trial: TrialRecord) -> bool:
        """Return whether a trial scored better on photographs that this training was validated on as well."""
        return trial.quality is not None and any(
            scores.images == trial.quality.images
            and math.isclose(self.record.bicubic[name].mean_psnr_y_db, study.bicubic_psnr_y_db, rel_tol=_SAME)
            and scores.mean_psnr_y_db < trial.quality.mean_psnr_y_db
            for name, scores in self.quality.items()
        )
