"""Programs in fresh processes, forked where the libraries that they need are imported already, but nothing of ours.

Starting an interpreter takes seconds of imports for each. What is about imports themselves, signals to the whole group
or the very start of a process is tested with ``subprocess``.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SRNAS = "from srnas.nas.cli import main; main()"
_LIBRARIES = (
    *("torch", "torch._dynamo", "fvcore.nn", "ptflops", "pydantic", "typer", "rich.table", "numpy", "PIL.Image"),
    *("pandas", "optuna", "mlflow", "mlflow.store.tracking.sqlalchemy_store", "skimage", "sklearn.datasets"),
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(_LIBRARIES))


@dataclass(frozen=True)
class Done:
    """What a program left."""

    returncode: int
    stdout: str
    stderr: str


class Started:
    """A process that runs ``code`` with arguments; its output goes to files of ``folder``."""

    def __init__(self, folder, code, *arguments, **environment):
        self.folder = folder
        self.process = CONTEXT.Process(target=_run, args=(folder, code, arguments, os.environ | environment))
        self.process.start()

    def wait(self):
        self.process.join()
        files = [self.folder / name for name in ("stdout", "stderr")]  # Not there if it ended at once.
        return Done(self.process.exitcode, *(file.read_text() if file.exists() else "" for file in files))


class Forked:
    """In place of ``subprocess.Popen`` for this interpreter with code, a module or a file; its input is empty."""

    def __init__(self, command, *, first="", stdin=None, stdout=None, stderr=None, text=True, env=None):
        assert command[0] == sys.executable
        assert env is None, "a forked process has the environment of this one"
        self.args, self._pipes, self._said = command, (stdout, stderr), None
        how, *arguments = [argument for argument in command[1:] if argument != "-P"]
        if how == "-c":
            code, *arguments = arguments
        elif how == "-m":
            module, *arguments = arguments
            code = f"import runpy; runpy.run_module({module!r}, run_name='__main__')"
        else:
            code = f"import runpy; runpy.run_path({how!r}, run_name='__main__')"
        self._folder = tempfile.TemporaryDirectory()
        self._started = Started(Path(self._folder.name), first + code, *map(str, arguments))
        self.pid = self._started.process.pid
        self.terminate, self.kill = self._started.process.terminate, self._started.process.kill

    @property
    def returncode(self):
        return self._started.process.exitcode

    def poll(self):
        if self.returncode is not None and self._said is None:
            done = self._started.wait()
            self._said = done.stdout, done.stderr
            self._folder.cleanup()
        return self.returncode

    def wait(self, timeout=None):
        self._started.process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, given=None, timeout=None):
        self.wait(timeout)
        return tuple(
            said if pipe == subprocess.PIPE else None for pipe, said in zip(self._pipes, self._said, strict=True)
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wait()


def python(folder, code, *arguments, **environment):
    """Run a program to its end."""
    return Started(folder, code, *map(str, arguments), **environment).wait()


def srnas(folder, *arguments, **environment):
    """Run the command to its end."""
    return python(folder, SRNAS, *arguments, **environment)


def _run(folder, code, arguments, environment):
    assert not [name for name in sys.modules if name.startswith("srnas")]
    for name, stream in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["srnas", *arguments]
    exec(compile(code, "program", "exec"), {"__name__": "__main__"})
