"""``srnas space``: the search spaces and what they hold."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from srnas.nas.cli.options import Json, output, print_json

if TYPE_CHECKING:
    from srnas.search_space import SearchSpace

app = typer.Typer(help="Show the search spaces.", no_args_is_help=True)

_HIDDEN = ("description", "defaults")


@app.command("list")
def list_spaces(as_json: Json = False) -> None:
    """List the shipped spaces."""
    from rich.table import Table

    from srnas.search_space import SearchSpace, space_names

    spaces = [SearchSpace.load(name, 2) for name in space_names()]
    if as_json:
        print_json([{"space": s.name, "description": s.content.description, "networks": s.size} for s in spaces])
        return
    table = Table(box=None, pad_edge=False)
    for head in ("space", "networks", "description"):
        table.add_column(head, justify="right" if head == "networks" else "left", no_wrap=head != "description")
    for space in spaces:
        table.add_row(space.name, space.size_text, space.content.description)
    output().print(table)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of a shipped space, or the path of a TOML file.")],
    scale: Annotated[int, typer.Option(help="Upscaling factor: 2, 3 or 4.")] = 2,
    as_json: Json = False,
) -> None:
    """Show the choices and the size of a space, and the designs that a study of it judges first."""
    from rich.table import Table

    from srnas.search_space import SearchSpace, human_designs

    space = SearchSpace.load(name, scale)
    choices = _choices(space)
    designs = human_designs(space)
    if as_json:
        facts = {
            "space": space.name,
            "scale": scale,
            "description": space.content.description,
            "networks": space.size,
            "min_size_px": space.min_size,
            "choices": space.content.model_dump(mode="json", exclude=set(_HIDDEN)),
            "defaults": space.defaults.model_dump(mode="json"),
            "designs": {design: architecture.to_dict() for design, architecture in designs.items()},
        }
        print_json([facts])
        return
    console = output()
    console.print(f"[bold]{space.name}[/]: {space.content.description}", highlight=False)
    console.print(f"{space.size_text} distinct networks at x{scale}; inputs of at least {space.min_size} pixels")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for gene, values in choices.items():
        table.add_row(gene, ", ".join(values))
    table.add_row("", "")
    defaults = space.defaults.model_dump()
    table.add_row("judged by", ", ".join(f"{key}={_text(value)}" for key, value in defaults.items()))
    table.add_row("first", ", ".join(designs) or "nothing: no published network or design fits")
    console.print(table, highlight=False, markup=False)


def _choices(space: "SearchSpace") -> dict[str, list[str]]:
    choices = {}
    for gene, values in space.content:
        if gene not in _HIDDEN:
            listed: Any = values if isinstance(values, tuple) else (values,)
            choices[gene] = [_text(value) for value in listed]
    if space.has_identity:
        choices["positions"] = [f"up to {space.content.positions}"]
    return choices


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
