"""A worker process and the signals that stop it."""

import signal

import pytest

from srnas.nas.run import process


@pytest.fixture
def handlers():
    """Put the handlers of signals back."""
    before = {stop: signal.getsignal(stop) for stop in process._STOPS}
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
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            given_back.append(True)
            raise

    monkeypatch.setattr(process, "join", work)
    monkeypatch.setattr("sys.argv", ["process", "workspace", "study", "trials", "{}"])
    with pytest.raises(KeyboardInterrupt):
        process.main()
    assert given_back
