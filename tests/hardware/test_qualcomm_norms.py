"""RMSNorms on Qualcomm's HTP: wrong as one operator at some sizes, right written out, and the same numbers. What comes out
right as it is says that it need not be written out any more."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, Array, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed


def rms_norm(of: str, axis: int, weight: Array, eps: float = 1e-6) -> tuple[list[NodeProto], dict[str, Array]]:
    """The nodes and constants of an RMSNorm that multiplies with a Reciprocal."""
    nodes = [
        node("Pow", f"{of} two", "squares"),
        node("ReduceMean", "squares axis", "mean"),
        node("Add", "mean small", "sum"),
        node("Sqrt", "sum", "root"),
        node("Reciprocal", "root", "inverse"),
        node("Mul", f"{of} inverse", "normed"),
        node("Mul", "normed weight"),
    ]
    two, small = np.array(2, np.float32), np.array(eps, np.float32)
    return nodes, {"two": two, "axis": whole(axis), "small": small, "weight": weight}


OF_HEADS, OF_CHANNELS = rms_norm("x", -1, floats(16)), rms_norm("heard", 1, floats(1, 32, 1))
NORM = Graph("divisions in RMSNorm", OF_HEADS[0], {"x": floats(2, 18, 2, 16)}, OF_HEADS[1])
SHORT = NORM._replace(inputs={"x": floats(2, 40, 16)})
OF_MANY = rms_norm("x", -1, floats(64))
MANY = Graph("divisions in RMSNorm", OF_MANY[0], {"x": floats(9, 40, 64)}, OF_MANY[1])
LARGE = NORM._replace(inputs={"x": np.float32(1000) * floats(2, 18, 2, 16)})
CHANNELS = Graph(
    "divisions in RMSNorm",
    [node("Conv", "x kernel", "heard", pads=[1, 1]), *OF_CHANNELS[0]],
    {"x": floats(2, 16, 40)},
    {"kernel": floats(32, 16, 3), **OF_CHANNELS[1]},
)
SIGNED = np.where(np.arange(96).reshape(2, 3, 16) % 3, floats(2, 3, 16), np.float32(-0.0))
SQUARES = Graph("powers as products", [node("Pow", "x two")], {"x": SIGNED}, {"two": np.array(2, np.float32)})
WRONG = {
    "heads": NORM,
    "short": SHORT,
    "many": MANY,
    "large": LARGE,
    "channels": CHANNELS,
    "squares": SQUARES,
    "fourth powers": SQUARES._replace(constants={"two": np.array(4, np.float32)}),
    "squares of sines": SQUARES._replace(
        nodes=[node("Sin", "x", "sines"), node("Pow", "sines two")],
        inputs={"x": np.tile(np.array([-1e-5, 0.5, 1], np.float32), (4, 8))},
    ),
}


@pytest.mark.parametrize("graph", WRONG.values(), ids=WRONG)
def test_it_is_wrong_as_it_is_and_right_written_out(graph: Graph) -> None:
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 2 * BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("scale", [1e-4, 1, 1e3])
def test_a_norm_that_is_written_out_is_the_same(scale: float) -> None:
    graph = NORM._replace(inputs={"x": np.float32(scale) * NORM.inputs["x"]})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 40, 64), (1, 80, 16)])
def test_a_norm_of_few_inputs_or_of_one_stays(shape: tuple[int, ...]) -> None:
    nodes, constants = rms_norm("x", -1, floats(shape[-1]))
    graph = Graph(NORM.rewrite, nodes, {"x": floats(*shape)}, constants)
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts
    assert departure(graph.expected(), graph.on_the_htp(fixed=False)) < BOUND, "this one is to be divided, too"


@pytest.mark.parametrize(("shape", "divided"), [((2, 18, 2, 16), 1), ((2, 18, 32), 0)])
def test_a_vector_of_four_axes_is_divided_by_its_length(shape: tuple[int, ...], divided: int) -> None:
    nodes, constants = rms_norm("x", -1, floats(shape[-1]))
    nodes[1] = node("ReduceSum", "squares axis", "mean")
    graph = Graph(NORM.rewrite, nodes, {"x": floats(*shape)}, constants)
    assert rewrite_fixed(graph.model(), graph.sizes()).counts.get(graph.rewrite, 0) == divided
    assert departure(graph.expected(), graph.on_the_htp(fixed=bool(divided))) < BOUND


@pytest.mark.parametrize("power", [2, 4])
def test_a_power_as_a_product_is_the_same(power: int) -> None:
    graph = SQUARES._replace(constants={"two": np.array(power, np.float32)})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5)


@pytest.mark.parametrize("power", [3, 0.5])
def test_another_power_stays(power: float) -> None:
    graph = SQUARES._replace(inputs={"x": np.abs(SIGNED)}, constants={"two": np.array(power, np.float32)})
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts
    assert departure(graph.expected(), graph.on_the_htp(fixed=False)) < BOUND


def test_the_squares_of_a_norm_stay() -> None:
    nodes, constants = rms_norm("x", -1, floats(64))
    x = np.where(np.arange(5120).reshape(2, 40, 64) % 3, floats(2, 40, 64), np.float32(-0.0))
    graph = Graph(SQUARES.rewrite, nodes, {"x": x}, constants)
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts
    assert departure(graph.expected(), graph.on_the_htp(fixed=False)) < BOUND, "its squares are powers"
