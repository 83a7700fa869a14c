"""Weights from files: every form and naming, and every way in which a file can be wrong."""

import json
import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from srnas.search_space import PUBLISHED, Architecture, InputError, Network, load_network, published
from srnas.search_space.checkpoints import join_architecture

SHARED = Path(__file__).parents[2].parent / "shared"
CHECKPOINTS = SHARED / "checkpoints"
MODERN = SHARED / "modern" / "checkpoints"
ARCHITECTURE = Architecture.from_dict(
    {"scale": 2, "channels": 8, "positions": [{"trunk": "repmb", "attention": {"name": "lia", "features": 2}}]}
)


# The smallest of each family of the modern networks whose official names are known.
CHAINS = ("span_c26", "spanf", "spanv2", "ecbsr_m4c8_y", "rlfn_prune", "rfdn", "imdn_rtc", "imdn")


def drawn(architecture):
    network = Network(architecture).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


def assert_same_output(first, second):
    lr = torch.rand(1, 3, 15, 16)
    torch.testing.assert_close(first(lr), second(lr), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("deployed", [False, True])
def test_our_weights_in_both_forms(tmp_path, suffix, deployed):
    network = drawn(ARCHITECTURE)
    path = tmp_path / f"weights{suffix}"
    state_dict = (network.deploy() if deployed else network).state_dict()
    save_file(state_dict, path) if suffix == ".safetensors" else torch.save(state_dict, path)
    loaded = load_network(ARCHITECTURE, path)
    assert loaded.deployed == deployed
    assert not loaded.training
    assert_same_output(loaded, network)
    assert_same_output(loaded.deploy(), network)


@pytest.mark.parametrize("wrapper", ["params", "params_ema", "state_dict"])
def test_wrapped_weights(tmp_path, wrapper):
    network = drawn(ARCHITECTURE)
    torch.save({wrapper: network.state_dict(), "epoch": 3}, tmp_path / "w.pth")
    assert_same_output(load_network(ARCHITECTURE, tmp_path / "w.pth"), network)


def test_the_moving_average_is_preferred(tmp_path):
    first, second = drawn(ARCHITECTURE), drawn(ARCHITECTURE)
    torch.save({"params": first.state_dict(), "params_ema": second.state_dict()}, tmp_path / "w.pth")
    assert_same_output(load_network(ARCHITECTURE, tmp_path / "w.pth"), second)


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("name", ["plainusr_u", "plainusr_s", "a2n", "man_tiny", *CHAINS])
def test_official_names_and_back(tmp_path, name, deployed):
    architecture = published(name, 2)
    # Chains of that many blocks die out where all weights are drawn alike: a sum of all of them does not.
    network = drawn(architecture) if name not in CHAINS else Network(architecture).eval()
    form = network.deploy() if deployed else network
    to_official = {ours: official for official, ours in PUBLISHED[name].official_names(architecture).items()}
    official = {}
    for key, tensor in form.state_dict().items():
        prefix = max((p for p in to_official if key.startswith(p + ".") or key == p), key=len)
        official[to_official[prefix] + key[len(prefix) :]] = tensor
    assert not any(key.startswith("stem") for key in official)
    torch.save(official, tmp_path / "w.pth")
    assert_same_output(load_network(architecture, tmp_path / "w.pth"), network)


def test_a_name_that_is_claimed_twice_is_listed(tmp_path):
    # Deployed, the attention stands at body.3, while training at body.4; a file has one of them.
    architecture = published("plainusr_s", 2)
    network = Network(architecture).deploy()
    names = {ours: official for official, ours in PUBLISHED["plainusr_s"].official_names(architecture).items()}
    official = {}
    for key, tensor in network.state_dict().items():
        prefix = max((p for p in names if key.startswith(p + ".")), key=len)
        official[names[prefix] + key[len(prefix) :]] = tensor
    official = {key.replace("body.4.", "body.3."): tensor for key, tensor in official.items()}
    torch.save(official, tmp_path / "w.pth")
    assert load_network(architecture, tmp_path / "w.pth").deployed
    stray = {"block1.body.4.body.0.weight": torch.zeros(4, 32, 1, 1)}
    torch.save(official | stray, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"1 unknown: block1\.body\.4\.body\.0\.weight$"):
        load_network(architecture, tmp_path / "w.pth")


def weights(**changes):
    state_dict = drawn(ARCHITECTURE).state_dict()
    return {name: tensor for name, tensor in (state_dict | changes).items() if tensor is not None}


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (lambda: weights(extra=torch.zeros(1)), ["must fit network x2-c8[repmb+lia(features=2)]", "unknown: extra"]),
        (lambda: weights(**{"stem.bias": None}), ["missing: stem.bias"]),
        (
            lambda: weights(**{"stem.bias": torch.zeros(9)}),
            ["of another shape: stem.bias (9,) instead of (8,)"],
        ),
        (lambda: {"a": torch.zeros(1)}, ["missing: stem.weight, stem.bias", "unknown: a"]),
        (lambda: weights(**{f"extra{i}": torch.zeros(1) for i in range(30)}), ["30 unknown: extra0, extra1, extra2"]),
        (lambda: {}, ["must hold a table of names and real dense tensors"]),
        (lambda: weights(**{"stem.bias": torch.full((8,), float("nan"))}), ["must be finite", "stem.bias"]),
        (lambda: [torch.zeros(1)], ["must hold a table of names and real dense tensors"]),
        (lambda: {"params": 3}, ["must hold a table of names and real dense tensors"]),
        (lambda: {0: torch.zeros(1)}, ["must hold a table of names and real dense tensors"]),
        (lambda: weights(**{"stem.bias": torch.zeros(8, dtype=torch.complex64)}), ["names and real dense tensors"]),
        (lambda: weights(**{"stem.bias": torch.zeros(8).to_sparse()}), ["names and real dense tensors"]),
        (lambda: weights(**{"stem.bias": torch.zeros(8, device="meta")}), ["names and real dense tensors"]),
        (lambda: weights(**{"stem.bias": torch.zeros(8).to(torch.float8_e4m3fn)}), ["names and real dense tensors"]),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, content, messages):
    torch.save(content(), tmp_path / "w.pth")
    with pytest.raises(InputError) as error:
        load_network(ARCHITECTURE, tmp_path / "w.pth")
    for message in messages:
        assert message in str(error.value)


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("was-run"),))


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"stem.weight": Malicious()}, "w.pth")
    with pytest.raises(InputError, match="must hold tensors and nothing that runs"):
        load_network(ARCHITECTURE, Path("w.pth"))
    Path("old.pth").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(InputError, match="must hold tensors and nothing that runs"):
        load_network(ARCHITECTURE, Path("old.pth"))
    assert not Path("was-run").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x02"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="must hold tensors and nothing that runs"):
        load_network(ARCHITECTURE, tmp_path / name)


