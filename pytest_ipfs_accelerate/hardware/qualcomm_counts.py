"""Values whose number depends on data, and values of which there are none: Qualcomm's HTP takes neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import prod

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import drop_unused, replace_nodes


def gather_the_last(known: Known) -> int:
    """The vectors where a mask is true, as many for every input, and of those the last (the end token, whose state bart's
    heads classify), as the vector at the largest place where the mask is true: the HTP has no ``NonZero``."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def before(node: NodeProto, place: int, kind: str) -> NodeProto | None:
        found = by_output.get(node.input[place])
        return found if found is not None and found.op_type == kind else None

    def last(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Gather" or attributes(node).get("axis", 0) != 1:
            return None
        index = known.number(node.input[1])
        if index is None or index.shape or index.item() != -1:
            return None
        rows = before(node, 0, "Reshape")
        taken = before(rows, 0, "GatherND") if rows is not None else None
        turned = before(taken, 1, "Transpose") if taken is not None else None
        places = before(turned, 0, "NonZero") if turned is not None else None
        if rows is None or taken is None or places is None or attributes(taken).get("batch_dims", 0):
            return None
        shape, mask = known.shape(taken.input[0]), known.shape(places.input[0])
        target = known.number(rows.input[1])
        if shape is None or mask is None or len(shape) != 3 or shape[:2] != mask or target is None:
            return None
        if target.tolist() != [shape[0], -1, shape[2]]:
            return None
        return _at_the_last(known, taken.input[0], places.input[0], shape, node.output[0])

    changed = replace_nodes(known.graph, last)
    if changed:
        drop_unused(known.graph)
    return changed


def _at_the_last(known: Known, data: str, mask: str, shape: tuple[int, ...], output: str) -> list[NodeProto]:
    def name(part: str) -> str:
        return f"{output}/{part}"

    length = known.constant(name("length"), np.arange(shape[1], dtype=np.int32))
    along = known.constant(name("along"), [1])
    first = known.constant(name("first"), np.arange(shape[0], dtype=np.int32) * shape[1])
    return [
        helper.make_node("Cast", [mask], [name("true")], to=TensorProto.INT32),
        helper.make_node("Mul", [name("true"), length], [name("places")]),
        helper.make_node("ReduceMax", [name("places"), along], [name("last")], keepdims=0),
        helper.make_node("Add", [name("last"), first], [name("rows")]),
        known.reshape(data, [shape[0] * shape[1], shape[2]], name("flat")),
        helper.make_node("Gather", [name("flat"), name("rows")], [output], axis=0),
    ]


def write_down_true_places(known: Known) -> int:
    """``NonZero`` of a constant as a constant, which ONNX Runtime does not fold (the patches behind the summaries of
    nemotron_h_omni's pictures, which stand where the sizes of these say)."""

    def written(node: NodeProto) -> list[NodeProto] | None:
        mask = known.number(node.input[0]) if node.op_type == "NonZero" else None
        if mask is None or not mask.ndim:
            return None
        known.constant(node.output[0], np.array(np.nonzero(mask), np.int64))
        return []

    return replace_nodes(known.graph, written)


def gather_all_places(known: Known) -> dict[str, str]:
    """The vectors where a mask is true (``NonZero``, and a ``GatherND`` by it), with others behind them, as many as the mask
    has places: so many sounds of a batch are no padding, and so many tokens are replaced by them, each by its number. Only
    where nobody asks for the number itself; vectors that are an output are cut by who runs the graph, to the number that a
    further output says.

    Returns, by the output of each gathering, the output that holds the number where it is needed, or none.
    """
    by_output = {name: node for node in known.graph.node for name in node.output}
    readers = _Readers(known)
    places: dict[str, str] = {}  # by the mask: where it is true
    changed: dict[str, str] = {}

    def gathered(node: NodeProto) -> list[NodeProto] | None:
        mask = _mask_of(known, node, by_output)
        if not mask:
            return None
        shape, whole, output = known.shape(mask), known.shape(node.input[0]), node.output[0]
        if not shape or whole is None or whole[: len(shape)] != shape:
            return None
        if readers.count(output, 1 + len(whole) - len(shape)):
            return None
        length = prod(shape)
        nodes: list[NodeProto] = []
        if mask not in places:
            places[mask] = f"{output}/places"
            nodes += _places(known, mask, length, places[mask])
        changed[output] = f"{places[mask]}/total" if output in readers.outputs else ""
        return [
            *nodes,
            known.reshape(node.input[0], [length, *whole[len(shape) :]], f"{output}/flat"),
            helper.make_node("Gather", [f"{output}/flat", places[mask]], [output], axis=0),
        ]

    replace_nodes(known.graph, gathered)
    if changed:
        totals = sorted({total for total in changed.values() if total})
        known.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT32, [1]) for name in totals)
        drop_unused(known.graph)
        forget_shapes(known.graph)
    return changed


