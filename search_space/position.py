"""One depth of the body: which blocks stand there, in which order, and on how many channels."""

from functools import cache
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from srnas.search_space.choice import NO_BLOCK, NONE, Choice
from srnas.search_space.errors import InputError
from srnas.search_space.registry import REGISTRY

Order = Literal["after", "before", "around"]

# source: Touvron et al., Going deeper with Image Transformers, ICCV 2021 (https://arxiv.org/abs/2103.17239).
_SCALE_START = 0.1


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
    def tells(self) -> bool:
        """Whether the trunk tells something of its inside."""
        return self.trunk.name != NONE and self.trunk.block.tells

    def inner_channels(self, channels: int) -> int:
        """Return the number of channels of what the position tells of its inside, in a body of ``channels``."""
        width = self.active or channels
        told = [choice.block.inner_channels(width, choice.config) for choice in self.choices if choice == self.trunk]
        return channels - width + (told[0] if told else width)

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
