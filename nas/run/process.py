"""A worker as a process of its own: ``python -m srnas.nas.run.process WORKSPACE STUDY TASK CHANGES``.

The changes are JSON: options of the search that differ in this process. What it says goes to its standard output, an
error to its standard error with an exit code that says whether to start it again.
"""

import json
import signal
import sys
from pathlib import Path

from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.nas.errors import DeviceLostError
from srnas.nas.judging.observer import Observer
from srnas.nas.run.join import join
from srnas.nas.run.tasks import BUSY, Task
from srnas.nas.stops import interrupt_once
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import DeviceBusyError
from srnas.search_space import InputError


class _Log(Observer):
    """Writes a line for every note and every candidate."""

    def on_note(self, text: str) -> None:
        """Write a note."""
        _write(text)

    def on_record(self, record: TrialRecord, on_front: bool) -> None:
        """Write how a candidate ended."""
        _write(f"trial {record.number} {record.architecture}: {record.state} {record.reason}".rstrip())

    def on_replicate(self, record: TrialRecord, again: Replicate) -> None:
        """Write what was trained again."""
        _write(f"trial {record.number} {record.architecture}: trained with seed {again.seed}")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    # Into a file Python writes in blocks, and a worker that is killed would take its last lines along.
    sys.stdout.flush()


def main() -> None:
    """Work on the study that the arguments name."""
    workspace, study, task, changes = sys.argv[1:]
    interrupt_once(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        standing = join(Workspace(Path(workspace)), study, _Log(), Task(task), **json.loads(changes))
    except (InputError, DeviceBusyError) as error:
        sys.stderr.write(f"{error}\n")
        # A worker that ends with 2 is not started again, and only another process may use a lost device.
        sys.exit(BUSY if isinstance(error, DeviceBusyError) else 1 if isinstance(error, DeviceLostError) else 2)
    _write(f"nothing is left to do ({standing.value})")


if __name__ == "__main__":
    main()
