"""Lengths of vectors on Qualcomm's HTP, and divisions by large numbers: wrong as they are, right in parts, and the same. What
comes out right as it is says that it need not be written out any more."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, Array, Graph, departure, floats, node, whole

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


def divided(divisor: Array, *sums: NodeProto) -> Graph:
    nodes = [*sums, node("Div", "sums divisor" if sums else "x divisor")]
    constants = {"divisor": divisor.astype(np.float32), "along": np.array(1)}
    return Graph("divisions by large numbers in two", nodes, {"x": 1000 * floats(2, 32, 4)}, constants)


def sums(**settings: int) -> NodeProto:
    return node("CumSum", "x along", "sums", **settings)


COUNTS = 8192 * np.arange(1, 33).reshape(1, 32, 1)
DIVISIONS = {
    "beyond fp16": divided(np.array(-300_000.0)),
    "some of many": divided(np.array([3.0, 20_000.0, -0.5, 70_000.0])),
    "sums": divided(COUNTS, sums()),
}
REFUSED = {
    "sums from the last": divided(COUNTS[:, ::-1], sums(reverse=1)),
    "sums of those before": divided(COUNTS, sums(exclusive=1)),
}
"""The HTP has no such sums, before or after."""


@pytest.mark.parametrize("graph", DIVISIONS.values(), ids=DIVISIONS)
def test_large_divisors_are_wrong_as_they_are_and_right_in_two(graph: Graph) -> None:
    expected = graph.expected()
    # Without the numbers that are divided by little, which would hide those that are nothing.
    lost = np.abs(graph.constants["divisor"]) > 16_384
    lost = np.broadcast_to(lost, expected.shape)
    assert departure(expected[lost], graph.on_the_htp(fixed=False)[lost]) > 10 * BOUND
    assert departure(expected[lost], graph.on_the_htp(fixed=True)[lost]) < BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("graph", [*DIVISIONS.values(), *REFUSED.values()], ids=[*DIVISIONS, *REFUSED])
def test_large_divisors_are_the_same_in_two(graph: Graph) -> None:
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-6)


def test_sums_beyond_fp16_are_multiplied_before() -> None:
    graph = divided(COUNTS, sums())
    graph.inputs["x"][:] = 20_000 + graph.inputs["x"]
    assert graph.expected().max() * COUNTS.max() > 600_000
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


def test_what_fp16_has_the_inverse_of_is_divided_by_once() -> None:
    graph = divided(np.array([8192.0, -1e-3, 1.0, 0.0]))
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


def test_sums_that_two_divide_are_made_for_each() -> None:
    nodes = [
        node("CumSum", "x along", "sums", name="sums"),
        node("Div", "sums divisor", "first"),
        node("Div", "sums other", "second"),
        node("Sub", "first second"),
    ]
    graph = divided(COUNTS, sums())._replace(nodes=nodes)
    graph = graph._replace(constants={**graph.constants, "other": np.array(20_000, np.float32)})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-4, atol=1e-5)


def test_sums_that_are_divided_by_much_and_little_keep_their_digits() -> None:
    graph = divided(np.array([1e-10, 3e38, 1, 1]), sums())
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-6)


def test_what_a_branch_reads_is_kept() -> None:
    """Beside a division that is written another way, which takes out what nobody reads."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(kind, "kept", "found")], name, [], [helper.make_tensor_value_info("found", TensorProto.FLOAT, None)]
        )
        for name, kind in (("then", "Abs"), ("else", "Exp"))
    }
    nodes = [
        node("Sin", "x", "kept"),
        node("ReduceMax", "x", "largest", keepdims=0),
        node("Cast", "largest", "true", to=TensorProto.BOOL),
        node("If", "true", "branched", **branches),
        node("Div", "x divisor", "divided"),
        node("Add", "branched divided"),
    ]
    graph = divided(np.array(300_000.0))._replace(nodes=nodes)
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-6)
