"""Outputs, gradients and counts of the official implementations, reproduced.

The cases are data outside the repository: ``SRNAS_GOLDEN`` names their folder, ``../shared/golden`` is the default.
"""

import json
import os
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from srnas.profiling import count
from srnas.search_space import REGISTRY, Architecture, Position, build_block, convert_official
from srnas.search_space.blocks.softpool import SoftPool2d

GOLDEN = Path(os.environ.get("SRNAS_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden"))
CASES = sorted(GOLDEN.glob("*.safetensors"))
OFFICIAL_PSA = {
    "psa_official_p": ("psa_parallel", {"spatial_softmax": "product", "channel_up": "conv", "projection_bias": False}),
    "psa_official_s": (
        "psa_sequential",
        {"spatial_softmax": "value", "channel_up": "bottleneck", "projection_bias": False},
    ),
}

pytestmark = pytest.mark.skipif(not CASES, reason=f"no golden cases in '{GOLDEN}'")


class Tail(nn.Module):
    """A2N's tail with its global skip, as the official forward ends."""

    def __init__(self, channels, scale, features):
        super().__init__()
        tail = REGISTRY.tail("nearest_pa")
        self.tail = tail(channels, scale, tail.Config(features=features))
        self.scale = scale

    def forward(self, x, lr):
        return self.tail(x) + F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)


def a2n(constructor, attention):
    positions = (Position(attention=attention),) * constructor["nb"]
    return Architecture(
        scale=constructor["scale"],
        channels=constructor["nf"],
        positions=positions,
        end="conv",
        long_skip=True,
        tail={"name": "nearest_pa", "features": constructor["unf"]},
    ).build()


def build(block, c):
    """Return our module for an official block and its constructor, or ``None`` if it is not ours yet."""
    if block == "softpool2d":
        return SoftPool2d(**c)
    if block == "lia":
        return build_block("lia", c["channels"], features=c["f"])
    if block in ("aab", "aab_m"):
        return build_block(block, c["nf"], reduction=c["reduction"], temperature=c["t"])
    if block == "mlka":
        return build_block("mlka", c["n_feats"])
    if block == "pa":
        return build_block("pa", c["nf"])
    if block in ("psa_parallel", "psa_sequential"):
        return build_block(block, c["channel"])
    if block in OFFICIAL_PSA:
        name, options = OFFICIAL_PSA[block]
        return build_block(name, c["inplanes"], **options)
    if block == "cbam":
        options = {"reduction": c["reduction_ratio"], "pools": c["pool_types"], "spatial": not c["no_spatial"]}
        return build_block("cbam", c["gate_channels"], **options)
    if block == "a2n_tail":
        return Tail(c["nf"], c["scale"], c["unf"])
    if block in ("a2n", "a2n_m"):
        return a2n(c, "aab" if block == "a2n" else "aab_m")
    return None


def convert(block, state_dict):
    """Return our names for a whole official module."""
    if block in ("a2n", "a2n_m"):
        ours = {}
        parts = {"conv_first.": "stem.", "trunk_conv.": "end."}
        for key, tensor in state_dict.items():
            if key.startswith("AAB_trunk."):
                _, depth, rest = key.split(".", 2)
                [(name, _)] = convert_official("aab", {rest: tensor}).items()
                ours[f"body.{depth}.blocks.0.{name}"] = tensor
            elif prefix := next((p for p in parts if key.startswith(p)), None):
                ours[parts[prefix] + key.removeprefix(prefix)] = tensor
            else:
                [(name, _)] = convert_official("nearest_pa", {key: tensor}).items()
                ours[f"tail.{name}"] = tensor
        return ours
    if block == "a2n_tail":
        return {f"tail.{name}": tensor for name, tensor in convert_official("nearest_pa", state_dict).items()}
    return convert_official(OFFICIAL_PSA[block][0] if block in OFFICIAL_PSA else block, state_dict)


def read(path):
    with safe_open(path, "pt") as file:
        return dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load(metadata, tensors):
    """Return our module with the official weights, in eval mode; skip what is not ours yet."""
    block, constructor = metadata["block"], json.loads(metadata["constructor"])
    module = build(block, constructor)
    if module is None:
        pytest.skip(f"block '{block}' does not exist yet")
    state_dict = {k.removeprefix("param."): v for k, v in tensors.items() if k.startswith("param.")}
    if "checkpoint" in metadata:
        checkpoint = GOLDEN.parent / "checkpoints" / metadata["checkpoint"]
        if not checkpoint.is_file():
            pytest.skip(f"no official weights '{checkpoint}'")
        state_dict = torch.load(checkpoint, weights_only=True)
    if state_dict:
        module.load_state_dict(convert(block, state_dict))
    return module.eval()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_output_and_gradients(path):
    metadata, tensors = read(path)
    module = load(metadata, tensors)
    inputs = {name: tensors[name].requires_grad_() for name in ("input", "input_lr") if name in tensors}
    output = module(*inputs.values())
    assert_within(output, tensors["output"], metadata, "")
    output.square().mean().backward()
    for name, tensor in inputs.items():
        if f"grad_{name}" in tensors:
            prefix = "grad_" if name == "input" else f"grad_{name}_"
            assert_within(tensor.grad, tensors[f"grad_{name}"], metadata, prefix)


def assert_within(ours, expected, metadata, prefix):
    rtol = float(metadata.get(f"{prefix}rtol", metadata["grad_rtol" if prefix else "rtol"]))
    atol = float(metadata.get(f"{prefix}atol", metadata["grad_atol" if prefix else "atol"]))
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=atol)


@cache
def counts():
    return json.loads((GOLDEN / "counts.json").read_text())["blocks"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_counts(path):
    metadata, _ = read(path)
    if path.stem not in counts() or metadata["block"] == "softpool2d":
        pytest.skip("no counts for this case")
    expected = counts()[path.stem]
    module = build(metadata["block"], json.loads(metadata["constructor"]))
    if module is None:
        pytest.skip(f"block '{metadata['block']}' does not exist yet")
    if isinstance(module, Tail):
        module = module.tail
    assert sum(p.numel() for p in module.parameters()) == expected["params"]
    sizes = {size.split()[0]: macs for size, macs in expected["macs"].items()}
    matmul = {size.split()[0]: macs for size, macs in expected.get("matmul_macs", {}).items()}
    for size, macs in sizes.items():
        height, width = map(int, size.split("x"))
        counted = count(module, (1, expected["input_per_sample"][0], height, width))
        assert counted.macs == macs + matmul.get(size, 0), size
        assert not counted.unknown
