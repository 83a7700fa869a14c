"""The non-local block: cases known by hand, and the memory that it needs."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srnas.profiling import count
from srnas.search_space import InputError, build_block
from srnas.search_space.blocks.nonlocal_ import NonLocal
from srnas.search_space.registry import fold_all


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_nonlocal_is_an_identity_at_the_start(norm, training):
    x = torch.randn(2, 6, 5, 7)
    block = build_block("nonlocal", 6, norm=norm).train(training)
    assert torch.equal(block(x), x)
    block.eval()
    assert torch.equal(fold_all(fold_all(block))(x), x)


@pytest.mark.parametrize("sub_sample", ["none", "after", "before"])
def test_nonlocal_without_affinity_adds_the_mean_of_the_values(sub_sample, silent):
    block = silent("nonlocal", 1, sub_sample=sub_sample)
    nn.init.ones_(block.value.weight)
    nn.init.ones_(block.project_out.conv.weight)
    x = torch.randn(1, 1, 4, 6)
    values = x if sub_sample == "none" else F.max_pool2d(x, 2)
    torch.testing.assert_close(block(x), x + values.mean())


def test_nonlocal_pools_before_or_after_the_convolutions(silent):
    x = torch.randn(1, 1, 4, 4)
    outputs = []
    for sub_sample in ("after", "before"):
        block = silent("nonlocal", 1, sub_sample=sub_sample)
        nn.init.constant_(block.value.weight, -1.0)
        nn.init.ones_(block.project_out.conv.weight)
        outputs.append(block(x) - x)
    # The maximum of -x is minus the minimum.
    torch.testing.assert_close(outputs[0], F.max_pool2d(-x, 2).mean().expand_as(x))
    torch.testing.assert_close(outputs[1], -F.max_pool2d(x, 2).mean().expand_as(x))


@pytest.mark.parametrize("scaled", [True, False])
def test_nonlocal_equals_scaled_dot_product_attention(scaled, drawn):
    block = drawn("nonlocal", 8, sub_sample="none", scaled=scaled).eval()
    x = torch.randn(2, 8, 5, 6)
    query, key, value = (
        conv(x).flatten(2).transpose(1, 2).unsqueeze(1) for conv in (block.query, block.key, block.value)
    )
    attended = F.scaled_dot_product_attention(query, key, value, scale=0.5 if scaled else 1.0)
    expected = x + block.project_out(attended.squeeze(1).transpose(1, 2).reshape(2, 4, 5, 6))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("sub_sample", ["none", "after", "before"])
@pytest.mark.parametrize("rows", [1, 7, 98])
def test_nonlocal_in_chunks_is_the_same(monkeypatch, sub_sample, rows, drawn):
    block = drawn("nonlocal", 8, sub_sample=sub_sample, norm="batch").eval().double()
    x = torch.randn(2, 8, 9, 11, dtype=torch.double, requires_grad=True)
    keys = 99 if sub_sample == "none" else 20

    def outcome():
        block.zero_grad()
        x.grad = None
        output = block(x)
        output.square().mean().backward()
        return [output.detach(), x.grad, *(p.grad.clone() for p in block.parameters())]

    whole = outcome()
    monkeypatch.setattr(NonLocal, "affinity_budget_bytes", 2 * keys * 8 * rows + 1)
    torch.testing.assert_close(outcome(), whole)
    formula = NonLocal.macs(8, 9, 11, NonLocal.Config(sub_sample=sub_sample))
    assert count(block.float(), (2, 8, 9, 11)).macs == 2 * formula


class _LargestTensor(TorchDispatchMode):
    """Keeps the size of the largest result of any operator."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [t.numel() * t.element_size() for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        self.bytes = max(self.bytes, *sizes, 0)
        return result


@pytest.mark.parametrize("gradient", [False, True])
def test_nonlocal_holds_no_affinity_matrix_at_320x180(gradient):
    block = build_block("nonlocal", 64).to("meta")
    seen = _LargestTensor()
    with torch.set_grad_enabled(gradient), seen:
        output = block(torch.empty(1, 64, 180, 320, device="meta"))
        if gradient:
            output.sum().backward()
    # The whole matrix would have 3.1 GiB.
    assert 200 * 2**20 < seen.bytes <= NonLocal.affinity_budget_bytes == 256 * 2**20


def test_nonlocal_keeps_no_affinities_for_the_backward_pass(monkeypatch, drawn):
    monkeypatch.setattr(NonLocal, "affinity_budget_bytes", 8000)
    block = drawn("nonlocal", 4, sub_sample="none").eval()
    kept = []

    def keep(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(torch.randn(1, 4, 16, 16))
    # One pixel's affinities have 1 KiB, those of all 256 pixels 256 KiB.
    assert max(kept) <= 8000


def test_nonlocal_refuses_what_cannot_fit(monkeypatch):
    monkeypatch.setattr(NonLocal, "affinity_budget_bytes", 100)
    with pytest.raises(InputError) as error:
        build_block("nonlocal", 4)(torch.zeros(2, 4, 8, 8))
    assert str(error.value) == (
        "the affinities of one pixel must fit into 100 bytes for block 'nonlocal', but got 128 bytes for a batch "
        "of 2 with 16 keys; use a smaller input or batch."
    )


def test_nonlocal_needs_two_pixels_to_sub_sample():
    with pytest.raises(InputError, match="width and height must be at least 2 for block 'nonlocal', but got 5x1"):
        build_block("nonlocal", 4)(torch.zeros(1, 4, 1, 5))
    assert build_block("nonlocal", 4, sub_sample="none")(torch.ones(1, 4, 1, 1)).shape == (1, 4, 1, 1)
