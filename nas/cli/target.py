"""``srnas target``: other machines to time networks on."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import Json, Row, output, print_json

if TYPE_CHECKING:
    from srnas.profiling.boards.board import Board

app = typer.Typer(help="Time networks on other machines, through an agent there.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the target.")]


@app.command("script")
def script(
    runtime: Annotated[
        list[str], typer.Option(help="Runtime that it times in, once for each: onnxruntime, ncnn or executorch.")
    ] = ["onnxruntime"],  # noqa: B006 (typer reads it)
) -> None:
    """Print the program of the agent, for a machine with Python 3.9 or later, numpy and a runtime.

    Start it there with: uv run agent.py
    """
    from srnas.profiling.agent.bundle import script as program

    typer.echo(program(runtime), nl=False)


@app.command("serve", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def serve(context: typer.Context) -> None:
    """Run the agent on this machine (--host, --port, --token-file). Without a token it listens on loopback only."""
    import tempfile

    from srnas.profiling.agent.bundle import script as program

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.py")
        path.write_text(program(), encoding="utf-8")
        # The agent as it is on a board: it has nothing of this package, and starts what measures by its own path.
        agent = subprocess.Popen([sys.executable, str(path), *context.args])
        try:
            code = agent.wait()
        # Whatever ends this process: the agent's file goes, and without it the agent can measure nothing.
        finally:
            agent.terminate()
            agent.wait()
    raise typer.Exit(code)


@app.command("add")
def add(
    name: Name,
    url: Annotated[str, typer.Argument(help="Address of its agent, such as http://pi:7788.")],
    token_file: Annotated[Path | None, typer.Option(help="File that holds the token of the agent.")] = None,
) -> None:
    """Name a machine that runs an agent."""
    from srnas.profiling.boards.registry import add as keep
    from srnas.search_space import InputError

    try:
        token = token_file.read_text(encoding="utf-8").strip() if token_file else ""
    except OSError as error:
        raise InputError(f"the token file must be readable, but '{token_file}' is not: {error.strerror}.") from None
    board, _ = keep(name, url, token)
    output().print(_told(board), markup=False, soft_wrap=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the named targets."""
    from srnas.profiling.boards.registry import boards

    known = boards()
    if as_json:
        print_json([{"name": board.name, "url": board.url, "has_token": bool(board.token)} for board in known.values()])
        return
    for board in known.values():
        output().print(f"{board.name}  {board.url}{', with a token' * bool(board.token)}", markup=False)
    if not known:
        output().print("There is no target; add one with 'srnas target add NAME URL'.")


@app.command("show")
def show(name: Name, as_json: Json = False) -> None:
    """Show the processor, cores, clocks, temperature, memory, load and versions of a target."""
    from srnas.profiling.boards.registry import ask, boards
    from srnas.search_space import unknown_name

    known = boards()
    if name not in known:
        raise unknown_name("target", name, known)
    board, about = ask(known[name])
    if as_json:
        print_json([{"target": name, "url": board.url, **about}])
        return
    console = output()
    console.print(_told(board), markup=False, soft_wrap=True)
    for key, value in _flat(about).items():
        console.print(f"{key:<22}{value}", markup=False, soft_wrap=True)


@app.command("check")
def check(
    name: Name, runtime: Annotated[str, typer.Option(help="Runtime of the target to time in.")] = "onnxruntime"
) -> None:
    """Time a small network on a target and on this machine, and say what disturbed the measurement."""
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from dataclasses import replace

        from srnas.profiling import measure_latency
        from srnas.profiling.targets import resolve_target
        from srnas.search_space import Network, published

        there = resolve_target(name, runtime, "float32", "nchw", 1)
    with said.status("timing") as status:
        network = {"ecbsr_m4c8": Network(published("ecbsr_m4c8", 2)).deploy()}
        found = measure_latency(network, (1, 3, 96, 96), there, on_note=status.update).of("ecbsr_m4c8")
        here = measure_latency(network, (1, 3, 96, 96), replace(there, board=None)).of("ecbsr_m4c8")
    console = output()
    for where, measured in ((name, found), ("here", here)):
        latency = measured.latency
        flags = f"; {', '.join(latency.flags)}" if latency.flags else ""
        console.print(
            f"{where}: {latency.fastest_ms:.3f} ms, median {latency.median_ms:.3f} ms ({latency.low_ms:.3f} to "
            f"{latency.high_ms:.3f}) in {len(latency.rounds_ms)} rounds{flags}",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"largest difference to eager float32: {found.max_abs_difference}", markup=False)


@app.command("rm")
def rm(name: Name) -> None:
    """Forget a target."""
    from srnas.profiling.boards.registry import remove

    remove(name)


def _told(board: "Board") -> str:
    runtimes = ", ".join(runtime.version for runtime in board.runtimes)
    return f"{board.name}: {board.machine}, {board.cores} cores, {runtimes}, at {board.url}"


def _flat(about: dict[str, object]) -> Row:
    state = about.pop("state")
    return {**about, **(state if isinstance(state, dict) else {})}
