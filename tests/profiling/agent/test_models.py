"""Models that a board takes, and those that it must not run."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from srnas.profiling.agent.measuring import measure
from srnas.profiling.agent.models import RefusedModelError, check_model

FLOAT = TensorProto.FLOAT


def graph(*nodes, initializers=(), name="g"):
    shape = [1, 3, 4, 4]
    ends = [helper.make_tensor_value_info(end, FLOAT, shape) for end in ("x", "y")]
    return helper.make_graph(list(nodes), name, ends[:1], ends[1:], list(initializers))


def outside():
    """Return weights that lie in another file."""
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../etc/passwd"
    return tensor


RELU = helper.make_node("Relu", ["x"], ["y"])
INNER = graph(helper.make_node("Add", ["x", "w"], ["y"]), initializers=[outside()], name="inner")
SPARSE = helper.make_sparse_tensor(outside(), numpy_helper.from_array(np.arange(3)), [4])


@pytest.mark.parametrize("domain", ["", "ai.onnx", "com.microsoft"])
def test_a_model_that_holds_everything_is_taken(domain):
    weights = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    node = helper.make_node("Relu", ["x"], ["y"], domain=domain)
    check_model(helper.make_model(graph(node, initializers=[weights])).SerializeToString())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (graph(RELU, initializers=[outside()]), "some are in other files"),
        (graph(helper.make_node("If", ["x"], ["y"], then_branch=INNER)), "some are in other files"),
        (graph(helper.make_node("Constant", [], ["y"], value=outside())), "some are in other files"),
        (graph(helper.make_node("Constant", [], ["y"], sparse_value=SPARSE)), "some are in other files"),
        (graph(helper.make_node("Evil", ["x"], ["y"], domain="my.ops")), "but got one of domain b'my.ops'"),
    ],
)
def test_a_model_that_reaches_out_is_refused(given, message):
    with pytest.raises(RefusedModelError, match=message):
        check_model(helper.make_model(given).SerializeToString())


def test_a_model_with_functions_of_its_own_is_refused():
    function = helper.make_function("my.ops", "F", ["x"], ["y"], [RELU], [helper.make_opsetid("", 20)])
    with pytest.raises(RefusedModelError, match="no functions of its own"):
        check_model(helper.make_model(graph(RELU), functions=[function]).SerializeToString())


def test_graphs_in_graphs_end():
    inner = graph(RELU)
    for _ in range(18):
        inner = graph(helper.make_node("If", ["x"], ["y"], then_branch=inner))
    with pytest.raises(RefusedModelError, match="at most 16 deep"):
        check_model(helper.make_model(inner).SerializeToString())


def test_what_is_no_model_is_refused():
    whole = helper.make_model(graph(RELU)).SerializeToString()
    for content in (b"", b"no model", whole[:-3], b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x7f"):
        with pytest.raises(RefusedModelError, match="a model must"):
            check_model(content)


NCNN = "7767517\n2 2\nInput in0 0 1 in0\n{} act 1 1 in0 out0 0=0\n"


def test_a_graph_of_ncnn_holds_its_own_layers_only():
    pytest.importorskip("ncnn", reason="needs srnas[ncnn]")
    assert check_model(NCNN.format("ReLU").encode()) == "ncnn"
    for layer in ("MyLayer", "torch.gt", "0"):
        with pytest.raises(RefusedModelError, match=f"layers must be ncnn's own, but got '{layer}'"):
            check_model(NCNN.format(layer).encode())
    for content in ("7767517", "7767517\n9 2\n", "7767517\nx y\n", "77675170\n0 0\n", "7767517\n" + "ä" * 9):
        with pytest.raises(RefusedModelError, match="a model must be a whole graph of ncnn"):
            check_model(content.encode())
    with pytest.raises(RefusedModelError, match="a graph of ncnn must have at most 1048576 bytes"):
        check_model(NCNN.format("ReLU").encode() + b" " * 2**20)


@pytest.mark.parametrize("producer", ["xxET12", "xx"])
def test_a_model_runs_in_no_runtime_but_its_own(tmp_path, producer):
    """What looks like a program of ExecuTorch, or came as an array, may be an ONNX file that reaches out."""
    model = helper.make_model(graph(RELU, initializers=[outside()]), producer_name=producer)
    (tmp_path / "model").write_bytes(model.SerializeToString())
    part = {"runtime": "onnxruntime", "dtype": "float32", "files": {"model": "model"}}
    with pytest.raises(RefusedModelError, match="some are in other files|must be one, but got one for executorch"):
        measure({"models": {}, "reference": part}, lambda name: str(tmp_path / name), print)
