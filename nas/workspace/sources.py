"""A trained network by the name that a user gives: a published network, a file, or a trial of a study."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from srnas.leaderboard.record.finals import FinalRecord, FinalResult
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.answering import StoreLostError, answering
from srnas.nas.workspace.boards import find_study, load_records
from srnas.nas.workspace.finals import FINAL_ARCHITECTURE, find_final
from srnas.nas.workspace.own_sources import check_key, check_sources
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import Architecture, InputError, Network, unknown_name
from srnas.search_space.checkpoints import load_network
from srnas.search_space.published import PUBLISHED, published

# The key of an architecture.
KEY = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class SourceRequest:
    """What a user names: ``network``, ``scale`` and ``checkpoint``, or ``trial`` and ``study``.

    Attributes:
        network: A published network, or the path of an architecture as JSON.
        checkpoint: File of the network's weights.
        scale: Upscaling factor; may be omitted where the architecture states it.
        trial: Number of a trained trial.
        study: Name of the trial's study; ``None`` takes the newest.
        plain_weights: Whether the plain weights are taken where a moving average stands beside them.
    """

    network: str | None = None
    checkpoint: Path | None = None
    scale: int | None = None
    trial: int | None = None
    study: str | None = None
    plain_weights: bool = False


class Judged(NamedTuple):
    """A trial with what it was compared with.

    Attributes:
        study: Record of the study.
        trial: Record of the trial in that study.
    """

    study: StudyRecord
    trial: TrialRecord

    @property
    def label(self) -> str:
        """What the trial is called."""
        return f"trial {self.trial.number} of '{self.study.name}'"


@dataclass(frozen=True, eq=False)
class Source:
    """A trained network.

    Attributes:
        network: The network in deploy form on the CPU.
        label: Name of the network for messages.
        checkpoint: File that the weights are from.
        judged: Trial and study that trained it, if one did.
        final: The training on the long schedule that gave the weights, if one did.
    """

    network: Network
    label: str
    checkpoint: Path
    judged: Judged | None = None
    final: FinalResult | None = None

    @property
    def architecture(self) -> Architecture:
        """What the network was built from."""
        return self.network.architecture


def load_source(workspace: Workspace, request: SourceRequest) -> Source:
    """Return the network that ``request`` names.

    Raises:
        InputError: If it names none or more than one, or what it names does not exist or does not fit.
    """
    _check(request)
    if request.trial is not None:
        study = find_study(workspace, request.study)
        [trial] = load_records(workspace, study, [request.trial])
        judged = Judged(study, trial)
        _check_scale(request, trial.architecture, judged.label)
        return _of_trial(workspace, judged)
    assert request.network is not None
    assert request.checkpoint is not None
    architecture, label = _of_network(request.network, request.scale)
    _check_scale(request, architecture, label)
    network = load_network(architecture, request.checkpoint, average=not request.plain_weights)
    return Source(network.deploy(), label, request.checkpoint)


def load_key(workspace: Workspace, key: str) -> Source:
    """Return the network of a key: as ``srnas train`` trained it last, else as the newest trial did.

    A trial that scored better on the same photographs than the long training is preferred to it.

    Raises:
        InputError: If neither did.
    """
    found = find_final(workspace, key) if KEY.fullmatch(key) else None
    if found is None:
        return _of_trial(workspace, find_trained(workspace, key))
    folder, final = found
    judged = find_search(workspace, final.record)
    if judged is not None and final.outdone_by(*judged):
        with contextlib.suppress(InputError):  # Its weights may be gone.
            return _of_trial(workspace, judged)
    check_sources(final.record.architecture, final.record.config, f"'{key}'")
    network = load_network(final.record.architecture, folder.weights).deploy()
    return Source(network, key, folder.weights, judged, final)


def find_search(workspace: Workspace, record: FinalRecord) -> Judged | None:
    """Return study and trial that judged what is trained on the long schedule, if they are there still."""
    if record.trial is None:
        return None
    try:
        with answering():
            study = find_study(workspace, record.study)
            [trial] = load_records(workspace, study, [record.trial])
    except (InputError, StoreLostError):
        return None
    # Another study may have taken the name.
    return Judged(study, trial) if trial.architecture == record.architecture else None


def _check(request: SourceRequest) -> None:
    if (request.network is None) == (request.trial is None):
        given = "neither" if request.network is None else "both"
        raise InputError(f"one of --network (with --checkpoint) and --trial must be given, but got {given}.")
    if request.trial is None and request.checkpoint is None:
        raise InputError(
            f"--network must come with --checkpoint, the file of its weights, but got '{request.network}'."
        )
    if request.trial is None and request.study is not None:
        raise InputError(f"--study belongs to --trial, but got --study {request.study} with --network.")
    if request.trial is not None and request.checkpoint is not None:
        raise InputError("--trial brings its own weights, but got --checkpoint too; give the one or the other.")


def _check_scale(request: SourceRequest, architecture: Architecture, label: str) -> None:
    scale = architecture.scale
    if request.scale not in (None, scale):
        raise InputError(f"--scale must be {scale}, that of {label}, but got --scale {request.scale}.")


def _of_network(network: str, scale: int | None) -> tuple[Architecture, str]:
    path = Path(network)
    if network not in PUBLISHED and (path.suffix == ".json" or path.is_file()):
        return read_architecture(path), path.stem
    if scale is None and network in PUBLISHED:
        raise InputError(f"--scale must be given for the published network '{network}'.")
    return published(network, 2 if scale is None else scale), network


def read_architecture(path: Path) -> Architecture:
    """Return the architecture of a file that holds one as JSON.

    Raises:
        InputError: If there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise InputError(f"a file of an architecture must exist, but got '{path}'.")
    try:
        return Architecture.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise InputError(f"'{path}' must hold an architecture, but {error}") from None


