"""Which candidate a study judges next: from its queue, or from its sampler; never one that it holds already."""

import random
import warnings
from collections.abc import Mapping

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from srnas.nas import optuna_private
from srnas.nas.strategy.front_sampler import PREDICTED, FrontSampler
from srnas.nas.strategy.front_strategy import Proposal
from srnas.nas.strategy.samplers import FRONT, derived_seed, make_baseline
from srnas.nas.study.owner import Owner
from srnas.nas.study.rung_book import result_at
from srnas.nas.study.settings import StudySettings
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.study.space_domain import PartCounter, SpaceDomain
from srnas.nas.study.stored import StoredStudy, held
from srnas.profiling import BlockTable
from srnas.search_space import Architecture, SearchSpace

# Proposals in a row that were judged before, until an unseen neighbour is enqueued instead.
_MAX_REPEATS = 5
# Mutations without an unseen network after which a space is taken for exhausted.
_MAX_DRAWS = 2000

Begun = tuple[optuna.Trial, Architecture]


class Proposer:
    """Proposes candidates of a study; what it knows is in the storage, whoever proposes.

    Args:
        stored: The study.
        settings: Settings that the study was started with.
        space: Where candidates come from.
        table: Predicts latencies of proposals, if there is one.
    """

    def __init__(
        self, stored: StoredStudy, settings: StudySettings, space: SearchSpace, table: BlockTable | None = None
    ) -> None:
        self._stored = stored
        self._settings = settings
        self._space = space
        self._table = table
        self._counter = PartCounter(settings.latency_input)
        # What was taken when nothing else was found: a worker that waits asks again and again.
        self._exhausted: set[str] | None = None

    def ahead(self, snapshot: Snapshot) -> Proposal[Architecture] | None:
        """Return the front sampler's proposal for the next claim: the others need not wait while it is made.

        What they claim meanwhile is not believed, but it is not claimed again.
        """
        # Optuna's samplers propose while they are asked, and what is queued goes first.
        if self._settings.sampler != FRONT or snapshot.is_queued or snapshot.is_full or self._is_exhausted(snapshot):
            return None
        # What one worker does repeats; several must not propose the same.
        return self._front(snapshot, str(Owner.this().plain()) if snapshot.running else "").propose(self._stored.study)

    def begin(self, snapshot: Snapshot, ahead: Proposal[Architecture] | None) -> Begun | None:
        """Return an unseen candidate as a trial that has begun, or ``None`` if none can be found.

        Args:
            snapshot: What the study holds; nobody else begins a trial meanwhile.
            ahead: What was proposed for this claim.
        """
        taken, repeats = snapshot.taken, 0
        while snapshot.is_queued or not self._is_exhausted(snapshot):
            if self._settings.sampler == FRONT and not snapshot.is_queued:
                if ahead is None or ahead.candidate.key in taken:
                    ahead = self._front(snapshot).propose(self._stored.study)
                if ahead.candidate.key not in taken:
                    return self._start(ahead)
                unseen = self._unseen(ahead.candidate, taken, len(snapshot.trials))
                return self._start(Proposal(unseen)) if unseen else None
            trial, architecture = self._ask(snapshot)
            if architecture.key not in taken:
                return trial, architecture
            self._stored.drop_duplicate(trial, architecture.key)
            repeats += 1
            if repeats >= _MAX_REPEATS:
                unseen = self._unseen(architecture, taken, trial.number)
                if unseen is None:
                    return None
                # Optuna takes a candidate from outside only through its queue.
                self._stored.enqueue(self._space.params(unseen))
            snapshot = self._stored.snapshot()
        return None

    def _is_exhausted(self, snapshot: Snapshot) -> bool:
        """Whether the study is known to hold all networks of the space."""
        return len(snapshot.taken) >= self._space.size or snapshot.taken == self._exhausted

    def _ask(self, snapshot: Snapshot) -> Begun:
        """Return the next trial in the queue, or what a baseline proposes."""
        # With the front sampler only the queue is asked for; a parameter that an entry lacks is drawn.
        name = "random" if self._settings.sampler == FRONT else self._settings.sampler
        study = self._stored.study
        # A new sampler for each trial, seeded by their number: a study that was interrupted proposes the same.
        study.sampler = make_baseline(name, self._seed(snapshot))
        with warnings.catch_warnings():  # Heartbeats are sent by whoever judges it.
            warnings.filterwarnings("ignore", "Heartbeat of storage")
            trial = study.ask()
        architecture = self._space.suggest(trial)
        self._stored.hold(trial, architecture.key)
        return trial, architecture

    def _start(self, proposal: Proposal[Architecture]) -> Begun:
        """Return a proposal as a trial, written at once: parameters one by one take longer than all else in a claim."""
        answers = self._space.answers(proposal.candidate)
        # Written whole: a worker that dies meanwhile leaves no trial with half of its parameters.
        template = optuna.create_trial(
            state=TrialState.RUNNING,
            params={name: value for name, (value, _) in answers.items()},
            distributions={name: CategoricalDistribution(choices) for name, (_, choices) in answers.items()},
            user_attrs={PREDICTED: proposal.predicted, **held(proposal.candidate.key)},
        )
        return optuna_private.begin_trial(self._stored.study, template), proposal.candidate

    def _seed(self, snapshot: Snapshot, worker: str = "") -> int:
        number = sum(not trial.was_given_back for trial in snapshot.trials)
        return derived_seed(self._settings.name, self._settings.seed, number, worker)

    def _front(self, snapshot: Snapshot, worker: str = "") -> FrontSampler[Architecture]:
        study = snapshot.study
        assert study is not None
        measured: Mapping[Architecture, float] = {
            record.architecture: record.latency.fastest_ms for record in snapshot.records if record.latency
        }
        first_rung = self._settings.training.rung_iterations[0]
        # Of a training that died after its first rung, nobody knows what it would have come to.
        sound = (
            trial for trial in snapshot.trials if not trial.record or trial.record.state in ("complete", "stopped")
        )
        at_first_rung = {trial.number: result.psnr_db for trial in sound if (result := result_at(trial, first_rung))}

        def partial(trial: FrozenTrial) -> float | None:
            return at_first_rung.get(trial.number)

        keys = {trial.number: trial.key for trial in snapshot.trials}

        def longer(trial: FrozenTrial) -> list[float | None]:
            return [reached.get(keys.get(trial.number, "")) for _, reached in sorted(snapshot.longer.items())]

        return FrontSampler(
            SpaceDomain(self._space, self._settings.budgets, self._counter, measured, self._table),
            seed=self._seed(snapshot, worker),
            reference_point=(study.reference_psnr_y_db, study.reference_fastest_ms),
            partial=partial,
            longer=longer,
        )

    def _unseen(self, start: Architecture, taken: set[str], seed: int) -> Architecture | None:
        """Walk by mutation from ``start`` to an architecture that was not judged."""
        rng = random.Random(seed)
        for _ in range(_MAX_DRAWS):
            start = self._space.mutate(start, rng)
            if start.key not in taken:
                return start
        self._exhausted = taken
        return None
