"""What is installed is the namespace ``srnas`` and nothing beside it, complete."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
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


def test_the_release_is_named_alike():
    release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == release
    assert re.search(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == release


def build(folder, kind):
    """Build an ``sdist`` or a ``wheel`` of the project in a folder, as pip does, and return it."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}('dist'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return folder / "dist" / done.stdout.splitlines()[-1]


def test_wheel_and_sdist_are_whole(tmp_path):
    clone = tmp_path / "clone"
    for room in ROOMS:
        shutil.copytree(ROOT / room, clone / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    with tarfile.open(build(clone, "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    wheel = build(next((tmp_path / "unpacked").iterdir()), "wheel")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    there = {path.relative_to(site / "srnas").as_posix() for path in (site / "srnas").rglob("*") if path.is_file()}
    assert there == {
        path.relative_to(clone).as_posix() for room in ROOMS for path in (clone / room).rglob("*") if path.is_file()
    }
    code = "from srnas.nas import cli; print(cli.__file__); cli.main()"
    command = [sys.executable, "-c", code, "--version"]
    said = subprocess.run(command, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        str(site / "srnas" / "nas" / "cli" / "__init__.py"),
        f"srnas {wheel.name.split('-')[1]}",
    ]
