"""``FrontSampler`` on another problem: the error of a scikit-learn model against its size.

The size of a multilayer perceptron is known from its hyper-parameters alone; its error takes a training. That is the
shape of problem the sampler is made for: one objective cheap, the other expensive.
"""

import argparse
import math
import warnings
from itertools import pairwise
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from srnas.nas import Choices, FrontSampler

DISTRIBUTIONS: dict[str, CategoricalDistribution] = {
    "width": CategoricalDistribution((4, 8, 16, 32, 64)),
    "layers": CategoricalDistribution((1, 2, 3)),
    "activation": CategoricalDistribution(("relu", "tanh")),
    "learning_rate": CategoricalDistribution((1e-3, 3e-3, 1e-2)),
}
NUM_PIXELS, NUM_CLASSES = 64, 10


def num_weights(params: dict[str, Any]) -> float:
    """Return the number of weights and biases of the network."""
    sizes = [NUM_PIXELS, *[params["width"]] * params["layers"], NUM_CLASSES]
    return float(sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes)))


def main() -> None:
    """Search hyper-parameters of a classifier of digits, and print the front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40, help="Number of models.")
    parser.add_argument("--epochs", type=int, default=30, help="Passes over the training images.")
    given = parser.parse_args()
    # Every model trains for the same number of epochs, whether or not it would improve further.
    warnings.simplefilter("ignore", ConvergenceWarning)
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images / 16, labels, random_state=0)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        params = {name: trial.suggest_categorical(name, each.choices) for name, each in DISTRIBUTIONS.items()}
        model = MLPClassifier(
            [params["width"]] * params["layers"],
            activation=params["activation"],
            learning_rate_init=params["learning_rate"],
            max_iter=given.epochs,
            tol=0,
            n_iter_no_change=given.epochs,
            random_state=0,
        )
        accuracy = model.fit(train_x, train_y).score(test_x, test_y)
        return accuracy, num_weights(params)

    sampler = FrontSampler(Choices(DISTRIBUTIONS, num_weights), seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=min(given.trials, math.prod(len(d.choices) for d in DISTRIBUTIONS.values())))
    for trial in sorted(study.best_trials, key=lambda trial: trial.values[1]):
        accuracy, weights = trial.values
        print(f"{weights:7,.0f} weights  {100 * (1 - accuracy):5.1f} % error  {trial.params}")


if __name__ == "__main__":
    main()
