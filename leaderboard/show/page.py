"""The content of the leaderboard page as plain data, and the page as one file that needs no server."""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.rank.curve import CurvePoint, growth
from srnas.leaderboard.record.columns import COLUMNS, PAGE_KEYS
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.store.reading import StudyRun

# What the page is told of its columns.
_SHOWN = {
    column.key: {
        # Studies of several data types stand in one table.
        "heading": column.heading.format(dtype="timed"),
        "help": column.help,
        "label": column.label,
        "digits": column.digits,
        "sign": bool(column.sign),
        "compared": column.compared,
    }
    for column in COLUMNS
    if column.on_page or column.compared
}
_STATIC = files("srnas.leaderboard.show") / "web"
_MODULES = ("trials.js", "elements.js", "labels.js", "chart.js", "table.js", "panel.js")


def static_file(name: str) -> bytes:
    """Return a file of the page by name; ``plotly.min.js`` is the one that plotly brings along.

    Raises:
        KeyError: If the page has no such file.
    """
    if name == "plotly.min.js":
        return (files("plotly") / "package_data" / name).read_bytes()
    if name not in STATIC_TYPES:
        raise KeyError(name)
    return (_STATIC / name).read_bytes()


STATIC_TYPES = {
    "index.html": "text/html",
    "page.css": "text/css",
    **dict.fromkeys(("page.js", "plotly.min.js", *_MODULES), "text/javascript"),
}


def study_data(study: StudyRecord, protocol: str, count: int, stored: StudyRun | None = None) -> dict[str, Any]:
    """Return a study as the page reads it.

    Args:
        study: The study.
        protocol: Hash that its trials share of all that their quality depends on.
        count: Number of its trials.
        stored: Where it is in MLflow, if it is.
    """
    iterations = study.config.get("training.iterations", "?")
    return {
        "name": study.name,
        "task": study.task,
        "protocol": protocol,
        "protocol_said": f"{study.validation}, {iterations} iterations ({protocol})",
        "validation": study.validation,
        # Latencies of several inputs are no more alike than those of several devices.
        "device": f"{study.device.key}-{study.timed_input}" if study.timed_input else study.device.key,
        "profile": study.profile_said,
        "bicubic_psnr_y_db": study.bicubic_psnr_y_db,
        "ranked_by": study.ranked_by,
        "count": count,
        "status": stored.status if stored else "FINISHED",
        "ended_ms": stored.ended_ms if stored else None,
        "experiment_id": stored.experiment_id if stored else "",
    }


def trials_data(rows: pd.DataFrame, studies: Sequence[StudyRecord]) -> dict[str, Any]:
    """Return trials as the page reads them: columns and what they are, a list per trial, how each hypervolume grew."""
    kept = rows.reindex(columns=list(PAGE_KEYS)).astype(object)
    plain = kept.where(kept.notna(), None)
    curves = {f"{study.task}/{study.name}": _curve(rows, study) for study in studies}
    return {"columns": list(PAGE_KEYS), "shown": _SHOWN, "rows": plain.to_numpy().tolist(), "curves": curves}


def _curve(rows: pd.DataFrame, study: StudyRecord) -> list[CurvePoint]:
    """Return the start, the points at which the hypervolume grew, and the last: by the PSNR that a search goes by."""
    if rows.empty:
        return []
    own = rows[(rows["study"] == study.name) & (rows["task"] == study.task)].sort_values(["ended_ms", "trial"])
    points = zip(own["psnr_y_db"].where(own["state"] == "complete"), own["latency_fastest_ms"], strict=True)
    known = [point if all(map(math.isfinite, point)) else None for point in points]
    curve = growth(study, float(own["started_ms"].min()), zip(own["ended_ms"].astype(float), known, strict=True))
    whole = [CurvePoint(0, 0.0, 0.0), *curve]
    grown = [point for was, point in pairwise(whole) if point.hypervolume > was.hypervolume or point is whole[-1]]
    return [whole[0], *grown]


def write_page(boards: Sequence[Board], path: Path, details: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write the page with its data to one file, which needs neither server nor network.

    Args:
        boards: What is shown.
        path: The file that is written.
        details: What a side panel shows beyond a trial's row, by ``study:number``: its record as ``trial``, its
            ``places``, and its ``crops`` and what is ``explained`` as URLs of data.
    """
    studies = [board.study for board in boards]
    found = [board.rows.assign(run_id=None) for board in boards if len(board.rows)]
    rows = pd.concat(found) if found else pd.DataFrame()
    data = {
        "studies": [study_data(board.study, _protocol(board), len(board.rows)) for board in boards],
        "details": details or {},
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **trials_data(rows, studies),
    }
    path.write_text(_one_file(data), encoding="utf-8")


def _protocol(board: Board) -> str:
    return str(board.rows["protocol"].iloc[0]) if len(board.rows) else ""


def _one_file(data: Mapping[str, Any]) -> str:
    page, style, script = (static_file(name).decode() for name in ("index.html", "page.css", "page.js"))
    sources = {name: _named(static_file(name).decode()).encode() for name in _MODULES}
    imports = {
        f"srnas/{name}": f"data:text/javascript;base64,{base64.b64encode(source).decode()}"
        for name, source in sources.items()
    }
    plotly = static_file("plotly.min.js").decode().replace("</script", r"<\/script")
    replaced = {
        '<link rel="stylesheet" href="page.css">': f"<style>\n{style}</style>",
        '<link rel="preload" href="plotly.min.js" as="script">': "",
        '<script type="module" src="page.js"></script>': (
            f'<script type="application/json" id="data">{_as_json(data)}</script>\n<script>{plotly}</script>\n'
            f'<script type="importmap">{json.dumps({"imports": imports})}</script>\n'
            f'<script type="module">\n{_named(script)}</script>'
        ),
    }
    for given, text in replaced.items():
        page = page.replace(given, text)
    return page


def _named(script: str) -> str:
    """Return a module whose imports are names: a file inside a file has no place that a path could start from."""
    return re.sub(r'from "\./', 'from "srnas/', script)


def _as_json(data: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the element that holds it."""
    # A name may hold the end of the element that the data stands in.
    return json.dumps(data, allow_nan=False).replace("<", r"\u003c")
