"""Signals that ask a process to stop: it unwinds as on an interrupt, so that what is at hand is given back."""

import signal
from types import FrameType
from typing import NoReturn

# Who is told to stop has so long to give back what is at hand before it is killed.
STOP_S = 20.0


def interrupt_once(*stops: signal.Signals) -> None:
    """Let the first of these signals raise ``KeyboardInterrupt``, and ignore all of them from then on.

    Several often come at once: Ctrl-C goes to all processes of a terminal, of which one then stops the others, and a
    scheduler signals a job and its steps. A second one would end the unwinding before a candidate is given back. Who
    does not end in time is killed. A signal that is ignored when the process starts, as Ctrl-C in the background of a
    shell, stays ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for stop in stops:
            signal.signal(stop, signal.SIG_IGN)
        raise KeyboardInterrupt

    for stop in stops:
        if signal.getsignal(stop) is not signal.SIG_IGN:
            signal.signal(stop, interrupt)
