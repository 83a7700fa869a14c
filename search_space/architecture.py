"""The architecture: a frozen, validated value in canonical form, with its JSON, its key and a short text form."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from srnas.search_space.choice import NONE, Choice
from srnas.search_space.errors import InputError, parse, unknown_name
from srnas.search_space.gather import BODY, INNER, PICTURE, POSITIONS, Gather, sources
from srnas.search_space.position import Position
from srnas.search_space.registry import REGISTRY, BlockConfig

SCHEMA = 1
SCALES = (2, 3, 4)
IMAGE_CHANNELS = 3

End = Literal["none", "conv", "point", "conv3xc", "lkat"]
GlobalSkip = Literal["bilinear", "nearest", "carriers", "none"]
InputRange = Literal[1, 255]
MeanShift = Literal["none", "div2k", "div2k_in"]
Colours = Literal["rgb", "y"]

# The stem that is a 3x3 convolution.
CONV = "conv"

_KEY_LENGTH = 12


class Architecture(BaseModel):
    """A super-resolution network as a value. Equal networks are equal values with one key.

    The network is: stem (a 3x3 convolution, or a trunk that can be one), the positions, the end of the body (none, a
    3x3 or 1x1 convolution, SPAN's Conv3XC, or MAN's LKAT), the long skip from the stem's output, what is gathered from
    several depths (:mod:`~srnas.search_space.gather`), the tail, and the global skip from the upsampled input. With
    the global skip ``carriers`` the stem has three more channels, which carry the picture past the body into the tail
    (PlainUSR).

    Every network takes and gives RGB in 0 to 1. ``input_range`` is the range in which its layers work, and
    ``mean_shift`` the mean of a data set that is subtracted before the stem and added after the tail; with ``div2k_in``
    neither the mean nor the range is undone after the tail (SPAN). With the colours ``y`` the layers enlarge the luma
    alone, and the chroma is enlarged bilinearly.

    Raises:
        InputError: Through :meth:`from_dict` and :meth:`from_json`, if anything is unknown or violates a constraint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: int
    channels: int = Field(ge=1)
    stem: Choice = Choice(name=CONV)
    positions: tuple[Position, ...] = ()
    end: End = "none"
    long_skip: bool = False
    gather: Gather = NONE
    tail: Choice = Choice(name="pixelshuffle")
    global_skip: GlobalSkip = "bilinear"
    input_range: InputRange = 1
    mean_shift: MeanShift = "none"
    colours: Colours = "rgb"

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: int) -> int:
        check_scale(scale)
        return scale

    @field_validator("stem")
    @classmethod
    def _resolve_stem(cls, stem: Choice) -> Choice:
        return resolve_stem(stem)

    @field_validator("tail")
    @classmethod
    def _resolve_tail(cls, tail: Choice) -> Choice:
        return tail.resolved(REGISTRY.tail(tail.name).Config)

    @model_validator(mode="after")
    def _canonical(self) -> Self:
        """Drop identity positions, and bring the others into their canonical form."""
        kept = tuple(position.at(self.channels) for position in self.positions if not position.is_identity)
        object.__setattr__(self, "positions", kept)
        object.__setattr__(self, "stem", stem_at(self.stem, self.channels))
        check_skip(self.global_skip, self.tail)
        return self

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Architecture":
        """Return the architecture that :meth:`to_dict` wrote."""
        fields = dict(data)
        schema = fields.pop("schema", SCHEMA)
        if schema != SCHEMA:
            raise InputError(f"schema must be {SCHEMA}, but got schema={schema!r}; update srnas.")
        return parse(cls, fields, "architecture")

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """Return the architecture that :meth:`to_json` wrote."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"an architecture must be JSON, but {error}.") from None
        if not isinstance(data, dict):
            raise InputError(f"an architecture must be a JSON object, but got {type(data).__name__}.")
        return cls.from_dict(data)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return an architecture with other values in some fields, checked as a new one and with a key of its own.

        A deep copy is no other: all values are immutable.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **(update or {})})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data with the schema number; fields at their defaults are left out."""
        return {"schema": SCHEMA, **self.model_dump(mode="json", exclude_defaults=True)}

    def to_json(self) -> str:
        """Return the canonical JSON: sorted keys, no white space."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @property
    def sources(self) -> dict[str, str]:
        """Hashes of the sources of the blocks of a user's own in it, by name."""
        names = {choice.name for choice in (*self.choices, self.tail)}
        return {name: REGISTRY.sources[name] for name in sorted(names) if name in REGISTRY.sources}

    @cached_property
    def key(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the canonical JSON, and of the sources of one's own blocks.

        With another source it is another network.
        """
        return _hash(self.to_json() + (json.dumps(self.sources) if self.sources else ""))

    @property
    def key_of_before(self) -> str:
        """The key that earlier versions gave, which did not know the sources."""
        return _hash(self.to_json())

    @property
    def num_colours(self) -> int:
        """The number of channels that the stem takes: 3, or 1 of luma."""
        return IMAGE_CHANNELS if self.colours == "rgb" else 1

    @property
    def carriers(self) -> int:
        """The number of channels of the stem that carry the picture past the body."""
        return self.num_colours if self.global_skip == "carriers" else 0

    @property
    def restores(self) -> bool:
        """Whether range and mean of the input are given back to the output."""
        return self.mean_shift != "div2k_in"

    @property
    def gathered_channels(self) -> int:
        """The number of channels that are gathered, before they are reduced."""
        return sum(self._channels_of(part) for part in sources(self.gather))

    def _channels_of(self, part: str) -> int:
        if part == PICTURE:
            return self.num_colours * self.scale**2
        if part == POSITIONS:
            return self.channels * max(1, len(self.positions))
        if part != INNER or not self.positions:
            return self.channels
        return self.positions[-1].inner_channels(self.channels)

    @property
    def tail_channels(self) -> int:
        """The number of channels that the tail takes."""
        return self.gathered_channels if self.tail_gathers else self.channels + self.carriers

    @property
    def tail_gathers(self) -> bool:
        """Whether the tail takes what is gathered as it is."""
        return self.gathers_after_end and REGISTRY.tail(self.tail.name).gathers(self.tail_config)

    @property
    def gathers_after_end(self) -> bool:
        """Whether something is gathered after the end of the body."""
        return BODY in sources(self.gather)

    @property
    def tail_config(self) -> BlockConfig:
        """The options of the tail, with defaults."""
        return REGISTRY.tail(self.tail.name).Config(**dict(self.tail.options))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The blocks of stem and positions, in the order in which they run."""
        stem = () if self.stem.name == CONV else (self.stem,)
        return (*stem, *(choice for position in self.positions for choice in position.choices))

    @property
    def min_size(self) -> int:
        """The least height and width of an input, in low-resolution pixels."""
        return max((choice.constraint.min_size for choice in self.choices), default=1)

    @property
    def tile_invariant(self) -> bool:
        """Whether upscaling in overlapping tiles gives what upscaling the whole image gives."""
        blocks = (choice.block.tile_invariant(choice.config) for choice in self.choices)
        return all(blocks) and REGISTRY.tail(self.tail.name).info.tile_invariant

    def __str__(self) -> str:
        runs = [(text, len(list(same))) for text, same in itertools.groupby(map(str, self.positions))]
        body = "|".join(text if length == 1 else f"{length}({text})" for text, length in runs)
        text = f"x{self.scale}-c{self.channels}[{body}]"
        if self.stem.name != CONV:
            text += f"-stem:{self.stem}"
        if self.end != "none":
            text += f"-{self.end}"
        if self.long_skip:
            text += "-longskip"
        if self.gather != NONE:
            text += f"-gather:{self.gather}"
        if self.tail != Choice(name="pixelshuffle"):
            text += f"-{self.tail}"
        if self.global_skip != "bilinear":
            text += f"-skip:{self.global_skip}"
        if self.input_range != 1:
            text += f"-range:{self.input_range}"
        if self.mean_shift != NONE:
            text += f"-mean:{self.mean_shift}"
        return text if self.colours == "rgb" else f"{text}-{self.colours}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def check_scale(scale: int) -> None:
    """Raise ``InputError`` unless ``scale`` is supported."""
    if scale not in SCALES:
        raise InputError(f"scale must be one of {', '.join(map(str, SCALES))}, but got scale={scale}.")


def resolve_stem(stem: Choice) -> Choice:
    """Return the canonical form of a stem.

    Raises:
        InputError: If it is neither the convolution nor a trunk that can be a stem.
    """
    if stem.name == CONV:
        if stem.options:
            raise InputError(f"the stem '{CONV}' takes no options, but got {', '.join(k for k, _ in stem.options)}.")
        return stem
    stems = [info.name for info in REGISTRY.infos("trunk") if REGISTRY.block(info.name).widens]
    if stem.name not in stems:
        raise unknown_name("stem", stem.name, [CONV, *stems])
    return stem.resolved(stem.block.Config).as_stem()


def stem_at(stem: Choice, channels: int) -> Choice:
    """Return the stem that stands for all which build the same one of ``channels``.

    Raises:
        InputError: If it cannot be built.
    """
    if stem.name == CONV:
        return stem
    stem.constraint.check_channels(stem.name, channels)
    return stem.at(channels)


def check_skip(global_skip: GlobalSkip, tail: Choice) -> None:
    """Raise ``InputError`` unless the tail can do what the global skip asks of it."""
    cls = REGISTRY.tail(tail.name)
    if global_skip == "carriers" and not cls.carries(cls.Config(**dict(tail.options))):
        tails = (REGISTRY.tail(info.name) for info in REGISTRY.infos("tail"))
        carrying = [able.info.name for able in tails if able.carries(able.Config())]
        raise InputError(
            f"global_skip 'carriers' needs a tail that carries the picture, but got tail='{tail}'; "
            f"use {' or '.join(carrying)}."
        )