def _mask_of(known: Known, node: NodeProto, by_output: Mapping[str, NodeProto]) -> str:
    """The mask by whose true places a ``GatherND`` gathers; empty where it is another node, or gathers otherwise."""
    if node.op_type != "GatherND" or attributes(node).get("batch_dims", 0):
        return ""

    def before(name: str, kind: str) -> str:
        """What a node of this kind, along the second of two axes or of one operand, made a value of."""
        found = by_output.get(name)
        if found is None or found.op_type != kind:
            return ""
        axis = known.number(found.input[1]) if kind in {"Squeeze", "Unsqueeze"} and len(found.input) > 1 else None
        return found.input[0] if len(found.input) == 1 or (axis is not None and axis.tolist() in ([1], [-1])) else ""

    if mask := before(before(node.input[1], "Transpose"), "NonZero"):
        return mask
    # As an index of one axis is translated: the places as a row, which is expanded to the shape that it has.
    row = before(node.input[1], "Unsqueeze")
    expanded = by_output.get(row)
    if expanded is not None and expanded.op_type == "Expand":
        row, own = expanded.input[0], before(expanded.input[1], "Shape")
        if row not in (own, before(own, "Max")):
            return ""
    return before(before(before(row, "Squeeze"), "Transpose"), "NonZero")


_ONE_BY_ONE = frozenset({"Cast", "Identity", "Gelu", "Relu", "Sigmoid", "Add", "Mul", "Div", "Sub", "Pow"})
_MATRICES = {"LayerNormalization": 0, "MatMul": 1, "Gemm": 1}
"""Operators along a vector: with how many matrices, before the rows that they add or scale by."""


