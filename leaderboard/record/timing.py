"""The record of the timing at the end of a study: its front and the neighbours, timed together."""

from srnas.leaderboard.record.base import Record
from srnas.leaderboard.record.trials import TrialRecord
from srnas.profiling import MeasuredNetwork


class JointTiming(Record):
    """Networks of a study that were timed in the same rounds, so that their latencies come from one run.

    Attributes:
        networks: What was measured of each network, by number of its trial.
        ended_ms: Unix time of the end of the run in milliseconds.
        judged: Number of judged trials that the study held then.
        runs: How many runs there were since the study held so many: a network that the first one puts on the front
            without having timed it is timed with all others in the second.
    """

    networks: dict[int, MeasuredNetwork]
    ended_ms: int
    judged: int
    runs: int

    def of(self, trial: TrialRecord) -> TrialRecord:
        """Return a trial with its latency of this run; a trial whose network was not timed is returned as it is."""
        measured = self.networks.get(trial.number)
        if measured is None:
            return trial
        return trial.model_copy(update=vars(measured) | {"timed_together_ms": self.ended_ms})
