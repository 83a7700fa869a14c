"""SK, selective kernel: branches with different receptive fields, mixed per channel by what the image holds.

Reference: Li et al., "Selective Kernel Networks", CVPR 2019 (https://arxiv.org/abs/1903.06586).

Two forms are in use. ``official`` has 3x3 branches with growing dilation, and batch norm and ReLU in the squeeze;
``port``, the common PyTorch port, has kernels 3, 5, ..., and linear layers with biases and no activation in between.

Deviation: batch norm is left out by default, since its statistics harm super-resolution; convolutions then have a
bias in its place.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from srnas.search_space.blocks.conv_norm import ConvNorm
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

# The official names contain the number of groups and the dilation; the port's, the index of the branch.
_OFFICIAL_GROUPS = (1, 2, 4, 8, 16, 32, 64)
_NAMED_BRANCHES = 4


class _ConvNormReLU(ConvNorm):
    """``relu(norm(conv(x)))``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


def _dilation_suffix(index: int) -> str:
    return f"d{index + 1}" if index else ""


def _official_names() -> dict[str, str]:
    names = {"B_fc1": "squeeze.conv", "B_fc1/bn": "squeeze.norm", "B_fc2": "select", "fc": "squeeze", "fcs": "select"}
    for i in range(_NAMED_BRANCHES):
        names |= {f"convs.{i}.0": f"branches.{i}.conv", f"convs.{i}.1": f"branches.{i}.norm"}
        for groups in _OFFICIAL_GROUPS:
            official = f"3x3g{groups}{_dilation_suffix(i)}"
            names |= {official: f"branches.{i}.conv", f"{official}/bn": f"branches.{i}.norm"}
    return names


@REGISTRY.register(
    BlockInfo(
        name="sk",
        role="attention",
        paper="Li et al., SKNet, CVPR 2019, https://arxiv.org/abs/1903.06586",
        tile_invariant=False,
        official_names=_official_names(),
    )
)
class SK(Block):
    """``sum over branches i of a_i * branch_i(x)``, shape kept; C a multiple of ``groups``.

    The weights ``a``, one per branch and channel, are a softmax over the branches of ``select(squeeze(z))`` with z
    the global average of the sum of the branches: the block depends on the whole image. The output replaces the
    input. With ``form="official"`` and batch norm, training needs more than one image per batch.
    """

    class Config(BlockConfig):
        """The ``form``, its ``branches`` and ``groups``, the squeeze to ``max(C / reduction, min_hidden)``, ``norm``.

        ``norm``: ``none``, or ``batch`` as published; of the two only ``official`` normalises the squeeze.
        """

        form: Literal["official", "port"] = "official"
        branches: int = Field(default=2, ge=2)
        groups: int = Field(default=1, ge=1)
        reduction: int = Field(default=16, ge=1)
        min_hidden: int = Field(default=32, ge=1)
        norm: Literal["none", "batch"] = "none"

        def hidden(self, channels: int) -> int:
            """Return the width of the squeeze."""
            return max(channels // self.reduction, self.min_hidden)

        def kernel(self, branch: int) -> int:
            """Return the kernel of a branch, without its dilation."""
            return 3 if self.form == "official" else 3 + 2 * branch

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.branches = nn.ModuleList(self._branch(channels, i, config) for i in range(config.branches))
        hidden, batch_norm = config.hidden(channels), config.norm == "batch"
        self.squeeze: nn.Module
        self.select: nn.Module
        if config.form == "official":
            self.squeeze = _ConvNormReLU(nn.Conv2d(channels, hidden, 1, bias=not batch_norm), batch_norm)
            self.select = nn.Conv2d(hidden, config.branches * channels, 1, bias=False)
        else:
            self.squeeze = nn.Linear(channels, hidden)
            self.select = nn.ModuleList(nn.Linear(hidden, channels) for _ in range(config.branches))

    @staticmethod
    def _branch(channels: int, index: int, config: Config) -> _ConvNormReLU:
        official, batch_norm = config.form == "official", config.norm == "batch"
        conv = nn.Conv2d(
            channels,
            channels,
            config.kernel(index),
            padding=1 + index,
            dilation=1 + index if official else 1,
            groups=config.groups,
            bias=not (official and batch_norm),
        )
        return _ConvNormReLU(conv, batch_norm)

    @classmethod
    def constraint(cls, config: BlockConfig) -> Constraint:
        """The groups must divide C."""
        assert isinstance(config, SK.Config)
        return Constraint(config.groups, config.groups)

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Drop reduction and least width where their defaults give the same width d."""
        assert isinstance(config, SK.Config)
        default, hidden = SK.Config(), config.hidden(channels)
        if default.hidden(channels) == hidden:
            same = {"reduction": default.reduction, "min_hidden": default.min_hidden}
        else:
            fits = channels // default.reduction <= hidden
            same = {"reduction": default.reduction if fits else channels, "min_hidden": hidden}
        return config.model_copy(update=same)

    def weights(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return ``(B, M, C)``, which sum to 1 over the M branches, for the pooled sum ``(B, C)``."""
        logits: torch.Tensor
        if isinstance(self.select, nn.ModuleList):
            squeezed = self.squeeze(pooled)
            logits = torch.stack([select(squeezed) for select in self.select], dim=1)
        else:
            logits = self.select(self.squeeze(pooled[:, :, None, None]))
            logits = logits.view(pooled.shape[0], len(self.branches), pooled.shape[1])
        return logits.softmax(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Select from the branches of ``x``, ``(B, C, H, W)``."""
        maps = [branch(x) for branch in self.branches]
        selected: list[torch.Tensor] = [weight * u for weight, u in zip(self._selection(maps), maps, strict=True)]
        return sum(selected[1:], selected[0])

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the weights of the channels of each branch, which sum to 1 over the branches."""
        weights = self._selection([branch(x) for branch in self.branches])
        return {f"branch_{number}": weight for number, weight in enumerate(weights)}

    def _selection(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return self.weights(sum(maps[1:], maps[0]).mean((-2, -1)))[..., None, None].unbind(1)

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``sum over branches of (k^2 C^2 / groups + C) + (1 + M) C d + d``, ``+ M C`` in the port."""
        d, m = config.hidden(channels), config.branches
        branches = sum(config.kernel(i) ** 2 * channels**2 // config.groups + channels for i in range(m))
        return branches + (1 + m) * channels * d + d + m * channels * (config.form == "port")

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``sum over branches of k^2 C^2 H W / groups``, and ``(1 + M) C d``."""
        per_pixel = sum(config.kernel(i) ** 2 * channels**2 // config.groups for i in range(config.branches))
        return per_pixel * height * width + (1 + config.branches) * channels * config.hidden(channels)
