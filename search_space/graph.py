"""What a block computes, read from the block itself: its operators in order, with their inputs and shapes."""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# Operators that move no information between pixels or channels and compute nothing: seen through.
# fmt: off
_TRANSPARENT = frozenset((
    "alias", "clone", "contiguous", "detach", "expand", "flatten", "permute", "reshape", "squeeze", "to", "transpose",
    "unflatten", "unsqueeze", "view",
))
# fmt: on
# Axes of (B, C, H, W), counted from either end.
_AXES = {1: "C", 2: "H", 3: "W", -3: "C", -2: "H", -1: "W"}
_WITH_WEIGHTS = ("conv2d", "linear", "batch_norm", "layer_norm")


@dataclass(frozen=True)
class Step:
    """One operator.

    Attributes:
        module: Path of the module that runs the operator; empty for the block itself.
        operator: Name of the operator, with kernel, stride and so on.
        inputs: Numbers of earlier steps (0 is the input; ``3[1]`` is the second part of step 3), and parameters.
        shape: Shape of the result, without the batch.
    """

    module: str
    operator: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]


def operator_graph(module: nn.Module, channels: int, height: int, width: int) -> tuple[Step, ...]:
    """Return the steps of ``module`` in eval mode at an input of ``channels x height x width``; step 0 is the input.

    Reshapes are left out. The graph is traced by ``torch.export``.
    """
    exported = torch.export.export(module.eval(), (torch.zeros(1, channels, height, width),))
    signature = exported.graph_signature
    parameters = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    steps = [Step("", "input", (), (channels, height, width))]
    known: dict[torch.fx.Node, str] = {}
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            known[node] = parameters.get(node.name, "0")
        elif node.op == "call_function" and "_assert" not in str(node.target):
            sources = [known[source] for source in node.all_input_nodes if source in known]
            name = str(node.target).removeprefix("aten.").partition(".")[0]
            if node.target is operator.getitem:
                known[node] = f"{sources[0]}[{node.args[1]}]"
            elif name in _TRANSPARENT and sources:
                known[node] = sources[0]
            else:
                module_path = _module(node)
                inputs = [source.removeprefix(f"{module_path}.") for source in sources]
                inputs = inputs[:1] if name in _WITH_WEIGHTS else inputs
                steps.append(Step(module_path, _describe(node, name), tuple(inputs), _shape(node)))
                known[node] = str(len(steps) - 1)
    return tuple(steps)


def _module(node: torch.fx.Node) -> str:
    modules = list((node.meta.get("nn_module_stack") or {}).values())
    return str(modules[-1][0]) if modules else ""


def _shape(node: Any) -> tuple[int, ...]:
    """Return the shape of a result, or of its first part, without a batch of one."""
    value = node.meta["val"]
    shape = tuple((value[0] if isinstance(value, (tuple, list)) else value).shape)
    return shape[1:] if shape[:1] == (1,) else shape


def _describe(node: torch.fx.Node, name: str) -> str:
    arguments: list[Any] = [*node.args]
    x, rest = arguments[0] if arguments else None, arguments[1:]
    if name == "conv2d":
        return _describe_conv(node)
    if name == "linear":
        outputs, inputs = rest[0].meta["val"].shape
        return f"linear {inputs} to {outputs}"
    if name in ("batch_norm", "layer_norm"):
        return name
    if name in ("mean", "amax", "sum") and rest and isinstance(rest[0], list) and _rank(x) == 4:
        return f"{name} over {', '.join(_axis(axis) for axis in rest[0])}"
    if name in ("cat", "softmax", "chunk", "split", "unbind", "stack"):
        return name
    if name == "slice":
        padded: list[Any] = [*rest, *(None, None, 1)[len(rest) - 1 :]]
        axis, start, end, step = padded
        bounds = ["" if bound is None or abs(bound) > 2**31 else str(bound) for bound in (start, end)]
        return f"slice {_axis(axis)}[{':'.join([*bounds, *([str(step)] if step != 1 else [])])}]"
    if name.endswith("_pool2d") and len(rest) > 1:
        return f"{name} {_short(rest[0])}, stride {_short(rest[1])}"
    values = [_short(value) for value in rest if value is not None and not isinstance(value, (bool, torch.fx.Node))]
    return f"{name} {', '.join(values)}".rstrip()


def _describe_conv(node: torch.fx.Node) -> str:
    arguments: dict[str, Any] = dict(
        zip(("x", "weight", "bias", "stride", "padding", "dilation", "groups"), node.args, strict=False)
    )
    outputs, of_group, *kernel = arguments["weight"].meta["val"].shape
    groups = arguments.get("groups", 1)
    text = f"conv {_short(kernel)}, {of_group * groups} to {outputs}"
    if groups > 1:
        text += ", depthwise" if groups == outputs and of_group == 1 else f", {groups} groups"
    for option in ("stride", "dilation"):
        if set(arguments.get(option, ())) - {1}:
            text += f", {option} {arguments[option][0]}"
    return text if arguments.get("bias") is not None else f"{text}, no bias"


def _axis(axis: int) -> str:
    return _AXES.get(axis, f"axis {axis}")


def _rank(node: Any) -> int:
    return len(node.meta["val"].shape)


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "x".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
