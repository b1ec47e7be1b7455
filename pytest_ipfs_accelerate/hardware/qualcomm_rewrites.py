"""What an ONNX graph of the dynamo exporter needs before Qualcomm's HTP takes it whole. Each rewrite names its fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .qualcomm_angles import read_sines_from_tables
from .qualcomm_apart import keep_five_axes_apart, keep_functions_apart, keep_turned_heads_apart
from .qualcomm_axes import hold_fewer_axes
from .qualcomm_convolutions import (
    add_overlapping_patches,
    average_with_padding,
    convolve_one_further,
    give_each_its_weights,
    lay_out_patches,
    pad_by_gathering,
    put_bias_before,
    take_before_convolving,
)
from .qualcomm_counts import (
    gather_all_places,
    gather_the_last,
    leave_out_empty_outputs,
    put_in_rows,
    take_out_nothing,
    write_down_true_places,
)
from .qualcomm_fixed import LARGEST, Known, at_sizes, with_shapes
from .qualcomm_functions import (
    divide_in_two,
    subtract_logarithms,
    take_largest_out_of_logarithms,
    write_out_acos,
    write_out_asinh,
)
from .qualcomm_lengths import take_lengths_of_parts
from .qualcomm_norms import divide_in_norms, multiply_into_powers
from .qualcomm_operators import (
    MOST_AXES,
    compare_booleans_as_numbers,
    divide_whole_numbers,
    merge_axes,
    multiply_out_einsums,
    sum_sizes,
    write_out_broadcasts,
)
from .qualcomm_products import multiply_out, turn_weights
from .qualcomm_sampling import sample_by_products
from .qualcomm_scatters import gather_by_a_row, scatter_by_comparison
from .qualcomm_sizes import (
    bound_powers,
    compare_with_infinity,
    gather_by_one_index,
    keep_triangles,
    scale_scores_by_vectors,
    scatter_booleans_as_numbers,
    softmax_along_the_last,
    write_out_sigmoid,
    write_out_softmax,
    write_out_softplus,
)
from .qualcomm_whole import (
    add_nothing_to_outputs,
    clamp_whole_numbers,
    cut_off_fractions,
    divide_towards_zero,
    give_booleans_as_numbers,
    leave_single,
    multiply_one_by_one,
    read_before_the_end,
    repeat_by_expanding,
    shorten_doubles,
    subtract_from_nothing,
    subtract_multiples,
)

MASKED = -100.0
"""What takes the place of a mask constant in a quantised graph: scores and mask are added, so that one scale holds both, and
-6e4 would leave the scores one step of 16 bits. exp(-100) is zero in any precision."""


def rewrite(onnx_bytes: bytes, *, quantised: bool = False) -> tuple[ModelProto, dict[str, int]]:
    """The graph as the HTP takes it, and how often each rewrite was made."""
    model = onnx.load_from_string(onnx_bytes)
    counts = {
        "clamped mask constants": clamp_constants(model.graph, MASKED if quantised else -LARGEST),
        "swapped operands of Mul": swap_weight_operands(model.graph),
        "GatherND of a Boolean mask as Gather": flatten_boolean_gathers(model.graph),
        "Equal of Booleans as Equal of numbers": compare_booleans_as_numbers(model.graph),
        "Einsum as MatMul": multiply_out_einsums(model.graph),
        "divisions of whole numbers": divide_whole_numbers(model.graph),
        "ReduceL1 as ReduceSum of Abs": sum_sizes(model.graph),
        "broadcasts before LayerNormalization and RMSNorm": write_out_broadcasts(model.graph),
        "merged axes of Transpose": merge_axes(model.graph),
        "Reciprocal as Div": divide(model.graph) if quantised else 0,
    }
    return model, {name: count for name, count in counts.items() if count}


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A graph for inputs of fixed sizes, how often each rewrite was made that needs to know them, the shapes of its outputs
    where the graph holds them in others, or not at all as they hold nothing, and for the outputs that are to be cut, the one
    that says to how many."""

    model: ModelProto
    counts: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    totals: Mapping[str, str] = field(default_factory=dict)


def rewrite_fixed(model: ModelProto, sizes: Mapping[str, Sequence[int]]) -> Fixed:
    """The graph for inputs of these sizes as the HTP takes it."""
    model = at_sizes(model, sizes)
    counts: dict[str, int] = {}
    while count := write_down_true_places(Known(model.graph)):
        counts["true places of constants"] = counts.get("true places of constants", 0) + count
        model = at_sizes(model, sizes)
    if empty := leave_out_empty_outputs(Known(model.graph)):
        counts["outputs that hold nothing"] = len(empty)
    totals: dict[str, str] = {}

    def gather_all(known: Known) -> int:
        totals.update(gather_all_places(known))
        return len(totals)

    for name, write in {**COUNTED, "all of those where a mask is true": gather_all, **FIXED}.items():
        if count := write(Known(model.graph)):
            counts[name] = count
            model = with_shapes(model)
    known = Known(model.graph)
    outputs = {value.name: known.shape(value.name) for value in model.graph.output}
    if count := hold_fewer_axes(known):
        counts["operators over fewer axes"] = count
    more = {name: shape for name, shape in outputs.items() if shape is not None and len(shape) > MOST_AXES}
    return Fixed(model, counts, more | empty, {name: total for name, total in totals.items() if total})


COUNTED = {
    "doubles as floats": shorten_doubles,
    "empty tensors taken out": take_out_nothing,
    "last of those where a mask is true": gather_the_last,
}
"""By what the evidence calls it: a rewrite that comes before the one of all places where a mask is true."""

