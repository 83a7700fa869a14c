"""What the workers of a study do: they judge its candidates, and later they train the best again with other seeds."""

from enum import StrEnum

from srnas.nas.run.replicates import replicate
from srnas.nas.run.session import Session
from srnas.nas.run.worker import work
from srnas.nas.study.claims import Standing

# The code of a worker that ends since the device is busy: the others may be timing their first candidates, one by one.
BUSY = 3


class Task(StrEnum):
    """A part of a search that several processes do at once."""

    TRIALS = "trials"
    REPLICATES = "replicates"

    def do(self, session: Session, seeds: int) -> Standing:
        """Do what no other process does, until nothing is left.

        Args:
            session: The open study.
            seeds: With how many other seeds the best are trained.
        """
        return work(session) if self is Task.TRIALS else replicate(session, seeds)
