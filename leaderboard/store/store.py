"""The MLflow store: created safely, written once per trial, read as rows.

One parent run per study, one child per trial on one flat level below it. ``MLFLOW_TRACKING_URI`` replaces the
workspace's own SQLite file.
"""

import json
import math
import os
import socket
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import psutil

# Before the import, with which MLflow starts its telemetry.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.record.columns import DOUBT
from srnas.leaderboard.record.row import TrialRow
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.leaderboard.store.answering import ask_briefly
from srnas.leaderboard.store.files import (
    STORE_FILE,
    artifacts_here,
    artifacts_uri,
    create_sqlite,
    is_local,
    put_locations_right,
    store_lock,
    tracking_server,
)
from srnas.leaderboard.store.mlflow_private import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    files_of,
    quieten,
    redirect_artifacts,
)
from srnas.leaderboard.store.reading import Results
from srnas.leaderboard.store.runs import (
    WHOLE,
    as_metrics,
    device_tags,
    process_tags,
    row_metrics,
    row_tags,
    trial_params,
)

# MLflow refuses a longer value of a parameter.
_PARAM_LENGTH = 6000
# What a rule of the study ended is a result; every other end is a failure.
_STATUS = {"complete": "FINISHED", "over_budget": "FINISHED", "stopped": "FINISHED"}


