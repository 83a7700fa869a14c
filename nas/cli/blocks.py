"""``srnas blocks``: the list of blocks and tails, and one block in full."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Row, WorkspacePath, output, parse_size, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from srnas.search_space import BlockInfo, Constraint
    from srnas.search_space.graph import Step

_TILED = "changes its result"


def blocks(
    name: Annotated[str | None, typer.Argument(help="Block to explain and draw \\[default: list all].")] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels to explain the block for.")] = 48,
    size: Annotated[str, typer.Option(help="Feature map to explain the block for, as WxH in pixels.")] = "64x64",
    svg: Annotated[
        Path | None, typer.Option(help="SVG file to write \\[default: figures/block-NAME.svg in the workspace].")
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """List the blocks and tails with their options, constraints and papers, or explain one."""
    if name is not None:
        _explain(
            name, channels, parse_size(size, "--size"), svg or workspace / "figures" / f"block-{name}.svg", as_json
        )
        return
    from rich.table import Table

    from srnas.search_space import REGISTRY

    if as_json:
        print_json([_row(info) for info in REGISTRY.infos()])
        return
    table = Table(show_lines=True)
    table.add_column("block", no_wrap=True)
    table.add_column("runs in", overflow="fold")
    table.add_column("options, constraints", overflow="fold")
    table.add_column("paper", overflow="fold")
    for info in REGISTRY.infos():
        options = [f"{key}={value}" for key, value in _options(info).items()]
        said = [*_constraints(info.constraint), *([] if info.tile_invariant else [f"tiling {_TILED}"])]
        dim = [f"[dim]{text}[/]" for text in said]
        untried = info.name in REGISTRY.sources
        runtimes = "untried" if untried else "\n".join(["all", *(f"but {name}" for name in _refusing(info))])
        table.add_row(f"{info.name}\n[dim]{info.role}[/]", runtimes, "\n".join(options + dim), info.paper)
    output().print(table)


def _row(info: "BlockInfo") -> Row:
    return {
        "role": info.role,
        "block": info.name,
        "options": _options(info),
        "channels_multiple": info.constraint.channels_multiple,
        "min_channels": info.constraint.min_channels,
        "min_size_px": info.constraint.min_size,
        "tile_invariant": info.tile_invariant,
        "residual": info.residual,
        "not_in": _refusing(info),
        "paper": info.paper,
    }


def _refusing(info: "BlockInfo") -> dict[str, str]:
    """Return why a runtime cannot run a block, by the runtime's name."""
    from srnas.profiling.runtimes import RUNTIMES

    return {name: runtime.refuses[info.name] for name, runtime in RUNTIMES.items() if info.name in runtime.refuses}


def _options(info: "BlockInfo") -> Row:
    from srnas.search_space import REGISTRY

    return REGISTRY.entry(info.name).Config().model_dump(mode="json")


def _constraints(constraint: "Constraint") -> list[str]:
    multiple, channels, size = constraint.channels_multiple, constraint.min_channels, constraint.min_size
    texts = (
        (multiple > 1, f"channels a multiple of {multiple}"),
        (multiple == 1 < channels, f"channels at least {channels}"),
        (size > 1, f"input at least {size}x{size}"),
    )
    return [text for holds, text in texts if holds]


def _explain(name: str, channels: int, size: tuple[int, int], svg: Path, as_json: bool) -> None:
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("tracing"):
        from srnas.nas.drawing.explanation import explain
        from srnas.search_space import REGISTRY

        explanation = explain(name, channels, *size)
    explanation.draw(svg)
    facts = {**_row(explanation.info), **explanation.facts(), "svg": str(svg)}
    if as_json:
        typer.echo(json.dumps({**facts, "graph": [step.__dict__ for step in explanation.steps]}, indent=2))
        return
    console = output()
    console.print(f"[bold]{name}[/], {explanation.info.role}")
    console.print(explanation.summary, highlight=False, markup=False)
    console.print()
    for key in ("params", "macs"):
        if f"{key}_formula" in facts:
            formula = f"{facts[f'{key}_formula']}  =  {facts[key]:,} at C={channels}, {size[1]}x{size[0]}"
            console.print(f"{key:<12}{formula}", highlight=False, markup=False, soft_wrap=True)
    constraints = ", ".join(_constraints(explanation.info.constraint)) or "any channels, any size"
    options = ", ".join(explanation.options) or "none"
    tiling = "keeps its result, given enough overlap" if facts["tile_invariant"] else _TILED
    refusing = "; ".join(f"but {runtime} ({why})" for runtime, why in facts["not_in"].items())
    runtimes = "untried" if name in REGISTRY.sources else f"all {refusing}".strip()
    lines = {"options": options, "constraints": constraints, "tiling": tiling, "runs in": runtimes}
    lines |= {"paper": facts["paper"], "drawn": str(svg)}
    for key, text in lines.items():
        console.print(f"{key:<12}{text}", highlight=False, markup=False, soft_wrap=True)
    console.print(_graph_table("Operators", explanation.steps))
    if explanation.deployed != explanation.steps:
        console.print(_graph_table("Operators when deployed", explanation.deployed))


def _graph_table(title: str, steps: "tuple[Step, ...]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for head, justify in (("", "right"), ("module", "left"), ("operator", "left"), ("of", "left"), ("result", "left")):
        table.add_column(head, justify=justify)  # type: ignore[arg-type]
    for number, step in enumerate(steps):
        result = " x ".join(map(str, step.shape))
        table.add_row(str(number), step.module, step.operator, escape(", ".join(step.inputs)), result)
    return table