def test_flipped_bytes_of_an_old_file_are_an_error_or_weights(tmp_path):
    torch.save(weights(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "w.pth").read_bytes()
    refused = 0
    for seed in range(60):
        rng = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[rng.randrange(2000)] ^= 1 << rng.randrange(8)
        (tmp_path / "w.pth").write_bytes(damaged)
        try:
            load_network(ARCHITECTURE, tmp_path / "w.pth")
        except InputError:
            refused += 1
    assert refused > 10


def test_a_truncated_file(tmp_path):
    torch.save(weights(), tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="must hold tensors and nothing that runs"):
        load_network(ARCHITECTURE, tmp_path / "w.pth")


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="a file of weights must exist"):
        load_network(ARCHITECTURE, tmp_path / "none.pth")


@pytest.mark.skipif(not CHECKPOINTS.is_dir(), reason=f"no official weights '{CHECKPOINTS}'")
def test_official_files_load_strictly():
    names = {"U": "plainusr_u", "S": "plainusr_s", "base": "plainusr", "A2N": "a2n"}
    for entry in json.loads((CHECKPOINTS / "checkpoints.json").read_text())["files"]:
        name = names[entry["network"].removeprefix("PlainUSR-").split()[0]]
        network = load_network(published(name, entry["scale"]), CHECKPOINTS / entry["file"])
        assert sum(p.numel() for p in network.parameters()) == entry["params"]
        assert network.deployed == name.startswith("plainusr")


@pytest.mark.skipif(not MODERN.is_dir(), reason=f"no official weights '{MODERN}'")
def test_official_files_of_modern_networks_load_strictly():
    names = {"RLFN-S": "rlfn_s", "SPAN,": "span_c28", "SPAN-F,": "spanf", "IMDN-RTC": "imdn_rtc"}
    for entry in json.loads((MODERN / "checkpoints.json").read_text())["files"]:
        official = entry["network"].split()[0]
        network = load_network(published(names.get(official, official.lower()), entry["scale"]), MODERN / entry["file"])
        assert sum(p.numel() for p in network.parameters()) == entry["params"]


def test_a_folded_copy_beside_its_branches_is_left_out(tmp_path):
    """The official training form of SPAN holds ``eval_conv`` beside the branches that it is folded from."""
    architecture = published("span_c26", 2)
    network = Network(architecture).eval()
    names = {ours: official for official, ours in PUBLISHED["span_c26"].official_names(architecture).items()}
    official = {}
    for form in (network, network.deploy()):
        for key, tensor in form.state_dict().items():
            prefix = max((p for p in names if key.startswith(p + ".")), key=len)
            official[names[prefix] + key[len(prefix) :]] = tensor
    assert {"conv_1.eval_conv.weight", "conv_1.sk.weight"} <= official.keys()
    torch.save(official, tmp_path / "w.pth")
    loaded = load_network(architecture, tmp_path / "w.pth")
    assert not loaded.deployed
    assert_same_output(loaded, network)


@pytest.mark.skipif(not CHECKPOINTS.is_dir(), reason=f"no official weights '{CHECKPOINTS}'")
def test_weights_of_another_network_are_refused():
    with pytest.raises(InputError, match="must fit network"):
        load_network(published("plainusr", 4), CHECKPOINTS / "PlainUSRS_Rep_x4.pth")
    with pytest.raises(InputError, match="of another shape: tail.last.weight"):
        load_network(published("plainusr_s", 2), CHECKPOINTS / "PlainUSRS_Rep_x4.pth")


def test_a_file_that_tells_its_architecture_is_of_no_other(tmp_path):
    """Skips, activations and input ranges have no weights by which a file could be told apart."""
    path = tmp_path / "w.safetensors"
    save_file(join_architecture(ARCHITECTURE, drawn(ARCHITECTURE).state_dict()), path)
    load_network(ARCHITECTURE, path)
    other = ARCHITECTURE.model_copy(update={"global_skip": "nearest"})
    with pytest.raises(InputError, match="must be of network .*-skip:nearest.*, but the file says that they are of "):
        load_network(other, path)
