"""What defines a study: everything that its results depend on, and the hash of what its quality depends on."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from srnas.nas.training import TrainingConfig
from srnas.profiling import Target
from srnas.search_space import InputError, SearchSpace

# Raised when a change of the code changes what a network's PSNR is.
_PROTOCOL_VERSION = 1

RUNGS = ("halving", "none")
ENGINES = ("local", "ray")

_STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Budgets(BaseModel):
    """Upper limits that a candidate must meet before it is trained; ``None`` is no limit.

    Sizes are of the deploy form at the study's latency input; latency is the fastest round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_latency_ms: float | None = Field(default=None, gt=0)
    max_params_k: float | None = Field(default=None, gt=0)
    max_macs_g: float | None = Field(default=None, gt=0)

    def exceeded(self, values: Mapping[str, float]) -> str:
        """Return which limits ``values`` (``latency_ms``, ``params_k``, ``macs_g``; any part) exceed, in words."""
        limits = {name.removeprefix("max_"): limit for name, limit in self if limit is not None}
        over = [f"{n}={values[n]:.4g} > {limit:g}" for n, limit in limits.items() if values.get(n, 0) > limit]
        return ", ".join(over)


class StudySettings(BaseModel):
    """The settings that are fixed when a study starts.

    Attributes:
        name: Of the study: letters, digits, dot, dash and underscore.
        space: Name of the search space.
        space_digest: Hash of its content.
        scale: Upscaling factor.
        train: Name and fingerprint of the training photographs.
        validation: Name and fingerprint of the held-out photographs.
        sampler: Name of the sampler.
        seed: Of the sampler; the training has its own.
        device: ``cpu`` or ``cuda:N``.
        runtime: What executes the networks that are timed.
        dtype: Of the networks that are timed.
        memory_format: Of the networks that are timed.
        threads: CPU threads, for measuring and for training.
        latency_input: Height and width of the input that is timed.
        budgets: Limits on candidates.
        training: The schedule.
        rungs: ``halving`` stops weak candidates at the rungs of the schedule, ``none`` trains all to the end.
        max_train_s: A candidate that needs more seconds of training steps ends as ``timed_out``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    space: str
    space_digest: str
    scale: int
    train: str
    validation: str
    sampler: str
    seed: int
    device: str
    runtime: str = "eager"
    dtype: str = "float32"
    memory_format: str = "nchw"
    threads: int
    latency_input: tuple[int, int]
    budgets: Budgets
    training: TrainingConfig
    rungs: str = "none"
    max_train_s: float | None = Field(default=None, gt=0)

    @field_validator("rungs")
    @classmethod
    def _check_rungs(cls, rungs: str) -> str:
        if rungs not in RUNGS:
            raise InputError(f"rungs must be {' or '.join(RUNGS)}, but got '{rungs}'.")
        return rungs

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _STUDY_NAME.fullmatch(name):
            raise InputError(
                f"a study's name must be letters, digits, '.', '_' and '-' (at most 100), but got '{name}'."
            )
        return name

    def flat(self) -> dict[str, Any]:
        """Return the settings by dotted name."""
        return dict(_flatten(self.model_dump(mode="json")))

    @property
    def target(self) -> Target:
        """What the networks are timed on."""
        return Target(torch.device(self.device), self.runtime, self.dtype, self.memory_format, self.threads)

    @property
    def protocol(self) -> str:
        """Hash of everything that a candidate's quality depends on."""
        device = f"cpu-{self.threads}" if self.device == "cpu" else "cuda"
        parts = [_PROTOCOL_VERSION, self.scale, self.train, self.validation, device, self.training.model_dump()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def with_seed(self, seed: int) -> "StudySettings":
        """Return the same settings for a training from another seed."""
        return self.model_copy(update={"training": self.training.model_copy(update={"seed": seed})})

    def check_same(self, stored: "StudySettings") -> None:
        """Raise ``InputError`` that lists what differs from the settings that the study started with."""
        mine, theirs = self.flat(), stored.flat()
        differing = [f"{key}: {theirs.get(key)} -> {mine.get(key)}" for key in mine if mine.get(key) != theirs.get(key)]
        if differing:
            raise InputError(
                f"study '{self.name}' exists with other settings ({'; '.join(differing)}); "
                "give the same settings to go on, or another --study."
            )


def check_front_dtype(target: Target) -> None:
    """Raise ``InputError`` if networks have another quality on ``target`` than as they are judged."""
    if target.dtype == "int8":
        raise InputError(
            "dtype must be float32, bfloat16 or float16 for a front, but got int8: its quality is not that of the "
            "network as it was trained; time single networks by 'srnas profile network'."
        )


def _flatten(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in data.items():
        flat += _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return flat


def digest(space: SearchSpace) -> str:
    """Return a short hash of a space's choices."""
    return hashlib.sha256(space.content.model_dump_json().encode()).hexdigest()[:8]
