"""What the tests of trainings on the long schedule share."""

import torch
from safetensors.torch import load_file

from srnas.nas.judging.observer import Observer
from srnas.search_space import Architecture, Choice, Position

TINY = Architecture(scale=2, channels=6, positions=(Position(trunk=Choice(name="conv")),))


class Watcher(Observer):
    """Keeps what is said; is interrupted, like a process that is killed, at a validation."""

    def __init__(self, until=None):
        self.until = until
        self.notes = []
        self.validations = []

    def on_note(self, text):
        self.notes.append(text)

    def on_validation(self, iteration, psnr_y_db):
        self.validations.append((iteration, dict(psnr_y_db)))
        if iteration == self.until:
            raise KeyboardInterrupt


def weights(final):
    return load_file(final.folder.weights)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def runs(workspace, scale=2):
    store = workspace.store
    return store.client, store.search_runs(store.open_experiment(f"sr-x{scale}/final"), "")


def steps(client, run, metric):
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]
