"""Outputs, gradients, deployed weights and counts of the official implementations, reproduced.

The cases are data outside the repository: ``SRNAS_GOLDEN`` names their folders; ``../shared/golden`` and
``../shared/modern/golden`` are the default.
"""

import copy
import json
import os
from functools import cache
from pathlib import Path

import modern
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from srnas.profiling import count
from srnas.search_space import PUBLISHED, REGISTRY, Network, Position, build_block, convert_official, published
from srnas.search_space.blocks.repmb import OFFICIAL_NAMES, GateProjection, RepMBConv
from srnas.search_space.blocks.softpool import SoftPool2d
from srnas.search_space.blocks.stn import warp
from srnas.search_space.families.plainusr import plainusr_block_names
from srnas.search_space.official import rename
from srnas.search_space.registry import fold_all

SHARED = Path(__file__).parents[2].parent / "shared"
FOLDERS = [Path(folder) for folder in os.environ.get("SRNAS_GOLDEN", "").split(os.pathsep) if folder]
FOLDERS = FOLDERS or [SHARED / "golden", SHARED / "modern" / "golden"]
CASES = [path for folder in FOLDERS for path in sorted(folder.glob("*.safetensors"))]
OFFICIAL_PSA = {
    "psa_official_p": ("psa_parallel", {"spatial_softmax": "product", "channel_up": "conv", "projection_bias": False}),
    "psa_official_s": (
        "psa_sequential",
        {"spatial_softmax": "value", "channel_up": "bottleneck", "projection_bias": False},
    ),
}

# Official networks and the published network whose names theirs follow.
FAMILY = {"a2n": "a2n", "a2n_m": "a2n_m", "man": "man_tiny", "plainusr": "plainusr"}

pytestmark = pytest.mark.skipif(not CASES, reason=f"no golden cases in {FOLDERS}")


class Tail(nn.Module):
    """A2N's tail with its global skip, as the official forward ends."""

    def __init__(self, channels, scale, features):
        super().__init__()
        tail = REGISTRY.tail("nearest_pa")
        self.tail = tail(channels, scale, tail.Config(features=features))
        self.scale = scale

    def forward(self, x, lr):
        return self.tail(x) + F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)


