import shutil
from pathlib import Path

import pytest
import torch
from filled import fill, made
from handmade import study
from safetensors.torch import save_file

from srnas.leaderboard.store.store import Store
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import load_pairs
from srnas.nas.study.options import Budgets
from srnas.nas.workspace.sources import SourceRequest, find_architecture, find_judged, load_key, load_source
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError, Network
from srnas.search_space.published import published

CPU = torch.device("cpu")
NOWHERE = Workspace(Path("none"))


@pytest.fixture
def checkpoint(tmp_path):
    """Return a file of weights for plainusr_u at scale 2."""
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    save_file(Network(published("plainusr_u", 2)).state_dict(), path)
    return path


def test_a_published_network(checkpoint):
    source = load_source(NOWHERE, SourceRequest("plainusr_u", checkpoint, 2))
    assert source.architecture == published("plainusr_u", 2)
    assert (source.label, source.checkpoint) == ("plainusr_u", checkpoint)
    assert source.network.deployed


@pytest.mark.parametrize("scale", [None, 2])
def test_an_architecture_as_json(tmp_path, checkpoint, scale):
    path = tmp_path / "mine.json"
    path.write_text(published("plainusr_u", 2).to_json())
    source = load_source(NOWHERE, SourceRequest(str(path), checkpoint, scale))
    assert source.architecture == published("plainusr_u", 2)
    assert source.label == "mine"
    # Both come from one file.
    x, other = torch.rand(1, 3, 9, 9), load_source(NOWHERE, SourceRequest("plainusr_u", checkpoint, 2))
    assert torch.equal(source.network(x), other.network(x))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (SourceRequest(), "one of --network (with --checkpoint) and --trial must be given, but got neither."),
        (SourceRequest(network="a2n", trial=0), "must be given, but got both."),
        (SourceRequest(network="a2n", scale=2), "--network must come with --checkpoint"),
        (SourceRequest(network="a2n", checkpoint="w.pt"), "--scale must be given for the published network 'a2n'."),
        (SourceRequest(network="a2n", checkpoint="w.pt", scale=5), "scale must be one of 2, 3, 4, but got scale=5."),
        (SourceRequest(network="a2m", checkpoint="w.pt"), "unknown network 'a2m'. Did you mean 'a2n_m'?"),
        (SourceRequest(network="no.json", checkpoint="w.pt"), "file of an architecture must exist, but got 'no.json'."),
        (SourceRequest(network="a2n", checkpoint="w.pt", study="s"), "--study belongs to --trial"),
        (SourceRequest(trial=0, checkpoint="w.pt"), "--trial brings its own weights"),
    ],
)
def test_what_does_not_go_together(request_, message):
    with pytest.raises(InputError) as raised:
        load_source(NOWHERE, request_)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "'mine.json' must hold an architecture, but an architecture must be JSON"),
        ('{"scale": 2, "channels": 8, "tale": "pa"}', "but architecture: unknown key 'tale'. Did you mean 'tail'?"),
        ('{"scale": 3, "channels": 8}', "--scale must be 3, that of mine, but got --scale 2."),
        (b"\xff\xfe\x00", "'mine.json' must hold an architecture, but 'utf-8' codec"),
    ],
)
def test_files_that_hold_no_such_architecture(tmp_path, monkeypatch, checkpoint, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as raised:
        load_source(NOWHERE, SourceRequest("mine.json", checkpoint, 2))
    assert message in str(raised.value)


def test_a_trial_of_a_study(search_request, workspace, held_out_folder, launched):
    # The first human design has 6.9, the second 4.6.
    request = search_request.changed(trials=2, budgets=Budgets(max_params_k=5.0))
    board = launched(request).board
    rows = {row["trial"]: row for row in board.records()}
    assert sorted(row["state"] for row in rows.values()) == ["complete", "over_budget"]
    trained = next(number for number, row in rows.items() if row["state"] == "complete")

    source = load_source(Workspace(workspace), SourceRequest(trial=trained))
    assert source.architecture.key == rows[trained]["key"]
    assert source.label == f"trial {trained} of 'small-x2'"
    pairs = load_pairs(held_out_folder, 2, min_size=source.architecture.min_size).pairs
    scores = evaluate(source.network, pairs, 2, CPU)
    # The search judged the network before it was folded.
    assert scores.mean_psnr_y_db == pytest.approx(rows[trained]["psnr_y_db"], abs=1e-3)

    with pytest.raises(InputError, match=r"must have weights, but it is over budget \(params_k="):
        load_source(Workspace(workspace), SourceRequest(trial=1 - trained, study="small-x2"))
    with pytest.raises(InputError, match="must hold trial 9, but its judged trials are between 0 and 1"):
        load_source(Workspace(workspace), SourceRequest(trial=9))
    with pytest.raises(InputError, match=f"--scale must be 2, that of trial {trained} of 'small-x2'"):
        load_source(Workspace(workspace), SourceRequest(trial=trained, scale=4))
    with pytest.raises(InputError, match="unknown study 'other'. Valid: small-x2"):
        load_source(Workspace(workspace), SourceRequest(trial=trained, study="other"))

    (workspace / "studies" / "small-x2.db").unlink()  # As if it were on a server.
    assert load_source(Workspace(workspace), SourceRequest(trial=trained)).judged == source.judged
    source.checkpoint.write_bytes(b"cut")
    with pytest.raises(InputError, match="must hold tensors"):
        load_source(Workspace(workspace), SourceRequest(trial=trained))


def test_a_trial_stands_with_the_study_of_its_own_task(workspace):
    store = Store(workspace)
    for scale in (2, 4):
        record = study().model_copy(update={"name": "mine", "scale": scale})
        one = made(0, 31.0, 1.0, "conv").model_copy(update={"architecture": published("plainusr_u", scale)})
        fill(store, record, [one])
    for scale in (2, 4):
        found = find_judged(Workspace(workspace), published("plainusr_u", scale).key)
        assert (found.study.scale, found.trial.architecture.scale) == (scale, scale)


def test_a_key_is_that_of_the_newest_trial_whose_weights_are_here(workspace):
    place, store, architecture = Workspace(workspace), Store(workspace), published("plainusr_u", 2)
    for number, name in enumerate(("old", "mine", "imported")):
        one = made(number, 31.0, 1.0).model_copy(update={"architecture": architecture, "protocol": name})
        fill(store, study().model_copy(update={"name": name}), [one])
        if name != "imported":
            place.weights(one).parent.mkdir(parents=True)
            save_file(Network(architecture).state_dict(), place.weights(one))
    assert load_key(place, architecture.key).label == "trial 1 of 'mine'"
    shutil.rmtree(workspace / "cache")
    with pytest.raises(InputError, match="trial 2 of 'imported' must have weights, but it is complete .*; bring them"):
        load_key(place, architecture.key)


def test_a_workspace_without_studies(workspace, tmp_path):
    with pytest.raises(InputError, match="must hold a study"):
        load_source(Workspace(workspace), SourceRequest(trial=0))
    with pytest.raises(InputError, match="a workspace must exist"):
        load_source(Workspace(tmp_path / "none"), SourceRequest(trial=0))


def test_a_key_may_be_of_what_was_trained_by_name(workspace):
    made = published("plainusr_u", 2)
    folder = workspace / "finals" / f"{made.key}-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "architecture.json").write_text(made.to_json())
    assert find_architecture(made.key, None, Workspace(workspace)) == made
