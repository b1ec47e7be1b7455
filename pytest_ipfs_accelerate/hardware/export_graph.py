"""What is wrong in a graph that onnxscript gives, mended in the graph."""

from __future__ import annotations

import numpy as np
import onnx_ir


def restore_initializers(graph: onnx_ir.Graph) -> int:
    """Register the constants that nodes read and the graph does not hold; how many they were.

    onnxscript 0.7.2 names the bounds of a clip after what is clipped. Where one value is clipped twice the second constant
    takes the first one's place among the initializers, and ONNX Runtime refuses the graph.
    """
    restored = 0
    for node in graph.all_nodes():
        for value in node.inputs:
            if value is None or value.const_value is None or value.producer() is not None:
                continue
            name = value.name or ""
            if graph.initializers.get(name) is value or value.graph is not None:
                continue
            if name in graph.initializers:
                value.name = f"{value.name}_restored_{restored}"
            graph.register_initializer(value)
            restored += 1
    return restored


def make_nothing_anew(graph: onnx_ir.Graph) -> int:
    """Make what a reshape gives of a tensor without elements anew, from its sizes; how many there were.

    A -1 in its shape stands for what is left of the elements, which is undefined where there are none: a layer of latent
    attention without rotary positions (mistral_large4, glm5_next) keeps keys of width 0. OpenVINO takes no 0 in a shape at all.
    The size is that of an axis of the input.
    """
    changed = 0
    for node in list(graph.all_nodes()):
        sizes = _fixed_sizes(node) if node.op_type == "Reshape" and _takes_zero(node) else []
        axis = _axis_like(node, sizes.index(-1)) if {-1, 0} <= set(sizes) else None
        if axis is None or node.graph is None:
            continue
        made = _nothing(node, sizes, axis)
        node.graph.insert_before(node, made[:-1])
        given, anew = node.outputs[0], made[-1].outputs[0]
        anew.shape, anew.type = given.shape, given.type
        onnx_ir.convenience.replace_nodes_and_values(node.graph, node, [node], made[-1:], [given], [anew])
        changed += 1
    return changed


def _takes_zero(node: onnx_ir.Node) -> bool:
    """Whether a 0 in the shape of a reshape is a size, and not that of the same axis before."""
    attribute = node.attributes.get("allowzero")
    return attribute is not None and attribute.value == 1


def _fixed_sizes(node: onnx_ir.Node) -> list[int]:
    """The shape that a node reshapes to, where it is a constant."""
    shape = node.inputs[1]
    return [] if shape is None or shape.const_value is None else [int(size) for size in shape.const_value.numpy()]


def _axis_like(node: onnx_ir.Node, axis: int) -> int | None:
    """The axis of what a node takes that is as long as ``axis`` of what it gives."""
    taken, given = node.inputs[0], node.outputs[0]
    if taken is None or taken.shape is None or given.shape is None:
        return None
    return next((index for index, size in enumerate(taken.shape) if size == given.shape[axis]), None)


def _nothing(node: onnx_ir.Node, sizes: list[int], axis: int) -> list[onnx_ir.Node]:
    """The nodes that make a tensor of these sizes, one of them that of ``axis`` of what ``node`` takes."""
    (taken, *_), name = node.inputs, node.outputs[0].name
    assert taken is not None, "a reshape takes a tensor"
    kind = taken.dtype or onnx_ir.DataType.FLOAT
    length = onnx_ir.node("Shape", [taken], {"start": axis, "end": axis + 1})
    parts = [
        length if size == -1 else onnx_ir.node("Constant", [], {"value": onnx_ir.tensor(np.array([size], np.int64))})
        for size in sizes
    ]
    shape = onnx_ir.node("Concat", [part.outputs[0] for part in parts], {"axis": 0})
    for number, each in enumerate((*parts, shape)):
        each.outputs[0].name = f"{name}/size_{number}"
    zero = onnx_ir.tensor(np.zeros(1, kind.numpy()))
    return [*parts, shape, onnx_ir.node("ConstantOfShape", shape.outputs, {"value": zero}, name=node.name)]
