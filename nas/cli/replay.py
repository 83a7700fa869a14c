"""``srnas replay``: which search strategy would have found a study's front with less training."""

from dataclasses import asdict
from typing import Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Storage, Workspace, count_bar, print_json


def replay(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    sampler: Annotated[str, typer.Option(help="Samplers, with commas between.")] = "front,tpe,nsga2,gp,random",
    rungs: Annotated[str, typer.Option(help="Rules, with commas between.")] = "halving,none",
    seeds: Annotated[int, typer.Option(help="Runs of each strategy.")] = 20,
    space: Annotated[str | None, typer.Option(help="File of the study's space, if it is no shipped one.")] = None,
    storage: Storage = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Run search strategies again on a study's recorded results: hypervolume against cost, without training anything."""
    from rich.console import Console
    from rich.table import Table

    with count_bar(Console(stderr=True)) as bars:
        task = bars.add_task("loading", total=None)
        from srnas.nas.replay import CHECKS, Recording
        from srnas.nas.replay import replay as run
        from srnas.nas.study import stored_records
        from srnas.search_space import SearchSpace

        settings, record, records = stored_records(workspace, study, storage)
        recording = Recording.of(record, settings, SearchSpace.load(space or settings.space, settings.scale), records)
        strategies = [(name, rule) for name in sampler.split(",") for rule in rungs.split(",")]
        bars.reset(task, total=len(strategies))
        found = []
        for name, rule in strategies:
            bars.update(task, description=f"replaying {name}, rungs {rule}")
            found.append(run(recording, name.strip(), rule.strip(), seeds))
            bars.advance(task)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = Table(
        title=f"Study '{study}': {len(recording.trials)} of {recording.num_judged} candidates can be replayed",
        caption="Share of the recorded hypervolume (standard error) at shares of the cost of training all of them.",
        title_justify="left",
        caption_justify="left",
    )
    for head in ("sampler", "rungs"):
        table.add_column(head)
    for head in (*(f"{check:.0%}" for check in CHECKS), "cost of all"):
        table.add_column(head, justify="right")
    for one in found:
        pairs = zip(one.hypervolume, one.standard_error, strict=True)
        cells = (f"{volume:.3f} ({error:.3f})" for volume, error in pairs)
        table.add_row(one.sampler, one.rungs, *cells, f"{one.cost:.0%}")
    Console().print(table)
