import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from srnas.nas.errors import DivergedError
from srnas.nas.images.pairs import to_image, to_tensor
from srnas.nas.images.upscaling import CPU_TILE, Tiling, Upscaler, inference_errors, measure_reach, upscale_tiles
from srnas.search_space import REGISTRY, Architecture, InputError, Network, Position

CPU = torch.device("cpu")
LOCAL = [info.name for info in REGISTRY.infos("trunk", "attention") if info.tile_invariant]


def convolutions(*layers, scale=2):
    """A network of convolutions (kernel, dilation); its reach is the sum of dilation * (kernel - 1) / 2."""
    chain = [nn.Conv2d(3, 3, kernel, padding="same", dilation=dilation) for kernel, dilation in layers]
    return nn.Sequential(*chain, nn.Conv2d(3, 3 * scale**2, 1), nn.PixelShuffle(scale)).eval()


def network(block, scale=2, channels=8):
    torch.manual_seed(0)
    role = next(info.role for info in REGISTRY.infos() if info.name == block)
    channels = 2 * channels if REGISTRY.block(block).info.constraint.min_channels > channels else channels
    channels = 12 if REGISTRY.block(block).info.constraint.channels_multiple == 3 else channels
    position = Position(**{role: block})
    return Network(Architecture(scale=scale, channels=channels, positions=(position,) * 2)).deploy()


def photograph(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assembled(module, lr, scale, tiling):
    sr = torch.full((1, 3, lr.shape[-2] * scale, lr.shape[-1] * scale), torch.nan, dtype=lr.dtype)
    for top, left, kept in upscale_tiles(module, lr, scale, tiling):
        target = sr[..., top : top + kept.shape[-2], left : left + kept.shape[-1]]
        assert target.isnan().all()
        target.copy_(kept)
    return sr


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("layers", "reach"),
    [
        ([(1, 1)], 0),
        ([(3, 1)], 1),
        ([(3, 1)] * 4, 4),
        ([(5, 3), (3, 2)], 8),
        ([(3, 100)], 100),
        ([(3, 28), (3, 28)], 56),
        ([(3, 1), (3, 400)], 401),
        ([((1, 7), 1)], 3),
    ],
)
def test_the_reach_is_the_sum_of_the_kernels(layers, reach, scale):
    assert measure_reach(convolutions(*layers, scale=scale), scale) == reach


def test_a_vertical_kernel_reaches_as_far():
    assert measure_reach(convolutions(((9, 1), 2)), 2) == 8


class Bicubic(nn.Module):
    def forward(self, x):
        assert min(x.shape[-2:]) >= 7
        return nn.functional.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False)


def test_the_strip_is_as_high_as_the_blocks_need():
    # Output pixel 2i lies at i - 1/4: taps i - 2 to i + 1; 2i + 1 mirrors it.
    assert measure_reach(Bicubic(), 2, min_size=7) == 2


class Mean(nn.Module):
    def forward(self, x):
        return (x + x.mean((2, 3), keepdim=True)).repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_what_looks_at_the_whole_image_has_no_reach(monkeypatch):
    monkeypatch.setattr("srnas.nas.images.upscaling._LAST_STRIP", 512)
    with pytest.raises(ValueError, match="reach must be bounded"):
        measure_reach(Mean(), 2)


