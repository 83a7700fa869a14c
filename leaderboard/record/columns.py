"""The columns of a trial's row: what each holds, how it is shown, and its name in MLflow.

Tables in the terminal, Markdown, the page, comparisons, and what is written to MLflow and read back follow this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column, by the name of a field of :class:`~srnas.leaderboard.record.row.TrialRow` or of what a board adds.

    Attributes:
        key: Name of the field, with its unit last.
        help: What it is, in words.
        unit: Unit of a number in words; nothing where it has none.
        heading: What stands above it in a table; nothing keeps it out of tables. ``{dtype}`` stands for the data type
            that is timed.
        digits: Digits behind the point that are shown; 0 of a whole number; ``None`` of a text.
        sign: ``+`` shows the sign of positive numbers too.
        wide: Whether a table leaves it out in a narrow terminal.
        doubt: Whether it tells how sure a front is: added once a study has ended, and no column where no row has it.
        compared: Whether it is shown where trials stand beside each other.
        on_page: Whether the page reads it.
        tag: Name of the MLflow tag that holds it.
        metric: Name of the MLflow metric that holds it; ``{validation}`` stands for the name of the held-out set.
    """

    key: str
    help: str
    unit: str = ""
    heading: str = ""
    digits: int | None = None
    sign: str = ""
    wide: bool = False
    doubt: bool = False
    compared: bool = False
    on_page: bool = False
    tag: str = ""
    metric: str = ""

    @property
    def label(self) -> str:
        """What it is, with its unit."""
        return f"{self.help}, {self.unit}" if self.unit else self.help

    def shown(self, value: object) -> str:
        """Return a number as a table shows it, or nothing where there is none."""
        # What is not a number differs from itself.
        is_number = isinstance(value, (int, float)) and value == value
        return f"{value:{self.sign}.{self.digits}f}" if is_number else ""


def _text(key: str, help: str, *, tag: str = "", on_page: bool = True) -> Column:
    return Column(key, help, on_page=on_page, tag=tag)


def _doubt(
    key: str, help: str, unit: str, heading: str, digits: int, *, sign: str = "", wide: bool = True, page: bool = False
) -> Column:
    return Column(
        key, help, unit, heading, digits, sign, wide, doubt=True, compared=page, on_page=page, metric=key
    )  # fmt: skip


def _count(key: str, help: str, unit: str) -> Column:
    """Return a number that is kept, and in no table."""
    return Column(key, help, unit, digits=3, metric=key)


COLUMNS = (
    _text("task", "upscaling task"),
    _text("study", "name of the study", tag="srnas.study"),
    Column("trial", "number of the trial in its study", digits=0, on_page=True, tag="srnas.trial"),
    _text("state", "how the trial ended", tag="srnas.state"),
    _text("reason", "why it was not finished, or has no rank", tag="srnas.error"),
    _text("key", "hash of the architecture", tag="srnas.key"),
    _text("architecture", "short form of the architecture", tag="srnas.architecture"),
    _text("design", "name of the human design", tag="srnas.design"),
    _text("validation", "name of the held-out set", tag="srnas.validation", on_page=False),
    _text("latency_flags", "what disturbed the measurement", tag="srnas.latency_flags"),
    _text("protocol", "hash of all that the quality depends on", tag="srnas.protocol", on_page=False),
    Column(
        "psnr_y_db", "PSNR-Y on the held-out photographs", "dB", "PSNR-Y", 2,
        compared=True, on_page=True, metric="psnr_y_db.{validation}",
    ),
    Column(
        "timed_psnr_y_db", "PSNR-Y in the data type that is timed", "dB", "PSNR {dtype}", 2,
        compared=True, on_page=True, metric="timed_psnr_y_db.{validation}",
    ),
    Column("ranked_db", "PSNR-Y that is ranked, mean over trainings", "dB", digits=2),
    Column("gain_db", "PSNR-Y that is ranked less bicubic's", "dB", "gain", 2, "+", compared=True),
    _doubt("psnr_mean_db", "mean PSNR-Y over seeds", "dB", "mean", 2, wide=False, page=True),
    _doubt("psnr_se_db", "standard error of PSNR-Y over seeds", "dB", "s.e.", 3, wide=False, page=True),
    _doubt("num_seeds", "trainings with different seeds", "", "seeds", 0),
    _doubt("front_probability", "probability of being on the front", "", "P(front)", 2, wide=False, page=True),
    _doubt("step_db", "PSNR-Y over the next faster member of the front", "dB", "step", 3, sign="+"),
    _doubt("step_se_db", "standard error of that step", "dB", "± s.e.", 3),
    _doubt("step_is_tie", "whether that step is a tie, 1 or 0", "", "", 0),
    Column(
        "ssim_y", "SSIM-Y on the held-out photographs", "", "SSIM-Y", 4,
        wide=True, compared=True, on_page=True, metric="ssim_y.{validation}",
    ),
    Column(
        "latency_fastest_ms", "latency, fastest round", "ms", "ms", 2,
        compared=True, on_page=True, metric="latency_fastest_ms",
    ),
    Column(
        "latency_median_ms", "latency, median over rounds", "ms", "median", 2,
        wide=True, compared=True, on_page=True, metric="latency_median_ms",
    ),
    Column(
        "latency_median_low_ms", "lower end of the median's 95 % interval", "ms", "low", 2,
        wide=True, on_page=True, metric="latency_median_low_ms",
    ),
    Column(
        "latency_median_high_ms", "upper end of the median's 95 % interval", "ms", "high", 2,
        wide=True, on_page=True, metric="latency_median_high_ms",
    ),
    _count("latency_reference_ratio", "fastest round over that of the reference convolution", ""),
    Column(
        "params_k", "parameters in deploy form", "thousands", "params K", 1,
        compared=True, on_page=True, metric="params_k",
    ),
    Column(
        "macs_g", "multiply-accumulates", "billions", "MACs G", 3,
        wide=True, compared=True, on_page=True, metric="macs_g",
    ),
    _count("fvcore_macs_g", "multiply-accumulates as fvcore counts them", "billions"),
    _count("ptflops_macs_g", "multiply-accumulates as ptflops counts them", "billions"),
    _count("other_ops_m", "operations that are no multiply-accumulates", "millions"),
    Column(
        "activations_m", "elements of all convolution outputs", "millions", digits=2,
        compared=True, on_page=True, metric="activations_m",
    ),
    _count("bytes_moved_g", "bytes read and written if nothing is fused", "billions"),
    Column(
        "peak_memory_mib", "peak memory of a forward pass", "MiB", digits=1,
        compared=True, on_page=True, metric="peak_memory_mib",
    ),
    _count("max_abs_difference", "largest difference of an output value to eager float32", ""),
    Column(
        "timed_together_ms", "Unix time of the run that timed the front together", "ms", digits=0,
        metric="timed_together_ms",
    ),
    Column("train_s", "time spent in training steps", "s", digits=1, compared=True, on_page=True, metric="train_s"),
    Column("started_ms", "Unix time of its start", "ms", digits=0),
    Column("ended_ms", "Unix time of its end", "ms", digits=0),
    _text("run_id", "id of its MLflow run"),
)  # fmt: skip
SHOWN = tuple(column for column in COLUMNS if column.heading)
COMPARED = tuple(column for column in COLUMNS if column.compared)
DOUBT = tuple(column.key for column in COLUMNS if column.doubt)
PAGE_KEYS = tuple(column.key for column in COLUMNS if column.on_page)
