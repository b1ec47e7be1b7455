"""Operators that are written out for Qualcomm's HTP: refused or less exact as they are, right written out, and the same
numbers. What comes out as well as it is says that it need not be written out any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, RANDOM, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

CONV = Graph(
    "Conv one place further",
    [node("Conv", "x w", kernel_shape=[19], pads=[9, 9], strides=[1], group=2)],
    {"x": floats(2, 8, 16)},
    {"w": floats(8, 4, 19)},
)
WRONG = {
    "convolution": CONV,
    "padding as long as the kernel": Graph(
        "bias before Conv",
        [
            node("MatMul", "x m", "product"),
            node("Transpose", "product", "turned", perm=[0, 2, 1]),
            node("Conv", "turned w b", kernel_shape=[2], pads=[2, 0], group=8),
        ],
        {"x": floats(2, 30, 16)},
        {"m": floats(16, 8) / 4, "w": floats(8, 1, 2), "b": floats(8)},
    ),
    "padding of two axes": Graph(
        "bias before Conv",
        [node("Conv", "x w", kernel_shape=[3, 2], pads=[3, 3, 1, 0])],
        {"x": floats(2, 8, 12, 12)},
        {"w": floats(8, 8, 3, 2)},
    ),
    "strides": Graph(
        "strides of Conv as Slice",
        [node("Conv", "x w b", kernel_shape=[1, 1], strides=[1, 2], group=48)],
        {"x": floats(2, 48, 6, 16)},
        {"w": floats(48, 1, 1, 1), "b": floats(48)},
    ),
    "pool of two axes": Graph(
        "AveragePool with its padding",
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])],
        {"x": floats(2, 8, 16, 16)},
    ),
    "pool of one axis": Graph(
        "AveragePool with its padding",
        [node("AveragePool", "x", kernel_shape=[3], pads=[1, 1], strides=[1], count_include_pad=1)],
        {"x": floats(2, 8, 16)},
    ),
    "pool to the end": Graph(
        "AveragePool with its padding",
        [node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        {"x": floats(2, 8, 7, 7)},
    ),
    "edge": Graph(
        "Pad as Gather",
        [node("Pad", "x p", mode="edge")],
        {"x": floats(2, 4, 8)},
        {"p": whole(0, 0, 1, 0, 0, 2)},
    ),
}
POINTS = (RANDOM.integers(-63, 64, (2, 3, 4, 2)) / 64).astype(np.float32)  # as fp16 holds them
PLACES = np.array([[0, 3, -1], [1, 1, 1]])
REFUSED = {
    "angle": Graph(
        "Acos by half of its angle", [node("Acos", "x")], {"x": np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)}
    ),
    "asinh": Graph("Asinh by logarithms", [node("Asinh", "x")], {"x": 4 * floats(2, 32)}),
    "cubic": Graph(
        "cubic GridSample as products",
        [node("GridSample", "x points", mode="cubic", padding_mode="border")],
        {"x": floats(2, 8, 6, 7), "points": POINTS},
    ),
    **{
        f"scatter: {reduction}": Graph(
            "ScatterElements that reduces by comparison",
            [node("ScatterElements", "x i u", axis=1, reduction=reduction)],
            {"x": floats(2, 6), "i": PLACES, "u": floats(2, 3)},
        )
        for reduction in ("add", "max", "min")
    },
}


@pytest.mark.parametrize("graph", WRONG.values(), ids=WRONG)
def test_it_is_wrong_as_it_is_and_right_written_out(graph: Graph) -> None:
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 0.1, "the HTP computes it right now"
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


def test_a_softmax_is_more_exact_as_powers_over_their_sum() -> None:
    graph = Graph("Softmax as powers over their sum", [node("Softmax", "x")], {"x": 2 * floats(2, 4, 16, 16)})
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 1.4 * departure(expected, graph.on_the_htp(fixed=True))


@pytest.mark.parametrize("product", [False, True])
def test_a_sigmoid_of_negative_numbers_is_exact_to_its_own_size(product: bool) -> None:
    nodes = [node("MatMul", "x w", "z") if product else node("Neg", "x", "z"), node("Sigmoid", "z")]
    x = (np.arange(24, 72) / 8).astype(np.float32).reshape(2, 24)
    weights = {"w": -np.eye(24, dtype=np.float32)} if product else {}
    graph = Graph("Sigmoid as a power below zero", nodes, {"x": x}, weights)
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 2 * BOUND, (
        "the HTP is exact to the size of the result now"
    )
    np.testing.assert_allclose(graph.on_the_htp(fixed=True), expected, rtol=2 * BOUND)


def test_a_sigmoid_is_the_same_on_either_side_of_zero() -> None:
    x = np.array([[-1e3, -50, -20, -3, -0.5, 0, 0.5, 3, 20, 1e3]], np.float32)
    graph = Graph("Sigmoid as a power below zero", [node("Sigmoid", "x")], {"x": x})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("constant", [True, False])
def test_a_gather_by_indices_of_two_axes_is_one_by_a_row(constant: bool) -> None:
    index = RANDOM.integers(-39, 39, (2, 24))
    inputs = {"x": floats(2, 39, 4, 16), **({} if constant else {"i": index})}
    graph = Graph("Gather by a row", [node("Gather", "x i", axis=1)], inputs, {"i": index} if constant else {})
    with pytest.raises(Exception, match="QNN graph execute error"):  # no longer: then the rewrite can go
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())


@pytest.mark.parametrize("graph", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_as_it_is_and_taken_written_out(graph: Graph) -> None:
    with pytest.raises(NotOnHardware, match="the HTP does not take"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1e3])
def test_an_asinh_is_exact_to_its_own_size(scale: float) -> None:
    x = np.float32(scale) * np.array([[-2, -1.01, -1, -0.99, -0.3, 0, 0.01, 0.7, 1, 1.5]], np.float32)
    graph = REFUSED["asinh"]._replace(inputs={"x": x})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=2e-4)
    np.testing.assert_allclose(graph.on_the_htp(fixed=True), graph.expected(), rtol=2 * BOUND)


def test_an_angle_is_the_same_and_0_for_a_product_beyond_1() -> None:
    graph = REFUSED["angle"]
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-6, atol=1e-6)
    beyond = graph._replace(inputs={"x": np.array([[1.0005]], np.float32)})
    assert beyond.rewritten_on_the_cpu().item() == 0
    assert abs(beyond.on_the_htp(fixed=True).item()) < BOUND


@pytest.mark.parametrize(
    ("length", "extra"),
    [(16, {"pads": [9, 9]}), (24, {"pads": [4, 4]}), (40, {"pads": [24, 0], "dilations": [3]})],
    ids=["as long", "shorter", "causal"],
)
def test_a_convolution_one_place_further_is_cut_to_the_same(length: int, extra: dict[str, list[int]]) -> None:
    weights = {"w": floats(4, 3, 9 if "dilations" in extra else 17 if length == 24 else 19), "b": floats(4)}
    graph = Graph(CONV.rewrite, [node("Conv", "x w b", **extra)], {"x": floats(2, 3, length)}, weights)
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "extra"),
    [((8, 4, 8), {"pads": [4, 3]}), ((8, 4, 19), {"pads": [9, 9], "strides": [2]}), ((8, 4, 18), {"pads": [9, 9]})],
    ids=["short kernel", "stride", "seventeen places"],
)
def test_another_convolution_stays(shape: tuple[int, ...], extra: dict[str, list[int]]) -> None:
    graph = Graph("", [node("Conv", "x w", **extra)], {"x": floats(2, 4, 16)}, {"w": floats(*shape)})
    assert not rewrite_fixed(graph.model(), graph.sizes()).counts


@pytest.mark.parametrize("bias", ["", " b"])
@pytest.mark.parametrize("extra", [{}, {"group": 2}, {"auto_pad": "NOTSET"}], ids=["plain", "groups", "auto_pad"])
@pytest.mark.parametrize("pads", [[4, 3, 1, 2], [0, 3, 1, 2], [3, 1, 0, 0]], ids=["both", "second", "first"])
def test_where_a_convolution_sees_padding_alone_is_its_bias(pads: list[int], extra: dict[str, Any], bias: str) -> None:
    weights = {"w": floats(4, 4 // extra.get("group", 1), 2, 3), "b": floats(4)}
    nodes = [node("Conv", f"x w{bias}", pads=pads, **extra)]
    graph = Graph("bias before Conv", nodes, {"x": floats(2, 4, 7, 9)}, weights)
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-4, atol=1e-5)


OTHER_PADDING: dict[str, tuple[int, dict[str, Any]]] = {
    "kernel of one": (1, {"pads": [2, 0]}),
    "dilated": (2, {"pads": [2, 0], "dilations": [2]}),
    "strides": (2, {"pads": [2, 0], "strides": [2]}),
    "shorter": (3, {"pads": [2, 3]}),
}


@pytest.mark.parametrize("case", OTHER_PADDING.values(), ids=OTHER_PADDING)
def test_other_padding_stays(case: tuple[int, dict[str, Any]]) -> None:
    length, extra = case
    graph = Graph(
        "bias before Conv", [node("Conv", "x w", **extra)], {"x": floats(2, 4, 16)}, {"w": floats(8, 4, length)}
    )
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


def test_padding_before_a_bias_that_is_no_constant_stays() -> None:
    inputs = {"x": floats(2, 4, 16), "b": floats(8)}
    graph = Graph("bias before Conv", [node("Conv", "x w b", pads=[2, 0])], inputs, {"w": floats(8, 4, 2)})
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_a_cubic_sample_is_the_same_within_the_picture_and_beyond(padding: str, aligned: int) -> None:
    extra = {"mode": "cubic", "padding_mode": padding, "align_corners": aligned}
    inputs = {"x": floats(2, 3, 6, 7), "points": 1.5 * POINTS}
    graph = Graph("cubic GridSample as products", [node("GridSample", "x points", **extra)], inputs)
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_a_softmax_of_masked_numbers_is_the_same(axis: int) -> None:
    x = floats(2, 4, 8)
    x[:, :2, 5:] = -6e4
    x[1, 3] = -6e4
    graph = Graph("Softmax as powers over their sum", [node("Softmax", "x", axis=axis)], {"x": x})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", ["add", "max", "min"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_scatter_reduces_the_same(axis: int, reduction: str) -> None:
    shape = [2, 4, 3]
    shape[axis] = 7
    inputs = {"x": floats(2, 4, 3), "i": RANDOM.integers(-2, 2, shape), "u": floats(*shape)}
    graph = Graph(
        REFUSED["scatter: add"].rewrite, [node("ScatterElements", "x i u", axis=axis, reduction=reduction)], inputs
    )
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-5)


def test_a_scatter_to_a_part_of_the_other_axes_stays() -> None:
    nodes = [node("ScatterElements", "x i u", axis=1, reduction="add")]
    graph = Graph("", nodes, {"x": floats(3, 6), "i": PLACES, "u": floats(2, 3)})
    assert not rewrite_fixed(graph.model(), graph.sizes()).counts


POOLED: dict[str, dict[str, Any]] = {
    "strides": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]},
    "one side": {"kernel_shape": [2, 4], "pads": [0, 1, 1, 2]},
    "to the end": {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [0, 1, 0, 0]},
    "counted": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "count_include_pad": 1},
    "one axis": {"kernel_shape": [3], "pads": [1, 1]},
}


@pytest.mark.parametrize("extra", POOLED.values(), ids=POOLED)
def test_an_average_leaves_its_padding_out(extra: dict[str, Any]) -> None:
    x = floats(2, 3, *[8] * len(extra["kernel_shape"]))
    graph = Graph("AveragePool with its padding", [node("AveragePool", "x", **extra)], {"x": x})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strides", [[1, 2], [3, 1], [2, 2], [2]])
def test_every_other_place_is_convolved_the_same(strides: list[int]) -> None:
    ones = [1] * len(strides)
    nodes = [node("Conv", "x w", kernel_shape=ones, strides=strides, group=4)]
    x = floats(2, 4, *[7, 9][: len(strides)])
    graph = Graph("strides of Conv as Slice", nodes, {"x": x}, {"w": floats(8, 1, *ones)})
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-6)


@pytest.mark.parametrize("mode", ["edge", "wrap"])
def test_an_edge_is_padded_with_the_same(mode: str) -> None:
    pads = {"p": whole(0, 1, 2, 1, 0, 0, 3, 1)}
    graph = Graph("Pad as Gather", [node("Pad", "x p", mode=mode)], {"x": floats(2, 3, 4, 5)}, pads)
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())
