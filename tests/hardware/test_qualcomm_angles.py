"""Sines of positions times frequencies: wrong on Qualcomm's HTP as they are, right from tables, and the same numbers. What
comes out right as it is says that the tables are no longer needed."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from qualcomm_graphs import BOUND, Array, Graph, departure, node, whole

from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

FREQUENCIES = (10_000.0 ** (-np.arange(0, 16, 2) / 16)).astype(np.float32)
POSITIONS = np.array([[0, 1, 2, 39, 255, 256], [-3, -256, 131_071, 1_000, -300, 513]])
CAST = [node("Unsqueeze", "p axis", "apart"), node("Cast", "apart", "whole", to=1)]

FORMS: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "Mul": ([*CAST, node("Mul", "whole f", "angles")], {"axis": whole(2), "f": FREQUENCIES}),
    "MatMul of a column": (
        [*CAST, node("MatMul", "whole f", "angles")],
        {"axis": whole(2), "f": FREQUENCIES[None, None]},
    ),
    "MatMul of a row": (
        [*CAST, node("MatMul", "f whole", "product"), node("Transpose", "product", "angles", perm=[0, 2, 1])],
        {"axis": whole(1), "f": np.stack([FREQUENCIES[:, None]] * 2)},
    ),
    "joined, cut and turned": (
        [
            *CAST,
            node("Mul", "f whole", "product"),
            node("Concat", "product f product", "joined", axis=2),
            node("Split", "joined", "one angles other", axis=2, num_outputs=3),
        ],
        {"axis": whole(2), "f": np.broadcast_to(FREQUENCIES, (2, 6, 8)).copy()},
    ),
    "one frequency": ([*CAST, node("Mul", "whole f", "angles")], {"axis": whole(2), "f": np.array(0.5, np.float32)}),
}


def sines(form: str, kind: str, positions: Array = POSITIONS) -> Graph:
    nodes, constants = FORMS[form]
    return Graph("sines from tables", [*nodes, node(kind, "angles")], {"p": positions}, constants)


@pytest.mark.parametrize("kind", ["Sin", "Cos"])
@pytest.mark.parametrize("form", FORMS)
def test_the_sines_of_positions_are_the_same(form: str, kind: str) -> None:
    graph = sines(form, kind)
    # Of position 131,071 an fp32 counts by 1/128, which is as far as the reference may be off.
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), atol=1 / 256)
    near = sines(form, kind, POSITIONS % 100)
    np.testing.assert_allclose(near.rewritten_on_the_cpu(), near.expected(), atol=1e-5)


@pytest.mark.parametrize("kind", ["Sin", "Cos"])
@pytest.mark.parametrize("form", ["Mul", "MatMul of a row"])
def test_they_are_wrong_as_they_are_and_right_from_tables(form: str, kind: str) -> None:
    graph = sines(form, kind, 30 + np.arange(12).reshape(2, 6))
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND / 4


def test_both_functions_of_an_angle_read_the_same_rows() -> None:
    graph = sines("Mul", "Sin")
    graph.nodes[-1].output[0] = "sine"
    graph = graph._replace(nodes=[*graph.nodes, node("Cos", "angles", "cosine"), node("Mul", "sine cosine")])
    fixed = rewrite_fixed(graph.model(), graph.sizes())
    assert fixed.counts == {graph.rewrite: 2}
    assert sum(each.op_type == "Div" for each in fixed.model.graph.node) == 1
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), atol=1 / 256)


@pytest.mark.parametrize("why", ["no whole numbers", "an axis of both", "shifted"])
def test_other_angles_stay(why: str) -> None:
    nodes, constants = FORMS["Mul"]
    graph = {
        "no whole numbers": Graph(
            "", [node("Mul", "x f", "angles"), node("Sin", "angles")], {"x": np.ones((2, 8), np.float32)}, constants
        ),
        "an axis of both": Graph(
            "",
            [node("Cast", "p", "whole", to=1), node("Mul", "whole f", "angles"), node("Sin", "angles")],
            {"p": np.ones((2, 8), np.int64)},
            constants,
        ),
        "shifted": Graph(
            "", [*nodes, node("Add", "angles f", "more"), node("Sin", "more")], {"p": POSITIONS}, constants
        ),
    }[why]
    assert not rewrite_fixed(graph.model(), graph.sizes()).counts
