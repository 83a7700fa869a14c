"""Trials, replicates, a study and a table with whatever PSNR and latencies a test needs."""

import math
import random

from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Quality, Replicate, TrialRecord
from srnas.nas.revisit.tabular import Curve, TableHead, TabularBenchmark, TabulatedNetwork
from srnas.nas.study.settings import digest
from srnas.nas.training.schedule import TrainingConfig
from srnas.profiling import Latency, Target, describe_device
from srnas.search_space import Architecture, Position, SearchSpace, human_designs

ARCHITECTURE = Architecture(scale=2, channels=6, positions=(Position(trunk="conv"),))


def quality(psnr, images="abcd"):
    psnr = (psnr,) * len(images) if isinstance(psnr, float) else tuple(psnr)
    mean = sum(psnr) / len(psnr)
    return Quality(
        images=tuple(images), psnr_y_db=psnr, ssim_y=(0.9,) * len(images), mean_psnr_y_db=mean, mean_ssim_y=0.9
    )


def trial(number, psnr, rounds=(1.0,), state="complete", images="abcd", **times):
    latency = Latency(
        median_ms=max(rounds),
        low_ms=min(rounds),
        high_ms=max(rounds),
        fastest_ms=min(rounds),
        reference_ratio=1.0,
        first_call_ms=1.0,
        rounds_ms=tuple(rounds),
        reference_rounds_ms=(1.0,) * len(rounds),
        flags=(),
    )
    return TrialRecord(
        study="demo",
        number=number,
        state=state,
        architecture=ARCHITECTURE,
        protocol="p",
        validation="held-out",
        latency=latency,
        quality=quality(psnr, images) if state == "complete" else None,
        **({"started_ms": 0, "ended_ms": 0} | times),
    )


def replicate(number, psnr, seed=1, images="abcd"):
    return Replicate(number=number, seed=seed, quality=quality(psnr, images), train_s=1.0)


def as_timed(record, psnr):
    """Return a trial with its scores in the data type that is timed, on as many photographs."""
    return record.model_copy(update={"timed_quality": quality(psnr, record.quality.images)})


def study(dtype="float32"):
    return StudyRecord(
        name="demo",
        scale=2,
        config={"training.iterations": 400},
        validation="held-out",
        bicubic_psnr_y_db=30.0,
        bicubic_ssim_y=0.9,
        device=describe_device(Target(dtype=dtype)),
        reference_psnr_y_db=30.0,
        reference_fastest_ms=math.e,
    )


def table(space_file, number=20):
    """Return networks of a space of which depth makes slower and better, and chance better; the first has two seeds."""
    space, rng = SearchSpace.load(str(space_file), 2), random.Random(0)
    found = {one.key: (f"design {name}", one) for name, one in human_designs(space).items()}
    while len(found) < number:
        drawn = space.sample(rng)
        found.setdefault(drawn.key, ("half", drawn))
    networks = {}
    for key, (source, architecture) in found.items():
        size, luck = 1 + len(architecture.positions) + architecture.channels / 12, rng.random()
        curves = tuple(
            Curve(
                seed=seed,
                psnr_y_db={
                    steps: (30 + math.log(size * steps) / 4 + luck + 0.1 * seed,) * 2
                    for steps in (3, 6, 10, 15, 20, 24, 30, 90, 300)
                },
                train_s={steps: size * steps / 10 for steps in (3, 6, 10, 15, 20, 24, 30, 90, 300)},
            )
            for seed in ((0, 1) if len(networks) < number // 2 else (0,))
        )
        networks[key] = TabulatedNetwork(
            architecture=architecture, sources=(source,), fastest_ms={"eager": size}, curves=curves
        )
    head = TableHead(
        space=space.name,
        scale=2,
        space_digest=digest(space),
        training=TrainingConfig(
            iterations=30, patch=8, batch=1, learning_rate=1e-3, rungs=(0.1, 0.2, 1 / 3, 0.5, 2 / 3, 0.8, 1.0)
        ),
        train="photographs",
        validation="held-out",
        photographs=("a", "b"),
        bicubic_psnr_y_db=(28.0, 29.0),
    )
    return TabularBenchmark(head, networks)
