"""A graph at the sizes that it is called with: what follows from sizes alone is a constant then, every shape is known, and more
of what Qualcomm's HTP does not take can be written another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

LARGEST = 6e4
"""As far from zero as a graph's constants are clamped to: fp16 ends at 65504, where the -3.4e38 that masks an attention score
becomes -inf, and -inf times 0 is NaN."""


def at_sizes(model: ModelProto, sizes: Mapping[str, Sequence[int]]) -> ModelProto:
    """The graph for inputs of these sizes, as ONNX Runtime's basic optimisations leave it: constants folded, nodes fused by the
    standard's own operators. The provider's session begins with the same ones."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, sizes[value.name], strict=True):
            dimension.dim_value = size
    # What the exporter says of shapes is in terms of sizes that are no longer free.
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with TemporaryDirectory() as directory:
        path = Path(directory, "fixed.onnx")
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(fixed.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return with_shapes(onnx.load(path))


def with_shapes(model: ModelProto) -> ModelProto:
    """The graph with the types and shapes of its values written down."""
    inferred: ModelProto = shape_inference.infer_shapes(model, data_prop=True)
    return inferred


class Known:
    """What is known of a graph at fixed sizes: shapes, types, constants; and constants and nodes to put into it."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self._shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self._types: dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for value in (*graph.value_info, *graph.input, *graph.output):
            tensor = value.type.tensor_type
            self._types[value.name] = tensor.elem_type
            dimensions = tensor.shape.dim
            if tensor.HasField("shape") and all(dimension.HasField("dim_value") for dimension in dimensions):
                self._shapes[value.name] = tuple(dimension.dim_value for dimension in dimensions)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Its shape, where that does not depend on data."""
        return self._shapes.get(name)

    def type(self, name: str) -> int:
        """Its type, as the standard numbers them; 0 where nobody knows."""
        return self._types.get(name, TensorProto.UNDEFINED)

    def number(self, name: str) -> NDArray[Any] | None:
        """The numbers of a constant."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def constant(self, name: str, values: Any) -> str:
        """A new constant, int64 unless it is an array; its name."""
        array = values if isinstance(values, np.ndarray) else np.array(values, np.int64)
        tensor = numpy_helper.from_array(array, name)
        self.graph.initializer.append(tensor)
        self._shapes[name], self._types[name], self._constants[name] = array.shape, tensor.data_type, tensor
        return name

    def reshape(self, name: str, shape: Sequence[int], output: str) -> NodeProto:
        """A node that gives a value another shape."""
        # A name of its own: the graph may reshape to this output already, or another rewrite may have.
        target = f"{output}/shape"
        while target in self._constants:
            target += "_again"
        return helper.make_node("Reshape", [name, self.constant(target, list(shape))], [output])

    def formula(self, text: str, inputs: Mapping[str, str], output: str) -> list[NodeProto]:
        """The nodes of a computation in the standard's notation (:mod:`onnx.parser`), whose result is ``y``. Its other values,
        and the constants at its head, are named after the output."""
        parsed = onnx.parser.parse_graph(text)
        names = {**inputs, "y": output}
        for tensor in parsed.initializer:
            names[tensor.name] = self.constant(f"{output}/{tensor.name}", numpy_helper.to_array(tensor))
        for node in parsed.node:
            for place, name in enumerate(node.input):
                node.input[place] = names[name]
            for place, name in enumerate(node.output):
                node.output[place] = names.setdefault(name, f"{output}/{name}")
        return list(parsed.node)


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
