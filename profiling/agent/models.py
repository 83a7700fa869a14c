"""Which models an agent runs: those that hold everything and call nothing but operators of a runtime.

An ONNX model is read by the wire format of protocol buffers, since the board has no other reader. source: onnx.proto of
ONNX 1.18 (field numbers), https://protobuf.dev/programming-guides/encoding (wire format).
"""

from __future__ import annotations

from collections.abc import Iterator

from srnas.profiling.agent import executorch_method, ncnn_net

# Operators of ONNX itself, and those of ONNX Runtime that its own graphs hold.
_DOMAINS = frozenset((b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"))
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Graphs in attributes of graphs.
_MAX_DEPTH = 16


class RefusedModelError(ValueError):
    """A model could run code or read files of this machine, or is no model."""


def check_model(content: bytes) -> str:
    """Check that a model can be run, and return the runtime whose it is.

    Raises:
        RefusedModelError: If it is neither an ONNX file nor a graph of ncnn nor a program of ExecuTorch, has data in
            other files, functions of its own, or operators of other domains.
    """
    if content.startswith(ncnn_net.MAGIC):
        _check_ncnn(content)
        return "ncnn"
    if content[4:8] == executorch_method.IDENTIFIER:
        # A program names kernels of its runtime, and has no other place for code.
        return "executorch"
    _check_onnx(content)
    return "onnxruntime"


def _check_ncnn(content: bytes) -> None:
    try:
        ncnn_net.check_graph(content)
    except ImportError:
        raise RefusedModelError("this machine must have ncnn to run its graphs") from None
    except ValueError as error:
        raise RefusedModelError(str(error)) from None


def _check_onnx(content: bytes) -> None:
    try:
        fields = list(_fields(memoryview(content)))
        graphs = [_message(value) for number, value in fields if number == 7]
        for graph in graphs:
            _check_graph(graph, 0)
    except RefusedModelError:
        raise
    except (IndexError, ValueError):
        raise RefusedModelError("a model must be a whole ONNX file") from None
    if len(graphs) != 1:
        raise RefusedModelError("a model must hold one graph")
    if any(number == 25 for number, _ in fields):
        raise RefusedModelError("a model must hold no functions of its own")


def _check_graph(graph: memoryview, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise RefusedModelError(f"graphs in graphs must be at most {_MAX_DEPTH} deep")
    for number, value in _fields(graph):
        if number == 1:
            _check_node(_message(value), depth)
        elif number == 5:
            _check_tensor(_message(value))
        elif number == 15:
            _check_sparse(_message(value))


def _check_node(node: memoryview, depth: int) -> None:
    for number, value in _fields(node):
        if number == 7 and (domain := bytes(_message(value))) not in _DOMAINS:
            raise RefusedModelError(f"operators must be ONNX's own, but got one of domain {domain[:80]!r}")
        if number == 5:
            _check_attribute(_message(value), depth)


def _check_attribute(attribute: memoryview, depth: int) -> None:
    for number, value in _fields(attribute):
        if number in (5, 10):
            _check_tensor(_message(value))
        elif number in (6, 11):
            _check_graph(_message(value), depth + 1)
        elif number in (22, 23):
            _check_sparse(_message(value))


def _check_sparse(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number in (1, 2):
            _check_tensor(_message(value))


def _check_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == 13 or (number == 14 and value != 0):
            raise RefusedModelError("a model must hold its weights itself, but some are in other files")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message must be")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("no such wire type")
        if size > len(message) - at:
            raise ValueError("the message ends before its field")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
