"""The base of every record: frozen, complete, read from and written to JSON."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from srnas.search_space import Architecture

SCHEMA = 1

# Whoever reads a thousand records wants all that can be read; the command prints what is said here.
_LOGGER = logging.getLogger("srnas")


def _parsed(value: Any) -> Any:
    return Architecture.from_dict(value) if isinstance(value, Mapping) else value


# An architecture that is written as :meth:`Architecture.to_dict` writes it.
StoredArchitecture = Annotated[
    Architecture, BeforeValidator(_parsed), PlainSerializer(Architecture.to_dict, return_type=dict[str, Any])
]


class Record(BaseModel):
    """What is written once and never changed; a field that it does not know is refused.

    JSON has no infinity and nothing that is not a number: they are written as texts, and read from them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    @classmethod
    def read(cls, text: str | bytes, what: str) -> Self | None:
        """Return a record from its JSON, or ``None``, with a warning, if it cannot be read.

        Args:
            text: The JSON.
            what: What the record is called, with where it lies.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            say_skipped(what, error)
            return None


def say_skipped(what: str, error: ValueError) -> None:
    """Say that something which was stored cannot be read, and that the rest is read without it."""
    problem = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
    where = ".".join(map(str, problem["loc"])) if problem else ""
    why = f"{where}: {problem['msg']}" if problem else str(error)
    _LOGGER.warning("%s cannot be read and is skipped (%s)", what, why)
