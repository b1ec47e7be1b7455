"""Vectors where a mask is true, on Qualcomm's HTP: refused as they are, right with others behind them, and the same numbers.
Who asks how many there are gets the number."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, Array, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

MASKED = [
    node("Less", "mask zero", "true"),
    node("NonZero", "true", "columns"),
    node("Transpose", "columns", "rows", perm=[1, 0]),
]
MASK = np.array([[-1, 1, -1, 1, 1], [1, 1, -1, -1, 1]], np.float32)


def of_one_axis(before: str = "", shape: str = "row", columns: int = -1) -> Graph:
    """As torch's index by a mask of one axis is translated; ``before`` is a first place that is put before all."""
    nodes = [
        *(
            node("Less", "mask zero", "true"),
            node("NonZero", "true", "places"),
            node("Transpose", "places", "turned", perm=[1, 0]),
        ),
        node("Squeeze", "turned second", "found"),
        node("Concat", "first found", "row", axis=0) if before else node("Identity", "found", "row"),
        *(node("Max", "row", "most"), node("Shape", shape, "shape"), node("Expand", "row shape", "rows")),
        *(node("Unsqueeze", "rows columns", "indices"), node("GatherND", "x indices", "taken")),
        node("Gather", "taken some", axis=0),
    ]
    constants = {"zero": np.array(0, np.float32), "second": whole(1), "columns": whole(columns), "some": whole(1, 0)}
    inputs = {"x": floats(5, 8), "mask": MASK[1]}
    return Graph("all of those where a mask is true", nodes, inputs, {**constants, "first": whole(2)})


TRUE = int((MASK < 0).sum())
PICKED = {
    "last": Graph(
        "last of those where a mask is true",
        [
            *MASKED,
            node("GatherND", "x rows", "taken"),
            node("Reshape", "taken shape", "ends"),
            node("Gather", "ends last", axis=1),
        ],
        {"x": floats(2, 5, 8), "mask": MASK},
        {"zero": np.array(0, np.float32), "shape": whole(2, -1, 8), "last": np.array(-1)},
    ),
    "all": Graph(
        "all of those where a mask is true",
        [*MASKED, node("GatherND", "x rows")],
        {"x": floats(2, 5, 8), "mask": MASK},
        {"zero": np.array(0, np.float32)},
    ),
    "all, taken one by one": Graph(
        "all of those where a mask is true",
        [*MASKED, node("GatherND", "x rows", "taken"), node("Gather", "taken some", axis=0)],
        {"x": floats(2, 5, 8), "mask": MASK},
        {"zero": np.array(0, np.float32), "some": whole(3, 0, 2, 2)},
    ),
    "all of one axis": of_one_axis(),
    "all, normalised": Graph(
        "all of those where a mask is true",
        [
            *MASKED,
            node("GatherND", "x rows", "taken"),
            node("Pow", "taken two", "squares"),
            node("ReduceMean", "squares along", "mean"),
            node("Pow", "mean minus_half", "scale"),
            node("Mul", "taken scale", "norm"),
            node("MatMul", "norm w", "projected"),
            node("Reshape", "projected whole", "row"),
            node("GatherND", "row some"),
        ],
        {"x": floats(2, 5, 8), "mask": MASK},
        {
            "zero": np.array(0, np.float32),
            "two": np.array(2, np.float32),
            "minus_half": np.array(-0.5, np.float32),
            "along": whole(-1),
            "whole": whole(-1),
            "w": floats(8, 4),
            "some": np.array([[5], [0], [6]]),
        },
    ),
}


@pytest.mark.parametrize("graph", PICKED.values(), ids=PICKED)
def test_it_is_refused_as_it_is_and_taken_rewritten(graph: Graph) -> None:
    with pytest.raises(NotOnHardware, match="the HTP does not take"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("graph", PICKED.values(), ids=PICKED)
def test_a_rewrite_changes_no_number(graph: Graph) -> None:
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-6)


ASKS: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "mean": ([node("ReduceMean", "taken first", "asked")], {"first": whole(0)}),
    "mean without its axis": ([node("ReduceMean", "taken along", "asked", keepdims=0)], {"along": whole(-1)}),
    "mean of a row": (
        [node("Reshape", "taken row", "all"), node("ReduceMean", "all row", "asked")],
        {"row": whole(-1)},
    ),
    "shape": ([node("Shape", "taken", "shape"), node("Cast", "shape", "asked", to=1)], {}),
    "rows of each input": ([node("Reshape", "taken shape", "asked")], {"shape": whole(2, -1, 8)}),
    "from the end": ([node("Gather", "taken last", "asked", axis=0)], {"last": np.array(-1)}),
    "a number for each": ([node("Add", "taken z", "asked")], {"z": floats(TRUE, 8)}),
    "a number for each in a row": (
        [node("Reshape", "taken row", "all"), node("Add", "all z", "asked")],
        {"row": whole(-1), "z": floats(8 * TRUE)},
    ),
    "a matrix before": ([node("MatMul", "w taken", "asked")], {"w": floats(3, TRUE)}),
    "a matrix turned": ([node("Gemm", "taken w", "asked", transA=1)], {"w": floats(TRUE, 3)}),
    "among each other": (
        [node("MatMul", "taken w", "square"), node("MatMul", "square square", "asked")],
        {"w": floats(8, TRUE)},
    ),
    "by a vector": (
        [node("MatMul", "taken w", "numbers"), node("ReduceMean", "numbers along", "asked")],
        {"w": floats(8), "along": whole(-1)},
    ),
    "by several matrices": ([node("MatMul", "taken w", "asked")], {"w": floats(3, 8, 4)}),
    "a product plus a number for each": (
        [node("Gemm", "taken w c", "asked")],
        {"w": floats(8, 4), "c": floats(TRUE, 4)},
    ),
    "scaled by a number for each": (
        [node("LayerNormalization", "taken scale", "asked", axis=-1)],
        {"scale": floats(TRUE, 8)},
    ),
    "with an axis before": ([node("Add", "taken one", "asked")], {"one": floats(1, 1, 1)}),
    "from the end, by several": ([node("GatherND", "taken ends", "asked")], {"ends": np.array([[-1]])}),
    "turned": ([node("Transpose", "taken", "asked", perm=[1, 0])], {}),
    "in another order": (
        [
            node("Reshape", "taken halves", "others"),
            node("ReduceMean", "others along", "means"),
            node("Mul", "others means", "more"),
            node("Add", "taken means", "asked"),
        ],
        {"halves": whole(-1, 8), "along": whole(-1)},
    ),
}


@pytest.mark.parametrize("case", ASKS.values(), ids=ASKS)
def test_who_asks_for_the_number_of_true_places_gets_it(case: tuple[list[NodeProto], dict[str, Array]]) -> None:
    nodes, constants = case
    graph = Graph(
        "",
        [*MASKED, node("GatherND", "x rows", "taken"), *nodes, node("Gather", "asked none", axis=0)],
        PICKED["all"].inputs,
        {"zero": np.array(0, np.float32), "none": whole(0), **constants},
    )
    assert "all of those where a mask is true" not in rewrite_fixed(graph.model(), graph.sizes()).counts


@pytest.mark.parametrize("graph", [of_one_axis("first"), of_one_axis(shape="turned"), of_one_axis(columns=0)])
def test_other_places_are_not_those_where_a_mask_is_true(graph: Graph) -> None:
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts
