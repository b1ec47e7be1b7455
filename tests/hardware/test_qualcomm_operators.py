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

from pytest_ipfs_accelerate.hardware.qualcomm import PROVIDER, HtpRunner
from pytest_ipfs_accelerate.hardware.qualcomm_operators import merge_axes, together
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite


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
    runner = HtpRunner(model, ExportMetadata(in_spec=SPEC, out_spec=SPEC), {})
    session = runner._session({name: value.shape for name, value in feed.items()})
    assert list(runner.nodes()) == [PROVIDER]
    result: NDArray[np.float32] = session.run(None, dict(feed))[0]
    return result


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_the_htp_refuses_it_and_takes_it_rewritten(case: Refused) -> None:
    model, feed = case.model(), case.feed()
    expected = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, dict(feed)
    )[0]
    with pytest.raises(Exception, match="graph nodes that are assigned to the default CPU EP"):
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
