"""``srnas search``: start or continue a study. Its options are those of :class:`SearchRequest`, one by one."""

import inspect
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from srnas.nas.cli.options import Json, option_of, output, print_json
from srnas.nas.run.request import SearchOption, SearchRequest, search_options

if TYPE_CHECKING:
    from rich.console import Console

    from srnas.nas.run.outcome import Outcome
    from srnas.nas.workspace.workspace import Workspace

_SHOWN = 5


def search(as_json: bool = False, **options: Any) -> None:
    """Propose, count, time, train and rank candidates until the study holds --trials of them.

    The same command continues where it stopped; a larger --trials extends a finished study. The fastest round of a
    candidate decides whether it meets --max-latency-ms, here as in 'srnas leaderboard' and 'srnas pick'.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.cli.progress import SearchProgress
        from srnas.nas.run.launch import launch
        from srnas.nas.workspace.workspace import Workspace
    request = SearchRequest.of(**options)
    try:
        with SearchProgress(said) as progress:
            outcome = launch(request, progress)
    except KeyboardInterrupt:
        said.print("Interrupted. Every finished trial is kept; run the same command again to continue.")
        raise
    if as_json:
        print_json(outcome.board.records())
        return
    console = output()
    _report(console, outcome)
    if outcome.anew:
        _say_where(console, outcome, Workspace(request.workspace))
    else:
        _offer_more(console, outcome, request)


def _parameter(option: SearchOption) -> inspect.Parameter:
    kind: Any = option.field.annotation
    if any(isinstance(rule, BeforeValidator) for rule in option.field.metadata):
        # It is written as text, such as a size.
        kind = str | None if option.field.default is None else str
    annotation = Annotated[kind, option_of(option, option.panel)]
    default = option.field.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_PARAMETERS = [
    *map(_parameter, search_options()),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
]
# Typer reads both, and so finds options that are defined once, in the request of a search.
search.__signature__ = inspect.Signature(_PARAMETERS, return_annotation=None)  # type: ignore[attr-defined]
search.__annotations__ = {parameter.name: parameter.annotation for parameter in _PARAMETERS}


def _report(console: "Console", outcome: "Outcome") -> None:
    from srnas.leaderboard.show.table import board_summary, board_table, timing_summary

    console.print(board_table(outcome.board, width=console.width, limit=_SHOWN))
    console.print(board_summary(outcome.board))
    if timed := timing_summary(outcome.board):
        console.print(timed, soft_wrap=True)
    stopped = sum(record.state == "stopped" for record in outcome.records)
    if stopped or outcome.false_stops.spared:
        stops = f"Rungs stopped {stopped} of {len(outcome.records)} candidates; false stops: {outcome.false_stops}."
        console.print(stops, soft_wrap=True)
    for account in outcome.accounts:
        console.print(str(account), markup=False, highlight=False, soft_wrap=True)


def _offer_more(console: "Console", done: "Outcome", request: SearchRequest) -> None:
    judged = len(done.records)
    if done.exhausted:
        how = "The space holds no further architecture."
    else:
        has_rested = request.patience and len(request.ladder) == 1 and judged < request.trials
        how = f"To extend the search, run the same command with --trials {2 * max(judged, request.trials)}"
        how += " and without --patience." if has_rested else "."
    console.print(f"Study '{done.name}' is complete with {judged} trials; nothing was run. {how}")


def _say_where(console: "Console", outcome: "Outcome", workspace: "Workspace") -> None:
    if outcome.exhausted:
        console.print("The space holds no further architecture that the study has not judged.")
    for path in outcome.figures:
        console.print(f"figure  {path}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"MLflow  {workspace.shown_store}", soft_wrap=True, highlight=False, markup=False)
    if outcome.unwritten:
        console.print(
            f"MLflow lacks results: {outcome.unwritten}. Run the same command again when it does; that writes them.",
            style="yellow",
            markup=False,
        )
