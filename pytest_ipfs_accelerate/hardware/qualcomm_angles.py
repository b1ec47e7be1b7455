"""Sines of angles that are positions times constant frequencies, read from tables: fp16 cannot hold a large angle."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import replace_nodes

BLOCK = 256
"""A position is a multiple of this, whose sine one table holds, and a rest, whose sine another one does."""

BLOCKS = 512
"""Multiples on either side of 0: 131,072 positions from 0 on, and as many before it."""

_FUNCTIONS = {"Sin": np.sin, "Cos": np.cos}
_VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity"})
_FIRST = ("Transpose", "Slice", "Gather", "Split", "Expand", *_VIEWS)
_MOVED: dict[str, slice] = {
    **dict.fromkeys(_FIRST, slice(1)),
    **dict.fromkeys(("ScatterND", "ScatterElements"), slice(0, 3, 2)),
    "Where": slice(1, 3),
    "Concat": slice(None),
}
"""Which operands a node moves without a change of their numbers."""


def read_sines_from_tables(known: Known) -> int:
    """``Sin`` and ``Cos`` of angles that are positions (whole numbers) times constant frequencies, read from two tables as
    sin(a + b) = sin a cos b + cos a sin b, where a is that of a multiple of :data:`BLOCK` and b that of the rest.

    The HTP multiplies in fp16, which counts by 1/32 from 32 on: the sines of rotary positions 0 to 39 are wrong by up to 3e-2
    (relative L2 4.6e-3), of 100 to 139 by 9e-2 (1.7e-2), of 1,000 to 1,039 by 1.0 (0.13). From tables it is 2e-4 to 5e-4.
    """
    tables = _Tables(known)

    def read(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type not in _FUNCTIONS or (name := tables.function(node.op_type, node.input[0])) is None:
            return None
        made, tables.nodes = tables.nodes, []
        return [*made, helper.make_node("Identity", [name], list(node.output))]

    return replace_nodes(known.graph, read)


class _Product(NamedTuple):
    """Positions times frequencies: the name and shape of the positions, and the frequencies; as many axes as the result."""

    whole: str
    positions: tuple[int, ...]
    frequencies: NDArray[Any]


class _Tables:
    """The nodes that read the sines of a graph's angles, each once."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.nodes: list[NodeProto] = []
        self._by_output = {name: node for node in known.graph.node for name in node.output}
        self._found: dict[tuple[str, str], str | None] = {}

    def function(self, kind: str, name: str) -> str | None:
        """The name of the sine or cosine of a value; ``None`` where it is no such angle."""
        key = kind, name
        if key not in self._found:
            self._found[key] = None
            node = self._by_output.get(name)
            if (angles := self.known.number(name)) is not None:
                values = _FUNCTIONS[kind](angles.astype(np.float64)).astype(np.float32)
                self._found[key] = self.known.constant(_called(kind, name), values)
            elif node is not None and node.op_type in _MOVED:
                self._move(kind, node)
            elif node is not None and (product := self._product(node)) is not None:
                self._read(node.output[0], product)
        return self._found[key]

    def _move(self, kind: str, node: NodeProto) -> None:
        """The same move of the sines of what is moved."""
        if attributes(node).get("reduction", b"none") != b"none":
            return
        inputs = list(node.input)
        moved = [self.function(kind, name) for name in inputs[_MOVED[node.op_type]]]
        sines = [name for name in moved if name is not None]
        if len(sines) == len(moved):
            inputs[_MOVED[node.op_type]] = sines
            outputs = [_called(kind, name) for name in node.output]
            self.nodes.append(helper.make_node(node.op_type, inputs, outputs, **attributes(node)))
            self._found |= {(kind, name): output for name, output in zip(node.output, outputs, strict=True)}

    def _product(self, node: NodeProto) -> _Product | None:
        """What a node multiplies, by ``Mul`` or by ``MatMul`` over an axis of one, where no axis is one of both."""
        shape = self.known.shape(node.output[0])
        if node.op_type not in {"Mul", "MatMul"} or shape is None:
            return None
        for place in range(2):
            numbers, positions = self.known.number(node.input[place]), self.known.shape(node.input[1 - place])
            whole = self._whole(node.input[1 - place])
            if numbers is None or positions is None or whole is None:
                continue
            if node.op_type == "MatMul" and (min(numbers.ndim, len(positions)) < 2 or numbers.shape[-1 - place] != 1):
                continue
            padded = [(1,) * (len(shape) - len(size)) + tuple(size) for size in (positions, numbers.shape)]
            product = _Product(whole, padded[0], _shrunk(numbers.reshape(padded[1])))
            if _apart(product) and prod(padded[0]) * product.frequencies.size == prod(shape):
                return product
        return None

    def _whole(self, name: str) -> str | None:
        """The whole numbers of which a value is a view, as floats."""
        node = self._by_output.get(name)
        while node is not None and node.op_type in _VIEWS:
            node = self._by_output.get(node.input[0])
        if node is None or node.op_type != "Cast":
            return None
        return node.input[0] if self.known.type(node.input[0]) in {TensorProto.INT64, TensorProto.INT32} else None

    def _read(self, output: str, product: _Product) -> None:
        """Both functions of a product."""
        number, frequencies = prod(product.positions), product.frequencies.ravel().astype(np.float64)

        def make(kind: str, inputs: list[str], part: str, **extra: Any) -> str:
            self.nodes.append(helper.make_node(kind, inputs, [f"{output}/{part}"], **extra))
            return f"{output}/{part}"

        block = self.known.constant(f"{output}/block", np.array(BLOCK, np.int32))
        zero = self.known.constant(f"{output}/zero", np.array(BLOCKS * BLOCK, np.int32))
        self.nodes.append(self.known.reshape(product.whole, [number], f"{output}/row"))
        row = make("Cast", [f"{output}/row"], "positions", to=TensorProto.INT32)
        above = make("Add", [row, zero], "above_zero")  # Div rounds towards zero
        multiple = make("Div", [above, block], "multiple")
        rest = make("Sub", [above, make("Mul", [multiple, block], "start")], "rest")
        parts: dict[str, str] = {}
        for part, index, places in (("a", multiple, np.arange(-BLOCKS, BLOCKS) * BLOCK), ("b", rest, np.arange(BLOCK))):
            for kind, function in _FUNCTIONS.items():
                table = function(np.outer(places, frequencies)).astype(np.float32)
                name = self.known.constant(f"{output}/table_{kind}_{part}", table)
                parts[f"{kind} {part}"] = make("Gather", [name, index], f"{kind}_{part}", axis=0)
        for kind, other, join in (("Sin", "Cos", "Add"), ("Cos", "Sin", "Sub")):
            first = make("Mul", [parts[f"{kind} a"], parts["Cos b"]], f"{kind}_first")
            second = make("Mul", [parts[f"{other} a"], parts["Sin b"]], f"{kind}_second")
            rows = make(join, [first, second], f"{kind}_rows")
            self._found[kind, output] = self._placed(rows, product, _called(kind, output))

    def _placed(self, rows: str, product: _Product, output: str) -> str:
        """A row for each position, with the axis of the frequencies at its place."""
        sizes = product.frequencies.shape
        first, count = _axes(sizes)[0], product.frequencies.size
        before, behind = prod(product.positions[:first]), prod(product.positions[first:])
        if behind > 1:
            self.nodes += [
                self.known.reshape(rows, [before, behind, count], f"{output}_apart"),
                helper.make_node("Transpose", [f"{output}_apart"], [f"{output}_turned"], perm=[0, 2, 1]),
            ]
            rows = f"{output}_turned"
        shape = [max(pair) for pair in zip(product.positions, sizes, strict=True)]
        self.nodes.append(self.known.reshape(rows, shape, output))
        return output


def _called(kind: str, name: str) -> str:
    return f"{name}/{kind.lower()}"


def _shrunk(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers without what repeats them along an axis."""
    for axis in range(numbers.ndim):
        first = numbers.take([0], axis)
        if (numbers == first).all():
            numbers = first
    return numbers


def _axes(shape: tuple[int, ...]) -> list[int]:
    """The axes of more than one; the last where there is none."""
    return [axis for axis, size in enumerate(shape) if size > 1] or [len(shape) - 1]


def _apart(product: _Product) -> bool:
    """Whether the axes of the frequencies lie beside each other, and positions have none of them."""
    axes = _axes(product.frequencies.shape)
    return prod(product.positions[axes[0] : axes[-1] + 1]) == 1 or product.frequencies.size == 1
