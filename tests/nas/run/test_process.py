"""A worker process and the signals that stop it."""

import signal

import pytest

from srnas.nas.errors import DeviceLostError
from srnas.nas.run import process
from srnas.nas.run.tasks import BUSY
from srnas.nas.stops import interrupt_once
from srnas.nas.study.claims import Standing
from srnas.profiling import DeviceBusyError
from srnas.search_space import InputError


@pytest.fixture
def handlers():
    """Begin with those of a command in the foreground, and put the handlers of signals back."""
    before = {stop: signal.getsignal(stop) for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for stop, handler in before.items():
        signal.signal(stop, handler)


@pytest.mark.usefixtures("handlers")
def test_of_several_signals_the_first_alone_interrupts(monkeypatch):
    """Ctrl-C in a terminal goes to all workers, and their parent then stops them as well."""
    given_back = []

    def work(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.raise_signal(stop)
            given_back.append(True)
            raise

    monkeypatch.setattr(process, "join", work)
    monkeypatch.setattr("sys.argv", ["process", "workspace", "study", "trials", "{}"])
    with pytest.raises(KeyboardInterrupt):
        process.main()
    assert given_back


@pytest.mark.usefixtures("handlers")
def test_what_a_shell_keeps_from_it_does_not_stop_it(monkeypatch, capsys):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(process, "join", lambda *_, **__: signal.raise_signal(signal.SIGINT) or Standing.DONE)
    monkeypatch.setattr("sys.argv", ["process", "workspace", "study", "trials", "{}"])
    process.main()
    assert capsys.readouterr().out == "nothing is left to do (done)\n"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("error", "code"), [(InputError("x"), 2), (DeviceLostError("x"), 1), (DeviceBusyError("x"), BUSY)]
)
def test_whether_a_worker_is_started_again_is_told_by_its_code(monkeypatch, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(process, "join", fail)
    monkeypatch.setattr("sys.argv", ["process", "workspace", "study", "trials", "{}"])
    with pytest.raises(SystemExit) as end:
        process.main()
    assert end.value.code == code


@pytest.mark.usefixtures("handlers")
def test_a_command_is_stopped_by_one_signal_too():
    """A scheduler signals a job and its steps."""
    interrupt_once(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
