"""``srnas networks``: the published networks, with their sizes."""

from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import Json, Row, output, print_json

if TYPE_CHECKING:
    from srnas.search_space import Architecture, PublishedNetwork

_SQUARE = (256, 256)
# 1280 / 3 is no integer: publications round it either way.
_X3_WIDTHS = (426, 427)


def networks(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of networks \\[default: all].")
    ] = None,
    scale: Annotated[int | None, typer.Option(help="Upscaling factor: 2, 3 or 4 \\[default: all].")] = None,
    as_json: Json = False,
) -> None:
    """List the published networks with their parameters, and their MACs for a 1280x720 output."""
    from rich.console import Console
    from rich.progress import track

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.search_space import PUBLISHED, published, unknown_name
        from srnas.search_space.architecture import SCALES, check_scale
    if scale is not None:
        check_scale(scale)
    for name in names or ():
        if name not in PUBLISHED:
            raise unknown_name("network", name, PUBLISHED)
    cases = [(name, s) for name in names or PUBLISHED for s in ((scale,) if scale else SCALES)]
    rows = [
        _row(PUBLISHED[name], published(name, s), s)
        for name, s in track(cases, "counting", console=said, transient=True)
    ]
    if as_json:
        print_json(rows)
    else:
        _print(rows)


def _row(entry: "PublishedNetwork", architecture: "Architecture", scale: int) -> Row:
    import torch

    from srnas.profiling import count
    from srnas.search_space import Network

    with torch.device("meta"):
        network = Network(architecture)
        deployed = network.deploy()
    wide = sorted(_X3_WIDTHS, key=lambda width: width != entry.x3_width) if scale == 3 else [1280 // scale]
    params, train_params = (sum(p.numel() for p in form.parameters()) for form in (deployed, network))
    sizes = []
    for height, width in (*((720 // scale, width) for width in wide), _SQUARE):
        counts = count(deployed, (1, 3, height, width))
        training = counts if train_params == params else count(network, (1, 3, height, width))
        sizes.append(
            {
                "lr_height": height,
                "lr_width": width,
                "macs": counts.macs,
                "activations": counts.activations,
                "train_macs": training.macs,
            }
        )
    return {
        "network": entry.name,
        "scale": scale,
        "params": params,
        "train_params": train_params,
        **sizes[0],
        "other_sizes": sizes[1:],
        "input_range": architecture.input_range,
        "min_size_px": architecture.min_size,
        "tile_invariant": architecture.tile_invariant,
        "architecture": architecture.to_dict(),
        "architecture_key": architecture.key,
        "paper": entry.paper,
    }


def _print(rows: list[Row]) -> None:
    from rich.table import Table

    from srnas.profiling import MACS_DEFINITION

    table = Table(
        title="Published networks, deploy form, output 1280x720",
        title_justify="left",
        caption=f"{MACS_DEFINITION}. acts: elements of all convolution outputs. train: parameters while training. "
        "At x3 the input has the width of the publication, since 1280 / 3 is no integer.",
        caption_justify="left",
    )
    table.add_column("network", no_wrap=True)
    for head in ("scale", "input", "params", "MACs G", "acts M", "train"):
        table.add_column(head, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        last = index + 1 == len(rows) or rows[index + 1]["network"] != row["network"]
        table.add_row(
            row["network"],
            f"x{row['scale']}",
            f"{row['lr_width']}x{row['lr_height']}",
            f"{row['params']:,}",
            f"{row['macs'] / 1e9:,.2f}",
            f"{row['activations'] / 1e6:,.1f}",
            f"{row['train_params']:,}" if row["train_params"] != row["params"] else "",
            end_section=last,
        )
    output().print(table)
