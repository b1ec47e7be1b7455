"""Whole numbers on Qualcomm's HTP: wrong as they are, right rewritten, and the same. What comes out right as it is says that
the rewrite is no longer needed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from onnxruntime.capi.onnxruntime_pybind11_state import EPFail
from qualcomm_graphs import BOUND, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

WHOLE = {
    "Max": ([node("Max", "x bound", "best")], "min", [3, 0, 0]),
    "Min": ([node("Min", "x bound", "best")], "max", [-1, -5, -1]),
    "Where": ([node("Less", "x zero", "below"), node("Where", "below bound x", "best")], "max", [3, -1, 0]),
}


@pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE)
def test_whole_numbers_are_what_int32_holds(case: tuple[list[NodeProto], str, list[int]]) -> None:
    nodes, bound, wrong = case
    constants = {"bound": np.array(getattr(np.iinfo(np.int64), bound)), "zero": np.array(0)}
    nodes = [*nodes, node("Clip", "best low high", "near"), node("Cast", "near", to=1)]
    ends = {"low": np.array(-100), "high": np.array(100)}
    graph = Graph("clamped whole numbers", nodes, {"x": whole(3, -5, 0)}, constants | ends)
    assert graph.on_the_htp(fixed=False).tolist() == wrong, "the HTP counts in int64 now"
    assert graph.on_the_htp(fixed=True).tolist() == graph.expected().tolist() == graph.rewritten_on_the_cpu().tolist()


@pytest.mark.parametrize("divisor", [2, 4, 256])
def test_negative_numbers_are_divided_towards_zero(divisor: int) -> None:
    nodes = [node("Div", "x d", "quotient"), node("Cast", "quotient", to=1)]
    graph = Graph("whole numbers divided towards zero", nodes, {"x": np.arange(-300, 300)}, {"d": np.array(divisor)})
    expected = graph.expected().tolist()
    assert graph.on_the_htp(fixed=False).tolist() != expected, "the HTP divides them towards zero now"
    assert graph.on_the_htp(fixed=True).tolist() == expected == graph.rewritten_on_the_cpu().tolist()


@pytest.mark.parametrize("divisor", [7, 16384])
def test_what_a_division_leaves_is_counted(divisor: int) -> None:
    nodes = [node("Mod", "x d", "left"), node("Cast", "left", to=1)]
    x = np.array([5, 184, 57_345, 3_383_414, -1, -2_050, -57_344])
    graph = Graph("Mod of whole numbers as what is left", nodes, {"x": x}, {"d": np.array(divisor)})
    expected = graph.expected().tolist()
    assert not np.allclose(graph.on_the_htp(fixed=False), expected), "the HTP counts what is left now"
    assert graph.on_the_htp(fixed=True).tolist() == expected == graph.rewritten_on_the_cpu().tolist()


def test_other_divisions_stay() -> None:
    nodes = [node("Div", "x d", "quotient"), node("Cast", "quotient", to=1)]
    for divisor in (np.array(5), np.array(-2), np.array([2, 4])):
        graph = Graph("", nodes, {"x": whole(3, -5)}, {"d": divisor})
        assert not rewrite_fixed(graph.model(), graph.sizes()).counts
    halves = Graph("", [node("Div", "x d")], {"x": np.ones((2, 3), np.float32)}, {"d": np.array(2, np.float32)})
    assert not rewrite_fixed(halves.model(), halves.sizes()).counts


@pytest.mark.parametrize("between", ["", "Transpose"])
def test_a_fraction_is_cut_off_between_two_casts(between: str) -> None:
    nodes = [node("Cast", "x", "number", to=7), node("Cast", "moved" if between else "number", to=1)]
    if between:
        nodes.insert(1, node(between, "number", "moved"))
    x = np.array([[-2.75, -2.5, -0.5], [0.25, 1.5, 2.75]], np.float32)
    graph = Graph("fractions cut off", nodes, {"x": x})
    expected = graph.expected()
    if not between:
        assert not np.allclose(graph.on_the_htp(fixed=False), expected), "the HTP cuts it off now"
    np.testing.assert_allclose(graph.on_the_htp(fixed=True), expected, rtol=1e-6)
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), expected)


PADS = {"p": whole(1, 0, 2, 3)}
NUMBERS = {"seven": np.array(7), "last": whole(-1)}
REFUSED = {
    "numbers padded": ("Pad as Gather", [node("Pad", "x p seven", "z"), node("Cast", "z", to=1)]),
    "masks padded": (
        "Pad as Gather",
        [node("Less", "x seven", "true"), node("Pad", "true p", "z"), node("Cast", "z", to=1)],
    ),
    "product": (
        "ReduceProd as Mul",
        [node("ReduceProd", "x last", "z", keepdims=0), node("Cast", "z", to=1)],
    ),
    "product that keeps its axis": ("ReduceProd as Mul", [node("ReduceProd", "x last", "z"), node("Cast", "z", to=1)]),
    "negative": ("Neg of whole numbers as Sub", [node("Neg", "x", "z"), node("Cast", "z", to=1)]),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_as_it_is_and_taken_rewritten(case: tuple[str, list[NodeProto]]) -> None:
    graph = Graph(*case, {"x": np.array([[3, 9, -7], [0, 6, 8]])}, {**NUMBERS, **PADS})
    with pytest.raises(NotOnHardware, match="the HTP does not take"):
        graph.on_the_htp(fixed=False)
    expected = graph.expected()
    np.testing.assert_allclose(graph.on_the_htp(fixed=True), expected, rtol=1e-6)
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), expected)


def test_whole_numbers_that_are_turned_come_out() -> None:
    nodes = [
        node("ArgMin", "x", "row", axis=-1, keepdims=1),
        node("Concat", "row row", "rows", axis=1),
        node("Transpose", "rows", perm=[1, 0]),
    ]
    graph = Graph("outputs of whole numbers plus 0", nodes, {"x": floats(7, 40)}, output=TensorProto.INT64)
    with pytest.raises(EPFail, match="size does not match"):
        graph.on_the_htp(fixed=False)
    assert graph.on_the_htp(fixed=True).tolist() == graph.expected().tolist() == graph.rewritten_on_the_cpu().tolist()


def doubles(output: int) -> Graph:
    nodes = [node("Cast", "x", "long", to=TensorProto.DOUBLE)]
    nodes.append(node("Clip", "long low high", "y" if output == TensorProto.DOUBLE else "near"))
    if output == TensorProto.FLOAT:
        nodes += [node("Cast", "near", "whole", to=TensorProto.INT64), node("Cast", "whole", to=TensorProto.FLOAT)]
    constants = {"low": np.array(-9.0), "high": np.array(9.0)}
    return Graph("doubles as floats", nodes, {"x": 8 * floats(4, 2)}, constants, output)


def test_doubles_are_floats() -> None:
    graph = doubles(TensorProto.FLOAT)
    with pytest.raises((NotOnHardware, EPFail)):  # no longer: then the rewrite can go
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-6)
    returned = doubles(TensorProto.DOUBLE)
    assert returned.rewrite not in rewrite_fixed(returned.model(), returned.sizes()).counts


ROWS = np.stack([np.arange(32) % 5, np.arange(32) % 7], axis=1)
PLACES = np.arange(32)[::-1].copy()


@pytest.mark.parametrize("table", ["an input", "a constant"])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_rows_of_whole_numbers_are_read_before_the_end(kind: type[np.integer[Any]], table: str) -> None:
    nodes = [node("Gather", "rows places", "taken"), node("Cast", "taken", to=1)]
    rows = {"rows": ROWS.astype(kind)}
    inputs, constants = ({"places": PLACES} | rows, {}) if table == "an input" else ({"places": PLACES}, rows)
    graph = Graph("rows of whole numbers with one behind", nodes, inputs, constants)
    expected = graph.expected().tolist()
    assert graph.on_the_htp(fixed=False).tolist()[0] != expected[0], "the HTP reads the last row now"
    assert graph.on_the_htp(fixed=True).tolist() == expected == graph.rewritten_on_the_cpu().tolist()


@pytest.mark.parametrize("constant", [True, False])
def test_places_from_the_end_of_a_table_stay(constant: bool) -> None:
    nodes = [node("Gather", "rows places", "taken"), node("Cast", "taken", to=1)]
    places = {"places": np.where(PLACES % 3, PLACES, PLACES - 32)}
    inputs, constants = ({"rows": ROWS}, places) if constant else ({"rows": ROWS, **places}, {})
    graph = Graph("rows of whole numbers with one behind", nodes, inputs, constants)
    expected = graph.expected().tolist()
    assert graph.on_the_htp(fixed=True).tolist() == expected == graph.rewritten_on_the_cpu().tolist()


@pytest.mark.parametrize(
    ("table", "places", "axis"),
    [
        (ROWS[:, 0].copy(), PLACES, 0),
        (ROWS.astype(np.float32), PLACES, 0),
        (ROWS, whole(1), 0),
        (ROWS.T.copy(), PLACES, 1),
    ],
    ids=["one column", "floats", "one place", "columns"],
)
def test_other_tables_are_read_as_they_are(table: NDArray[Any], places: NDArray[Any], axis: int) -> None:
    nodes = [node("Gather", "rows places", "taken", axis=axis), node("Cast", "taken", to=1)]
    graph = Graph("", nodes, {"rows": table}, {"places": places})
    assert not rewrite_fixed(graph.model(), graph.sizes()).counts
    assert departure(graph.expected(), graph.on_the_htp(fixed=False)) < BOUND, "this one is to be rewritten, too"


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (np.int32, [1, 2, 1, 1, 3]),
        (np.int32, [1, 1, 1, 1, 3]),
        (np.int64, [1, 1, 1, 1, 3]),
    ],
)
def test_whole_numbers_are_repeated_by_expanding(kind: type[np.integer[Any]], counts: list[int]) -> None:
    x = np.array([[[[3, -5], [1 << 20, 0]]]], kind)
    nodes = [
        node("Unsqueeze", "x last", "five"),
        node("Tile", "five counts", "tiled"),
        node("Reshape", "tiled row", "flat"),
    ]
    nodes.append(node("Cast", "flat", to=1))
    constants = {"last": whole(4), "counts": whole(*counts), "row": whole(-1)}
    graph = Graph("Tile of whole numbers as Expand", nodes, {"x": x}, constants)
    if kind is np.int32:  # one of int64 ends the process
        with pytest.raises(NotOnHardware, match="the HTP does not take Tile"):  # no longer: then the rewrite can go
            graph.on_the_htp(fixed=False)
    expected = graph.expected().tolist()
    assert graph.on_the_htp(fixed=True).tolist() == expected == graph.rewritten_on_the_cpu().tolist()


SINGLE = Graph(
    "Tile by ones left out",
    [node("Relu", "x", "z"), node("Tile", "z counts")],
    {"x": floats(1, 1, 64, 4, 4)},
    {"counts": whole(1, 1, 1, 1, 1)},
)


def test_what_repeats_nothing_is_left_out() -> None:
    np.testing.assert_array_equal(SINGLE.rewritten_on_the_cpu(), SINGLE.expected())
    assert departure(SINGLE.expected(), SINGLE.on_the_htp(fixed=True)) < BOUND
    twice = SINGLE._replace(constants={"counts": whole(1, 2, 1, 1, 1)})
    assert SINGLE.rewrite not in rewrite_fixed(twice.model(), twice.sizes()).counts


def test_what_repeats_nothing_ends_the_process_as_it_is() -> None:
    script = "from test_qualcomm_whole import SINGLE; SINGLE.on_the_htp(fixed=False)"
    ended = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGSEGV, "QNN takes it itself now"


def test_floats_and_fewer_axes_are_repeated_as_they_are() -> None:
    constants = {"counts": whole(1, 1, 1, 2, 1)}
    x = np.ones((1, 1, 1, 2, 1), np.int64)
    several = Graph("", [node("Tile", "x counts")], {"x": x}, constants, TensorProto.INT64)
    assert not rewrite_fixed(several.model(), several.sizes()).counts
    for x, output in ((floats(2, 1, 1, 1, 1), TensorProto.FLOAT), (np.ones((2, 1), np.int64), TensorProto.INT64)):
        counts = {"counts": whole(*[1] * (x.ndim - 1), 3)}
        graph = Graph("", [node("Tile", "x counts")], {"x": x}, counts, output)
        assert not rewrite_fixed(graph.model(), graph.sizes()).counts


def test_booleans_are_given_as_whole_numbers() -> None:
    nodes = [node("Less", "x zero", "below"), node("Cast", "below", to=TensorProto.INT64)]
    graph = Graph(
        "outputs of Booleans as numbers", nodes, {"x": whole(3, -5, 0)}, {"zero": np.array(0)}, TensorProto.INT64
    )
    with pytest.raises(NotOnHardware, match="does not take Cast"):
        graph.on_the_htp(fixed=False)
    assert graph.on_the_htp(fixed=True).tolist() == [0, 1, 0] == graph.rewritten_on_the_cpu().tolist()
