"""What scores the networks of a study that has run in another data type: with the photographs that it began with."""

from collections.abc import Callable, Sequence

from srnas.leaderboard.rank.confidence import near_front
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.timed_quality import as_hoped
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.images.pairs import make_pairs
from srnas.nas.judging.timed_scorer import TimedScorer, calibration_of, stand_in
from srnas.nas.run.outcome import NEAR_DB
from srnas.nas.run.plan import load_photos
from srnas.nas.run.request import SearchRequest
from srnas.nas.run.timed_quality import NEAR_SHARE
from srnas.nas.study.settings import StudySettings
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Target
from srnas.profiling.runtimes import check_any_size
from srnas.search_space import InputError, SearchSpace


def load_scorer(workspace: Workspace, settings: StudySettings, asked: str, target: Target) -> TimedScorer:
    """Return what scores the networks of a study on a target.

    Args:
        workspace: Keeps reduced photographs.
        settings: The study's.
        asked: The request that started it, as JSON: it names the photographs.
        target: What is timed.

    Raises:
        InputError: If the request cannot be read, or its photographs are not where they were, or others are there.
    """
    check_any_size(stand_in(target))
    request = SearchRequest.of_study(asked, settings.name)
    space = SearchSpace.load(request.space, request.scale)
    photos = load_photos(request, space, settings.training, settings)
    for kind, found, wanted in zip(("train", "val"), photos, (settings.train, settings.validation), strict=True):
        if found.described != wanted:
            raise InputError(
                f"the photographs of study '{settings.name}' must be those that it began with, {wanted}, to score it "
                f"in {target.dtype}, but --{kind} holds {found.described}; put them back, or retime in float32."
            )
    train, validation = photos
    pairs = make_pairs(validation, settings.scale, folder=workspace.reduced)
    return TimedScorer(target, pairs, settings.scale, calibration_of(train, settings.scale, settings.training.patch))


def rescore(
    workspace: Workspace,
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    seed: int,
    scorer: TimedScorer,
    on_note: Callable[[str], None],
) -> list[TrialRecord]:
    """Return trials with their scores as they are timed, of all that could be near the front and have none.

    Args:
        workspace: Holds their weights.
        study: What they are compared with.
        trials: The trials.
        seed: Seed of their trainings.
        scorer: What scores them.
        on_note: Told what is scored.
    """
    known = {trial.number: trial for trial in trials}
    while due := [
        trial
        for trial in near_front(as_hoped(study, known.values()), NEAR_DB, NEAR_SHARE)
        if not (trial.timed_quality or trial.timed_reason)
    ]:
        on_note(f"scoring {len(due)} network{'s' * (len(due) > 1)} near the front in {scorer}")
        for trial in due:
            scores = scorer.score(trial.number, seed, trial.architecture, workspace.weights(trial))
            known[trial.number] = scores.of(trial)
    return list(known.values())
