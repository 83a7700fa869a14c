"""Times the trained networks of a study on another target, without any training."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srnas.leaderboard.rank.board import Board, rank_records, rank_rows
from srnas.leaderboard.rank.front import front_numbers, non_dominated
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.timed_quality import as_hoped, over_seeds
from srnas.leaderboard.record.timing import JointTiming
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.leaderboard.store.store import Store
from srnas.nas.judging.judge import time_together
from srnas.nas.revisit.rescoring import load_scorer, rescore
from srnas.nas.run.final_timing import is_settled, time_front_of
from srnas.nas.training.loop import build_seeded
from srnas.nas.workspace.boards import write_figures
from srnas.nas.workspace.own_sources import check_sources
from srnas.nas.workspace.studies import begun, load_snapshot
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import DeviceProfile, MeasuredNetwork, Measurement, Target, measure_latency
from srnas.profiling.runtimes import RuntimeFailedError
from srnas.search_space import Architecture, InputError

# Networks that are timed side by side before the front is known.
_TOGETHER = 6


@dataclass(frozen=True)
class Retimed:
    """The front of a study on another device profile.

    Attributes:
        front_before: Trials on the front, of those that were timed, with the latencies of the study itself.
        board: The networks with their new latencies.
        figures: PNG and HTML of the new front.
        failed: Trials that the runtime cannot run, and why.
    """

    front_before: frozenset[int]
    board: Board
    figures: tuple[Path, ...]
    failed: dict[int, str]


def retime(
    workspace: Workspace,
    study: str,
    target: Target,
    *,
    storage: str | None = None,
    limit: int | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_network: Callable[[str], None] = lambda _: None,
    on_timed: Callable[[int], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Retimed:
    """Time the trained networks of a study on ``target``, the front first, then layer by layer behind it.

    Finally the new front, what is near it and the human designs are timed together, as at the end of a search.

    The result is kept in MLflow under ``STUDY@RUNTIME-PROFILE`` and replaces an earlier one of that name.

    Args:
        workspace: The workspace that holds the study.
        study: Name of the study.
        target: Device and runtime that the networks are timed on.
        storage: URL of the study's storage, if it is not a file of the workspace.
        limit: Largest number of networks to time.
        on_start: Told of the number of networks.
        on_network: Told of each network that is prepared.
        on_timed: Told of the number of networks that are timed.
        on_note: Told when a board is waited for, what is timed together, and what is scored in the data type that is
            timed.

    Raises:
        InputError: If there is no such study, it has no trained network, the runtime can run none of them, or their
            photographs are gone and the data type asks for scores of its own.
        DeviceBusyError: If another process holds the device for too long; nothing is written then.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit >= 1 must hold, but got limit={limit}.")
    known = load_snapshot(workspace, study, storage)
    settings, record, trials = begun(known)
    layers = _layers([trial for trial in known.hoped if trial.point])
    whole = {trial.number: trial for trial in trials}
    chosen = [whole[trial.number] for trial in itertools.islice(layers, limit)]
    if not chosen:
        raise InputError(f"study '{study}' must hold a trained network, but it has none; run 'srnas search' first.")
    for trial in chosen:
        check_sources(trial.architecture, record.config, f"trial {trial.number} of '{study}'")
    # What cannot be scored need not be timed.
    scorer = load_scorer(workspace, settings, known.request, target) if target.dtype != "float32" else None
    # What cannot be written need not be timed either.
    workspace.store.open_experiment(record.experiment)
    on_start(len(chosen))
    shape = (1, 3, *settings.latency_input)
    timed: dict[int, MeasuredNetwork] = {}
    failed: dict[int, str] = {}
    device: DeviceProfile | None = None
    for batch in [chosen[i : i + _TOGETHER] for i in range(0, len(chosen), _TOGETHER)]:
        for measured in _measure(batch, shape, target, on_network, on_note, failed):
            device = measured.device
            timed |= {int(name): measured.of(name) for name in measured.latencies}
        on_timed(len(timed) + len(failed))
    if device is None:
        raise InputError(f"{target.runtime} must run a network of study '{study}', but {next(iter(failed.values()))}")
    kept = [trial for trial in chosen if trial.number in timed]
    after = _study_after(record, target, device)
    # With other seeds nothing is scored as it is timed.
    replicates = () if after.ranks_timed else known.replicates
    changes = {
        "study": after.name,
        "reused": True,
        "timed_together_ms": None,
        "timed_quality": None,
        "timed_reason": "",
    }
    moved = [t.model_copy(update=changes | vars(timed[t.number])) for t in kept]
    moved = _time_front(
        moved,
        lambda them: over_seeds(as_hoped(after, them), replicates),
        lambda them: rescore(workspace, after, them, settings.training.seed, scorer, on_note) if scorer else them,
        lambda them: time_together(them, settings, target, on_note),
        on_note,
    )
    slowest_ms = max(trial.latency.fastest_ms for trial in moved if trial.latency)
    board = _write(workspace.store, after.model_copy(update={"reference_fastest_ms": slowest_ms}), moved, replicates)
    figures = write_figures(board, workspace.figures)
    before = front_numbers([trial for trial in known.ranked if trial.number in timed])
    return Retimed(frozenset(before), board, figures, failed)


