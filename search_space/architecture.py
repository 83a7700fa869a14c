"""The genotype: a frozen, validated value in canonical form, with its JSON, its key and a short human form."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from srnas.search_space.choice import NONE, Choice
from srnas.search_space.errors import InputError, parse
from srnas.search_space.position import Position
from srnas.search_space.registry import REGISTRY

SCHEMA = 1
SCALES = (2, 3, 4)
IMAGE_CHANNELS = 3

End = Literal["none", "conv", "lkat"]
GlobalSkip = Literal["bilinear", "nearest", "carriers", "none"]
InputRange = Literal[1, 255]
MeanShift = Literal["none", "div2k"]

_KEY_LENGTH = 12


class Architecture(BaseModel):
    """A super-resolution network as a value. Equal networks are equal values with one key.

    The network is: stem (3x3 convolution), the positions, the end of the body (none, a 3x3 convolution, or MAN's LKAT),
    the long skip from the stem's output, the tail, and the global skip from the upsampled input. With the global skip
    ``carriers`` the stem has three more channels, which carry the picture past the body into the tail (PlainUSR).

    Every network takes and gives RGB in 0 to 1. ``input_range`` is the range in which its layers work, and
    ``mean_shift`` the mean of a data set that is subtracted before the stem and added after the tail.

    Raises:
        InputError: Through :meth:`from_dict` and :meth:`from_json`, if anything is unknown or violates a constraint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: int
    channels: int = Field(ge=1)
    positions: tuple[Position, ...] = ()
    end: End = "none"
    long_skip: bool = False
    tail: Choice = Choice(name="pixelshuffle")
    global_skip: GlobalSkip = "bilinear"
    input_range: InputRange = 1
    mean_shift: MeanShift = "none"

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: int) -> int:
        check_scale(scale)
        return scale

    @field_validator("tail")
    @classmethod
    def _resolve_tail(cls, tail: Choice) -> Choice:
        return tail.resolved(REGISTRY.tail(tail.name).Config)

    @model_validator(mode="after")
    def _canonical(self) -> Self:
        """Drop identity positions, and bring the others into their canonical form."""
        kept = tuple(position.at(self.channels) for position in self.positions if not position.is_identity)
        object.__setattr__(self, "positions", kept)
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain data with the schema number; fields at their defaults are left out."""
        return {"schema": SCHEMA, **self.model_dump(mode="json", exclude_defaults=True)}

    def to_json(self) -> str:
        """Return the canonical JSON: sorted keys, no white space."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @property
    def sources(self) -> dict[str, str]:
        """Hashes of the sources of the blocks of a user's own in it, by name."""
        names = {c.name for position in self.positions for c in position.choices} | {self.tail.name}
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
    def min_size(self) -> int:
        """The least height and width of an input, in low-resolution pixels."""
        return max((c.constraint.min_size for position in self.positions for c in position.choices), default=1)

    @property
    def tile_invariant(self) -> bool:
        """Whether upscaling in overlapping tiles gives what upscaling the whole image gives."""
        blocks = (c.block.tile_invariant(c.config) for position in self.positions for c in position.choices)
        return all(blocks) and REGISTRY.tail(self.tail.name).info.tile_invariant

    def __str__(self) -> str:
        runs = [(text, len(list(same))) for text, same in itertools.groupby(map(str, self.positions))]
        body = "|".join(text if length == 1 else f"{length}({text})" for text, length in runs)
        text = f"x{self.scale}-c{self.channels}[{body}]"
        if self.end != "none":
            text += f"-{self.end}"
        if self.long_skip:
            text += "-longskip"
        if self.tail != Choice(name="pixelshuffle"):
            text += f"-{self.tail}"
        if self.global_skip != "bilinear":
            text += f"-skip:{self.global_skip}"
        if self.input_range != 1:
            text += f"-range:{self.input_range}"
        return text if self.mean_shift == NONE else f"{text}-mean:{self.mean_shift}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def check_scale(scale: int) -> None:
    """Raise ``InputError`` unless ``scale`` is supported."""
    if scale not in SCALES:
        raise InputError(f"scale must be one of {', '.join(map(str, SCALES))}, but got scale={scale}.")


def check_skip(global_skip: GlobalSkip, tail: Choice) -> None:
    """Raise ``InputError`` unless the tail can do what the global skip asks of it."""
    if global_skip == "carriers" and not REGISTRY.tail(tail.name).carries:
        carrying = [info.name for info in REGISTRY.infos("tail") if REGISTRY.tail(info.name).carries]
        raise InputError(
            f"global_skip 'carriers' needs a tail that carries the picture, but got tail='{tail.name}'; "
            f"use {' or '.join(carrying)}."
        )
