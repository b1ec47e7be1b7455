"""Small graphs for tests of what Qualcomm's HTP takes and computes: as they are, rewritten, and on ONNX Runtime's CPU."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch.utils._pytree import tree_structure, treespec_dumps
from transformers.exporters.metadata import ExportMetadata

from pytest_ipfs_accelerate.hardware.qualcomm import PROVIDER, HtpRunner
from pytest_ipfs_accelerate.hardware.qualcomm_axes import held
from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import rewrite_fixed

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
BOUND = 2e-3
"""Of the relative L2: what fp16 loses in one operator or two is below a half of it."""


def floats(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


def node(kind: str, inputs: str, output: str = "y", **extra: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **extra)


class Graph(NamedTuple):
    """Nodes that make ``y`` from inputs of free sizes along their first axis, and what the evidence calls its rewrite."""

    rewrite: str
    nodes: list[NodeProto]
    inputs: dict[str, Array]
    constants: Mapping[str, Array] = MappingProxyType({})
    output: int = TensorProto.FLOAT

    def model(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "small",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(value.dtype), ["n", *value.shape[1:]]
                )
                for name, value in self.inputs.items()
            ],
            [helper.make_tensor_value_info("y", self.output, None)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def sizes(self) -> dict[str, tuple[int, ...]]:
        return {name: value.shape for name, value in self.inputs.items()}

    def expected(self) -> Array:
        session = onnxruntime.InferenceSession(self.model().SerializeToString(), providers=["CPUExecutionProvider"])
        found: Array = session.run(None, self.inputs)[0]
        return found

    def on_the_htp(self, *, fixed: bool) -> Array:
        spec = treespec_dumps(tree_structure([0]))
        runner = HtpRunner(self.model(), ExportMetadata(in_spec=spec, out_spec=spec), {}, fixed=fixed)
        found: Array = runner.run(self.inputs)[0]
        assert list(runner.nodes()) == [PROVIDER]
        assert not fixed or self.rewrite in runner.rewritten
        return found

    def rewritten_on_the_cpu(self) -> Array:
        """The rewritten graph in fp32: a rewrite changes no number, whoever computes it."""
        fixed = rewrite_fixed(self.model(), self.sizes())
        assert self.rewrite in fixed.counts
        session = onnxruntime.InferenceSession(fixed.model.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs = session.run(None, {name: value.reshape(held(value.shape)) for name, value in self.inputs.items()})
        by_name = {value.name: output for value, output in zip(session.get_outputs(), outputs, strict=True)}
        found: Array = by_name["y"]
        if total := fixed.totals.get("y"):
            found = found[: int(by_name[total].item())]
        return found.reshape(fixed.outputs.get("y", found.shape))

    def with_output(self, name: str) -> ModelProto:
        """The graph with a further output."""
        model = self.model()
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        return model


def departure(expected: Array, found: Array) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(expected - found) / np.linalg.norm(expected))
