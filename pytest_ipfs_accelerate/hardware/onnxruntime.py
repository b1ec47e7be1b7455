"""ONNX Runtime on its CPU provider."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnxruntime
from transformers.exporters.runners.runner_onnx import OnnxModelRunner

from ..models.checkpoint import Checkpoint
from .base import Endpoint, Hardware, NotOnHardware
from .export import Component, Program
from .exported import ExportedEndpoint

PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeEndpoint(ExportedEndpoint):
    """A program in one session a component, on the CPU provider alone."""

    device = "CPU"
    precision = "fp32"

    def __init__(self, program: Program, threads: int) -> None:
        self.threads = threads
        super().__init__(program)

    def open(self, name: str, component: Component) -> OnnxModelRunner:
        options = onnxruntime.SessionOptions()
        # ONNX Runtime counts every core of the machine, not those that this process may use.
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session = onnxruntime.InferenceSession(component.onnx, options, providers=[PROVIDER])
        # Without this, a session that fails on a provider silently tries another one.
        session.disable_fallback()
        return OnnxModelRunner(component.metadata, session)

    def component_evidence(self, runner: OnnxModelRunner) -> dict[str, Any]:
        assignment = runner.session.get_provider_graph_assignment_info()
        nodes = Counter({part.ep_name: 0 for part in assignment})
        for part in assignment:
            nodes[part.ep_name] += len(part.get_nodes())
        elsewhere = {provider: count for provider, count in nodes.items() if provider != PROVIDER and count}
        if elsewhere or not nodes[PROVIDER]:
            raise NotOnHardware(f"nodes by provider: {dict(nodes)}; all of them belong on {PROVIDER}")
        return {"nodes by provider": dict(nodes)}


class OnnxRuntime(Hardware):
    """The exported ONNX graphs on ONNX Runtime's CPU provider, in the precision that the graph holds: fp32."""

    format = "onnx"

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        return OnnxRuntimeEndpoint(program, self.threads)
