"""Operators that Qualcomm's HTP does not take, written as ones that it does. The numbers stay the same: each of these moves or
multiplies what the operator it replaces moves or multiplies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

MOST_AXES = 5
"""The HTP takes no tensor of more axes."""

Replacement = Callable[[NodeProto], "list[NodeProto] | None"]
"""The nodes that take the place of one; ``None`` where it stays."""


def constant(graph: GraphProto, name: str, values: Sequence[int]) -> str:
    """A new constant vector of the graph, int64; its name."""
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def replace_nodes(graph: GraphProto, replacement: Replacement) -> int:
    """Put other nodes in the place of some, keeping the order; how many were replaced."""
    nodes: list[NodeProto] = []
    changed = 0
    for node in graph.node:
        found = replacement(node)
        nodes += [node] if found is None else found
        changed += found is not None
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def compare_booleans_as_numbers(graph: GraphProto) -> int:
    """``Equal`` of Booleans as ``Equal`` of numbers: the HTP has no Equal of Booleans."""
    booleans = {value.name for value in graph.value_info if value.type.tensor_type.elem_type == TensorProto.BOOL}

    def numbers(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Equal" or not booleans.issuperset(node.input):
            return None
        names = [f"{node.output[0]}/number_{index}" for index in range(2)]
        casts = [
            helper.make_node("Cast", [old], [new], to=TensorProto.INT32)
            for old, new in zip(node.input, names, strict=True)
        ]
        return [*casts, helper.make_node("Equal", names, list(node.output))]

    return replace_nodes(graph, numbers)


_INTERPOLATION = re.compile(r"(\w+)(\w),\1(\w),\2\3(\w)->\1\4")
_SCORES = re.compile(r"(\w+)(\w),\1(\w)\2->\1\3")


def multiply_out_einsums(graph: GraphProto) -> int:
    """``Einsum`` as ``MatMul``, in two forms that the HTP does not take: ``bpr,bpc,rcd->bpd`` (siglip2's interpolated table of
    positions) and ``bd,bkd->bk`` (xclip's scores of a picture over texts of its own)."""

    def product(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Einsum":
            return None
        (equation,) = (attribute.s.decode() for attribute in node.attribute if attribute.name == "equation")
        equation = equation.replace(" ", "")
        if (found := _INTERPOLATION.fullmatch(equation)) and len(found[1]) + 2 <= MOST_AXES:
            return _interpolation(graph, node, leading=len(found[1]))
        if found := _SCORES.fullmatch(equation):
            return _scores(graph, node)
        return None

    return replace_nodes(graph, product)


def _interpolation(graph: GraphProto, node: NodeProto, leading: int) -> list[NodeProto]:
    """The weights of rows and columns multiplied out, and the table with its first two axes as one."""
    rows, columns, table = node.input
    output = node.output[0]

    def name(part: str) -> str:
        return f"{output}/{part}"

    last, second = constant(graph, name("last"), [-1]), constant(graph, name("second"), [-2])
    flat = constant(graph, name("flat"), [0] * leading + [-1])
    return [
        helper.make_node("Unsqueeze", [rows, last], [name("rows")]),
        helper.make_node("Unsqueeze", [columns, second], [name("columns")]),
        helper.make_node("Mul", [name("rows"), name("columns")], [name("weights")]),
        helper.make_node("Reshape", [name("weights"), flat], [name("flat_weights")]),
        helper.make_node("Shape", [table], [name("width")], start=2),
        helper.make_node("Concat", [last, name("width")], [name("table_shape")], axis=0),
        helper.make_node("Reshape", [table, name("table_shape")], [name("table")]),
        helper.make_node("MatMul", [name("flat_weights"), name("table")], [output]),
    ]


def _scores(graph: GraphProto, node: NodeProto) -> list[NodeProto]:
    """The second operand times the first as a column."""
    vector, rows = node.input
    output = node.output[0]
    last = constant(graph, f"{output}/last", [-1])
    return [
        helper.make_node("Unsqueeze", [vector, last], [f"{output}/column"]),
        helper.make_node("MatMul", [rows, f"{output}/column"], [f"{output}/product"]),
        helper.make_node("Squeeze", [f"{output}/product", last], [output]),
    ]


def merge_axes(graph: GraphProto) -> int:
    """``Reshape``, ``Transpose``, ``Reshape`` over more axes than :data:`MOST_AXES` (the windows of Swin), with those axes
    merged that stay beside each other: the HTP takes no tensor of six axes."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    by_output = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    after: dict[str, NodeProto] = {name: node for node in graph.node for name in node.input}
    merged: dict[str, tuple[list[int], list[int]]] = {}  # by the output of the first Reshape: shape and permutation
    for node in graph.node:
        if node.op_type != "Transpose":
            continue
        first, second = by_output.get(node.input[0]), after.get(node.output[0])
        if first is None or second is None or {first.op_type, second.op_type} != {"Reshape"}:
            continue
        if uses[node.input[0]] != 1 or uses[node.output[0]] != 1:
            continue
        if first.input[1] not in constants or second.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[first.input[1]]).tolist()
        # A 0 in a shape stands for an axis of the input by its place, and places change.
        if len(shape) <= MOST_AXES or 0 in shape or 0 in numpy_helper.to_array(constants[second.input[1]]):
            continue
        (permutation,) = (list(attribute.ints) for attribute in node.attribute if attribute.name == "perm")
        groups = together(permutation)
        if len(groups) <= MOST_AXES:
            merged[first.output[0]] = _merge(shape, groups)

    def with_fewer_axes(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type == "Reshape" and node.output[0] in merged:
            shape = constant(graph, f"{node.output[0]}/merged", merged[node.output[0]][0])
            return [helper.make_node("Reshape", [node.input[0], shape], list(node.output))]
        if node.op_type == "Transpose" and node.input[0] in merged:
            permutation = merged[node.input[0]][1]
            return [helper.make_node("Transpose", list(node.input), list(node.output), perm=permutation)]
        return None

    replace_nodes(graph, with_fewer_axes)
    forget(graph, [*merged, *(after[name].output[0] for name in merged)])
    return len(merged)


def together(permutation: Iterable[int]) -> list[list[int]]:
    """The axes of a permutation, in its order, in runs that stay beside each other: ``0 1 3 2`` is ``[0 1] [3] [2]``."""
    groups: list[list[int]] = []
    for axis in permutation:
        if groups and groups[-1][-1] + 1 == axis:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _merge(shape: Sequence[int], groups: Sequence[list[int]]) -> tuple[list[int], list[int]]:
    """The shape with each group as one axis, and the permutation of those; an axis of unknown length (-1) makes its group
    one."""
    ordered = sorted(groups)
    lengths = [[shape[axis] for axis in group] for group in ordered]
    return [-1 if -1 in some else int(np.prod(some)) for some in lengths], [ordered.index(group) for group in groups]


def forget(graph: GraphProto, names: Iterable[str]) -> None:
    """Take back what the graph says of the types and shapes of these values: it is no longer so."""
    gone = set(names)
    kept = [value for value in graph.value_info if value.name not in gone]
    del graph.value_info[:]
    graph.value_info.extend(kept)
