"""OpenVINO on the CPU, from the same ONNX graphs that ONNX Runtime runs."""

from __future__ import annotations

from typing import Any

import openvino
from transformers.exporters.runners.runner_openvino import OpenVINOModelRunner

from ..models.checkpoint import Checkpoint
from .base import Endpoint, Hardware, NotOnHardware
from .export import Component, Program
from .exported import ExportedEndpoint

DEVICE = "CPU"

_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}


class OpenVinoEndpoint(ExportedEndpoint):
    """A program in one compiled model a component. f32 is asked for, because OpenVINO runs bf16 by default on a CPU that
    has it, and read back, because what it was asked for proves nothing."""

    precision = "fp32"

    def __init__(self, program: Program, threads: int) -> None:
        self.core = openvino.Core()
        self.device = str(self.core.get_property(DEVICE, "FULL_DEVICE_NAME"))
        self.threads = threads
        super().__init__(program)

    def open(self, name: str, component: Component) -> OpenVINOModelRunner:
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "KV_CACHE_PRECISION": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        model = self.core.read_model(component.onnx)
        return OpenVINOModelRunner(self.core.compile_model(model, DEVICE, options), component.metadata)

    def component_evidence(self, runner: OpenVINOModelRunner) -> dict[str, Any]:
        compiled = runner.compiled_model
        devices = [str(device) for device in compiled.get_property("EXECUTION_DEVICES")]
        hint = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        found = node_precisions(compiled)
        if devices != [DEVICE]:
            raise NotOnHardware(f"executed on {devices}, not on {DEVICE}")
        reduced = {precision: count for precision, count in found.items() if precision in ("bf16", "f16")}
        if _PRECISIONS.get(hint) != self.precision or reduced:
            raise NotOnHardware(f"f32 was asked for; the hint reads back {hint}, nodes by precision are {found}")
        return {"execution devices": devices, "inference precision": hint, "nodes by precision": found}


def node_precisions(compiled: openvino.CompiledModel) -> dict[str, int]:
    """How many nodes of the graph that really runs compute in each precision, by OpenVINO's name of it."""
    found: dict[str, int] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        precision = info["runtimePrecision"].astype(str) if "runtimePrecision" in info else "unknown"
        found[precision] = found.get(precision, 0) + 1
    return found


class OpenVino(Hardware):
    """The exported ONNX graphs on OpenVINO's CPU plugin, in f32."""

    format = "onnx"

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        return OpenVinoEndpoint(program, self.threads)
