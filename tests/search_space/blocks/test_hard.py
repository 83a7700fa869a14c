"""Hard attention: its masks, its gradient, what it keeps."""

import pytest
import torch
from torch import nn

from srnas.search_space import build_block


@pytest.fixture
def logits_are_the_first_channel(silent):
    """Return a function that builds a block whose logits are channel 0."""

    def build(name, channels, **options):
        block = silent(name, channels, **options)
        block.logit.weight.data[0, 0] = 1.0
        return block

    return build


def test_hard_keeps_positive_logits(logits_are_the_first_channel):
    block = logits_are_the_first_channel("hard", 2)
    nn.init.constant_(block.conv.bias, 3.0)
    nn.init.constant_(block.gamma, 2.0)
    x = torch.tensor([[1.0, 0.0], [-1.0, 1e-6]]).expand(1, 2, 2, 2)
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    assert torch.equal(block.mask(x), mask)
    assert torch.equal(block(x), x + 6 * mask)
    assert block.kept_fraction(x).tolist() == [0.5]


def test_hard_keeps_the_maximum_of_each_window(logits_are_the_first_channel):
    block = logits_are_the_first_channel("hard", 1, form="max")
    x = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]]).view(1, 1, 1, 5)
    assert block.mask(x).flatten().tolist() == [1, 0, 0, 0, 0]
    x = torch.tensor([[5.0, 0.0, -3.0, 0.0, 1.0]]).view(1, 1, 1, 5)
    assert block.mask(x).flatten().tolist() == [1, 0, 0, 0, 1]
    assert logits_are_the_first_channel("hard", 1, form="max", window=9).mask(x).sum() == 1
    assert logits_are_the_first_channel("hard", 1, form="max", window=1).mask(x).sum() == 5


@pytest.mark.parametrize(
    ("size", "fraction", "rows", "columns"),
    [
        ((4, 6), 0.5, slice(1, 3), slice(1, 4)),
        ((5, 7), 0.5, slice(1, 4), slice(1, 5)),
        ((1, 2), 0.5, slice(0, 1), slice(0, 1)),
        ((8, 100), 0.1, slice(3, 4), slice(45, 55)),
        ((3, 4), 1.0, slice(None), slice(None)),
    ],
)
def test_hard_keeps_the_central_rectangle(size, fraction, rows, columns):
    block = build_block("hard", 2, form="centre", fraction=fraction)
    expected = torch.zeros(3, 1, *size)
    expected[..., rows, columns] = 1
    x = torch.randn(3, 2, *size)
    assert torch.equal(block.mask(x), expected)
    torch.testing.assert_close(block.kept_fraction(x), expected.mean((1, 2, 3)))


@pytest.mark.parametrize("form", ["threshold", "max"])
def test_hard_passes_the_gradient_of_the_sigmoid(form, logits_are_the_first_channel):
    block = logits_are_the_first_channel("hard", 1, form=form)
    x = torch.randn(1, 1, 5, 6, requires_grad=True)
    mask = block.mask(x)
    assert set(mask.flatten().tolist()) == {0.0, 1.0}
    mask.sum().backward()
    soft = x.detach().sigmoid()
    torch.testing.assert_close(x.grad, soft * (1 - soft))


def test_hard_is_deterministic_and_the_same_in_training(drawn):
    block, x = drawn("hard").eval(), torch.randn(2, 24, 8, 8)
    assert torch.equal(block.train()(x), block.eval()(x))
    assert torch.equal(block(x), block(x))


def test_hard_starts_with_a_gain_of_a_tenth():
    block, x = build_block("hard", 3, form="centre", fraction=1.0), torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(block(x), x + 0.1 * block.conv(x))
