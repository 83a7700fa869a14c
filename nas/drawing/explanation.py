"""One block in full: its equation, its sizes with their formulas, its operators, and a drawing."""

import copy
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from srnas.nas.drawing.diagram import draw_block
from srnas.profiling import count
from srnas.search_space import REGISTRY, Architecture, BlockInfo, build_block
from srnas.search_space.graph import Step, operator_graph
from srnas.search_space.registry import Block, Tail, fold_all


@dataclass(frozen=True)
class Explanation:
    """What a block computes at a stated input.

    Attributes:
        info: Registered facts of the block.
        summary: Equation and behaviour, from its documentation.
        params: Number of parameters of the deploy form.
        macs: Multiply-accumulates of the block at the stated input.
        formulas: Formulas of parameters and MACs, where the block states them.
        steps: Operators of the training form.
        deployed: Operators of the deploy form.
        around: A small network that holds the block.
    """

    info: BlockInfo
    summary: str
    params: int
    macs: int
    formulas: dict[str, str]
    steps: tuple[Step, ...]
    deployed: tuple[Step, ...]
    around: Architecture

    @property
    def options(self) -> list[str]:
        """Each option with its default and, where they are few, all its values."""
        texts = []
        for name, field in REGISTRY.entry(self.info.name).Config.model_fields.items():
            values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            others = [str(value) for value in values if value != field.default]
            texts.append(f"{name}={field.default}" + (f" (or {', '.join(others)})" if others else ""))
        return texts

    def facts(self) -> dict[str, str | int]:
        """Return plain data."""
        return {"summary": self.summary, "params": self.params, "macs": self.macs, **self.formulas}

    def draw(self, path: Path) -> None:
        """Write the drawing as SVG."""
        draw_block(self.info.name, self.around, self.steps, path)


def explain(name: str, channels: int, height: int, width: int) -> Explanation:
    """Explain a registered block or tail at an input of ``channels x height x width``.

    Raises:
        InputError: If the name is unknown, or the block cannot take this input.
    """
    cls = REGISTRY.entry(name)
    module: Block | Tail
    if issubclass(cls, Tail):
        module, formulas = cls(channels, 2, cls.Config()), {}
    else:
        module = build_block(name, channels)
        cls.info.constraint.check_size(name, height, width)
        # A block without a formula of its own has the method of the base class.
        formulas = {
            f"{size}_formula": _documentation(getattr(cls, size)).rstrip(".")
            for size in ("params", "macs")
            if getattr(cls, size).__func__ is not getattr(Block, size).__func__
        }
    deployed = fold_all(copy.deepcopy(module).eval())
    counts = count(deployed, (1, channels, height, width))
    return Explanation(
        info=cls.info,
        summary=_documentation(cls),
        params=counts.params,
        macs=counts.macs,
        formulas=formulas,
        steps=operator_graph(module, channels, height, width),
        deployed=operator_graph(deployed, channels, height, width),
        around=_around(cls.info, channels),
    )


def _around(info: BlockInfo, channels: int) -> Architecture:
    fields: dict[str, Any] = {"scale": 2, "channels": channels, "end": "conv", "long_skip": True}
    if info.role == "tail":
        return Architecture.from_dict({**fields, "tail": info.name, "positions": [{"trunk": "conv"}]})
    position = {"trunk": info.name} if info.role == "trunk" else {"trunk": "conv", "attention": info.name}
    return Architecture.from_dict({**fields, "positions": [position]})


def _documentation(thing: object) -> str:
    """Return the documentation of ``thing`` itself, unwrapped and without the marks of code."""
    text = re.sub(r":\w+:`([^`]*)`", r"\1", inspect.cleandoc(thing.__doc__ or "")).replace("``", "")
    paragraphs = text.split("\n\n")
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
