"""What is known of a published network, and the names of its official weights."""

from collections.abc import Callable
from dataclasses import dataclass

from srnas.search_space.architecture import Architecture
from srnas.search_space.choice import Choice
from srnas.search_space.registry import REGISTRY


@dataclass(frozen=True)
class PublishedNetwork:
    """A network as its authors published it.

    Attributes:
        name: The name by which :func:`~srnas.search_space.published.published` gives it.
        paper: Authors, title, venue and link.
        architecture: Function from the scale to the architecture.
        official_names: Function from the architecture to prefixes of official parameter names and ours.
        x3_width: Width of the input, in pixels, with which its authors count MACs at scale 3 (1280 / 3 is no integer).
    """

    name: str
    paper: str
    architecture: Callable[[int], Architecture]
    official_names: Callable[[Architecture], dict[str, str]]
    x3_width: int = 426


def of_block(official: str, ours: str, block: str) -> dict[str, str]:
    """Return the official names of a block, below ``official``, and ours, below ``ours``."""
    names = REGISTRY.entry(block).info.official_names
    return {f"{official}{a}": f"{ours}{b}" for a, b in names.items()}


def of_trunks(architecture: Architecture, official: Callable[[int], str]) -> dict[str, str]:
    """Return the names of the trunks; ``official`` gives the prefix of the block at a depth."""
    names: dict[str, str] = {}
    for depth, position in enumerate(architecture.positions):
        names |= of_block(official(depth), f"body.{depth}.blocks.0.", position.trunk.name)
    return names


def choice(name: str, **options: object) -> Choice:
    """Return a block or a tail with options."""
    return Choice(name=name, options=tuple(options.items()))
