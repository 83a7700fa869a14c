"""Optuna's fANOVA beside the regression: which choices of a space matter more than others for PSNR.

Reference: Hutter et al., "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014. It says how much a
choice matters, not which of its values helps.
"""

from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, create_trial

from srnas.nas.explain.effects import outcomes
from srnas.nas.study.snapshot import StoredTrial


def choice_importance(trials: Sequence[StoredTrial], seed: int = 0) -> dict[str, float]:
    """Return the relative importance of each choice for PSNR, the greatest first.

    It is the share of the variance that the choice explains by itself, divided by the sum of these shares.
    Trials that a rung stopped count with the PSNR that is predicted from it, as in the regression.

    Args:
        trials: The trials of one study.
        seed: Seed of the forest.
    """
    judged = [(trial, trial.record) for trial in trials if trial.record is not None]
    known = outcomes([record for _, record in judged])
    found: list[FrozenTrial] = [
        create_trial(
            params=judged[i][0].trial.params, distributions=judged[i][0].trial.distributions, value=one.psnr_db
        )
        for i, one in known.items()
    ]
    if len({one.psnr_db for one in known.values()}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials(found)
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed)))
