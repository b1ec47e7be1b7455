"""What Qualcomm's HTP joins with a product: wrong, less exact or a crash as it is, right apart from it, and the same numbers.
What comes out as well as it is says that it need not be kept apart any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed


@pytest.mark.parametrize("between", ["Identity", "Neg"])
@pytest.mark.parametrize("kind", ["Tanh", "Gelu"])
def test_a_function_after_a_product_is_more_exact_apart_from_it(kind: str, between: str) -> None:
    nodes = [node("MatMul", "x w", "product"), node(between, "product", "same"), node(kind, "same")]
    graph = Graph(
        "functions apart from products", nodes, {"x": floats(2, 8, 64)}, {"w": floats(64, 64) / np.float32(5)}
    )
    expected = graph.expected()
    if between == "Neg":  # the HTP does not join them
        assert not rewrite_fixed(graph.model(), graph.sizes()).counts
        return
    assert departure(expected, graph.on_the_htp(fixed=False)) > 1.8 * departure(expected, graph.on_the_htp(fixed=True))
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(2, 2, 2), (4, 4, 4), (2, 4, 4), (1, 1, 1)])
def test_heads_are_joined_apart_from_a_product(sizes: tuple[int, int, int]) -> None:
    batch, heads, tokens = sizes
    nodes = [
        node("MatMul", "weights values", "found"),
        node("Transpose", "found", "turned", perm=[0, 2, 1, 3]),
        node("Reshape", "turned shape", "joined"),
        node("MatMul", "joined matrix"),
    ]
    inputs = {"weights": abs(floats(batch, heads, tokens, 9)), "values": floats(batch, heads, 9, 16)}
    constants = {"shape": whole(batch, tokens, 16 * heads), "matrix": floats(16 * heads, 16 * heads)}
    graph = Graph("joined heads apart from products", nodes, inputs, constants)
    expected = graph.expected()
    if sizes in {(2, 4, 4), (1, 1, 1)}:
        assert not rewrite_fixed(graph.model(), graph.sizes()).counts
        assert departure(expected, graph.on_the_htp(fixed=False)) < BOUND, "then these need it, too"
        return
    assert departure(expected, graph.on_the_htp(fixed=False)) > 0.5, "the HTP keeps these axes apart now"
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), expected, rtol=1e-5, atol=1e-5)


SHAPES = {"five": whole(2, 6, 1, 4, 4), "four": whole(2, 6, 4, 4), "two": whole(2)}
WAYS = {
    "from two axes": [node("Reshape", "product five")],
    "from four axes": [node("Reshape", "product four", "z"), node("Unsqueeze", "z two")],
    "with a bias": [node("Add", "product b", "z"), node("Reshape", "z five")],
}


def five_axes(nodes: list[NodeProto], batch: int = 2) -> Graph:
    shapes = {name: whole(batch, *value[1:].tolist()) if value.size > 1 else value for name, value in SHAPES.items()}
    constants = {"w": floats(64, 4), "b": floats(4), **shapes}
    product = node("MatMul", "x w", "product")
    return Graph("five axes apart from products", [product, *nodes], {"x": floats(batch * 24, 64)}, constants)


@pytest.mark.parametrize("way", WAYS)
def test_five_axes_of_a_product_are_right_apart_from_it(way: str) -> None:
    graph = five_axes(WAYS[way])
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), expected, rtol=1e-5, atol=1e-5)
    script = f"import test_qualcomm_apart as t; t.five_axes(t.WAYS[{way!r}]).on_the_htp(fixed=False)"
    ended = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, check=False)
    assert ended.returncode < 0, "QNN takes it itself now"


def test_one_input_and_fewer_axes_need_nothing() -> None:
    for graph in (five_axes(WAYS["from two axes"], batch=1), five_axes([node("Reshape", "product four")])):
        assert not rewrite_fixed(graph.model(), graph.sizes()).counts
        assert departure(graph.expected(), graph.on_the_htp(fixed=False)) < BOUND, "this one is to be kept apart, too"
