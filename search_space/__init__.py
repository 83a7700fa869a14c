"""Blocks, architectures and search spaces for image super-resolution."""

from srnas.search_space import blocks as blocks
from srnas.search_space import tails as tails
from srnas.search_space.architecture import Architecture
from srnas.search_space.checkpoints import load_network
from srnas.search_space.choice import Choice
from srnas.search_space.designs import human_designs
from srnas.search_space.errors import InputError, unknown_name
from srnas.search_space.families.base import PublishedNetwork
from srnas.search_space.network import Network
from srnas.search_space.official import convert_official
from srnas.search_space.own_blocks import import_own
from srnas.search_space.position import Position
from srnas.search_space.published import PUBLISHED, published
from srnas.search_space.registry import REGISTRY, Block, BlockInfo, Constraint, build_block
from srnas.search_space.space import SearchSpace
from srnas.search_space.space_file import space_names

import_own()

__all__ = [
    "PUBLISHED",
    "REGISTRY",
    "Architecture",
    "Block",
    "BlockInfo",
    "Choice",
    "Constraint",
    "InputError",
    "Network",
    "Position",
    "PublishedNetwork",
    "SearchSpace",
    "build_block",
    "convert_official",
    "human_designs",
    "load_network",
    "published",
    "space_names",
    "unknown_name",
]
