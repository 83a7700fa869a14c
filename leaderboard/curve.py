"""The hypervolume of a study as it grew, over trials and over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from srnas.leaderboard.front import hypervolume
from srnas.leaderboard.record import StudyRecord, TrialRecord

# Number of ended trials, minutes since the first began, hypervolume.
Step = tuple[int, float, float]


def hypervolume_curve(study: StudyRecord, trials: Sequence[TrialRecord]) -> list[Step]:
    """Return the hypervolume after each trial, in the order in which they ended."""
    ended = sorted(trials, key=lambda trial: (trial.ended_ms, trial.number))
    first_ms = min((trial.started_ms for trial in trials), default=0)
    reference = (study.reference_psnr_y_db, study.reference_latency_ms)
    points, curve = [], []
    for count, trial in enumerate(ended, 1):
        if trial.point:
            points.append(trial.point)
        curve.append((count, (trial.ended_ms - first_ms) / 60_000, hypervolume(points, reference)))
    return curve


def write_curve(curves: Mapping[str, Sequence[Step]], path: Path) -> None:
    """Draw curves by name as PNG: over trials on the left, over minutes on the right."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, curve in curves.items():
        counts, minutes, volumes = zip(*curve, strict=True) if curve else ((), (), ())
        left.step(counts, volumes, where="post", label=name)
        right.step(minutes, volumes, where="post")
    left.set(xlabel="trials that ended", ylabel="hypervolume in dB x ln(ms)")
    right.set(xlabel="minutes")
    left.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=150)
