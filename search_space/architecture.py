"""The genotype: a frozen, validated value in canonical form, with its JSON, its key and a short human form."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from srnas.search_space.errors import InputError, parse
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, Constraint

if TYPE_CHECKING:
    from srnas.search_space.network import Network

SCHEMA = 1
SCALES = (2, 3, 4)
NONE = "none"
EVERY_BLOCK = "*"
IMAGE_CHANNELS = 3

Order = Literal["after", "before", "around"]
End = Literal["none", "conv", "lkat"]
GlobalSkip = Literal["bilinear", "nearest", "carriers", "none"]
InputRange = Literal[1, 255]
MeanShift = Literal["none", "div2k"]

_KEY_LENGTH = 12
# source: Touvron et al., Going deeper with Image Transformers, ICCV 2021 (https://arxiv.org/abs/2103.17239).
_SCALE_START = 0.1


class Choice(BaseModel):
    """A registered block or tail with its options; options at their defaults are dropped.

    Written as the bare name, or as a table with ``name`` and the options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_name_or_table(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "options" not in value:
            return {"name": value.get("name"), "options": tuple((k, v) for k, v in value.items() if k != "name")}
        return value

    @model_serializer
    def _to_name_or_table(self) -> Any:
        return self.name if not self.options else {"name": self.name, **dict(self.options)}

    @model_validator(mode="after")
    def _refuse_options_of_nothing(self) -> Self:
        if self.options and self.name in (NONE, EVERY_BLOCK):
            raise InputError(f"'{self.name}' takes no options, but got {', '.join(k for k, _ in self.options)}.")
        return self

    def resolved(self, config_class: type[BaseModel]) -> "Choice":
        """Return the canonical form: options checked against ``config_class``, defaults dropped, sorted."""
        return self._with(parse(config_class, dict(self.options), f"block '{self.name}'"))

    def at(self, channels: int) -> "Choice":
        """Return the choice that stands for all which build the same block on ``channels``."""
        return self if self.name == NONE else _choice_at(self, channels)

    def _with(self, config: BaseModel) -> "Choice":
        kept = config.model_dump(exclude_defaults=True)
        return Choice(name=self.name, options=tuple(sorted(kept.items())))

    @property
    def block(self) -> type[Block]:
        """The trunk or attention class."""
        return REGISTRY.block(self.name)

    @property
    def config(self) -> BlockConfig:
        """The options, with defaults."""
        return self.block.Config(**dict(self.options))

    @property
    def constraint(self) -> Constraint:
        """What the block needs of its input under these options."""
        return self.block.constraint(self.config)

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}({','.join(f'{k}={_plain(v)}' for k, v in self.options)})"


@cache
def _choice_at(choice: Choice, channels: int) -> Choice:
    return choice._with(choice.block.canonical(choice.config, channels))


def _plain(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


NO_BLOCK = Choice(name=NONE)


class Position(BaseModel):
    """One depth of the body: trunk, attention block, their order, and the channels they act on.

    With a trunk F and an attention block A the blocks compute ``G(x) = A(F(x))`` (order ``after``), ``F(A(x))``
    (``before``) or ``A2(F(A1(x)))`` (``around``: two blocks of one kind). The position computes ``x + G(x)``, except:

    * ``G(x)`` where every block passes its input on by itself (such as ``mlka`` before ``gsau``);
    * ``G(x)`` where ``residual`` is false, as in PlainUSR; this needs a trunk, and blocks whose output is bounded;
    * ``x + scale * G(x)`` where the signal would otherwise shrink or grow from position to position. The scale is
      learned per channel. It starts at 0.1 without a trunk, or with one that passes its input on, and at 0 with a block
      whose output is unbounded (``lka``).

    Channels from ``active`` on pass unchanged; ``None`` means all are active.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trunk: Choice = NO_BLOCK
    attention: Choice = NO_BLOCK
    order: Order = "after"
    active: int | None = Field(default=None, ge=1)
    residual: bool = True

    @field_validator("trunk", "attention")
    @classmethod
    def _resolve(cls, choice: Choice, info: Any) -> Choice:
        if choice.name == NONE:
            return NO_BLOCK
        return choice.resolved(REGISTRY.block(choice.name, info.field_name).Config)

    @model_validator(mode="after")
    def _drop_dead_choices(self) -> Self:
        if NONE in (self.trunk.name, self.attention.name):
            object.__setattr__(self, "order", "after")
        if not self.has_free_residual:
            object.__setattr__(self, "residual", True)
        return self

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The blocks in the order in which they run."""
        trunk, attention = ((choice,) if choice.name != NONE else () for choice in (self.trunk, self.attention))
        if self.order == "around":
            return (*attention, *trunk, *attention)
        return trunk + attention if self.order == "after" else attention + trunk

    @property
    def is_identity(self) -> bool:
        """Whether the position holds no block at all."""
        return self.trunk.name == self.attention.name == NONE

    @property
    def passes_input(self) -> bool:
        """Whether every block passes its input on by itself."""
        return all(choice.block.info.residual for choice in self.choices)

    @property
    def is_unbounded(self) -> bool:
        """Whether the output of some block grows faster than its input."""
        return any(choice.block.info.unbounded for choice in self.choices)

    @property
    def has_free_residual(self) -> bool:
        """Whether ``residual`` is a choice for these blocks."""
        return self.trunk.name != NONE and not self.passes_input and not self.is_unbounded

    @property
    def scale_start(self) -> float | None:
        """Where the learned scale of what is added to the input starts, or ``None`` if there is none."""
        if not self.residual or self.passes_input:
            return None
        if self.is_unbounded:
            return 0.0
        return _SCALE_START if self.trunk.name == NONE or self.trunk.block.info.residual else None

    def at(self, channels: int) -> "Position":
        """Return the canonical form in a body of ``channels``.

        Raises:
            InputError: If the position cannot stand there.
        """
        return _position_at(self, channels)

    def __str__(self) -> str:
        text = "+".join(map(str, self.choices)) or NONE
        text = text if self.residual else f"{text}/plain"
        return text if self.active is None else f"{text}@{self.active}"


@cache
def _position_at(position: Position, channels: int) -> Position:
    if position.active is not None and position.active > channels:
        raise InputError(
            f"active <= channels must hold, but got (active={position.active}, channels={channels}); lower active."
        )
    width = position.active or channels
    for choice in position.choices:
        choice.constraint.check_channels(choice.name, width)
    active = None if position.is_identity or width == channels else width
    trunk, attention = position.trunk.at(width), position.attention.at(width)
    return position.model_copy(update={"trunk": trunk, "attention": attention, "active": active})


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

    @cached_property
    def key(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:_KEY_LENGTH]

    @property
    def min_size(self) -> int:
        """The least height and width of an input, in low-resolution pixels."""
        return max((c.constraint.min_size for position in self.positions for c in position.choices), default=1)

    @property
    def tile_invariant(self) -> bool:
        """Whether upscaling in overlapping tiles gives what upscaling the whole image gives."""
        blocks = (c.block.tile_invariant(c.config) for position in self.positions for c in position.choices)
        return all(blocks) and REGISTRY.tail(self.tail.name).info.tile_invariant

    def build(self) -> "Network":
        """Return the network with freshly drawn weights, in train mode."""
        from srnas.search_space.network import Network

        return Network(self)

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
