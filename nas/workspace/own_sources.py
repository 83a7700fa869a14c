"""Checks whether blocks of a user's own have changed since a network with them was trained."""

import logging
from collections.abc import Mapping
from typing import Any

from srnas.search_space import Architecture, InputError

_LOGGER = logging.getLogger("srnas")


def check_sources(architecture: Architecture, config: Mapping[str, Any], what: str) -> None:
    """Check that the blocks of a user's own are as they were when a network was trained.

    Args:
        architecture: What was trained.
        config: Settings by dotted name, with which it was trained.
        what: What the network is called.

    Raises:
        InputError: If one of them has another source now.
    """
    for name, source in architecture.sources.items():
        then = config.get(f"blocks.{name}")
        if then is None:
            _LOGGER.warning("whether block '%s' is as it was when %s was trained is not known", name, what)
        elif then != source:
            raise InputError(
                f"block '{name}' must be as it was when {what} was trained (source {then}), but it was changed since "
                f"({source}); put its file back, or train again."
            )


def check_key(architecture: Architecture, key: str) -> None:
    """Check that an architecture that was found by its key still has it.

    Raises:
        InputError: If a block of a user's own in it was changed since.
    """
    if key == architecture.key:
        return
    if key == architecture.key_of_before:
        check_sources(architecture, {}, f"'{key}'")
        return
    changed = ", ".join(f"'{name}'" for name in architecture.sources)
    raise InputError(
        f"the blocks of architecture {key} must be unchanged, but {changed} was changed since: it is another "
        f"network now, {architecture.key}; put the file back, or give the architecture as a file."
    )
