"""Each operator that is written another way for Qualcomm's HTP: refused as it is, taken rewritten, and the same numbers. A
refusal that does not come says that the rewrite is no longer needed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch.utils._pytree import tree_structure, treespec_dumps
from transformers.exporters.metadata import ExportMetadata

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm import PROVIDER, HtpRunner
from pytest_ipfs_accelerate.hardware.qualcomm_operators import merge_axes, together
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite, rewrite_fixed


class Refused(NamedTuple):
    """A graph that the HTP does not take whole, as an exporter writes it: inputs of fixed shapes, and one output ``y``."""

    rewrite: str
    nodes: list[NodeProto]
    inputs: dict[str, tuple[int, ...]]
    output: tuple[int, ...]
    constants: Mapping[str, list[int]] = MappingProxyType({})
    booleans: tuple[str, ...] = ()

    def model(self) -> ModelProto:
        floats = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "refused",
            [helper.make_tensor_value_info(name, floats, shape) for name, shape in self.inputs.items()],
            [helper.make_tensor_value_info("y", floats, self.output)],
            [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in self.constants.items()],
            value_info=[helper.make_tensor_value_info(name, TensorProto.BOOL, self.output) for name in self.booleans],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def feed(self) -> dict[str, NDArray[np.float32]]:
        random = np.random.default_rng(0)
        return {name: random.standard_normal(shape).astype(np.float32) for name, shape in self.inputs.items()}


def windows() -> Refused:
    """The windows of Swin: 2 × 8 × 8 × 4 as 8 windows of 4 × 4 pixels."""
    return Refused(
        "merged axes of Transpose",
        [
            helper.make_node("Reshape", ["x", "six"], ["apart"]),
            helper.make_node("Transpose", ["apart"], ["moved"], perm=[0, 1, 3, 2, 4, 5]),
            helper.make_node("Reshape", ["moved", "three"], ["y"]),
        ],
        {"x": (2, 8, 8, 4)},
        (8, 16, 4),
        {"six": [-1, 2, 4, 2, 4, 4], "three": [-1, 16, 4]},
    )


REFUSED = {
    "windows": windows(),
    "positions": Refused(
        "Einsum as MatMul",
        [helper.make_node("Einsum", ["rows", "columns", "table"], ["y"], equation="bpr,bpc,rcd->bpd")],
        {"rows": (2, 5, 4), "columns": (2, 5, 3), "table": (4, 3, 8)},
        (2, 5, 8),
    ),
    "scores": Refused(
        "Einsum as MatMul",
        [helper.make_node("Einsum", ["video", "texts"], ["y"], equation="bd,bkd->bk")],
        {"video": (2, 8), "texts": (2, 3, 8)},
        (2, 3),
    ),
    "sizes": Refused(
        "ReduceL1 as ReduceSum of Abs",
        [helper.make_node("ReduceL1", ["x", "last"], ["y"], keepdims=0)],
        {"x": (2, 5, 8)},
        (2, 5),
        {"last": [-1]},
    ),
    "Booleans": Refused(
        "Equal of Booleans as Equal of numbers",
        [
            helper.make_node("Less", ["a", "b"], ["less"]),
            helper.make_node("Less", ["c", "b"], ["other"]),
            helper.make_node("Equal", ["less", "other"], ["same"]),
            helper.make_node("Where", ["same", "a", "c"], ["y"]),
        ],
        {"a": (2, 8), "b": (2, 8), "c": (2, 8)},
        (2, 8),
        booleans=("less", "other"),
    ),
}


SPEC = treespec_dumps(tree_structure([0]))


def on_the_htp(model: ModelProto, feed: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    runner = HtpRunner(model, ExportMetadata(in_spec=SPEC, out_spec=SPEC), {}, fixed=False)
    result: NDArray[np.float32] = runner.run(feed)[0]
    assert list(runner.nodes()) == [PROVIDER]
    return result


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_the_htp_refuses_it_and_takes_it_rewritten(case: Refused) -> None:
    model, feed = case.model(), case.feed()
    expected = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, dict(feed)
    )[0]
    with pytest.raises(NotOnHardware, match="the HTP does not take"):
        on_the_htp(model, feed)
    rewritten, counts = rewrite(model.SerializeToString())
    assert counts == {case.rewrite: 1}
    found = on_the_htp(rewritten, feed)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= 2e-3 * np.linalg.norm(expected)


def transposed(graph: GraphProto) -> list[int]:
    (node,) = (node for node in graph.node if node.op_type == "Transpose")
    return list(node.attribute[0].ints)


def test_axes_that_stay_beside_each_other_are_one() -> None:
    assert together([0, 1, 3, 2, 4, 5]) == [[0, 1], [3], [2], [4, 5]]
    graph = windows().model().graph
    assert merge_axes(graph) == 1
    assert transposed(graph) == [0, 2, 1, 3]


@pytest.mark.parametrize("why", ["another reader", "copied axis", "few axes"])
def test_a_transpose_that_others_depend_on_stays(why: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "another reader": {"nodes": [*windows().nodes, helper.make_node("Identity", ["apart"], ["z"])]},
        "copied axis": {"constants": {**windows().constants, "six": [0, 2, 4, 2, 4, 4]}},
        "few axes": {
            "nodes": [
                helper.make_node("Reshape", ["x", "six"], ["apart"]),
                helper.make_node("Transpose", ["apart"], ["moved"], perm=[0, 2, 1, 3, 4]),
                helper.make_node("Reshape", ["moved", "three"], ["y"]),
            ],
            "constants": {"six": [-1, 4, 2, 4, 8], "three": [-1, 16, 4]},
        },
    }
    graph = windows()._replace(**changes[why]).model().graph
    before = transposed(graph)
    assert merge_axes(graph) == 0
    assert transposed(graph) == before


def sum_then_norm(model_dims: tuple[int | str, ...], kind: str = "LayerNormalization") -> ModelProto:
    """A table of positions on a batch of hidden states, and the norm that follows."""
    rng = np.random.default_rng(1)
    constants = {"positions": (1, 16, 64), "weight": (64,), "bias": (64,)}
    norms = {
        "LayerNormalization": [
            helper.make_node("LayerNormalization", ["sum", "weight", "bias"], ["y"], axis=-1, epsilon=1e-5)
        ],
        "RMSNorm": [
            helper.make_node("Pow", ["sum", "two"], ["squares"]),
            helper.make_node("ReduceMean", ["squares", "last"], ["mean"]),
            helper.make_node("Add", ["mean", "small"], ["above_zero"]),
            helper.make_node("Sqrt", ["above_zero"], ["root"]),
            helper.make_node("Reciprocal", ["root"], ["inverse"]),
            helper.make_node("Mul", ["sum", "inverse"], ["normed"]),
            helper.make_node("Mul", ["normed", "weight"], ["y"]),
        ],
    }
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "positions"], ["sum"]), *norms[kind]],
        "positions",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, model_dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, model_dims)],
        [
            *(
                numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
                for name, shape in constants.items()
            ),
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            numpy_helper.from_array(np.array(1e-6, np.float32), "small"),
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def departure_of(model: ModelProto, x: NDArray[np.float32]) -> float:
    """Relative L2 of the HTP from ONNX Runtime's CPU on the same graph."""
    cpu = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = cpu.run(None, {"x": x})
    return float(np.linalg.norm(expected - on_the_htp(model, {"x": x})) / np.linalg.norm(expected))


