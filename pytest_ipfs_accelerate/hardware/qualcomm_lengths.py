"""The lengths of vectors, vectors of length 1, and what is divided by more than fp16 has the inverse of: QNN's simulator 2.7
sums squares in fp16, so that nothing is longer than 256, and divides by the inverse, which is nothing beyond 16,384
(swiftformer's queries are 40,000 long, and gemma3n_audio's means are of 262,144 numbers)."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .qualcomm_counts import drop_unused
from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import replace_nodes

PARTS = """
vector (float x, int64[n] axes) => (float y)
<float large = {128}, float less = {0.001953125}, float more = {512}, float one = {1}, float least = {0.00006103515625}> {
    sizes = Abs (x)
    most = ReduceMax <keepdims = 1> (sizes, axes)
    is_large = Greater (most, large)
    scale = Where (is_large, less, one)
    scaled = Mul (x, scale)
    scaled_most = Mul (most, scale)
    largest = Max (scaled_most, least)
    parts = Div (scaled, largest)
    of_parts = ReduceL2 <keepdims = 1> (parts, axes)
"""
"""A vector in parts of its largest number, which is at least the smallest normal number of fp16, and their length."""

LENGTH = f"""{PARTS}
    scaled_length = Mul (of_parts, largest)
    scale_of_it = Where (is_large, more, one)
    y = Mul (scaled_length, scale_of_it)
}}
"""

UNIT = f"""{PARTS}
    not_nothing = Max (of_parts, least)
    y = Div (parts, not_nothing)
}}
"""

NEARLY_NOTHING = 1e-9
"""What a length is raised to at the most before it divides: fp16 has no such numbers."""


def axes_of(known: Known, node: NodeProto) -> str:
    """The constant of the axes that a reduction of floats leaves out, a new one where it names none; empty where it may leave
    out nothing, or nobody knows its shape."""
    shape = known.shape(node.input[0])
    if shape is None or known.type(node.input[0]) != TensorProto.FLOAT:
        return ""
    named = str(node.input[1]) if len(node.input) > 1 else ""
    axes = known.number(named)
    if attributes(node).get("noop_with_empty_axes", 0) and (axes is None or not axes.size):
        return ""
    every = f"{node.output[0]}/axes"
    return named or (every if known.number(every) is not None else known.constant(every, np.arange(len(shape))))


def write_out_reduction(known: Known, node: NodeProto, formula: str) -> list[NodeProto] | None:
    """A reduction by a formula of ``x`` and ``axes`` that keeps its axes, which are left out after it where the node does."""
    output = node.output[0]
    axes = axes_of(known, node)
    if not axes:
        return None
    inputs = {"x": node.input[0], "axes": axes}
    if attributes(node).get("keepdims", 1):
        return known.formula(formula, inputs, output)
    return [
        *known.formula(formula, inputs, f"{output}/kept"),
        helper.make_node("Squeeze", [f"{output}/kept", axes], [output]),
    ]


def take_lengths_of_parts(known: Known) -> int:
    """``ReduceL2`` as :data:`LENGTH`, and the division of a vector by its length as :data:`UNIT`."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def length_of(name: str) -> NodeProto | None:
        """The length that is repeated, or raised to nearly nothing, in a value."""
        node = by_output.get(name)
        if node is None or node.op_type == "ReduceL2":
            return node
        least = known.number(node.input[1]) if node.op_type in {"Clip", "Max"} and len(node.input) == 2 else None
        small = least is not None and bool((least <= NEARLY_NOTHING).all())
        return length_of(node.input[0]) if node.op_type == "Expand" or small else None

    def scaled(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type == "ReduceL2":
            return write_out_reduction(known, node, LENGTH)
        length = length_of(node.input[1]) if node.op_type == "Div" else None
        shape = known.shape(length.input[0]) if length is not None else None
        axes = axes_of(known, length) if length is not None else ""
        if length is None or not axes or shape is None or known.shape(node.output[0]) != shape:
            return None
        if length.input[0] != node.input[0] or not attributes(length).get("keepdims", 1):
            return None
        return known.formula(UNIT, {"x": node.input[0], "axes": axes}, node.output[0])

    if changed := replace_nodes(known.graph, scaled):
        drop_unused(known.graph)
    return changed


LARGEST_DIVISOR = 8192.0
"""Its inverse is a normal number of fp16, with all of its digits."""

MOST_OF_SUMS = 2.0**40
"""Sums that are divided by more are not multiplied before: what is to be divided by less would have no digits left."""


def divide_in_two(known: Known) -> int:
    """``Div`` by a constant with numbers beyond :data:`LARGEST_DIVISOR` as a product with a power of two and a division by what
    is left. Sums along an axis are multiplied before they grow beyond fp16 (in gemma3n_audio, of squares, to 529,263)."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def parted(node: NodeProto) -> list[NodeProto] | None:
        divisor = known.number(node.input[1]) if node.op_type == "Div" else None
        if divisor is None or divisor.dtype != np.float32 or not (np.abs(divisor) > LARGEST_DIVISOR).any():
            return None
        x, output = node.input[0], node.output[0]
        sums = by_output.get(x)
        most = np.abs(divisor).max()
        is_sums = sums is not None and sums.op_type == "CumSum" and most <= MOST_OF_SUMS
        _, exponent = np.frexp((most if is_sums else divisor) / LARGEST_DIVISOR)
        less = np.asarray(np.exp2(-np.maximum(exponent, 0)), np.float32)
        factor = known.constant(f"{output}/less", less)
        left = known.constant(f"{output}/divisor", np.asarray(divisor * less))
        if sums is None or not is_sums:
            multiplied = helper.make_node("Mul", [x, factor], [f"{output}/part"])
            return [multiplied, helper.make_node("Div", [f"{output}/part", left], [output])]
        summed = NodeProto()
        summed.CopyFrom(sums)
        summed.ClearField("name")
        summed.input[0], summed.output[0] = f"{output}/part", f"{output}/sums"
        multiplied = helper.make_node("Mul", [sums.input[0], factor], [f"{output}/part"])
        return [multiplied, summed, helper.make_node("Div", [f"{output}/sums", left], [output])]

    if changed := replace_nodes(known.graph, parted):
        drop_unused(known.graph)
    return changed
