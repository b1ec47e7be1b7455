"""``Einsum`` as ``Transpose``, ``Reshape`` and ``MatMul``, where the shapes are known: the HTP takes few of its equations. And
products of many rows with weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import prod
from string import ascii_letters
from typing import NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import replace_nodes

_EQUATION = re.compile(r"([A-Za-z]+(?:,[A-Za-z]+)*)->([A-Za-z]*)")

MOST_ROWS = 2048
"""Of more rows, two inputs of a batch may have more than 1,024 each."""


def turn_weights(known: Known) -> int:
    """A product with a constant of two axes, of more than :data:`MOST_ROWS`, as a ``Gemm`` that turns its weights: by QNN's
    simulator 2.7 any other is wrong from the first eighth of an input on, where that has more than 1,024 rows and is not alone
    (audio-spectrogram-transformer's 1,214 patches, relative L2 0.8)."""

    def turned(node: NodeProto) -> list[NodeProto] | None:
        settings = attributes(node)
        is_product = node.op_type == "MatMul" or (node.op_type == "Gemm" and not settings.get("transB", 0))
        if not is_product or settings.get("transA", 0) or known.type(node.input[0]) != TensorProto.FLOAT:
            return None
        x, output = node.input[0], node.output[0]
        shape, weights = known.shape(x), known.number(node.input[1])
        if shape is None or weights is None or weights.ndim != 2 or not weights.size or prod(shape[:-1]) <= MOST_ROWS:
            return None
        columns = f"{node.input[1]}/columns"
        if known.number(columns) is None:
            known.constant(columns, np.ascontiguousarray(weights.T))
        if len(shape) == 2:
            inputs = [x, columns, *node.input[2:]]
            return [helper.make_node("Gemm", inputs, [output], **{**settings, "transB": 1})]
        return [
            known.reshape(x, [-1, shape[-1]], f"{output}/rows"),
            helper.make_node("Gemm", [f"{output}/rows", columns], [f"{output}/product"], transB=1),
            known.reshape(f"{output}/product", [*shape[:-1], weights.shape[1]], output),
        ]

    return replace_nodes(known.graph, turned)


class _Operand(NamedTuple):
    name: str
    labels: str


def multiply_out(known: Known) -> int:
    """Every ``Einsum`` whose equation names its axes and its result, none of them twice in one operand."""

    def products(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Einsum":
            return None
        shapes = [known.shape(name) for name in node.input]
        if any(shape is None for shape in shapes):
            return None
        written = attributes(node)["equation"].decode().replace(" ", "")
        equation = _EQUATION.fullmatch(_without_dots(written, len(shapes[0] or ())))
        if equation is None:
            return None
        terms = equation[1].split(",")
        lengths = [len(shape or ()) for shape in shapes]
        if any(len(set(term)) < len(term) for term in terms) or lengths != [len(term) for term in terms]:
            return None
        operands = [_Operand(name, term) for name, term in zip(node.input, terms, strict=True)]
        sizes = {
            label: size
            for term, shape in zip(terms, shapes, strict=True)
            for label, size in zip(term, shape or (), strict=True)
        }
        if any(
            sizes[label] != size
            for term, shape in zip(terms, shapes, strict=True)
            for label, size in zip(term, shape or (), strict=True)
        ):
            return None  # one that is broadcast
        return _Products(known, node.output[0], sizes).written(operands, equation[2])

    return replace_nodes(known.graph, products)


def _without_dots(equation: str, axes: int) -> str:
    """The axes that an equation leaves out by dots, by names of their own: as many as the first operand has more."""
    more = axes - len(equation.partition(",")[0].partition("->")[0].replace("...", ""))
    unused = [label for label in ascii_letters if label not in equation]
    return equation.replace("...", "".join(unused[: max(more, 0)]))


class _Products:
    """The nodes of one sum of products, whose axes have these sizes."""

    def __init__(self, known: Known, output: str, sizes: dict[str, int]) -> None:
        self.known = known
        self.output = output
        self.sizes = sizes
        self.nodes: list[NodeProto] = []

    def written(self, operands: Sequence[_Operand], result: str) -> list[NodeProto]:
        first, *others = operands
        while others:
            second, *others = others
            first = self._product(first, second, {*result, *(label for other in others for label in other.labels)})
        first = self._ordered(self._summed(first, set(result)), result)
        self.nodes.append(helper.make_node("Identity", [first.name], [self.output]))
        return self.nodes

    def _name(self) -> str:
        return f"{self.output}/product_{len(self.nodes)}"

    def _summed(self, operand: _Operand, kept: Iterable[str]) -> _Operand:
        """Summed over the axes that nobody asks for any more."""
        gone = [place for place, label in enumerate(operand.labels) if label not in kept]
        if not gone:
            return operand
        name = self._name()
        axes = self.known.constant(f"{name}/axes", gone)
        self.nodes.append(helper.make_node("ReduceSum", [operand.name, axes], [name], keepdims=0))
        return _Operand(name, "".join(label for label in operand.labels if label in kept))

    def _ordered(self, operand: _Operand, labels: str) -> _Operand:
        if operand.labels == labels:
            return operand
        name = self._name()
        order = [operand.labels.index(label) for label in labels]
        self.nodes.append(helper.make_node("Transpose", [operand.name], [name], perm=order))
        return _Operand(name, labels)

    def _shaped(self, operand: _Operand, *groups: str) -> str:
        """With the axes of each group as one."""
        ordered = self._ordered(operand, "".join(groups))
        name = self._name()
        shape = [prod(self.sizes[label] for label in group) for group in groups]
        self.nodes.append(self.known.reshape(ordered.name, shape, name))
        return name

    def _product(self, left: _Operand, right: _Operand, wanted: set[str]) -> _Operand:
        left = self._summed(left, wanted | set(right.labels))
        right = self._summed(right, wanted | set(left.labels))
        shared = [label for label in left.labels if label in right.labels]
        batch = "".join(label for label in shared if label in wanted)
        inner = "".join(label for label in shared if label not in wanted)
        rows = "".join(label for label in left.labels if label not in shared)
        columns = "".join(label for label in right.labels if label not in shared)
        operands = [self._shaped(left, batch, rows, inner), self._shaped(right, batch, inner, columns)]
        name = self._name()
        self.nodes.append(helper.make_node("MatMul", operands, [name]))
        labels = batch + rows + columns
        output = f"{name}/axes"
        self.nodes.append(self.known.reshape(name, [self.sizes[label] for label in labels], output))
        return _Operand(output, labels)
