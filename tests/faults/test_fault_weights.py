"""Weights as trainers write them, and what is said of those that do not fit."""

import argparse
import logging
from collections import OrderedDict

import numpy as np
import pytest
import torch

from srnas.search_space import Architecture, InputError, Network, load_network, published

ARCHITECTURE = Architecture.from_dict(
    {"scale": 2, "channels": 6, "positions": [{"trunk": "repmb", "attention": "pa"}, {"trunk": "conv"}]}
)


def drawn(seed=0, architecture=ARCHITECTURE):
    torch.manual_seed(seed)
    return Network(architecture).eval().state_dict()


def prefixed(tensors, prefix):
    return OrderedDict((f"{prefix}{name}", tensor) for name, tensor in tensors.items())


def assert_loads(path, expected, **given):
    loaded = load_network(ARCHITECTURE, path, **given).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="srnas")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net_g.", "generator.model.", "anything."]
)
def test_a_prefix_that_all_names_have_is_left_out_and_said(tmp_path, said, prefix):
    torch.save(prefixed(drawn(), prefix), tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", drawn())
    assert said() == [f"'{tmp_path / 'w.pth'}': all names begin with '{prefix}', which is ignored"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"params": w},
        lambda w: {"state_dict": prefixed(w, "model."), "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
        lambda w: {"model": {"state_dict": w}},
        lambda w: {"model_state_dict": w, "best_psnr": np.float64(31.5), "args": argparse.Namespace(scale=2)},
        lambda w: {"net_g": prefixed(w, "module.")},
        lambda w: {"my_own_name": w, "step": 7},
    ],
)
def test_containers_are_looked_into(tmp_path, wrap):
    torch.save(wrap(drawn()), tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", drawn())


@pytest.mark.parametrize(
    "both",
    [
        lambda plain, mean: {"params": plain, "params_ema": mean},
        lambda plain, mean: {"state_dict": plain, "state_dict_ema": mean},
        lambda plain, mean: {"model": plain, "ema": prefixed(mean, "module.")},
        lambda plain, mean: prefixed(plain, "net_g.") | prefixed(mean, "net_g_ema."),
        lambda plain, mean: {"state_dict": prefixed(plain, "model.") | prefixed(mean, "model_ema.")},
    ],
)
def test_the_moving_average_is_taken_and_said_unless_the_plain_weights_are_wanted(tmp_path, said, both):
    torch.save(both(drawn(1), drawn(2)), tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", drawn(2))
    assert any("are taken, and" in line for line in said())
    assert_loads(tmp_path / "w.pth", drawn(1), average=False)


def test_counters_are_no_weights(tmp_path):
    weights = drawn()
    beside = {"total_ops": torch.zeros(1, dtype=torch.float64), "body.0.total_params": torch.zeros(1), "n_averaged": 3}
    tracked = {"stem.num_batches_tracked": torch.tensor(5)}
    kept = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    torch.save(kept | beside | tracked, tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", kept)


def test_what_does_not_fit_is_told_in_ten_lines(tmp_path):
    weights = drawn()
    del weights["stem.bias"]
    other = {f"extra.{i}.weight": torch.zeros(1) for i in range(30)}
    torch.save(weights | other | {"stem.weight": torch.zeros(7, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        load_network(ARCHITECTURE, tmp_path / "w.pth")
    said = str(caught.value)
    total = len(drawn())
    assert f"{total - 2} of its {total} tensors match:\n  1 missing: stem.bias\n  30 unknown: extra.0.weight, " in said
    assert "extra.3.weight and 26 more\n  1 of another shape: stem.weight (7, 3, 3, 3) instead of (6, 3, 3, 3)" in said
    assert len(said.splitlines()) <= 10


def test_the_scale_and_the_network_that_weights_would_fit_are_named(tmp_path):
    torch.save(drawn(0, published("man_tiny", 4)), tmp_path / "w.pth")
    with pytest.raises(InputError, match="They would fit this network at scale 4"):
        load_network(published("man_tiny", 2), tmp_path / "w.pth")
    with pytest.raises(InputError, match="They would fit man_tiny at scale 4"):
        load_network(ARCHITECTURE, tmp_path / "w.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"params": {"a": 1}}, [1, 2], {"params": {}}])
def test_a_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="must hold a table of names and real dense tensors"):
        load_network(ARCHITECTURE, tmp_path / "w.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    class Runs:
        def __reduce__(self):
            return (exec, ("raise SystemExit",))

    torch.save({"params": drawn(), "args": Runs()}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds code"):
        load_network(ARCHITECTURE, tmp_path / "w.pth")
