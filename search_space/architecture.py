"""The genotype: a frozen, validated value in canonical form, with its JSON, its key and a short human form."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from srnas.search_space.errors import InputError, parse
from srnas.search_space.registry import REGISTRY

if TYPE_CHECKING:
    from srnas.search_space.network import Network

SCHEMA = 1
SCALES = (2, 3, 4)
NONE = "none"
IMAGE_CHANNELS = 3

_KEY_LENGTH = 12


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

    def resolved(self, config_class: type[BaseModel]) -> "Choice":
        """Return the canonical form: options checked against ``config_class``, defaults dropped, sorted."""
        config = parse(config_class, dict(self.options), f"block '{self.name}'")
        kept = config.model_dump(exclude_defaults=True)
        return Choice(name=self.name, options=tuple(sorted(kept.items())))

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}({','.join(f'{k}={_plain(v)}' for k, v in self.options)})"


def _plain(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


_NO_BLOCK = Choice(name=NONE)


class Position(BaseModel):
    """One depth of the body: trunk, attention block, their order, and the channels they act on.

    With a trunk F and an attention block A the position computes ``x + A(F(x))`` (order ``after``) or ``x + F(A(x))``
    (``before``). Without a trunk it computes ``A(x)`` if A is residual itself, else ``x + scale * A(x)`` with a learned
    scale per channel that starts at 0.1. Channels from ``active`` on pass unchanged; ``None`` means all are active.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trunk: Choice = _NO_BLOCK
    attention: Choice = _NO_BLOCK
    order: Literal["after", "before"] = "after"
    active: int | None = Field(default=None, ge=1)

    @field_validator("trunk", "attention")
    @classmethod
    def _resolve(cls, choice: Choice, info: Any) -> Choice:
        if choice.name == NONE:
            return _NO_BLOCK
        return choice.resolved(REGISTRY.block(choice.name, info.field_name).Config)

    @model_validator(mode="before")
    @classmethod
    def _drop_dead_order(cls, value: Any) -> Any:
        """The order of one block is no choice."""
        if isinstance(value, Mapping):
            names = [value.get(field, _NO_BLOCK) for field in ("trunk", "attention")]
            if any(choice in (NONE, _NO_BLOCK, {"name": NONE}) for choice in names):
                return {k: v for k, v in value.items() if k != "order"}
        return value

    @property
    def is_identity(self) -> bool:
        """Whether the position holds no block at all."""
        return self.trunk.name == NONE and self.attention.name == NONE

    def check(self, channels: int) -> None:
        """Raise ``InputError`` unless the position can stand in a body of ``channels``."""
        if self.active is not None and self.active > channels:
            raise InputError(
                f"active <= channels must hold, but got (active={self.active}, channels={channels}); lower active."
            )
        for choice in (self.trunk, self.attention):
            if choice.name != NONE:
                block = REGISTRY.block(choice.name)
                config = block.Config(**dict(choice.options))
                block.constraint(config).check_channels(choice.name, self.active or channels)

    def __str__(self) -> str:
        blocks = [str(choice) for choice in (self.trunk, self.attention) if choice.name != NONE]
        text = "+".join(blocks if self.order == "after" else blocks[::-1]) or NONE
        return text if self.active is None else f"{text}@{self.active}"


class Architecture(BaseModel):
    """A super-resolution network as a value. Equal networks are equal values with one key.

    The network is: stem (3x3 convolution), the positions, the end of the body (none, or a 3x3 convolution), the long
    skip from the stem's output, the tail, and the global skip from the upsampled input.

    Raises:
        InputError: Through :meth:`from_dict` and :meth:`from_json`, if anything is unknown or violates a constraint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: int
    channels: int = Field(ge=1)
    positions: tuple[Position, ...] = ()
    end: Literal["none", "conv"] = "none"
    long_skip: bool = False
    tail: Choice = Choice(name="pixelshuffle")
    global_skip: Literal["bilinear", "nearest", "none"] = "bilinear"

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
        """Drop identity positions and full active widths; check what is left."""
        kept = []
        for position in self.positions:
            if position.is_identity:
                continue
            if position.active == self.channels:
                position = position.model_copy(update={"active": None})
            position.check(self.channels)
            kept.append(position)
        object.__setattr__(self, "positions", tuple(kept))
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
        names = [c.name for p in self.positions for c in (p.trunk, p.attention) if c.name != NONE]
        return max((REGISTRY.block(name).info.constraint.min_size for name in names), default=1)

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
        return text if self.global_skip == "bilinear" else f"{text}-skip:{self.global_skip}"


def check_scale(scale: int) -> None:
    """Raise ``InputError`` unless ``scale`` is supported."""
    if scale not in SCALES:
        raise InputError(f"scale must be one of {', '.join(map(str, SCALES))}, but got scale={scale}.")
