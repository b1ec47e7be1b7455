"""Convolutions that Qualcomm's HTP computes wrongly, written another way where the shapes are known."""

from __future__ import annotations

from onnx import NodeProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import replace_nodes

SPAN = 8
"""A longer kernel comes out wrong."""

TILE = 8
"""Of such a kernel, where this divides the length of the result."""


def convolve_one_further(known: Known) -> int:
    """A ``Conv`` along one axis by a kernel of more than :data:`SPAN` places, made for one place more and that cut off, where
    :data:`TILE` divides the number of places: QNN's simulator 2.7 is wrong (relative L2 0.5 to 0.9, and 4e-4 so) where the
    input is padded by more than eight at both ends to as many places as it has (the positions of data2vec-audio)."""

    def further(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Conv":
            return None
        given, shape, output = attributes(node), known.shape(node.output[0]), node.output[0]
        kernel = known.shape(node.input[1])
        if shape is None or kernel is None or len(shape) != 3 or given.get("auto_pad", b"NOTSET") != b"NOTSET":
            return None
        span = (kernel[-1] - 1) * given.get("dilations", [1])[0] + 1
        if given.get("strides", [1]) != [1] or span <= SPAN or shape[-1] % TILE:
            return None
        begin, end = given.get("pads", [0, 0])
        ends = [known.constant(f"{output}/{part}", [number]) for part, number in (("begin", 0), ("end", shape[-1]))]
        axis = known.constant(f"{output}/axis", [2])
        return [
            helper.make_node("Conv", list(node.input), [f"{output}/further"], **{**given, "pads": [begin, end + 1]}),
            helper.make_node("Slice", [f"{output}/further", *ends, axis], [output]),
        ]

    return replace_nodes(known.graph, further)
