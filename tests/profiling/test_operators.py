"""The tables of operators: nothing stands twice, and what a user's block is likely to call stands in one."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.profiling import count, reconcile
from srnas.profiling.operators import COUNTED, FREE, OTHER

TABLES = (COUNTED, *OTHER, *FREE)
MODULES = [
    *(nn.ReLU6(), nn.ELU(), nn.CELU(), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish()),
    *(nn.Hardsigmoid(), nn.Hardtanh(), nn.Softplus(), nn.Softsign(), nn.LogSigmoid(), nn.PReLU(), nn.GLU(1)),
    *(nn.Softmax2d(), nn.LogSoftmax(1), nn.Dropout2d(), nn.Identity()),
    *(nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8, track_running_stats=False)),
    *(nn.GroupNorm(2, 8), nn.GroupNorm(2, 8, affine=False), nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True)),
    *(nn.LayerNorm(10), nn.LayerNorm([6, 10], elementwise_affine=False), nn.LocalResponseNorm(3), nn.RMSNorm(10)),
    *(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(1), nn.AvgPool2d(2), nn.MaxPool2d(2)),
    *(nn.Upsample(scale_factor=2, mode=mode) for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")),
    *(nn.PixelShuffle(2), nn.PixelUnshuffle(2), nn.ChannelShuffle(2), nn.Unfold(3)),
    *(nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.ZeroPad2d(1), nn.CircularPad2d(1)),
    *(nn.ConvTranspose2d(8, 4, 3, 2, 1), nn.Conv2d(8, 4, 3, padding="same")),
    *(nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"), nn.Linear(10, 3), nn.Linear(10, 3, bias=False)),
    nn.Sequential(nn.Flatten(2), nn.Conv1d(8, 4, 3), nn.AdaptiveAvgPool1d(4)),
    nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Conv3d(2, 3, 3)),
    nn.Sequential(nn.Unfold(3), nn.Fold((6, 10), 3)),
    nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(60, 4, 16, batch_first=True)),
    nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 4, 3)),
    nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 4, 3)),
]


class Calls(nn.Module):
    """The sum of all results: a trace leaves out what nothing depends on."""

    def __init__(self, functions):
        super().__init__()
        self.functions = functions

    def forward(self, x):
        return sum(function(x).sum() for function in self.functions)


CALLS = {
    "elementwise": [
        lambda x: torch.where(x > 0, x, -x).clamp(0, 1).masked_fill(x < 0, 0.0),
        lambda x: (x.maximum(x) // 2 % 3).abs().sqrt().rsqrt().exp().log().sin().cos().pow(2),
        lambda x: x.clone().mul_(2).add_(1).relu_().sigmoid_().clamp_(0, 1),
        lambda x: ((x > 0) & (x < 1) | ~(x > 2)).float(),
        lambda x: torch.lerp(x, x, 0.5) - torch.addcmul(x, x, x).round().sign(),
    ],
    "reductions": [
        lambda x: x.mean((2, 3), keepdim=True) + x.std(-1, keepdim=True) + x.var(1, keepdim=True),
        lambda x: x.max(1)[0] + x.amin(1) + x.argmax(1) + x.logsumexp(1) + x.norm(dim=1) + x.cumsum(1)[:, 0],
        lambda x: F.normalize(x, dim=-1) + torch.var_mean(x, 1, keepdim=True)[0],
        lambda x: F.cosine_similarity(x, x),
    ],
    "data": [
        lambda x: x.view(2, 8, 3, 2, 5, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 8, 4),
        lambda x: x.roll((1, 1), (2, 3)).flip(-1).rot90(1, (2, 3)).repeat(1, 2, 1, 1).tril(),
        lambda x: x[:, [1, 0]].gather(1, torch.zeros(2, 1, 6, 10, dtype=torch.long, device=x.device)),
        lambda x: torch.stack(torch.meshgrid(*(torch.arange(n, device=x.device) for n in x.shape[2:]), indexing="ij")),
        lambda x: x.repeat_interleave(2, -1).unflatten(1, (2, 4)).double(),
        lambda x: torch.cat(x.chunk(2, 1)[::-1], 1) * torch.tensor(2.0),
    ],
    "sampling": [
        lambda x: F.grid_sample(x, F.affine_grid(x.new_zeros(2, 2, 3), [2, 8, 6, 10], False), align_corners=False),
        lambda x: F.grid_sample(x, x.new_zeros(2, 3, 3, 2), mode="bicubic", align_corners=False),
    ],
    "products": [
        lambda x: x[:1, :1].mT @ x + x[0, 0].mT @ x,
        lambda x: x @ x[0, 0, 0] + x[0, 0, 0] @ x.mT,
        lambda x: x[0, 0, 0] @ x[0, 0, 0],
        lambda x: torch.einsum("bchw,bchv->bcwv", x, x) + torch.einsum("bchw,bdhw,bdhv->bcv", x, x, x)[..., None],
        lambda x: torch.einsum("bchw,k->bchk", x, x[0, 0, 0]) + torch.einsum("bchw->bch", x)[..., None],
        lambda x: torch.baddbmm(x[0].new_zeros(6), x[0], x[0].mT) + torch.addbmm(x.new_zeros(6), x[0], x[0].mT),
        lambda x: torch.addmv(x.new_zeros(6), x[0, 0], x[0, 0, 0]) + torch.addmm(x.new_zeros(6), x[0, 0], x[0, 0].mT),
    ],
    "attention": [
        lambda x: F.scaled_dot_product_attention(x, x[:, :, :4], x[:, :, :4], attn_mask=x.new_zeros(6, 4)),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], enable_gqa=True),
        lambda x: F.scaled_dot_product_attention(x.flatten(2), x.flatten(2), x.flatten(2)),
    ],
}


def test_no_operator_stands_in_two_tables():
    for one, other in itertools.combinations(TABLES, 2):
        assert not set(one) & set(other)


def test_in_place_forms_stand_for_themselves():
    assert not [name for table in TABLES for name in table if name.endswith("_")]


def test_every_name_is_an_operator_of_aten():
    # Found by the packet: some operators are new in one version of PyTorch, and old ones do not go.
    unknown = {name for table in TABLES for name in table if not hasattr(torch.ops.aten, name)}
    assert unknown <= {"_fused_rms_norm", "_scaled_dot_product_fused_attention_overrideable"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_modules_of_torch_are_reconciled(module):
    counted = reconcile(module, (2, 8, 6, 10))
    assert counted.agrees, counted.equations
    assert not counted.fvcore_unsupported


@pytest.mark.parametrize("family", CALLS)
def test_operators_of_blocks_are_reconciled(family):
    counted = reconcile(Calls(CALLS[family]), (2, 8, 6, 10))
    assert counted.agrees, (counted.equations, counted.record.unknown)
    assert not counted.fvcore_unsupported


@pytest.mark.parametrize("name", ["median", "sort", "topk"])
def test_work_that_is_not_proportional_is_unknown(name):
    arguments = (2,) if name == "topk" else ()
    assert count(Calls([lambda x: getattr(x, name)(*arguments, dim=1)[0]]), (1, 4, 4, 4)).unknown == {name: 1}
