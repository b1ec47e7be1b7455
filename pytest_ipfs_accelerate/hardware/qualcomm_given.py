"""Inputs that say sizes, such as the rows and columns of each picture: Qualcomm's HTP takes no shape that is computed, so
that a graph is compiled for what they say, as it is for the shapes of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

_WHOLE = frozenset({TensorProto.INT64, TensorProto.INT32})
_OF_SHAPES = {
    "Range": slice(None),
    "ConstantOfShape": slice(1),
    "Slice": slice(1, None),
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Split", "Pad", "OneHot", "TopK"), slice(1, 2)),
}
"""The operands of an operator that decide the shape of what it gives."""

_COMPUTED = frozenset(
    {
        *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "CumSum", "Div", "Equal", "Expand", "Floor"),
        *("Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul"),
        *("Neg", "Not", "Or"),
        *("Pow", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "Sign", "Split", "Sqrt"),
        *("Squeeze", "Sub", "Transpose", "Unsqueeze", "Where", "Xor"),
    }
)
_FIRST = frozenset({"Gather", "Slice"})
"""Operators through which a size is computed: of all of their operands, or of the first alone."""


def inputs_of_sizes(graph: GraphProto) -> frozenset[str]:
    """The inputs of whole numbers that the shape of some value is computed from, and that are neither masks nor the numbers of
    rows of a table: what a text says is never a size."""
    by_output = {name: node for node in graph.node for name in node.output}
    whole = {value.name for value in graph.input if value.type.tensor_type.elem_type in _WHOLE}
    looked_up = {node.input[1] for node in graph.node if node.op_type == "Gather"}
    waiting = list(_operands_of_shapes(graph))
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = by_output.get(name)
        if node is not None and node.op_type in _COMPUTED:
            waiting += node.input
        elif node is not None and node.op_type in _FIRST:
            waiting.append(node.input[0])
    return frozenset(name for name in whole & seen - looked_up if "mask" not in name)


def _operands_of_shapes(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        if node.op_type in _OF_SHAPES:
            yield from node.input[_OF_SHAPES[node.op_type]]


def with_given(model: ModelProto, given: Mapping[str, NDArray[Any]]) -> ModelProto:
    """The graph with these inputs as constants."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    kept = [value for value in fixed.graph.input if value.name not in given]
    del fixed.graph.input[:]
    fixed.graph.input.extend(kept)
    fixed.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in given.items())
    return fixed
