"""The options that define a study, each with its name, type, default, help and validity.

The stored settings and the request of a search extend them; the command line and the Python call are made from them.
Nothing heavy is imported here, so that ``srnas --help`` answers at once.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

RUNGS = ("halving", "none")

Panel = Literal["Study", "Strategy", "Training", "Timing", "Budgets", "Workers"]


def option(default: Any, description: str, panel: Panel, *, flag: str = "", variable: str = "", **valid: Any) -> Any:
    """Return a field that is an option as well.

    Args:
        default: Value of the field unless one is given.
        description: A sentence for ``--help``.
        panel: Where ``--help`` shows it.
        flag: The name as an option, where it is not that of the field.
        variable: An environment variable that it is read from on the command line.
        **valid: What must hold, as of :func:`pydantic.Field`.
    """
    shown: dict[str, JsonValue] = {"panel": panel, "flag": flag, "variable": variable}
    return Field(default=default, description=description, json_schema_extra=shown, validate_default=False, **valid)


class Budgets(BaseModel):
    """Upper limits that a candidate must meet before it is trained; ``None`` is no limit.

    Sizes are those of the deploy form at the study's latency input; latency is that of the fastest round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_latency_ms: float | None = option(
        None,
        "Skip candidates whose fastest round takes more milliseconds than this.",
        "Budgets",
        gt=0,
        allow_inf_nan=False,
    )
    max_params_k: float | None = option(
        None, "Skip candidates with more parameters than this, in thousands.", "Budgets", gt=0, allow_inf_nan=False
    )
    max_macs_g: float | None = option(
        None, "Skip candidates with more MACs than this, in billions.", "Budgets", gt=0, allow_inf_nan=False
    )

    def exceeded(
        self, *, fastest_ms: float | None = None, params_k: float | None = None, macs_g: float | None = None
    ) -> str:
        """Return in words which limits are exceeded by what is known of a candidate."""
        from srnas.leaderboard.rank.budget import meets

        known = (
            ("fastest_ms", fastest_ms, self.max_latency_ms),
            ("params_k", params_k, self.max_params_k),
            ("macs_g", macs_g, self.max_macs_g),
        )
        over = [
            f"{name}={value:.4g} > {limit:g}"
            for name, value, limit in known
            if value is not None and limit is not None and not meets(value, limit)
        ]
        return ", ".join(over)


def _check_sampler(name: str) -> str:
    from srnas.nas.strategy.samplers import check_sampler

    check_sampler(name)
    return name


def _check_rungs(name: str) -> str:
    from srnas.search_space import unknown_name

    if name not in RUNGS:
        raise unknown_name("rule of rungs", name, RUNGS)
    return name


class StudyOptions(BaseModel):
    """The options that all trials of a study share, as a user gives them and as they are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: int = option(2, "Upscaling factor: 2, 3 or 4.", "Study")
    sampler: Annotated[str, AfterValidator(_check_sampler)] = option(
        "front", "Sampler that proposes candidates: front, tpe, nsga2, gp or random.", "Strategy"
    )
    rungs: Annotated[str, AfterValidator(_check_rungs)] = option(
        "halving", "Early stopping: halving stops weak candidates, none trains all of them to the end.", "Strategy"
    )
    seed: int = option(0, "Random seed of proposals, weights and patches.", "Strategy", ge=0, le=2**32 - 1)
    timed_on: str = option(
        "",
        "Device to time on: cpu, cuda[:N], or a name from 'srnas target list' [default: --device].",
        "Timing",
        flag="target",
    )
    runtime: str = option(
        "eager",
        "Runtime to time: eager, compile, cudagraph, onnxruntime, openvino, ncnn or executorch.",
        "Timing",
    )
    dtype: str = option("float32", "Data type to time: float32, bfloat16, float16 or int8.", "Timing")
    memory_format: str = option("nchw", "Memory format to time: nchw or channels_last.", "Timing")
    threads: int = option(1, "CPU threads to time with; beside another --target a training has one thread.", "Timing")
    budgets: Budgets = Budgets()
    max_train_s: float | None = option(
        None,
        "Stop a candidate whose training steps take more seconds than this.",
        "Training",
        gt=0,
        allow_inf_nan=False,
    )
