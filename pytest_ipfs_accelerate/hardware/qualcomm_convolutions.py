"""Convolutions, averages and padding that Qualcomm's HTP computes wrongly, written another way where the shapes are known."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

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


def put_bias_before(known: Known) -> int:
    """A ``Conv`` whose input begins with as much padding as its kernel is long, or more, with less of it: where the kernel sees
    nothing else, the result is the bias, which is put before. QNN's simulator 2.7 is wrong where that are two or three places
    (relative L2 1.1 to 5; the causal queries and keys of zaya), and takes zeros that are put before for padding."""

    def cut(node: NodeProto) -> list[NodeProto] | None:
        given, kernel = attributes(node), known.shape(node.input[1]) if node.op_type == "Conv" else None
        whole, output = known.shape(node.output[0]), node.output[0]
        if kernel is None or whole is None:
            return None
        bias = known.number(node.input[2]) if len(node.input) > 2 else np.zeros(kernel[0], np.float32)
        axes = len(kernel) - 2
        pads, one = list(given.get("pads", [0] * 2 * axes)), [1] * axes
        less = [0 if size == 1 else max(begin - size + 1, 0) for begin, size in zip(pads, kernel[2:], strict=False)]
        if bias is None or not any(less) or given.get("strides", one) != one or given.get("dilations", one) != one:
            return None
        pads[:axes] = [begin - places for begin, places in zip(pads, less, strict=False)]
        nodes = [helper.make_node("Conv", list(node.input), [f"{output}/cut"], **{**given, "pads": pads})]
        sizes = [*whole[:2], *(size - places for size, places in zip(whole[2:], less, strict=True))]
        for axis, places in enumerate(less, 2):
            if not places:
                continue
            before = np.broadcast_to(bias.reshape(-1, *one), [*sizes[:axis], places, *sizes[axis + 1 :]])
            sizes[axis] += places
            inputs = [known.constant(f"{output}/bias_{axis}", before.copy()), nodes[-1].output[0]]
            nodes.append(helper.make_node("Concat", inputs, [f"{output}/behind_bias_{axis}"], axis=axis))
        nodes[-1].output[0] = output
        return nodes

    return replace_nodes(known.graph, cut)


def lay_out_patches(known: Known) -> int:
    """``Col2Im`` of patches that lie beside each other as ``Transpose`` between two ``Reshape``: the HTP has no Col2Im."""

    def laid_out(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Col2Im":
            return None
        given, output = attributes(node), node.output[0]
        columns, image, patch = known.shape(node.input[0]), known.number(node.input[1]), known.number(node.input[2])
        if columns is None or image is None or patch is None or len(image) != 2:
            return None
        beside = list(patch) == given.get("strides", [1, 1]) and not any(image % patch)
        if not beside or any(given.get("pads", [])) or max(given.get("dilations", [1])) > 1:
            return None
        height, width = (int(size) for size in patch)
        down, across = (int(size) for size in image // patch)
        planes = columns[0] * columns[1] // (height * width)
        return [
            known.reshape(node.input[0], [planes, height, width, down, across], f"{output}/patches"),
            helper.make_node("Transpose", [f"{output}/patches"], [f"{output}/rows"], perm=[0, 3, 1, 4, 2]),
            known.reshape(f"{output}/rows", [columns[0], planes // columns[0], *map(int, image)], output),
        ]

    return replace_nodes(known.graph, laid_out)


def add_overlapping_patches(known: Known) -> int:
    """``Col2Im`` of pieces of a row that overlap, by a stride that divides their length (the windows of xcodec2's sound), as a
    sum of their parts, each as long as the stride and as many strides further: the HTP has no Col2Im."""

    def added(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Col2Im":
            return None
        given, output = attributes(node), node.output[0]
        columns, image, patch = known.shape(node.input[0]), known.number(node.input[1]), known.number(node.input[2])
        if columns is None or image is None or patch is None or len(image) != 2 or (image[0], patch[0]) != (1, 1):
            return None
        stride, length = given.get("strides", [1, 1])[1], int(patch[1])
        if any(given.get("pads", [])) or max(given.get("dilations", [1])) > 1 or length % stride:
            return None
        parts, planes, pieces = length // stride, columns[0] * columns[1] // length, columns[2]
        if (pieces + parts - 1) * stride != image[1] or 0 in columns:
            return None
        nodes = [
            known.reshape(node.input[0], [planes, parts, stride, pieces], f"{output}/pieces"),
            helper.make_node("Transpose", [f"{output}/pieces"], [f"{output}/parts"], perm=[1, 0, 3, 2]),
        ]
        total = ""
        for part in range(parts):
            name = f"{output}/part_{part}"
            index = known.constant(f"{name}/index", np.array(part, np.int64))
            pads = known.constant(f"{name}/pads", [0, part, 0, 0, parts - 1 - part, 0])
            nodes.append(helper.make_node("Gather", [f"{output}/parts", index], [f"{name}/taken"], axis=0))
            nodes.append(helper.make_node("Pad", [f"{name}/taken", pads], [name]))
            if total:
                nodes.append(helper.make_node("Add", [total, name], [f"{name}/sum"]))
            total = f"{name}/sum" if total else name
        return [*nodes, known.reshape(total, [columns[0], columns[1] // length, *map(int, image)], output)]

    return replace_nodes(known.graph, added)


def give_each_its_weights(known: Known) -> int:
    """Weights that a ``Conv`` and a ``ConvTranspose`` share, a copy for the latter: QNN's provider turns them for one of the
    two, and ONNX Runtime 1.32 then ends in an error (the filters of xcodec2, which make a sound longer and shorter again)."""
    shared = {node.input[1] for node in known.graph.node if node.op_type == "Conv"}
    changed = 0
    for node in known.graph.node:
        name = node.input[1] if node.op_type == "ConvTranspose" else ""
        weights = known.number(name) if name in shared else None
        if weights is not None:
            node.input[1] = known.constant(f"{node.output[0]}/weights", weights)
            changed += 1
    return changed


def take_before_convolving(known: Known) -> int:
    """A ``Conv`` of each channel by a kernel of one place, at a stride, of what a ``Slice`` takes: QNN's simulator 2.7 is wrong
    where there are more than 32 channels (relative L2 2 to 5e4), unless the strides are two and two (pp_ocrv5_mobile_rec)."""

    def taken(node: NodeProto) -> list[NodeProto] | None:
        given, kernel = attributes(node), known.shape(node.input[1]) if node.op_type == "Conv" else None
        strides = given.get("strides", [])
        if kernel is None or prod(kernel[1:]) != 1 or any(given.get("pads", [])) or max(strides, default=1) < 2:
            return None
        output, axes = node.output[0], len(strides)
        parts = {
            "begin": [0] * axes,
            "end": [np.iinfo(np.int32).max] * axes,
            "axes": range(2, 2 + axes),
            "steps": strides,
        }
        inputs = [known.constant(f"{output}/{part}", list(numbers)) for part, numbers in parts.items()]
        extra = {**given, "strides": [1] * axes}
        return [
            helper.make_node("Slice", [node.input[0], *inputs], [f"{output}/taken"]),
            helper.make_node("Conv", [f"{output}/taken", *node.input[1:]], [output], **extra),
        ]

    return replace_nodes(known.graph, taken)


def average_with_padding(known: Known) -> int:
    """``AveragePool`` over padding, or with windows that reach beyond the end, as a ``Conv`` of each channel by equal weights,
    times how much too large their number is. QNN's simulator 2.7 is wrong where padding is left out of the count, from a batch
    of two on, unless 32 divides the number of channels (relative L2 1.1), where one axis is padded at a stride of one (1.3),
    and where ``ceil_mode`` adds a window (0.2 to 2e4)."""

    def counted(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "AveragePool":
            return None
        given = attributes(node)
        shape, whole = known.shape(node.input[0]), known.shape(node.output[0])
        if shape is None or whole is None or given.get("auto_pad", b"NOTSET") != b"NOTSET":
            return None
        output, kernel, axes = node.output[0], given["kernel_shape"], len(shape) - 2
        strides, dilations = given.get("strides", [1] * axes), given.get("dilations", [1] * axes)
        pads, including = given.get("pads", [0] * 2 * axes), given.get("count_include_pad", 0)
        factor, beyond = np.ones((1, 1), np.float32), []
        for axis in range(axes):
            taps = np.arange(kernel[axis]) * dilations[axis] - pads[axis]
            places = np.arange(whole[2 + axis])[:, None] * strides[axis] + taps
            first, last = (-pads[axis], pads[axes + axis]) if including else (0, 0)
            inside = ((places >= first) & (places < shape[2 + axis] + last)).sum(-1)
            factor = factor[..., None] * (len(taps) / inside).astype(np.float32)
            beyond.append(max(int(places.max()) + 1 - shape[2 + axis], 0))
        if not any((*pads, *beyond)):
            return None
        weights = np.full((shape[1], 1, *kernel), 1 / prod(kernel), np.float32)
        extra = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": shape[1]}
        weight = known.constant(f"{output}/weight", weights)
        if (factor == 1).all():
            return [helper.make_node("Conv", [node.input[0], weight], [output], pads=[*pads[:axes], *beyond], **extra)]
        return [
            helper.make_node("Conv", [node.input[0], weight], [f"{output}/all"], pads=[*pads[:axes], *beyond], **extra),
            helper.make_node("Mul", [f"{output}/all", known.constant(f"{output}/factor", factor)], [output]),
        ]

    return replace_nodes(known.graph, counted)


def pad_by_gathering(known: Known) -> int:
    """``Pad`` with what is at the edge, or with what comes around, as ``Gather`` of those places, one axis after the other:
    QNN's simulator 2.7 takes other numbers for an edge than are there (relative L2 1e4), and does not take the other. It pads
    whole numbers and Booleans in no way; with a constant, that is chosen outside of what was there."""

    def gathered(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Pad" or len(node.input) > 3:
            return None
        mode = attributes(node).get("mode", b"constant")
        shape, pads = known.shape(node.input[0]), known.number(node.input[1])
        if mode == b"reflect" or shape is None or 0 in shape or pads is None:
            return None
        if mode == b"constant" and known.type(node.output[0]) in {TensorProto.FLOAT, TensorProto.UNDEFINED}:
            return None
        name, nodes, inside = node.input[0], list[NodeProto](), np.ones([1] * len(shape), bool)
        for axis, size in enumerate(shape):
            before, behind = int(pads[axis]), int(pads[len(shape) + axis])
            if before or behind:
                places = np.arange(-before, size + behind)
                index = places % size if mode == b"wrap" else places.clip(0, size - 1)
                inside = inside & ((places >= 0) & (places < size)).reshape(-1, *[1] * (len(shape) - axis - 1))
                inputs = [name, known.constant(f"{node.output[0]}/places_{axis}", index)]
                name = f"{node.output[0]}/axis_{axis}"
                nodes.append(helper.make_node("Gather", inputs, [name], axis=axis))
        if mode == b"constant":
            return [*nodes, _chosen(known, node, name, inside)]
        return [*nodes, helper.make_node("Identity", [name], list(node.output))]

    return replace_nodes(known.graph, gathered)


def _chosen(known: Known, node: NodeProto, name: str, inside: NDArray[np.bool_]) -> NodeProto:
    """What a ``Pad`` gives of a constant and of a value as large as the result, some of which is inside."""
    output, kind = node.output[0], known.type(node.output[0])
    value = node.input[2] if len(node.input) > 2 else ""
    if not value:
        value = known.constant(f"{output}/zero", np.array(0, helper.tensor_dtype_to_np_dtype(kind)))
    mask = known.constant(f"{output}/inside", np.broadcast_to(inside, known.shape(output) or inside.shape).copy())
    number = known.number(value)
    if kind == TensorProto.BOOL and number is not None and not number.item():
        return helper.make_node("And", [name, mask], [output])
    return helper.make_node("Where", [mask, name, value], [output])
