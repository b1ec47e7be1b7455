"""ONNX Runtime, on its CPU provider unless another one is asked for."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto
from transformers.exporters.runners.runner_onnx import OnnxModelRunner

from ..models.checkpoint import Checkpoint
from .base import Endpoint, Hardware, NotOnHardware
from .export import Component, Program
from .exported import ExportedEndpoint
from .operators import EVALUATOR, PLAIN
from .placement import placed

SUFFIX = "ExecutionProvider"

_FLOATS = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.DOUBLE: "fp64",
}


def weights_in_fp32(program: Program) -> dict[str, int]:
    """How many floating-point constants the graphs hold in each precision: ONNX Runtime computes in what it reads.

    Raises:
        NotOnHardware: some are in fp16 or bf16.
    """
    graphs = (onnx.load_from_string(component.onnx).graph for component in program.components.values())
    found = Counter(_FLOATS[t.data_type] for graph in graphs for t in graph.initializer if t.data_type in _FLOATS)
    if reduced := found.keys() & {"fp16", "bf16"}:
        raise NotOnHardware(f"fp32 was asked for; the graphs hold {', '.join(sorted(reduced))}: {dict(found)}")
    return dict(found)


class OnnxRuntimeEndpoint(ExportedEndpoint):
    """A program in one session a component, on one provider. ``device`` is the provider's name without ``ExecutionProvider``,
    and the index of its device behind a colon where it has several: ``CPU``, ``CUDA:1``."""

    precision = "fp32"
    witnesses = (EVALUATOR, PLAIN)

    def __init__(
        self,
        program: Program,
        threads: int,
        device: str = "CPU",
        *,
        optimise: bool = True,
        allow_fallback: bool = False,
    ) -> None:
        self.threads = threads
        self.device = device
        self.optimise = optimise
        name, _, index = device.partition(":")
        self.provider = f"{name}{SUFFIX}"
        self.options = {"device_id": index} if index else {}
        if name == "CUDA":
            self.options["use_tf32"] = "0"  # on by default, it keeps 10 bits of mantissa: that is no fp32
        here = onnxruntime.get_available_providers()
        if self.provider not in here:
            names = ", ".join(found.removesuffix(SUFFIX) for found in here)
            raise NotOnHardware(f"{name} was asked for; this build of ONNX Runtime has {names}")
        super().__init__(program, allow_fallback=allow_fallback)

    def open(self, name: str, component: Component) -> OnnxModelRunner:
        options = onnxruntime.SessionOptions()
        # ONNX Runtime counts every core of the machine, not those that this process may use.
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if not self.optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(component.onnx, options, providers=[(self.provider, self.options)])
        # Without this, a session that fails on a provider silently tries another one.
        session.disable_fallback()
        return OnnxModelRunner(component.metadata, session)

    def twins(self) -> dict[str, Endpoint]:
        """The same with no optimisation of the graph: what an optimiser changes, it must not change."""
        if not self.optimise:
            return {}
        plain = OnnxRuntimeEndpoint(
            self.program, self.threads, self.device, optimise=False, allow_fallback=self.allow_fallback
        )
        return {"optimisations off": plain}

    def evidence(self) -> dict[str, Any]:
        return {**super().evidence(), "weights by precision": self.weights}

    @cached_property
    def weights(self) -> dict[str, int]:
        return weights_in_fp32(self.program)

    def component_evidence(self, runner: OnnxModelRunner) -> dict[str, Any]:
        nodes: Counter[str] = Counter()
        for part in runner.session.get_provider_graph_assignment_info():
            nodes[part.ep_name] += len(part.get_nodes())
        return placed(nodes, self.provider, allow_fallback=self.allow_fallback)


class OnnxRuntime(Hardware):
    """The exported ONNX graphs on a provider of ONNX Runtime, in the precision that the graph holds: fp32."""

    format = "onnx"

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        return OnnxRuntimeEndpoint(program, self.threads, self.device or "CPU", allow_fallback=self.allow_fallback)
