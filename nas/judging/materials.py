"""What candidates of a study are trained and judged with; it is the same for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from srnas.nas.images.pairs import Pair
from srnas.nas.images.patches import PatchSampler
from srnas.nas.judging.cache import ResultCache
from srnas.nas.judging.observer import Observer
from srnas.nas.study.settings import StudySettings
from srnas.profiling import Target


@dataclass(frozen=True, eq=False)
class Materials:
    """What candidates are trained and judged with.

    Attributes:
        settings: The study's settings.
        target: What candidates are timed on.
        patches: Training patches on the device.
        validation: Held-out pairs.
        validation_name: Name of the held-out set.
        cache: Where results, weights and unfinished trainings are kept.
        observer: Told of every stage.
        keeps_trainings: Whether a training that has ended is kept, since a longer one goes on from it.
    """

    settings: StudySettings
    target: Target
    patches: PatchSampler
    validation: Sequence[Pair]
    validation_name: str
    cache: ResultCache
    observer: Observer
    keeps_trainings: bool = False

    @property
    def device(self) -> torch.device:
        """What trains."""
        return torch.device(self.settings.device)

    def with_settings(self, settings: StudySettings) -> "Materials":
        """Return the same materials for other trainings, whose results are kept apart."""
        return replace(self, settings=settings, cache=self.cache.of(settings.protocol))
