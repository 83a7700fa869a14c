"""A copy without data is a copy, and remembered operators give what called ones give."""

import pytest
import torch
from torch import nn

from srnas.profiling import count
from srnas.profiling.meta import RememberingMode, to_meta
from srnas.search_space import PUBLISHED, REGISTRY, Network, build_block, published


class Odd(nn.Module):
    """Keeps tensors and modules where PyTorch does not look, shares, and keeps state of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.again = self.conv
        self.tied = nn.Conv2d(4, 4, 1)
        self.tied.weight = self.conv.weight
        self.shift = torch.ones(4, 1, 1)
        self.hidden = [nn.Conv2d(4, 4, 1), {"scale": torch.full((4, 1, 1), 2.0)}]
        self.sizes = []
        self.register_buffer("mean", torch.zeros(4, 1, 1), persistent=False)

    def forward(self, x):
        self.sizes.append(x.shape)
        hidden, more = self.hidden
        return self.tied(self.again(self.conv(x))) + hidden(x) * more["scale"] + self.shift - self.mean


class Picky(nn.Conv2d):
    """Says itself how it is copied."""

    def __deepcopy__(self, memo):
        copied = Picky(self.in_channels, self.out_channels, self.kernel_size, device="meta")
        copied.copies = 1
        return copied


def test_a_copy_has_no_data_and_shares_nothing():
    network = Odd()
    on_meta = to_meta(network)
    tensors = [*on_meta.parameters(), *on_meta.buffers(), on_meta.shift, on_meta.hidden[1]["scale"]]
    assert all(tensor.is_meta for tensor in (*tensors, *on_meta.hidden[0].parameters()))
    assert on_meta.again is on_meta.conv
    assert on_meta.conv is not network.conv
    assert on_meta.tied.weight is on_meta.conv.weight
    assert on_meta.hidden[0] is not network.hidden[0]
    assert not on_meta.training
    assert network.training
    # What the copy does when called stays in the copy.
    assert count(network, (1, 4, 3, 3)).macs == 4 * (4 * 4 * 9)
    assert network.sizes == []
    assert not network.shift.is_meta


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_copy_has_the_same_tensors(name):
    network = Network(published(name, 2))
    on_meta = to_meta(network)
    assert [n for n, _ in on_meta.named_modules()] == [n for n, _ in network.named_modules()]
    pairs = zip(network.state_dict().items(), on_meta.state_dict().items(), strict=True)
    for (key, tensor), (other_key, other) in pairs:
        assert (key, tensor.shape, tensor.stride(), tensor.dtype) == (
            other_key,
            other.shape,
            other.stride(),
            other.dtype,
        )
    frozen = [p.requires_grad for p in network.parameters()]
    assert [p.requires_grad for p in on_meta.parameters()] == frozen
    assert on_meta.architecture == network.architecture


def test_a_class_that_copies_itself_is_asked():
    on_meta = to_meta(nn.Sequential(Picky(4, 2, 1)))
    assert on_meta[0].copies == 1


def test_formats_and_types_are_kept():
    conv = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    assert to_meta(conv).weight.is_contiguous(memory_format=torch.channels_last)
    assert to_meta(conv, torch.float16).weight.dtype == torch.float16
    assert conv.weight.dtype == torch.float32
    assert type(to_meta(nn.PReLU()).weight) is nn.Parameter


@pytest.mark.parametrize("name", [info.name for info in REGISTRY.infos("trunk", "attention")])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_remembered_results_are_those_of_the_operators(name, memory_format):
    class Recording(RememberingMode):
        def __init__(self, remembers):
            super().__init__()
            self.remembers, self.results = remembers, []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            ask = super().__torch_dispatch__
            result = ask(func, types, args, kwargs) if self.remembers else func(*args, **(kwargs or {}))
            for part in result if isinstance(result, (tuple, list)) else (result,):
                self.results.append((func, part.shape, part.stride(), part.dtype))
            return result

    block = to_meta(build_block(name, 24).to(memory_format=memory_format))
    x = torch.empty(1, 24, 15, 16, device="meta").to(memory_format=memory_format)
    found = []
    for remembers in (False, True):
        with torch.no_grad(), Recording(remembers) as mode:
            block(x)
            block(x)
        found.append(mode.results)
    assert found[0] == found[1]


def test_numbers_of_different_types_are_different_calls():
    x = torch.empty(2, dtype=torch.int64, device="meta")
    with RememberingMode():
        assert [(x * factor).dtype for factor in (1, 1.0, 1, True)] == [
            torch.int64,
            torch.float32,
            torch.int64,
            torch.int64,
        ]


def test_a_changed_tensor_is_the_one_that_was_given():
    x = torch.empty(2, device="meta")
    with RememberingMode():
        assert x.add_(1) is x
        assert x.add_(1) is x
        assert (x + 1) is not (x + 1)
