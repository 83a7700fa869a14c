"""Workers on a local Ray cluster: one is killed, and the study completes."""

import os
import signal
from collections import Counter
from dataclasses import replace

import psutil
import pytest

from srnas.nas.launch import launch
from srnas.nas.observer import Observer
from srnas.nas.stored import stored_records

pytest.importorskip("ray", reason="needs srnas[ray]")


class Killer(Observer):
    """Kills the process that has judged the first candidate, while it is at its next."""

    def __init__(self):
        super().__init__()
        self.killed = 0

    def on_record(self, record, on_front):
        if not self.killed:
            self.killed = record.pid
            os.kill(record.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_worker_is_replaced(search_request, brief_latency):
    killer = Killer()
    request = replace(search_request, engine="ray", workers=2, trials=8)
    outcome = launch(request, killer)
    _, _, records = stored_records(request.workspace, outcome.board.study.name)
    assert len(records) == 8
    assert {record.state for record in records} == {"complete"}
    assert max(Counter(record.genotype.key for record in records).values()) == 1
    assert not psutil.pid_exists(killer.killed)
    assert len({record.pid for record in records} - {killer.killed, os.getpid()}) >= 1
