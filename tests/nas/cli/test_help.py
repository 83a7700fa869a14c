"""``--help``: grouped by what a user wants to do, and readable in a terminal of 80 columns."""

import re

import pytest
from typer import Context
from typer.main import get_command
from typer.rich_utils import rich_format_help

from srnas.nas.cli import app

PANELS = {
    "Search for networks": "search worker studies replay",
    "Look at results and choose": "leaderboard ui pick",
    "Train and ship a network": "train evaluate export upscale",
    "Measure sizes and latency": "profile target retime ntire",
    "Understand and look up": "explain blocks networks space",
}


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return a function that returns the help of a command in a terminal of 80 columns."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)

    def shown(command, name):
        rich_format_help(obj=command, ctx=Context(command, info_name=name), markup_mode="rich")
        return capsys.readouterr().out

    return shown


def test_commands_stand_in_groups(shown):
    found = {}
    for line in shown(get_command(app), "srnas").splitlines():
        if title := re.match(r"╭─ (.+?) ─+╮", line):
            panel = found.setdefault(title[1], set())
        elif command := re.match(r"│ ([a-z]+) ", line):
            panel.add(command[1])
    assert found.pop("Options") == set()
    assert {title: set(names.split()) for title, names in PANELS.items()} == found


def every(command, names=()):
    yield names, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every(inner, (*names, name))


def words_of(command):
    """Return the words that the help of a command is made of."""
    for text in (command.help, *(getattr(parameter, "help", None) for parameter in command.params)):
        yield from (text or "").replace("\\[", "[").split()
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield from (max(names, key=len) for names in (parameter.opts, parameter.secondary_opts) if names)


def test_no_word_is_broken_at_80_columns(shown):
    broken = []
    for names, command in every(get_command(app)):
        text = shown(command, " ".join(("srnas", *names)))
        assert max(map(len, text.splitlines())) <= 80
        # Two names of an option stand beside each other.
        printed = set(re.findall(r"[^\s│╭╮╰╯─]+", text)) | set(re.findall(r"--[a-z-]+", text))
        broken += [(" ".join(names), word) for word in words_of(command) if word not in printed]
    assert broken == []
