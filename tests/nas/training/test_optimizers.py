import copy

import pytest
import torch
from torch import nn

from srnas.nas.training.optimizers import (
    Muon,
    depth_of,
    hidden_banks,
    hidden_rate,
    make_optimizers,
    orthogonalised,
)
from srnas.nas.training.schedule import MUON, TrainingConfig
from srnas.search_space import Architecture, InputError, Network, Position

CONFIG = TrainingConfig(iterations=10, patch=8, batch=2, learning_rate=4e-3, weight_decay=0.1, **MUON)


def network(channels=12):
    positions = tuple(Position(trunk="conv", attention=name) for name in ("mlka", "lia", "cbam"))
    torch.manual_seed(0)
    return Network(Architecture(scale=2, channels=channels, positions=positions))


def with_gradients(module):
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
    return module


@pytest.mark.parametrize("shape", [(3, 18, 162), (2, 40, 9), (1, 1, 98), (2, 12, 12)])
def test_the_singular_vectors_stay_and_the_values_come_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrices)
    assert found.shape == matrices.shape
    for matrix, one in zip(matrices, found, strict=True):
        u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
        values = torch.linalg.svdvals(one)
        # The coefficients do not converge to 1: they bring all values into 0.7 to 1.2 quickly (Jordan et al. 2024);
        # the least values of a square matrix need more iterations.
        assert values.max() < 1.25
        assert values.min() > 0.5 or shape[1] == shape[2]
        rotated = u.mT @ one @ vh.mT
        assert torch.allclose(rotated, torch.diag(rotated.diagonal()), atol=1e-4)


def test_a_step_has_the_spectral_norm_of_the_rate_whatever_the_gradient_is():
    for scale in (1e-3, 1e3):
        for shape, longest in (((12, 12, 3, 3), 1.0), ((36, 4, 3, 3), 1.0), ((24, 1, 3, 3), (24 / 9) ** 0.5)):
            bank = nn.Parameter(torch.zeros(shape))
            bank.grad = scale * torch.randn(shape, generator=torch.Generator().manual_seed(1))
            Muon([bank], lr=0.02).step()
            norm = torch.linalg.svdvals(bank.detach().flatten(1)).max()
            assert 0.7 * 0.02 * longest < norm < 1.25 * 0.02 * longest


def test_momentum_is_nesterovs_and_decay_is_decoupled():
    bank = nn.Parameter(torch.full((1, 4, 1, 1), 2.0))
    optimizer = Muon([bank], lr=0.1, weight_decay=0.5, momentum=0.5)
    first, second = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 1.0, 0, 0])
    expected, mean = bank.detach().flatten(1).clone(), torch.zeros(4)
    for gradient in (first, second):
        bank.grad = gradient.view_as(bank).clone()
        optimizer.step()
        mean = 0.5 * mean + 0.5 * gradient
        direction = 0.5 * gradient + 0.5 * mean
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * orthogonalised(direction[None, None])[0]
    assert torch.allclose(bank.flatten(1), expected, atol=1e-6)


def test_banks_of_one_shape_are_stepped_as_each_alone():
    banks = [nn.Parameter(torch.randn(6, 6, 3, 3)) for _ in range(3)]
    for bank in banks:
        bank.grad = torch.randn_like(bank)
    alone = copy.deepcopy(banks)
    for bank, other in zip(banks, alone, strict=True):
        other.grad = bank.grad.clone()
        Muon([other], lr=0.02).step()
    Muon(banks, lr=0.02).step()
    assert all(torch.allclose(bank, other, atol=1e-6) for bank, other in zip(banks, alone, strict=True))