class OfficialRange(nn.Module):
    """A network fed in the range of its authors; ours takes 0 to 1."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.architecture = network.architecture

    def forward(self, lr):
        return self.network(lr / self.architecture.input_range) * self.architecture.input_range


class Warp(nn.Module):
    """The sampler of the spatial transformer alone."""

    def __init__(self, mode, padding_mode, align_corners):
        super().__init__()
        assert (mode, align_corners) == ("bilinear", False)
        self.padding_mode = padding_mode
        self.register_buffer("identity", torch.eye(2, 3), persistent=False)

    def forward(self, x, theta=None):
        # Counting passes one input.
        theta = self.identity.expand(x.shape[0], 2, 3) if theta is None else theta
        return warp(x, theta, padding_mode=self.padding_mode)


def a2n(name, c):
    position = Position(attention="aab" if name == "a2n" else "aab_m")
    tail = {"name": "nearest_pa", "features": c["unf"]}
    fields = {"channels": c["nf"], "positions": (position,) * c["nb"], "tail": tail}
    return OfficialRange(Network(published(name, c["scale"]).model_copy(update=fields)))


def man(c):
    base = published("man_tiny", c["scale"])
    positions = base.positions[:1] * c["n_resblocks"]
    return OfficialRange(Network(base.model_copy(update={"channels": c["n_feats"], "positions": positions})))


def plainusr(c):
    widths = tuple(c["im_feat"])
    for name in PUBLISHED:
        network = published(name, c["scale"])
        if tuple(dict.fromkeys(p.active or network.channels for p in network.positions)) == widths:
            return OfficialRange(Network(network))
    return None


def plainusr_block(c, version):
    attention = {"v1": None, "v3": "lia_speed"}.get(version, "lia")
    trunk = {"convolutions": 3 if version == "v4" else 2, "gate": attention is not None}
    parts = [build_block("repmb", c["n_feat"], **trunk)]
    if attention:
        parts.append(build_block(attention, c["n_feat"], **({"features": c["f"]} if attention == "lia" else {})))
    return nn.Sequential(*parts)


def sk(c):
    if "group" in c:
        # The prototxt states the width of the squeeze.
        options = {"branches": c["M"], "groups": c["group"], "reduction": c["channels"], "min_hidden": c["d"]}
        return build_block("sk", c["channels"], norm="batch", **options)
    assert c.get("stride", 1) == 1
    hidden = max(int(c["features"] / c["r"]), c["L"])
    options = {"branches": c["M"], "groups": c["G"], "reduction": c["features"], "min_hidden": hidden}
    return build_block("sk", c["features"], form="port", norm="batch", **options)


def nonlocal_(c):
    channels = c["in_channels"]
    inner = c["inter_channels"] or max(1, channels // 2)
    reduction = next(r for r in range(1, channels + 1) if max(1, channels // r) == inner)
    sub_sample, norm = "after" if c["sub_sample"] else "none", "batch" if c["bn_layer"] else "none"
    return build_block("nonlocal", channels, reduction=reduction, sub_sample=sub_sample, scaled=False, norm=norm)


def build(block, c, source_class):
    """Return our module for an official block and its constructor, or ``None`` if the grammar does not hold it."""
    builders = {
        "softpool2d": lambda: SoftPool2d(**c),
        "lia": lambda: build_block("lia", c["channels"], features=c["f"]),
        "lia_maxpool": lambda: build_block("lia_maxpool", c["channels"], features=c["f"]),
        "lia_speed": lambda: build_block("lia_speed", c["channels"]),
        "repmbconv": lambda: RepMBConv(c["n_feat"], "official"),
        "pconv": lambda: GateProjection(c["n_feat"]),
        "plainusr_block": lambda: plainusr_block(c, source_class[-2:]),
        "aab": lambda: build_block("aab", c["nf"], reduction=c["reduction"], temperature=c["t"]),
        "aab_m": lambda: build_block("aab_m", c["nf"], reduction=c["reduction"], temperature=c["t"]),
        "mlka": lambda: build_block("mlka", c["n_feats"]),
        "gsau": lambda: build_block("gsau", c["n_feats"]),
        "mab": lambda: nn.Sequential(build_block("mlka", c["n_feats"]), build_block("gsau", c["n_feats"])),
        "lkat": lambda: build_block("lkat", c["n_feats"]),
        "pa": lambda: build_block("pa", c["nf"]),
        "psa_parallel": lambda: build_block("psa_parallel", c["channel"]),
        "psa_sequential": lambda: build_block("psa_sequential", c["channel"]),
        **{
            official: lambda name=name, options=options: build_block(name, c["inplanes"], **options)
            for official, (name, options) in OFFICIAL_PSA.items()
        },
        "cbam": lambda: build_block(
            "cbam",
            c["gate_channels"],
            reduction=c["reduction_ratio"],
            pools=c["pool_types"],
            spatial=not c["no_spatial"],
        ),
        "skconv_official": lambda: sk(c),
        "skconv_ppplang": lambda: sk(c),
        "nonlocal": lambda: nonlocal_(c),
        "stn_warp": lambda: Warp(**c),
        "a2n_tail": lambda: Tail(c["nf"], c["scale"], c["unf"]),
        "a2n": lambda: a2n("a2n", c),
        "a2n_m": lambda: a2n("a2n_m", c),
        "man": lambda: man(c) if c["n_resgroups"] == 1 else None,
        "plainusr": lambda: plainusr(c),
    }
    return builders[block]() if block in builders else modern.build(block, c)


def convert(block, module, state_dict):
    """Return our names for an official module."""
    names = {
        "repmbconv": lambda: OFFICIAL_NAMES,
        "pconv": lambda: {"conv": "conv"},
        "mab": lambda: {
            f"{part}.{official}": f"{i}.{ours}"
            for i, part in enumerate(("LKA", "LFE"))
            for official, ours in module[i].info.official_names.items()
        },
        "plainusr_block": lambda: plainusr_block_names(
            "", "", len(module[0].convolutions), module[1].info.name if len(module) > 1 else "none"
        ),
        "a2n_tail": lambda: {a: f"tail.{b}" for a, b in REGISTRY.tail("nearest_pa").info.official_names.items()},
        **{
            network: lambda: {
                official: f"network.{ours}"
                for official, ours in PUBLISHED[FAMILY[block]].official_names(module.architecture).items()
            }
            for network in FAMILY
        },
    }
    if block in modern.NAMES:
        names = {block: lambda: modern.NAMES[block](module)}
    if block not in names:
        return convert_official(block_of(block), state_dict)
    renamed = rename(names[block](), state_dict)
    assert renamed.keys() == state_dict.keys()
    return {ours: state_dict[official] for official, ours in renamed.items()}


def block_of(official):
    return "sk" if official.startswith("skconv") else OFFICIAL_PSA.get(official, (official,))[0]


def read(path):
    with safe_open(path, "pt") as file:
        return dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def build_for(metadata, training=False):
    """Return our module for a case; skip what the grammar does not hold."""
    module = build(metadata["block"], json.loads(metadata["constructor"]), metadata["source_class"])
    if module is None:
        pytest.skip(f"nothing here is the official {metadata['block']} of {metadata['constructor']}")
    if (metadata["block"] == "plainusr" and not training) or (metadata["block"] == "span" and "checkpoint" in metadata):
        module.network = module.network.deploy()
    return module


def load(metadata, tensors, folder):
    """Return our module with the official weights, in eval mode."""
    module = build_for(metadata, training=any("expand_conv" in name for name in tensors))
    state_dict = {k.removeprefix("param."): v for k, v in tensors.items() if k.startswith("param.")}
    if "checkpoint" in metadata:
        checkpoint = folder.parent / "checkpoints" / metadata["checkpoint"]
        if not checkpoint.is_file():
            pytest.skip(f"no official weights '{checkpoint}'")
        state_dict = torch.load(checkpoint, weights_only=True, map_location="cpu")
    if state_dict:
        module.load_state_dict(convert(metadata["block"], module, state_dict))
    return module.eval()


def folded(module):
    """Return the deploy form of a module; a second fold changes nothing."""
    return module.merge() if isinstance(module, RepMBConv) else fold_all(fold_all(copy.deepcopy(module)))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_output(path):
    metadata, tensors = read(path)
    module = load(metadata, tensors, path.parent)
    output = module(*inputs(tensors).values())
    assert_within(output, tensors["output"], metadata, "")
    for name in ("first", "attention"):
        if f"output_{name}" in tensors:
            told = modern.told(module, tensors["input"])[name]
            assert_within(told, tensors[f"output_{name}"], metadata, "")


DIFFERENTIATED = [path for path in CASES if any(name.startswith("grad_") for name in read(path)[1])]


@pytest.mark.parametrize("path", DIFFERENTIATED, ids=lambda path: path.stem)
def test_gradients(path):
    """In float64: where a ReLU or a maximum changes sides the gradient jumps, and float32 rounds by processor."""
    metadata, tensors = read(path)
    module = load(metadata, tensors, path.parent).double()
    given = {name: tensor.double().requires_grad_() for name, tensor in inputs(tensors).items()}
    module(*given.values()).square().mean().backward()
    for name, tensor in given.items():
        if f"grad_{name}" in tensors:
            prefix = "grad_" if name == "input" else f"grad_{name}_"
            assert_within(tensor.grad.float(), tensors[f"grad_{name}"], metadata, prefix)


def inputs(tensors):
    return {name: tensors[name] for name in ("input", "input_lr", "theta") if name in tensors}


DEPLOYED = [path for path in CASES if any(name.startswith("deploy.") for name in read(path)[1])]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.stem)
def test_deployed_weights(path, memory_format):
    metadata, tensors = read(path)
    module = load(metadata, tensors, path.parent)
    deployed = folded(module)
    expected = {name.removeprefix("deploy."): tensor for name, tensor in tensors.items() if name.startswith("deploy.")}
    if metadata["block"] == "repmbconv":
        expected = {name.removeprefix("conv."): tensor for name, tensor in expected.items()}
    else:
        expected = convert(metadata["block"], module, expected)
    ours = deployed.state_dict()
    assert ours.keys() == expected.keys()
    for name in expected:
        assert_within(ours[name], expected[name], metadata, "deploy_")
    output = deployed(tensors["input"].to(memory_format=memory_format))
    assert_within(output, tensors["output"], metadata, "")


def assert_within(ours, expected, metadata, prefix):
    rtol = float(metadata.get(f"{prefix}rtol", metadata["grad_rtol" if prefix else "rtol"]))
    atol = float(metadata.get(f"{prefix}atol", metadata["grad_atol" if prefix else "atol"]))
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=atol)


@cache
def counts(folder):
    beside = folder / "counts.json"
    path = beside if beside.is_file() else folder.parent / "counts.json"
    return json.loads(path.read_text())["blocks"] if path.is_file() else {}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_counts(path):
    metadata, _ = read(path)
    if path.stem not in counts(path.parent) or metadata["block"] == "softpool2d":
        pytest.skip("no counts for this case")
    module = build_for(metadata)
    if isinstance(module, Tail):
        module = module.tail
    expected = counts(path.parent)[path.stem]
    assert_counted(module, expected, expected["input_per_sample"][0])
    if "deploy" in expected:
        assert_counted(folded(module), expected["deploy"], expected["input_per_sample"][0])


def assert_counted(module, expected, channels):
    assert sum(p.numel() for p in module.parameters()) == expected["params"]
    sizes = {size.split()[0]: macs for size, macs in expected["macs"].items()}
    matmul = {size.split()[0]: macs for size, macs in expected.get("matmul_macs", {}).items()}
    for size, macs in sizes.items():
        height, width = map(int, size.split("x"))
        counted = count(module, (1, channels, height, width))
        assert counted.macs == macs + matmul.get(size, 0), size
        assert not counted.unknown
