"""Scatters and gathers that Qualcomm's HTP does not take, written another way where the shapes are known."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .qualcomm_fixed import LARGEST, Known, attributes
from .qualcomm_operators import replace_nodes

MOST = 2**25
"""Of more comparisons than this the HTP would have no room for the result."""


def scatter_by_comparison(known: Known) -> int:
    """``ScatterElements`` that adds, or keeps the largest or smallest, as a reduction over the updates of those whose index is
    that of the place: the HTP takes none that reduces (tapas, whose cells are means of tokens)."""

    def compared(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "ScatterElements" or known.type(node.input[0]) != TensorProto.FLOAT:
            return None
        reduction = attributes(node).get("reduction", b"none").decode()
        shape, taken = known.shape(node.input[0]), known.shape(node.input[1])
        if reduction not in _REDUCED or shape is None or taken is None:
            return None
        axis = attributes(node).get("axis", 0) % len(shape)
        before, behind = prod(shape[:axis]), prod(shape[axis + 1 :])
        if (*taken[:axis], *taken[axis + 1 :]) != (*shape[:axis], *shape[axis + 1 :]):
            return None
        if before * behind * shape[axis] * taken[axis] > MOST:
            return None
        return _compared(known, node, reduction, (before, shape[axis], taken[axis], behind))

    return replace_nodes(known.graph, compared)


_REDUCED = {
    "add": ("ReduceSum", "Add", 0.0),
    "max": ("ReduceMax", "Max", -LARGEST),
    "min": ("ReduceMin", "Min", LARGEST),
}
"""How the updates of a place are reduced, how the result joins what is there, and what stands for no update."""


def _compared(known: Known, node: NodeProto, reduction: str, sizes: tuple[int, int, int, int]) -> list[NodeProto]:
    before, places, count, behind = sizes
    data, indices, updates = node.input
    output = node.output[0]

    def name(part: str) -> str:
        return f"{output}/{part}"

    shape = known.shape(data)
    assert shape is not None, "the caller asked for it"
    reduce, join, nothing = _REDUCED[reduction]
    along = np.arange(places, dtype=np.int32).reshape(1, places, 1, 1)
    return [
        known.reshape(indices, [before, 1, count, behind], name("row")),
        helper.make_node("Cast", [name("row")], [name("signed")], to=TensorProto.INT32),
        helper.make_node("Less", [name("signed"), known.constant(name("zero"), np.array(0, np.int32))], [name("end")]),
        helper.make_node(
            "Add", [name("signed"), known.constant(name("places"), np.array(places, np.int32))], [name("added")]
        ),
        helper.make_node("Where", [name("end"), name("added"), name("signed")], [name("index")]),
        helper.make_node("Equal", [name("index"), known.constant(name("along"), along)], [name("here")]),
        known.reshape(updates, [before, 1, count, behind], name("updates")),
        helper.make_node(
            "Where",
            [name("here"), name("updates"), known.constant(name("nothing"), np.array(nothing, np.float32))],
            [name("chosen")],
        ),
        helper.make_node(reduce, [name("chosen"), known.constant(name("axis"), [2])], [name("reduced")], keepdims=0),
        known.reshape(name("reduced"), shape, name("shaped")),
        helper.make_node(join, [data, name("shaped")], [output]),
    ]


def gather_by_a_row(known: Known) -> int:
    """``Gather`` by indices of several axes as one by a row of them: QNN's simulator 2.7 ends in an error when it runs one
    along an inner axis (the windows that gemma4's sound tower attends to, in a batch of two)."""

    def by_a_row(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Gather" or not attributes(node).get("axis", 0):
            return None
        shape, given = known.shape(node.input[1]), known.shape(node.output[0])
        if shape is None or given is None or len(shape) < 2 or 0 in given:
            return None
        output, (data, index) = node.output[0], node.input
        numbers = known.number(index)
        nodes = [] if numbers is not None else [known.reshape(index, [prod(shape)], f"{output}/row")]
        row = f"{output}/row" if numbers is None else known.constant(f"{output}/row", numbers.ravel())
        return [
            *nodes,
            helper.make_node("Gather", [data, row], [f"{output}/rows"], **attributes(node)),
            known.reshape(f"{output}/rows", given, output),
        ]

    return replace_nodes(known.graph, by_a_row)
