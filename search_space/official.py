"""Official parameter names to ours, by declared prefixes."""

from collections.abc import Mapping

import torch

from srnas.search_space.errors import InputError
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
    converted = rename(REGISTRY.entry(block).info.official_names, state_dict)
    unknown = state_dict.keys() - converted.keys()
    if unknown:
        raise InputError(
            f"every name must be an official parameter of block '{block}', but got {', '.join(sorted(unknown))}."
        )
    return {ours: state_dict[official] for official, ours in converted.items()}


def rename(prefixes: Mapping[str, str], names: Mapping[str, object]) -> dict[str, str]:
    """Return our name for every official name that one of ``prefixes`` begins, by the longest such prefix.

    No two names are renamed alike: of those that would be, the first is renamed.
    """
    renamed: dict[str, str] = {}
    for name in names:
        prefix = max((p for p in prefixes if name == p or name.startswith(p + ".")), key=len, default=None)
        ours = None if prefix is None else prefixes[prefix] + name[len(prefix) :]
        if ours is not None and ours not in renamed.values():
            renamed[name] = ours
    return renamed
