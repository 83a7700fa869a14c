"""What the pages are built from beside their text: the rooms of the package, and the command line itself."""

from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click
from typer.main import get_command

from srnas.nas.cli import app

ROOT = Path(__file__).parents[2]
ROOMS = ("search_space", "profiling", "leaderboard", "nas")


@event_priority(100)
def on_config(config: MkDocsConfig) -> None:
    """Let mkdocstrings read the rooms of this clone as the package ``srnas``, whatever is installed."""
    package = ROOT / "build" / "package" / "srnas"
    package.mkdir(parents=True, exist_ok=True)
    for room in ROOMS:
        link = package / room
        if not link.exists():
            link.symlink_to(ROOT / room)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(package.parent)]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Write the page of the commands, so that it cannot differ from ``--help``."""
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="srnas", title="Commands")
    files.append(File.generated(config, "commands.md", content=text))
