"""What is installed is the namespace ``srnas`` and nothing beside it, complete."""

import tomllib
from importlib.metadata import files
from importlib.resources import files as resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("search_space", "profiling", "leaderboard", "nas")


def test_every_package_is_listed():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        ".".join(("srnas", *path.parent.relative_to(ROOT).parts))
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert set(setuptools["packages"]) == found
    assert setuptools["package-dir"] == {f"srnas.{room}": room for room in ROOMS}


def test_every_module_belongs_to_a_package():
    missing = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if not (path.parent / "__init__.py").is_file()
    ]
    assert missing == []


def test_data_is_installed():
    for room in ROOMS:
        assert (resources(f"srnas.{room}") / "py.typed").is_file()
    assert (resources("srnas.search_space") / "spaces" / "tiny.toml").is_file()


def test_nothing_is_installed_beside_the_namespace():
    tops = {path.parts[0] for path in files("srnas") if path.parts[0] != ".."}
    if any(top.startswith("__editable__") for top in tops):
        pytest.skip("an editable install has finders of its own")
    assert {top for top in tops if not top.endswith(".dist-info")} == {"srnas"}


def test_every_dependency_names_where_it_is_needed():
    lines = (ROOT / "pyproject.toml").read_text().split("dependencies = [")[1].split("]")[0].strip().splitlines()
    assert all("#" in line for line in lines)
