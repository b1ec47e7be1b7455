"""Operators that Qualcomm's HTP does not take, written as ones that it does. The numbers stay the same: each of these moves or
multiplies what the operator it replaces moves or multiplies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

MOST_AXES = 5
"""The HTP takes no tensor of more axes."""

Replacement = Callable[[NodeProto], "list[NodeProto] | None"]
"""The nodes that take the place of one; ``None`` where it stays."""


def constant(graph: GraphProto, name: str, values: Sequence[int] | int) -> str:
    """A new constant of the graph, a vector or a scalar, int64; its name."""
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


def drop_unused(graph: GraphProto) -> None:
    """Take out the nodes whose outputs nobody reads."""

    def inputs(node: NodeProto) -> Iterator[str]:
        """What a node reads, and what the nodes of its branches do."""
        yield from node.input
        for attribute in node.attribute:
            for inner in attribute.g.node:
                yield from inputs(inner)

    read = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            read.update(inputs(node))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


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


def divide_whole_numbers(graph: GraphProto) -> int:
    """Whole numbers that are divided as floats and rounded down (the number of frames of so many samples), divided as whole
    numbers: fp16 counts by eights from 8,192 on, and 12,790 samples are no longer that many."""
    by_output = {name: node for node in graph.node for name in node.output}
    numbers = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}

    def chain(node: NodeProto, *kinds: str) -> NodeProto | None:
        """The node that many steps before, if all of them are of these kinds."""
        found: NodeProto | None = node
        for kind in kinds:
            found = by_output.get(found.input[0]) if found is not None else None
            if found is None or found.op_type != kind:
                return None
        return found

    def whole(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Cast" or node.attribute[0].i != TensorProto.INT64:
            return None
        divided, cast = chain(node, "Floor", "Div"), chain(node, "Floor", "Div", "Cast")
        if divided is None or cast is None or divided.input[1] not in numbers:
            return None
        divisor = numpy_helper.to_array(numbers[divided.input[1]])
        if divisor.size != 1 or divisor.item() < 1 or not divisor.item().is_integer():
            return None
        return _floor_division(graph, cast.input[0], int(divisor.item()), node.output[0])

    return replace_nodes(graph, whole)


def _floor_division(graph: GraphProto, dividend: str, divisor: int, output: str) -> list[NodeProto]:
    """Rounded down, where the Div of whole numbers rounds to zero: a negative dividend is first lowered by what is missing."""

    def name(part: str) -> str:
        return f"{output}/rounded_down/{part}"  # divide_towards_zero() writes nodes for the same output

    zero, by, lack = (
        constant(graph, name(part), number)
        for part, number in (("zero", 0), ("divisor", divisor), ("lack", divisor - 1))
    )
    return [
        helper.make_node("Less", [dividend, zero], [name("negative")]),
        helper.make_node("Sub", [dividend, lack], [name("lowered")]),
        helper.make_node("Where", [name("negative"), name("lowered"), dividend], [name("dividend")]),
        helper.make_node("Div", [name("dividend"), by], [output]),
    ]


def sum_sizes(graph: GraphProto) -> int:
    """``ReduceL1`` as ``ReduceSum`` of ``Abs``: the HTP has no ReduceL1 (the weights of dbrx's experts)."""

    def summed(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "ReduceL1":
            return None
        sizes = f"{node.output[0]}/sizes"
        total = helper.make_node("ReduceSum", [sizes, *node.input[1:]], list(node.output))
        total.attribute.extend(node.attribute)
        return [helper.make_node("Abs", [node.input[0]], [sizes]), total]

    return replace_nodes(graph, summed)


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


_MIXES = frozenset({"Add", "Mul"})
_PASSES = frozenset({*_MIXES, "Sub", "Div", "Reshape", "Transpose", "Identity", "Cast"})


def write_out_broadcasts(graph: GraphProto) -> int:
    """An operand of ``Add`` or ``Mul`` that is the same for every input of the batch, such as a table of positions, written out
    for each of them, where the result comes to a ``LayerNormalization`` or an RMSNorm: QNN's simulator 2.7 joins the two and
    then adds the operand to the first input alone (relative L2 0.35 to 0.73 at a batch of two or more and a length that 8
    divides)."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    shapes |= {
        value.name: [dimension.dim_value or None for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
    }
    normalised = _before_norms(graph)

    def written_out(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type not in _MIXES or node.output[0] not in normalised:
            return None
        for index, (name, other) in enumerate((node.input, node.input[::-1])):
            shared, whole = shapes.get(name), shapes.get(other)
            if not shared or not whole or not _same_for_all(shared, whole):
                continue
            shape, operand = f"{node.output[0]}/shape", f"{node.output[0]}/written_out"
            inputs = [operand, other] if index == 0 else [other, operand]
            return [
                helper.make_node("Shape", [other], [shape]),
                helper.make_node("Expand", [name, shape], [operand]),
                helper.make_node(node.op_type, inputs, list(node.output)),
            ]
        return None

    return replace_nodes(graph, written_out)


def _same_for_all(shared: list[int | None], whole: list[int | None]) -> bool:
    """Whether a tensor is broadcast along the first axis of another one, and holds more than one vector."""
    along = len(shared) < len(whole) or (shared[0] == 1 and whole[0] != 1)
    inner = shared[-len(whole) + 1 :] if len(shared) == len(whole) else shared
    return len(whole) > 1 and along and any(size != 1 for size in inner[:-1])


def _before_norms(graph: GraphProto) -> set[str]:
    """Names of the values that come to a norm through nothing but arithmetic and moves. An RMSNorm begins with a mean of
    squares."""
    averaged = {node.input[0] for node in graph.node if node.op_type == "ReduceMean"}
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "LayerNormalization" or (node.op_type == "Pow" and node.output[0] in averaged):
            found.add(node.input[0])
        elif node.op_type in _PASSES and node.output[0] in found:
            found.update(node.input)
    return found


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