@pytest.mark.parametrize("kind", ["LayerNormalization", "RMSNorm"])
@pytest.mark.parametrize("batch", [2, "batch"])
def test_a_broadcast_before_a_norm_is_wrong_as_it_is_and_right_written_out(batch: int | str, kind: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 16, 64)).astype(np.float32)
    plain = sum_then_norm((batch, 16, 64), kind)
    assert departure_of(plain, x) > 0.1, "the HTP adds it to every input of the batch itself now"
    written, counts = rewrite(plain.SerializeToString())
    assert counts == {"broadcasts before LayerNormalization and RMSNorm": 1}
    assert departure_of(written, x) < 1e-3


def test_what_is_the_same_along_another_axis_or_comes_to_no_norm_stays() -> None:
    model = sum_then_norm((2, 16, 64))
    model.graph.initializer[0].dims[:] = [16, 1, 64]
    assert rewrite(model.SerializeToString())[1] == {}
    model = sum_then_norm((2, 16, 64))
    model.graph.node[1].op_type = "Softmax"
    del model.graph.node[1].input[1:], model.graph.node[1].attribute[1:]
    assert rewrite(model.SerializeToString())[1] == {}


def frames() -> ModelProto:
    """How many frames there are of so many samples, as the dynamo exporter writes a floor division."""
    floats, whole = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["number"], to=floats),
            helper.make_node("Div", ["number", "stride"], ["divided"]),
            helper.make_node("Floor", ["divided"], ["down"]),
            helper.make_node("Cast", ["down"], ["frames"], to=whole),
            helper.make_node("Cast", ["frames"], ["y"], to=floats),
        ],
        "frames",
        [helper.make_tensor_value_info("x", whole, (5,))],
        [helper.make_tensor_value_info("y", floats, (5,))],
        [numpy_helper.from_array(np.array(5, np.float32), "stride")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_whole_numbers_are_divided_as_whole_numbers() -> None:
    samples = {"x": np.array([12_794, 9, 0, -1, -11])}
    plain = frames()
    written, counts = rewrite(plain.SerializeToString())
    assert counts == {"divisions of whole numbers": 1}
    assert on_the_htp(written, samples).tolist() == [2558, 1, 0, -1, -3]
    assert on_the_htp(plain, samples)[0] != 2558, "the HTP divides 12,794 exactly now"


def test_a_division_that_is_written_twice_names_nothing_twice() -> None:
    """By a power of two: as one of whole numbers, and then towards zero (the frames of wav2vec2)."""
    model = frames()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(4, np.float32), "stride"))
    written, _ = rewrite(model.SerializeToString())
    samples = {"x": np.array([12_794, 9, 0, -1, -11])}
    fixed = rewrite_fixed(written, {"x": (5,)})
    assert fixed.counts["whole numbers divided towards zero"] == 1
    assert on_the_htp(fixed.model, samples).tolist() == [3198, 2, 0, -1, -3]
