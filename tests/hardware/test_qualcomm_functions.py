"""Divisions and logarithms that leave fp16 on their way on Qualcomm's HTP: wrong as they are, right written out, and the same
numbers. What comes out right as it is says that it need not be written out any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, RANDOM, Array, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed


def logit(least: float = 1e-5) -> Graph:
    """As the models of detr write the inverse of a sigmoid."""
    nodes = [
        *(node("Sub", "one x", "rest"), node("Clip", "x least", "above"), node("Clip", "rest least", "below")),
        *(node("Div", "above below", "quotient"), node("Log", "quotient")),
    ]
    x = np.array([[0, 0.25, 0.5, 0.75, 1, 1]], np.float32).repeat(4, 0)
    constants = {"one": np.array(1, np.float32), "least": np.array(least, np.float32)}
    return Graph("logarithms of quotients as differences", nodes, {"x": x}, constants)


def test_a_logarithm_of_a_quotient_beyond_fp16_is_a_difference() -> None:
    expected = logit().expected()
    assert departure(expected, logit().on_the_htp(fixed=False)) > 5 * BOUND, "the HTP computes it right now"
    assert departure(expected, logit().on_the_htp(fixed=True)) < BOUND
    np.testing.assert_allclose(logit().rewritten_on_the_cpu(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("least", [0, -1, 0.1])
def test_other_logarithms_stay(least: float) -> None:
    graph = logit(least)
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


SCORES = np.where(RANDOM.random((2, 4, 18, 18)) < 0.3, np.float32(-60_000), np.float32(20) * floats(2, 4, 18, 18))


def log_of_sum(**settings: Any) -> Graph:
    nodes = [node("ReduceLogSumExp", "x along", **settings)]
    return Graph("ReduceLogSumExp with its largest apart", nodes, {"x": SCORES}, {"along": whole(-1)})


def test_a_logarithm_of_a_sum_of_large_powers_has_its_largest_apart() -> None:
    graph = log_of_sum(keepdims=0)
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 10 * BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("axes", [(-1,), (1, 3), ()])
@pytest.mark.parametrize("settings", [{}, {"keepdims": 0}])
def test_a_logarithm_of_a_sum_of_powers_is_the_same(axes: tuple[int, ...], settings: dict[str, int]) -> None:
    graph = log_of_sum(**settings)
    graph = (
        graph._replace(constants={"along": whole(*axes)})
        if axes
        else graph._replace(nodes=[node("ReduceLogSumExp", "x", **settings)], constants={})
    )
    found, expected = graph.rewritten_on_the_cpu(), graph.expected()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_logarithm_of_a_sum_of_infinities_is_what_it_was() -> None:
    infinite = np.float32([[-np.inf] * 3, [np.inf] * 3, [1, np.inf, -np.inf], [1, -np.inf, 2], [3e38, 1, -3e38]])
    graph = log_of_sum()._replace(inputs={"x": infinite})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5)


def test_a_logarithm_of_a_sum_over_no_axis_stays() -> None:
    nodes = [node("ReduceLogSumExp", "x along", noop_with_empty_axes=1)]
    graph = log_of_sum()._replace(nodes=nodes, constants={"along": whole()})
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


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
