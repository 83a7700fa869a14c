"""The sizes of a network by position of its body, or by block."""

import re
from collections.abc import Mapping

from srnas.profiling.counting import Counts, ModuleCounts
from srnas.search_space import Architecture, InputError

_POSITION = re.compile(r"body\.(\d+)")
_HOST = ("stem", "end", "gather", "tail", "skip")


def by_position(counts: Counts) -> dict[str, ModuleCounts]:
    """Split the sizes of a ``Network``: the parts add up to the whole, to the unit.

    Args:
        counts: Sizes of a ``Network``, in training or deploy form.

    Returns:
        ``stem``, ``p00``, ``p01``, ..., ``end``, ``gather`` where there is one, and ``tail``, and as ``skip`` all that
        stands beside them: the skips, the change of range and the mean shift.

    Raises:
        InputError: If what was counted is no ``Network``.
    """
    modules = _modules(counts)
    places = [match for match in map(_POSITION.fullmatch, modules) if match]
    body = {f"p{int(place[1]):02d}": modules[place[0]] for place in places}
    gathered = [modules[name] for name in ("picture", "gather") if name in modules]
    gather = {"gather": sum(gathered, ModuleCounts())} if gathered else {}
    parts = {"stem": modules["stem"], **body, "end": modules["end"], **gather, "tail": modules["tail"]}
    return _with_rest(parts, modules[""], "skip")


def by_block(counts: Counts, architecture: Architecture) -> dict[str, ModuleCounts]:
    """Split the sizes as :func:`by_position` does, and each position into its blocks.

    Args:
        counts: Sizes of a ``Network`` that ``architecture`` describes.
        architecture: It names the blocks.

    Returns:
        ``p00.conv``, ``p00.lia``, ... in place of ``p00``, and as ``p00.rest`` what the position adds: its residual,
        its scale, passing channels by. The second of two equal blocks is ``p00.lia.2``.

    Raises:
        InputError: If what was counted is no ``Network``, or one with another number of positions.
    """
    modules, whole = _modules(counts), by_position(counts)
    counted = len(whole.keys() - set(_HOST))
    if len(architecture.positions) != counted:
        raise InputError(
            f"the architecture must be that of the counts, but has {len(architecture.positions)} positions, and the "
            f"counts {counted}."
        )
    found = {"stem": whole["stem"]}
    for index, position in enumerate(architecture.positions):
        name, blocks = f"p{index:02d}", {}
        for place, choice in enumerate(position.choices):
            label = f"{name}.{choice.name}"
            blocks[f"{label}.2" if label in blocks else label] = modules[f"body.{index}.blocks.{place}"]
        found |= _with_rest(blocks, whole[name], f"{name}.rest")
    return found | {name: whole[name] for name in _HOST[1:] if name in whole}


def _modules(counts: Counts) -> Mapping[str, ModuleCounts]:
    missing = [name for name in ("stem", "body", "end", "tail") if name not in counts.by_module]
    if missing:
        raise InputError(f"only a network has positions, but what was counted has no '{missing[0]}'.")
    return counts.by_module


def _with_rest(parts: dict[str, ModuleCounts], whole: ModuleCounts, name: str) -> dict[str, ModuleCounts]:
    return parts | {name: whole - sum(parts.values(), ModuleCounts())}