def _time_front(
    trials: list[TrialRecord],
    hoped: Callable[[list[TrialRecord]], list[TrialRecord]],
    score: Callable[[list[TrialRecord]], list[TrialRecord]],
    time: Callable[[Mapping[str, Architecture]], Measurement],
    on_note: Callable[[str], None],
) -> list[TrialRecord]:
    """Return trials with their scores, the front and what is near it with the latencies of one run.

    Args:
        trials: Trials with latencies of several moments.
        hoped: Returns trials with the scores that rank them, or may.
        score: Returns trials with the scores that those near the front lack.
        time: Times networks by the numbers of their trials.
        on_note: Told what is timed.
    """
    joint: JointTiming | None = None
    trials = score(trials)
    while not is_settled(hoped(trials), joint):
        joint = time_front_of(hoped(trials), joint, time, on_note)
        if joint is None:
            break
        trials = score([joint.of(trial) for trial in trials])
    return trials


def _study_after(study: StudyRecord, target: Target, device: DeviceProfile) -> StudyRecord:
    """Return what the trials of a study are compared with on another target."""
    name = f"{study.name}@{target.runtime}-{device.key}"
    told = {
        "name": name,
        "timed_on": target.board.name if target.board else str(target.device),
        "runtime": target.runtime,
        "dtype": target.dtype,
        "memory_format": target.memory_format,
        "threads": target.threads,
    }
    changes = {"name": name, "config": study.config | told, "device": device, "retimed_from": study.name}
    return study.model_copy(update=changes)


def _layers(trials: list[TrialRecord]) -> Iterator[TrialRecord]:
    """Yield the front by rising latency, then the front of the rest, and so on."""
    while trials:
        front = non_dominated([trial.point for trial in trials if trial.point])
        layer = [trial for trial, kept in zip(trials, front, strict=True) if kept]
        yield from sorted(layer, key=lambda trial: trial.latency.fastest_ms if trial.latency else 0.0)
        trials = [trial for trial, kept in zip(trials, front, strict=True) if not kept]


def _measure(
    batch: Sequence[TrialRecord],
    shape: tuple[int, int, int, int],
    target: Target,
    on_network: Callable[[str], None],
    on_note: Callable[[str], None],
    failed: dict[int, str],
) -> Iterator[Measurement]:
    """Time a batch side by side; where the runtime refuses a network, one by one."""
    networks = {str(trial.number): build_seeded(trial.architecture, 0).deploy() for trial in batch}
    try:
        yield measure_latency(networks, shape, target, on_prepared=on_network, on_note=on_note)
        return
    except RuntimeFailedError as error:
        if len(batch) == 1:
            failed[batch[0].number] = str(error)
            return
    # After the except clause: the error in it keeps what was prepared alive.
    for trial in batch:
        yield from _measure([trial], shape, target, on_network, on_note, failed)


def _write(store: Store, study: StudyRecord, trials: Sequence[TrialRecord], replicates: Sequence[Replicate]) -> Board:
    earlier = store.search_runs(store.open_experiment(study.experiment), f"tags.`srnas.study` = '{study.name}'")
    try:
        store.delete_study(study)
        parent = store.open_study(study)
        for trial in trials:
            store.write_trial(parent, study, trial)
        store.write_confidence(rank_records(study, trials, replicates))
        board = rank_rows(study, store.rows(study))
        store.close_study(parent, {"front_size": len(board.front), "hypervolume": board.hypervolume}, ())
    # On an interrupt as well: a part of it would pass for the front.
    except BaseException:
        try:
            store.delete_study(study)
        finally:
            for run in earlier:
                store.client.restore_run(run.info.run_id)
        raise
    return board
