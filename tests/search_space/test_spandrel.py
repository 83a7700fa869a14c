"""Networks of ours in spandrel."""

import pytest
import torch
from safetensors.torch import save_file

from srnas.search_space import Architecture, Network, Position
from srnas.search_space.checkpoints import join_architecture

# Its torchvision must fit the torch that is installed.
spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed")


@pytest.mark.parametrize(("blocks", "tiled"), [(("conv", "conv"), True), (("conv", "lia"), False)])
def test_spandrel_loads_an_exported_network(tmp_path, blocks, tiled):
    from srnas.search_space.spandrel_support import add_to_spandrel

    position = Position(trunk=blocks[0]) if tiled else Position(trunk=blocks[0], attention=blocks[1])
    network = Network(Architecture(scale=2, channels=8, positions=(position, position))).deploy()
    save_file(join_architecture(network.architecture, network.state_dict()), tmp_path / "sr.safetensors")
    for _ in range(2):
        add_to_spandrel()
    model = spandrel.ModelLoader().load_from_file(tmp_path / "sr.safetensors")
    assert (model.architecture.id, model.scale, model.tags) == ("srnas", 2, [network.architecture.key])
    assert (model.tiling is spandrel.ModelTiling.SUPPORTED) == tiled
    image = torch.rand(1, 3, 17, 24)
    with torch.no_grad():
        expected = network(image).clamp(0, 1)
    assert torch.equal(model(image), expected)


def test_other_networks_are_still_told_apart(tmp_path):
    from srnas.search_space.spandrel_support import add_to_spandrel

    registry = spandrel.MAIN_REGISTRY.copy()
    before = len(registry)
    add_to_spandrel(registry)
    assert len(registry) in (before, before + 1)
    save_file({"strange": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(spandrel.UnsupportedModelError):
        spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "other.safetensors")
