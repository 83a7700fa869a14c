"""Official weights in our networks: PSNR-Y and SSIM-Y beside the values that the official code gives.

``--checkpoints`` is a folder of weights with a ``checkpoints.json``, whose ``files`` state for each its ``file``, its
``sha256``, ``network`` (``PlainUSR-S``, ...), ``scale``, and the ``metrics`` (``psnr``, ``ssim``) per test set.
``--data`` is a folder of test sets, each with a folder ``HR`` that is reduced with MATLAB's bicubic ``imresize``.
Inference is on whole images, in float32, on one thread of a CPU. As in most official evaluations, a gray photograph
(``bridge`` of Set14) is judged as RGB; in its gray values (``--gray``) the mean PSNR of Set14 is 0.094 dB lower.

Run it with ``python benchmarks/checkpoints.py --checkpoints FOLDER --data FOLDER``. The exit code is 1 if a difference
exceeds 0.01 dB or 0.0002.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from srnas.nas.cli.boundary import told_errors
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.photos import load_folder
from srnas.search_space.checkpoints import load_network
from srnas.search_space.published import published

_TOLERANCE_DB, _TOLERANCE_SSIM = 0.01, 0.0002
_NAMES = {
    "PlainUSR-U": "plainusr_u",
    "PlainUSR-S": "plainusr_s",
    "PlainUSR-base": "plainusr",
    "A2N": "a2n",
    "SPAN-F": "spanf",
    "SPANV2": "spanv2",
    "RLFN-S": "rlfn_s",
    "RLFN": "rlfn",
    "RLFN-Prune": "rlfn_prune",
    "RFDN": "rfdn",
    "IMDN": "imdn",
    "IMDN-RTC": "imdn_rtc",
    "EFDN": "efdn",
}


@dataclass(frozen=True)
class _Row:
    file: str
    data: str
    psnr_y_db: float
    ssim_y: float
    published_psnr_y_db: float
    published_ssim_y: float

    @property
    def gap_db(self) -> float:
        return self.psnr_y_db - self.published_psnr_y_db

    @property
    def gap_ssim(self) -> float:
        return self.ssim_y - self.published_ssim_y

    @property
    def agrees(self) -> bool:
        return abs(self.gap_db) <= _TOLERANCE_DB and abs(self.gap_ssim) <= _TOLERANCE_SSIM

    def __str__(self) -> str:
        psnr = f"{self.psnr_y_db:8.3f} {self.published_psnr_y_db:9.3f} {self.gap_db:+7.3f}"
        ssim = f"{self.ssim_y:8.4f} {self.published_ssim_y:9.4f} {self.gap_ssim:+8.4f}"
        return f"{self.file:<24} {self.data:<8} {psnr}   {ssim}  {'' if self.agrees else 'DIFFERS'}".rstrip()


def _rows(folder: Path, data: Path, sets: list[str], only: str, gray: bool) -> Iterator[_Row]:
    @cache
    def pairs(name: str, scale: int) -> tuple[Pair, ...]:
        made = make_pairs(load_folder(data / name / "HR"), scale)
        return tuple(pair if gray else replace(pair, gray=False) for pair in made)

    for entry in json.loads((folder / "checkpoints.json").read_text(encoding="utf-8"))["files"]:
        if only.lower() not in entry["file"].lower():
            continue
        path = folder / entry["file"]
        if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            sys.exit(f"the SHA-256 of '{path}' must be {entry['sha256']}, but it is not; fetch it again.")
        for name in sets:
            if name in entry["metrics"]:
                yield _row(entry, path, name, pairs(name, entry["scale"]))


def _name(entry: dict[str, Any]) -> str:
    official = entry["network"].split()[0].rstrip(",")
    if official == "SPAN":
        return f"span_c{entry['constructor']['feature_channels']}"
    if "mid_channels" in entry.get("constructor", {}):
        official = "RLFN-Prune"
    return _NAMES[official]


def _row(entry: dict[str, Any], path: Path, name: str, pairs: tuple[Pair, ...]) -> _Row:
    architecture = published(_name(entry), entry["scale"])
    network = load_network(architecture, path).deploy()
    found = evaluate(network, pairs, architecture.scale, torch.device("cpu"))
    theirs = entry["metrics"][name]
    return _Row(path.name, name, found.mean_psnr_y_db, found.mean_ssim_y, theirs["psnr"], theirs["ssim"])


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description="Official weights in our networks, beside the official results.")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of weights and checkpoints.json")
    parser.add_argument("--data", type=Path, required=True, help="folder of test sets, each with a folder HR")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14", "BSD100"], help="names of test sets")
    parser.add_argument("--only", default="", help="only files whose name contains this")
    parser.add_argument("--gray", action="store_true", help="judge gray photographs in their gray values")
    options = parser.parse_args()
    for path in (options.checkpoints / "checkpoints.json", *(options.data / name / "HR" for name in options.sets)):
        if not path.exists():
            parser.error(f"'{path}' must exist")
    torch.set_num_threads(1)
    print(
        f"{'file':<24} {'set':<8} {'PSNR-Y':>8} {'official':>9} {'diff':>7}   {'SSIM-Y':>8} {'official':>9} {'diff':>8}"
    )
    rows = []
    for row in _rows(options.checkpoints, options.data, options.sets, options.only, options.gray):
        rows.append(row)
        print(row, flush=True)
    differing = sum(not row.agrees for row in rows)
    print(f"{len(rows)} evaluations, {differing} beyond {_TOLERANCE_DB} dB or {_TOLERANCE_SSIM}")
    sys.exit(differing > 0 or not rows)


if __name__ == "__main__":
    with told_errors("checkpoints.py"):
        main()