def test_measuring_leaves_the_network_alone():
    module = network("conv")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    measure_reach(module, 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("block", LOCAL)
def test_tiles_give_what_the_whole_image_gives(block):
    module = network(block)
    reach = measure_reach(module, 2, module.architecture.min_size)
    lr = to_tensor(photograph(52, 61))
    with torch.inference_mode():
        whole = module(lr)
    tiles = assembled(module, lr, 2, Tiling(20, reach, module.architecture.min_size))
    torch.testing.assert_close(tiles, whole, rtol=1e-5, atol=1e-5)


def test_less_than_the_reach_is_not_enough():
    torch.manual_seed(0)
    module = convolutions((3, 1), (5, 2)).double()
    lr = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    with torch.inference_mode():
        whole = module(lr)
    assert (assembled(module, lr, 2, Tiling(16, 5)) - whole).abs().max() < 1e-12
    assert (assembled(module, lr, 2, Tiling(16, 4)) - whole).abs().max() > 1e-6


@given(side=st.integers(1, 300), tile=st.integers(1, 120), overlap=st.integers(0, 50), min_size=st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_spans_cover_a_side_once_and_read_what_is_needed(side, tile, overlap, min_size):
    spans = Tiling(tile, overlap, min_size).spans(side)
    assert [pixel for _, kept in spans for pixel in kept] == list(range(side))
    for read, kept in spans:
        assert 1 <= len(kept) <= tile
        assert 0 <= read.start <= max(0, kept.start - overlap)
        assert min(side, kept.stop + overlap) <= read.stop <= side
        assert len(read) >= min(min_size, side)


def test_an_output_that_is_not_finite():
    module = convolutions((3, 1))
    nn.init.constant_(module[0].bias, torch.inf)
    with pytest.raises(DivergedError):
        list(upscale_tiles(module, torch.rand(1, 3, 8, 8), 2, Tiling(8, 0)))


def test_large_images_are_cut_where_that_is_exact():
    local = Upscaler(network("conv"), CPU)
    assert local.tiling(CPU_TILE, CPU_TILE) is None
    assert local.tiling(20, CPU_TILE + 1) == Tiling(CPU_TILE, local.reach)
    assert local.notes([(20, 20)]) == []
    assert "network's reach of" in local.notes([(20, CPU_TILE + 1)])[0]
    assert Upscaler(network("conv"), CPU, 30).tiling(20, 31) == Tiling(30, local.reach)


def test_tiles_are_not_small_beside_the_reach(monkeypatch):
    far = Upscaler(network("conv"), CPU)
    monkeypatch.setitem(vars(far), "reach", 300)
    assert far.tiling(600, 600) is None
    assert far.tiling(601, 20) == Tiling(600, 300)


def test_other_networks_take_images_whole_unless_tiles_are_asked_for():
    whole = Upscaler(network("lia"), CPU)
    assert whole.tiling(3000, 4000) is None
    notes = whole.notes([(3000, 4000), (20, 20)])
    assert notes[0].startswith("images are upscaled whole")
    assert "warning: an image of 4000x3000 is upscaled whole, and above 2 megapixels memory may run out" in notes[1]
    assert len(whole.notes([(1000, 1000)])) == 1
    cut = Upscaler(network("lia"), CPU, 64)
    assert cut.tiling(65, 20) == Tiling(64, 32, 7)
    assert "seams are possible" in cut.notes([(65, 20)])[0]
    assert cut.notes([(64, 64)]) == []


def test_tiles_must_be_large_enough_for_the_blocks():
    with pytest.raises(InputError, match=r"tile >= 7 must hold for the network's blocks, but got tile=6\."):
        Upscaler(network("lia"), CPU, 6)


@pytest.mark.parametrize("block", ["conv", "lia"])
def test_an_8_bit_image_is_upscaled(block):
    module, lr = network(block), photograph(40, 50)
    with torch.inference_mode():
        expected = to_image(module(to_tensor(lr)))
    np.testing.assert_array_equal(Upscaler(module, CPU).upscale(lr), expected)
    shares = []
    tiles = Upscaler(module, CPU, 16).upscale(lr, shares.append)
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (12, 1.0)
    if block == "conv":
        # A value at the middle between two levels may round either way.
        assert np.abs(tiles.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DivergedError("x"), "output must be finite, but for 'a.png' it is not"),
        (MemoryError(), "'a.png' must fit into memory, but it does not; buy more."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "'a.png' must fit into memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "'a.png' must fit into memory"),
    ],
)
def test_what_inference_ends_with_names_the_image(error, message):
    with pytest.raises(InputError, match=message), inference_errors("a.png", "buy more"):
        raise error


def test_a_bug_during_inference_is_not_hidden():
    with pytest.raises(RuntimeError, match="a bug"), inference_errors("a.png", "buy more"):
        raise RuntimeError("a bug")
