"""The file of a search space: a TOML table of choices."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from srnas.search_space.architecture import CONV, Colours, End, GlobalSkip, InputRange, MeanShift, resolve_stem
from srnas.search_space.choice import EVERY_BLOCK, NONE, Choice
from srnas.search_space.errors import InputError, parse, unknown_name
from srnas.search_space.gather import Gather
from srnas.search_space.position import Order
from srnas.search_space.registry import REGISTRY

# Choices that came later than the others. Where a space makes none of them it is what it was before there were any:
# its text, its draws and its mutations.
LATER_HOST_GENES = ("stem", "gather", "colours")
_BLOCK_GENES = ("stem", "trunk", "attention", "tail")


class SpaceDefaults(BaseModel):
    """How candidates of a space are judged unless the command line says otherwise.

    ``latency_output``: height and width of the output whose low-resolution input is timed; ``patch``: side of a
    training patch in low-resolution pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_output: tuple[int, int] = (256, 256)
    patch: int = Field(default=32, ge=1)
    batch: int = Field(default=16, ge=1)
    iterations: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)


class SpaceFile(BaseModel):
    """The content of a space's TOML file; every list is a set of choices.

    ``"*"`` among trunks or attention blocks stands for every placeable one with its default options. Where both hold
    ``"none"``, a network may have fewer than ``positions``. ``active`` holds fractions of the channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    positions: int = Field(ge=0, le=99)
    stem: tuple[Choice, ...] = Field(default=(Choice(name=CONV),), min_length=1)
    trunk: tuple[Choice, ...] = Field(default=(Choice(name=NONE),), min_length=1)
    attention: tuple[Choice, ...] = Field(default=(Choice(name=NONE),), min_length=1)
    order: tuple[Order, ...] = Field(default=("after",), min_length=1)
    residual: tuple[bool, ...] = Field(default=(True,), min_length=1)
    active: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    end: tuple[End, ...] = Field(default=("none",), min_length=1)
    long_skip: tuple[bool, ...] = Field(default=(False,), min_length=1)
    gather: tuple[Gather, ...] = Field(default=(NONE,), min_length=1)
    tail: tuple[Choice, ...] = Field(default=(Choice(name="pixelshuffle"),), min_length=1)
    global_skip: tuple[GlobalSkip, ...] = Field(default=("bilinear",), min_length=1)
    input_range: tuple[InputRange, ...] = Field(default=(1,), min_length=1)
    mean_shift: tuple[MeanShift, ...] = Field(default=("none",), min_length=1)
    colours: tuple[Colours, ...] = Field(default=("rgb",), min_length=1)
    defaults: SpaceDefaults = SpaceDefaults()

    def canonical_json(self) -> str:
        """Return the content as text that tells it from others, as before there were later choices if it makes none."""
        defaults = {gene for gene in LATER_HOST_GENES if getattr(self, gene) == type(self).model_fields[gene].default}
        return self.model_dump_json(exclude=defaults)

    @field_validator("*")
    @classmethod
    def _name_each_once(cls, choices: Any, info: Any) -> Any:
        # What is chosen of blocks has no hash before its options are checked.
        is_plain = isinstance(choices, tuple) and info.field_name not in _BLOCK_GENES
        return tuple(dict.fromkeys(choices)) if is_plain else choices

    @field_validator("trunk", "attention")
    @classmethod
    def _resolve(cls, choices: tuple[Choice, ...], info: Any) -> tuple[Choice, ...]:
        found: dict[Choice, None] = {}
        for choice in choices:
            if choice.name == EVERY_BLOCK:
                found |= dict.fromkeys(Choice(name=b.name) for b in REGISTRY.infos(info.field_name) if b.placeable)
            elif choice.name == NONE:
                found[choice] = None
            else:
                found[choice.resolved(REGISTRY.block(choice.name, info.field_name).Config)] = None
        return tuple(found)

    @field_validator("stem")
    @classmethod
    def _resolve_stem(cls, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        return tuple(dict.fromkeys(map(resolve_stem, choices)))

    @field_validator("tail")
    @classmethod
    def _resolve_tail(cls, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        return tuple(dict.fromkeys(c.resolved(REGISTRY.tail(c.name).Config) for c in choices))

    @field_validator("active")
    @classmethod
    def _check_active(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < fraction <= 1 for fraction in fractions):
            raise InputError(f"0 < active <= 1 must hold for every fraction of the channels, but got {fractions}.")
        return fractions


def read_space(name: str) -> tuple[str, SpaceFile]:
    """Return title and content of a shipped space, or of a TOML file.

    Raises:
        InputError: If there is no such space, or the file holds anything unknown or invalid.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"a space file must exist, but got '{name}'.")
        text, title = _read(path), path.stem
    elif name in space_names():
        text, title = (files(__package__) / "spaces" / f"{name}.toml").read_text(encoding="utf-8"), name
    else:
        raise unknown_name("space", name, [*space_names(), "PATH.toml"])
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"space file '{name}' must be TOML, but: {error}") from None
    return title, parse(SpaceFile, data, f"space '{name}'")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"space file '{path}' must be readable text in UTF-8, but: {error}") from None


def space_names() -> list[str]:
    """Return the names of the shipped spaces."""
    folder = files(__package__) / "spaces"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))
