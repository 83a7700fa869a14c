"""Which blocks of a network keep it from running in a runtime."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from srnas.search_space import Network
from srnas.search_space.registry import Block, Tail


def culprits(network: nn.Module, x: torch.Tensor, load: Callable[[nn.Module, Sequence[torch.Tensor]], object]) -> str:
    """Return a sentence that names the blocks that cannot be loaded alone; empty where that tells nothing.

    Args:
        network: What could not be loaded, in deploy form.
        x: Its input.
        load: Loads a module for batches of its input, and raises where it cannot.
    """
    if not isinstance(network, Network):
        return ""
    given: dict[nn.Module, torch.Tensor] = {}
    blocks = [module for module in network.modules() if isinstance(module, Block | Tail)]
    hooks = [block.register_forward_pre_hook(lambda module, args: given.update({module: args[0]})) for block in blocks]
    try:
        network(x)
    # Any error, as below: the user must be told of what failed before.
    except Exception:
        return ""
    finally:
        for hook in hooks:
            hook.remove()
    by_name = {block.info.name: block for block in blocks if block in given}
    failing = [name for name, block in by_name.items() if not _loads(load, block, given[block])]
    if not 0 < len(failing) < len(by_name):
        return ""
    names = " and ".join(f"'{name}'" for name in failing)
    return f" The block{'s' * (len(failing) > 1)} that cannot run there: {names}."


def _loads(load: Callable[[nn.Module, Sequence[torch.Tensor]], object], block: nn.Module, x: torch.Tensor) -> bool:
    try:
        load(block, [x])
    except Exception:
        return False
    return True
