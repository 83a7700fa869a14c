"""A trained network from what a user names: a published network, a file, or a trial of a study."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srnas.leaderboard import FinalRecord, FinalResult, Store, StoreLostError, StudyRecord, TrialRecord, answering
from srnas.nas.boards import load_board, load_records
from srnas.nas.cache import ResultCache
from srnas.nas.final_files import find_final
from srnas.search_space import Architecture, InputError, Network, unknown_name
from srnas.search_space.checkpoints import load_network
from srnas.search_space.published import PUBLISHED, published

# Of an architecture.
KEY = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class SourceRequest:
    """What a user names: ``network``, ``scale`` and ``checkpoint``, or ``trial``, ``study`` and ``workspace``.

    Attributes:
        network: A published network, or the path of an architecture as JSON.
        checkpoint: File of its weights.
        scale: Upscaling factor; may be omitted where the architecture states it.
        trial: Number of a trained trial.
        study: Its study; ``None`` takes the newest.
        workspace: Folder of the study.
    """

    network: str | None = None
    checkpoint: Path | None = None
    scale: int | None = None
    trial: int | None = None
    study: str | None = None
    workspace: Path = Path()


@dataclass(frozen=True, eq=False)
class Source:
    """A trained network.

    Attributes:
        network: In deploy form, on the CPU.
        label: What it is called.
        checkpoint: Where its weights are from.
        study: The study that trained it, if one did.
        trial: Its record there.
        final: The training on the long schedule that its weights are of, if they are of one.
    """

    network: Network
    label: str
    checkpoint: Path
    study: str = ""
    trial: TrialRecord | None = None
    final: FinalResult | None = None

    @property
    def architecture(self) -> Architecture:
        """What the network was built from."""
        return self.network.architecture


def load_source(request: SourceRequest) -> Source:
    """Return the network that ``request`` names.

    Raises:
        InputError: If it names none or more than one, or what it names does not exist or does not fit.
    """
    _check(request)
    study, record = "", None
    if request.trial is not None:
        study, record, checkpoint = _of_trial(request, request.trial)
        architecture, label = record.genotype, f"trial {record.number} of '{study}'"
    else:
        assert request.network is not None
        assert request.checkpoint is not None
        architecture, label = _of_network(request.network, request.scale)
        checkpoint = request.checkpoint
    if request.scale not in (None, architecture.scale):
        raise InputError(f"--scale must be {architecture.scale}, that of {label}, but got --scale {request.scale}.")
    return Source(load_network(architecture, checkpoint).deploy(), label, checkpoint, study, record)


def load_key(workspace: Path, key: str) -> Source:
    """Return the network of a key: as ``srnas train`` trained it last, else as the newest trial did.

    A trial that scored better on the same photographs than the long training is preferred to it.

    Raises:
        InputError: If neither did.
    """
    found = find_final(workspace, key) if KEY.fullmatch(key) else None
    if found is None:
        study, number = find_trained(workspace, key)
        return load_source(SourceRequest(trial=number, study=study, workspace=workspace))
    folder, final = found
    search = find_search(workspace, final.record)
    if search is not None and final.outdone_by(*search):
        with contextlib.suppress(InputError):  # Its weights may be gone.
            return load_source(SourceRequest(trial=search[1].number, study=search[0].name, workspace=workspace))
    network = load_network(final.record.genotype, folder.weights).deploy()
    if search is None:
        return Source(network, key, folder.weights, final=final)
    return Source(network, key, folder.weights, search[0].name, search[1], final)


def find_search(workspace: Path, record: FinalRecord) -> tuple[StudyRecord, TrialRecord] | None:
    """Return study and trial that judged what is trained on the long schedule, if they are there still."""
    if record.trial is None:
        return None
    try:
        with answering():
            board = load_board(workspace, record.study)
            [trial] = load_records(workspace, board, [record.trial])
    except (InputError, StoreLostError):
        return None
    # Another study may have taken the name.
    return (board.study, trial) if trial.genotype == record.genotype else None


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


def find_trained(workspace: Path, key: str) -> tuple[str, int]:
    """Return study and number of the newest trial that trained an architecture.

    Raises:
        InputError: If none did.
    """
    if not KEY.fullmatch(key):
        raise InputError(
            f"a key must be 12 hexadecimal digits, but got '{key}'; 'srnas leaderboard --json' lists keys."
        )
    if Store.exists(workspace):
        store = Store(workspace)
        found = _newest(store, store.trained(key))
        if found is not None:
            return found
    raise InputError(
        f"workspace '{workspace}' must hold a trained network of key {key}, but it does not; "
        "'srnas leaderboard --json' lists the keys of a study."
    )


def find_judged(workspace: Path, key: str) -> tuple[str, int] | None:
    """Return study and number of the newest trial of an architecture, trained or not, if one can be found."""
    if not Store.exists(workspace):
        return None
    store = Store(workspace)
    try:
        with answering():
            return _newest(store, store.judged(key))
    except StoreLostError:
        return None


def _newest(store: Store, rows: list[dict[str, Any]]) -> tuple[str, int] | None:
    own = {study.name for study in store.studies() if not study.retimed_from}
    return next(((row["study"], row["trial"]) for row in rows if row["study"] in own), None)


def find_architecture(name: str, scale: int | None, workspace: Path) -> Architecture:
    """Return the architecture of a published network, of a key in the workspace, or of a file of JSON.

    Args:
        name: Of the network, the key or the path.
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
                found = Store(workspace).architecture(name) if Store.exists(workspace) else None
        except StoreLostError as error:
            raise InputError(
                f"MLflow must answer to look up key {name}, but got {error}; give the file of the architecture."
            ) from None
        if found is None:
            raise InputError(
                f"workspace '{workspace}' must hold architecture {name}, but it does not; "
                "'srnas leaderboard --json' lists the keys of a study."
            )
        return Architecture.from_dict(found)
    known = unknown_name("network", name, PUBLISHED)
    raise InputError(f"{known} Or give an architecture's key of 12 digits, or its file.")


def _of_trial(request: SourceRequest, number: int) -> tuple[str, TrialRecord, Path]:
    board = load_board(request.workspace, request.study)
    name, [record] = board.study.name, load_records(request.workspace, board, [number])
    weights = ResultCache(request.workspace / "cache", record.protocol).weights(record.genotype.key)
    if not weights.is_file():
        ended = record.state.replace("_", " ") + (f" ({record.reason})" if record.reason else "")
        raise InputError(
            f"trial {number} of study '{name}' must have weights, but it is {ended} and '{weights}' does not exist; "
            "choose a trained trial."
        )
    return name, record, weights
