"""RMSNorms, of which Qualcomm's HTP makes one operator that depends on their sizes: written out so that they are right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnx import NodeProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import replace_nodes

MOST_INPUTS, SHORTEST = 8, 64
"""Of more inputs than these, or vectors shorter than these, the one operator is wrong at some lengths."""


LARGE, LESS = 128, 2.0**-9
"""A vector with a number beyond the first is multiplied with the second before it is squared, which costs no digit."""


class _Norm(NamedTuple):
    """What an RMSNorm norms, along which axes, and what it adds to the mean of squares."""

    x: str
    axes: str
    epsilon: float


def divide_in_norms(known: Known) -> int:
    """An RMSNorm over the last of four axes (of the queries and keys of each head), or over another axis than the last (of the
    channels of a sound), that divides, where it multiplied with a ``Reciprocal``: QNN's simulator 2.7 takes the latter for one
    operator, whose numbers are others (relative L2 0.7 to 1e3; over channels those of all inputs of a batch but the first). So
    are they over the last of three axes for more than eight inputs or short vectors: of 9 x 40 x 64, 16 x 4 x 16 (the heads of
    glm_ocr's patches) and 2 x 40 x 16, and right of 8 x 40 x 64.

    The one operator squares in more than fp16, which ends at 256 squared; here a large vector is made smaller first (the mixers
    of nemo_speechlm, of 1,000)."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def divided(node: NodeProto) -> list[NodeProto] | None:
        if (norm := _norm(known, by_output, node)) is None:
            return _divided(known, by_output, node)
        return None if _right(known, norm) else _written_out(known, norm, node.output[0])

    return replace_nodes(known.graph, divided)


def _divided(known: Known, by_output: dict[str, NodeProto], node: NodeProto) -> list[NodeProto] | None:
    """Another product with an inverse root, over four axes or one that is not the last: by the length of a vector, in linear
    attention, or by a variance that is computed otherwise."""
    shape = known.shape(node.output[0])
    if node.op_type != "Mul" or shape is None:
        return None
    for x, factor in (node.input, node.input[::-1]):
        inverse = by_output.get(factor)
        root = by_output.get(inverse.input[0]) if inverse is not None and inverse.op_type == "Reciprocal" else None
        if inverse is None or root is None or root.op_type != "Sqrt" or known.shape(x) != shape:
            continue
        normed = known.shape(inverse.input[0])
        if len(shape) > 3 or (normed and normed[-1] > 1):
            return [helper.make_node("Div", [x, inverse.input[0]], list(node.output))]
    return None


def _norm(known: Known, by_output: dict[str, NodeProto], node: NodeProto) -> _Norm | None:
    """The RMSNorm that a product with an inverse root ends."""
    if node.op_type != "Mul":
        return None
    for x, name in (node.input, node.input[::-1]):
        chain: list[NodeProto] = []
        for kind in ("Reciprocal", "Sqrt", "Add", "ReduceMean"):
            found = by_output.get(name)
            if found is None or found.op_type != kind:
                break
            chain.append(found)
            name = found.input[0]
        if len(chain) < 4 or not _is_square(known, by_output.get(name), x):
            continue
        *_, added, mean = chain
        epsilon = known.number(added.input[1])
        if epsilon is not None and epsilon.size == 1 and len(mean.input) > 1 and attributes(mean).get("keepdims", 1):
            return _Norm(x, mean.input[1], float(epsilon.item()))
    return None


def _is_square(known: Known, node: NodeProto | None, x: str) -> bool:
    if node is None or node.input[0] != x:
        return False
    power = known.number(node.input[1]) if node.op_type == "Pow" else None
    return (node.op_type == "Mul" and node.input[1] == x) or (power is not None and bool(np.all(power == 2)))


def _right(known: Known, norm: _Norm) -> bool:
    """Whether the one operator has the right numbers."""
    shape, axes = known.shape(norm.x), known.number(norm.axes)
    if shape is None or axes is None:
        return True
    if axes.tolist() not in ([-1], [len(shape) - 1]):
        return False
    return len(shape) < 3 or (
        len(shape) == 3 and (shape[0] == 1 or (shape[0] <= MOST_INPUTS and shape[-1] >= SHORTEST))
    )


def _written_out(known: Known, norm: _Norm, output: str) -> list[NodeProto]:
    def name(part: str) -> str:
        return f"{output}/{part}"

    numbers = {
        "large": LARGE,
        "less": LESS,
        "one": 1,
        "epsilon": norm.epsilon,
        "less_epsilon": norm.epsilon * LESS**2,
    }
    constant = {part: known.constant(name(part), np.array(value, np.float32)) for part, value in numbers.items()}
    return [
        helper.make_node("Abs", [norm.x], [name("sizes")]),
        helper.make_node("ReduceMax", [name("sizes"), norm.axes], [name("largest")], keepdims=1),
        helper.make_node("Greater", [name("largest"), constant["large"]], [name("is_large")]),
        helper.make_node("Where", [name("is_large"), constant["less"], constant["one"]], [name("scale")]),
        helper.make_node("Where", [name("is_large"), constant["less_epsilon"], constant["epsilon"]], [name("added")]),
        helper.make_node("Mul", [norm.x, name("scale")], [name("scaled")]),
        helper.make_node("Mul", [name("scaled"), name("scaled")], [name("squares")]),
        helper.make_node("ReduceMean", [name("squares"), norm.axes], [name("mean")], keepdims=1),
        helper.make_node("Add", [name("mean"), name("added")], [name("sum")]),
        helper.make_node("Sqrt", [name("sum")], [name("divisor")]),
        helper.make_node("Div", [name("scaled"), name("divisor")], [output]),
    ]
