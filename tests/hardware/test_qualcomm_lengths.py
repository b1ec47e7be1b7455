"""Lengths of vectors on Qualcomm's HTP: wrong as they are where they are long, right in parts, and the same numbers. What comes
out right as it is says that it need not be written out any more."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed


def normalised(least: float = 1e-12) -> Graph:
    """As torch's ``normalize`` is translated."""
    nodes = [
        node("ReduceL2", "x along", "length"),
        node("Clip", "length least", "raised"),
        node("Expand", "raised shape", "divisor"),
        node("Div", "x divisor"),
    ]
    constants = {"along": whole(-1), "least": np.array(least, np.float32), "shape": whole(2, 16, 28)}
    return Graph("lengths of parts of the largest", nodes, {"x": floats(2, 16, 28)}, constants)


def times(graph: Graph, scale: float) -> Graph:
    return graph._replace(inputs={"x": np.float32(scale) * graph.inputs["x"]})


LENGTH = Graph(
    normalised().rewrite, [node("ReduceL2", "x along", keepdims=0)], {"x": floats(2, 16, 28)}, {"along": whole(-1)}
)


@pytest.mark.parametrize("graph", [times(LENGTH, 100), times(LENGTH, 4000), times(normalised(), 4000)])
def test_it_is_wrong_as_it_is_and_right_in_parts(graph: Graph) -> None:
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 10 * BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("scale", [1e-4, 1, 4000])
@pytest.mark.parametrize("graph", [LENGTH, normalised()])
def test_it_is_the_same_in_parts(graph: Graph, scale: float) -> None:
    graph = times(graph, scale)
    graph.inputs["x"][0, 1] = 0
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"keepdims": 0}, {"keepdims": 1}])
@pytest.mark.parametrize("axes", [[-1], [0, 2], None])
def test_a_length_keeps_its_axes_or_not(settings: dict[str, int], axes: list[int] | None) -> None:
    nodes = [node("ReduceL2", "x along" if axes else "x", **settings)]
    graph = LENGTH._replace(nodes=nodes, constants={"along": whole(*axes)} if axes else {})
    expected = graph.expected()
    assert graph.rewritten_on_the_cpu().shape == expected.shape
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), expected, rtol=1e-5)


OTHERS: dict[str, tuple[list[NodeProto], float]] = {
    "another vector": ([node("Expand", "raised shape", "divisor"), node("Div", "minus divisor")], 1e-12),
    "raised by much": ([node("Div", "x divisor")], 100.0),
    "into more": ([node("Expand", "raised more", "divisor"), node("Div", "x divisor")], 1e-12),
}


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_what_is_not_divided_by_its_own_length_is_divided(case: tuple[list[NodeProto], float]) -> None:
    nodes, least = case
    graph = normalised(least)
    graph = graph._replace(
        nodes=[*graph.nodes[: -len(nodes)], *nodes],
        constants={**graph.constants, "more": whole(3, 2, 16, 28), "minus": -floats(2, 16, 28)},
    )
    written = rewrite_fixed(graph.model(), graph.sizes()).model.graph.node
    assert any(each.op_type == "Div" and each.input[1] == "divisor" for each in written)
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5)