def find_trained(workspace: Workspace, key: str) -> Judged:
    """Return the newest trial that trained an architecture, of those whose weights are here if there are any.

    Raises:
        InputError: If none did.
    """
    if not KEY.fullmatch(key):
        raise InputError(
            f"a key must be 12 hexadecimal digits, but got '{key}'; 'srnas leaderboard --json' lists keys."
        )
    newest: Judged | None = None
    for judged in _of_rows(workspace, workspace.store.trained(key)) if workspace.has_store else ():
        if workspace.weights(judged.trial).is_file():
            return judged
        newest = newest or judged
    if newest is None:
        raise InputError(
            f"workspace '{workspace}' must hold a trained network of key {key}, but it does not; "
            "'srnas leaderboard --json' lists the keys of a study."
        )
    return newest


def find_judged(workspace: Workspace, key: str) -> Judged | None:
    """Return the newest trial of an architecture, trained or not, if one can be found."""
    if not workspace.has_store:
        return None
    try:
        with answering():
            return next(_of_rows(workspace, workspace.store.judged(key)), None)
    except StoreLostError:
        return None


def _of_rows(workspace: Workspace, rows: Sequence[Mapping[str, Any]]) -> Iterator[Judged]:
    """Yield the trials of the studies that trained their networks themselves."""
    # Rows of retimed studies are copies: the weights are those of the study that trained.
    own = {(study.task, study.name): study for study in workspace.store.studies() if not study.retimed_from}
    for row in rows:
        if study := own.get((row["task"], row["study"])):
            yield Judged(study, workspace.store.trial(str(row["run_id"])))


def find_architecture(name: str, scale: int | None, workspace: Workspace) -> Architecture:
    """Return the architecture of a published network, of a key in the workspace, or of a file of JSON.

    Args:
        name: Name of a published network, a key, or the path of a file.
        scale: Upscaling factor of a published network.
        workspace: Where keys are looked up.

    Raises:
        InputError: If there is no such network, its scale is not given, or MLflow does not answer.
    """
    if name in PUBLISHED or Path(name).is_file() or name.endswith(".json"):
        return _of_network(name, scale)[0]
    if KEY.fullmatch(name):
        try:
            with answering():
                found = workspace.store.architecture(name) if workspace.has_store else None
        except StoreLostError as error:
            raise InputError(
                f"MLflow must answer to look up key {name}, but got {error}; give the file of the architecture."
            ) from None
        # What 'srnas train' trained by the name of a network is in no study.
        files = list(workspace.finals.glob(f"{name}-*/{FINAL_ARCHITECTURE}"))
        if found is None and not files:
            raise InputError(
                f"workspace '{workspace}' must hold architecture {name}, but it does not; "
                "'srnas leaderboard --json' lists the keys of a study."
            )
        architecture = Architecture.from_dict(found) if found else Architecture.from_json(files[0].read_text("utf-8"))
        check_key(architecture, name)
        return architecture
    known = unknown_name("network", name, PUBLISHED)
    raise InputError(f"{known} Or give an architecture's key of 12 digits, or its file.")


def _of_trial(workspace: Workspace, judged: Judged) -> Source:
    check_sources(judged.trial.architecture, judged.study.config, judged.label)
    trial, weights = judged.trial, workspace.weights(judged.trial)
    if not weights.is_file():
        ended = trial.state.replace("_", " ") + (f" ({trial.reason})" if trial.reason else "")
        other = f"bring them from '{trial.host}', or choose another" if trial.point else "choose a trained"
        raise InputError(
            f"{judged.label} must have weights, but it is {ended} and '{weights}' does not exist; {other} trial."
        )
    return Source(load_network(trial.architecture, weights).deploy(), judged.label, weights, judged)
