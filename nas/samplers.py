"""Optuna's samplers by name, seeded so that a resumed study does not repeat itself."""

import hashlib
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from srnas.search_space import unknown_name

_NSGA2_POPULATION = 20

_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=_NSGA2_POPULATION),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: RandomSampler(seed=seed),
}


def make_sampler(name: str, study: str, seed: int, num_trials: int) -> BaseSampler:
    """Return the sampler ``tpe``, ``nsga2``, ``gp`` or ``random``.

    Args:
        name: Of the sampler.
        study: Name of the study.
        seed: The user's seed.
        num_trials: Trials that the study holds so far: a resumed study must not draw the same trials again.

    Raises:
        InputError: If there is no such sampler.
    """
    check_sampler(name)
    derived = hashlib.sha256(f"{study}:{seed}:{num_trials}".encode()).digest()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _SAMPLERS[name](int.from_bytes(derived[:4], "big"))


def check_sampler(name: str) -> None:
    """Raise ``InputError`` unless there is a sampler of this name."""
    if name not in _SAMPLERS:
        raise unknown_name("sampler", name, _SAMPLERS)
