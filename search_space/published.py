"""The published networks, as architectures that load the official weights."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from srnas.search_space.architecture import Architecture, check_scale
from srnas.search_space.errors import unknown_name
from srnas.search_space.families import a2n, ecbsr, efdn, imdn, man, plainusr, rfdn, rlfn, span
from srnas.search_space.families.base import PublishedNetwork

_FAMILIES = (plainusr, a2n, man, span, ecbsr, rlfn, rfdn, imdn, efdn)

PUBLISHED: Mapping[str, PublishedNetwork] = MappingProxyType(
    {network.name: network for family in _FAMILIES for network in family.NETWORKS}
)
"""All published networks by name, family by family, the smallest first."""


def published(name: str, scale: int) -> Architecture:
    """Return a published network, which loads the official weights.

    Args:
        name: One of :data:`PUBLISHED`.
        scale: Upscaling factor: 2, 3 or 4.

    Raises:
        InputError: If the name or the scale is unknown.
    """
    check_scale(scale)
    if name not in PUBLISHED:
        raise unknown_name("network", name, PUBLISHED)
    return _published(name, scale)


@cache
def _published(name: str, scale: int) -> Architecture:
    return PUBLISHED[name].architecture(scale)
