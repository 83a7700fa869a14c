"""A block or a tail with its options, as a value."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

from srnas.search_space.errors import InputError, parse
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, Constraint

NONE = "none"
EVERY_BLOCK = "*"


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

    def as_stem(self) -> "Choice":
        """Return the choice that stands for all which build the same stem."""
        return self._with(self.block.canonical_stem(self.config))

    def _with(self, config: BaseModel) -> "Choice":
        kept = config.model_dump(exclude_defaults=True)
        return Choice(name=self.name, options=tuple(sorted((name, _fixed(value)) for name, value in kept.items())))

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


def _fixed(value: Any) -> Any:
    """Return a value with tuples in place of lists, which cannot be hashed."""
    return tuple(map(_fixed, value)) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


NO_BLOCK = Choice(name=NONE)
