"""The end of a search on eight simulated candidates: a clock and a runtime stand in for the real ones."""

import pytest
from simulated import latency, open_simulated

from srnas.leaderboard.record.timed_quality import TimedQuality
from srnas.leaderboard.record.trials import Quality
from srnas.nas.run.worker import work
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Measurement

# PSNR in dB and latency in ms by number: 0, 1 and 5 are the front, 2 and 3 would be on it if they were 10 % faster.
POINTS = [(30.0, 1.0), (31.0, 2.0), (30.99, 2.05), (30.9, 2.1), (30.9, 3.0), (32.0, 4.0), (30.8, 4.5), (30.7, 6.6)]


class Clock:
    """Stands for the measurement: every network takes as long as when it was judged, times a factor of its number.

    ``designs`` names the human designs by number; ``slowed`` says how much slower one was when it was judged.
    """

    def __init__(self):
        self.runs, self.factors, self.failing, self.designs, self.slowed = [], {}, {}, {}, {}

    def time_together(self, architectures):
        numbers = sorted(map(int, architectures))
        if len(self.runs) in self.failing:
            raise self.failing.pop(len(self.runs))
        self.runs.append(numbers)
        timed = {str(n): latency(POINTS[n][1] * self.factors.get(n, 1.0)) for n in numbers}
        shared = dict.fromkeys(timed, 2.0)
        return Measurement(timed, {}, {"host": "here"}, peak_memory_mib=shared, max_abs_difference=shared)


class Scorer:
    """Stands for the runtime: every network loses so much of what it was trained to, by its number."""

    def __init__(self):
        self.scored, self.losses, self.refused, self.failing = [], {}, {}, {}

    def __str__(self):
        return "bfloat16 by eager"

    def score(self, number, seed, architecture, weights):
        if number in self.failing:
            raise self.failing.pop(number)
        self.scored.append((number, seed))
        scores = TimedQuality(number=number, seed=seed, dtype="bfloat16", runtime="eager")
        if number in self.refused:
            return scores.model_copy(update={"reason": self.refused[number]})
        psnr = POINTS[number][0] - self.losses.get(number, 0.0)
        quality = Quality(images=("a",), psnr_y_db=(psnr,), ssim_y=(0.9,), mean_psnr_y_db=psnr, mean_ssim_y=0.9)
        return scores.model_copy(update={"quality": quality})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scorer():
    return Scorer()


@pytest.fixture
def opened(workspace, space_file, few_draws, clock, scorer, monkeypatch):
    """Return a function that judges so many candidates of the study, and returns its session and its notes."""

    def opened(total=len(POINTS), dtype="float32"):
        url = Workspace(workspace).study_url("timed")
        session = open_simulated(url, workspace, "timed", space_file, total, 0, dtype=dtype)
        real = session.judge.judge

        def judge(architecture, number, *given):
            psnr_db, fastest_ms = POINTS[number]
            fastest_ms *= clock.slowed.get(number, 1.0)
            record = real(architecture, number, *given)
            quality = record.quality.model_copy(update={"mean_psnr_y_db": psnr_db, "psnr_y_db": (psnr_db,)})
            design = clock.designs.get(number, "")
            return record.model_copy(update={"quality": quality, "latency": latency(fastest_ms), "design": design})

        monkeypatch.setattr(session.judge, "judge", judge)
        session.judge.time_together, session.judge.timed_scorer = clock.time_together, scorer
        monkeypatch.setattr(session.publisher, "publish", lambda *_: None)
        work(session)
        for record in session.snapshot().records:
            weights = session.publisher.workspace.weights(record)
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.touch()
        notes = []
        session.observer.on_note = notes.append
        return session, notes

    return opened
