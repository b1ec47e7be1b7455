"""Functions that Qualcomm's HTP has not, or that leave fp16 on their way, as formulas of those that it has."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import drop_unused, replace_nodes

ACOS = """
acos (float x) => (float y)
<float zero = {0}, float one = {1}, float two = {2}, float half_turn = {3.14159265}> {
    size = Abs (x)
    to_one = Sub (one, size)
    less = Relu (to_one)
    more = Add (size, one)
    ratio = Div (less, more)
    tangent = Sqrt (ratio)
    half = Atan (tangent)
    angle = Mul (half, two)
    obtuse = Sub (half_turn, angle)
    negative = Less (x, zero)
    y = Where (negative, obtuse, angle)
}
"""
"""By half of its angle, whose tangent is 1 at most on either side of zero: of the size a of x it is 2 atan(sqrt((1 - a) / (1 +
a))), and pi less that for a negative x. A product that rounds to a little more than 1 has the angle 0."""

ASINH = """
asinh (float x) => (float y)
<float half = {0.5}, float one = {1}, float cubic = {-0.166666667}, float quintic = {0.075}, float septic = {-0.0446428571}> {
    size = Abs (x)
    large = Max (size, half)
    inverse = Div (one, large)
    inverse_squared = Mul (inverse, inverse)
    sum = Add (inverse_squared, one)
    root = Sqrt (sum)
    factor = Add (root, one)
    log_of_factor = Log (factor)
    log = Log (large)
    of_large = Add (log, log_of_factor)
    small = Min (size, half)
    squared = Mul (small, small)
    sixth = Mul (squared, septic)
    with_quintic = Add (sixth, quintic)
    fourth = Mul (squared, with_quintic)
    with_cubic = Add (fourth, cubic)
    second = Mul (squared, with_cubic)
    series = Add (second, one)
    of_small = Mul (small, series)
    is_small = Less (size, half)
    size_of_it = Where (is_small, of_small, of_large)
    sign = Sign (x)
    y = Mul (size_of_it, sign)
}
"""
"""Of the size a of x it is log(a) + log(1 + sqrt(1 + 1 / a²)) from a half on, and the series a - a³ / 6 + 3 a⁵ / 40 - 15 a⁷ /
336 below, where logarithms have no digits left."""


def write_out_acos(known: Known) -> int:
    """``Acos`` (yoso's attention) as :data:`ACOS`."""
    return _write_out(known, "Acos", ACOS)


def write_out_asinh(known: Known) -> int:
    """``Asinh`` (the sounds of moonshine_streaming) as :data:`ASINH`."""
    return _write_out(known, "Asinh", ASINH)


SMALL = 1e-3
"""Divided by less than this, a number may be one that fp16 has not."""


def subtract_logarithms(known: Known) -> int:
    """The logarithm of a quotient, of what is raised to nearly nothing, as a difference of logarithms: fp16 ends before 1
    divided by 1e-5, so that a box of pp_doclayout_v3 that ends where its picture does is 4% off."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def nearly_nothing(name: str) -> bool:
        node = by_output.get(name)
        if node is None or node.op_type not in {"Clip", "Max"} or len(node.input) < 2:
            return False
        least = known.number(node.input[1])
        return least is not None and bool(((least > 0) & (least < SMALL)).all())

    def subtracted(node: NodeProto) -> list[NodeProto] | None:
        quotient = by_output.get(node.input[0]) if node.op_type == "Log" else None
        if quotient is None or quotient.op_type != "Div" or not all(map(nearly_nothing, quotient.input)):
            return None
        parts = [f"{node.output[0]}/{part}" for part in ("above", "below")]
        logarithms = [helper.make_node("Log", [x], [part]) for x, part in zip(quotient.input, parts, strict=True)]
        return [*logarithms, helper.make_node("Sub", parts, node.output)]

    if changed := replace_nodes(known.graph, subtracted):
        drop_unused(known.graph)
    return changed


LOG_OF_SUM = """
log_of_sum (float x, int64[n] axes) => (float y)
<float lowest = {-3.4028234e38}, float highest = {3.4028234e38}> {
    most = ReduceMax <keepdims = 1> (x, axes)
    largest = Clip (most, lowest, highest)
    below = Sub (x, largest)
    power = Exp (below)
    sum = ReduceSum <keepdims = 1> (power, axes)
    log = Log (sum)
    y = Add (log, most)
}
"""
"""The logarithm of a sum of powers, each less than 1: fp16 ends at the power of 11. An infinity less itself would be none."""


def take_largest_out_of_logarithms(known: Known) -> int:
    """``ReduceLogSumExp`` (the scores of granite_swa's attention) as :data:`LOG_OF_SUM`."""
    return replace_nodes(
        known.graph,
        lambda node: write_out_reduction(known, node, LOG_OF_SUM) if node.op_type == "ReduceLogSumExp" else None,
    )


LARGEST_DIVISOR = 8192.0
"""Its inverse is a normal number of fp16, with all of its digits."""

MOST_OF_SUMS = 2.0**40
"""Sums that are divided by more are not multiplied before: what is to be divided by less would have no digits left."""


def divide_in_two(known: Known) -> int:
    """``Div`` by a constant with numbers beyond :data:`LARGEST_DIVISOR` as a product with a power of two and a division by what
    is left. Sums along an axis are multiplied before they grow beyond fp16 (in gemma3n_audio, of squares, to 529,263)."""
    by_output = {name: node for node in known.graph.node for name in node.output}

    def parted(node: NodeProto) -> list[NodeProto] | None:
        divisor = known.number(node.input[1]) if node.op_type == "Div" else None
        if divisor is None or divisor.dtype != np.float32 or not (np.abs(divisor) > LARGEST_DIVISOR).any():
            return None
        x, output, most = node.input[0], node.output[0], np.abs(divisor).max()
        sums = by_output.get(x)
        if sums is not None and (sums.op_type != "CumSum" or most > MOST_OF_SUMS):
            sums = None
        _, exponent = np.frexp((divisor if sums is None else most) / LARGEST_DIVISOR)
        less = np.asarray(np.exp2(-np.maximum(exponent, 0)), np.float32)
        factor = known.constant(f"{output}/less", less)
        left = known.constant(f"{output}/divisor", np.asarray(divisor * less))
        nodes = [helper.make_node("Mul", [x if sums is None else sums.input[0], factor], [f"{output}/part"])]
        if sums is not None:
            inputs = [f"{output}/part", sums.input[1]]
            nodes.append(helper.make_node("CumSum", inputs, [f"{output}/sums"], **attributes(sums)))
        return [*nodes, helper.make_node("Div", [nodes[-1].output[0], left], [output])]

    if changed := replace_nodes(known.graph, parted):
        drop_unused(known.graph)
    return changed


def axes_of(known: Known, node: NodeProto) -> str:
    """The constant of the axes that a reduction of floats leaves out, a new one where it names none; empty where it may leave
    out nothing, or nobody knows its shape."""
    shape = known.shape(node.input[0])
    if shape is None or known.type(node.input[0]) != TensorProto.FLOAT:
        return ""
    named = str(node.input[1]) if len(node.input) > 1 else ""
    axes = known.number(named)
    if attributes(node).get("noop_with_empty_axes", 0) and (axes is None or not axes.size):
        return ""
    every = f"{node.output[0]}/axes"
    return named or (every if known.number(every) is not None else known.constant(every, np.arange(len(shape))))


def write_out_reduction(known: Known, node: NodeProto, formula: str) -> list[NodeProto] | None:
    """A reduction by a formula of ``x`` and ``axes`` that keeps its axes, which are left out after it where the node does."""
    output = node.output[0]
    axes = axes_of(known, node)
    if not axes:
        return None
    inputs = {"x": node.input[0], "axes": axes}
    if attributes(node).get("keepdims", 1):
        return known.formula(formula, inputs, output)
    return [
        *known.formula(formula, inputs, f"{output}/kept"),
        helper.make_node("Squeeze", [f"{output}/kept", axes], [output]),
    ]


def _write_out(known: Known, kind: str, formula: str) -> int:
    return replace_nodes(
        known.graph,
        lambda node: known.formula(formula, {"x": node.input[0]}, node.output[0]) if node.op_type == kind else None,
    )
