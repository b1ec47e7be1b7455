"""Whole numbers, which Qualcomm's HTP counts in int32 and divides by shifting, written so that it counts them right."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import MOST_AXES, replace_nodes

MOST_FACTORS = 16
"""Of more than these a product is left to the HTP, which says that it has none."""

_WHOLE = frozenset({TensorProto.INT64, TensorProto.INT32})
_VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Transpose", "Identity"})


def clamp_whole_numbers(known: Known) -> int:
    """Constants that a graph computes with moved into the range of int32: QNN's simulator 2.7 takes the lower half of an int64,
    which is 0 of the least one and -1 of the greatest (what grounding-dino looks for the next separator with)."""
    computed = {name for node in known.graph.node if node.op_type != "Slice" for name in node.input}
    whole = np.iinfo(np.int32)
    changed = 0
    for tensor in known.graph.initializer:
        if tensor.data_type != TensorProto.INT64 or tensor.name not in computed:
            continue
        values = numpy_helper.to_array(tensor)
        clamped = values.clip(whole.min, whole.max)
        if not np.array_equal(values, clamped):
            tensor.CopyFrom(numpy_helper.from_array(clamped, tensor.name))
            changed += 1
    return changed


def shorten_doubles(known: Known) -> int:
    """Doubles as floats, of which the HTP takes some alone (the boxes of udop's patches). Those that go in or come out stay."""
    graph, outside = known.graph, {value.name for value in (*known.graph.input, *known.graph.output)}
    if any(known.type(name) == TensorProto.DOUBLE for name in outside):
        return 0
    changed = 0
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.DOUBLE:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
            changed += 1
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
                changed += 1
    for value in graph.value_info if changed else ():
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return changed


def multiply_one_by_one(known: Known) -> int:
    """``ReduceProd``, which the HTP has not, as products of one place after the other: of the sides of a grid of patches
    (inkling2, lfm3_vl)."""

    def multiplied(node: NodeProto) -> list[NodeProto] | None:
        shape = known.shape(node.input[0]) if node.op_type == "ReduceProd" else None
        axes = known.number(node.input[1]) if shape and len(node.input) > 1 else None
        reduced = known.shape(node.output[0])
        if shape is None or axes is None or axes.size != 1 or reduced is None:
            return None
        output, size = node.output[0], shape[axes.item()]
        if not 0 < size <= MOST_FACTORS:
            return None
        nodes, product = [], ""
        for place in range(size):
            ends = [known.constant(f"{output}/{place}/{end}", [place + end]) for end in (0, 1)]
            nodes.append(helper.make_node("Slice", [node.input[0], *ends, node.input[1]], [f"{output}/{place}"]))
            if product:
                nodes.append(helper.make_node("Mul", [product, f"{output}/{place}"], [f"{output}/to_{place}"]))
            product = nodes[-1].output[0]
        return [*nodes, known.reshape(product, reduced, output)]

    return replace_nodes(known.graph, multiplied)


def subtract_multiples(known: Known) -> int:
    """``Mod`` of whole numbers as what is left of them by a division: QNN's simulator 2.7 computes it in fp16 (the buckets of
    canine's characters, of 16,384)."""

    def left(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Mod" or attributes(node).get("fmod", 0) or known.type(node.output[0]) not in _WHOLE:
            return None
        divisor = known.number(node.input[1])
        if divisor is None or divisor.size != 1 or divisor.item() < 1:
            return None
        (x, by), (output,) = node.input, node.output
        zero = known.constant(f"{output}/nothing", np.array(0, divisor.dtype))
        return [
            helper.make_node("Div", [x, by], [f"{output}/times"]),
            helper.make_node("Mul", [f"{output}/times", by], [f"{output}/multiple"]),
            helper.make_node("Sub", [x, f"{output}/multiple"], [f"{output}/rest"]),
            helper.make_node("Less", [f"{output}/rest", zero], [f"{output}/below"]),
            helper.make_node("Add", [f"{output}/rest", by], [f"{output}/above"]),
            helper.make_node("Where", [f"{output}/below", f"{output}/above", f"{output}/rest"], [output]),
        ]

    return replace_nodes(known.graph, left)


def divide_towards_zero(known: Known) -> int:
    """``Div`` of whole numbers by a power of two as that of their sizes, with the sign put back: QNN's simulator 2.7 shifts,
    which rounds a negative number down."""

    def divided(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Div" or known.type(node.output[0]) not in _WHOLE:
            return None
        divisor = known.number(node.input[1])
        if divisor is None or divisor.size != 1 or divisor.item() < 2 or divisor.item() & (divisor.item() - 1):
            return None
        output = node.output[0]
        zero = known.constant(f"{output}/zero", np.array(0, divisor.dtype))
        return [
            helper.make_node("Less", [node.input[0], zero], [f"{output}/negative"]),
            helper.make_node("Abs", [node.input[0]], [f"{output}/size"]),
            helper.make_node("Div", [f"{output}/size", node.input[1]], [f"{output}/quotient"]),
            helper.make_node("Sub", [zero, f"{output}/quotient"], [f"{output}/below_zero"]),
            helper.make_node("Where", [f"{output}/negative", f"{output}/below_zero", f"{output}/quotient"], [output]),
        ]

    return replace_nodes(known.graph, divided)


def cut_off_fractions(known: Known) -> int:
    """A ``Cast`` to whole numbers and one back to floats as the size rounded down, with its sign: QNN's simulator 2.7 takes the
    two for nothing, and leaves the fraction."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def cut(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Cast" or attributes(node)["to"] != TensorProto.FLOAT:
            return None
        views: list[NodeProto] = []
        before = by_output.get(node.input[0])
        while before is not None and before.op_type in _VIEWS:
            views.insert(0, before)
            before = by_output.get(before.input[0])
        if before is None or before.op_type != "Cast" or known.type(before.output[0]) not in _WHOLE:
            return None
        if known.type(before.input[0]) != TensorProto.FLOAT:
            return None
        output = node.output[0]
        value = f"{output}/whole"
        nodes = [
            helper.make_node("Abs", [before.input[0]], [f"{output}/size"]),
            helper.make_node("Floor", [f"{output}/size"], [f"{output}/down"]),
            helper.make_node("Sign", [before.input[0]], [f"{output}/sign"]),
            helper.make_node("Mul", [f"{output}/down", f"{output}/sign"], [value]),
        ]
        for number, view in enumerate(views):
            moved = f"{output}/moved_{number}"
            nodes.append(helper.make_node(view.op_type, [value, *view.input[1:]], [moved], **attributes(view)))
            value = moved
        return [*nodes, helper.make_node("Identity", [value], [output])]

    return replace_nodes(known.graph, cut)


def subtract_from_nothing(known: Known) -> int:
    """``Neg`` of whole numbers as 0 less them: the HTP has none."""

    def subtracted(node: NodeProto) -> list[NodeProto] | None:
        kind = known.type(node.output[0])
        if node.op_type != "Neg" or kind not in _WHOLE:
            return None
        zero = known.constant(f"{node.output[0]}/zero", np.array(0, helper.tensor_dtype_to_np_dtype(kind)))
        return [helper.make_node("Sub", [zero, node.input[0]], list(node.output))]

    return replace_nodes(known.graph, subtracted)


def add_nothing_to_outputs(known: Known) -> int:
    """An output of whole numbers that a ``Transpose`` gives, plus 0: QNN 2.7 ends in an error when it gives back the first
    (mimi's codes)."""
    outputs = {value.name for value in known.graph.output}

    def added(node: NodeProto) -> list[NodeProto] | None:
        output = node.output[0]
        if node.op_type != "Transpose" or output not in outputs or known.type(output) != TensorProto.INT64:
            return None
        zero = known.constant(f"{output}/zero", np.array(0))
        turned = helper.make_node("Transpose", list(node.input), [f"{output}/turned"], **attributes(node))
        return [turned, helper.make_node("Add", [f"{output}/turned", zero], [output])]

    return replace_nodes(known.graph, added)


def give_booleans_as_numbers(known: Known) -> int:
    """An output of whole numbers that Booleans are cast to, by way of 32 bits: the HTP takes no other ``Cast`` to 64 of them
    there (the mask of pocket_tts_audio_tokenizer's latents)."""
    outputs = {value.name for value in known.graph.output}

    def cast(node: NodeProto) -> list[NodeProto] | None:
        output = node.output[0]
        if node.op_type != "Cast" or output not in outputs or known.type(output) != TensorProto.INT64:
            return None
        if known.type(node.input[0]) != TensorProto.BOOL:
            return None
        single = f"{output}/single"
        return [
            helper.make_node("Cast", node.input, [single], to=TensorProto.INT32),
            helper.make_node("Cast", [single], [output], to=TensorProto.INT64),
        ]

    return replace_nodes(known.graph, cast)


def leave_single(known: Known) -> int:
    """A ``Tile`` that repeats nothing, as what it takes: over five axes QNN 2.7 ends the process when it compiles one (the
    pictures of sam's trackers, once for each prompt)."""

    def left(node: NodeProto) -> list[NodeProto] | None:
        counts = known.number(node.input[1]) if node.op_type == "Tile" else None
        if counts is None or any(counts != 1):
            return None
        return [helper.make_node("Identity", [node.input[0]], list(node.output))]

    return replace_nodes(known.graph, left)


def read_before_the_end(known: Known) -> int:
    """``Gather`` of rows of whole numbers from rows that one more, of zeros, stands behind: QNN's simulator 2.7 reads beyond
    the last row of a table for eights of places (the positions of the patches of two pictures, muse_spark_vision)."""

    def read(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Gather" or attributes(node).get("axis", 0) or known.type(node.input[0]) not in _WHOLE:
            return None
        table, places = node.input
        shape, row = known.shape(table), known.shape(places)
        if shape is None or math.prod(shape[1:]) < 2 or row is None or math.prod(row) < 2:
            return None
        output, kind = node.output[0], helper.tensor_dtype_to_np_dtype(known.type(table))
        behind, longer = known.constant(f"{output}/behind", np.zeros((1, *shape[1:]), kind)), f"{output}/longer"
        from_the_start, nodes = _from_the_start(known, places, shape[0], output)
        return [
            *nodes,
            helper.make_node("Concat", [table, behind], [longer], axis=0),
            helper.make_node("Gather", [longer, from_the_start], [output], axis=0),
        ]

    return replace_nodes(known.graph, read)


def _from_the_start(known: Known, places: str, count: int, output: str) -> tuple[str, list[NodeProto]]:
    """Places among as many rows, where negative ones count from their end, all counted from the start; and the nodes for it."""
    if (numbers := known.number(places)) is not None:
        return known.constant(f"{output}/places", np.where(numbers < 0, numbers + count, numbers)), []
    kind = helper.tensor_dtype_to_np_dtype(known.type(places))
    zero, rows = (known.constant(f"{output}/{number}", np.array(number, kind)) for number in (0, count))
    negative, above, found = (f"{output}/{part}" for part in ("negative", "above", "places"))
    return found, [
        helper.make_node("Less", [places, zero], [negative]),
        helper.make_node("Add", [places, rows], [above]),
        helper.make_node("Where", [negative, above, places], [found]),
    ]


def repeat_by_expanding(known: Known) -> int:
    """``Tile`` of whole numbers of five axes, along those of one, as ``Expand``: QNN 2.7 ends the process when it compiles one
    of int64 (the mask of mllama's pictures), and takes none of int32."""

    def repeated(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Tile" or known.type(node.input[0]) not in _WHOLE:
            return None
        shape, counts = known.shape(node.input[0]), known.number(node.input[1])
        if shape is None or len(shape) < MOST_AXES or counts is None or 0 in counts:
            return None
        repeats = counts.tolist()
        if any(size > 1 and count > 1 for size, count in zip(shape, repeats, strict=True)):
            return None
        target = [size * count for size, count in zip(shape, repeats, strict=True)]
        expanded = known.constant(f"{node.output[0]}/expanded", target)
        return [helper.make_node("Expand", [node.input[0], expanded], list(node.output))]

    return replace_nodes(known.graph, repeated)
