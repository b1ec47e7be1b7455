"""``GridSample`` of a kind that Qualcomm's HTP does not take, as a product with weights that are made on it."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import replace_nodes

SHARPNESS = -0.75
"""The parameter of the cubic kernel, as ONNX and torch have it."""


def sample_by_products(known: Known) -> int:
    """Cubic ``GridSample`` of pictures as the weight of each of their pixels for each point, times the pixels: the HTP samples
    linearly alone (glm4v reads its table of positions so)."""

    def product(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "GridSample":
            return None
        given = attributes(node)
        pictures, grid = known.shape(node.input[0]), known.shape(node.input[1])
        padding = given.get("padding_mode", b"zeros")
        if given.get("mode", b"linear") != b"cubic" or padding == b"reflection" or not pictures or not grid:
            return None
        if len(pictures) != 4:
            return None
        writer = _Writer(known, node.output[0], bool(given.get("align_corners", 0)), padding == b"border")
        return writer.written(node, pictures, grid)

    return replace_nodes(known.graph, product)


class _Writer:
    """The nodes that take the place of one."""

    def __init__(self, known: Known, output: str, aligned: bool, border: bool) -> None:
        self.known = known
        self.output = output
        self.aligned = aligned
        self.border = border
        self.nodes: list[NodeProto] = []

    def written(self, node: NodeProto, pictures: tuple[int, ...], grid: tuple[int, ...]) -> list[NodeProto]:
        count, channels, height, width = pictures
        points = prod(grid[1:-1])
        rows = self.view(node.input[1], [count, points, 2])
        parts = self.make("Split", [rows], 2, axis=2, num_outputs=2)
        across = self.view(self.weights(parts[0], width), [count, points, 1, width])
        down = self.view(self.weights(parts[1], height), [count, points, height, 1])
        weights = self.view(self.one("Mul", [down, across]), [count, points, height * width])
        pixels = self.one("Transpose", [self.view(node.input[0], [count, channels, height * width])], perm=[0, 2, 1])
        sampled = self.one("Transpose", [self.one("MatMul", [weights, pixels])], perm=[0, 2, 1])
        self.nodes.append(self.known.reshape(sampled, [count, channels, *grid[1:-1]], self.output))
        return self.nodes

    def weights(self, coordinate: str, size: int) -> str:
        """How much each place along an axis of the picture counts for each point: points × places."""
        half = (size - 1 if self.aligned else size) / 2
        place = self.one("Add", [self.one("Mul", [coordinate, self.number(half)]), self.number((size - 1) / 2)])
        first = self.one("Floor", [place])
        one = self.number(1)
        behind = self.one("Sub", [place, first])  # of the place before the point, from 0 to 1
        ahead = self.one("Sub", [one, behind])
        places = self.known.constant(self.name(), np.arange(size, dtype=np.int32))
        total = ""
        for tap, weight in enumerate(
            (self.far(behind, ahead), self.near(behind, ahead), self.near(ahead, behind), self.far(ahead, behind)), -1
        ):
            at = self.one("Add", [first, self.number(tap)])
            if self.border:
                at = self.one("Clip", [at, self.number(0), self.number(size - 1)])
            here = self.one("Equal", [self.one("Cast", [at], to=TensorProto.INT32), places])
            term = self.one("Mul", [self.one("Cast", [here], to=TensorProto.FLOAT), weight])
            total = self.one("Add", [total, term]) if total else term
        return total

    def near(self, distance: str, rest: str) -> str:
        """The kernel at a distance of up to one: (1 - d)(1 + d - (a + 2)d²), which loses less in fp16 than a sum of powers."""
        square = self.one("Mul", [distance, distance])
        bent = self.one("Mul", [square, self.number(SHARPNESS + 2)])
        raised = self.one("Add", [distance, self.number(1)])
        return self.one("Mul", [rest, self.one("Sub", [raised, bent])])

    def far(self, beyond: str, rest: str) -> str:
        """The kernel at a distance of one and ``beyond``: a d (1 - d)²."""
        square = self.one("Mul", [rest, rest])
        return self.one("Mul", [self.one("Mul", [beyond, square]), self.number(SHARPNESS)])

    def name(self) -> str:
        return f"{self.output}/sample_{len(self.nodes)}_{len(self.known.graph.initializer)}"

    def number(self, value: float) -> str:
        return self.known.constant(self.name(), np.array(value, np.float32))

    def view(self, name: str, shape: list[int]) -> str:
        output = self.name()
        self.nodes.append(self.known.reshape(name, shape, output))
        return output

    def make(self, kind: str, inputs: list[str], outputs: int = 1, **extra: Any) -> list[str]:
        names = [f"{self.name()}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **extra))
        return names

    def one(self, kind: str, inputs: list[str], **extra: Any) -> str:
        return self.make(kind, inputs, **extra)[0]
