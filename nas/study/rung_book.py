"""What the trials of a study have reached at each rung, and which of them continue."""

import optuna

from srnas.leaderboard.record.trials import Rung
from srnas.nas.strategy.rungs import Decision, Halving, RungResult
from srnas.nas.study.snapshot import StoredTrial
from srnas.nas.study.stored import StoredStudy


class RungBook:
    """Notes and compares results at rungs.

    Args:
        stored: The study.
        rule: ``halving`` or ``none``.
    """

    def __init__(self, stored: StoredStudy, rule: str) -> None:
        self._stored = stored
        self._rule = Halving() if rule == "halving" else None

    def decide(
        self, trial: optuna.Trial, key: str, rung: Rung, fastest_ms: float, *, is_yardstick: bool = False
    ) -> Decision:
        """Record what a trial has reached, and return whether it continues.

        Args:
            trial: The trial.
            key: Key of its network.
            rung: The rung, with the PSNR that the trial has reached there.
            fastest_ms: Latency of its fastest round, in milliseconds.
            is_yardstick: Whether it is a human design, which always continues.
        """
        # Kept before it is judged: later trials are compared with this one even if it is stopped here.
        self._stored.keep_rung(trial, rung.iteration, rung.psnr_y_db, fastest_ms)
        if self._rule is None:
            return Decision(survives=True, reason="")
        newcomer = RungResult(key, rung.psnr_y_db, fastest_ms)
        reached = (result_at(one, rung.iteration) for one in self._stored.trials())
        # A candidate that was given back has two trials, of which the later counts.
        others = {result.key: result for result in reached if result}
        return self._rule.decide(newcomer, [*others.values()], rung.iteration, is_yardstick=is_yardstick)


def result_at(trial: StoredTrial, iteration: int) -> RungResult | None:
    """Return what a trial had reached at an iteration, whether it is judged or still trained."""
    if iteration in trial.rungs:
        return RungResult(trial.key, *trial.rungs[iteration])
    # A result that came from the cache passed no rung in this study: only its record tells.
    record = trial.record
    if record is None or record.latency is None:
        return None
    psnr_db = next((rung.psnr_y_db for rung in record.rungs if rung.iteration == iteration), None)
    return None if psnr_db is None else RungResult(record.architecture.key, psnr_db, record.latency.fastest_ms)