class _Readers:
    """The nodes of a graph that read a value, and whether it matters to them how many vectors it holds."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.outputs = {value.name for value in known.graph.output}

    def count(self, vectors: str, axes: int) -> bool:
        """Whether it matters to anyone how many ``vectors`` there are, of as many axes in all."""
        forms = {
            vectors: (vectors, axes)
        }  # who gave the vectors their axes, and how many: those of one form are as many
        for node in self.known.graph.node:
            read = [name for name in node.input if name in forms]
            if not read or (read == [node.input[0]] and self._takes(node)):
                continue
            form = self._kept(node, forms)
            if form is None or len(node.output) > 1 or self.outputs.intersection(node.output):
                return True
            forms[node.output[0]] = form
        return False

    def _takes(self, reader: NodeProto) -> bool:
        """Whether a node takes vectors by their numbers, counted from the first."""
        found = attributes(reader)
        if reader.op_type not in {"Gather", "GatherND"} or found.get("axis", 0) or found.get("batch_dims", 0):
            return False
        number = self.known.number(reader.input[1])
        return number is None or bool((number >= 0).all())

    def _kept(self, reader: NodeProto, forms: Mapping[str, tuple[str, int]]) -> tuple[str, int] | None:
        """The form of what a node gives that does the same to each vector, and leaves them in their order."""
        if reader.op_type == "Reshape":
            target = self.known.number(reader.input[1])
            kept = target is not None and target.size and target[0] == -1 and bool((target[1:] > 0).all())
            return (reader.output[0], target.size) if target is not None and kept else None
        given = [forms[name] for name in reader.input if name in forms]
        others = [self.known.number(name) for name in reader.input if name not in forms]
        form, axes = given[0], given[0][1]
        if any(another != form for another in given) or any(other is None for other in others):
            return None
        if reader.op_type in _ONE_BY_ONE:
            alike = all(other is not None and other.ndim < axes + (other.size == 1) for other in others)
            return form if alike else None
        once = reader.input[0] in forms and len(given) == 1 and axes > 1
        return form if once and self._along(reader, axes) else None

    def _along(self, reader: NodeProto, axes: int) -> bool:
        """Whether a node puts the values of each vector together, along the last axis, and keeps that axis."""
        found = attributes(reader)
        if reader.op_type == "ReduceMean":
            axis = self.known.number(reader.input[1]) if len(reader.input) > 1 else None
            return axis is not None and axis.tolist() in ([-1], [axes - 1]) and found.get("keepdims", 1) == 1
        if reader.op_type not in _MATRICES or found.get("axis", -1) != -1 or found.get("transA", 0):
            return False
        weights = [self.known.number(name) for name in reader.input[1:]]
        matrices, rows = weights[: _MATRICES[reader.op_type]], weights[_MATRICES[reader.op_type] :]
        return all(weight is not None and weight.ndim == 2 for weight in matrices) and all(
            weight is not None and weight.ndim < 2 for weight in rows
        )


def _places(known: Known, mask: str, length: int, output: str) -> list[NodeProto]:
    """Where a mask is true, in order: each place is written to its number among the true ones, and the others behind all."""

    def name(part: str) -> str:
        return f"{output}/{part}"

    one, zero = known.constant(name("one"), np.array(1, np.int32)), known.constant(name("zero"), np.array(0))
    behind = known.constant(name("behind"), np.array(length, np.int32))
    blank = known.constant(name("blank"), np.zeros(length + 1, np.int32))
    along = known.constant(name("along"), np.arange(length, dtype=np.int32))
    whole = known.constant(name("whole"), [0])
    ends = [known.constant(name(part), [number]) for part, number in (("begin", 0), ("end", length))]
    return [
        known.reshape(mask, [length], name("row")),
        helper.make_node("Cast", [name("row")], [name("true")], to=TensorProto.INT32),
        helper.make_node("CumSum", [name("true"), zero], [name("number")]),
        helper.make_node("ReduceMax", [name("number"), whole], [name("total")], keepdims=1),
        helper.make_node("Sub", [name("number"), one], [name("from_zero")]),
        helper.make_node("Where", [name("row"), name("from_zero"), behind], [name("target")]),
        helper.make_node("ScatterElements", [blank, name("target"), along], [name("all")], axis=0),
        helper.make_node("Slice", [name("all"), *ends], [output]),
    ]


SCATTERS = frozenset({"ScatterND", "ScatterElements"})


def take_out_nothing(known: Known) -> int:
    """A ``Concat`` with tensors that hold nothing, a scatter of nothing, and a ``Split`` into parts of which some hold nothing
    (the part of a head that is turned by its position, where none is), without them."""

    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for each in known.graph.node:
        for name in each.input:
            readers[name].append(each)
    given = {value.name for value in known.graph.output}

    def empty(name: str) -> bool:
        shape = known.shape(name)
        return shape is not None and 0 in shape

    def unread(name: str) -> bool:
        """Whether nothing is left that reads a tensor that holds nothing."""
        return name not in given and all(
            (reader.op_type == "Concat" and not empty(reader.output[0]))
            or (reader.op_type in SCATTERS and reader.input[0] != name)
            or (all(map(empty, reader.output)) and all(map(unread, reader.output)))
            for reader in readers[name]
        )

    def without(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type in SCATTERS and empty(node.input[1]):
            return [helper.make_node("Identity", [node.input[0]], list(node.output))]
        if node.op_type == "Concat" and any(map(empty, node.input)) and not empty(node.output[0]):
            kept = [name for name in node.input if not empty(name)]
            return [helper.make_node("Concat", kept, list(node.output), **attributes(node))]
        if node.op_type == "Split" and any(map(empty, node.output)) and not empty(node.input[0]):
            if not all(unread(name) for name in node.output if empty(name)):
                return None
            parts = [name for name in node.output if not empty(name)]
            if len(parts) == 1:
                return [helper.make_node("Identity", [node.input[0]], parts)]
            axis = attributes(node).get("axis", 0)
            sizes = known.constant(f"{parts[0]}/sizes", [(known.shape(name) or ())[axis] for name in parts])
            return [helper.make_node("Split", [node.input[0], sizes], parts, axis=axis)]
        return None

    changed = replace_nodes(known.graph, without)
    if changed:
        drop_unused(known.graph)
    return changed


def leave_out_empty_outputs(known: Known) -> dict[str, tuple[int, ...]]:
    """Take out the outputs that hold nothing (the values of a cache whose heads have none): their shapes, by name."""
    empty = {
        value.name: shape
        for value in known.graph.output
        if (shape := known.shape(value.name)) is not None and 0 in shape
    }
    kept = [value for value in known.graph.output if value.name not in empty]
    if not kept:
        return {}
    if empty:
        del known.graph.output[:]
        known.graph.output.extend(kept)
        drop_unused(known.graph)
    return empty


def put_in_rows(known: Known) -> int:
    """``ScatterElements`` of whole rows beside each other, whose places are constants, as ``Concat`` of what is before them,
    them, and what is behind: the HTP takes no scatter over five axes."""

    def joined(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "ScatterElements" or attributes(node).get("reduction", b"none") != b"none":
            return None
        shape, indices = known.shape(node.input[0]), known.number(node.input[1])
        if shape is None or indices is None or not indices.size:
            return None
        axis = attributes(node).get("axis", 0) % len(shape)
        count = indices.shape[axis]
        others = [size for place, size in enumerate(shape) if place != axis]
        first = int(indices.flat[0])
        rows = (first % shape[axis] + np.arange(count)).reshape(
            [-1 if place == axis else 1 for place in range(len(shape))]
        )
        if [size for place, size in enumerate(indices.shape) if place != axis] != others:
            return None
        if not np.array_equal(indices % shape[axis], np.broadcast_to(rows, indices.shape)):
            return None
        output, begin = node.output[0], first % shape[axis]
        on = known.constant(f"{output}/axis", [axis])
        parts: list[str] = []
        nodes: list[NodeProto] = []
        for part, start, end in (
            ("before", 0, begin),
            ("", begin, begin + count),
            ("behind", begin + count, shape[axis]),
        ):
            if part and start < end:
                ends = [known.constant(f"{output}/{part}_{number}", [number]) for number in (start, end)]
                nodes.append(helper.make_node("Slice", [node.input[0], *ends, on], [f"{output}/{part}"]))
                parts.append(f"{output}/{part}")
            elif not part:
                parts.append(node.input[2])
        return [*nodes, helper.make_node("Concat", parts, [output], axis=axis)]

    return replace_nodes(known.graph, joined)


def forget_shapes(graph: GraphProto) -> None:
    """Take back what the graph says of all values but its inputs: some have other shapes now."""
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
