"""``srnas target`` on this machine."""

from types import SimpleNamespace

import pytest

from srnas.nas.cli import target


def test_an_agent_ends_with_the_command_that_serves(monkeypatch):
    told = []

    class Agent:
        def __init__(self, command):
            self.waits = [KeyboardInterrupt, None]
            told.append(command[2:])

        def wait(self):
            if error := self.waits.pop(0):
                raise error
            told.append("ended")

        def terminate(self):
            told.append("stop")

    monkeypatch.setattr(target.subprocess, "Popen", Agent)
    with pytest.raises(KeyboardInterrupt):
        target.serve(SimpleNamespace(args=["--port", "7788"]))
    assert told == [["--port", "7788"], "stop", "ended"]
