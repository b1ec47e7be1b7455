"""OpenVINO, from the same ONNX graphs that ONNX Runtime runs."""

from __future__ import annotations

from typing import Any

import onnx
import openvino
import openvino.opset15 as opset
from transformers.exporters.runners.runner_openvino import OpenVINOModelRunner

from ..models.checkpoint import Checkpoint
from .base import Endpoint, Hardware, NotOnHardware
from .export import Component, Program
from .exported import ExportedEndpoint
from .onnxruntime import OnnxRuntimeEndpoint
from .quantise import quantised_program

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""Precisions by OpenVINO's name of them; what a quantised graph leaves in floats stays in fp32."""

INTEGERS = ("i8", "u8")


class OpenVinoEndpoint(ExportedEndpoint):
    """A program in one compiled model a component. The precision is asked for, because OpenVINO runs bf16 by default on a CPU
    that has it, and read back, because what it was asked for proves nothing."""

    def __init__(
        self,
        program: Program,
        threads: int,
        precision: str = "fp32",
        device: str = "CPU",
        *,
        allow_fallback: bool = False,
    ) -> None:
        self.core = openvino.Core()
        self.precision = precision
        self.target = device
        here = self.core.available_devices
        if device != "AUTO" and not any(name.partition(".")[0] == device.partition(".")[0] for name in here):
            raise NotOnHardware(f"{device} was asked for; OpenVINO sees {', '.join(here)}")
        self.device = device if device == "AUTO" else str(self.core.get_property(device, "FULL_DEVICE_NAME"))
        self.threads = threads
        self.rewritten: dict[str, int] = {}
        if precision == "int8":
            models = {name: onnx.load_from_string(part.onnx) for name, part in program.components.items()}
            program = quantised_program(program, models, precision, threads)
        super().__init__(program, allow_fallback=allow_fallback)

    def open(self, name: str, component: Component) -> OpenVINOModelRunner:
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if self.target == "CPU":
            options |= {"INFERENCE_NUM_THREADS": self.threads, "KV_CACHE_PRECISION": _HINTS[self.precision]}
        model = self.core.read_model(component.onnx)
        if compared := compare_with_zero(model):
            self.rewritten[name] = compared
        return OpenVINOModelRunner(self.core.compile_model(model, self.target, options), component.metadata)

    def evidence(self) -> dict[str, Any]:
        rewritten = {"rewritten": {"conversions to booleans": self.rewritten}} if self.rewritten else {}
        return super().evidence() | rewritten

    def own_reference(self) -> Endpoint | None:
        """ONNX Runtime's CPU on the same quantised graphs."""
        return OnnxRuntimeEndpoint(self.program, self.threads, optimise=False) if self.precision == "int8" else None

    def component_evidence(self, runner: OpenVINOModelRunner) -> dict[str, Any]:
        compiled = runner.compiled_model
        devices = [str(device) for device in compiled.get_property("EXECUTION_DEVICES")]
        hint = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        found = node_precisions(compiled)
        if self.target != "AUTO" and any(
            device.partition(".")[0] != self.target.partition(".")[0] for device in devices
        ):
            raise NotOnHardware(f"executed on {devices}, not on {self.target}")
        if self.precision == "int8" and not any(found.get(name) for name in INTEGERS):
            raise NotOnHardware(f"int8 was asked for; nodes by precision are {found}")
        asked = _HINTS[self.precision]
        reduced = sum(count for precision, count in found.items() if precision in ("bf16", "f16"))
        if hint != asked or (reduced if asked == "f32" else not found.get(asked)):
            raise NotOnHardware(f"{asked} was asked for; the hint reads back {hint}, nodes by precision are {found}")
        return {"execution devices": devices, "inference precision": hint, "nodes by precision": found}


def compare_with_zero(model: openvino.Model) -> int:
    """Compare with 0 what is converted to booleans and is one of several outputs of a node; how many there were.

    OpenVINO 2026.4 rewrites such a conversion for its CPU and asks the node for its one output: "Default output not supported"
    (glm5_next, whose cache is split into keys, scores and what is valid).
    """
    compared = 0
    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "Convert" or operation.get_element_type() != openvino.Type.boolean:
            continue
        source = operation.input_value(0)
        if source.get_node().get_output_size() > 1:
            zero = opset.constant(0, source.get_element_type())
            operation.output(0).replace(opset.not_equal(source, zero).output(0))
            compared += 1
    return compared


def node_precisions(compiled: openvino.CompiledModel) -> dict[str, int]:
    """How many nodes of the graph that really runs compute in each precision, by OpenVINO's name of it."""
    found: dict[str, int] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        precision = info["runtimePrecision"].astype(str) if "runtimePrecision" in info else "unknown"
        found[precision] = found.get(precision, 0) + 1
    return found


class OpenVino(Hardware):
    """The exported ONNX graphs on a plugin of OpenVINO: the CPU's in f32, unless another device or precision is asked for."""

    format = "onnx"

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        return OpenVinoEndpoint(
            program,
            self.threads,
            self.precision or "fp32",
            self.device or "CPU",
            allow_fallback=self.allow_fallback,
        )