class Store(Results):
    """Writes studies and trials to MLflow and reads them back.

    Args:
        workspace: Folder of the SQLite file and the artifacts; created if missing.

    Raises:
        InputError: If the workspace cannot be written.
    """

    def __init__(self, workspace: Path) -> None:
        quieten()
        ask_briefly(retries=1, timeout_s=10)
        self.workspace = workspace.resolve()
        self._is_right = False
        server = tracking_server()
        self.uri = server or create_sqlite(self.workspace)
        super().__init__(MlflowClient(tracking_uri=self.uri))
        if not server:
            redirect_artifacts(self.client, lambda uri: artifacts_here(uri, self.workspace))

    @staticmethod
    def exists(workspace: Path) -> bool:
        """Return whether there is anything to read: a tracking server, or the workspace's own file."""
        return not is_local() or (workspace / STORE_FILE).is_file()

    def open_study(self, study: StudyRecord) -> str:
        """Return the id of the study's parent run, made if missing; end the runs of dead processes."""
        experiment = self.open_experiment(study.experiment)
        self.close_dead(experiment)
        if found := self.find_study(study):
            return found
        tags = {
            "srnas.role": "study",
            "srnas.study": study.name,
            "srnas.record": study.model_dump_json(),
            MLFLOW_RUN_NAME: study.name,
            MLFLOW_RUN_NOTE: _page_link(study),
            **device_tags(study),
            **process_tags(),
        }
        run = self.client.create_run(experiment, tags=tags, run_name=study.name)
        params = [Param(key, str(value)[:_PARAM_LENGTH]) for key, value in sorted(study.config.items())]
        metrics = {"bicubic_psnr_y_db": study.bicubic_psnr_y_db, "bicubic_ssim_y": study.bicubic_ssim_y}
        self.client.log_batch(run.info.run_id, as_metrics(metrics), params)
        return str(run.info.run_id)

    def find_study(self, study: StudyRecord) -> str | None:
        """Return the id of the study's parent run, if there is one."""
        filters = f"tags.`srnas.study` = '{study.name}' and tags.`srnas.role` = 'study'"
        runs = self.client.search_runs([self.open_experiment(study.experiment)], filters, max_results=1)
        return next((str(run.info.run_id) for run in runs), None)

    def written_trials(self, study: StudyRecord) -> set[int]:
        """Return the numbers of the study's trials that have a finished run."""
        filters = f"tags.`srnas.study` = '{study.name}' and tags.`srnas.role` = 'trial'"
        runs = self.whole_runs(self.open_experiment(study.experiment), filters)
        return {int(run.data.tags["srnas.trial"]) for run in runs}

    def write_trial(self, parent: str, study: StudyRecord, trial: TrialRecord) -> str | None:
        """Write one finished trial as a child of ``parent``, in one batch.

        Returns:
            The id of its run, or ``None`` if the trial is there already. What a process left that died while it wrote
            is replaced.
        """
        experiment = self.open_experiment(study.experiment)
        filters = f"tags.`srnas.study` = '{study.name}' and tags.`srnas.trial` = '{trial.number}'"
        if self._is_written(experiment, f"{filters} and tags.`srnas.role` = 'trial'"):
            return None
        row = replace(TrialRow.of(trial), study=study.name)
        tags = {
            "srnas.role": "trial",
            **row_tags(row),
            MLFLOW_RUN_NOTE: _page_link(study, trial.number),
            MLFLOW_PARENT_RUN_ID: parent,
            **device_tags(study),
            **process_tags(),
        }
        name = f"{study.name}-{trial.number:04d}"
        run = self.client.create_run(experiment, start_time=trial.started_ms, tags=tags, run_name=name)
        run_id = str(run.info.run_id)
        rungs = [Metric("rung_psnr_y_db", r.psnr_y_db, trial.ended_ms, r.iteration) for r in trial.rungs]
        metrics = [*as_metrics(row_metrics(row), trial.ended_ms), *(m for m in rungs if math.isfinite(m.value))]
        self.client.log_batch(run_id, metrics, trial_params(study, trial))
        with tempfile.TemporaryDirectory() as folder:
            files = {
                "architecture.json": json.dumps(trial.architecture.to_dict()),
                "trial.json": trial.model_dump_json(),
            }
            for file, text in files.items():
                Path(folder, file).write_text(text, encoding="utf-8")
            self.client.log_artifacts(run_id, folder)
        # Last: by its status a run counts as whole, and one that is not is written anew.
        self.client.set_terminated(run_id, _STATUS.get(trial.state, "FAILED"), trial.ended_ms)
        return run_id

    def write_replicate(self, parent: str, study: StudyRecord, replicate: Replicate) -> bool:
        """Write a network that was trained again with another seed, unless it is there; return whether it was not.

        What a process left that died while it wrote is replaced.
        """
        experiment = self.open_experiment(study.experiment)
        name = f"{study.name}-{replicate.number:04d}-seed{replicate.seed}"
        filters = (
            f"tags.`srnas.study` = '{study.name}' and tags.`srnas.role` = 'replicate' "
            f"and tags.`srnas.trial` = '{replicate.number}' and tags.`srnas.seed` = '{replicate.seed}'"
        )
        if self._is_written(experiment, filters):
            return False
        tags = {
            "srnas.role": "replicate",
            "srnas.study": study.name,
            "srnas.trial": str(replicate.number),
            "srnas.seed": str(replicate.seed),
            MLFLOW_PARENT_RUN_ID: parent,
            **process_tags(),
        }
        run = self.client.create_run(experiment, tags=tags, run_name=name)
        values = {
            f"psnr_y_db.{study.validation}": replicate.quality.mean_psnr_y_db,
            f"ssim_y.{study.validation}": replicate.quality.mean_ssim_y,
            "train_s": replicate.train_s,
        }
        self.client.log_batch(run.info.run_id, as_metrics(values))
        self.client.log_dict(run.info.run_id, replicate.model_dump(mode="json"), "replicate.json")
        self.client.set_terminated(run.info.run_id)
        return True

    def _is_written(self, experiment: str, filters: str) -> bool:
        """Return whether a run is there and whole; delete what is there and is not."""
        for run in self.search_runs(experiment, filters):
            if run.info.status in WHOLE:
                return True
            self.client.delete_run(run.info.run_id)
        return False

    def write_confidence(self, board: Board) -> int:
        """Write what is known of the doubt of trials, in place of what was written.

        Of those that were trained once, only what may be on the front has it.

        Args:
            board: Ranked with :func:`confidence_rows`.

        Returns:
            For how many trials that was not there yet.
        """
        written = 0
        wanted = {row["trial"]: row for row in board.records()}
        for before in self.rows(board.study).to_dict("records"):
            row = wanted.get(before["trial"], {})
            was = {name: before[name] for name in DOUBT if pd.notna(before.get(name))}
            now = {name: row[name] for name in DOUBT if row.get(name) is not None}
            if (now.get("front_probability") or "psnr_mean_db" in now or was) and now != was:
                # A metric cannot be taken back, only be overwritten.
                values = dict.fromkeys(was, math.nan) | now
                time_ms = int(time.time() * 1000)
                metrics = [Metric(name, float(value), time_ms, 0) for name, value in values.items()]
                self.client.log_batch(str(before["run_id"]), metrics)
                written += 1
        return written

    def log_progress(self, parent: str, step: int, metrics: Mapping[str, float], ended_ms: int) -> None:
        """Append to the study's curves, at the time when a trial ended."""
        now = int(time.time() * 1000)
        points = [Metric(key, value, ended_ms, step) for key, value in metrics.items()]
        self.client.log_batch(parent, points, tags=[RunTag("srnas.heartbeat", str(now // 1000))])

    def close_study(
        self, parent: str, metrics: Mapping[str, float], files: Iterable[Path], *, killed: bool = False
    ) -> None:
        """Write the outcome of a study to its parent run and end it."""
        self.client.log_batch(parent, as_metrics(metrics))
        for file in files:
            self.client.log_artifact(parent, str(file))
        self.client.set_terminated(parent, "KILLED" if killed else "FINISHED")

    def delete_study(self, study: StudyRecord) -> None:
        """Delete the runs of a study as MLflow does: they can be restored."""
        self.delete_named(study.name, {study.experiment})

    def delete_named(self, name: str, experiments: Collection[str] | None = None) -> None:
        """Delete the runs of the studies of a name, in these experiments or in all that hold studies."""
        for experiment in self.experiments(experiments):
            for run in self.search_runs(experiment, f"tags.`srnas.study` = '{name}'"):
                self.client.delete_run(run.info.run_id)

    def add_files(
        self, study: StudyRecord, files: Mapping[int, Mapping[str, Sequence[Path]]], *, replacing: bool = False
    ) -> int:
        """Log files of trials, by trial number and folder among the artifacts, that are not there yet, or in any case.

        Returns:
            How many trials lacked any.
        """
        added = set()
        for number, folders in files.items():
            filters = (
                f"tags.`srnas.study` = '{study.name}' and tags.`srnas.role` = 'trial' "
                f"and tags.`srnas.trial` = '{number}'"
            )
            for run in self.search_runs(self.open_experiment(study.experiment), filters):
                for folder, paths in folders.items():
                    there = files_of(self.client, run.info.run_id, folder)
                    for path in paths:
                        if replacing or path.name not in there:
                            self.client.log_artifact(run.info.run_id, str(path), folder)
                            added.add(number)
        return len(added)

    def open_experiment(self, name: str) -> str:
        """Return the id of an experiment, made if missing."""
        # MLflow refuses the second of two experiments of one name that processes create at once.
        with store_lock(self.workspace):
            self.put_right()
            found = self.client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            return str(self.client.create_experiment(name, artifacts_uri(self.workspace) if is_local() else None))

    def put_right(self) -> None:
        """Let MLflow itself find the files of runs, also if the workspace was moved."""
        if is_local() and not self._is_right:
            put_locations_right(self.workspace)
            self._is_right = True

    def close_dead(self, experiment: str) -> None:
        """End the runs that a process of this host left RUNNING when it died."""
        for run in self.search_runs(experiment, "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            pid = tags.get("srnas.pid", "")
            if tags.get("srnas.host") == socket.gethostname() and pid.isdigit() and not psutil.pid_exists(int(pid)):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def reopen(self, parent: str) -> None:
        """Mark a study's run as running again, in this process."""
        self.client.update_run(parent, "RUNNING")
        self.client.log_batch(parent, tags=[RunTag(key, value) for key, value in process_tags().items()])


def _page_link(study: StudyRecord, number: int | None = None) -> str:
    """Return the description of a run: a link to the leaderboard page on the same server."""
    query = urlencode({"study": study.name} | ({} if number is None else {"open": f"{study.name}:{number}"}))
    return f"[Leaderboard](/leaderboard/?{query}) (on a server that `srnas ui` starts)"
