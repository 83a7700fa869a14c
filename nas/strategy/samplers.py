"""Samplers by name, with seeds that differ from proposal to proposal and from worker to worker."""

import hashlib
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from srnas.search_space import unknown_name

_NSGA2_POPULATION = 20

BASELINES: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=_NSGA2_POPULATION),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: RandomSampler(seed=seed),
}
# The sampler of this package; it needs to know the study, and is made where that is known.
FRONT = "front"


def make_baseline(name: str, seed: int) -> BaseSampler:
    """Return the sampler ``tpe``, ``nsga2``, ``gp`` or ``random``."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return BASELINES[name](seed)


def derived_seed(study: str, seed: int, num_trials: int, worker: str = "") -> int:
    """Return the seed of a study's next proposal.

    Args:
        study: Name of the study.
        seed: The user's seed.
        num_trials: Trials that the study holds so far.
        worker: Tells workers apart that propose at the same time.
    """
    named = f"{study}:{seed}:{num_trials}{worker}"
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:4], "big")


def check_sampler(name: str) -> None:
    """Raise ``InputError`` unless there is a sampler of this name."""
    if name not in (FRONT, *BASELINES):
        raise unknown_name("sampler", name, (FRONT, *BASELINES))