FIXED = {
    "clamped whole numbers": clamp_whole_numbers,
    "Mod of whole numbers as what is left": subtract_multiples,
    "whole numbers divided towards zero": divide_towards_zero,
    "fractions cut off": cut_off_fractions,
    "ReduceProd as Mul": multiply_one_by_one,
    "Neg of whole numbers as Sub": subtract_from_nothing,
    "outputs of whole numbers plus 0": add_nothing_to_outputs,
    "outputs of Booleans as numbers": give_booleans_as_numbers,
    "Tile by ones left out": leave_single,
    "Tile of whole numbers as Expand": repeat_by_expanding,
    "Einsum as MatMul": multiply_out,
    "rows put in by Concat": put_in_rows,
    "ScatterElements of Booleans as of numbers": scatter_booleans_as_numbers,
    "ScatterElements that reduces by comparison": scatter_by_comparison,
    "GatherND as Gather": gather_by_one_index,
    "Gather by a row": gather_by_a_row,
    "rows of whole numbers with one behind": read_before_the_end,
    "sines from tables": read_sines_from_tables,
    "Conv one place further": convolve_one_further,
    "bias before Conv": put_bias_before,
    "strides of Conv as Slice": take_before_convolving,
    "Col2Im as Transpose": lay_out_patches,
    "Col2Im as a sum": add_overlapping_patches,
    "weights of their own": give_each_its_weights,
    "Pad as Gather": pad_by_gathering,
    "AveragePool with its padding": average_with_padding,
    "cubic GridSample as products": sample_by_products,
    "Trilu as Where": keep_triangles,
    "IsInf as a comparison": compare_with_infinity,
    "Softmax along the last axis": softmax_along_the_last,
    "scores scaled by a vector": scale_scores_by_vectors,
    "divisions in RMSNorm": divide_in_norms,
    "lengths of parts of the largest": take_lengths_of_parts,
    "divisions by large numbers in two": divide_in_two,
    "ReduceLogSumExp with its largest apart": take_largest_out_of_logarithms,
    "powers as products": multiply_into_powers,
    "bounded powers": bound_powers,
    "Acos by half of its angle": write_out_acos,
    "Asinh by logarithms": write_out_asinh,
    "logarithms of quotients as differences": subtract_logarithms,
    "Softplus as a logarithm": write_out_softplus,
    "Sigmoid as a power below zero": write_out_sigmoid,
    "weights of many rows turned": turn_weights,
    "functions apart from products": keep_functions_apart,
    "joined heads apart from products": keep_turned_heads_apart,
    "five axes apart from products": keep_five_axes_apart,
    "Softmax as powers over their sum": write_out_softmax,
}
"""By what the evidence calls it: a rewrite of a graph whose shapes are known."""


def clamp_constants(graph: GraphProto, lowest: float = -LARGEST) -> int:
    """Raise the numbers below -:data:`LARGEST` in the constants to ``lowest``."""
    changed = 0
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size and values.min() < -LARGEST:
            clamped = np.where(values < -LARGEST, np.float32(lowest), values).astype(np.float32)
            graph.initializer[index].CopyFrom(numpy_helper.from_array(clamped, tensor.name))
            changed += 1
    return changed


def swap_weight_operands(graph: GraphProto) -> int:
    """``weight * x`` as ``x * weight``: the HTP fuses the first into an RMSNorm that it then fails to finalize."""
    weights = {tensor.name for tensor in graph.initializer}
    changed = 0
    for node in graph.node:
        if node.op_type == "Mul" and node.input[0] in weights and node.input[1] not in weights:
            node.input[0], node.input[1] = node.input[1], node.input[0]
            changed += 1
    return changed


def divide(graph: GraphProto) -> int:
    """``1 / x`` by ``Div`` in place of ``Reciprocal``: quantised, the HTP's Reciprocal is wrong (llama's RMSNorm: relative L2
    0.97 where it is 0.03 with a division)."""
    changed = 0
    one = "reciprocal/one"
    for node in graph.node:
        if node.op_type == "Reciprocal":
            node.op_type = "Div"
            node.input.insert(0, one)
            changed += 1
    if changed:
        graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    return changed


def flatten_boolean_gathers(graph: GraphProto) -> int:
    """``GatherND`` of a two-dimensional Boolean mask as ``Gather`` of the flattened mask: the HTP has no such GatherND. The
    indices depend on shapes alone, so that ONNX Runtime folds their arithmetic once the shapes are fixed."""
    booleans = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.BOOL
    }
    nodes: list[NodeProto] = []
    changed = 0
    for node in graph.node:
        if node.op_type == "GatherND" and booleans.get(node.input[0]) == 2:
            nodes += _flat_gather(graph, node)
            changed += 1
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def _flat_gather(graph: GraphProto, node: NodeProto) -> list[NodeProto]:
    mask, indices, output = node.input[0], node.input[1], node.output[0]

    def name(part: str) -> str:
        return f"{output}/flat_{part}"

    for part, value in (("one", 1), ("two", 2), ("last", -1)):
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name(part)))
    return [
        helper.make_node("Shape", [mask], [name("shape")]),
        helper.make_node("Slice", [name("shape"), name("one"), name("two")], [name("width")]),
        helper.make_node("Concat", [name("width"), name("one")], [name("strides")], axis=0),
        helper.make_node("Mul", [indices, name("strides")], [name("offsets")]),
        helper.make_node("ReduceSum", [name("offsets"), name("last")], [name("positions")], keepdims=0),
        helper.make_node("Cast", [mask], [name("numbers")], to=TensorProto.INT32),
        helper.make_node("Reshape", [name("numbers"), name("last")], [name("row")]),
        helper.make_node("Gather", [name("row"), name("positions")], [name("taken")], axis=0),
        helper.make_node("Cast", [name("taken")], [output], to=TensorProto.BOOL),
    ]
