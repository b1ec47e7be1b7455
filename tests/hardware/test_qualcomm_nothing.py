"""Tensors that hold nothing, which Qualcomm's HTP takes none of: refused as they are, and right where they are left out."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from onnxruntime.capi.onnxruntime_pybind11_state import EPFail
from qualcomm_graphs import BOUND, Graph, departure, floats, node, whole
from torch.utils._pytree import tree_structure, treespec_dumps
from transformers.exporters.metadata import ExportMetadata

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm import HtpRunner
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed


def test_what_holds_nothing_is_taken_out() -> None:
    nodes = [
        node("Slice", "x zero zero one", "none"),
        node("Concat", "none x none", "joined", axis=1),
        node("Transpose", "none", "turned", perm=[1, 0]),
        node("Transpose", "joined", "data", perm=[1, 0]),
        node("ScatterND", "data nowhere turned"),
    ]
    constants = {"zero": whole(0), "one": whole(1), "nowhere": np.zeros((0, 1), np.int64)}
    graph = Graph("empty tensors taken out", nodes, {"x": floats(2, 3)}, constants)
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())


PARTS = {
    "one": (
        [
            node("Split", "x sizes", "a none", axis=1),
            node("Neg", "none", "turned"),
            node("Concat", "a turned", "joined", axis=1),
        ],
        (6, 0),
    ),
    "two": ([node("Split", "x sizes", "a none b", axis=1), node("Concat", "b none a", "joined", axis=1)], (2, 0, 4)),
}


@pytest.mark.parametrize("case", PARTS.values(), ids=PARTS)
def test_parts_that_hold_nothing_are_not_split_off(case: tuple[list[NodeProto], tuple[int, ...]]) -> None:
    nodes, sizes = case
    nodes = [*nodes, node("Neg", "joined")]
    graph = Graph("empty tensors taken out", nodes, {"x": floats(2, 6)}, {"sizes": whole(*sizes)})
    with pytest.raises((NotOnHardware, EPFail), match=r"the HTP does not take|Failed to compose"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


def test_parts_that_hold_nothing_and_are_read_stay() -> None:
    """A product over nothing is zero, and no nothing: its reader needs the part."""
    nodes = [
        node("Split", "x sizes", "a none", axis=1),
        node("Neg", "none", "minus"),
        node("MatMul", "minus weights", "zeros"),
        node("Add", "a zeros"),
    ]
    constants = {"sizes": whole(6, 0), "weights": np.zeros((0, 6), np.float32)}
    graph = Graph("empty tensors taken out", nodes, {"x": floats(2, 6)}, constants)
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


def test_an_output_that_holds_nothing_is_given_without_the_htp() -> None:
    nodes = [node("Slice", "x zero zero one", "none"), node("Unsqueeze", "none one", "values"), node("Neg", "x")]
    x = floats(2, 6)
    model = Graph("", nodes, {"x": x}, {"zero": whole(0), "one": whole(1)}).with_output("values")
    spec = treespec_dumps(tree_structure([0, 0]))
    plain, fixed = (
        HtpRunner(model, ExportMetadata(in_spec=spec, out_spec=spec), {}, fixed=fixed) for fixed in (False, True)
    )
    with pytest.raises((NotOnHardware, EPFail)):
        plain.run({"x": x})
    y, values = fixed.run({"x": x})
    assert departure(-x, y) < BOUND
    assert (values.shape, values.dtype) == ((2, 1, 0), np.float32)
    assert fixed.rewritten["outputs that hold nothing"] == 1
