"""The lengths of vectors, and vectors of length 1: QNN's simulator 2.7 sums squares in fp16, so that nothing is longer than
256, and divides by the inverse, which is nothing beyond 16,384 (swiftformer's queries are 40,000 long)."""

from __future__ import annotations

from onnx import NodeProto

from .qualcomm_fixed import Known, attributes
from .qualcomm_functions import axes_of, write_out_reduction
from .qualcomm_operators import drop_unused, replace_nodes

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
