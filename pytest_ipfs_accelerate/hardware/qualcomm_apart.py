"""Operators that Qualcomm's HTP joins with the product before them, and computes wrongly or coarsely so, kept apart from it."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .qualcomm_fixed import LARGEST, Known, attributes
from .qualcomm_operators import MOST_AXES, replace_nodes

_PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
_KEPT = frozenset({"Add", "Sub", "Mul", "Div", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Identity"})
_VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Identity"})
_JOINED = frozenset({"Tanh", "Gelu"})


def keep_functions_apart(known: Known) -> int:
    """A ``Clip`` at what fp16 holds, which changes nothing, between a product and a ``Tanh`` or ``Gelu``: QNN's simulator 2.7
    joins the two and then reads the function from a coarse table (relative L2 5.7e-3 and 1.6e-3 on normal distributions, and
    4e-4 and 7e-4 apart; so it does a ``Sigmoid``, 3.8e-3, which is written out)."""
    behind: set[str] = set()
    for node in known.graph.node:
        if node.op_type in _PRODUCTS or (node.op_type in _KEPT and not behind.isdisjoint(node.input)):
            behind.update(node.output)

    def apart(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type not in _JOINED or node.input[0] not in behind:
            return None
        output = node.output[0]
        return [
            _apart(known, node.input[0], f"{output}/apart"),
            helper.make_node(node.op_type, [f"{output}/apart"], [output], **attributes(node)),
        ]

    return replace_nodes(known.graph, apart)


def keep_turned_heads_apart(known: Known) -> int:
    """A ``Clip`` at what fp16 holds, which changes nothing, behind the ``Reshape`` that joins the heads of an attention where
    batch, heads and tokens are as many: QNN's simulator 2.7 joins Transpose, Reshape and product, and takes one of these axes
    for another (relative L2 of 1; instructblipvideo, with four frames, heads and queries)."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def apart(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Reshape" or known.type(node.output[0]) != TensorProto.FLOAT:
            return None
        turned = by_output.get(node.input[0])
        shape = known.shape(node.input[0])
        if turned is None or turned.op_type != "Transpose" or shape is None or len(shape) != 4:
            return None
        if shape[0] == 1 or len({*shape[:3]}) > 1:
            return None
        output = node.output[0]
        joined = helper.make_node("Reshape", list(node.input), [f"{output}/joined"], **attributes(node))
        return [joined, _apart(known, f"{output}/joined", output)]

    return replace_nodes(known.graph, apart)


def keep_five_axes_apart(known: Known) -> int:
    """A ``Clip`` at what fp16 holds, which changes nothing, between a product and the ``Reshape`` that gives a batch of it five
    axes: QNN's simulator 2.7 joins the two, and gives what lies elsewhere in memory, or ends the process (the places of
    sam3_lite_text's boxes)."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def of_a_product(name: str) -> bool:
        node = by_output.get(name)
        while node is not None and node.op_type in _VIEWS:
            node = by_output.get(node.input[0])
        if node is not None and node.op_type == "Add":
            return any(of_a_product(term) for term in node.input)
        return node is not None and node.op_type in _PRODUCTS

    def apart(node: NodeProto) -> list[NodeProto] | None:
        shape = known.shape(node.output[0])
        if node.op_type not in {"Reshape", "Unsqueeze"} or shape is None or len(shape) != MOST_AXES or shape[0] == 1:
            return None
        if known.type(node.input[0]) != TensorProto.FLOAT or not of_a_product(node.input[0]):
            return None
        output = node.output[0]
        return [
            _apart(known, node.input[0], f"{output}/apart"),
            helper.make_node(node.op_type, [f"{output}/apart", *node.input[1:]], [output], **attributes(node)),
        ]

    return replace_nodes(known.graph, apart)


def _apart(known: Known, value: str, output: str) -> NodeProto:
    ends = [
        known.constant(f"{output}/{part}", np.array(sign * LARGEST, np.float32))
        for part, sign in (("least", -1), ("most", 1))
    ]
    return helper.make_node("Clip", [value, *ends], [output])
