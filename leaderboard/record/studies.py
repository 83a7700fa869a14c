"""The record of a study: what its trials share."""

from typing import Any

from pydantic import model_validator

from srnas.leaderboard.record.base import Record
from srnas.leaderboard.record.before import STUDY_FIELDS, in_names_of_now
from srnas.profiling import DeviceProfile


class StudyRecord(Record):
    """A study as its trials need it.

    Attributes:
        name: The study's name.
        scale: The upscaling factor of its networks.
        config: All settings, by dotted name.
        validation: Name of the held-out set.
        bicubic_psnr_y_db: PSNR-Y of bicubic upscaling on the held-out set, in dB.
        bicubic_ssim_y: SSIM-Y of bicubic upscaling on the held-out set.
        device: The device profile of every latency.
        reference_psnr_y_db: PSNR-Y of the hypervolume's reference point in dB: bicubic's.
        reference_fastest_ms: Fastest round of the reference point in milliseconds: the budget, or the slowest human
            design's.
        goes_on_from: Name of the study whose best networks these are, trained for longer.
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
    reference_fastest_ms: float
    goes_on_from: str = ""
    retimed_from: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, data: Any) -> Any:
        return in_names_of_now(data, STUDY_FIELDS)

    @property
    def task(self) -> str:
        """The upscaling task, such as ``x2``."""
        return f"x{self.scale}"

    @property
    def ranks_timed(self) -> bool:
        """Whether its front ranks networks as they are timed, since in that data type they give something else."""
        return self.device.dtype != "float32"

    @property
    def ranked_by(self) -> str:
        """The column of the PSNR that its front ranks."""
        return "timed_psnr_y_db" if self.ranks_timed else "psnr_y_db"

    @property
    def psnr_said(self) -> str:
        """What the PSNR is called that its front ranks."""
        return f"PSNR-Y ({self.device.dtype})" if self.ranks_timed else "PSNR-Y"

    @property
    def timed_input(self) -> str:
        """The input that is timed, as WxH in low-resolution pixels; nothing where that is not recorded."""
        height, width = self.config.get("latency_input", (0, 0))
        return f"{width}x{height}" if height else ""

    @property
    def profile_said(self) -> str:
        """What its latencies belong to: the device profile, and the input that is timed."""
        return f"{self.device}, input {self.timed_input}" if self.timed_input else str(self.device)

    @property
    def iterations(self) -> int:
        """Training steps of each of its networks."""
        return int(self.config["training.iterations"])

    @property
    def experiment(self) -> str:
        """The MLflow experiment that holds the study."""
        return f"sr-{self.task}/search"
