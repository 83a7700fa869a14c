"""Official parameter names to ours, by the prefixes that each block declares."""

from collections.abc import Mapping

import torch

from srnas.search_space.errors import InputError, unknown_name
from srnas.search_space.registry import REGISTRY


def convert_official(block: str, state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the parameters of an official module so that our block loads them strictly.

    Args:
        block: Name of a registered block or tail.
        state_dict: Official names and tensors.

    Returns:
        Our names with the same tensors.

    Raises:
        InputError: If the block is unknown, or a name has no counterpart (all such names are listed).
    """
    infos = {info.name: info for info in REGISTRY.infos()}
    if block not in infos:
        raise unknown_name("block", block, infos)
    names = infos[block].official_names
    converted, unknown = {}, []
    for key, tensor in state_dict.items():
        prefix = max((p for p in names if key == p or key.startswith(p + ".")), key=len, default=None)
        if prefix is None:
            unknown.append(key)
        else:
            converted[names[prefix] + key[len(prefix) :]] = tensor
    if unknown:
        raise InputError(
            f"every name must be an official parameter of block '{block}', but got {', '.join(sorted(unknown))}."
        )
    return converted
