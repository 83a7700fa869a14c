"""The pages: every link leads somewhere, every command and option exists, and what they show of Python runs."""

import json
import re
import shlex
import shutil
import tomllib
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

from srnas.nas.cli import app

ROOT = Path(__file__).parents[1]
README, TUTORIAL = ROOT / "README.md", ROOT / "docs" / "tutorial.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Made when the pages are built, from the command line.
GENERATED = ROOT / "docs" / "commands.md"
FOLDERS = ("search_space", "profiling", "leaderboard", "nas", "tests", "benchmarks", "docs", "examples")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def prose(page):
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """Return the anchors of a page's headings, as mkdocs and forges name them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if link.startswith("https://") or path == GENERATED:
            continue
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_navigation():
    named = re.findall(r"^ +- .*: (\S+\.md)$", text_of(ROOT / "mkdocs.yml"), re.MULTILINE)
    assert sorted(named) == sorted([GENERATED.name, *(page.name for page in (ROOT / "docs").glob("*.md"))])


def command_lines(page):
    """Return the words of every command of a page's consoles; one line may hold several."""
    for block in blocks(page, "console"):
        for line in re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = []
            for word in lexer:
                if set(word) <= set("();<>|&"):
                    yield words
                    words = []
                else:
                    words.append(word)
            yield words


@cache
def root():
    return get_command(app)


def found(words):
    """Return the command that words name, and those that are left for it."""
    command, rest = root(), words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def options_of(command):
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def unknown_to(words):
    """Return the options of a command that its program does not name; what stands after ``--`` is not its own."""
    own = words[: words.index("--")] if "--" in words else words
    program = (ROOT / words[1]).read_text()
    return {word for word in own if re.fullmatch(r"--\w[\w-]*", word)} - set(re.findall(r'"(--[\w-]+)"', program))


def is_ours(words):
    return "srnas" in words and words[0] in ("srnas", "torchrun")


@each_page
def test_commands_in_consoles_can_be_run(page):
    for words in command_lines(page):
        if words[:1] == ["make"]:
            assert all(re.search(rf"^{target}:", text_of(ROOT / "Makefile"), re.MULTILINE) for target in words[1:])
        if words[:1] == ["python"]:
            assert not unknown_to(words), words
        if is_ours(words):
            command, rest = found(words[words.index("srnas") :])
            left = command.make_context("srnas", list(rest)) if rest != ["--version"] else None
            # A group takes no arguments but the names of its commands.
            assert not (left and left.args and hasattr(command, "commands")), words


@each_page
def test_commands_in_sentences_exist(page):
    for line in re.findall(r"`(python benchmarks/[^`]+)`", prose(page)):
        assert not unknown_to(shlex.split(re.sub(r"\s+", " ", line))), line
    for line in re.findall(r"`(srnas [^`]+)`", prose(page)):
        words = shlex.split(re.sub(r"\s+", " ", line))
        command, rest = found(words)
        assert not hasattr(command, "commands") or all(word.startswith("-") or not word.islower() for word in rest[:1])
        unknown = {word for word in rest if re.match(r"--\w", word)} - options_of(command)
        assert not unknown, line


@pytest.fixture(scope="module")
def sources():
    """Return the text of all programs."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return "".join(map(text_of, paths)) + text_of(ROOT / "Makefile")


@each_page
def test_options_variables_and_files_exist(page, sources):
    every = {name for command in _all(root()) for name in options_of(command)}
    spans = re.findall(r"`([^`\n]+)`", prose(page))
    for option in {word for span in spans if span.startswith("--") for word in re.findall(r"--[a-z][\w-]*", span)}:
        assert option in every or f'"{option}"' in sources, option
    for variable in set(re.findall(r"\bSRNAS_[A-Z]+\b", text_of(page))):
        assert variable in sources, variable
    for span in spans:
        for name in re.findall(rf"^(?:{'|'.join(FOLDERS)})/[\w./-]+\.\w+$", span):
            assert (ROOT / name).exists(), name


def _all(command):
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from _all(inner)


def test_the_readme_is_one_screen_of_80_columns():
    assert len(text_of(README).splitlines()) <= 150
    assert not [line for block in blocks(README, "console") for line in block.splitlines() if len(line) > 80]


def test_pictures_are_small_and_read_on_any_background():
    for picture in (ROOT / "docs").glob("*.png"):
        assert picture.stat().st_size < 150_000, picture
        with Image.open(picture) as image:
            assert image.convert("RGBA").getchannel("A").getextrema() == (255, 255), picture


def test_the_tables_of_extras_are_those_of_the_package():
    extras = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
    for page, heading in ((README, "## Install"), (ROOT / "docs" / "install.md", "## Extras")):
        [section] = re.findall(rf"^{heading}\n(.*?)^## ", text_of(page), re.DOTALL | re.MULTILINE)
        rows = "".join(re.findall(r"^\|.*$", section, re.MULTILINE))
        assert set(re.findall(r"`([\w-]+)`", rows)) == set(extras), page.name


def ours(page):
    return [words for words in command_lines(page) if words[:1] == ["srnas"]]


def test_the_readme_shows_commands_of_the_tutorial():
    assert [words for words in ours(README) if words not in ours(TUTORIAL)] == []


# What makes a command of the tutorial short.
SHORTER = {
    "search": "--trials 2 --iterations 1 --latency-input 32x32",
    "train": "--iterations 1 --batch 1 --patch 8",
}


@pytest.mark.usefixtures("brief_latency", "coarse_figures", "few_draws", "copied_stores")
def test_the_tutorial_runs(run, tmp_path, monkeypatch, photo_folder, held_out_folder):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photo_folder, "photos/train")
    shutil.copytree(held_out_folder, "photos/held-out")
    shutil.copy(photo_folder / "crop0.png", "photo.png")
    here, shown = {}, ours(TUTORIAL)
    [key] = {words[2] for words in shown if words[1] in ("train", "export")}
    [trial] = {words[words.index("--trial") + 1] for words in shown if "--trial" in words}
    for words in shown:
        if words[1] == "search" and "--train" not in words:
            continue  # The same on the embedded photographs, as the page on Python searches.
        run_as_here = [here.get(word, word) for word in words[1:]]
        code, out, err = run(*run_as_here, *SHORTER.get(words[1], "").split())
        assert code == 0, err
        if words[1] == "pick":
            found = json.loads(run(*run_as_here, "--json")[1])
            # What the page's search found, and this one.
            here = {key: found["pick"]["key"], trial: found["pick"]["trial"], "tiny-x2.1200": found["study"]}
            assert found["pick"]["key"] in out
    exec(compile(blocks(TUTORIAL, "python")[0], "tutorial.md", "exec"), {})
    with Image.open("photo.png") as photo, Image.open("photo_x2.png") as larger:
        assert larger.size == (2 * photo.width, 2 * photo.height)


@pytest.mark.usefixtures("brief_latency")
def test_the_python_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    snippets = blocks(ROOT / "docs" / "python.md", "python")
    assert len(snippets) == 4
    names = {}
    for snippet in snippets:
        exec(compile(snippet, "python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "0 complete" in said
    assert "latency_fastest_ms" in said
    assert re.search(r"tiny-x2 (Front of \d|No candidate)", said)
    assert len({tuple(trial.params.values()) for trial in names["study"].trials}) == 20
    assert 0 < names["measured"].latencies["mine"].fastest_ms <= names["measured"].latencies["mine"].median_ms
    outcome = names["outcome"]
    assert sorted(outcome.board.rows["trial"]) == [0, 1]
