"""Support for spandrel, which then opens what ``srnas export --format safetensors`` writes.

A program that uses spandrel must call :func:`add_to_spandrel` once: spandrel takes architectures from outside, but has
no entry point by which it would find them.
"""

import torch
from spandrel import MAIN_REGISTRY, ArchRegistry, ArchSupport, ImageModelDescriptor, ModelTiling, SizeRequirements
from spandrel import Architecture as SpandrelArchitecture

from srnas.search_space.checkpoints import split_architecture
from srnas.search_space.network import Network
from srnas.search_space.weights_files import ARCHITECTURE


class _Support(SpandrelArchitecture[Network]):
    def __init__(self) -> None:
        super().__init__(id="srnas", detect=lambda state_dict: ARCHITECTURE in state_dict)

    def load(self, state_dict: dict[str, torch.Tensor]) -> ImageModelDescriptor[Network]:
        architecture, tensors = split_architecture(state_dict)
        network = Network(architecture).deploy()
        network.load_state_dict(tensors)
        return ImageModelDescriptor(
            network,
            tensors,
            architecture=self,
            purpose="SR",
            tags=[architecture.key],
            supports_half=True,
            supports_bfloat16=True,
            scale=architecture.scale,
            input_channels=3,
            output_channels=3,
            size_requirements=SizeRequirements(minimum=architecture.min_size),
            tiling=ModelTiling.SUPPORTED if architecture.tile_invariant else ModelTiling.DISCOURAGED,
        )


def add_to_spandrel(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Let a registry of spandrel load our networks; once is enough, twice does no harm.

    Args:
        registry: A registry of spandrel; the default is the one that every ``spandrel.ModelLoader`` uses.
    """
    support = _Support()
    # Ours are told by a name that no other file holds, so they may be asked first.
    others = tuple(known.architecture.id for known in registry)
    registry.add(ArchSupport.from_architecture(support, before=others), ignore_duplicates=True)
