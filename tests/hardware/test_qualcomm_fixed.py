"""Each operator that is written another way for Qualcomm's HTP once the shapes are known: refused or wrong as it is, and right
rewritten. What comes out right as it is says that the rewrite is no longer needed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch.utils._pytree import tree_structure, treespec_dumps
from transformers.exporters.metadata import ExportMetadata

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm import PROVIDER, HtpRunner
from pytest_ipfs_accelerate.hardware.qualcomm_axes import held, hold_fewer_axes
from pytest_ipfs_accelerate.hardware.qualcomm_fixed import Known, at_sizes
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
BOUND = 2e-3
"""Of the relative L2: what fp16 loses in one operator or two is below a half of it."""


def floats(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


class Graph(NamedTuple):
    """Nodes that make ``y`` from inputs of free sizes along their first axis."""

    rewrite: str
    nodes: list[NodeProto]
    inputs: dict[str, Array]
    constants: Mapping[str, Array] = MappingProxyType({})

    def model(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "fixed",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(value.dtype), ["n", *value.shape[1:]]
                )
                for name, value in self.inputs.items()
            ],
            [helper.make_tensor_value_info("y", 1, None)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def sizes(self) -> dict[str, tuple[int, ...]]:
        return {name: value.shape for name, value in self.inputs.items()}

    def expected(self) -> Array:
        session = onnxruntime.InferenceSession(self.model().SerializeToString(), providers=["CPUExecutionProvider"])
        found: Array = session.run(None, self.inputs)[0]
        return found

    def on_the_htp(self, *, fixed: bool) -> Array:
        spec = treespec_dumps(tree_structure([0]))
        runner = HtpRunner(self.model(), ExportMetadata(in_spec=spec, out_spec=spec), {}, fixed=fixed)
        found: Array = runner.run(self.inputs)[0]
        assert list(runner.nodes()) == [PROVIDER]
        assert list(runner.rewritten) == ([self.rewrite] if fixed else [])
        return found


def departure(expected: Array, found: Array) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(expected - found) / np.linalg.norm(expected))


def node(kind: str, inputs: str, output: str = "y", **extra: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **extra)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


EXPERTS = Graph(
    "GatherND as Gather",
    [
        node("TopK", "x two", "scores chosen"),
        node("Reshape", "chosen minus", "row"),
        node("Unsqueeze", "row minus", "column"),
        node("GatherND", "weights column"),
    ],
    {"x": floats(5, 4)},
    {"two": whole(2), "minus": whole(-1), "weights": floats(4, 6, 8)},
)
POOL = Graph(
    "AveragePool with its padding",
    [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])],
    {"x": floats(2, 8, 16, 16)},
)
POWERS = Graph("bounded powers", [node("Exp", "x")], {"x": np.array([[-6e4, -2e4, -1e3, -100, -3, 1]], np.float32)})
SOFTPLUS = Graph("Softplus as a logarithm", [node("Softplus", "x")], {"x": floats(4, 64)})
REFUSED = {
    "triangle": Graph("Trilu as Where", [node("Trilu", "x", upper=0)], {"x": floats(2, 6, 6)}),
    "infinity": Graph(
        "IsInf as a comparison",
        [node("IsInf", "x", "far"), node("Where", "far one x")],
        {"x": floats(2, 6)},
        {"one": np.array(1, np.float32)},
    ),
    "axes": Graph(
        "operators over fewer axes",
        [
            node("Reshape", "x six", "apart"),
            node("Add", "apart places", "moved"),
            node("Gather", "moved one", "taken", axis=3),
            node("Reshape", "taken two"),
        ],
        {"x": floats(2, 3 * 4 * 2 * 5 * 2)},
        {"six": whole(-1, 3, 4, 2, 5, 2), "places": floats(3, 1, 2, 1, 2), "one": np.array(1), "two": whole(-1, 10)},
    ),
}


@pytest.mark.parametrize("graph", [POOL, POWERS, SOFTPLUS], ids=lambda graph: graph.rewrite)
def test_it_is_wrong_as_it_is_and_right_rewritten(graph: Graph) -> None:
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 2 * BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("graph", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_as_it_is_and_taken_rewritten(graph: Graph) -> None:
    with pytest.raises(NotOnHardware, match="the HTP does not take"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


def test_weights_are_gathered_by_the_indices_of_the_best() -> None:
    expected = EXPERTS.expected()
    assert departure(expected, EXPERTS.on_the_htp(fixed=False)) > 0.1, "the HTP reads the right rows itself now"
    assert departure(expected, EXPERTS.on_the_htp(fixed=True)) < BOUND


def rewritten_on_the_cpu(graph: Graph) -> Array:
    """The rewritten graph in fp32: a rewrite changes no number, whoever computes it."""
    fixed = rewrite_fixed(graph.model(), graph.sizes())
    session = onnxruntime.InferenceSession(fixed.model.SerializeToString(), providers=["CPUExecutionProvider"])
    held_inputs = {name: value.reshape(held(value.shape)) for name, value in graph.inputs.items()}
    found: Array = session.run(None, held_inputs)[0]
    return found.reshape(fixed.outputs.get("y", found.shape))


DATA = floats(2, 3, 4, 5)
GATHERED = {
    "one index": ({"batch_dims": 0}, whole(1, 0, -1).reshape(3, 1)),
    "three indices": ({"batch_dims": 0}, np.array([[[0, 2, 1], [1, 0, 3]]], np.int64)),
    "within each input": ({"batch_dims": 1}, np.array([[[2, 1], [0, 0]], [[1, 3], [2, 2]]], np.int64)),
    "within two axes": ({"batch_dims": 2}, np.array([[[2], [1], [0]], [[1], [3], [0]]], np.int64)),
}


@pytest.mark.parametrize("constant", [True, False], ids=["constant", "input"])
@pytest.mark.parametrize("case", GATHERED.values(), ids=GATHERED)
def test_a_gather_by_several_indices_takes_the_same(case: tuple[dict[str, int], Array], constant: bool) -> None:
    extra, indices = case
    if not constant:
        indices = indices % np.array(DATA.shape)[extra["batch_dims"] : extra["batch_dims"] + indices.shape[-1]]
    inputs = {"x": DATA} if constant else {"x": DATA, "i": indices}
    graph = Graph("GatherND as Gather", [node("GatherND", "x i", **extra)], inputs, {"i": indices} if constant else {})
    np.testing.assert_array_equal(rewritten_on_the_cpu(graph), graph.expected())


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_a_triangle_is_the_same_part(upper: int, offset: int) -> None:
    constants = {"k": np.array(offset, np.int64)}
    graph = Graph("Trilu as Where", [node("Trilu", "x k", upper=upper)], {"x": floats(2, 4, 6)}, constants)
    np.testing.assert_array_equal(rewritten_on_the_cpu(graph), graph.expected())


POOLED: dict[str, dict[str, Any]] = {
    "strides": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]},
    "one side": {"kernel_shape": [2, 4], "pads": [0, 1, 1, 2]},
    "one axis": {"kernel_shape": [3], "pads": [1, 1]},
}


@pytest.mark.parametrize("extra", POOLED.values(), ids=POOLED)
def test_an_average_leaves_its_padding_out(extra: dict[str, Any]) -> None:
    x = floats(2, 3, *[8] * len(extra["kernel_shape"]))
    graph = Graph("AveragePool with its padding", [node("AveragePool", "x", **extra)], {"x": x})
    np.testing.assert_allclose(rewritten_on_the_cpu(graph), graph.expected(), rtol=1e-5, atol=1e-6)


SIX = (2, 3, 4, 2, 5, 2)
OVER_SIX: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "transposed": ([node("Transpose", "x", perm=[5, 3, 1, 4, 2, 0])], {}),
    "reversed": ([node("Transpose", "x")], {}),
    "broadcast across": ([node("Mul", "x other")], {"other": floats(2, 1, 4, 1, 5, 1)}),
    "a scalar": ([node("Add", "x other")], {"other": np.array(2, np.float32)}),
    "clipped": ([node("Clip", "x low")], {"low": np.array(-0.5, np.float32)}),
    "reduced": ([node("ReduceMean", "x axes", keepdims=0)], {"axes": whole(1, -2)}),
    "reduced to one": ([node("ReduceSum", "x", keepdims=1)], {}),
    "softmax": ([node("Softmax", "x", axis=2)], {}),
    "log softmax": ([node("LogSoftmax", "x")], {}),
    "sliced": (
        [node("Slice", "x starts ends axes steps")],
        {"starts": whole(1, -1), "ends": whole(9, -9), "axes": whole(2, 4), "steps": whole(2, -2)},
    ),
    "joined": ([node("Concat", "x x", axis=-3)], {}),
    "split": ([node("Split", "x", "a b", axis=2, num_outputs=2), node("Sub", "a b")], {}),
    "expanded": (
        [node("Unsqueeze", "x one", "apart"), node("Expand", "apart shape")],
        {"one": whole(1), "shape": whole(2, 7, 1, 4, 2, 5, 2)},
    ),
    "tiled": ([node("Tile", "x repeats")], {"repeats": whole(1, 2, 1, 1, 3, 1)}),
    "gathered": ([node("Gather", "x rows", axis=4)], {"rows": whole(4, 0, 2, 2).reshape(2, 2)}),
    "normalised": ([node("LayerNormalization", "x w b")], {"w": floats(2), "b": floats(2)}),
    "multiplied": ([node("MatMul", "x w")], {"w": floats(4, 1, 2, 3)}),
    "squeezed": (
        [node("Gather", "x one", "taken", axis=2), node("Squeeze", "taken axes")],
        {"one": whole(1), "axes": whole(2)},
    ),
}


@pytest.mark.parametrize("case", OVER_SIX.values(), ids=OVER_SIX)
def test_what_has_six_axes_is_the_same_over_five(case: tuple[list[NodeProto], dict[str, Array]]) -> None:
    nodes, constants = case
    if any(each.op_type == "Expand" for each in nodes):
        graph = Graph("operators over fewer axes", nodes, {"x": floats(2, 1, 4, 2, 5, 2)}, constants)
    else:
        graph = Graph("operators over fewer axes", nodes, {"x": floats(*SIX)}, constants)
    np.testing.assert_allclose(rewritten_on_the_cpu(graph), graph.expected(), rtol=1e-5, atol=1e-6)
    fixed = rewrite_fixed(graph.model(), graph.sizes()).model
    known = Known(at_sizes(fixed, {"x": held(graph.inputs["x"].shape)}).graph)
    written = [known.shape(name) for each in known.graph.node for name in (*each.input, *each.output)]
    assert all(shape is not None and len(shape) <= 5 for shape in written)


def test_inputs_and_outputs_of_six_axes_go_in_and_come_out_as_such() -> None:
    graph = Graph("operators over fewer axes", [node("Add", "x x")], {"x": floats(*SIX)})
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


def test_an_operator_that_cannot_be_over_fewer_axes_stays() -> None:
    graph = Graph("", [node("CumSum", "x axis")], {"x": floats(*SIX)}, {"axis": np.array(1)})
    known = Known(at_sizes(graph.model(), graph.sizes()).graph)
    assert hold_fewer_axes(known) == 0
