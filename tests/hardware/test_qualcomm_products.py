"""Products of many rows with weights on Qualcomm's HTP: wrong as they are, right with their weights turned, and the same. What
comes out right as it is says that they need not be turned any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, Array, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

ROWS = 1030
WEIGHTS: dict[str, Array] = {"w": floats(8, 16), "b": floats(16)}


def product(nodes: list[NodeProto], *shape: int, **constants: Array) -> Graph:
    return Graph("weights of many rows turned", nodes, {"x": floats(*shape)}, {**WEIGHTS, **constants})


def rows(*shape: int, **settings: Any) -> Graph:
    """A product of all inputs in one, as ONNX Runtime makes it of a product and a sum."""
    nodes = [
        node("Reshape", "x flat", "rows"),
        node("Gemm", "rows w b", "many", **settings),
        node("Reshape", "many kept"),
    ]
    return product(nodes, *shape, flat=whole(-1, 8), kept=whole(*shape[:-1], 16))


GRAPHS = {
    "product": product([node("MatMul", "x w")], 2, ROWS, 8),
    "product and sum": product([node("MatMul", "x w", "product"), node("Add", "product b")], 3, ROWS, 8),
    "product of four axes": product([node("MatMul", "x w")], 1, 2, ROWS, 8),
    "rows": rows(2, ROWS, 8),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_many_rows_are_wrong_as_they_are_and_right_with_weights_turned(graph: Graph) -> None:
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 100 * BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize(
    "graph", [*GRAPHS.values(), rows(2, ROWS, 8, alpha=0.5, beta=3.0)], ids=[*GRAPHS, "rows and factors"]
)
def test_many_rows_are_the_same_with_weights_turned(graph: Graph) -> None:
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-5)


OTHERS = {
    "fewer": product([node("MatMul", "x w")], 2, 1024, 8),
    "turned": product([node("Gemm", "x w b", transB=1)], 2 * ROWS, 16, b=floats(8)),
    "turned rows": product([node("Gemm", "x w b", transA=1)], 2 * ROWS, 8, w=floats(2 * ROWS, 16)),
    "weights for each": product([node("MatMul", "x w")], 2, ROWS, 8, w=floats(2, 8, 16)),
    "whole numbers": product([node("MatMul", "x w")], 2 * ROWS, 8, w=np.ones((8, 16), np.int32))._replace(
        inputs={"x": np.ones((2 * ROWS, 8), np.int32)}, output=TensorProto.INT32
    ),
    "nothing": product([node("MatMul", "x w")], 2, ROWS, 0, w=floats(0, 16)),
    "no constant": product([node("MatMul", "x t")], 2 * ROWS, 8)._replace(
        inputs={"x": floats(2 * ROWS, 8), "t": floats(8, 16)}
    ),
}


@pytest.mark.parametrize("graph", OTHERS.values(), ids=OTHERS)
def test_other_products_stay(graph: Graph) -> None:
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts
