"""Non-local block: every pixel adds a softmax-weighted mean over all pixels, the embedded Gaussian form.

Reference: Wang et al., "Non-local Neural Networks", CVPR 2018 (https://arxiv.org/abs/1711.07971).

The official code pools x before the key and value convolutions and scales the logits: the defaults here. The common
PyTorch port pools after them and does not scale: ``sub_sample="after", scaled=False``.

Deviation: batch norm after the last convolution is left out by default, and the other convolutions start as PyTorch
starts them (officially with a standard deviation of 0.01). The affinity matrix is never larger than a
budget: above it the queries are processed in chunks, with the same result.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from srnas.search_space.blocks.conv_norm import ConvNorm
from srnas.search_space.blocks.squeeze import canonical_reduction, squeezed
from srnas.search_space.errors import InputError
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

_POOL = 2


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return ``softmax(query key) value``, ``(B, N, I)``, of ``(B, N, I)``, ``(B, I, M)`` and ``(B, M, I)``."""
    return torch.matmul(torch.matmul(query, key).softmax(-1), value)


@REGISTRY.register(
    BlockInfo(
        name="nonlocal",
        role="attention",
        paper="Wang et al., Non-local Neural Networks, CVPR 2018, https://arxiv.org/abs/1711.07971",
        constraint=Constraint(min_size=_POOL),
        tile_invariant=False,
        residual=True,
        # A constant that is added to all logits of a softmax cannot change it.
        without_gradient=("key.bias",),
        official_names={
            "theta": "query",
            "phi": "key",
            "phi.0": "key",
            "g": "value",
            "g.0": "value",
            "W": "project_out.conv",
            "W.0": "project_out.conv",
            "W.1": "project_out.norm",
        },
    )
)
class NonLocal(Block):
    """``x + conv1x1(softmax(query(x) key(x)) value(x))``, shape kept; an identity at the start.

    Depends on the whole image, and takes ``2 I N M`` multiply-accumulates for N pixels and M keys (N, or N / 4 with
    sub-sampling). ``key.bias`` cannot change the output: it adds a constant to all logits of a softmax.

    Raises:
        InputError: In ``forward``, if the affinities of one pixel exceed ``affinity_budget_bytes``.
    """

    # Logits and weights live at once, and their gradients too in training: a few times this in all.
    affinity_budget_bytes: ClassVar[int] = 256 * 2**20

    class Config(BlockConfig):
        """``reduction`` to the inner width I, where to ``sub_sample``, whether logits are ``scaled``, and ``norm``.

        ``sub_sample``: 2x2 maximum pooling of x ``before`` the key and value convolutions (official; H and W at
        least 2), of their results (``after``), or ``none``. ``scaled``: logits times ``I^-1/2``.
        """

        reduction: int = Field(default=2, ge=1)
        sub_sample: Literal["none", "after", "before"] = "before"
        scaled: bool = True
        norm: Literal["none", "batch"] = "none"

        def inner(self, channels: int) -> int:
            """Return the width of query, key and value."""
            return squeezed(channels, self.reduction)

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        inner = config.inner(channels)
        self.sub_sample = config.sub_sample
        self.scale = inner**-0.5 if config.scaled else 1.0
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.project_out = ConvNorm(nn.Conv2d(inner, channels, 1), config.norm == "batch")
        last = self.project_out.norm if config.norm == "batch" else self.project_out.conv
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    @classmethod
    def constraint(cls, config: BlockConfig) -> Constraint:
        """Sub-sampling needs at least one window."""
        assert isinstance(config, NonLocal.Config)
        return Constraint(min_size=1 if config.sub_sample == "none" else _POOL)

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Reductions to the same width are one; a width of 1 has nothing to scale."""
        assert isinstance(config, NonLocal.Config)
        reduction = canonical_reduction(channels, config.reduction, 2)
        return config.model_copy(
            update={"reduction": reduction, "scaled": config.scaled or config.inner(channels) == 1}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        self.check_size(x)
        query, key, value = self._project(x)
        attended = self._attend_in_budget(
            query.flatten(2).transpose(1, 2), key.flatten(2), value.flatten(2).transpose(1, 2)
        )
        attended = attended.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[-2:])
        refined: torch.Tensor = self.project_out(attended)
        return x + refined

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return as ``row`` the weights of one pixel's keys, ``(B, 1, H, W)``; with sub-sampling there are fewer."""
        query, key, _ = self._project(x)
        row, column = pixel or (x.shape[-2] // 2, x.shape[-1] // 2)
        weights = torch.einsum("bi,bihw->bhw", query[:, :, row, column], key)
        return {"row": weights.flatten(1).softmax(-1).view_as(weights)[:, None]}

    def _project(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        source = F.max_pool2d(x, _POOL) if self.sub_sample == "before" else x
        key, value = self.key(source), self.value(source)
        if self.sub_sample == "after":
            key, value = F.max_pool2d(key, _POOL), F.max_pool2d(value, _POOL)
        return self.query(x) * self.scale if self.scale != 1.0 else self.query(x), key, value

    def _attend_in_budget(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        # The softmax is float32 or wider under any autocast.
        row_bytes = query.shape[0] * key.shape[-1] * max(4, query.element_size())
        rows = self.affinity_budget_bytes // row_bytes
        if rows >= query.shape[1]:
            return _attend(query, key, value)
        if rows == 0:
            raise InputError(
                f"the affinities of one pixel must fit into {self.affinity_budget_bytes} bytes for block "
                f"'{self.info.name}', but got {row_bytes} bytes for a batch of {query.shape[0]} with "
                f"{key.shape[-1]} keys; use a smaller input or batch."
            )
        tensors = (query, key, value)
        chunks = query.split(rows, dim=1)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            # Recomputed in backward: kept, the chunks' affinities would add up to the whole matrix.
            attended = [
                checkpoint(_attend, chunk, key, value, use_reentrant=False, preserve_rng_state=False)
                for chunk in chunks
            ]
        else:
            attended = [_attend(chunk, key, value) for chunk in chunks]
        return torch.cat(attended, dim=1)

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``4 C I + 3 I + C``, I = max(1, C / reduction)."""
        inner = config.inner(channels)
        return 4 * channels * inner + 3 * inner + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``2 C I (N + S) + 2 I N M``: N pixels, S that key and value see, M keys, I = max(1, C / reduction).

        S = M = floor(H / 2) floor(W / 2) with sub-sampling before, S = N with sub-sampling after or without.
        """
        inner, pixels = config.inner(channels), height * width
        pooled = (height // _POOL) * (width // _POOL)
        keys = pixels if config.sub_sample == "none" else pooled
        seen = pooled if config.sub_sample == "before" else pixels
        return 2 * channels * inner * (pixels + seen) + 2 * inner * pixels * keys
