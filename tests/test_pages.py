"""The site of the pages: built without a warning, and without a request to another host."""

import re
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).parents[1]
# What a browser loads by itself: scripts, styles, images, frames, and what styles name.
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//|url\([\"']?(?:https?:)?//"
)


def test_the_pages(tmp_path):
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    named = re.findall(r"^ +- .*: (\S+)\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    assert {"index.html", *(f"{name}/index.html" for name in named if name != "index")} <= pages.keys()
    styles = {str(path): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css")}
    assert [name for name, text in (pages | styles).items() if LOADED.search(text)] == []
    # The page of the commands is the command line, and the reference is read from the sources.
    assert "<code>srnas leaderboard compare</code>" in pages["commands/index.html"]
    assert "--max-latency-ms" in pages["commands/index.html"]
    assert "expected improvement of the hypervolume" in pages["python/index.html"]
