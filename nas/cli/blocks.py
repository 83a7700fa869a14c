"""``srnas blocks``: what can be placed."""

from typing import TYPE_CHECKING, Any

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Workspace, print_json

if TYPE_CHECKING:
    from srnas.search_space import BlockInfo


def blocks(workspace: Workspace = DEFAULT_WORKSPACE, as_json: Json = False) -> None:
    """List the blocks and tails with their options, constraints and papers."""
    from rich.console import Console
    from rich.table import Table

    from srnas.search_space import REGISTRY

    rows = [_row(info) for info in REGISTRY.infos()]
    if as_json:
        print_json(rows)
        return
    table = Table(show_lines=True)
    table.add_column("block", no_wrap=True)
    table.add_column("options, constraints", overflow="fold")
    table.add_column("paper", overflow="fold")
    for row in rows:
        options = [f"{name}={value}" for name, value in row["options"].items()]
        table.add_row(f"{row['block']}\n[dim]{row['role']}[/]", "\n".join(options + _constraints(row)), row["paper"])
    Console().print(table)


def _row(info: "BlockInfo") -> dict[str, Any]:
    from srnas.search_space import REGISTRY

    cls = REGISTRY.tail(info.name) if info.role == "tail" else REGISTRY.block(info.name)
    return {
        "role": info.role,
        "block": info.name,
        "options": cls.Config().model_dump(mode="json"),
        "channels_multiple": info.constraint.channels_multiple,
        "min_channels": info.constraint.min_channels,
        "min_size_px": info.constraint.min_size,
        "tile_invariant": info.tile_invariant,
        "residual": info.residual,
        "paper": info.paper,
    }


def _constraints(row: dict[str, Any]) -> list[str]:
    texts = (
        (row["channels_multiple"] > 1, f"channels a multiple of {row['channels_multiple']}"),
        (row["channels_multiple"] == 1 < row["min_channels"], f"channels at least {row['min_channels']}"),
        (row["min_size_px"] > 1, f"input at least {row['min_size_px']}x{row['min_size_px']}"),
        (not row["tile_invariant"], "tiling changes its result"),
    )
    return [f"[dim]{text}[/]" for holds, text in texts if holds]
