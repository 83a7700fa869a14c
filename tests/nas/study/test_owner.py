"""A process is known whatever the clock says, and only by the processes that see it."""

import os
import sys

import psutil
import pytest

from srnas.nas.study.owner import Owner

NO_PROCESS = 2**22 + 1


def test_a_living_process_and_one_that_is_gone():
    this = Owner.this()
    assert (this.is_this, this.is_here, this.is_dead) == (True, True, False)
    other = Owner.of(os.getppid())
    assert (other.is_this, other.is_here, other.is_dead) == (False, True, False)
    assert this._replace(pid=NO_PROCESS).is_dead
    # The number is used again.
    assert this._replace(since=this.since - 10).is_dead
    assert Owner.parse(this.plain()) == this


@pytest.mark.skipif(sys.platform != "linux", reason="the clock of another system is read elsewise")
def test_a_clock_that_is_set_makes_no_process_dead(monkeypatch):
    this, other, booted = Owner.this(), Owner.of(os.getppid()), psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 60)
    assert this.is_this
    assert not this.is_dead
    assert not other.is_dead


@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
def test_a_process_that_is_not_seen_from_here_is_not_known_to_be_dead(elsewhere):
    other = Owner.this()._replace(pid=NO_PROCESS, **elsewhere)
    assert not other.is_here
    assert not other.is_dead
