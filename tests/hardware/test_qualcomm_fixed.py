"""Each operator that is written another way for Qualcomm's HTP once the shapes are known: refused or wrong as it is, and right
rewritten. What comes out right as it is says that the rewrite is no longer needed."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, Fail
from qualcomm_graphs import BOUND, Array, Graph, departure, floats, node, whole

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.qualcomm_axes import held, hold_fewer_axes
from pytest_ipfs_accelerate.hardware.qualcomm_fixed import Known, at_sizes
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

SCORES_OF_EXPERTS = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)  # others may be right by chance
EXPERTS = Graph(
    "GatherND as Gather",
    [
        node("TopK", "x two", "scores chosen"),
        node("Reshape", "chosen minus", "row"),
        node("Unsqueeze", "row minus", "column"),
        node("GatherND", "weights column"),
    ],
    {"x": SCORES_OF_EXPERTS},
    {"two": whole(2), "minus": whole(-1), "weights": floats(4, 6, 8)},
)
POWERS = Graph("bounded powers", [node("Exp", "x")], {"x": np.array([[-6e4, -2e4, -1e3, -100, -3, 1]], np.float32)})
SOFTPLUS = Graph("Softplus as a logarithm", [node("Softplus", "x")], {"x": floats(4, 64)})


SCORES = Graph(
    "scores scaled by a vector",
    [node("Mul", "x scale", "scores"), node("Softmax", "scores", axis=-2)],
    {"x": floats(1, 64, 16)},
    {"scale": np.array(0.125, np.float32)},
)
REFUSED = {
    **{
        f"{kind} of five axes": Graph(
            "operators over fewer axes",
            [
                node("Greater", "x zero", "true"),
                node("Unsqueeze", "true two", "five"),
                node(kind, "five true_or_not", "z"),
                node("Reshape", "z flat", "row"),
                node("Cast", "row", to=1),
            ],
            {"x": floats(4, 2, 3, 5)},
            {
                "zero": np.array(0, np.float32),
                "two": whole(2),
                "true_or_not": floats(1, 1, 2, 3, 5) > 0,
                "flat": whole(4, -1),
            },
        )
        for kind in ("And", "Or", "Xor")
    },
    "matrix": Graph(
        "operators over fewer axes",
        [node("Relu", "x", "z"), node("MatMul", "z w")],
        {"x": floats(4, 2, 2, 2, 48)},
        {"w": floats(48, 64)},
    ),
    "batches": Graph(
        "operators over fewer axes",
        [node("BatchNormalization", "x scale added mean variance", epsilon=1e-3)],
        {"x": floats(2, 4, 3, 5, 6)},
        {"scale": floats(4), "added": floats(4), "mean": floats(4), "variance": np.abs(floats(4))},
    ),
    "Booleans": Graph(
        "ScatterElements of Booleans as of numbers",
        [
            node("TopK", "x two", "best where"),
            node("ScatterElements", "none where some", "mask", axis=1),
            node("Where", "mask x zero"),
        ],
        {"x": floats(2, 6)},
        {
            "two": whole(2),
            "none": np.zeros((2, 6), bool),
            "some": np.ones((2, 2), bool),
            "zero": np.array(0, np.float32),
        },
    ),
    "rows": Graph(
        "rows put in by Concat",
        [node("ScatterElements", "x places z", axis=2)],
        {"x": floats(1, 2, 5, 3, 2), "z": floats(1, 2, 2, 3, 2)},
        {"places": np.broadcast_to(whole(1, 2).reshape(2, 1, 1), (1, 2, 2, 3, 2)).copy()},
    ),
    "sums of products": Graph(
        "Einsum as MatMul",
        [node("Einsum", "x z", equation="ibnd,jbnd->bnij")],
        {"x": floats(5, 2, 3, 4), "z": floats(5, 2, 3, 4)},
    ),
    "four axes": Graph("operators over fewer axes", [node("Neg", "x")], {"x": floats(2, 3, 4, 2, 5)}),
    "sums over five axes": Graph(
        "operators over fewer axes",
        [node("CumSum", "x axis")],
        {"x": floats(2, 3, 4, 2, 5)},
        {"axis": np.array(-2)},
    ),
    "triangle": Graph("Trilu as Where", [node("Trilu", "x", upper=0)], {"x": floats(2, 6, 6)}),
    "infinity": Graph(
        "IsInf as a comparison",
        [node("IsInf", "x", "far"), node("Where", "far one x")],
        {"x": floats(2, 6)},
        {"one": np.array(1, np.float32)},
    ),
    "axes": Graph(
        "operators over fewer axes",
        [
            node("Reshape", "x six", "apart"),
            node("Add", "apart places", "moved"),
            node("Gather", "moved one", "taken", axis=3),
            node("Reshape", "taken two"),
        ],
        {"x": floats(2, 3 * 4 * 2 * 5 * 2)},
        {"six": whole(-1, 3, 4, 2, 5, 2), "places": floats(3, 1, 2, 1, 2), "one": np.array(1), "two": whole(-1, 10)},
    ),
}


@pytest.mark.parametrize("graph", [POWERS, SOFTPLUS], ids=lambda graph: graph.rewrite)
def test_it_is_wrong_as_it_is_and_right_rewritten(graph: Graph) -> None:
    expected = graph.expected()
    assert departure(expected, graph.on_the_htp(fixed=False)) > 2 * BOUND
    assert departure(expected, graph.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize("graph", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_as_it_is_and_taken_rewritten(graph: Graph) -> None:
    with pytest.raises(NotOnHardware, match="the HTP does not take"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


def test_weights_are_gathered_by_the_indices_of_the_best() -> None:
    expected = EXPERTS.expected()
    assert departure(expected, EXPERTS.on_the_htp(fixed=False)) > 0.1, "the HTP reads the right rows itself now"
    assert departure(expected, EXPERTS.on_the_htp(fixed=True)) < BOUND


DATA = floats(2, 3, 4, 5)
GATHERED = {
    "one index": ({"batch_dims": 0}, whole(1, 0, -1).reshape(3, 1)),
    "three indices": ({"batch_dims": 0}, np.array([[[0, 2, 1], [1, 0, 3]]], np.int64)),
    "within each input": ({"batch_dims": 1}, np.array([[[2, 1], [0, 0]], [[1, 3], [2, 2]]], np.int64)),
    "within two axes": ({"batch_dims": 2}, np.array([[[2], [1], [0]], [[1], [3], [0]]], np.int64)),
}


@pytest.mark.parametrize("constant", [True, False], ids=["constant", "input"])
@pytest.mark.parametrize("case", GATHERED.values(), ids=GATHERED)
def test_a_gather_by_several_indices_takes_the_same(case: tuple[dict[str, int], Array], constant: bool) -> None:
    extra, indices = case
    if not constant:
        indices = indices % np.array(DATA.shape)[extra["batch_dims"] : extra["batch_dims"] + indices.shape[-1]]
    inputs = {"x": DATA} if constant else {"x": DATA, "i": indices}
    graph = Graph("GatherND as Gather", [node("GatherND", "x i", **extra)], inputs, {"i": indices} if constant else {})
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_a_triangle_is_the_same_part(upper: int, offset: int) -> None:
    constants = {"k": np.array(offset, np.int64)}
    graph = Graph("Trilu as Where", [node("Trilu", "x k", upper=upper)], {"x": floats(2, 4, 6)}, constants)
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())


SIX = (2, 3, 4, 2, 5, 2)
OVER_SIX: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "transposed": ([node("Transpose", "x", perm=[5, 3, 1, 4, 2, 0])], {}),
    "reversed": ([node("Transpose", "x")], {}),
    "broadcast across": ([node("Mul", "x other")], {"other": floats(2, 1, 4, 1, 5, 1)}),
    "a scalar": ([node("Add", "x other")], {"other": np.array(2, np.float32)}),
    "clipped": ([node("Clip", "x low")], {"low": np.array(-0.5, np.float32)}),
    "reduced": ([node("ReduceMean", "x axes", keepdims=0)], {"axes": whole(1, -2)}),
    "reduced to one": ([node("ReduceSum", "x", keepdims=1)], {}),
    "softmax": ([node("Softmax", "x", axis=2)], {}),
    "log softmax": ([node("LogSoftmax", "x")], {}),
    "summed up": ([node("CumSum", "x axis", reverse=1)], {"axis": np.array(-2)}),
    "sliced": (
        [node("Slice", "x starts ends axes steps")],
        {"starts": whole(1, -1), "ends": whole(9, -9), "axes": whole(2, 4), "steps": whole(2, -2)},
    ),
    "joined": ([node("Concat", "x x", axis=-3)], {}),
    "split": ([node("Split", "x", "a b", axis=2, num_outputs=2), node("Sub", "a b")], {}),
    "expanded": (
        [node("Unsqueeze", "x one", "apart"), node("Expand", "apart shape")],
        {"one": whole(1), "shape": whole(2, 7, 1, 4, 2, 5, 2)},
    ),
    "tiled": ([node("Tile", "x repeats")], {"repeats": whole(1, 2, 1, 1, 3, 1)}),
    "gathered": ([node("Gather", "x rows", axis=4)], {"rows": whole(4, 0, 2, 2).reshape(2, 2)}),
    "normalised": ([node("LayerNormalization", "x w b")], {"w": floats(2), "b": floats(2)}),
    "multiplied": ([node("MatMul", "x w")], {"w": floats(4, 1, 2, 3)}),
    "squeezed": (
        [node("Gather", "x one", "taken", axis=2), node("Squeeze", "taken axes")],
        {"one": whole(1), "axes": whole(2)},
    ),
}


@pytest.mark.parametrize("case", OVER_SIX.values(), ids=OVER_SIX)
def test_what_has_six_axes_is_the_same_over_five(case: tuple[list[NodeProto], dict[str, Array]]) -> None:
    nodes, constants = case
    if any(each.op_type == "Expand" for each in nodes):
        graph = Graph("operators over fewer axes", nodes, {"x": floats(2, 1, 4, 2, 5, 2)}, constants)
    else:
        graph = Graph("operators over fewer axes", nodes, {"x": floats(*SIX)}, constants)
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-5)
    fixed = rewrite_fixed(graph.model(), graph.sizes()).model
    known = Known(at_sizes(fixed, {"x": held(graph.inputs["x"].shape)}).graph)
    written = [known.shape(name) for each in known.graph.node for name in (*each.input, *each.output)]
    assert all(shape is not None and len(shape) <= 5 for shape in written)


def test_inputs_and_outputs_of_six_axes_go_in_and_come_out_as_such() -> None:
    graph = Graph("operators over fewer axes", [node("Add", "x x")], {"x": floats(*SIX)})
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


def test_an_operator_that_cannot_be_over_fewer_axes_stays() -> None:
    graph = Graph("", [node("Hardmax", "x")], {"x": floats(*SIX)})
    known = Known(at_sizes(graph.model(), graph.sizes()).graph)
    assert hold_fewer_axes(known) == 0


def test_scores_that_a_number_scales_are_compiled_with_a_vector() -> None:
    with pytest.raises(EPFail, match="Failed to finalize QNN graph"):
        SCORES.on_the_htp(fixed=False)
    assert departure(SCORES.expected(), SCORES.on_the_htp(fixed=True)) < BOUND


@pytest.mark.parametrize(
    "case",
    [
        "batches",
        "Booleans",
        "rows",
        "sums of products",
    ],
)
def test_a_rewrite_changes_no_number(case: str) -> None:
    np.testing.assert_allclose(REFUSED[case].rewritten_on_the_cpu(), REFUSED[case].expected(), rtol=1e-5, atol=1e-6)


EQUATIONS = {
    "bpr,bpc,rcd->bpd": [(2, 5, 4), (2, 5, 3), (4, 3, 8)],
    "bd,bkd->bk": [(2, 8), (2, 3, 8)],
    "ijbn->bnij": [(3, 4, 2, 5)],
    "abc->b": [(2, 3, 4)],
    "a,b->ba": [(2,), (3,)],
    "abx,cy->ab": [(2, 3, 4), (5, 6)],
    "bnij,jbnd->ibnd": [(2, 3, 4, 5), (5, 2, 3, 6)],
    "...pd,...qd->...pq": [(2, 3, 5, 4), (2, 3, 6, 4)],
    "...pd,qd->pq...": [(2, 5, 4), (6, 4)],
    "abcd,befc->adefb": [(2, 3, 4, 5), (3, 6, 2, 4)],
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_a_sum_of_products_is_the_same(equation: str) -> None:
    inputs = {f"x{number}": floats(*shape) for number, shape in enumerate(EQUATIONS[equation])}
    model_inputs, constants = {"x0": inputs.pop("x0")}, inputs
    graph = Graph(
        "Einsum as MatMul", [node("Einsum", " ".join(["x0", *constants]), equation=equation)], model_inputs, constants
    )
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-5)


def test_an_equation_of_another_form_stays() -> None:
    diagonal = Graph("", [node("Einsum", "x", equation="aab->ab")], {"x": floats(2, 2, 3)})
    broadcast = Graph("", [node("Einsum", "x z", equation="...a,...a->...")], {"x": floats(2, 3)}, {"z": floats(1, 3)})
    for graph in (diagonal, broadcast):
        assert "Einsum as MatMul" not in rewrite_fixed(graph.model(), graph.sizes()).counts


@pytest.mark.parametrize(("image", "patch", "channels"), [((4, 6), (2, 3), 5), ((4, 4), (4, 1), 1)])
def test_patches_are_laid_out_beside_each_other(image: tuple[int, int], patch: tuple[int, int], channels: int) -> None:
    places = (image[0] // patch[0]) * (image[1] // patch[1])
    graph = Graph(
        "Col2Im as Transpose",
        [node("Col2Im", "x image patch", strides=list(patch))],
        {"x": floats(2, channels * patch[0] * patch[1], places)},
        {"image": whole(*image), "patch": whole(*patch)},
    )
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())
    with pytest.raises(NotOnHardware, match="Col2Im"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


OVERLAP = {
    "strides": ({"strides": [1, 1]}, floats(1, 4, 9)),
    "pads": ({"strides": [2, 2], "pads": [1, 1, 1, 1]}, floats(1, 4, 9)),
    "dilations": ({"strides": [2, 2], "dilations": [2, 2]}, floats(1, 4, 1)),
}


@pytest.mark.parametrize("case", OVERLAP.values(), ids=OVERLAP)
def test_patches_that_overlap_stay(case: tuple[dict[str, list[int]], Array]) -> None:
    extra, columns = case
    nodes = [node("Col2Im", "x image patch", **extra)]
    graph = Graph("Col2Im as Transpose", nodes, {"x": columns}, {"image": whole(4, 4), "patch": whole(2, 2)})
    assert graph.expected().shape == (1, 1, 4, 4)
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


@pytest.mark.parametrize("channels", [1, 3])
def test_pieces_that_overlap_are_a_sum_of_their_parts(channels: int) -> None:
    graph = Graph(
        "Col2Im as a sum",
        [node("Col2Im", "x image patch", strides=[1, 4])],
        {"x": floats(2, channels * 12, 5)},
        {"image": whole(1, 28), "patch": whole(1, 12)},
    )
    np.testing.assert_allclose(graph.rewritten_on_the_cpu(), graph.expected(), rtol=1e-5, atol=1e-6)
    with pytest.raises(NotOnHardware, match="Col2Im"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND


OTHER_PIECES: dict[str, tuple[dict[str, list[int]], list[int], list[int]]] = {
    "not to the end": ({"strides": [1, 4]}, [1, 29], [1, 12]),
    "pads": ({"strides": [1, 4], "pads": [0, 1, 0, 1]}, [1, 28], [1, 12]),
    "dilations": ({"strides": [1, 1], "dilations": [1, 2]}, [1, 5], [1, 1]),
    "two rows": ({"strides": [1, 4]}, [2, 28], [2, 12]),
}


@pytest.mark.parametrize("case", OTHER_PIECES.values(), ids=OTHER_PIECES)
def test_other_pieces_stay(case: tuple[dict[str, list[int]], list[int], list[int]]) -> None:
    extra, image, patch = case
    nodes = [node("Col2Im", "x image patch", **extra)]
    constants = {"image": whole(*image), "patch": whole(*patch)}
    graph = Graph("Col2Im as a sum", nodes, {"x": floats(1, patch[0] * patch[1], 5)}, constants)
    assert graph.expected().shape == (1, 1, *image)
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


def test_weights_of_a_convolution_and_its_inverse_are_copied() -> None:
    nodes = [
        node("ConvTranspose", "x w", "longer", strides=[2], group=4),
        node("Sin", "longer", "wave"),
        node("Conv", "wave w", strides=[2], group=4),
    ]
    graph = Graph("weights of their own", nodes, {"x": floats(1, 4, 50)}, {"w": floats(4, 1, 12) / np.float32(4)})
    np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())
    with pytest.raises(Fail, match="was inserted using the NHWC format"):
        graph.on_the_htp(fixed=False)
    assert departure(graph.expected(), graph.on_the_htp(fixed=True)) < BOUND
    apart = [*nodes[:2], node("Conv", "wave v", group=4)]
    graph = graph._replace(nodes=apart, constants={**graph.constants, "v": floats(4, 1, 12)})
    assert graph.rewrite not in rewrite_fixed(graph.model(), graph.sizes()).counts


@pytest.mark.parametrize("places", [[[0], [1]], [[2], [2]]], ids=["apart", "last"])
def test_rows_are_put_in_only_where_they_lie_beside_each_other(places: list[list[int]]) -> None:
    graph = Graph(
        "rows put in by Concat",
        [node("ScatterElements", "x places z", axis=1)],
        {"x": floats(2, 3), "z": floats(2, 1)},
        {"places": np.array(places)},
    )
    counts = rewrite_fixed(graph.model(), graph.sizes()).counts
    assert list(counts) == ([graph.rewrite] if places[0] == places[1] else [])
    if counts:
        np.testing.assert_array_equal(graph.rewritten_on_the_cpu(), graph.expected())
