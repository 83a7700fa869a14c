"""What every record is: frozen, complete, JSON both ways."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from srnas.search_space import Architecture

SCHEMA = 1


def _parsed(value: Any) -> Any:
    return Architecture.from_dict(value) if isinstance(value, Mapping) else value


# An architecture that is written as :meth:`Architecture.to_dict` writes it.
StoredArchitecture = Annotated[
    Architecture, BeforeValidator(_parsed), PlainSerializer(Architecture.to_dict, return_type=dict[str, Any])
]


class Record(BaseModel):
    """What is written once and never changed; a field that it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