def test_a_bank_without_a_gradient_stays():
    bank = nn.Parameter(torch.ones(2, 2, 1, 1))
    Muon([bank], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(bank, torch.ones(2, 2, 1, 1))


def test_convolutions_of_the_body_are_muons_and_all_else_is_adamws():
    whole = network()
    banks = {id(bank) for bank in hidden_banks(whole)}
    names = {name for name, parameter in whole.named_parameters() if id(parameter) in banks}
    assert names
    assert all(name.startswith("body.") and name.endswith("weight") for name in names)
    left = [p for name, p in whole.named_parameters() if name not in names and p.ndim == 4]
    # Stem, tail, and scales of one value for each channel.
    assert {tuple(p.shape) for p in left} == {(12, 3, 3, 3), (12, 12, 3, 3), (1, 12, 1, 1)}


def test_every_parameter_has_one_optimizer_and_its_rate():
    made = make_optimizers(network(), CONFIG)
    assert {name: o.param_groups[0]["lr"] for name, o in made.items()} == {
        "optimizer": 4e-3,
        # Three trunks, one beside a gate, and two of attention that mixes all channels (LIA has 16 features).
        "muon": pytest.approx(9.2 * 4e-3 / 3**0.5),
    }
    assert {o.param_groups[0]["weight_decay"] for o in made.values()} == {0.1}
    owned = [id(p) for o in made.values() for group in o.param_groups for p in group["params"]]
    assert len(owned) == len(set(owned)) == len(list(network().parameters()))


@pytest.mark.parametrize(("depth", "factor"), [(0, 7.5), (1, 7.5), (4, 4.6), (16, 2.3)])
def test_the_rate_falls_with_the_depth(depth, factor):
    assert hidden_rate(4e-3, depth) == pytest.approx(factor * 4e-3)


@pytest.mark.parametrize(
    ("trunk", "attention", "depth"),
    [
        # Two filter banks from all channels to all.
        ("conv", "none", 1.0),
        # One.
        ("conv1", "none", 0.5),
        # Two of one pixel.
        ("dw", "none", 0.5),
        # Three in a row for each of two, and a sum of parts that fold into one.
        ("repmb", "none", 3.0),
        ("ecb", "none", 1.0),
        # Gates of low rank, and one without weights.
        ("conv", "cbam", 0.5),
        ("conv", {"name": "lia", "features": 4}, 0.5),
        ("conv", "spa", 0.5),
        ("none", "cbam", 0.0),
        # Half of the channels.
        ("conv", "psa_parallel", 1.0),
        # A convolution from 12 channels to 24 and one back.
        ("none", "mlka", 0.25),
        # Seven of them, side by side and in a row.
        ("conv", "aab_m", 1.25),
    ],
)
def test_depth_counts_trunks_that_mix_all_channels(trunk, attention, depth):
    positions = [{"trunk": trunk, "attention": attention}] * 3
    built = Network(Architecture.from_dict({"schema": 1, "scale": 2, "channels": 12, "positions": positions}))
    assert depth_of(built) == 3 * depth


def test_the_depth_of_another_module_is_half_its_convolutions():
    assert depth_of(nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(5)))) == 2.5


def test_a_training_by_another_rule_does_not_go_on():
    with pytest.raises(InputError, match="must use rule 2 of Muon's rate, .* with rule 1, .* another with --study"):
        make_optimizers(network(), CONFIG.model_copy(update={"depth_rule": 1}))


def test_what_has_no_hidden_convolution_has_one_optimizer():
    assert list(make_optimizers(Network(Architecture(scale=2, channels=6)), CONFIG)) == ["optimizer"]
    assert list(make_optimizers(nn.Conv2d(3, 3, 1, bias=False), CONFIG)) == ["muon"]


def test_adamw_alone_steps_as_before_there_was_a_choice():
    ours, theirs = with_gradients(network()), network()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        other.grad = mine.grad.clone()
    made = make_optimizers(ours, CONFIG.model_copy(update={"optimizer": "adamw"}))
    assert list(made) == ["optimizer"]
    made["optimizer"].step()
    torch.optim.AdamW(theirs.parameters(), lr=4e-3, weight_decay=0.1).step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-7)
