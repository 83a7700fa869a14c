"""The registry: an addition that fails leaves it unchanged; unknown names are helped along."""

import pytest
import torch

from srnas.search_space import REGISTRY, InputError, convert_official
from srnas.search_space.registry import Block, BlockInfo, Registry, Tail

INFO = BlockInfo(name="x", role="attention", paper="")


class Empty(Block):
    """A block."""


class Other(Tail):
    """A tail."""


def test_register_and_find():
    registry = Registry()
    assert registry.register(INFO)(Empty) is Empty
    assert registry.block("x", "attention") is Empty
    assert registry.infos() == [INFO]


@pytest.mark.parametrize(("cls", "message"), [(Empty, "'x' is already registered"), (Other, "already registered")])
def test_a_taken_name_changes_nothing(cls, message):
    registry = Registry()
    registry.register(INFO)(Empty)
    with pytest.raises(ValueError, match=message):
        registry.register(INFO)(cls)
    assert registry.block("x") is Empty


def test_a_class_must_fit_its_role():
    registry = Registry()
    with pytest.raises(ValueError, match="must derive from Block or Tail, but got Other"):
        registry.register(INFO)(Other)
    assert registry.infos() == []


def test_roles_are_kept_apart():
    with pytest.raises(InputError, match="unknown trunk 'lia'"):
        REGISTRY.block("lia", "trunk")
    with pytest.raises(InputError, match="'pixelshuffle' is a tail"):
        REGISTRY.block("pixelshuffle")
    with pytest.raises(InputError, match="unknown tail 'lia'"):
        REGISTRY.tail("lia")


def test_a_block_without_a_formula_says_so():
    registry = Registry()
    registry.register(BlockInfo(name="y", role="trunk", paper=""))(type("Y", (Block,), {}))
    with pytest.raises(NotImplementedError, match="block 'y' states no MACs formula"):
        registry.block("y").macs(3, 8, 8)


def test_convert_official_renames_by_the_longest_prefix():
    tensors = {"ADM.0.weight": torch.zeros(1), "attention.k2.bias": torch.ones(1)}
    assert convert_official("aab", tensors) == {
        "squeeze.weight": tensors["ADM.0.weight"],
        "gate_point.bias": tensors["attention.k2.bias"],
    }


def test_convert_official_lists_what_it_does_not_know():
    tensors = {name: torch.zeros(1) for name in ("body.0.weight", "extra.b", "extra.a", "body.00")}
    with pytest.raises(InputError, match=r"parameter of block 'lia', but got body\.00, extra\.a, extra\.b\."):
        convert_official("lia", tensors)
    with pytest.raises(InputError, match="unknown block 'liia'. Did you mean 'lia'"):
        convert_official("liia", {})
