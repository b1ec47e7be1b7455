"""Tensors of more axes than Qualcomm's HTP takes, held with their first axes as one. Every operator that reads or writes one is
written over fewer axes; the numbers stay where they are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from onnx import NodeProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import MOST_AXES, replace_nodes, together

Shape = tuple[int, ...]

_SAME_MEMORY = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten"})
_ELEMENTWISE = frozenset(
    {
        *(
            "Abs",
            "Ceil",
            "Cos",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "Identity",
            "LeakyRelu",
        ),
        *("Log", "Neg", "Not", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt", "Tanh"),
        *("Add", "Div", "Max", "Min", "Mod", "Mul", "Pow", "Sub", "Cast", "Clip", "Where"),
        *("And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    }
)
_OVER_FOUR = frozenset(
    {
        *("Ceil", "Cos", "Erf", "Exp", "Floor", "Log", "Max", "Min", "Neg", "Round", "Sign", "Sin", "Sqrt", "Tanh"),
        *("And", "BatchNormalization", "CumSum", "LayerNormalization", "LogSoftmax", "Or", "Xor"),
    }
)
"""Operators that the HTP takes over four axes at most."""
_SCALARS_AFTER_FIRST = frozenset({"Clip"})
_REDUCTIONS = frozenset({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"})


def held(shape: Sequence[int]) -> Shape:
    """The shape in which a tensor is held."""
    first = len(shape) - MOST_AXES + 1
    return (prod(shape[:first]), *shape[first:]) if first > 1 else tuple(shape)


def hold_fewer_axes(known: Known) -> int:
    """Write every operator on a tensor of more axes than :data:`MOST_AXES` over fewer; how many were. The inputs and outputs of
    the graph are held so, too."""

    def over_fewer(node: NodeProto) -> list[NodeProto] | None:
        shapes = [known.shape(name) for name in (*node.input, *node.output)]
        most = MOST_AXES - 1 if node.op_type in _OVER_FOUR or _by_a_matrix(known, node) else MOST_AXES
        if not any(shape is not None and len(shape) > most for shape in shapes):
            return None
        return _Writer(known, node).written()

    changed = replace_nodes(known.graph, over_fewer)
    for value in (*known.graph.input, *known.graph.output):
        shape = known.shape(value.name)
        if shape is not None and len(shape) > MOST_AXES:
            del value.type.tensor_type.shape.dim[:]
            for size in held(shape):
                value.type.tensor_type.shape.dim.add().dim_value = size
    if changed:
        del known.graph.value_info[:]
    return changed


class _Writer:
    """The nodes that take the place of one."""

    def __init__(self, known: Known, node: NodeProto) -> None:
        self.known = known
        self.node = node
        self.attributes = attributes(node)
        self.nodes: list[NodeProto] = []
        self._count = 0

    def written(self) -> list[NodeProto] | None:
        kind = self.node.op_type
        shapes = [self.known.shape(name) for name in (*self.node.input, *self.node.output) if name]
        if any(shape is None or 0 in shape for shape in shapes):
            return None
        if kind in _SAME_MEMORY:
            self.put(self.node.input[0])
        elif kind in _ELEMENTWISE:
            self._elementwise()
        elif (write := getattr(self, f"_{kind.lower()}", None)) is not None:
            if not write():
                return None
        elif kind in _REDUCTIONS:
            if not self._reduction():
                return None
        else:
            return None
        return self.nodes

    def shape(self, name: str) -> Shape:
        shape = self.known.shape(name)
        assert shape is not None, "written() asked for all of them"
        return shape

    def name(self) -> str:
        self._count += 1
        return f"{self.node.output[0]}/fewer_axes_{self._count}"

    def make(self, kind: str, inputs: Sequence[str], outputs: int = 1, **extra: Any) -> list[str]:
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **extra))
        return names

    def viewed(self, name: str, shape: Sequence[int]) -> str:
        """A value in another shape."""
        output = self.name()
        self.nodes.append(self.known.reshape(name, shape, output))
        return output

    def put(self, name: str, output: str | None = None) -> None:
        """A value as an output of the node, in the shape in which that is held."""
        output = output or self.node.output[0]
        self.nodes.append(self.known.reshape(name, held(self.shape(output)), output))

    def ints(self, values: Sequence[int] | int) -> str:
        return self.known.constant(self.name(), values)

    # Each of these writes one kind of operator, and says whether it could.

    def _elementwise(self) -> None:
        whole = self.shape(self.node.output[0])
        operands = list(self.node.input)
        broadcast = operands[:1] if self.node.op_type in _SCALARS_AFTER_FIRST else operands
        padded = {name: (1,) * (len(whole) - len(self.shape(name))) + self.shape(name) for name in broadcast}
        groups = list(_alike(whole, list(padded.values())))
        most = MOST_AXES - 1 if self.node.op_type in _OVER_FOUR else MOST_AXES
        if len(groups) > most:  # what is the same along some of the axes is written out
            written = {name: self._expanded(name, padded[name], whole) for name in padded if prod(padded[name]) > 1}
            padded |= dict.fromkeys(written, whole)
            groups = list(_alike(whole, list(padded.values())))
        else:
            written = {}
        inputs = [
            self.viewed(written.get(name, name), [prod(padded[name][i] for i in group) for group in groups])
            if name in padded
            else name
            for name in operands
        ]
        (result,) = self.make(self.node.op_type, inputs, **self.attributes)
        self.put(result)

    def _expanded(self, name: str, shape: Shape, whole: Shape) -> str:
        """A value repeated along the axes along which it is one, one axis at a time."""
        sizes = list(shape)
        for axis, size in enumerate(whole):
            if sizes[axis] == size:
                continue
            view = self.viewed(name, [prod(sizes[:axis]), 1, prod(sizes[axis + 1 :])])
            target = self.ints([prod(sizes[:axis]), size, prod(sizes[axis + 1 :])])
            (name,) = self.make("Expand", [view, target])
            sizes[axis] = size
        return name

    def _expand(self) -> bool:
        whole = self.shape(self.node.output[0])
        shape = self.shape(self.node.input[0])
        self.put(self._expanded(self.node.input[0], (1,) * (len(whole) - len(shape)) + shape, whole))
        return True

    def _tile(self) -> bool:
        repeats = self.known.number(self.node.input[1])
        if repeats is None:
            return False
        name, sizes = self.node.input[0], list(self.shape(self.node.input[0]))
        for axis, repeat in enumerate(repeats.tolist()):
            if repeat != 1:
                view = self.viewed(name, _about(sizes, axis))
                (name,) = self.make("Tile", [view, self.ints([1, repeat, 1])])
                sizes[axis] *= repeat
        self.put(name)
        return True

    def _transpose(self) -> bool:
        shape = self.shape(self.node.input[0])
        order = self.attributes.get("perm", list(range(len(shape)))[::-1])
        places = [axis for axis in range(len(shape)) if shape[axis] != 1]
        groups = together([places.index(axis) for axis in order if shape[axis] != 1])
        sizes = [prod(shape[places[axis]] for axis in group) for group in sorted(groups)]
        permutation = [sorted(groups).index(group) for group in groups]
        name = self.node.input[0]
        if len(groups) <= MOST_AXES:
            (name,) = self.make("Transpose", [self.viewed(name, sizes or [1])], perm=permutation or [0])
        else:  # one block after the other to its place
            at = list(range(len(sizes)))
            for place, wanted in enumerate(permutation):
                found = at.index(wanted)
                if found == place:
                    continue
                parts = [at[:place], at[place:found], [wanted], at[found + 1 :]]
                view = self.viewed(name, [prod(sizes[axis] for axis in part) for part in parts])
                (name,) = self.make("Transpose", [view], perm=[0, 2, 1, 3])
                at = [*parts[0], wanted, *parts[1], *parts[3]]
        self.put(name)
        return True

    def _gather(self) -> bool:
        data, indices = self.node.input
        view = self.viewed(data, _about(self.shape(data), self.attributes.get("axis", 0)))
        row = self.viewed(indices, [prod(self.shape(indices))])
        self.put(*self.make("Gather", [view, row], axis=1))
        return True

    def _concat(self) -> bool:
        axis = self.attributes["axis"]
        self.put(
            *self.make(
                "Concat", [self.viewed(name, _about(self.shape(name), axis)) for name in self.node.input], axis=1
            )
        )
        return True

    def _split(self) -> bool:
        data, axis = self.node.input[0], self.attributes.get("axis", 0)
        sizes = self.ints([self.shape(name)[axis] for name in self.node.output])
        view = self.viewed(data, _about(self.shape(data), axis))
        for name, output in zip(
            self.make("Split", [view, sizes], len(self.node.output), axis=1), self.node.output, strict=True
        ):
            self.put(name, output)
        return True

    def _slice(self) -> bool:
        numbers = [self.known.number(name) for name in self.node.input[1:] if name]
        if len(numbers) < 3 or any(number is None for number in numbers):
            return False
        starts, ends, axes, *steps = (number.tolist() for number in numbers if number is not None)
        name, sizes = self.node.input[0], list(self.shape(self.node.input[0]))
        for start, end, axis, step in zip(starts, ends, axes, steps[0] if steps else [1] * len(axes), strict=True):
            view = self.viewed(name, _about(sizes, axis))
            (name,) = self.make("Slice", [view, *(self.ints([number]) for number in (start, end, 1, step))])
            sizes[axis] = len(range(sizes[axis])[slice(start, end if step > 0 or end >= -sizes[axis] else None, step)])
        self.put(name)
        return True

    def _softmax(self) -> bool:
        return self._along_one_axis(self.attributes.get("axis", -1))

    def _logsoftmax(self) -> bool:
        return self._along_one_axis(self.attributes.get("axis", -1))

    def _along_one_axis(self, axis: int) -> bool:
        view = self.viewed(self.node.input[0], _about(self.shape(self.node.input[0]), axis))
        self.put(*self.make(self.node.op_type, [view], axis=1))
        return True

    def _cumsum(self) -> bool:
        axis = self.known.number(self.node.input[1])
        if axis is None:
            return False
        view = self.viewed(self.node.input[0], _about(self.shape(self.node.input[0]), int(axis.item())))
        self.put(*self.make("CumSum", [view, self.ints(1)], **self.attributes))
        return True

    def _layernormalization(self) -> bool:
        data, *weights = self.node.input
        shape, axis = self.shape(data), self.attributes.get("axis", -1)
        if axis not in (-1, len(shape) - 1) or len(self.node.output) != 1:
            return False
        view = self.viewed(data, [prod(shape[:-1]), shape[-1]])
        self.put(*self.make("LayerNormalization", [view, *weights], **{**self.attributes, "axis": -1}))
        return True

    def _batchnormalization(self) -> bool:
        data, *numbers = self.node.input
        if len(self.node.output) != 1:
            return False
        view = self.viewed(data, _about(self.shape(data), 1))
        self.put(*self.make("BatchNormalization", [view, *numbers], **self.attributes))
        return True

    def _matmul(self) -> bool:
        left, right = self.node.input
        if _by_a_matrix(self.known, self.node):
            shape = self.shape(left)
            self.put(*self.make("MatMul", [self.viewed(left, [prod(shape[:-1]), shape[-1]]), right]))
            return True
        leading = self.shape(self.node.output[0])[:-2]
        views = []
        for name in (left, right):
            shape = self.shape(name)
            if len(shape) < 2:
                return False
            whole = (*leading, *shape[-2:])
            expanded = self._expanded(name, (1,) * (len(whole) - len(shape)) + shape, whole)
            views.append(self.viewed(expanded, [prod(leading), *shape[-2:]]))
        self.put(*self.make("MatMul", views))
        return True

    def _reduction(self) -> bool:
        data = self.node.input[0]
        sizes = list(self.shape(data))
        axes = self.attributes.get("axes")
        if len(self.node.input) > 1 and self.node.input[1]:
            number = self.known.number(self.node.input[1])
            if number is None:
                return False
            axes = number.tolist()
        name = data
        for axis in axes if axes else range(len(sizes)):
            view = self.viewed(name, _about(sizes, axis))
            (name,) = self.make(self.node.op_type, [view, self.ints([1])], keepdims=1)
            sizes[axis] = 1
        self.put(name)
        return True


def _by_a_matrix(known: Known, node: NodeProto) -> bool:
    """Whether it multiplies with one matrix, which the HTP does over four axes at most (the patches of inkling)."""
    return node.op_type == "MatMul" and len(known.shape(node.input[1]) or ()) == 2


def _about(shape: Sequence[int], axis: int) -> list[int]:
    """The shape as three axes: what is before an axis, the axis, what is behind it."""
    axis %= len(shape)
    return [prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])]


def _alike(whole: Shape, operands: Sequence[Shape]) -> Iterator[list[int]]:
    """The axes of ``whole`` in runs along each of which every operand is either whole or one."""
    group: list[int] = []
    for axis, size in enumerate(whole):
        if group and size != 1:
            last = max((other for other in group if whole[other] != 1), default=None)
            if last is not None and any((shape[last] == 1) != (shape[axis] == 1) for shape in operands):
                yield group
                group = []
        group.append(axis)
    if group:
        yield group
