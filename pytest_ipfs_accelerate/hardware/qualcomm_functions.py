"""Functions that Qualcomm's HTP has not, as formulas of those that it has, in the standard's own notation."""

from __future__ import annotations

from .qualcomm_fixed import Known
from .qualcomm_operators import replace_nodes

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


def _write_out(known: Known, kind: str, formula: str) -> int:
    return replace_nodes(
        known.graph,
        lambda node: known.formula(formula, {"x": node.input[0]}, node.output[0]) if node.op_type == kind else None,
    )
