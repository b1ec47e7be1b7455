"""RMSNorms, of which Qualcomm's HTP makes one operator that depends on their sizes, and squares: written out so that they are
right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from onnx import NodeProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import drop_unused, replace_nodes

MOST_INPUTS, SHORTEST = 8, 64
"""Of more inputs than these, or vectors shorter than these, the one operator is wrong at some lengths."""

SCALED = """
norm (float x, int64[1] axes, float epsilon, float less_epsilon) => (float y)
<float large = {128}, float less = {0.001953125}, float one = {1}> {
    sizes = Abs (x)
    largest = ReduceMax <keepdims = 1> (sizes, axes)
    is_large = Greater (largest, large)
    scale = Where (is_large, less, one)
    added = Where (is_large, less_epsilon, epsilon)
    scaled = Mul (x, scale)
    squares = Mul (scaled, scaled)
    mean = ReduceMean <keepdims = 1> (squares, axes)
    sum = Add (mean, added)
    divisor = Sqrt (sum)
    y = Div (scaled, divisor)
}
"""
"""An RMSNorm that divides. The one operator squares in more than fp16, which ends at 256 squared: here a vector with a number
beyond 128 is multiplied with 2^-9 first, which costs none of its digits (the mixers of nemo_speechlm, of 1,000)."""

LESS = 2.0**-9


class _Norm(NamedTuple):
    """What an RMSNorm norms, along which axes, what it adds to the mean of squares, and these."""

    x: str
    axes: str
    epsilon: float
    squares: str


def divide_in_norms(known: Known) -> int:
    """An RMSNorm over the last of four axes (of the queries and keys of each head), or over another axis than the last (of the
    channels of a sound), that divides (:data:`SCALED`), where it multiplied with a ``Reciprocal``: QNN's simulator 2.7 takes
    the latter for one operator, whose numbers are others (relative L2 0.7 to 1e3; over channels those of all inputs of a batch
    but the first). So are they over the last of three axes for more than eight inputs or short vectors: of 9 x 40 x 64, 16 x 4
    x 16 (the heads of glm_ocr's patches) and 2 x 40 x 16, and right of 8 x 40 x 64.

    So does another product with an inverse root: by the length of a vector, in linear attention, or by a variance that is
    computed otherwise."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def divided(node: NodeProto) -> list[NodeProto] | None:
        found = None
        for x, root in _by_inverse_roots(by_output, node):
            if (norm := _norm(known, by_output, x, root)) is not None:
                return None if _right(known, norm) else _written_out(known, norm, node.output[0])
            shape, normed = known.shape(x), known.shape(root.output[0])
            wrong = shape is not None and (len(shape) > 3 or (normed and normed[-1] > 1))
            if wrong and shape == known.shape(node.output[0]):
                found = found or [helper.make_node("Div", [x, root.output[0]], list(node.output))]
        return found

    if changed := replace_nodes(known.graph, divided):
        drop_unused(known.graph)
    return changed


def _by_inverse_roots(by_output: dict[str, NodeProto], node: NodeProto) -> Iterator[tuple[str, NodeProto]]:
    """What a product multiplies, and the root by whose inverse."""
    for x, factor in (node.input, node.input[::-1]) if node.op_type == "Mul" else ():
        inverse = by_output.get(factor)
        root = by_output.get(inverse.input[0]) if inverse is not None and inverse.op_type == "Reciprocal" else None
        if root is not None and root.op_type == "Sqrt":
            yield x, root


def _norm(known: Known, by_output: dict[str, NodeProto], x: str, root: NodeProto) -> _Norm | None:
    """The RMSNorm whose root this is: of a number and the mean of the squares of ``x``."""
    added = by_output.get(root.input[0])
    mean = by_output.get(added.input[0]) if added is not None and added.op_type == "Add" else None
    if added is None or mean is None or mean.op_type != "ReduceMean" or len(mean.input) < 2:
        return None
    epsilon = known.number(added.input[1])
    if epsilon is None or epsilon.size != 1 or not attributes(mean).get("keepdims", 1):
        return None
    if not _is_square(known, by_output.get(mean.input[0]), x):
        return None
    return _Norm(x, mean.input[1], float(epsilon.item()), mean.input[0])


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
    epsilon, less_epsilon = (
        known.constant(f"{output}/{part}", np.array(value, np.float32))
        for part, value in (("epsilon", norm.epsilon), ("less_epsilon", norm.epsilon * LESS**2))
    )
    inputs = {"x": norm.x, "axes": norm.axes, "epsilon": epsilon, "less_epsilon": less_epsilon}
    return known.formula(SCALED, inputs, output)


def multiply_into_powers(known: Known) -> int:
    """The second and the fourth power as products: by QNN's simulator 2.7 those of -0.0, which is what its ``Sin`` gives of a
    small negative number (the sounds of pe_audio), are -4 and 16. Where a square is part of the one operator of a norm, it is
    not a power."""
    by_output = {name: node for node in known.graph.node for name in node.output}
    normed = {
        norm.squares
        for node in known.graph.node
        for x, root in _by_inverse_roots(by_output, node)
        if (norm := _norm(known, by_output, x, root)) is not None
    }

    def multiplied(node: NodeProto) -> list[NodeProto] | None:
        power = known.number(node.input[1]) if node.op_type == "Pow" else None
        if power is None or power.size != 1 or power.item() not in (2, 4) or node.output[0] in normed:
            return None
        if known.shape(node.output[0]) != known.shape(node.input[0]):
            return None
        x, output = node.input[0], node.output[0]
        square = output if power.item() == 2 else f"{output}/square"
        squared = helper.make_node("Mul", [x, x], [square])
        return [squared] if square == output else [squared, helper.make_node("Mul", [square, square], [output])]

    return replace_nodes(known.graph, multiplied)
