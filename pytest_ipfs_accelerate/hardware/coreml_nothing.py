"""Tensors of no elements, of which Core ML has none: they are left out of a program, and those that it is to give are made
around it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node

from .coreml_shapes import put, value_of


def drop_empty(program: ExportedProgram) -> int:
    """Take the tensors of no elements from a program that are to be placed in others, or joined with them. How many are."""
    graph, count = program.graph, 0
    for node in list(graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, OpOverload) or is_empty(node):
            continue
        if not any(is_empty(argument) for argument in node.all_input_nodes):
            continue
        if node.target._schema.name in _PLACING:
            put(program, node, node.args[0])
            count += 1
        elif node.target is torch.ops.aten.cat.default:
            # One of them may have a rank of its own, 1.
            node.args = ([tensor for tensor in node.args[0] if not is_empty(tensor)], *node.args[1:])
            count += 1
    if count:
        graph.eliminate_dead_code()
        program.graph_module.recompile()
    return count


_PLACING = ("aten::slice_scatter", "aten::index_put", "aten::scatter", "aten::scatter_add", "aten::masked_scatter")
"""Ops that give their first argument with others in some of its places."""


def drop_empty_ends(program: ExportedProgram) -> None:
    """Take the tensors of no elements from the inputs and the outputs of a program.

    Raises:
        ValueError: a node reads one that stays.
    """
    signature = program.graph_signature
    (output,) = program.graph.find_nodes(op="output")
    kept = [
        (spec, node) for spec, node in zip(signature.output_specs, output.args[0], strict=True) if not is_empty(node)
    ]
    signature.output_specs[:] = [spec for spec, _ in kept]
    output.args = (tuple(node for _, node in kept),)
    program.graph.eliminate_dead_code()
    for node in program.graph.find_nodes(op="placeholder"):
        if is_empty(node):
            if node.users:
                raise ValueError(f"{next(iter(node.users))} reads an input that holds nothing")
            signature.input_specs[:] = [spec for spec in signature.input_specs if spec.arg.name != node.name]
            program.graph.erase_node(node)
    program.graph_module.recompile()


def is_empty(node: Node) -> bool:
    """Whether a node gave a tensor of no elements when it was traced."""
    value = value_of(node)
    return isinstance(value, Tensor) and any(type(size) is int and size == 0 for size in value.shape)
