"""Trials, replicates and a study with whatever PSNR and rounds a test needs."""

import math

from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Quality, Replicate, TrialRecord
from srnas.profiling import Latency, Target, describe_device
from srnas.search_space import Architecture, Position

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
        **times,
    )


def replicate(number, psnr, seed=1, images="abcd"):
    return Replicate(number=number, seed=seed, quality=quality(psnr, images), train_s=1.0)


def study():
    return StudyRecord(
        name="demo",
        scale=2,
        config={"training.iterations": 400},
        validation="held-out",
        bicubic_psnr_y_db=30.0,
        bicubic_ssim_y=0.9,
        device=describe_device(Target()),
        reference_psnr_y_db=30.0,
        reference_fastest_ms=math.e,
    )
