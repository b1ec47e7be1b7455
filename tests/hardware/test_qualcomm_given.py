"""Inputs that say sizes are constants of the graph that is compiled, and no others are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto
from torch.utils._pytree import tree_structure, treespec_dumps
from transformers.exporters.metadata import ExportMetadata

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, departure, floats

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm import PROVIDER, HtpRunner
from pytest_ipfs_accelerate.hardware.qualcomm_fixed import at_sizes
from pytest_ipfs_accelerate.hardware.qualcomm_given import inputs_of_sizes, with_given

ROWS = """
    patches = ReduceProd<keepdims = 0>({counted}, first)
    number = Range(zero, patches, one)
    row = Cast<to = 1>(number)
    column = Unsqueeze(row, last)
    y = Mul(column, x)
"""
"""As many rows as the product of some numbers says."""


def graph(counted: str = "grid", before: str = "", inputs: str = "int64[2] grid") -> ModelProto:
    constants = (
        "int64[1] first = {0}, int64 zero = {0}, int64 one = {1}, int64[1] last = {-1}, float[3, 1] table = {1, 2, 3}"
    )
    return onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 20]> small (float[n, 4] x, {inputs}) => (float[m, 4] y) <{constants}> '
        f"{{ {before} {ROWS.format(counted=counted)} }}"
    )


def runner(model: ModelProto | None = None, *, fixed: bool = True) -> HtpRunner:
    spec = treespec_dumps(tree_structure([0]))
    return HtpRunner(model or graph(), ExportMetadata(in_spec=spec, out_spec=spec), {}, fixed=fixed)


def test_a_graph_is_compiled_for_each_of_the_sizes() -> None:
    htp, x = runner(), floats(1, 4)
    session = onnxruntime.InferenceSession(graph().SerializeToString(), providers=["CPUExecutionProvider"])
    for grid in ([2, 3], [1, 2], [2, 3]):
        inputs = {"x": x, "grid": np.array(grid)}
        (expected,) = session.run(None, inputs)
        assert departure(expected, htp.run(inputs)[0]) < BOUND
    assert htp.rewritten["inputs of sizes as constants"] == 1
    assert list(htp.nodes()) == [PROVIDER]
    assert len(htp._compiled) == 2


def test_a_shape_that_is_computed_is_refused() -> None:
    """Where this fails, the HTP takes such a shape, and nothing has to be a constant."""
    with pytest.raises(NotOnHardware, match=r"does not take ReduceProd \(1\), Range \(1\)"):
        runner(fixed=False).run({"x": floats(1, 4), "grid": np.array([2, 3])})


def test_the_order_in_which_inputs_come_says_nothing() -> None:
    model = graph("seven", "twice = Add(a, a)  seven = Add(twice, b)", "int64[1] a, int64[1] b")
    htp, x = runner(model), floats(1, 4)
    assert len(htp.run({"x": x, "a": np.array([2]), "b": np.array([3])})[0]) == 7
    assert len(htp.run({"x": x, "b": np.array([2]), "a": np.array([3])})[0]) == 8


@pytest.mark.parametrize(
    ("counted", "before", "inputs", "found"),
    [
        ("grid", "", "int64[2] grid", {"grid"}),
        ("half", "half = Div(grid, one)", "int32[2] grid", {"grid"}),
        ("second", "second = Gather(grid, first)", "int64[2] grid", {"grid"}),
        ("grid", "", "int64[2] attention_mask_grid", set()),
        ("counted", "counted = Cast<to = 7>(sizes)", "float[2] sizes", set()),
        ("tokens", "rows = Gather(table, tokens)", "int64[2] tokens", set()),
        ("places", "places = NonZero(tokens)", "int64[2] tokens", set()),
        ("fixed", "fixed = Identity(first)  z = Add(grid, one)", "int64[2] grid", set()),
    ],
)
def test_what_is_a_size(counted: str, before: str, inputs: str, found: set[str]) -> None:
    name = inputs.split()[-1]
    model = graph(name if counted == "grid" else counted, before, inputs)
    assert inputs_of_sizes(model.graph) == found


PLACES = """
    end = Squeeze(grid)
    numbers = Range(zero, end, one)
    kept = Greater(numbers, one)
    places = NonZero(kept)
    row = Reshape(places, last)
    y = Gather(x, row)
"""


def test_true_places_that_a_size_says_are_constants() -> None:
    """Where the last line fails, ONNX Runtime folds them, and nothing is left to do."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> small (float[n, 4] x, int64[1] grid) => (float[m, 4] y) '
        f"<int64 zero = {{0}}, int64 one = {{1}}, int64[1] last = {{-1}}> {{ {PLACES} }}"
    )
    inputs = {"x": floats(6, 4), "grid": np.array([5])}
    htp = runner(model)
    assert departure(inputs["x"][2:5], htp.run(inputs)[0]) < BOUND
    assert htp.rewritten["true places of constants"] == 1
    graph = at_sizes(with_given(model, {"grid": inputs["grid"]}), {"x": (6, 4)}).graph
    assert any(node.op_type == "NonZero" for node in graph.node)
